"""Measure the time in which a warm served model answers a request for one sample of 500 sites, as percentiles.

    python benchmarks/serving.py [--imputer dense] [--server mlflow snpimpute onnx] [--requests 1000] [--clients 1 8]

The imputer is fitted on simulated bulls (networks for two epochs, because weights do not change their time), registered
in a store of its own and served on the same machine by `mlflow models serve`, by `snpimpute models serve`, or by the latter with
`--engine onnx`, one after the other. Every request has its own sample, with 90%
of the sites missing. Several clients ask at once, each as soon as its last answer is there. The first request of all, to a
server that has just said that it is ready, is printed apart.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import requests

from snpimpute import imputers
from snpimpute.base.processes import end_group
from snpimpute.dataset.masks import array_masks
from snpimpute.dataset.simulate import parse_settings, simulate_bulls
from snpimpute.genotypes.matrix import site_keys
from snpimpute.impute.champions import fetch_model, find_model
from snpimpute.impute.export import export_model
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.windows import WindowedModel
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.writer import Tracker

WARM_UP = 20
LOCAL = threading.local()
SERVERS = ("mlflow", "snpimpute", "onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imputer", default="dense")
    parser.add_argument("--server", nargs="+", choices=SERVERS, default=["mlflow"])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    bulls = simulate_bulls(parse_settings({}), 1).called
    hidden = array_masks(bulls, [90.0], 1, 1)[90.0, 0]
    masked = bulls.hide(hidden)
    with tempfile.TemporaryDirectory() as name:
        runs = Path(name)
        write_vcf(runs / "bulls.vcf.gz", bulls)
        params = {"epochs": 2} if imputers.load(arguments.imputer).framework in ("tensorflow", "torch") else {}
        settings = FitSettings(runs / "bulls.vcf.gz", "bulls", arguments.imputer, params, holdout=0.0, threads=2)
        uri = f"sqlite:///{runs / 'mlflow.db'}"
        fitted = fit(settings, runs, lambda: Tracker(uri, runs))
        if "onnx" in arguments.server:
            tracker = Tracker(uri, runs)
            export_model(fetch_model(tracker, find_model(tracker, "bulls"), runs).folder, runs)
        kept = {key: i for i, key in enumerate(masked.site_keys())}
        order = site_keys(WindowedModel(fitted.folder).sites)
        calls = masked.calls[:, [kept[key] for key in order]]
        for server in arguments.server:
            started = time.perf_counter()
            process, address = serve(server, uri, runs)
            ready = time.perf_counter() - started
            try:
                first, *_ = [ask(address, calls[i], order) for i in range(WARM_UP)]
                print(
                    f"{arguments.imputer} by {server}, {len(order)} sites: ready after {ready:.0f} s, first answer {1000 * first:.0f} ms"
                )
                for n_clients in arguments.clients:
                    print(
                        f"  {measured(process.pid, address, calls, order, arguments.requests, n_clients)}", flush=True
                    )
            finally:
                end_group(process)


def measured(pid: int, address: str, calls: np.ndarray, sites: list[str], n: int, n_clients: int) -> str:
    """Return the percentiles of `n` requests of some clients at once as text, and the server's processor time for each."""
    before = processor_time(pid)
    with ThreadPoolExecutor(n_clients) as clients:
        started = time.perf_counter()
        seconds = list(clients.map(lambda i: ask(address, calls[i % len(calls)], sites), range(n)))
        passed = time.perf_counter() - started
    used = 1000 * (processor_time(pid) - before) / n
    percentiles = {p: 1000 * float(np.percentile(seconds, p)) for p in (50, 90, 95, 99)}
    text = ", ".join(f"{p}%: {value:.0f} ms" for p, value in percentiles.items())
    return (
        f"{n} requests of {n_clients} clients: {text}, most {1000 * max(seconds):.0f} ms; {n / passed:.0f} requests/s, "
        f"{used:.1f} ms of processor time each"
    )


def processor_time(pid: int) -> float:
    """Return the processor seconds of a process and its children until now."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def serve(server: str, uri: str, runs: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server, wait until it answers, and return its process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if server == "mlflow":
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/snpimpute-bulls-panel@champion"]
        command += ["--env-manager", "local", "-p", str(port), "-h", "127.0.0.1"]
    else:
        command = [
            sys.executable,
            "-m",
            "snpimpute",
            "models",
            "serve",
            "bulls",
            "--port",
            str(port),
            "--runs",
            str(runs),
        ]
        command += ["--engine", "onnx"] if server == "onnx" else []
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with (runs / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=runs, start_new_session=True)
    while True:
        try:
            if requests.get(f"http://127.0.0.1:{port}/ping", timeout=2).ok:
                return process, f"http://127.0.0.1:{port}/invocations"
        except requests.ConnectionError:
            if process.poll() is not None:
                sys.exit((runs / "serve.log").read_text()[-2000:])
            time.sleep(0.2)


def session() -> requests.Session:
    """Return the session of this thread, which is one client."""
    if not hasattr(LOCAL, "session"):
        LOCAL.session = requests.Session()
    return LOCAL.session


def ask(address: str, calls: np.ndarray, sites: list[str]) -> float:
    """Return the seconds of a request for one sample: int8 (n_sites,); a client keeps its connection."""
    body = {"inputs": [calls.tolist()], "params": {"sites": sites}}
    started = time.perf_counter()
    answer = session().post(address, json=body, timeout=60)
    seconds = time.perf_counter() - started
    answer.raise_for_status()
    return seconds


if __name__ == "__main__":
    main()
