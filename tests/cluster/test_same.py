"""The same input gives the same bytes on any engine: panels, targets, studies and experiments; and with files in an object store."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests

from snpimpute.base.checksums import TABLE
from snpimpute.base.errors import InputError
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.steps import in_shares
from snpimpute.cluster import connect
from snpimpute.cluster.connect import opened
from snpimpute.cluster.orders import Order
from snpimpute.experiment import pipeline
from snpimpute.experiment.score import read_scores
from snpimpute.experiment.settings import ExperimentSettings, changed
from snpimpute.impute.check import check_target
from snpimpute.impute.choice import AUTO, TRIED, choose
from snpimpute.impute.concordance import compare_files
from snpimpute.impute.fit import fit
from snpimpute.impute.matching import PanelSites
from snpimpute.impute.panel import FitSettings
from snpimpute.impute.pieces import to_fit
from snpimpute.impute.run import ImputeSettings, impute_file
from snpimpute.impute.steps import fit_windows
from snpimpute.impute.windows import Window, WindowedModel
from snpimpute.imputers.mode import Mode
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.stream import contents_of
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tuning.study import Evaluate, StudyResult, StudySettings, run_study
from tests.cli.test_app import said
from tests.cluster.workers import ROOT, Told, scheduler, wait_until, worker
from tests.impute.test_cells import indexed, same, some_file
from tests.tuning import objectives

N_SITES = 90
CAN_HIDE = sys.platform == "linux" and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panel, a target with every third of its sites, and a genetic map."""
    folder = tmp_path_factory.mktemp("files")
    kept, _ = apply_filter(small_panel(70, n_sites=140, missing=0.0), SiteFilter())
    kept = kept.take_sites(slice(0, N_SITES))
    write_vcf(folder / "panel.vcf.gz", kept.take_samples(slice(0, 60)))
    write_vcf(folder / "target.vcf.gz", kept.take_samples(slice(60, 70)).take_sites(np.arange(0, N_SITES, 3)))
    lines = [f"{s.contig} . {i * 0.05:.3f} {s.pos}" for i, s in enumerate(kept.sites.itertuples())]
    (folder / "genetic.map").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        (length,) = connect.BRIEF
        patch.setitem(connect.BRIEF, length, 5)  # so that a few orders tell whether they are forgotten
        with opened("local:3", None, tmp_path_factory.mktemp("three"), Told()) as engine:
            yield engine


def made_by(engine: Engine, files: Path, home: Path, settings: FitSettings) -> tuple[str, list[str]]:
    """Checksums of the model's files, and the lines of the imputed file without its header."""
    fitted = fit(settings, home, watch=Told(), engine=engine)
    asked = ImputeSettings(
        files / "target.vcf.gz", home / "out.vcf", model=fitted.folder, phased=settings.imputer == "beagle"
    )
    impute_file(asked, home, Told(), engine)
    text = (home / "out.vcf").read_text().splitlines()
    assert sorted(path.name for path in home.rglob("*") if path.name in ("exchange", "panel")) == []
    sums = (fitted.folder / TABLE).read_text().splitlines()
    decisive = [line for line in sums if not line.endswith((".log", TABLE))]  # Beagle's log tells its time
    return "\n".join(decisive), [line for line in text if not line.startswith("##")]


def test_windows_are_the_same_with_no_cluster_with_one_worker_and_with_three(
    three: Engine, files: Path, tmp_path: Path
) -> None:
    settings = FitSettings(files / "panel.vcf.gz", "calves", "softmax_regression", window="30", threads=2, pilots=2)
    with opened("local:1", None, tmp_path, Told()) as one:
        of_one = made_by(one, files, tmp_path / "one", settings)
    here = made_by(HERE, files, tmp_path / "here", settings)
    assert of_one == here == made_by(three, files, tmp_path / "three", replace(settings, threads=1))
    assert len(here[1]) == N_SITES + 1 and here[0].count("windows/") >= 8


def test_an_order_that_is_done_is_forgotten(three: Engine) -> None:
    """Scheduler and parent, which this process is, hold no more of many windows than of a few."""
    worker = three.worker("nothing", 1)
    before = sum(isinstance(one, Order) for one in gc.get_objects())
    for _ in range(60):
        worker.call(os.getpid)
        while (message := worker.receive())[0] == "progress":
            pass
        assert message[0] == "done"
    worker.leave()
    worker.end()
    gc.collect()
    assert sum(isinstance(one, Order) for one in gc.get_objects()) - before <= 3 * 5 + 3  # of each worker the last ones


def test_a_check_and_a_comparison_are_the_same(three: Engine, tmp_path: Path) -> None:
    """Workers get the bytes of their cells alone: what they read there is what stands in the whole files."""
    names = [f"s{i}" for i in range(6)]
    truth = indexed(some_file(tmp_path / "truth.vcf", 1, names))
    imputed = indexed(some_file(tmp_path / "imputed.vcf", 2, names), "bcf")
    with opened("local:1", None, tmp_path, Told()) as one:
        found = [compare_files(truth, imputed, engine=engine) for engine in (HERE, one, three)]
    same(found[0], found[1])
    same(found[0], found[2])
    sites = [PanelSites.of_file(truth, engine=engine) for engine in (HERE, three)]
    same(*sites)
    same(*(check_target(imputed, sites[0], engine=engine) for engine in (HERE, three)))
    assert not (tmp_path / "exchange").exists()


def test_damage_that_a_worker_finds_is_one_line_with_the_name_and_the_place(three: Engine, tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(200)]
    truth = indexed(some_file(tmp_path / "truth.vcf", 1, names))
    data = bytearray(truth.read_bytes())
    data[len(data) // 2] ^= 64
    path = tmp_path / "damaged" / truth.name
    path.parent.mkdir()
    path.write_bytes(data)
    shutil.copy(f"{truth}.csi", path.parent)
    with pytest.raises(InputError) as refused:
        compare_files(truth, path, engine=three)
    told = r"compare cells failed: truth\.vcf\.gz is broken after 2:\d+ \(CRC32 .*\): make or fetch it again \(worker tcp:.*\)"
    assert re.fullmatch(told, str(refused.value)), refused.value
    assert not (tmp_path / "exchange").exists()


@pytest.mark.panels
def test_beagle_with_a_map_and_phase_is_the_same(three: Engine, files: Path, tmp_path: Path) -> None:
    settings = FitSettings(
        files / "panel.vcf.gz", "calves", "beagle", window="60", holdout=0, genetic_map=files / "genetic.map"
    )
    assert made_by(three, files, tmp_path / "three", settings) == made_by(HERE, files, tmp_path / "here", settings)


@pytest.mark.panels
def test_a_study_is_the_same(three: Engine, files: Path, tmp_path: Path) -> None:
    """The parameters that a study tries depend on the trials that run at a time, not on where; their number is exact."""
    asked = FitSettings(files / "panel.vcf.gz", "calves", "softmax_regression", window="40", trials=4, pilots=1)
    found = {}
    for name, engine in (("here", HERE), ("three", three)):
        fitted = fit(asked, tmp_path / name, watch=Told(), engine=engine)
        told = (fitted.folder.parent / "study.toml").read_text()
        assert ", 4 trials, ended by trials" in told
        found[name] = told, (fitted.folder / TABLE).read_text()
    assert found["here"] == found["three"]


def test_of_a_panel_beyond_memory_a_share_reads_its_windows_alone(three: Engine, tmp_path: Path) -> None:
    """100,000 haplotypes at 1,000,000 sites: 50 GB of calls, of which almost all is a hole."""
    n_samples, n_sites, size = 50_000, 1_000_000, 20
    panel = tmp_path / "panel"
    panel.mkdir()
    (panel / "samples.tsv").write_text("sample\n" + "".join(f"s{i}\n" for i in range(n_samples)))
    (panel / "sites.tsv").write_text(
        "contig\tpos\tid\tref\talt\n" + "".join(f"1\t{i + 1}\t.\tA\tC\n" for i in range(n_sites))
    )
    windows = [Window("1", start, start + size) for start in (0, 700_000)]
    with (panel / "calls.i8").open("wb") as calls:
        calls.truncate(n_samples * n_sites)
        for number, window in enumerate(windows):
            calls.seek(window.start * n_samples)
            calls.write(bytes([number, 2] * (size * n_samples // 2)))
    plan = {"imputer": "mode", "params": {}, "seed": 1, "patterns": [], "windows": [astuple(each) for each in windows]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    started = time.monotonic()
    in_shares(fit_windows, tmp_path, [0, 1], to_fit(tmp_path, Mode, {}, windows, n_samples), 1, Told(), three)
    assert time.monotonic() - started < 100  # to read or copy 50 GB takes minutes
    for number in range(2):
        fitted = Mode.load(WindowedModel.place(tmp_path / "model", number))
        np.testing.assert_allclose(fitted.frequencies[:, number], 0.5, atol=1e-4)


def study(
    engine: Engine, storage: Path, evaluate: Evaluate, n_trials: int, seconds: float | None = None
) -> StudyResult:
    settings = StudySettings(n_trials, seconds, 1, 1, 1, str(storage), 10)
    return run_study(
        "s", suggest=objectives.suggest, first=objectives.PUBLISHED, evaluate=evaluate, settings=settings, engine=engine
    )


@pytest.mark.panels
def test_trials_are_pruned_by_what_they_report_from_a_worker(three: Engine, tmp_path: Path) -> None:
    told = []
    for name, engine in (("here", HERE), ("three", three)):
        trials = study(engine, tmp_path / name, objectives.stepwise, 14).trials
        told.append([(trial.state, trial.score, trial.params, trial.intermediate) for trial in trials])
    assert told[0] == told[1] and "pruned" in {state for state, *_ in told[0]}


@pytest.mark.panels
def test_a_trial_that_is_stopped_ends_on_its_worker_with_its_programs(three: Engine, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    found = study(three, tmp_path / "journal", partial(objectives.stubborn, numbers=str(numbers)), 2, 6.0)
    assert [trial.state for trial in found.trials] == ["complete", "stopped"] and found.ended_by == "time"
    wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid in numbers.read_text().split()))


@pytest.mark.panels
def test_a_choice_is_made_by_what_workers_tried(three: Engine, files: Path, tmp_path: Path) -> None:
    asked = FitSettings(files / "panel.vcf.gz", "calves", AUTO, genetic_map=files / "genetic.map")
    _, choice = choose(asked, tmp_path, Told(), three)
    assert [one.imputer for one in choice.tried] == list(TRIED) and choice.tried[0].f1_macro > 0.5


@pytest.mark.panels
def test_an_experiment_is_the_same_and_its_trials_are_as_many(
    three: Engine, files: Path, tmp_path: Path, with_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    data = {"source": str(files / "panel.vcf.gz"), "scenarios": {"levels": (60.0,), "repeats": 1}}
    settings = ExperimentSettings.model_validate(
        {
            "name": "small", "threads": 1, "data": {"calves": data}, "imputers": ("softmax_regression", "mode"),
            "variants": {"softmax_regression": {"fixed": {"tune": True}}}, "only_listed_variants": True,
            "tuning": {"trials": 3, "seconds": None}, "scoring": {"resamples": 100},
        }
    )  # fmt: skip
    tables = {}
    for name, engine in (("here", HERE), ("three", three)):
        outcome = pipeline.run(settings, with_store(tmp_path / name), "evaluate", watch=Told(), engine=engine)
        assert outcome.failures == []
        table = read_scores(outcome.scores["calves"])
        tables[name] = table[table.metric != "seconds"].to_csv()
    assert tables["here"] == tables["three"] and "softmax_regression" in tables["here"] and "mode" in tables["here"]
    at_once = changed(settings, trials=7).model_copy(update={"seed": 2})
    at_once = at_once.model_copy(update={"tuning": at_once.tuning.model_copy(update={"workers": 3})})
    done, _ = pipeline.run(at_once, tmp_path / "three", "tune", watch=Told(), engine=three).rows["calves"]
    assert done.tuned is not None and (done.tuned.trials, done.tuned.ended_by) == (7, "trials")


def test_all_that_is_started_here_ends_with_a_command_that_is_killed(files: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snpimpute", "fit", str(files / "panel.vcf.gz"), "--imputer", "random_draw"]
    process = subprocess.Popen(
        [*command, "--window", "10", "--cluster", "local:2"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "measure" not in process.stderr.readline():
        pass
    started = psutil.Process(process.pid).children(recursive=True)
    assert sum("dask_worker" in " ".join(each.cmdline()) for each in started) == 2
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(started, timeout=120)
    assert alive == []


# ---------------------------------------------------------------------- an object store


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """The variables that name a server of S3's protocol, with the bucket `lab`."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    variables = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        bucket().makedirs("lab", exist_ok=True)  # servers of one process share what they hold
        yield variables
    server.stop()


def bucket() -> Any:
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)


@pytest.mark.panels  # half a minute
@pytest.mark.skipif(not CAN_HIDE, reason="folders cannot be hidden from a process here (unshare)")
def test_files_and_exchange_in_an_object_store_and_workers_without_a_common_path(
    store: dict[str, str],
    files: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    with_store: Callable[[Path], Path],
) -> None:
    """Panel, target, map, model and output lie there; the folder of runs looks empty to the workers."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("panel.vcf.gz", "target.vcf.gz", "genetic.map"):
        bucket().put_file(str(files / name), f"lab/in/{name}")
    home = tmp_path / "parent"
    with_store(home / "runs")
    monkeypatch.chdir(home)
    options = ["--runs", home / "runs", "--threads", 1]
    fit_it = ["--map", "s3://lab/in/genetic.map", "--imputer", "beagle", "--window", "60", "--holdout", "0%", "--json"]
    with ExitStack() as stack:
        _, address = stack.enter_context(scheduler())
        for number in range(2):
            stack.enter_context(worker(address, tmp_path / f"worker{number}", hidden=home, **store))
        there = [*options, "--cluster", address, "--exchange", "s3://lab/exchange"]
        status, out, err = said(capsys, monkeypatch, "fit", "s3://lab/in/panel.vcf.gz", *fit_it, *there)
        assert status == 0, err
        model = Path(json.loads(out)["model"])
        bucket().put(str(model), "lab/models/calves", recursive=True)
        command = [
            "impute",
            "s3://lab/in/target.vcf.gz",
            "--model",
            "s3://lab/models/calves",
            "-o",
            "s3://lab/out/imputed.vcf",
        ]
        status, out, err = said(capsys, monkeypatch, *command, *there)
        assert status == 0 and "written: s3://lab/out/imputed.vcf" in out, err
        status, out, err = said(capsys, monkeypatch, *command, *there)
        assert status == 2 and "s3://lab/out/imputed.vcf is there already" in err
        status, out, err = said(capsys, monkeypatch, *command[:-1], "out.vcf", *options, "--cluster", address)
        assert status == 2 and "name a folder or a store that all workers reach (--exchange)" in err
    assert bucket().find("lab/exchange") == []
    impute_file(ImputeSettings(files / "target.vcf.gz", tmp_path / "here.vcf", model=model), tmp_path)
    texts = [bucket().cat_file("lab/out/imputed.vcf").decode(), (tmp_path / "here.vcf").read_text()]
    one, other = ([line for line in text.splitlines() if not line.startswith("##")] for text in texts)
    assert one == other and len(one) == N_SITES + 1


def test_a_store_that_refuses_is_one_line(store: dict[str, str], files: Path, tmp_path: Path, three: Engine) -> None:
    from snpimpute.io.store import fetched

    refused = pytest.raises(InputError, match=r"cannot write the exchange s3://nowhere/x: no such object or bucket")
    with refused, opened("local:1", "s3://nowhere/x", tmp_path, Told()) as engine:
        fit(FitSettings(files / "panel.vcf.gz", "calves", "mode", window="40"), tmp_path, watch=Told(), engine=engine)
    with pytest.raises(InputError, match=r"s3://lab/none.vcf.gz is not there"):
        fetched(Path("s3://lab/none.vcf.gz"), tmp_path)


def test_a_check_and_a_comparison_of_objects_are_those_of_files(
    store: dict[str, str], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports that are sent are the same to the last byte; a missing object or bucket and keys without rights are one line."""
    monkeypatch.chdir(tmp_path)
    names = [f"s{i}" for i in range(6)]
    for number, name in enumerate(("truth", "imputed")):
        path = indexed(some_file(tmp_path / f"{name}.vcf", number, names))
        for each in (path, Path(f"{path}.csi")):
            bucket().put_file(str(each), f"lab/of/{each.name}")
    (tmp_path / "groups.tsv").write_text(
        "sample\tgroup\n" + "".join(f"{name}\tg{i % 2}\n" for i, name in enumerate(names))
    )
    bucket().put_file(str(tmp_path / "groups.tsv"), "lab/of/groups.tsv")
    there = "s3://lab/of"
    for verb, first, second in (
        ("check", "imputed.vcf.gz", "--panel=truth.vcf.gz"),
        ("concordance", "truth.vcf.gz", "imputed.vcf.gz"),
    ):
        last = second.replace("truth", f"{there}/truth") if verb == "check" else f"{there}/{second}"
        here = said(capsys, monkeypatch, verb, first, second, "--samples", "groups.tsv", "-o", verb)
        sent = said(
            capsys,
            monkeypatch,
            verb,
            f"{there}/{first}",
            last,
            "--samples",
            f"{there}/groups.tsv",
            "-o",
            f"s3://lab/out/{verb}",
        )
        assert sent[0] == here[0] and sent[1] == here[1].replace(f" {verb}/", f" s3://lab/out/{verb}/"), sent
        made = {each.name: each.read_bytes() for each in (tmp_path / verb).iterdir()}
        assert {key.rpartition("/")[2]: bucket().cat_file(key) for key in bucket().find(f"lab/out/{verb}")} == made
    bucket().rm_file("lab/out/concordance/concordance.html")
    compare = ["concordance", "truth.vcf.gz", "imputed.vcf.gz"]
    for command, line in (
        (["concordance", f"{there}/none.vcf.gz", "imputed.vcf.gz"], f"{there}/none.vcf.gz is not there"),
        (["concordance", "s3://nowhere/x.vcf.gz", "imputed.vcf.gz"], "s3://nowhere/x.vcf.gz is not there"),
        ([*compare, "-o", "s3://nowhere/x"], "cannot write s3://nowhere/x: The specified bucket does not exist"),
        ([*compare, "-o", "s3://lab/out/concordance"], "s3://lab/out/concordance/concordance.json is there already"),
    ):
        status, out, err = said(capsys, monkeypatch, *command)
        assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith(f"snpimpute: {line}"), err
    with keys_without_rights(store):
        for command, line in (
            (
                ["check", f"{there}/imputed.vcf.gz", "--panel", "truth.vcf.gz"],
                f"cannot read {there}/imputed.vcf.gz: Forbidden",
            ),
            ([*compare, "-o", "s3://lab/x"], "cannot write s3://lab/x: Forbidden"),
        ):
            status, out, err = said(capsys, monkeypatch, *command)
            assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith(f"snpimpute: {line}"), err
    assert not (tmp_path / "imputed.check").exists() and bucket().find("lab/x") == []


@contextmanager
def keys_without_rights(store: dict[str, str]) -> Iterator[None]:
    """Let the server look at keys: it knows none."""

    def begin(after: str) -> None:
        text = {"Content-Type": "text/plain"}
        requests.post(
            f"{store['AWS_ENDPOINT_URL']}/moto-api/reset-auth", data=after, headers=text, timeout=30
        ).raise_for_status()

    begin("0")
    try:
        yield
    finally:
        begin("inf")


@pytest.mark.panels  # a quarter of a minute
def test_a_vcf_zarr_store_comes_and_goes_whole(store: dict[str, str], files: Path, tmp_path: Path) -> None:
    """Of a store that was there before no chunk stays."""
    from bio2zarr import vcf

    from snpimpute.io.store import fetched, sent

    made = tmp_path / "target.vcz"
    shutil.copy(files / "target.vcf.gz", tmp_path)
    subprocess.run(["bcftools", "index", tmp_path / "target.vcf.gz"], check=True)
    vcf.convert([tmp_path / "target.vcf.gz"], made)
    bucket().put(str(made), "lab/in/target.vcz", recursive=True)
    assert contents_of(fetched(Path("s3://lab/in/target.vcz"), tmp_path)) == contents_of(made)
    out = Path("s3://lab/out/target.vcz")
    for force in (False, True):
        with sent(out, force) as path:
            assert path is not None
            shutil.copytree(made, path)
        there = {name.removeprefix("lab/out/target.vcz/") for name in bucket().find("lab/out/target.vcz")}
        assert there == {each.relative_to(made).as_posix() for each in made.rglob("*") if each.is_file()}
        bucket().pipe_file("lab/out/target.vcz/call_genotype/9.9.9", b"of another")
    with pytest.raises(InputError, match=r"s3://lab/out/target\.vcz is there already"), sent(out, False):
        pass
