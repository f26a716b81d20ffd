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
import pandas as pd
import pytest
import requests

from snpimpute.base.errors import InputError
from snpimpute.base.processes import end_group
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.windows import WindowedModel
from snpimpute.imputers._external import described
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.models import save_model_files
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
    fitted = fit(settings, runs, lambda: Tracker(uri, runs))
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


def requests_that_are_none(calves: GenotypeMatrix) -> dict[str, tuple[bytes, str | None, str]]:
    """Bodies with their content types, and what is said of them."""
    keys, row = calves.site_keys(), calves.calls[70].tolist()

    def body(matrix: object, sites: object = keys, **more: object) -> bytes:
        return json.dumps({"inputs": matrix, "params": {"sites": sites}, **more}).encode()

    def value(text: str) -> bytes:
        return body([["@", *row[1:]]]).replace(b'"@"', text.encode())

    right, first, kind = body([row]), f"row 1, site {keys[0]}: ", "application/json"
    bad_values = {
        text: f"{first}{text} is not a call; give 0, 1 or 2" for text in ('"1"', "true", "[1]", '{"a": 1}', "3", "0.5")
    }
    return {
        **{f"a call {text}": (value(text), kind, said) for text, said in bad_values.items()},
        "Infinity": (value("-Infinity"), kind, f"{first}-inf is not a call"),
        "a huge number": (value("1" + "0" * 400), kind, "a number is far too large"),
        "another row": (body([row, [0.5, *row[1:]]]), kind, f"row 2, site {keys[0]}: 0.5 is not a call"),
        "too few columns": (body([row[:-1]]), kind, f"{len(keys) - 1} columns, but {len(keys)} names"),
        "too many columns": (body([[*row, 0]]), kind, f"{len(keys) + 1} columns, but {len(keys)} names"),
        "true, too many columns": (body([[*row, True]]), kind, f"row 1, column {len(keys) + 1}: true is not a call"),
        "no sites": (body([row], []), kind, "0 names in the parameter `sites`"),
        "rows of two lengths": (body([row, row[1:]]), kind, f"row 2 has {len(row) - 1} values, row 1 has {len(row)}"),
        "an unknown site": (body([row], ["99:1:A:C", *keys[1:]]), kind, "site 99:1:A:C is not in the model"),
        "a site twice": (body([row], [keys[1], *keys[1:]]), kind, f"site {keys[1]} is named twice"),
        "a row alone": (body(row), kind, f"row 1 is {row[0]}, not a list of calls"),
        "nested": (body([[row]]), kind, f"{first}[{row[0]}, "),
        "text": (body("0,1,2"), kind, "`inputs` has no rows"),
        "no rows": (body([]), kind, "`inputs` has no rows"),
        "a table": (body({"a": row}), kind, "`inputs` has no rows"),
        "names that are none": (body([row], [1] * len(keys)), kind, "no list of names `sites`"),
        "a name alone": (body([row], keys[0]), kind, "no list of names `sites`"),
        "no params": (json.dumps({"inputs": [row]}).encode(), kind, "no list of names `sites`"),
        "other params": (right.replace(b'{"sites"', b'{"x": 1, "sites"'), kind, "'x', which is not known"),
        "a columns' table": (right.replace(b"inputs", b"dataframe_split"), kind, "the body has no `inputs`"),
        "both": (body([row], instances=[row]), kind, "has `instances` as well"),
        "something more": (body([row], signature_name="x"), kind, "'signature_name', which is not known"),
        "a list": (json.dumps([row]).encode(), kind, "the body has no `inputs`"),
        "empty": (b"", kind, "the body is not JSON"),
        "cut": (right[:-9], kind, "the body is not JSON"),
        "not UTF-8": (b"\xff\xfe", kind, "the body is not JSON"),
        "nested deeply": (b"[" * 100_000, kind, "nested too deeply"),
        "a CSV": (b"a,b\n1", "text/csv", "the content type is text/csv: send application/json"),
        "an empty CSV": (b"", "text/csv", "the content type is text/csv"),
        "a Parquet": (b"PAR1", "application/vnd.apache.parquet", "the content type is application/vnd.apache.parquet"),
        "a form": (right, "application/x-www-form-urlencoded", "send application/json"),
        "without a type": (right, None, "the content type is not given"),
        "another charset": (right, "application/json; charset=latin-1", "send application/json in UTF-8"),
        "too many": (
            body([[0]] * 40_000, keys[:1]),
            kind,
            f"40000 samples at the model's {len(keys)} sites are too many",
        ),
    }


def test_what_is_wrong_with_a_request_is_said_in_a_400(served, calves):
    address, folder = served
    with requests.Session() as client:
        client.headers.clear()
        for name, (content, kind, said) in requests_that_are_none(calves).items():
            answer = client.post(address, data=content, headers={"Content-Type": kind} if kind else {}, timeout=60)
            assert answer.status_code == 400, (name, answer.status_code, answer.text[:300])
            message = answer.json()["message"]
            assert set(answer.json()) == {"error_code", "message"} and "\n" not in message, name
            assert said in message, (name, message)
        assert client.get(address.replace("invocations", "ping"), timeout=60).status_code == 200
    assert "Traceback" not in (folder.parents[2] / "serve.log").read_text()


def test_numbers_that_are_calls_in_any_spelling_are_answered(served, calves):
    address, _ = served
    target = calves.take_samples(slice(70, 72)).hide(np.arange(calves.n_sites) % 3 > 0)
    expected = ask(address, target.calls.tolist(), calves.site_keys()).json()
    spelled = json.dumps(target.calls.astype(float).tolist()).replace("-1.0", "NaN").replace("2.0", "2e0")
    assert "NaN" in spelled and "2e0" in spelled
    whole = f'{{"instances": {spelled}, "params": {{"sites": {json.dumps(calves.site_keys())}}}}}'
    kind = {"Content-Type": "application/json; charset=utf-8"}
    assert requests.post(address, data=whole, headers=kind, timeout=60).json() == expected


def test_two_thousand_samples_are_answered(served, calves):
    address, folder = served
    target = calves.take_samples(np.arange(2000) % 80).hide(np.arange(calves.n_sites) % 3 > 0)
    answer = ask(address, target.calls.tolist(), calves.site_keys())
    assert answer.status_code == 200
    found = np.array(answer.json()["predictions"]["call"])
    assert (found[:80] == WindowedModel(folder).posterior(target.take_samples(slice(0, 80))).argmax(axis=2)).all()
    assert len(found) == 2000 and (found[:80] == found[80:160]).all()


def test_a_server_is_ready_after_a_first_imputation_alone(calves, tmp_path):
    """A program that fails when it imputes: the model loads from its files, and the server does not begin to listen."""
    text = """
description = "fails"
program = { name = "sed", install = "", version = "{program} --version" }
run = { impute = ["echo no luck; exit 3"] }
output = { file = "imputed.vcf", field = "GT" }
"""
    described("failing", text, "failing.toml")().fit(calves).save(tmp_path / "saved")
    example = pd.DataFrame(calves.calls[:1], columns=calves.site_keys())
    save_model_files(tmp_path / "model", mlflow.models.Model(), tmp_path / "saved", example)
    with pytest.raises(InputError, match="imputer failing: sed failed: no luck"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))
