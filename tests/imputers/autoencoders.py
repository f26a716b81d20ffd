"""The contract that the Keras autoencoders pass beside every imputer's."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.imputers.testing import ImputerContract, small_panel
from snpimpute.metrics.scores import f1_macro


class AutoencoderContract(ImputerContract):
    """What the Keras autoencoders have in common besides; set `counted`, `learner` and `refused` too."""

    counted: ClassVar[list[tuple[int, dict[str, Any]]]]  # numbers of sites, and parameters, to count the weights at
    learner: ClassVar[dict[str, Any]]  # parameters that make it learn 40 sites from 240 samples in seconds
    refused: ClassVar[list[dict[str, Any]]]  # single parameters out of range

    def test_parameter_count_is_that_of_the_built_network(self) -> None:
        for n_sites, table in self.counted:
            params = self.imputer.parse_params(table)
            network = self.imputer.network(n_sites, params)  # type: ignore[attr-defined]
            assert self.imputer.n_parameters(params, n_sites) == network.count_params(), (n_sites, table)
            assert network.output_shape == (None, n_sites, 3)

    def test_parameters_out_of_range_are_refused(self) -> None:
        for table in self.refused:
            with pytest.raises(InputError, match=f"imputer {self.imputer.name}: parameter '{next(iter(table))}'"):
                self.imputer.parse_params(table)

    def test_it_learns_more_than_frequencies(self) -> None:
        panel = small_panel(300, missing=0.02)
        train, test = panel.take_samples(np.arange(240)), panel.take_samples(np.arange(240, 300))
        hidden = np.arange(panel.n_sites) % 2 == 0
        model = self.imputer(self.imputer.parse_params(self.learner))
        model.fit(train, mask=TrainingMask("fixed", sites=hidden))
        calls = model.posterior(test.hide(hidden)).argmax(axis=2)
        common = np.broadcast_to(train.genotype_frequencies().argmax(axis=1), calls.shape)
        score = f1_macro(test.calls[:, hidden], calls[:, hidden])
        assert score > f1_macro(test.calls[:, hidden], common[:, hidden]) + 0.15
