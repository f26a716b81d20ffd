"""Models-from-code script of every registered model of a trait, which MLflow runs to load a predictor and to predict by it.

Input: a data frame with a row per sample. Columns named by sites, `contig:pos:ref:alt`, hold dosages of ALT, 0 to 2, NaN
missing; their order is free, and sites of the model that have no column are missing in all samples. Covariates of the model
are columns of their names, numbers or words as they were when it was fitted.

Output: float64 (n_samples,), the trait, or of a binary one the probability of a case.

This file must import MLflow at its top, because MLflow runs it as a script; nothing else imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPredictor(PythonModel):
    """MLflow model of a saved predictor of a trait (artifact "predictor")."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the predictor, after comparing its files with their checksums."""
        from snpimpute.genotypes.matrix import site_keys
        from snpimpute.traits.learned import read_learned

        self.learned = read_learned(Path(context.artifacts["predictor"]))
        self.sites = site_keys(self.learned.predictor.sites)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Predict samples; see the top of this file for input and output.

        Raises:
            MlflowException: no column is a site of the model, a value is no dosage, or a covariate is absent or unknown; a server
                answers with status 400.
        """
        from snpimpute.base.errors import InputError

        try:
            return self._predicted(pd.DataFrame(model_input))
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def _predicted(self, table: pd.DataFrame) -> np.ndarray:
        from snpimpute.base.errors import InputError
        from snpimpute.traits.phenotypes import coded
        from snpimpute.traits.predictors.cohort import Cohort, posterior_of_dosages

        predictor, coding = self.learned.predictor, self.learned.coding
        there = [site in table.columns for site in self.sites]
        if not any(there):
            raise InputError(f"no column is a site of the model: name them as its first, {self.sites[0]}")
        given = table.reindex(columns=self.sites)
        dosages = given.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        wrong = np.argwhere((given.notna().to_numpy() & np.isnan(dosages)) | (dosages < 0) | (dosages > 2))
        if len(wrong):
            row, column = wrong[0]
            raise InputError(
                f"row {row + 1}, site {self.sites[column]}: {given.iat[row, column]} is not a dosage: give 0 to 2, NaN for missing"
            )
        if absent := [name for name in coding if name not in table.columns]:
            raise InputError(f"there is no column {absent[0]!r}, a covariate of the predictor of {self.learned.trait}")
        covariates, _ = coded(table[list(coding)].astype(str), coding, "the input")
        cohort = Cohort(posterior_of_dosages(dosages), predictor.sites, np.empty(0), covariates, predictor.binary)
        return predictor.predict(cohort).astype(np.float64)


set_model(ServedPredictor())
