"""Champion and challenger behind one server: every answer has its version, the split holds, the trail has no genotypes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from scipy.stats import wilcoxon

from snpimpute.base.errors import InputError
from snpimpute.base.processes import end_group
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.champions import fetch_model, find_model
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.gateway import SECONDS_BETWEEN_LOOKS, Gateway, ServeSettings, share_of_split
from snpimpute.impute.paired import pairs_file, read_pairs
from snpimpute.imputers.testing import small_panel
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.writer import Tracker
from tests.cli.test_app import said
from tests.impute.tables import export_tables

ROOT = Path(__file__).parents[2]
KIND = "application/json"


@pytest.fixture(scope="module")
def calves() -> GenotypeMatrix:
    """Sites that vary in the panel, the first 100 samples."""
    whole = small_panel(160, n_sites=100, missing=0.0)
    return whole.take_sites(np.flatnonzero(whole.take_samples(slice(0, 100)).maf() > 0)[:80])


@pytest.fixture(scope="module")
def registered(calves, tmp_path_factory, store_once):
    """A store with two versions of a name: `mode`, the champion, and a regression fitted to the same samples."""
    runs = tmp_path_factory.mktemp("gateway") / "runs"
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    panel = runs.parent / "panel.vcf.gz"
    write_vcf(panel, calves.take_samples(slice(0, 100)))
    for imputer in ("mode", "softmax_regression"):
        fit(FitSettings(panel, "calves", imputer, holdout=0.0), runs, lambda: tracker)
    return tracker, runs


def body_of(calves: GenotypeMatrix, number: int) -> bytes:
    """A request for one sample, with every other site missing."""
    row = [call if at % 2 else None for at, call in enumerate(calves.calls[100 + number].tolist())]
    return json.dumps({"inputs": [row], "params": {"sites": calves.site_keys()}}).encode()


def trail(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_split_divides_the_requests_and_the_trail_tells_who_got_what(registered, calves, tmp_path):
    tracker, runs = registered
    audit = tmp_path / "audit.jsonl"
    gateway = Gateway(tracker, ServeSettings("calves/1", audit, "calves/2", share_of_split("70:30")), runs)
    answers = []
    for number in range(60):
        status, text = gateway.answer(body_of(calves, number), KIND, f"user{number % 3}", "10.0.0.7")
        told = json.loads(text)
        assert status == 200 and told["model"] == "snpimpute-calves-panel"
        answers.append(told)
        assert (
            gateway.answer(body_of(calves, number), KIND, "again", "")[1] == text
        )  # the same request, the same version
        gateway.afterwards(body_of(calves, number), KIND)  # nothing: the challenger answers, and there is no baseline
    versions = [told["version"] for told in answers]
    assert 8 <= versions.count("2") <= 28  # 18 expected, three standard deviations of 3.5
    assert answers[0]["predictions"]["posterior"] != answers[versions.index("2")]["predictions"]["posterior"]
    lines = trail(audit)
    assert len(lines) == 120 and {line["engine"] for line in lines} == {"own"}
    assert not (runs / "watch").exists()
    asked = [line for line in lines if line["user"] != "again"]
    assert [line["version"] for line in asked] == versions
    assert asked[4]["input"] == hashlib.sha256(body_of(calves, 4)).hexdigest()
    assert (asked[4]["user"], asked[4]["address"], asked[4]["samples"]) == ("user1", "10.0.0.7", 1)
    assert {line["output"] for line in lines} == {
        hashlib.sha256(json.dumps(told).encode()).hexdigest() for told in answers
    }
    kinds = {type(value) for line in lines for value in line.values()}
    assert kinds == {str, int, float}  # digests and numbers, no lists of calls
    assert audit.stat().st_mode & 0o077 == 0
    status, text = gateway.answer(b"{", KIND, "", "")
    told = json.loads(text)
    assert status == 400 and told["version"] in "12" and "the body is not JSON" in told["message"]
    assert trail(audit)[-1]["status"] == 400


def test_in_the_shadow_both_models_impute_and_what_they_make_of_it_promotes(
    registered, calves, tmp_path, capsys, monkeypatch
):
    tracker, runs = registered
    audit = tmp_path / "audit.jsonl"
    gateway = Gateway(tracker, ServeSettings("calves/1", audit, "calves/2", hide=0.3), runs)
    models = [find_model(tracker, f"calves/{version}") for version in (1, 2)]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    by_shadow = ("models", "promote", "calves/2", "--by-shadow", "--runs", runs)
    status, _, err = said(capsys, monkeypatch, *by_shadow)
    assert status == 2 and "no request was imputed by snpimpute-calves-panel version 1 and" in err
    for number in range(9):
        assert json.loads(gateway.answer(body_of(calves, number), KIND, "", "")[1])["version"] == "1"
        gateway.afterwards(body_of(calves, number), KIND)
    status, _, err = said(capsys, monkeypatch, *by_shadow)
    assert status == 2 and "9 samples in 9 requests" in err and "10 samples are needed to tell" in err
    gateway = Gateway(tracker, ServeSettings("calves/1", audit, "calves/2", hide=0.3), runs)  # a restart
    for number in (*range(9, 30), 29):  # the last one twice
        gateway.afterwards(body_of(calves, number), KIND)
    file = pairs_file(runs, *models)
    assert file.stat().st_mode & 0o077 == 0 and len(trail(audit)) == 9
    with file.open("a") as end:
        end.write('{"when": "a server was killed he')
    n_requests, sums = read_pairs(file)
    hard = [of_model[:, :9].reshape(-1, 3, 3) for of_model in sums]
    assert n_requests == 30 and all((of_model.sum(axis=(1, 2)) == 12).all() for of_model in hard)
    apart = np.trace(hard[1] - hard[0], axis1=1, axis2=2) / 12  # whole numbers first: ties are ties
    status, out, _ = said(
        capsys, monkeypatch, "models", "shadow", "calves/1", "calves/2", "--runs", runs, "--threads", 1, "--json"
    )
    found = json.loads(out)
    assert status == 0 and json.loads(json.dumps({**gateway.paired().told(), "promoted": False})) == found
    assert found["p"] == pytest.approx(wilcoxon(apart).pvalue) and found["p"] < 0.05
    assert found["concordance"][1] - found["concordance"][0] == pytest.approx(np.mean(apart)) and np.mean(apart) > 0.05
    assert (found["n_samples"], found["n_requests"], found["n_calls"], found["better"]) == (30, 30, 360, True)
    assert 0 < found["low"] < found["difference"] == pytest.approx(found["f1_macro"][1] - found["f1_macro"][0])

    status, out, _ = said(capsys, monkeypatch, *by_shadow)
    assert status == 0 and "champion is version 2 (softmax_regression), shadow: macro-F1 +0." in out
    back = ("models", "promote", "calves/1", "--by-shadow", "--runs", runs)
    status, _, err = said(capsys, monkeypatch, *back)
    assert status == 2 and "is not better than the champion, version 2" in err and "--force promotes it" in err
    assert tracker.aliases(models[0].name)["champion"] == "2"
    status, out, _ = said(capsys, monkeypatch, *back, "--force")
    assert status == 0 and tracker.aliases(models[0].name)["champion"] == "1"
    assert tracker.moves(models[0].name)[-1].why.startswith("forced: shadow: macro-F1 -0.")
    shutil.rmtree(runs / "watch")  # other tests use the same store


def test_a_champion_that_is_rolled_back_is_served_without_a_restart(registered, calves, tmp_path):
    tracker, runs = registered
    now = [0.0]
    gateway = Gateway(tracker, ServeSettings("calves", tmp_path / "audit.jsonl"), runs, clock=lambda: now[0])
    ask = lambda: json.loads(gateway.answer(body_of(calves, 0), KIND, "", "")[1])["version"]  # noqa: E731
    assert ask() == "1"
    tracker.move_champion("snpimpute-calves-panel", "2", "a test")
    try:
        assert ask() == "1"
        now[0] += SECONDS_BETWEEN_LOOKS
        assert ask() == "2"
    finally:
        tracker.move_champion("snpimpute-calves-panel", "1", "rollback of a test")
    now[0] += SECONDS_BETWEEN_LOOKS
    assert ask() == "1"


def test_it_answers_by_the_exported_networks_if_told_to(registered, calves, tmp_path):
    pytest.importorskip("onnxruntime")
    tracker, runs = registered
    settings = ServeSettings("calves/1", tmp_path / "audit.jsonl", on_engine="onnx")
    with pytest.raises(InputError, match="snpimpute models export snpimpute-calves-panel/1"):
        Gateway(tracker, settings, runs)
    folder = fetch_model(tracker, find_model(tracker, "calves/1"), runs).folder
    (table,) = export_tables(folder, tmp_path)
    status, text = Gateway(tracker, settings, runs).answer(body_of(calves, 0), KIND, "", "")
    assert status == 200 and json.loads(text)["version"] == "1"
    assert trail(tmp_path / "audit.jsonl")[-1]["engine"] == "onnx"
    found = np.array(json.loads(text)["predictions"]["posterior"])
    np.testing.assert_allclose(found[0, ::2], table[0, ::2], atol=1e-6)  # the missing sites


def test_no_answer_is_given_without_its_line_in_the_trail(registered, calves, tmp_path, capsys, monkeypatch):
    tracker, runs = registered
    gateway = Gateway(tracker, ServeSettings("calves/1", tmp_path, "calves/1"), runs)
    status, text = gateway.answer(body_of(calves, 0), KIND, "", "")
    assert status == 503 and json.loads(text)["message"].endswith("cannot be written: Is a directory")
    assert gateway.shadow_in_words().endswith("champion and challenger are both snpimpute-calves-panel version 1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    serve = ("models", "serve", "calves/1", "--runs", runs)
    status, _, err = said(capsys, monkeypatch, *serve, "--audit", tmp_path)
    assert status == 2 and f"cannot append to {tmp_path}: Is a directory" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = said(capsys, monkeypatch, *serve, "--audit", tmp_path / "a.jsonl", "--port", port)
    assert status == 2 and out == "" and f"cannot listen at 127.0.0.1, port {port}: Address already in use" in err


def test_other_sites_are_hidden_for_each_request(registered, calves, tmp_path):
    """Of one array a tenth of the sites would decide alone: the rest would never be compared."""
    tracker, runs = registered
    gateway = Gateway(tracker, ServeSettings("calves/1", tmp_path / "audit.jsonl", "calves/2", hide=0.3), runs)
    hidden: list[tuple[int, ...]] = []
    for served in (gateway._champion, gateway._challenger):
        served.posterior_at = lambda calls, sites, at: (hidden.append(tuple(at)), np.full((1, len(at), 3), 1 / 3))[1]
    for number in (0, 1, 2, 0):
        gateway.afterwards(body_of(calves, number), KIND)
    shutil.rmtree(runs / "watch")
    assert hidden[::2] == hidden[1::2] and hidden[0] == hidden[6] and len(set(hidden)) == 3


@pytest.mark.parametrize("split", ["90", "90:ten", "-1:2", "0:0", "1:2:3", "nan:1"])
def test_a_split_that_is_none_is_refused(split):
    with pytest.raises(InputError, match="is no split: give the champion's part and the challenger's, as 90:10"):
        share_of_split(split)


def test_the_verb_serves_over_http(registered, calves, tmp_path):
    _, runs = registered
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    verb = [
        sys.executable,
        "-m",
        "snpimpute",
        "models",
        "serve",
        "calves/1",
        "--challenger",
        "calves/2",
        "--port",
        str(port),
    ]
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    with (tmp_path / "serve.log").open("w") as log:
        command = [*verb, "--runs", str(runs), "--audit", str(tmp_path / "audit.jsonl")]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=kept, cwd=ROOT, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "serve.log").read_text()
            try:
                if (pong := requests.get(f"{address}/ping", timeout=5)).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.2)
        assert pong.json() == {"model": "snpimpute-calves-panel", "version": "1"}
        assert requests.get(f"{address}/shadow", timeout=60).status_code == 404
        for number in range(2):
            headers = {"Content-Type": KIND, "X-User": "vet"}
            told = requests.post(f"{address}/invocations", data=body_of(calves, number), headers=headers, timeout=60)
            assert told.status_code == 200 and told.json()["version"] == "1", told.text
        while (found := requests.get(f"{address}/shadow", timeout=60)).status_code == 404 or (
            found.json()["n_requests"] < 2
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert found.json()["n_calls"] == 2 * 4 and "fewer than 10 samples" in found.json()["verdict"]
        (champion, challenger) = requests.get(f"{address}/drift", timeout=60).json()["models"]
        assert champion["version"] == "1" and not champion["judged"] and challenger["last"] is None
        assert "drift: not judged of snpimpute-calves-panel version 1 and" in (tmp_path / "serve.log").read_text()
        assert [line["user"] for line in trail(tmp_path / "audit.jsonl") if "user" in line] == ["vet", "vet"]
        wrong = requests.post(f"{address}/invocations", data=b"{", headers={"Content-Type": KIND}, timeout=60)
        assert wrong.status_code == 400 and wrong.json()["version"] == "1"
    finally:
        end_group(process)
