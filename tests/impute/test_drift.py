"""Drift of a registered model: batches as the panel's own raise no alarm, others do, and what is judged is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from benchmarks import drift as benchmark
from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.dataset.simulate import SimulationSettings
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute import gathering
from snpimpute.impute.baseline import Baseline, BaselineSettings
from snpimpute.impute.champions import fetch_model, find_model
from snpimpute.impute.drift import (
    ACCURACY,
    DISTANCE,
    ENTROPY,
    FIGURES,
    FREQUENCY,
    HETEROZYGOSITY,
    MISSING_RATE,
    SCORE,
    Population,
    frequency_shift,
    holm,
    judge,
    sample_figures,
)
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.gateway import Gateway, ServeSettings
from snpimpute.impute.gathering import Gatherer, GatherSettings
from snpimpute.impute.thresholds import WatchSettings, read_thresholds
from snpimpute.impute.watching import BASELINE, BATCHES, Batch, keep_baseline, read_batches, watch_file
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.writer import Tracker
from tests.cli.test_app import said
from tests.io.test_vcz import converted

N_PANEL, N_BATCH, TYPED_EVERY = 150, 30, 3
TOLERANCE = WatchSettings().tolerances()


@pytest.fixture(scope="module")
def calves() -> GenotypeMatrix:
    """A panel, and further samples of the same population, at sites that vary in the panel."""
    whole = small_panel(330, n_sites=180, missing=0.0, switches=0.01)
    varying, _ = apply_filter(whole.take_samples(slice(0, N_PANEL)), SiteFilter())
    return whole.take_sites(np.isin(whole.sites["pos"], varying.sites["pos"]))


@pytest.fixture(scope="module")
def watched(calves, tmp_path_factory, store_once):
    """A registered model with its baseline, and files of batches: its tracker, the folder of runs, and that of the files."""
    folder = tmp_path_factory.mktemp("watched")
    runs = folder / "runs"
    write_vcf(folder / "panel.vcf.gz", calves.take_samples(slice(0, N_PANEL)))
    typed = calves.sites.iloc[::TYPED_EVERY]
    (folder / "chip.txt").write_text("".join(f"{c}:{p}\n" for c, p in zip(typed.contig, typed.pos, strict=True)))
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    settings = FitSettings(
        folder / "panel.vcf.gz", "calves", "softmax_regression", window="90", holdout=0.0, typed=folder / "chip.txt"
    )
    fit(settings, runs, lambda: tracker)
    baseline = BaselineSettings(folder / "panel.vcf.gz", folder / "chip.txt", hide=0.2)
    keep_baseline(tracker, "calves", baseline, runs)
    on_chip = calves.take_sites(slice(0, None, TYPED_EVERY))
    for number in range(3):
        first = N_PANEL + number * N_BATCH
        write_vcf(folder / f"good{number}.vcf.gz", on_chip.take_samples(slice(first, first + N_BATCH)))
    batch = on_chip.take_samples(slice(300, 330))
    rng = np.random.default_rng(1)
    wrong = rng.random(batch.calls.shape) < 0.1
    calls = np.where(wrong, (batch.calls + rng.integers(1, 3, batch.calls.shape)) % 3, batch.calls).astype(np.int8)
    write_vcf(folder / "wrong.vcf.gz", replace(batch, calls=calls))
    write_vcf(folder / "array.vcf.gz", calves.take_samples(slice(300, 330)).take_sites(slice(1, None, TYPED_EVERY)))
    write_vcf(folder / "few.vcf.gz", batch.take_samples(slice(0, 9)))
    breed = small_panel(N_BATCH, n_sites=180, seed=8, missing=0.0, switches=0.01)
    write_vcf(folder / "breed.vcf.gz", breed.take_sites(np.isin(breed.sites["pos"], on_chip.sites["pos"])))
    return tracker, runs, folder


def watch(watched, name: str, **settings):
    tracker, runs, folder = watched
    return watch_file(tracker, "calves", folder / f"{name}.vcf.gz", WatchSettings(**settings), runs)


def table_of(watched) -> pd.DataFrame:
    (path,) = (watched[1] / "watch").glob(f"*/{BATCHES}")
    return read_batches(path)


# ---------------------------------------------------------------------- the figures and their tests


def test_p_values_are_corrected_as_statsmodels_does():
    p = np.array([0.01, 0.001, np.nan, 0.04, 0.7, 0.001])
    found = holm(p)
    np.testing.assert_allclose(found[~np.isnan(p)], multipletests(p[~np.isnan(p)], method="holm")[1])
    assert np.isnan(found[2])


def test_frequencies_of_the_same_population_are_judged_at_the_level_that_is_said():
    """Sites in strong linkage: with independent ones assumed, a fourth of the batches would be beyond 5%."""
    calls = small_panel(4000, n_sites=80, missing=0.02, switches=0.02).calls
    maf = (lambda p: np.minimum(p, 1 - p))(np.where(calls >= 0, calls, 0).mean(axis=0) / 2)
    calls = calls[:, maf >= 0.05]
    rng = np.random.default_rng(2)
    p = []
    for _ in range(12):
        order = rng.permutation(len(calls))
        population = Population.of(calls[order[:300]], np.arange(300) < 240, 10)
        p += [frequency_shift(population, calls[order[at : at + 25]])[1] for at in range(300, 1300, 25)]
    assert len(p) == 480
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09
    assert np.mean(np.array(p) < 0.01) < 0.03
    assert 0.4 < np.mean(p) < 0.6


def test_the_distance_of_frequencies_is_that_of_the_populations():
    """Two populations in Hardy-Weinberg proportions, a tenth apart at each of 400 independent sites."""
    rng = np.random.default_rng(3)
    p = rng.uniform(0.3, 0.7, 400)
    panel, batch = (rng.binomial(2, q, (n, 400)).astype(np.int8) for q, n in ((p, 500), (p + 0.1, 60)))
    population = Population.of(panel, np.arange(500) < 400, 5)
    value, p_value = frequency_shift(population, batch)
    assert value == pytest.approx(0.1, abs=0.01) and p_value < 1e-50
    assert frequency_shift(population, np.full_like(batch, MISSING)) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_the_figures_of_a_sample_are_those_worked_out_by_hand():
    panel = np.array([[0, 1], [1, 2], [2, 1], [1, 0]] * 5, dtype=np.int8)
    population = Population.of(panel, np.ones(20, dtype=bool), 1)
    truth = np.array([[0, 1, -1], [2, -1, -1]], dtype=np.int8)
    presented = np.array([[-1, 1, -1], [2, -1, -1]], dtype=np.int8)
    posterior = np.zeros((2, 3, 3), dtype=np.float32)
    posterior[:] = [0.5, 0.5, 0]
    posterior[0, 0] = [0.25, 0.75, 0]
    found = sample_figures(population, np.array([[1, 1], [-1, 2]], dtype=np.int8), presented, truth, posterior)
    assert found[HETEROZYGOSITY].tolist() == [2 / (0.5 + 0.5), 0]
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    np.testing.assert_allclose(found[ENTROPY], [(entropy + np.log(2)) / 2, np.log(2)])
    np.testing.assert_allclose(found[SCORE], [(0.75 + 0.5) / 2, 0.5])
    assert found[ACCURACY].tolist()[0] == 0 and np.isnan(found[ACCURACY][1])
    assert found[DISTANCE][0] == pytest.approx(0, abs=1e-6)  # both calls are at the panel's mean


def test_a_sure_difference_within_the_tolerance_is_no_breach():
    rng = np.random.default_rng(4)
    columns = [HETEROZYGOSITY, DISTANCE, ENTROPY, SCORE, ACCURACY]
    reference = pd.DataFrame(rng.normal(0.9, 0.001, (50, 5)), columns=columns)
    samples = pd.DataFrame(rng.normal(0.897, 0.001, (50, 5)), columns=columns).assign(missing_rate=0.0, call_rate=1.0)
    table = judge(samples, (0.0, 1.0), reference, 0.0, 0.01, TOLERANCE).set_index("figure")
    assert table.loc[ACCURACY, "p_corrected"] < 1e-10 and not table["breach"].any()
    table = judge(samples, (0.0, 1.0), reference, 0.0, 0.01, {**TOLERANCE, ACCURACY: 0.002}).set_index("figure")
    assert table.index[table["breach"]].tolist() == [ACCURACY]


# ---------------------------------------------------------------------- batches of a registered model


def test_batches_like_the_panel_raise_no_alarm_and_others_do(watched):
    for number in range(3):
        batch = watch(watched, f"good{number}")
        assert batch.breaches == [], batch.figures.to_string()
    assert {FREQUENCY, ACCURACY} <= set(watch(watched, "breed").breaches)
    assert ACCURACY in watch(watched, "wrong").breaches
    assert MISSING_RATE in watch(watched, "array").breaches
    table = table_of(watched)
    assert len(table) == 6 * len(FIGURES)
    assert table.drop_duplicates("batch")["file"].tolist() == [
        *(f"good{number}.vcf.gz" for number in range(3)), "breed.vcf.gz", "wrong.vcf.gz", "array.vcf.gz",
    ]  # fmt: skip


def test_the_same_file_again_replaces_its_rows_and_metrics_go_on(watched):
    tracker, _, _ = watched
    first, last = watch(watched, "good0"), watch(watched, "breed")
    before = table_of(watched)
    again = watch(watched, "good0")
    assert again.number == first.number != last.number
    pd.testing.assert_frame_equal(again.figures, first.figures)
    assert len(table_of(watched)) == len(before)
    (experiment,) = tracker.client.search_experiments(filter_string="name = 'snpimpute/calves-panel/watch'")
    (run,) = tracker.client.search_runs([experiment.experiment_id])
    kept = {m.step: m.value for m in tracker.client.get_metric_history(run.info.run_id, f"watch_{ACCURACY}")}
    accuracy = first.figures.set_index("figure")["value"][ACCURACY]
    assert kept[first.number] == pytest.approx(accuracy) and last.number in kept
    breaches = tracker.client.get_metric_history(run.info.run_id, "watch_breaches")
    assert {m.step: m.value for m in breaches}[last.number] == len(last.breaches)


def test_vcf_zarr_stores_are_told_apart_by_their_content(watched):
    tracker, runs, folder = watched
    stores = [converted(folder / f"good{i}.vcf.gz", folder / f"good{i}.vcz") for i in (1, 2)]
    first, second, again = (watch_file(tracker, "calves", stores[i], WatchSettings(), runs).number for i in (0, 1, 0))
    assert first == again != second


def test_a_baseline_holds_no_genotypes_and_is_not_replaced_unasked(watched):
    tracker, runs, folder = watched
    (home,) = (runs / "watch").glob(f"*/{BASELINE}")
    baseline = Baseline.load(home)
    assert set(baseline.hidden) <= set(baseline.typed) and len(baseline.hidden) == round(0.2 * len(baseline.typed))
    assert len(baseline.reference) == round(0.2 * N_PANEL)
    with np.load(home / "population.npz", allow_pickle=False) as arrays:
        assert all(array.ndim < 2 or name == "loadings" for name, array in arrays.items())
    settings = BaselineSettings(folder / "panel.vcf.gz")
    with pytest.raises(
        InputError, match="snpimpute-calves-panel version 1 has a baseline, which is kept: give --force"
    ):
        keep_baseline(tracker, "calves", settings, runs)
    with pytest.raises(InputError, match=r"good0\.vcf\.gz is not the panel that the model calves was fitted to"):
        keep_baseline(tracker, "calves", replace(settings, panel=folder / "good0.vcf.gz"), runs, force=True)


def test_a_damaged_baseline_is_one_line(watched, tmp_path):
    (home,) = (watched[1] / "watch").glob(f"*/{BASELINE}")
    for name, content in (("population.npz", b"PK"), ("baseline.json", b"{}"), ("reference.tsv", b"")):
        broken = tmp_path / name
        shutil.copytree(home, broken)
        (broken / name).write_bytes(content)
        with pytest.raises(InputError, match=r"is damaged .*: make the baseline again, with --force"):
            Baseline.load(broken)


def test_the_verb_says_a_line_per_figure_and_its_exit_status_tells_a_breach(watched, capsys, monkeypatch):
    _, runs, folder = watched
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    verb = ("models", "watch", "calves", "--runs", runs, "--threads", 1)
    status, out, _ = said(capsys, monkeypatch, *verb, folder / "good1.vcf.gz")
    assert status == 0 and out.splitlines()[-1] == "no breach"
    assert [line.split()[0] for line in out.splitlines()[1:-1]] == [figure.name for figure in FIGURES]
    status, out, _ = said(capsys, monkeypatch, *verb, folder / "good1.vcf.gz", folder / "breed.vcf.gz", "--json")
    good, breed = json.loads(out)
    assert status == 3 and good["breaches"] == [] and FREQUENCY in breed["breaches"]
    assert [row["figure"] for row in breed["figures"]] == [figure.name for figure in FIGURES]
    (folder / "lenient.toml").write_text("alpha = 0.01\n[tolerance]\n" + "".join(f"{f.name} = 9\n" for f in FIGURES))
    status, out, _ = said(capsys, monkeypatch, *verb, folder / "breed.vcf.gz", "--settings", folder / "lenient.toml")
    assert status == 0 and out.splitlines()[-1] == "no breach"


def test_what_the_user_can_mend_is_one_line(watched, capsys, monkeypatch, tmp_path):
    _, runs, folder = watched
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    watch(watched, "good0")
    before = table_of(watched)
    for content, line in (
        ("alpha = 2\n", "alpha: Input should be less than 1"),
        ("tolerance = { acuracy = 0.1 }\n", "tolerance: there is no figure 'acuracy': give some of frequency_shift, "),
        ("threshold = 1\n", "unknown key 'threshold'; known are alpha, tolerance and retrain"),
        ("alpha =\n", "is not TOML"),
    ):
        (tmp_path / "watch.toml").write_text(content)
        with pytest.raises(InputError, match=r"watch\.toml") as error:
            read_thresholds(tmp_path / "watch.toml")
        assert line in str(error.value) and "\n" not in str(error.value)
    verb = ("models", "watch", "calves", "--runs", runs, "--threads", 1)
    status, _, err = said(capsys, monkeypatch, *verb, folder / "few.vcf.gz")
    assert status == 2 and "few.vcf.gz has 9 samples: 10 make a batch that can be judged" in err
    (home,) = (runs / "watch").glob(f"*/{BASELINE}")
    home.rename(home.with_name("away"))
    try:
        status, _, err = said(capsys, monkeypatch, *verb, folder / "good0.vcf.gz")
        assert status == 2 and "the model has no baseline yet: snpimpute models baseline NAME PANEL" in err
    finally:
        home.with_name("away").rename(home)
    pd.testing.assert_frame_equal(table_of(watched), before)


@pytest.mark.panels
def test_alarms_and_power_on_simulated_bulls(tmp_path, monkeypatch):
    """A small version of benchmarks/drift.py: two panels of 200 bulls, half of 200 sites typed, batches of 30."""
    monkeypatch.setattr(benchmark, "N_PANEL", 200)
    monkeypatch.setattr(benchmark, "TYPED_EVERY", 2)
    small = {**benchmark.BULLS.model_dump(), "n_samples": 700, "n_sites": 200, "region_bp": 300_000}
    monkeypatch.setattr(benchmark, "BULLS", SimulationSettings(**small))
    monkeypatch.setattr(benchmark, "CASES", ("another breed", "another array", "5% wrong calls"))
    asked = benchmark.argparse.Namespace(samples=[30], without=50, drifted=10)
    found = []
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        found.append(benchmark.watch_panel(seed, tmp_path / str(seed), "softmax_regression", asked))
    alarms = pd.concat(found).groupby("drift")["breach"].agg(["sum", "size"])
    assert alarms.loc["none", "size"] == 100 and alarms.loc["none", "sum"] <= 5
    assert (alarms.loc[["another breed", "another array"], "sum"] == 20).all()
    assert alarms.loc["5% wrong calls", "sum"] >= 16


# ---------------------------------------------------------------------- requests of a server


def requests_of(path, n: int) -> list[bytes]:
    """Bodies of requests with the samples of a file, `n` each."""
    matrix, _ = read_matrix(path)
    rows = [matrix.calls[at : at + n].tolist() for at in range(0, matrix.n_samples, n)]
    return [json.dumps({"inputs": part, "params": {"sites": matrix.site_keys()}}).encode() for part in rows]


def test_a_server_judges_its_requests_as_files_are_and_a_restart_loses_none(watched, tmp_path, monkeypatch, capsys):
    tracker, runs, folder = watched
    expected, before = watch(watched, "breed").figures, table_of(watched)
    started = []
    monkeypatch.setattr(gathering, "start_deployment", lambda *given: started.append(given) or "a-run")
    gather = GatherSettings(N_BATCH, deployment="retrain/local")
    settings = ServeSettings("calves", tmp_path / "audit.jsonl", gather=gather)
    first, second, third = requests_of(folder / "breed.vcf.gz", 10)
    gateway = Gateway(tracker, settings, runs)
    for body in (first, second, second):
        assert gateway.answer(body, "application/json", "", "")[0] == 200
        gateway.afterwards(body, "application/json")
    gateway.gatherer.judge_waiting()
    pd.testing.assert_frame_equal(
        table_of(watched), before
    )  # 20 samples: none is counted twice, and the batch is not full
    gateway = Gateway(tracker, settings, runs)  # as after kill -9
    (told,) = gateway.drift()["models"]
    assert (told["judged"], told["gathered"], told["waiting"], told["samples"]) == (True, 20, 0, 30)
    gateway.afterwards(third, "application/json")
    gateway = Gateway(tracker, settings, runs)  # killed before the batch was judged
    (told,) = gateway.drift()["models"]
    assert (told["gathered"], told["waiting"], told["batches"]) == (0, 1, before["batch"].nunique())
    (home,) = (runs / "watch").iterdir()
    (full,) = home.glob("requests-*")
    assert full.stat().st_mode & 0o077 == 0
    gateway.gatherer.judge_waiting()
    table = table_of(watched)
    own = table[table["batch"] == table["batch"].max()].reset_index(drop=True)
    assert own["file"][0].startswith("requests-") and not list(home.glob("requests-*"))
    pd.testing.assert_frame_equal(own[expected.columns.tolist()], expected, check_dtype=False)
    (told,) = gateway.drift()["models"]
    assert told["last"]["breaches"] == expected.loc[expected["breach"], "figure"].tolist() and told["waiting"] == 0
    assert len(told["last"]["figures"]) == len(FIGURES) and json.dumps(told, allow_nan=False)
    (experiment,) = tracker.client.search_experiments(filter_string="name = 'snpimpute/calves-panel/watch'")
    (run,) = tracker.client.search_runs([experiment.experiment_id])
    kept = tracker.client.get_metric_history(run.info.run_id, "watch_breaches")
    assert {m.step: m.value for m in kept}[own["batch"][0]] == len(told["last"]["breaches"])
    err = capsys.readouterr().err
    assert "drift: snpimpute-calves-panel version 1, batch" in err and f"{ACCURACY} 0." in err
    in_a_row = before.loc[before["batch"] == before["batch"].max(), "breach"].any()
    assert started == ([] if in_a_row else [("retrain/local", {})])


def test_the_first_breach_of_several_in_a_row_starts_the_deployment(watched, tmp_path, monkeypatch, capsys):
    tracker, runs, _ = watched
    figures = watch(watched, "good1").figures
    home = tmp_path / "watch" / next((runs / "watch").iterdir()).name
    shutil.copytree(next((runs / "watch").glob(f"*/{BASELINE}")), home / BASELINE)
    beyond = [False, True, True, False, True]
    asked, started = iter([InputError("Prefect does not answer"), "one", "two"]), []

    def judged(_tracker, _model, _imputer, target, *_):
        number = len(started_at) + 1
        started_at.append(len(started))
        rows = figures.assign(breach=figures["figure"].eq(ACCURACY) & beyond[number - 1])
        table = pd.concat([read_batches(home / BATCHES), rows.assign(batch=number, when="now", file=target.name)])
        table.to_csv(home / BATCHES, sep="\t", index=False)
        return Batch(number, target.name, 10, rows)

    def start(deployment, parameters):
        started.append((deployment, parameters))
        if isinstance(answer := next(asked), InputError):
            raise answer
        return answer

    started_at = []
    monkeypatch.setattr(gathering, "watch_batch", judged)
    monkeypatch.setattr(gathering, "start_deployment", start)
    thresholds = WatchSettings(retrain={"deployment": "retrain/local", "parameters": {"name": "calves"}})
    gatherer = Gatherer(tracker, GatherSettings(10, thresholds), tmp_path, Watch())
    model = find_model(tracker, "calves")
    gatherer.follow(model, fetch_model(tracker, model, runs).folder)
    for number in range(5):
        gatherer.keep(model, np.zeros((10, 3), np.int8), np.arange(3), f"digest{number}")
        gatherer.judge_waiting()
    assert started_at == [0, 0, 1, 2, 2] and len(started) == 3  # a start that failed is tried at the next breach
    assert set(map(str, started)) == {"('retrain/local', {'name': 'calves'})"}
    err = capsys.readouterr().err
    assert "Prefect does not answer; the next breach starts it again" in err and "started retrain/local: run two" in err


def test_a_batch_that_cannot_be_judged_is_kept(watched, tmp_path, capsys):
    tracker, runs, _ = watched
    model = find_model(tracker, "calves")
    gatherer = Gatherer(tracker, GatherSettings(10), runs, Watch())
    gatherer.follow(model, tmp_path / "gone")
    gatherer.keep(model, np.full((10, 3), -1, np.int8), np.arange(3), "probes")  # nothing to impute from
    assert gatherer.told(model)["gathered"] == 0
    gatherer.keep(model, np.zeros((10, 3), np.int8), np.arange(3), "a")
    gatherer.judge_waiting()
    gatherer.judge_waiting()
    (full,) = runs.glob("watch/*/requests-*")
    line = f"drift: {full} was not judged, and is tried again when the server starts again"
    assert capsys.readouterr().err.count(line) == 1
    shutil.rmtree(full)
    gatherer.follow(model, fetch_model(tracker, model, runs).folder)
    home = full.parent
    for number, content in enumerate((b"", b"PK\x03\x04 cut", b"text")):
        gatherer.keep(model, np.zeros((9, 3), np.int8), np.arange(3), f"b{number}")
        (home / "gathered" / "stray.npz").write_bytes(b"")  # of nobody
        (home / "gathered" / f"a{number}-1.npz").write_bytes(content)  # a disk that lost it
        gatherer.keep(model, np.zeros((1, 3), np.int8), np.arange(3), f"c{number}")
        gatherer.judge_waiting()
        assert f"(a{number}-1.npz in it is broken: remove that file, and the other" in capsys.readouterr().err
    (home / ".judged-requests-1").mkdir()
    gatherer.judge_waiting()
    assert not (home / ".judged-requests-1").exists()  # a server was killed while it was removed
    for full in home.glob("requests-*"):
        shutil.rmtree(full)
    with pytest.raises(InputError, match="'retrain' is no deployment: give its flow and its name, as retrain/local"):
        GatherSettings(10, deployment="retrain")
    for samples in (1, 9):
        with pytest.raises(InputError, match="10 samples make a batch that can be judged; 0 judges none"):
            GatherSettings(samples)
