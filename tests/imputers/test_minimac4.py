"""Minimac4 through its description: the contract, single holes, several contigs, what is recorded, the real panels."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snpimpute import imputers
from snpimpute.dataset.site_lists import read_masked_sites
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer
from snpimpute.imputers.testing import ImputerContract, small_panel
from snpimpute.io.matrix import read_matrix
from snpimpute.metrics.scores import f1_macro

Minimac4: Any = imputers.load("minimac4")
QUICK = {"phasing": {"iterations": 2, "burnin": 1}}


def minimac4(**params: Any) -> Any:
    return Minimac4(Minimac4.parse_params(QUICK | params), seed=5, threads=1)


class TestMinimac4(ImputerContract):
    imputer = Minimac4
    params = QUICK
    changed_by_order = 0.25  # Beagle's phasing draws its random numbers sample by sample, in their order

    def test_hidden_sites_have_probabilities_and_beat_the_frequencies(
        self, model: Imputer, target: GenotypeMatrix
    ) -> None:
        hidden = np.arange(target.n_sites) % 2 == 0
        posterior = model.posterior(target.hide(hidden))[:, hidden]
        assert model.gives_posterior(target.hide(hidden))
        assert len(np.unique(posterior.round(3))) > 50
        guessed = np.broadcast_to(model.frequencies[hidden].argmax(axis=1), target.calls[:, hidden].shape)
        truth = target.calls[:, hidden]
        assert f1_macro(truth, posterior.argmax(axis=2)) > f1_macro(truth, guessed) + 0.2

    def test_single_holes_are_its_own_work_not_the_phasing_s(self, model: Imputer, target: GenotypeMatrix) -> None:
        """Minimac4 ends at an assertion where the first sample lacks a call: it is the first here that does."""
        hidden = np.random.default_rng(4).random(target.calls.shape) < 0.2
        assert hidden[0].sum() > 3
        posterior = model.posterior(target.hide(hidden))[hidden]
        assert len(np.unique(posterior.max(axis=1).round(3))) > 20, "probabilities, not Beagle's calls"
        frequencies = np.broadcast_to(model.frequencies, (*hidden.shape, 3))[hidden]
        truth = target.calls[hidden][:, None]
        assert np.take_along_axis(posterior, truth, 1).mean() > np.take_along_axis(frequencies, truth, 1).mean() + 0.1

    def test_run_is_recorded(self, model: Any, target: GenotypeMatrix, tmp_path: Path) -> None:
        model.posterior(self.masked(target))
        assert re.fullmatch(r"minimac v4\.\d+\.\d+", model.version)
        phased, compressed = model.logs[0], model.logs[1]
        assert "gt=target.vcf.gz" in phased and "ref=" not in phased
        assert "--compress-reference panel.vcf.gz" in compressed
        assert "ref=panel.vcf.gz" in model.logs[-2] and "impute=false" in model.logs[-2]
        assert "--match-error 0.01 --min-recom 1e-05" in model.logs[-1] and "Running HMM" in model.logs[-1]
        model.save(tmp_path / "model")
        kept = (tmp_path / "model" / "state" / "program.log").read_text()
        assert compressed in kept and model.logs[-1] in kept
        assert Minimac4.load(tmp_path / "model").version == model.version


def test_each_contig_has_runs_of_its_own() -> None:
    """Two contigs side by side give what each gives alone; one without a typed site, or with one, is no failure."""
    n = 30
    one = small_panel(n + 8, missing=0.0)
    sites = one.sites.assign(contig=np.repeat(["1", "chr_2"], 20))
    both = GenotypeMatrix(one.calls, one.samples, sites)
    panel, target = both.take_samples(np.arange(n)), both.take_samples(np.arange(n, n + 8))
    alone = panel.take_sites(slice(0, 20)), target.take_sites(slice(0, 20))
    hidden = np.arange(40) % 2 == 0
    hidden[20:] = True
    model = minimac4().fit(panel)
    posterior = model.posterior(target.hide(hidden))
    np.testing.assert_allclose(posterior[:, 20:], np.broadcast_to(model.frequencies[20:], (8, 20, 3)), atol=1e-6)
    found = posterior[:, :20].argmax(axis=2)
    expected = minimac4().fit(alone[0]).posterior(alone[1].hide(hidden[:20])).argmax(axis=2)
    assert (found == expected).mean() > 0.9  # the phase, drawn at random, may differ
    hidden[30] = False
    posterior = model.posterior(target.hide(hidden))
    linked = ~np.isclose(posterior[:, 20:], model.frequencies[20:]).all(axis=(0, 2))
    assert linked.sum() > 5, "a single typed site tells of the contig"


def test_more_samples_than_a_batch_holds() -> None:
    """Minimac4 takes 200 samples at a time by default, and stops where the first of a batch lacks a call."""
    panel = small_panel(30, n_sites=20, missing=0.0)
    target = small_panel(240, n_sites=20, seed=8, missing=0.0)
    hidden = np.zeros(target.calls.shape, dtype=bool)
    hidden[190:210, 5] = True
    posterior = minimac4().fit(panel).posterior(target.hide(hidden))
    assert np.isfinite(posterior).all()


def test_the_map_is_the_phasing_s_and_kept(tmp_path: Path) -> None:
    panel = small_panel(20, n_sites=10)
    path = tmp_path / "a.map"
    path.write_text("1 . 0 1000\n1 . 5 14500\n")
    model = minimac4(map=path).fit(panel)
    model.save(tmp_path / "model")
    path.unlink()
    loaded = Minimac4.load(tmp_path / "model")
    loaded.posterior(panel.hide(np.arange(10) == 4))
    assert "map=genetic.map" in loaded.logs[0] and "map=genetic.map" in loaded.logs[-2]


def test_search_space_is_the_description_s() -> None:
    assert [v.tune for v in Minimac4.variants.values()] == [False, True]
    assert set(Minimac4.about.search) == {"match_error", "min_recom"}


@pytest.mark.panels
@pytest.mark.skipif("SNPIMPUTE_PANELS" not in os.environ, reason="SNPIMPUTE_PANELS is not set")
@pytest.mark.parametrize(("level", "least"), [(30.0, 0.975), (60.0, 0.97)])
def test_scores_on_the_real_panel(level: float, least: float) -> None:
    """Ahead of Beagle at its best setting in the panel's beagle.json (.965 and .951)."""
    folder = Path(os.environ["SNPIMPUTE_PANELS"]) / "kg15-500"
    train, _ = read_matrix(folder / "train.vcf.gz")
    test, _ = read_matrix(folder / "test.vcf.gz")
    hidden = read_masked_sites(folder / "masked_sites.tsv", test.sites)[level]
    calls = Minimac4(seed=1, threads=1).fit(train).posterior(test.hide(hidden)).argmax(axis=2)
    assert f1_macro(test.calls[:, hidden], calls[:, hidden]) >= least
