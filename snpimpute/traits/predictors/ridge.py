"""Ridge regression on genotypes, its penalty chosen by generalised cross-validation within the samples learned from."""

from __future__ import annotations

from typing import Any

import numpy as np

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._linear import LinearPredictor

PENALTIES = np.logspace(-2, 3, 21)  # times the number of inputs


class Ridge(LinearPredictor):
    """Ridge regression (Hoerl and Kennard 1970); leave-one-out errors, which are exact, choose the penalty."""

    description = "ridge regression, penalty by leave-one-out errors"

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(min_maf=trial.suggest_categorical("min_maf", (0.0, 0.01, 0.05)))

    def _effects(self, x: np.ndarray, left: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import RidgeCV

        fitted = RidgeCV(alphas=PENALTIES * x.shape[1], fit_intercept=False).fit(x.astype(np.float64), left)
        return fitted.coef_
