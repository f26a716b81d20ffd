"""Fitting a whole panel: measured honestly, taken up where it was, registered, promoted only if better."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute import champions
from snpimpute.impute.champions import compare, fetch_model, find_among, find_model, model_table, promote, rollback
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.windows import WindowedModel, owned_by
from snpimpute.imputers.softmax_regression import SoftmaxRegression
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.scores import f1_macro
from snpimpute.tracking.predictors import trait_model_name
from snpimpute.tracking.runs import RegisteredPredictor
from snpimpute.tracking.writer import Tracker
from snpimpute.tuning.parameters import read_params
from tests.cli.test_app import refused
from tests.tracking.test_writer import load_in_clean_process

N_SITES = 90


@pytest.fixture(scope="module")
def calves() -> GenotypeMatrix:
    """Sites that vary, so that none is filtered out."""
    kept, _ = apply_filter(small_panel(120, n_sites=180), SiteFilter())
    return kept.take_sites(slice(0, N_SITES))


@pytest.fixture(scope="module")
def panel(calves, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("panel") / "calves.vcf.gz"
    write_vcf(path, calves)
    return path


def settings(panel: Path, imputer: str = "softmax_regression", **changes) -> FitSettings:
    return FitSettings(
        **{"panel": panel, "name": "calves", "imputer": imputer, "window": "40", "threads": 2, **changes}
    )


@pytest.fixture(scope="module")
def store(calves, panel, tmp_path_factory):
    """Two imputers of one panel, registered: folder of runs, tracker, what fit gave for mode and for softmax regression."""
    runs = tmp_path_factory.mktemp("runs")
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    typed = runs / "chip.txt"
    typed.write_text("\n".join(calves.site_keys()[::3]))
    asked = {"typed": typed, "holdout": 0.25, "pilots": 0}
    return (
        runs,
        tracker,
        *(fit(settings(panel, name, **asked), runs, lambda: tracker) for name in ("mode", "softmax_regression")),
    )


def test_it_is_measured_on_samples_that_it_did_not_learn_from(store, calves):
    """The same figure again, from the samples that the plan says were held out and imputers fitted without them."""
    _, _, mode, softmax = store
    plan = json.loads((softmax.folder.parent / "plan.json").read_text())
    held = np.isin(np.arange(120), plan["held_out"])
    assert held.sum() == 30
    hidden = np.arange(N_SITES) % 3 > 0
    target = calves.take_samples(held)
    model = WindowedModel(softmax.folder)
    called = np.zeros_like(target.calls)
    for number, window in enumerate(model.windows):
        rest = calves.take_samples(~held).take_sites(window.sites)
        masked = target.hide(hidden).take_sites(window.sites)
        own = owned_by(model.windows, number)
        posterior = SoftmaxRegression(seed=1).fit(rest).posterior(masked)
        called[:, np.arange(window.start, window.stop)[own]] = posterior.argmax(axis=2)[:, own]
    expected = f1_macro(target.calls[:, hidden], called[:, hidden])
    row = softmax.scores[(softmax.scores.subset == "all") & (softmax.scores.metric == "f1_macro")].iloc[0]
    assert row.value == pytest.approx(expected, abs=1e-6) and row.low < row.value < row.high
    assert row.n == (target.calls[:, hidden] >= 0).sum() and row.pattern == "typed"
    known = {
        name: fitted.scores.set_index(["subset", "metric"]).value
        for name, fitted in (("mode", mode), ("softmax", softmax))
    }
    assert known["mode"]["all", "site_dosage_r2"] == 0
    assert known["softmax"]["all", "site_dosage_r2"] > 0.2
    varied = sum(np.ptp(site[site >= 0]) > 0 for site in target.calls[:, hidden].T)
    assert (
        known["mode"]["all", "sites_varied"] == varied
        and known["mode"]["all", "sites_constant"] == hidden.sum() - varied
    )


def test_all_samples_are_in_the_model(store, calves):
    softmax = store[3]
    model = WindowedModel.verified(softmax.folder)
    assert len(model.windows) == 3 and model.about["n_samples"] == 120
    for number, window in enumerate(model.windows):
        assert (model.imputer(number)._panel == calves.calls[:, window.sites]).all()
    np.testing.assert_allclose(model.sites["alt_frequency"], calves.alt_frequency(), rtol=1e-4)
    assert not (softmax.folder.parent / "panel").exists(), "the spool is gone"


def test_only_a_better_model_is_promoted_and_moves_are_kept(store):
    runs, tracker, mode, softmax = store
    table = model_table(tracker)
    assert table["imputer"].tolist() == ["mode", "softmax_regression"]
    assert table["aliases"].tolist() == ["champion, mode", "softmax_regression"], (
        "the first is champion until one is promoted"
    )
    assert mode.registered == "snpimpute-calves-panel version 1"
    models = [fetch_model(tracker, find_model(tracker, f"calves/{v}"), runs) for v in (1, 2)]
    differences = compare(*models)
    row = differences[(differences.subset == "all") & (differences.metric == "f1_macro")].iloc[0]
    scores = [
        x.scores[(x.scores.subset == "all") & (x.scores.metric == "f1_macro")].value.iloc[0] for x in (mode, softmax)
    ]
    assert row.difference == pytest.approx(scores[1] - scores[0], abs=1e-5) and row.low > 0.05
    assert "champion is version 2 (softmax_regression)" in promote(tracker, "calves/2", runs)
    assert find_model(tracker, None).version == "2" and find_model(tracker, "calves@champion").version == "2"
    with pytest.raises(
        InputError, match=r"version 1 \(mode\) is not better than the champion, version 2 .*typed: -0\."
    ):
        promote(tracker, "calves/1", runs)
    with pytest.raises(InputError, match="is the champion already"):
        promote(tracker, "calves/2", runs)
    assert rollback(tracker, "calves").endswith("champion is version 1 again")
    with pytest.raises(InputError, match="has no earlier champion"):
        rollback(tracker, "calves")
    moves = tracker.moves("snpimpute-calves-panel")
    assert [(m.before, m.to) for m in moves] == [("", "1"), ("1", "2"), ("2", "1")]
    assert all(m.who and m.when.tzinfo for m in moves) and "macro-F1 typed: +0." in moves[1].why
    promote(tracker, "calves/2", runs)


def test_a_difference_that_may_be_chance_promotes_nobody(store, monkeypatch):
    """The challenger is ahead by .01, with an interval that holds 0; from .001 on it would be the champion."""
    runs, tracker, *_ = store
    challenger = next(v for v in "12" if v != tracker.aliases("snpimpute-calves-panel")["champion"])

    def found(low: float) -> pd.DataFrame:
        row = ("typed", "all", "f1_macro", 0.8, 0.81, 0.01, low, 0.03)
        columns = ["pattern", "subset", "metric", "first", "second", "difference", "low", "high"]
        return pd.DataFrame([row], columns=columns)

    moved = []
    monkeypatch.setattr(tracker, "move_champion", lambda *move: moved.append(move))
    for low in (-0.01, 0.0):
        monkeypatch.setattr(champions, "compare", lambda *_, low=low: found(low))
        with pytest.raises(InputError, match=r"is not better than the champion.*typed: \+0\.0100"):
            promote(tracker, f"calves/{challenger}", runs)
    assert moved == []
    monkeypatch.setattr(champions, "compare", lambda *_: found(0.001))
    promote(tracker, f"calves/{challenger}", runs)
    assert len(moved) == 1


def test_what_is_not_registered_is_said(store):
    _, tracker, *_ = store
    for wanted, said in {
        "cows": "no model 'cows' is registered; there are snpimpute-calves-panel",
        "calves@best": "has no alias 'best'; it has champion, ",
        "calves/9": "has no version 9; it has 1, 2",
    }.items():
        with pytest.raises(InputError, match=said):
            find_model(tracker, wanted)


def test_a_name_that_ends_as_names_in_the_registry_do_is_one_model(store):
    tracker = store[1]
    names = ("milk", "milk-trait", "fat yield")
    models = [
        RegisteredPredictor(trait_model_name(name), "7", "", str(i), name, "ridge", {}) for i, name in enumerate(names)
    ]
    for wanted, trait in {
        "milk": "milk",
        "milk-trait": "milk-trait",
        "snpimpute-milk-trait": "milk",
        "fat yield": "fat yield",
    }.items():
        assert find_among(tracker, models, f"{wanted}/7", "trait").trait == trait


def test_models_measured_otherwise_are_not_compared(store, panel, tmp_path):
    softmax = store[3]
    other = fit(settings(panel, holdout=0.2, pilots=0), tmp_path)
    with pytest.raises(
        InputError, match=r"same samples, windows and pattern of missing calls \(other samples held out, "
    ):
        compare(WindowedModel(softmax.folder), WindowedModel(other.folder))
    unmeasured = fit(settings(panel, "mode", holdout=0.0), tmp_path)
    assert unmeasured.scores.empty
    with pytest.raises(InputError, match="was not measured: --holdout was 0%"):
        compare(WindowedModel(softmax.folder), WindowedModel(unmeasured.folder))


def test_models_are_compared_by_what_was_measured(store, panel, calves, tmp_path):
    """Another file, elsewhere and of another date, with the same genotypes: equal. Another chip: not."""
    text = gzip.decompress(panel.read_bytes()).decode()
    copied = tmp_path / "elsewhere.vcf"
    copied.write_text(text.replace("\n", "\n##fileDate=20261127\n", 1))
    chip = tmp_path / "sites of the chip.tsv"
    chip.write_text("\n".join(key.replace(":", "\t", 1).split(":")[0] for key in calves.site_keys()[::3]))
    asked = {"name": "calves-again", "holdout": 0.25, "pilots": 0}
    again = fit(settings(copied, "mode", typed=chip, **asked), tmp_path)
    table = compare(WindowedModel(again.folder), WindowedModel(store[3].folder))
    assert table[(table.subset == "all") & (table.metric == "f1_macro")].low.iloc[0] > 0.05
    table = compare(WindowedModel(again.folder), WindowedModel(store[2].folder))
    assert (table.difference.dropna() == 0).all() and len(table.difference.dropna()) >= 2
    fewer = fit(settings(copied, "mode", typed=None, **asked), tmp_path)
    with pytest.raises(InputError, match=r"pattern of missing calls \(other calls hidden\): fit both"):
        compare(WindowedModel(again.folder), WindowedModel(fewer.folder))


def test_the_registered_model_answers(store, calves, tmp_path):
    """As any MLflow model, loaded where nothing of this process is."""
    tracker = store[1]
    target = calves.take_samples(slice(0, 3)).hide(np.arange(N_SITES) % 3 > 0)
    table = pd.DataFrame(target.calls, index=target.names, columns=target.site_keys())
    load_in_clean_process(tracker.uri, "models:/snpimpute-calves-panel/2", table, tmp_path / "there")
    answered = np.load(tmp_path / "there" / "imputed.npz", allow_pickle=True)
    expected = WindowedModel(store[3].folder).posterior(target)
    np.testing.assert_allclose(answered["posterior"], expected, atol=1e-5)


@pytest.mark.panels  # half a minute
def test_networks_take_epochs_and_calibration_from_the_measured_windows(panel, tmp_path):
    little = {"epochs": 3, "hidden_1": 8, "hidden_2": 8, "z": 4, "patience": 1}
    # one thread: a process for all windows, which imports the framework once
    fitted = fit(settings(panel, "dense", params=little, pilots=2, holdout=0.2, threads=1), tmp_path)
    found = [
        json.loads(path.read_text())["params"] for path in sorted((fitted.folder.parent / "measured").glob("*.json"))
    ]
    assert len(found) == 2
    params = WindowedModel(fitted.folder).about["params"]
    assert params["stop_after"] == int(np.median([one["stop_after"] for one in found])) <= 3
    np.testing.assert_allclose(params["calibration"], np.mean([one["calibration"] for one in found], axis=0))
    assert WindowedModel(fitted.folder).imputer(1).params.stop_after == params["stop_after"]


def test_a_study_in_some_windows_serves_all(panel, tmp_path):
    asked = settings(panel, params={"iterations": 5}, trials=3, pilots=1)
    fitted = fit(asked, tmp_path)
    home = fitted.folder.parent
    found = read_params(home / "study.toml")
    model = WindowedModel(fitted.folder)
    assert {model.imputer(i).params.l2 for i in range(3)} == {found["l2"]} and model.about["params"]["iterations"] == 5
    (home / "fit.json").unlink()
    shutil.rmtree(home / "model")
    before = (home / "study.journal").read_bytes()
    fit(asked, tmp_path)
    assert (home / "study.journal").read_bytes() == before, "the study is not run again"


def test_calls_are_hidden_as_a_target_lacks_them(panel, calves, tmp_path):
    target = calves.take_samples(slice(0, 20)).take_sites(np.arange(0, N_SITES, 2))
    target = target.hide(np.random.default_rng(1).random(target.calls.shape) < 0.1)
    write_vcf(tmp_path / "target.vcf.gz", target)
    fitted = fit(settings(panel, "mode", typed=tmp_path / "target.vcf.gz", holdout=0.25, pilots=0), tmp_path)
    share = np.load(fitted.folder.parent / "typed.npy")
    assert (share[1::2] == 1).all()
    np.testing.assert_allclose(share[0::2], (target.calls < 0).mean(axis=0), atol=1e-6)
    n = fitted.scores[(fitted.scores.subset == "all") & (fitted.scores.metric == "f1_macro")].n.iloc[0]
    assert 0.5 < n / (30 * N_SITES) < 0.62


def test_a_targets_sites_are_found_as_impute_finds_them(panel, calves, tmp_path):
    """Contigs named chr, REF and ALT exchanged, calls of three alleles: impute takes such a file, and so does fit."""
    target = calves.take_samples(slice(0, 6)).take_sites(np.arange(0, N_SITES, 2))
    write_vcf(tmp_path / "plain.vcf.gz", target)
    plain = gzip.decompress((tmp_path / "plain.vcf.gz").read_bytes()).decode()
    lines = [line.split("\t") for line in plain.splitlines()]
    rows = [i for i, line in enumerate(lines) if not line[0].startswith("#")]
    for i in rows:
        lines[i][0] = f"chr{lines[i][0]}"
    lines[rows[3]][3:5] = lines[rows[3]][4:2:-1]
    lines[rows[5]][9] = "1/1/1"
    text = "\n".join("\t".join(line) for line in lines) + "\n"
    (tmp_path / "target.vcf").write_text(text.replace("##contig=<ID=", "##contig=<ID=chr"))
    fitted = fit(settings(panel, "mode", typed=tmp_path / "target.vcf", holdout=0.0), tmp_path)
    share = np.load(fitted.folder.parent / "typed.npy")
    typed = np.arange(0, N_SITES, 2)
    assert np.flatnonzero(share < 1).tolist() == typed[typed != 10].tolist()


@pytest.mark.panels  # half a minute; an imputation that is killed stays in the ordinary suite
def test_killed_and_run_again_it_goes_on(panel, tmp_path, with_store):
    """Windows that were finished are not fitted again, and the scores are those of a run that nobody killed."""
    asked = [
        "--imputer",
        "softmax_regression",
        "--window",
        "20",
        "--holdout",
        "20%",
        "--measure",
        "0",
        "--threads",
        "1",
        "--json",
    ]
    command = [
        sys.executable,
        "-m",
        "snpimpute",
        "fit",
        str(panel),
        *asked,
        "--runs",
        str(with_store(tmp_path / "runs")),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/models/*/measured/*.npz")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/models/*/measured/*.npz")}
    again = json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    assert before and all(path.stat().st_mtime_ns == then for path, then in before.items())
    other = fit(settings(panel, window="20", holdout=0.2, pilots=0), tmp_path / "elsewhere")
    found = pd.DataFrame(again["scores"]).astype({"value": float})
    np.testing.assert_allclose(found["value"], other.scores["value"], atol=1e-9)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--window", "big"], "'big' is no window: give a number of sites, as in 500, or a length, as in 5cM"),
        (["--holdout", "60%"], "cannot hold out 60% of the panel"),
        (["--holdout", "much"], "--holdout 'much' is no share"),
        (["--overlap", "10%"], "windows must overlap by 25% at least"),
        (["--imputer", "magic"], "unknown imputer 'magic'"),
        (["--map", "no.map"], "cannot read the genetic map no.map"),
        (["--map", "experiments/smoke.toml"], "experiments/smoke.toml, line 1, is not of a PLINK map"),
        (["--min-call-rate", "120%"], "--min-call-rate '120%' is not between 0% and 100%"),
        (["--typed-sites", "no.txt"], "cannot read the array's sites in no.txt"),
        (["--params", "no.toml"], "no.toml"),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, panel, tmp_path, options, said):
    assert said in refused(capsys, monkeypatch, tmp_path, "fit", panel, *options)
    assert not list(tmp_path.rglob("model.json"))


def test_a_panel_of_missing_calls_is_fitted_with_a_lower_call_rate(calves, tmp_path):
    few = replace(calves.take_sites(slice(0, 30)), haplotypes=None)
    few = replace(few, calls=few.calls.copy())
    few.calls[: few.n_samples * 3 // 10] = -1
    write_vcf(tmp_path / "few.vcf.gz", few)
    wanted = settings(tmp_path / "few.vcf.gz", "mode", holdout=0.0, threads=1, window="30")
    with pytest.raises(InputError, match=r"call rate .*--min-call-rate"):
        fit(wanted, tmp_path / "runs")
    model = fit(replace(wanted, min_call_rate=0.6), tmp_path / "runs").folder
    assert len(pd.read_csv(model / "sites.tsv", sep="\t")) > 20
