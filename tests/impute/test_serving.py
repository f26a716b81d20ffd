"""A registered model behind `mlflow models serve`: answers as the model does, and says in a 400 what is wrong with a request."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import requests

from snpimpute.base.errors import InputError
from snpimpute.base.processes import end_group
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.windows import WindowedModel
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.writer import Tracker

ROOT = Path(__file__).parents[2]


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


def ask(address: str, matrix: list, sites: list[str]) -> requests.Response:
    return requests.post(address, json={"inputs": matrix, "params": {"sites": sites}}, timeout=60)


def test_it_answers_as_the_model_does(served, calves):
    address, folder = served
    target = calves.take_samples(slice(70, 73)).hide(np.arange(calves.n_sites) % 3 > 0)
    answer = ask(address, target.calls.tolist(), calves.site_keys())
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    assert found["site"] == calves.site_keys()
    expected = WindowedModel(folder).posterior(target)
    np.testing.assert_allclose(found["posterior"], expected, atol=1e-6)
    np.testing.assert_allclose(found["dosage"], expected @ [0, 1, 2], atol=1e-5)
    assert found["call"] == expected.argmax(axis=2).tolist()


def test_the_documented_request_is_answered(served, calves, tmp_path):
    """The Python of docs/serving.md, with this server's address and a target of its own."""
    address, folder = served
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)[1]
    assert "http://127.0.0.1:5001/invocations" in code
    target = calves.take_samples(slice(70, 75)).take_sites(slice(1, None, 3))
    write_vcf(tmp_path / "target.vcf.gz", target)
    code = code.replace("http://127.0.0.1:5001/invocations", address)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    hidden = ~np.isin(np.arange(calves.n_sites), np.arange(1, calves.n_sites, 3))
    expected = WindowedModel(folder).posterior(calves.take_samples(slice(70, 75)).hide(hidden))[0, 0]
    site, call, dosage, posterior = done.stdout.split(maxsplit=3)
    assert site == calves.site_keys()[0] and int(call) == expected.argmax()
    np.testing.assert_allclose(json.loads(posterior), expected, atol=1e-6)
    assert float(dosage) == pytest.approx(expected @ [0, 1, 2], abs=1e-5)


def test_sites_may_come_in_any_order_and_be_left_out(served, calves):
    """What is named decides, not the place: typed sites alone, backwards, are the same request."""
    address, _ = served
    target = calves.take_samples(slice(70, 72)).hide(np.arange(calves.n_sites) % 3 > 0)
    typed = np.flatnonzero(np.arange(calves.n_sites) % 3 == 0)[::-1]
    keys = [calves.site_keys()[i] for i in typed]
    whole = ask(address, target.calls.tolist(), calves.site_keys())
    part = ask(address, target.calls[:, typed].tolist(), keys)
    nulls = ask(address, [[c if c >= 0 else None for c in row] for row in target.calls.tolist()], calves.site_keys())
    assert part.status_code == 200, part.text
    assert part.json() == whole.json() == nulls.json()


def test_a_model_whose_files_changed_is_not_loaded(served, tmp_path):
    (description,) = served[1].parents[2].glob("mlartifacts/**/MLmodel")
    shutil.copytree(description.parent, tmp_path / "model")
    changed = next((tmp_path / "model").rglob("frequencies.npy"))
    changed.write_bytes(changed.read_bytes()[:-1] + b"\x02")
    with pytest.raises(InputError, match=r"frequencies\.npy is not as it was when the model was fitted"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))


def test_what_is_wrong_with_a_request_is_said_in_a_400(served, calves):
    address, _ = served
    keys, row = calves.site_keys(), calves.calls[70].tolist()
    for matrix, sites, said in (
        ([[3, *row[1:]]], keys, f"row 1, site {keys[0]}: 3 is not a call; give 0, 1 or 2 alternate alleles"),
        ([row, [0.5, *row[1:]]], keys, f"row 2, site {keys[0]}: 0.5 is not a call"),
        ([["A", *row[1:]]], keys, "could not convert string to float"),
        ([row[:-1]], keys, f"{len(keys) - 1} columns, but {len(keys)} names"),
        ([row], [], "0 names in the parameter `sites`"),
        ([row, row[1:]], keys, "inhomogeneous shape"),
        ([row], ["99:1:A:C", *keys[1:]], "site 99:1:A:C is not in the model"),
        ([row], [keys[1], *keys[1:]], f"site {keys[1]} is named twice"),
        (row, keys, "Shape of input"),
    ):
        answer = ask(address, matrix, sites)
        assert answer.status_code == 400, (said, answer.status_code, answer.text[:300])
        assert said in answer.text, answer.text[:600]
