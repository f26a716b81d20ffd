"""Typed calls hidden on purpose: what is told of them is what hiding them by hand gives, and the imputed file does not change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.hidden import calls_to_hide, hidden_lines, hidden_quality, sample_rows, save_hidden
from snpimpute.impute.windows import WindowedModel, owned_by
from snpimpute.io.matrix import read_matrix
from tests.impute.test_real_files import Folder
from tests.impute.test_records import N_PANEL, N_TARGET, haplotypes, spelled, split_samples, write
from tests.io.test_vcf import record
from tests.traits.data import matrix_of

N_SITES = 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Panel, a target of every second site with some calls missing, and a model of 80 sites a window."""
    made = Folder(tmp_path_factory.mktemp("hidden"))
    panel, target = split_samples(haplotypes(N_SITES))
    rng = np.random.default_rng(1)
    rows: dict[str, list[str]] = {"panel": [], "target": []}
    for site in range(N_SITES):
        rows["panel"].append(record(1000 + 10 * site, spelled(panel[:, site])))
        if site % 2 == 0:
            own = spelled(np.sort(target[:, site].reshape(-1, 2)).ravel(), "/")
            rows["target"].append(record(1000 + 10 * site, ["./." if rng.random() < 0.05 else call for call in own]))
    write(made.path / "panel.vcf", rows["panel"], N_PANEL, "p")
    write(made.path / "target.vcf", rows["target"], N_TARGET, "t")
    asked = {"params": {"switch": 0.01, "states": 40}, "holdout": 0.0, "threads": 1, "window": "80"}
    fit(FitSettings(made.path / "panel.vcf", "mosaic", "mosaic", **asked), made.path / "runs")
    return made


def model_of(folder: Folder) -> str:
    return str(next((folder.path / "runs" / "models").glob("mosaic-mosaic-*")) / "model")


def test_what_is_told_is_what_hiding_by_hand_gives_and_the_output_stays(folder: Folder) -> None:
    plain, hiding = (["impute", "target.vcf", "-o", f"{name}.vcf", "--model", model_of(folder), "--threads", "1"] for name in ("plain", "hiding"))  # fmt: skip
    folder.ok(*plain)
    told = json.loads(folder.ok(*hiding, "--hide", "10%", "--seed", "4", "--json"))
    assert folder.records("plain.vcf") == folder.records("hiding.vcf")

    model = WindowedModel(Path(model_of(folder)))
    typed, _ = read_matrix(folder.path / "target.vcf")
    calls = np.full((N_TARGET, N_SITES), MISSING, dtype=np.int8)
    calls[:, ::2] = typed.calls
    target = GenotypeMatrix(calls, typed.samples, model.sites)
    right: dict[str, list[bool]] = {name: [] for name in target.names}
    for number, window in enumerate(model.windows):
        part = target.take_sites(window.sites)
        hidden = calls_to_hide(part.calls, owned_by(model.windows, number), 0.1, 4, number)
        found = model.imputer(number).posterior(part.hide(hidden)).argmax(axis=2)
        for sample, site in zip(*np.nonzero(hidden), strict=True):
            right[target.names[sample]].append(bool(found[sample, site] == part.calls[sample, site]))
    everything = [came_back for own in right.values() for came_back in own]
    assert told["hidden"]["all"]["calls"] == len(everything)
    assert 0.05 * (calls != MISSING).sum() < len(everything) < 0.15 * (calls != MISSING).sum()
    assert told["hidden"]["all"]["concordance"] == pytest.approx(np.mean(everything), abs=1e-4)
    assert told["hidden"]["all"]["concordance"] > 0.9 and told["hidden"]["all"]["r2"] > 0.8
    for name, own in told["hidden"]["samples"].items():
        assert (own["calls"], own["concordance"]) == (len(right[name]), pytest.approx(np.mean(right[name]), abs=1e-4))

    table = pd.read_csv(folder.path / "hiding.vcf.samples.tsv", sep="\t")
    assert table["sample"].tolist() == target.names and told["samples_table"] == "hiding.vcf.samples.tsv"
    assert table["expected_r2"].tolist() == pytest.approx(list(told["expected_r2"].values()))
    assert table["hidden_calls"].sum() == len(everything)


def test_the_same_seed_hides_the_same_and_the_summary_says_it(folder: Folder) -> None:
    command = ["impute", "target.vcf", "-o", "again.vcf", "--model", model_of(folder), "--threads", "1", "--force"]
    said = [folder.ok(*command, "--hide", "5%", "--seed", seed) for seed in ("1", "1", "2")]
    lines = [next(line for line in text.splitlines() if line.startswith("typed calls hidden")) for text in said]
    assert lines[0] == lines[1] != lines[2]
    assert "came back as they were" in lines[0] and "by their posterior" in lines[0]
    without_panel = ["impute", "target.vcf", "-o", "alone.vcf", "--no-panel", "--imputer", "ld_knn", "--threads", "1"]
    assert "typed calls hidden on purpose: " in folder.ok(*without_panel, "--hide", "0.05")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hide", "100%"], "--hide 1 is no share of the typed calls: give 2%, or a share below 100%"),
        (["--hide=-2%"], "--hide -0.02 is no share of the typed calls"),
        (["--hide", "2%", "--use", "PL"], "--hide compares with calls, and --use PL reads likelihoods"),
        (["--hide", "some"], "--hide 'some' is no share"),
    ],
)
def test_what_cannot_be_hidden_is_one_line(folder: Folder, options: list[str], said: str) -> None:
    assert said in folder.refused("impute", "target.vcf", "-o", "no.vcf", "--model", model_of(folder), *options)
    assert not (folder.path / "no.vcf").exists()


def test_scores_are_those_of_numpy_and_haploid_calls_are_homozygotes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    calls = rng.integers(-1, 3, (6, 40)).astype(np.int8)
    hidden = (rng.random(calls.shape) < 0.5) & (calls != MISSING)
    hidden[5] = False
    posterior = rng.dirichlet(np.ones(3), calls.shape).astype(np.float32)
    for name, part in (("a", slice(0, 25)), ("b", slice(25, 40))):
        save_hidden(tmp_path / name, np.arange(40)[part], hidden[:, part], posterior[:, part])
    files, target = [tmp_path / "a", tmp_path / "b"], matrix_of(calls)
    found = hidden_quality(files, target, None)
    assert found["all"]["calls"] == hidden.sum() and set(found["samples"]) == {f"s{i}" for i in range(5)}
    mean = np.where(calls == MISSING, np.nan, calls)
    mean = np.nanmean(mean, axis=0)
    for i in range(5):
        own, here = found["samples"][f"s{i}"], hidden[i]
        right = posterior[i, here].argmax(axis=1) == calls[i, here]
        r = np.corrcoef((posterior[i] @ np.arange(3) - mean)[here], (calls[i] - mean)[here])[0, 1]
        assert own["concordance"] == pytest.approx(right.mean(), abs=1e-4)
        assert own["stated"] == pytest.approx(posterior[i, here].max(axis=1).mean(), abs=1e-4)
        assert own["r2"] == pytest.approx(r**2, abs=1e-4)

    ploidy = np.zeros((40, 6), dtype=np.int8)
    ploidy[:, 0] = 1
    two = posterior[0, hidden[0]] @ np.array([0, 0.5, 1])
    haploid = hidden_quality(files, target, ploidy)
    right = np.where(two > 0.5, 2, 0) == calls[0, hidden[0]]
    assert haploid["samples"]["s0"]["concordance"] == pytest.approx(right.mean(), abs=1e-4)
    assert haploid["samples"]["s1"] == found["samples"]["s1"]


def test_no_call_is_hidden_twice_and_a_share_that_hides_none_says_so(tmp_path: Path) -> None:
    calls = np.zeros((50, 60), dtype=np.int8)
    calls[:, 3] = MISSING
    owned = np.arange(60) < 30
    hidden = calls_to_hide(calls, owned, 0.2, 1, 7)
    assert not hidden[:, 30:].any() and not hidden[:, 3].any() and 0.15 < hidden[:, :30].mean() < 0.25
    assert (hidden != calls_to_hide(calls, owned, 0.2, 1, 8)).any()
    save_hidden(tmp_path / "none", np.arange(60), np.zeros_like(hidden), np.zeros((50, 60, 3), dtype=np.float32))
    found = hidden_quality([tmp_path / "none"], matrix_of(calls), None)
    scores = {"calls": 20, "concordance": 0.9, "stated": 0.88, "r2": None}
    few = {"all": scores | {"calls": 39}, "samples": {"a": scores, "b": scores | {"calls": 19, "concordance": 0.1}}}
    said = "typed calls hidden on purpose: 39, of which 90.0% came back as they were (88.0% by their posterior)"
    assert hidden_lines(few) == [f"{said}; lowest: a 0.900"]
    few["samples"].pop("a")
    assert hidden_lines(few) == [f"{said} (fewer than 20 of each sample: too few to compare samples)"]
    assert hidden_lines(found) == ["typed calls hidden on purpose: none; hide a larger share"]
    assert sample_rows(["a"], {"a": None}, found).splitlines()[1] == "a\t\t0\t\t\t"
