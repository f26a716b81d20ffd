"""PLINK's proxy imputation: contract, what is a proxy, alleles the right way round, what is recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer
from snpimpute.imputers.plink_proxy import PlinkProxy
from snpimpute.imputers.testing import ImputerContract, small_panel
from snpimpute.metrics.scores import f1_macro


class TestPlinkProxy(ImputerContract):
    imputer = PlinkProxy

    def test_better_than_the_frequencies(self, model: Imputer, target: GenotypeMatrix) -> None:
        hidden = np.arange(target.n_sites) % 2 == 0
        posterior = model.posterior(target.hide(hidden))[:, hidden]
        guessed = np.broadcast_to(model.frequencies[hidden].argmax(axis=1), target.calls[:, hidden].shape)
        truth = target.calls[:, hidden]
        assert f1_macro(truth, posterior.argmax(axis=2)) > f1_macro(truth, guessed) + 0.15

    def test_run_is_recorded(self, model: PlinkProxy, target: GenotypeMatrix, tmp_path: Path) -> None:
        model.posterior(self.masked(target))
        assert model.version == "PLINK v1.07 (10/Aug/2009)"
        log = model.logs[-1]
        assert "--proxy-maxsnp 5" in log and "--proxy-b-window 30" in log
        assert "Imputation reference panel of 60 individuals" in log
        assert "0 cases, 10 controls and 60 missing" in log
        model.save(tmp_path / "model")
        assert log in (tmp_path / "model" / "state" / "plink.log").read_text()
        assert PlinkProxy.load(tmp_path / "model").version == model.version


@pytest.mark.parametrize("rarer", ["alt", "ref"])
def test_either_allele_may_be_the_rarer(rarer: str) -> None:
    """A site like its neighbours is imputed right, whichever allele PLINK would call the first."""
    calls = np.random.default_rng(1).binomial(2, 0.42, (120, 1)).astype(np.int8) @ np.ones((1, 6), dtype=np.int8)
    matrix = small_panel(120, n_sites=6, missing=0.0)
    matrix = GenotypeMatrix(calls if rarer == "alt" else (2 - calls).astype(np.int8), matrix.samples, matrix.sites)
    panel, target = matrix.take_samples(np.arange(80)), matrix.take_samples(np.arange(80, 120))
    hidden = np.arange(6) == 2
    posterior = PlinkProxy().fit(panel).posterior(target.hide(hidden))
    assert (posterior[:, 2].argmax(axis=1) == target.calls[:, 2]).all()
    assert (np.bincount(target.calls[:, 2], minlength=3) > 1).all()


def test_sites_hidden_for_all_are_no_proxies() -> None:
    """With a target of a tenth PLINK would take them for proxies: two sites alike, and both hidden, tell nothing."""
    rng = np.random.default_rng(2)
    pair = rng.binomial(2, 0.4, (110, 1)).astype(np.int8)
    calls = np.concatenate([pair, pair, rng.binomial(2, 0.4, (110, 4)).astype(np.int8)], axis=1)
    matrix = small_panel(110, n_sites=6, missing=0.0)
    matrix = GenotypeMatrix(calls, matrix.samples, matrix.sites)
    hidden = np.arange(6) < 2
    model = PlinkProxy().fit(matrix.take_samples(np.arange(100)))
    model.posterior(matrix.take_samples(np.arange(100, 110)).hide(hidden))
    assert "--proxy-exclude-list hidden.txt" in model.logs[-1]


def test_contigs_are_imputed_one_by_one() -> None:
    """What a contig is called, and what stands beside it, changes nothing; a contig of one site has the frequencies."""
    matrix = small_panel(70, missing=0.0)
    sites = matrix.sites.assign(contig=["chrUn_7"] * 39 + ["MT"])
    renamed = GenotypeMatrix(matrix.calls, matrix.samples, sites)
    hidden = np.arange(40) % 3 == 0
    panel, target = renamed.take_samples(np.arange(60)), renamed.take_samples(np.arange(60, 70))
    model = PlinkProxy().fit(panel)
    posterior = model.posterior(target.hide(hidden))
    np.testing.assert_allclose(posterior[:, 39], np.broadcast_to(model.frequencies[39], (10, 3)), atol=1e-6)
    alone = [m.take_sites(slice(0, 39)) for m in (panel, target)]
    expected = PlinkProxy().fit(alone[0]).posterior(alone[1].hide(hidden[:39]))
    np.testing.assert_array_equal(posterior[:, :39], expected)


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"^plink1 is missing: imputer plink_proxy needs it \(Debian: apt-get install plink"
    ):
        PlinkProxy.require_programs()
    monkeypatch.setenv("SNPIMPUTE_PLINK1", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"^SNPIMPUTE_PLINK1 names .*none, which is not a program$"):
        PlinkProxy.require_programs()


def test_failure_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "plink1"
    broken.write_text("#!/bin/sh\necho some talk\necho 'ERROR: out of luck'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("SNPIMPUTE_PLINK1", str(broken))
    matrix = small_panel(20, n_sites=8, missing=0.0)
    model = PlinkProxy().fit(matrix)
    with pytest.raises(InputError, match=r"^PLINK failed: ERROR: out of luck$"):
        model.posterior(matrix.hide(np.arange(8) == 3))
