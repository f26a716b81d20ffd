"""Contract tests that every imputer passes: subclass ImputerContract in a test file and run pytest.

They apply to imputers of other packages too.

They need pytest; the test of a search space also needs Optuna, and is skipped without it.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.checksums import TABLE
from snpimpute.base.errors import InputError
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers.contract import DRAWS, Imputer, Validation, impute

N_SITES = 40


def small_panel(
    n_samples: int = 60, n_sites: int = N_SITES, seed: int = 3, missing: float = 0.01, switches: float = 0.04
) -> GenotypeMatrix:
    """Simulate a panel with strong linkage and a few missing calls: mosaics of eight founder haplotypes.

    `switches` is the probability of another founder from a site to the next.
    """
    rng = np.random.default_rng(seed)
    founders = rng.random((8, n_sites)) < rng.uniform(0.1, 0.6, n_sites)
    switch = rng.random((2 * n_samples, n_sites)) < switches
    switch[:, 0] = True
    drawn = rng.integers(0, 8, switch.shape)
    last = np.maximum.accumulate(np.where(switch, np.arange(n_sites), 0), axis=1)
    which = np.take_along_axis(drawn, last, axis=1)
    alleles = founders[which, np.arange(n_sites)]
    calls = (alleles[0::2].astype(np.int8) + alleles[1::2]).astype(np.int8)
    calls[rng.random(calls.shape) < missing] = -1
    samples = pd.DataFrame({"sample": [f"s{i}" for i in range(n_samples)]})
    sites = pd.DataFrame(
        {
            "contig": "1",
            "pos": np.arange(n_sites) * 1500 + 1000,
            "id": [f"v{i}" for i in range(n_sites)],
            "ref": "A",
            "alt": "C",
        }
    )
    return GenotypeMatrix(calls, samples, sites)


class ImputerContract:
    """Tests of the contract: subclass this class and set `imputer` to the imputer's class.

    Set `params` to a table that makes the imputer quick on 60 × 40 calls.
    """

    imputer: type[Imputer]
    params: ClassVar[dict[str, Any]] = {}
    order_tolerance = 1e-5  # largest change of a posterior when samples change places
    changed_by_order = (
        0.0  # share of hidden calls that may become another genotype then, for imputers that draw; 0 = tolerance holds
    )
    _model: Imputer

    @pytest.fixture
    def panel(self) -> GenotypeMatrix:
        return small_panel()

    @pytest.fixture
    def target(self) -> GenotypeMatrix:
        """Other samples of the same population, complete."""
        return small_panel(70, missing=0.0).take_samples(np.arange(60, 70))

    def make(self) -> Imputer:
        return self.imputer(self.imputer.parse_params(self.params), seed=5, threads=1)

    def fitted(self, panel: GenotypeMatrix) -> Imputer:
        hidden = np.zeros(panel.n_sites, dtype=bool)
        hidden[::2] = True
        return self.make().fit(panel, mask=TrainingMask("fixed", sites=hidden))

    @pytest.fixture
    def model(self, panel: GenotypeMatrix) -> Imputer:
        """Imputer fitted once for the whole class: no test changes it."""
        if "_model" not in vars(type(self)):
            type(self)._model = self.fitted(panel)
        return type(self)._model

    def masked(self, target: GenotypeMatrix) -> GenotypeMatrix:
        hidden = np.zeros(target.n_sites, dtype=bool)
        hidden[::2] = True
        return target.hide(hidden)

    def check(self, posterior: np.ndarray, target: GenotypeMatrix) -> None:
        assert posterior.dtype == np.float32
        assert posterior.shape == (*target.calls.shape, 3)
        assert np.isfinite(posterior).all() and (posterior >= 0).all()
        np.testing.assert_allclose(posterior.sum(axis=2), 1.0, atol=1e-5)

    def test_rows_sum_to_one(self, model: Imputer, target: GenotypeMatrix) -> None:
        masked = self.masked(target)
        self.check(model.posterior(masked), masked)

    def test_observed_calls_are_untouched(self, model: Imputer, target: GenotypeMatrix) -> None:
        masked = self.masked(target)
        imputed = impute(model, masked)
        seen = masked.calls >= 0
        assert (imputed.calls[seen] == masked.calls[seen]).all()
        assert (imputed.dosages[seen] == masked.calls[seen]).all()
        assert (imputed.calls >= 0).all()

    def test_nothing_missing(self, model: Imputer, target: GenotypeMatrix) -> None:
        assert (impute(model, target).calls == target.calls).all()

    def test_everything_missing(self, model: Imputer, panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
        posterior = model.posterior(target.hide(np.ones(target.n_sites, dtype=bool)))
        np.testing.assert_allclose(posterior, np.broadcast_to(panel.genotype_frequencies(), posterior.shape), atol=1e-6)

    def test_one_site_seen(self, model: Imputer, target: GenotypeMatrix) -> None:
        hidden = np.ones(target.n_sites, dtype=bool)
        hidden[7] = False
        self.check(model.posterior(target.hide(hidden)), target)

    def test_partly_missing_sites(self, model: Imputer, target: GenotypeMatrix) -> None:
        hidden = np.random.default_rng(1).random(target.calls.shape) < 0.3
        hidden[0] = False
        masked = target.hide(hidden)
        self.check(model.posterior(masked), masked)
        assert (impute(model, masked).calls[~hidden] == target.calls[~hidden]).all()

    def test_same_seed_same_result(self, model: Imputer, panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
        masked = self.masked(target)
        np.testing.assert_array_equal(self.fitted(panel).posterior(masked), model.posterior(masked))

    def test_save_and_load(self, model: Imputer, target: GenotypeMatrix, tmp_path: Path) -> None:
        model.save(tmp_path / "model")
        loaded = type(model).load(tmp_path / "model")
        masked = self.masked(target)
        np.testing.assert_array_equal(loaded.posterior(masked), model.posterior(masked))
        assert not [p for p in tmp_path.rglob("*") if p.suffix in {".pkl", ".pickle", ".joblib"}]
        for file in [p for p in (tmp_path / "model").rglob("*") if p.is_file() and p.name != TABLE]:
            content = file.read_bytes()
            file.write_bytes(content + b" ")
            with pytest.raises(InputError, match=f"{re.escape(str(file))} is not as it was"):
                type(model).load(tmp_path / "model")
            file.write_bytes(content)

    def test_wrong_sites_are_refused(self, model: Imputer, target: GenotypeMatrix) -> None:
        sites = target.sites.copy()
        sites.loc[4, ["ref", "alt"]] = ["C", "A"]
        swapped = GenotypeMatrix(target.calls, target.samples, sites)
        with pytest.raises(InputError, match=r"1:7000:A:C .*1:7000:C:A"):
            model.posterior(swapped)
        with pytest.raises(InputError, match="expects 40 sites"):
            model.posterior(target.take_sites(np.arange(39)))

    def test_panel_without_samples(self, panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
        """Expect a refusal in one line, unless the imputer learns from the target: then the sites are enough."""
        sites_alone = panel.take_samples(np.zeros(panel.n_samples, dtype=bool))
        if self.make().needs_panel:
            with pytest.raises(InputError, match=f"imputer {self.imputer.name} learns from a reference panel"):
                self.fitted(sites_alone)
        else:
            masked = target.hide(np.random.default_rng(1).random(target.calls.shape) < 0.2)
            self.check(self.fitted(sites_alone).posterior(masked), masked)

    def test_draws_are_of_the_posterior(self, model: Imputer, target: GenotypeMatrix) -> None:
        if DRAWS not in self.imputer.handles:
            pytest.skip(f"{self.imputer.name} does not draw haplotypes")
        masked = self.masked(target)
        drawn = model.draw(masked, 300, seed=1)
        assert drawn.dtype == np.int8 and drawn.shape == (300, target.n_samples, 2, target.n_sites)
        assert set(np.unique(drawn)) <= {0, 1}
        calls, seen = drawn.sum(axis=2), masked.calls >= 0
        assert (calls[:, seen] == masked.calls[seen]).all()
        shares = np.stack([(calls == genotype).mean(axis=0) for genotype in range(3)], axis=2)
        np.testing.assert_allclose(
            shares, model.posterior(masked), atol=0.15
        )  # five standard errors of a share of a half
        np.testing.assert_array_equal(model.draw(masked, 300, seed=1), drawn)
        assert (model.draw(masked, 300, seed=2) != drawn).any()

    def test_unknown_parameter_is_refused(self) -> None:
        with pytest.raises(InputError, match="no_such"):
            self.imputer.parse_params({"no_such": 1})

    def test_what_studies_begin_with_is_valid(self) -> None:
        if not self.imputer.starts:
            pytest.skip(f"{self.imputer.name} gives no starts to studies")
        FixedTrial = pytest.importorskip("optuna.trial").FixedTrial
        for start in self.imputer.starts:
            params = self.imputer.parse_params(start)
            assert params != self.imputer.Params()
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a value outside the space is a warning
                assert self.imputer.search_space(FixedTrial(params.model_dump())) == params  # type: ignore[attr-defined]

    def test_search_space_holds_the_defaults(self) -> None:
        if not self.imputer.tunable():
            pytest.skip(f"{self.imputer.name} has nothing to tune")
        FixedTrial = pytest.importorskip("optuna.trial").FixedTrial
        defaults = self.imputer.Params()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a value outside the space is a warning
            found = self.imputer.search_space(FixedTrial(defaults.model_dump()))  # type: ignore[attr-defined]
        assert found == defaults

    def test_order_of_samples_does_not_matter(self, model: Imputer, target: GenotypeMatrix) -> None:
        masked = self.masked(target)
        reverse = np.arange(target.n_samples)[::-1]
        turned, straight = model.posterior(masked.take_samples(reverse))[reverse], model.posterior(masked)
        if self.changed_by_order:
            hidden = masked.calls == MISSING
            assert (turned.argmax(axis=2) != straight.argmax(axis=2))[hidden].mean() <= self.changed_by_order
        else:
            np.testing.assert_allclose(turned, straight, atol=self.order_tolerance)

    def test_fit_with_validation_then_refit(self, panel: GenotypeMatrix) -> None:
        """Do the two fits of every comparison: 80% with validation, then all samples with the parameters found."""
        hidden = np.zeros(panel.n_sites, dtype=bool)
        hidden[1::2] = True
        mask = TrainingMask("random")
        calls = np.random.default_rng(2).random((12, panel.n_sites)) < 0.2
        validation = Validation(panel.take_samples(np.arange(48, 60)), (hidden, calls))
        first = self.make().fit(panel.take_samples(np.arange(48)), validation, mask)
        again = self.imputer(first.refit_params(), seed=5).fit(panel, None, mask)
        masked = self.masked(panel)
        self.check(again.posterior(masked), masked)
