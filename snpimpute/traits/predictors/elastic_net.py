"""Elastic net on genotypes: few sites have effects, its penalty chosen by folds within the samples learned from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._linear import LinearPredictor
from snpimpute.traits.predictors.contract import PredictorParams

FOLDS = 5
PENALTIES = 20


class ElasticNetParams(PredictorParams):
    """Parameters.

    Attributes:
        l1_ratio: share of the penalty that makes effects exactly 0.
    """

    l1_ratio: float = Field(0.1, gt=0, le=1)


class ElasticNet(LinearPredictor):
    """Elastic net (Zou and Hastie 2005) by coordinate descent; five folds choose the penalty."""

    description = "elastic net: few sites have effects, penalty by folds"
    Params = ElasticNetParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            l1_ratio=trial.suggest_float("l1_ratio", 0.01, 1.0, log=True),
            min_maf=trial.suggest_categorical("min_maf", (0.0, 0.01, 0.05)),
        )

    def _effects(self, x: np.ndarray, left: np.ndarray) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import ElasticNetCV
        from sklearn.model_selection import KFold

        folds = KFold(FOLDS, shuffle=True, random_state=self.seed)
        model = ElasticNetCV(
            l1_ratio=self.params.l1_ratio, alphas=PENALTIES, fit_intercept=False, cv=folds, max_iter=2000, tol=1e-3
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # at the weakest penalties, which are not chosen
            return model.fit(x.astype(np.float64), left).coef_
