"""The models-from-code script behind every registered model: MLflow runs it to load an imputer and to impute with it.

Input: a table with one row per sample (its index names the sample) and one whole-number column per site, named
`contig:pos:ref:alt`, in the order of the model's sites; values 0, 1, 2 alternate alleles, -1 missing.

Output: a table with one row per sample and site, samples in the order of the input: `sample`, `site` (str), `call`
(0, 1, 2; an observed call as it was), `dosage` (0 to 2) and the posterior `p0`, `p1`, `p2` (sums to 1).

This file must import MLflow at its top, because MLflow runs it as a script; nothing else imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedImputer(PythonModel):
    """A saved imputer, or a whole panel's (artifact "imputer"), as an MLflow model; imports wait until it is loaded."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the imputer that the artifact folder holds."""
        from snpimpute.imputers import class_in
        from snpimpute.windows import ABOUT, WindowedModel

        folder = Path(context.artifacts["imputer"])
        if (folder / ABOUT).exists():
            self.imputer: Any = WindowedModel(folder)
            return
        self.imputer = class_in(folder).load(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Impute a table of calls; see the top of this file for both tables.

        Raises:
            InputError: a value that is not a call, or sites that are not the model's (names the first).
        """
        from snpimpute.genotypes import GenotypeMatrix
        from snpimpute.imputers._base import impute

        target = GenotypeMatrix(
            _calls(model_input),
            pd.DataFrame({"sample": model_input.index.astype(str)}),
            _sites(model_input.columns),
        )
        imputed = impute(self.imputer, target)
        posterior = imputed.posterior.reshape(-1, 3).astype(float)
        return pd.DataFrame(
            {
                "sample": np.repeat(target.samples["sample"].to_numpy(object), target.n_sites),
                "site": np.tile(np.array(target.site_keys(), dtype=object), target.n_samples),
                "call": imputed.calls.ravel().astype(np.int64),
                "dosage": imputed.dosages.ravel().astype(float),
                **{f"p{g}": posterior[:, g] for g in (0, 1, 2)},
            }
        )


def _calls(table: pd.DataFrame) -> np.ndarray:
    """int8 (n_samples, n_sites) from the input table."""
    from snpimpute.errors import InputError

    values = table.to_numpy()
    wrong = np.argwhere(~np.isin(values, (-1, 0, 1, 2)))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"sample {table.index[row]}, site {table.columns[column]}: {values[row, column]} is not a call; "
            "give 0, 1 or 2 alternate alleles, -1 for missing"
        )
    return values.astype(np.int8)


def _sites(columns: pd.Index) -> pd.DataFrame:
    """A sites table from column names; contig names may hold colons themselves."""
    from snpimpute.errors import InputError

    parts = [str(name).rsplit(":", 3) for name in columns]
    for name, part in zip(columns, parts, strict=True):
        if len(part) != 4 or not part[1].isdigit():
            raise InputError(f"column {name!r} does not name a site: give contig:pos:ref:alt")
    contig, pos, ref, alt = zip(*parts, strict=True)
    return pd.DataFrame({"contig": contig, "pos": [int(p) for p in pos], "id": "", "ref": ref, "alt": alt})


set_model(ServedImputer())
