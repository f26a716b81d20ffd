"""The public contract of predictors as tests: subclass `PredictorContract`, set `Predictor`, and pytest runs them.

class TestMine(PredictorContract):
    Predictor = Mine
    quick = {"epochs": 3}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort, posterior_of_calls
from snpimpute.traits.predictors.contract import Predictor as Base


def small_cohort(
    n_samples: int = 120, n_sites: int = 40, *, heritability: float = 0.6, binary: bool = False, seed: int = 1
) -> Cohort:
    """Return samples with linked sites on two contigs, a trait made by five of the sites, and one covariate.

    Args:
        n_samples, n_sites: shape; 2% of the calls are missing.
        heritability: share of the trait's variance that the sites make; 0 = a trait of pure noise.
        binary: cut the trait at its median.
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_samples, n_sites, 2))
    for site in range(1, n_sites):
        if site % 10:
            latent[:, site] = 0.8 * latent[:, site - 1] + 0.6 * latent[:, site]
    calls = (latent > rng.uniform(-0.7, 0.7, size=(n_sites, 1))).sum(axis=2).astype(np.int8)
    causal = np.linspace(2, n_sites - 3, 5).astype(int)
    genetic = calls[:, causal] @ np.array([1.0, -1.0, 0.8, 1.0, -0.8])
    genetic = (genetic - genetic.mean()) / genetic.std()
    covariate = rng.normal(size=n_samples)
    values = np.sqrt(heritability) * genetic + np.sqrt(1 - heritability) * rng.normal(size=n_samples) + 0.5 * covariate
    if binary:
        values = (values > np.median(values)).astype(float)
    calls[rng.random(calls.shape) < 0.02] = -1
    half = n_sites // 2
    sites = pd.DataFrame(
        {
            "contig": ["1"] * half + ["2"] * (n_sites - half),
            "pos": [*range(1000, 1000 + 500 * half, 500), *range(1000, 1000 + 500 * (n_sites - half), 500)],
            "id": [f"s{i}" for i in range(n_sites)],
            "ref": "A",
            "alt": "G",
        }
    )
    return Cohort(posterior_of_calls(calls), sites, values, covariate[:, None], binary)


_LEARNED: dict[type, tuple[Cohort, Base]] = {}


class PredictorContract:
    """What every predictor must do; a test per sentence."""

    Predictor: ClassVar[type[Base]]
    quick: ClassVar[Mapping[str, Any]] = {}  # parameters under which a fit takes a second
    learns: ClassVar[float] = 0.25  # least correlation on unseen samples of `small_cohort`

    def fitted(self, panel: Cohort, **more: Any) -> Base:
        """A predictor fitted to a panel with the quick parameters."""
        params = self.Predictor.parse_params({**self.quick, **more})
        return self.Predictor(params, seed=3).fit(panel)

    def learned(self) -> tuple[Cohort, Base]:
        """A small cohort and a predictor fitted to it, once for all tests of a class: they must not change it."""
        if type(self) not in _LEARNED:
            cohort = small_cohort()
            _LEARNED[type(self)] = cohort, self.fitted(cohort)
        return _LEARNED[type(self)]

    def test_it_is_found_by_its_name(self) -> None:
        assert load(self.Predictor.name) is self.Predictor
        assert self.Predictor.description and "\n" not in self.Predictor.description

    def test_it_predicts_samples_that_it_did_not_see(self) -> None:
        cohort = small_cohort(300)
        predictor = self.fitted(cohort.take_samples(np.arange(220)))
        rest = cohort.take_samples(np.arange(220, 300))
        predicted = predictor.predict(rest.without_trait())
        assert predicted.dtype == np.float32 and predicted.shape == (80,)
        assert np.corrcoef(predicted, rest.values)[0, 1] > self.learns

    def test_probabilities_of_a_binary_trait(self) -> None:
        cohort = small_cohort(300, binary=True)
        predictor = self.fitted(cohort.take_samples(np.arange(220)))
        rest = cohort.take_samples(np.arange(220, 300))
        predicted = predictor.predict(rest.without_trait())
        assert (predicted >= 0).all() and (predicted <= 1).all()
        assert predicted[rest.values == 1].mean() > predicted[rest.values == 0].mean()

    def test_same_seed_same_result(self) -> None:
        cohort, first = self.learned()
        np.testing.assert_array_equal(first.predict(cohort), self.fitted(cohort).predict(cohort))

    def test_saved_and_loaded_it_is_the_same(self, tmp_path: Path) -> None:
        cohort, predictor = self.learned()
        predictor.save(tmp_path / "saved")
        loaded = self.Predictor.load(tmp_path / "saved")
        np.testing.assert_allclose(loaded.predict(cohort), predictor.predict(cohort), rtol=1e-6, atol=1e-6)
        assert loaded.n_parameters() == predictor.n_parameters()
        assert not list((tmp_path / "saved").rglob("*.pkl"))

    def test_a_changed_file_is_refused(self, tmp_path: Path) -> None:
        self.learned()[1].save(tmp_path / "saved")
        about = tmp_path / "saved" / "predictor.json"
        about.write_text(json.dumps({**json.loads(about.read_text()), "seed": 99}))
        with pytest.raises(InputError):
            self.Predictor.load(tmp_path / "saved")

    def test_other_sites_are_refused(self) -> None:
        cohort, predictor = self.learned()
        with pytest.raises(InputError, match=self.Predictor.name):
            predictor.predict(cohort.take_sites(np.arange(39)))

    def test_the_trait_of_the_target_is_not_looked_at(self) -> None:
        cohort, predictor = self.learned()
        np.testing.assert_array_equal(predictor.predict(cohort), predictor.predict(cohort.without_trait()))

    def test_a_missing_genotype_and_an_uncertain_one_are_taken(self) -> None:
        cohort, predictor = self.learned()
        uncertain = cohort.posterior.copy()
        uncertain[:5] = 1 / 3
        uncertain[5:10] = np.nan
        target = Cohort(uncertain, cohort.sites, cohort.values, cohort.covariates)
        assert np.isfinite(predictor.predict(target)).all()

    def test_unknown_parameters_are_refused(self) -> None:
        with pytest.raises(InputError, match="no_such"):
            self.Predictor.parse_params({"no_such": 1})
