"""A registered model behind `mlflow models serve`: answers as the model does, and says in a 400 what is wrong with a request."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from snpimpute.fit import FitSettings, fit
from snpimpute.genotypes import GenotypeMatrix
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.vcf import write_vcf
from snpimpute.runtime import end_group
from snpimpute.tracking import Tracker
from snpimpute.windows import WindowedModel
from tests.imputers.contract import small_panel


@pytest.fixture(scope="module")
def calves() -> GenotypeMatrix:
    return apply_filter(small_panel(80, n_sites=60, missing=0.0), SiteFilter())[0]


@pytest.fixture(scope="module")
def served(calves, tmp_path_factory):
    """Address of the served model, and the folder of the same model."""
    runs = tmp_path_factory.mktemp("runs")
    write_vcf(runs / "calves.vcf.gz", calves.take_samples(slice(0, 70)))
    uri = f"sqlite:///{runs / 'mlflow.db'}"
    settings = FitSettings(panel=runs / "calves.vcf.gz", name="calves", imputer="softmax_regression", holdout=0.0)
    fitted = fit(settings, runs, Tracker(uri, runs))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/snpimpute-calves-panel@champion"]
    command += ["--env-manager", "local", "-p", str(port), "-h", "127.0.0.1"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with (runs / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=runs, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (runs / "serve.log").read_text()[-3000:]
            try:
                if requests.get(f"http://127.0.0.1:{port}/ping", timeout=2).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations", fitted.folder
    finally:
        end_group(process)


def request_of(target: GenotypeMatrix) -> dict:
    return {"dataframe_split": {"index": target.names, "columns": target.site_keys(), "data": target.calls.tolist()}}


def test_it_answers_as_the_model_does(served, calves):
    address, folder = served
    target = calves.take_samples(slice(70, 73)).hide(np.arange(calves.n_sites) % 3 > 0)
    answer = requests.post(address, json=request_of(target), timeout=60)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["predictions"]
    assert [row["site"] for row in rows[: calves.n_sites]] == calves.site_keys()
    found = np.array([[row["p0"], row["p1"], row["p2"]] for row in rows]).reshape(3, calves.n_sites, 3)
    expected = WindowedModel(folder).posterior(target)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose([row["dosage"] for row in rows], (expected @ [0, 1, 2]).ravel(), atol=1e-5)
    assert [row["call"] for row in rows] == expected.argmax(axis=2).ravel().tolist()


def test_what_is_wrong_with_a_request_is_said_in_a_400(served, calves):
    address, _ = served
    target = calves.take_samples(slice(70, 71))
    good = request_of(target)["dataframe_split"]
    value = {**good, "data": [[3, *good["data"][0][1:]]]}
    text = {**good, "data": [["A", *good["data"][0][1:]]]}
    swapped = {**good, "columns": [good["columns"][1], good["columns"][0], *good["columns"][2:]]}
    fewer = {**good, "columns": good["columns"][:-1], "data": [good["data"][0][:-1]]}
    shape = {**good, "data": [good["data"][0][:-1]]}
    for wrong, said in (
        (value, "3 is not a call"),
        (text, good["columns"][0]),
        (fewer, good["columns"][-1]),
        (shape, ""),
    ):
        answer = requests.post(address, json={"dataframe_split": wrong}, timeout=60)
        assert answer.status_code == 400, (said, answer.status_code, answer.text[:300])
        assert said in answer.text
    # columns in another order are the same request: the signature puts them right
    one, other = (requests.post(address, json={"dataframe_split": t}, timeout=60) for t in (good, swapped))
    assert one.status_code == 200 and other.status_code == 200
