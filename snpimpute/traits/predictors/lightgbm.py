"""Gradient-boosted trees on genotypes (LightGBM), which find interactions of few sites by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from snpimpute.imputers.contract import Report, Trial
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor, PredictorParams
from snpimpute.traits.predictors.encodings import Encoding

MODEL = "model.txt"


class LightgbmParams(PredictorParams):
    """Parameters, named as LightGBM does.

    Attributes:
        trees: number of trees.
        learning_rate: weight of each.
        leaves: largest number of leaves of a tree.
        min_leaf: least number of samples in a leaf.
        sites_per_tree, samples_per_tree: shares drawn for each tree.
        l2: penalty of leaf values.
    """

    encoding: Encoding = "additive"
    trees: int = Field(300, ge=1)
    learning_rate: float = Field(0.03, gt=0)
    leaves: int = Field(15, ge=2)
    min_leaf: int = Field(10, ge=1)
    sites_per_tree: float = Field(0.3, gt=0, le=1)
    samples_per_tree: float = Field(0.8, gt=0, le=1)
    l2: float = Field(1.0, ge=0)


class Lightgbm(Predictor):
    """Gradient-boosted trees (Ke et al. 2017); covariates are inputs beside the genotypes."""

    description = "gradient-boosted trees (LightGBM)"
    framework = "lightgbm"
    Params = LightgbmParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            trees=trial.suggest_int("trees", 50, 1000, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.005, 0.2, log=True),
            leaves=trial.suggest_int("leaves", 3, 63, log=True),
            min_leaf=trial.suggest_int("min_leaf", 3, 40, log=True),
            sites_per_tree=trial.suggest_float("sites_per_tree", 0.05, 1.0, log=True),
            l2=trial.suggest_float("l2", 0.01, 100.0, log=True),
        )

    def _fit(
        self, x: np.ndarray, panel: Cohort, validation: tuple[np.ndarray, Cohort] | None, report: Report | None
    ) -> None:
        import lightgbm

        p = self.params
        settings = {
            "objective": "binary" if panel.binary else "regression",
            "learning_rate": p.learning_rate,
            "num_leaves": p.leaves,
            "min_data_in_leaf": min(p.min_leaf, max(panel.n_samples // 10, 1)),
            "feature_fraction": p.sites_per_tree,
            "bagging_fraction": p.samples_per_tree,
            "bagging_freq": 1,
            "lambda_l2": p.l2,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(_inputs(x, panel), panel.values, free_raw_data=True)
        self._model = lightgbm.train(settings, data, num_boost_round=p.trees)

    def _predict(self, x: np.ndarray, target: Cohort) -> np.ndarray:
        return np.asarray(self._model.predict(_inputs(x, target), num_threads=self.threads))

    def contributions(self, target: Cohort) -> np.ndarray:
        """Return exact SHAP values (Lundberg et al. 2020), float64 (n_samples, n_chosen), summed over a site's values."""
        here = self.inputs_of(target)
        x = self.encoding.encode(here.posterior)
        values = np.asarray(self._model.predict(_inputs(x, here), pred_contrib=True, num_threads=self.threads))
        return values[:, : x.shape[1] * x.shape[2]].reshape(x.shape).sum(axis=2)

    def n_parameters(self) -> int:
        return 2 * sum(tree["num_leaves"] for tree in self._model.dump_model()["tree_info"])

    def _save(self, folder: Path) -> None:
        self._model.save_model(folder / MODEL)

    def _load(self, folder: Path) -> None:
        import lightgbm

        self._model = lightgbm.Booster(model_file=folder / MODEL)


def _inputs(x: np.ndarray, cohort: Cohort) -> np.ndarray:
    """Return encoded genotypes and then covariates, float32 (n_samples, n_inputs)."""
    return np.concatenate([x.reshape(len(x), -1), cohort.covariates.astype(np.float32)], axis=1)
