"""Network of an imputer as an ONNX file: it imputes by ONNX Runtime, without the framework that it learned in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.onnx import opened
from snpimpute.base.sources import versions_of
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer, Params, Report, Validation

NETWORK = "network.onnx"
CALLS, POSTERIOR = "calls", "posterior"  # names of the network's input and output
BATCH = 64  # samples at a time
MEND = "export it again (snpimpute models export)"


class ExportedParams(Params):
    """What was exported.

    Attributes:
        imputer: name of the imputer that learned.
    """

    imputer: str


class Exported(Imputer):
    """Exported network: int8 calls (n_samples, n_sites), -1 = missing, in; float32 posterior (n_samples, n_sites, 3) out.

    It is found by what `save` wrote and not by a name, because it learns nothing: `from_file` makes one.
    """

    description = "exported network (ONNX)"
    framework = "onnxruntime"
    recipe: ClassVar[str] = f"ONNX Runtime {versions_of({'onnxruntime'})}"
    Params = ExportedParams

    @classmethod
    def from_file(cls, file: Path, of: Imputer) -> Exported:
        """Return the exported network in a file, which is that of a fitted imputer; `save` copies the file.

        Raises:
            InputError: the file cannot be read as a network.
        """
        exported = cls(cls.Params(imputer=of.name), seed=of.seed, threads=of.threads)
        exported.sites, exported.frequencies = of.sites, of.frequencies
        exported._open(file)
        return exported

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        raise InputError(f"an exported network learns nothing: fit imputer {self.params.imputer}")

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        calls = target.calls
        batches = (calls[i : i + BATCH] for i in range(0, len(calls), BATCH))
        return np.concatenate([self._session.run([POSTERIOR], {CALLS: batch})[0] for batch in batches])

    def _save(self, folder: Path) -> None:
        shutil.copyfile(self._file, folder / NETWORK)

    def _load(self, folder: Path) -> None:
        self._open(folder / NETWORK)

    def _open(self, file: Path) -> None:
        self._file = file
        self._session = opened(file, "an exported network", MEND, self.threads)
        shapes = [list(part.shape[1:]) for part in (*self._session.get_inputs(), *self._session.get_outputs())]
        if shapes != [[len(self.sites)], [len(self.sites), 3]]:
            raise InputError(f"{file} is not a network of {len(self.sites)} sites: {MEND}")
