"""The panel's frequencies: contract, and the frequencies themselves."""

import numpy as np

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.mode import Mode
from snpimpute.imputers.testing import ImputerContract


class TestMode(ImputerContract):
    imputer = Mode

    def test_frequencies(self, model: Mode, panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
        posterior = model.posterior(self.masked(target))
        known = panel.calls[:, 0][panel.calls[:, 0] >= 0]
        expected = [(np.sum(known == g) + 0.5) / (len(known) + 1.5) for g in (0, 1, 2)]
        np.testing.assert_allclose(posterior[0, 0], expected, rtol=1e-5)
