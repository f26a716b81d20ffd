"""Models-from-code script of every registered model, which MLflow runs to load an imputer and to impute with it.

Input: calls, of any type of number, (n_samples, n_columns): 0, 1, 2 alternate alleles, -1 or NaN missing. They come as a data
frame whose columns are named by their sites, `contig:pos:ref:alt`, or as a matrix with the parameter `sites`, which names
them. The order is free, and sites of the model that are not named are missing in all samples. The signature has no input
schema: MLflow would refuse integers where it names floats, and convert and check named columns one by one, which takes
longer than most imputers do.

Output: `site`, str (n_sites,), the model's sites in its order, and for each sample and site `call`, int64 (n_samples,
n_sites) (observed calls are unchanged), `dosage`, float64 (n_samples, n_sites), 0 to 2, and `posterior`, float64
(n_samples, n_sites, 3), which sums to 1.

This file must import MLflow at its top, because MLflow runs it as a script; nothing else imports it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from snpimpute.genotypes.matrix import GenotypeMatrix

KEEP_LOADED = 64  # number of windows of a panel's model whose imputers stay in memory
MOST_CALLS = 2_000_000  # in an answer: samples times sites; more would take longer than MLflow's server waits
DECIMALS = (
    7  # of numbers in an answer, as float32 knows no more: with all of double's digits an answer is twice as long
)
SERVER = "mlflow.pyfunc.scoring_server"


class ServedImputer(PythonModel):
    """MLflow model of a saved imputer or of a whole panel's model (artifact "imputer").

    Imports are done when it is loaded.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the imputer in the artifact folder, compare its files with their checksums, and try it out.

        A server is ready when this is done, so the framework is loaded then and an imputation has worked.
        """
        from snpimpute.base.checksums import require_checksums
        from snpimpute.genotypes.matrix import site_keys
        from snpimpute.impute.windows import ABOUT, WindowedModel, plain_strings
        from snpimpute.imputers import class_in

        folder = Path(context.artifacts["imputer"])
        if (folder / ABOUT).exists():
            # trusted: whoever runs this script has already run code that came with the model
            self.imputer: Any = WindowedModel.verified(folder, keep_loaded=KEEP_LOADED, trust=True)
        else:
            require_checksums(folder)
            self.imputer = class_in(folder, trust=True).load(folder)
            self.imputer.sites = plain_strings(self.imputer.sites)
        self.sites = self.imputer.sites
        self.column = {name: i for i, name in enumerate(site_keys(self.sites))}
        every_other = list(self.column)[::2]
        self.imputed(np.zeros((1, len(every_other))), every_other)
        _answer_in_one_line()

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Impute a matrix or a data frame of calls; see the top of this file for input and output.

        The type hint leaves the data frame out, because MLflow warns of each hint that it does not know.

        Raises:
            MlflowException: a value is not a call, the model does not have a site, a site is named twice (names the
                first), or the numbers of names and columns differ; a server answers with status 400.
        """
        from snpimpute.base.errors import InputError
        from snpimpute.impute.request import calls_of

        try:
            return self.imputed(*calls_of(model_input, list((params or {}).get("sites", []))))
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def answer(self, body: bytes, content_type: str | None) -> tuple[int, dict[str, Any]]:
        """Return status and content (JSON-able) of the answer to a request: 200, or 400 with one line that says what is wrong."""
        from snpimpute.base.errors import InputError
        from snpimpute.impute.request import read_request

        try:
            imputed = self.imputed(*read_request(body, content_type))
        except InputError as error:
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": str(error)}
        rounded = {
            name: values.round(DECIMALS) if values.dtype.kind == "f" else values for name, values in imputed.items()
        }
        return 200, {"predictions": {name: values.tolist() for name, values in rounded.items()}}

    def imputed(self, matrix: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        """Impute a matrix of calls; InputError if it is not one of the model's sites."""
        from snpimpute.imputers.contract import impute

        imputed = impute(self.imputer, self._target(matrix, names))
        return {
            "site": np.array(list(self.column), dtype=object),
            "call": imputed.calls.astype(np.int64),
            "dosage": imputed.dosages.astype(float),
            "posterior": imputed.posterior.astype(float),
        }

    def _target(self, matrix: np.ndarray, names: list[str]) -> GenotypeMatrix:
        """Return a matrix of all sites of the model, in its order, with the calls of the request."""
        from snpimpute.base.errors import InputError
        from snpimpute.genotypes.matrix import GenotypeMatrix

        if len(names) != matrix.shape[1]:
            raise InputError(
                f"{matrix.shape[1]} columns, but {len(names)} names in the parameter `sites`; give contig:pos:ref:alt for each column"
            )
        if len(matrix) * len(self.column) > MOST_CALLS:
            most = max(MOST_CALLS // len(self.column), 1)
            raise InputError(
                f"{len(matrix)} samples at the model's {len(self.column)} sites are too many: send at most {most}"
            )
        if unknown := [name for name in names if name not in self.column]:
            raise InputError(
                f"site {unknown[0]} is not in the model; it has {len(self.column)} sites, the first is {next(iter(self.column))}"
            )
        if len(set(names)) < len(names):
            raise InputError(f"site {next(name for name in names if names.count(name) > 1)} is named twice")
        given = np.where(np.isnan(matrix), -1, matrix)
        wrong = np.argwhere(~np.isin(given, (-1, 0, 1, 2)))
        if len(wrong):
            row, column = wrong[0]
            raise InputError(
                f"row {row + 1}, site {names[column]}: {matrix[row, column]:g} is not a call; give 0, 1 or 2 alternate "
                "alleles, -1 or null for missing"
            )
        calls = np.full((len(matrix), len(self.column)), -1, np.int8)
        calls[:, [self.column[name] for name in names]] = given
        samples = pd.DataFrame({"sample": [f"row{i + 1}" for i in range(len(matrix))]})
        return GenotypeMatrix(calls, samples, self.sites)


def _answer_in_one_line() -> None:
    """Let MLflow's server, if this process is one, answer by `ServedImputer.answer`.

    The server's own reading takes "1" and true for calls, fails without a content type, and answers a CSV that cannot be
    read with a stack trace. It has no place for another one, so the function that it calls is exchanged.
    """
    server: Any = sys.modules.get(SERVER)
    if server is None or hasattr(server.invocations, "of_mlflow"):
        return
    of_mlflow = server.invocations

    def invocations(data: bytes, content_type: str | None, model: Any, input_schema: Any) -> Any:
        answer = getattr(model.unwrap_python_model(), "answer", None)
        if answer is None:
            return of_mlflow(data, content_type, model, input_schema)
        status, told = answer(data, content_type)
        return server.InvocationsResponse(response=json.dumps(told), status=status, mimetype="application/json")

    invocations.of_mlflow = of_mlflow  # type: ignore[attr-defined]
    server.invocations = invocations


set_model(ServedImputer())
