"""The imputer that `fit` chooses where none is named: the better one of a trial, the same one each time, with its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.choice import AUTO, LEAST_PANEL, TRIED, choose
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.panel import held_out
from snpimpute.imputers.beagle import Beagle
from snpimpute.imputers.testing import small_panel
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf
from tests.cli.test_app import refused, said

CHIP = 3  # every third site is typed


class Told(Watch):
    """Watch that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stages: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def stage(self, text: str, at_most: float | None = None) -> None:
        self.stages.append(text)


def panel_file(folder: Path, haplotypes: np.ndarray) -> Path:
    """A phased panel of haplotypes, bool (2 * n_samples, n_sites), and the list of its typed sites beside it."""
    pairs = haplotypes.reshape(-1, 2, haplotypes.shape[1]).astype(np.int8)
    like = small_panel(len(pairs), n_sites=haplotypes.shape[1])
    write_vcf(
        folder / "panel.vcf.gz",
        GenotypeMatrix(pairs.sum(axis=1, dtype=np.int8), like.samples, like.sites, pairs.transpose(0, 2, 1)),
    )
    (folder / "chip.txt").write_text("\n".join(like.site_keys()[1::CHIP]))
    return folder / "panel.vcf.gz"


def asked(panel: Path, **changes) -> FitSettings:
    given = {"panel": panel, "name": "calves", "imputer": AUTO, "typed": panel.with_name("chip.txt"), "threads": 2}
    return FitSettings(**{**given, **changes})


@pytest.fixture
def of_few_founders(tmp_path) -> Path:
    """A panel of 40 samples that are mosaics of six founders, of whom single sites say little: what mosaic is made for; 89 sites vary."""
    rng = np.random.default_rng(4)
    founders = rng.random((6, 90)) < 0.5
    pieces = rng.integers(6, size=(80, 3))
    return panel_file(tmp_path, founders[np.repeat(pieces, 30, axis=1), np.arange(90)])


@pytest.fixture
def of_twins(tmp_path) -> Path:
    """A panel without linkage in which each typed site has two copies, far from it: a regression finds them, no haplotype does."""
    rng = np.random.default_rng(4)
    typed = rng.random((240, 30)) < 0.5
    haplotypes = typed[:, rng.permutation(90) % 30]
    haplotypes[:, 1::CHIP] = typed
    return panel_file(tmp_path, haplotypes)


def test_the_one_that_does_better_is_chosen_whichever_it_is(of_few_founders, tmp_path):
    watch = Told()
    settings, choice = choose(asked(of_few_founders), tmp_path / "runs", watch)
    assert settings == replace(asked(of_few_founders), imputer="mosaic") and choice.imputer == "mosaic"
    mosaic, softmax = choice.tried
    assert [one.imputer for one in choice.tried] == list(TRIED) and mosaic.f1_macro > softmax.f1_macro + 0.02
    first, *tried, other = watch.lines
    assert first == "imputer: mosaic, as it did best in a trial (7 samples, 89 sites of contig 1)"
    assert (
        f"softmax_regression {softmax.right:.1%} of the hidden calls right" in tried[1]
        and "of the processor" in tried[1]
    )
    assert "--imputer softmax_regression" in other
    assert watch.stages == ["read panel.vcf.gz", "try mosaic and softmax_regression on 7 samples and 89 sites"]


def test_a_regression_that_does_better_is_fitted_without_a_second_look_at_the_panel(
    of_twins, tmp_path, capsys, monkeypatch
):
    """From the command line, in JSON; started again, it says the same and tries nothing."""
    command = ["fit", of_twins, "--typed-sites", of_twins.with_name("chip.txt"), "--json", "--runs", tmp_path / "runs"]
    monkeypatch.setattr("snpimpute.cli.files.is_installed", lambda name: False)
    outcomes = [said(capsys, monkeypatch, *command) for _ in range(2)]
    (status, first, err), (_, second, again) = outcomes
    assert status == 0, err
    assert json.loads(first)["imputer"] == "softmax_regression" and first == second
    assert json.loads(first)["chosen"].startswith("as it did best in a trial")
    assert err.count(" read ") == 1 and " try mosaic" in err and " read " not in again and " try " not in again
    tried = [[line.split(" ", 1)[1] for line in text.splitlines() if " tried: " in line] for text in (err, again)]
    assert tried[0] == tried[1] and len(tried[0]) == 2
    assert not list((tmp_path / "runs").rglob("panel")), "what was read of the panel is gone"


def test_samples_that_are_held_out_take_no_part_and_the_choice_is_the_same_each_time(of_few_founders, tmp_path):
    settings = asked(of_few_founders, holdout=0.25)
    found = [choose(settings, tmp_path / name)[1] for name in ("here", "there")]
    assert [(one.imputer, [(t.right, t.f1_macro) for t in one.tried]) for one in found][::-1] == [
        (one.imputer, [(t.right, t.f1_macro) for t in one.tried]) for one in found
    ]
    (plan,) = (json.loads(path.read_text()) for path in (tmp_path / "here").rglob("plan.json"))
    held = np.flatnonzero(held_out(settings, small_panel(40, n_sites=90)))
    parts = [plan["judged"], plan["learned_from"], held.tolist()]
    assert sorted(np.concatenate(parts)) == list(range(40)) and len(held) == 10
    other = choose(replace(settings, seed=2), tmp_path / "here")[1]
    assert other.tried != found[0].tried, "another seed draws other samples"


def test_a_panel_that_is_too_small_for_a_trial_is_told_so(of_few_founders, tmp_path):
    few = panel_file(tmp_path, np.random.default_rng(1).random((2 * LEAST_PANEL, 30)) < 0.5)
    choice = choose(asked(few), tmp_path / "runs")[1]
    assert choice.imputer == "mosaic" and choice.tried == ()
    assert choice.reason == "as 27 samples of the panel are too few for a trial"


def test_parameters_go_with_a_name(of_twins, capsys, monkeypatch, tmp_path):
    (tmp_path / "found.toml").write_text("states = 20\n")
    line = refused(capsys, monkeypatch, tmp_path, "fit", of_twins, "--params", tmp_path / "found.toml")
    assert "parameters are those of one imputer: give its name, as in --imputer mosaic" in line


def test_without_beagle_a_small_panel_is_phased_by_the_model_and_a_large_one_is_not(
    of_few_founders, tmp_path, monkeypatch
):
    def missing() -> None:
        raise InputError("Beagle is not there: apt-get install beagle")

    monkeypatch.setattr(Beagle, "require_programs", missing)
    panel = read_matrix(of_few_founders)[0].take_sites(slice(0, 60))
    write_vcf(tmp_path / "unphased.vcf.gz", replace(panel, haplotypes=None))
    wanted = asked(tmp_path / "unphased.vcf.gz", typed=of_few_founders.with_name("chip.txt"))
    settings, choice = choose(wanted, tmp_path / "small")
    assert (settings.imputer, settings.params) == ("mosaic", {"phased_by": "itself"}) and len(choice.tried) == 2
    assert choice.lines()[0].startswith("imputer: mosaic (phased_by = itself), as it did best in a trial")
    assert fit(settings, tmp_path / "small").folder.parent.name.startswith("calves-mosaic-panel-")
    monkeypatch.setattr("snpimpute.impute.choice.ITSELF_CALLS", 2000)
    settings, choice = choose(wanted, tmp_path / "large")
    assert (settings.imputer, choice.tried) == ("softmax_regression", ())
    assert choice.reason == (
        "as mosaic takes long to phase 2,400 calls without Beagle (Beagle is not there: apt-get install beagle)"
    )
