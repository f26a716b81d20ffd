"""Measure what a cluster costs and gains on this machine, and what would hold up one of 1,000 workers.

    python benchmarks/cluster.py [--sites 30000] [--samples 800] [--panel 400] [--imputer softmax_regression]
                                 [--tasks 1000] [--parts 1] [--work FOLDER]

A panel and a target with every tenth site are simulated on disk (as benchmarks/scale.py does it), the panel is fitted, and the target
is imputed without a cluster in one process and in two, with one worker and with two: seconds of the whole, and of the windows alone. The
overhead is that of the windows with one worker against none, the efficiency that of two workers against one; both want idle cores. What
two processes gain without a cluster says how much of it is the machine's. The overhead in processor seconds, of all processes that
take part, is told beside it: that one a busy machine changes less. A machine is not equally fast throughout: with --parts the sites
are simulated as so many chromosomes in files of their own, each of them is imputed in the four ways in turn, and seconds are added
up. Both are held against what is wanted, and where other work ran when the benchmark began, that is said.
Then empty tasks are done by two workers, each with a part of a file to read and a file to make, and the resident memory of this
process, which holds the scheduler too, is told as they go by. From the bytes and seconds of a task it is worked out how many
workers this process keeps busy.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import psutil
from empty_task import nothing
from scale import simulate

from snpimpute.base.folders import Part
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.steps import Pieces, in_shares
from snpimpute.cluster.connect import opened
from snpimpute.impute import run
from snpimpute.impute.fit import fit
from snpimpute.impute.panel import FitSettings

PART = 4096  # bytes that an empty task reads
WORKERS = 1000
WARMING = 20  # tasks that load what is loaded once
MOST_OVERHEAD, LEAST_EFFICIENCY = 0.05, 0.85  # wanted on idle cores
IDLE = 0.3  # most load of an idle machine


class Stages(Watch):
    """Keeps when each stage began."""

    def __init__(self) -> None:
        self.began: list[tuple[str, float]] = []

    def stage(self, text: str, at_most: float | None = None) -> None:
        self.began.append((text, time.monotonic()))

    def seconds(self, first_word: str) -> float:
        """Seconds of the last stage that begins so, to the next one."""
        times = [at for _, at in self.began] + [time.monotonic()]
        return next(
            times[i + 1] - at for i, (text, at) in reversed(list(enumerate(self.began))) if text.startswith(first_word)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=30_000)
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--panel", type=int, default=400)
    parser.add_argument("--imputer", default="softmax_regression")
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    if arguments.tasks <= WARMING:
        parser.error(f"--tasks: more than {WARMING}, which are done before it is measured")
    began = time.monotonic()
    if (load := os.getloadavg()[0]) > IDLE:
        print(f"other work runs here (load {load:.1f}): neither overhead nor efficiency says anything", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.work or Path(name)
        parts = [folder / f"part-{number}" for number in range(1, arguments.parts + 1)]
        for number, part in enumerate(parts):
            if not (part / "target.vcf.gz").exists():
                n_sites = arguments.sites // arguments.parts
                simulate(part, n_sites, arguments.panel, arguments.samples, 10, seed=1_000 * number)
        per_window = windows(parts, arguments.imputer)
        each = tasks(folder, arguments.tasks)
        busy = per_window / each
        print(
            f"this process keeps about {busy:,.0f} workers busy with windows of {per_window:.2f} s, one to a task: {WORKERS:,} "
            f"workers want {max(1, WORKERS / busy):.0f} windows to a task"
        )
    print(f"{time.monotonic() - began:.0f} s in all")


def windows(parts: Sequence[Path], imputer: str) -> float:
    """Impute each part with no cluster in one process and two, with one worker and two, in turn; return the seconds of a window."""
    found = dict.fromkeys(("here:1", "local:1", "here:2", "local:2"), 0.0)
    whole, used, n_windows = dict(found), dict(found), 0
    for number, folder in enumerate(parts, start=1):
        fitted = fit(FitSettings(folder / "panel.vcf.gz", "panel", imputer, holdout=0.0, threads=2), folder)
        n_windows += len(list((fitted.folder / "windows").iterdir()))
        for name in found:
            output = folder / f"{name.replace(':', '-')}.vcf.gz"
            threads = 2 if name == "here:2" else 1
            asked = run.ImputeSettings(
                folder / "target.vcf.gz", output, model=fitted.folder, threads=threads, force=True
            )
            watch = Stages()
            with nullcontext(HERE) if name.startswith("here") else opened(name, None, folder, watch) as engine:
                started, before = time.monotonic(), processor_seconds()
                run.impute_file(asked, folder, watch, engine)
                whole[name] += time.monotonic() - started
                used[name] += processor_seconds() - before
            found[name] += watch.seconds("impute")
        seconds = ", ".join(f"{name} {each:.1f}" for name, each in found.items())
        print(f"{number} of {len(parts)}: {n_windows:,} windows so far; seconds {seconds}", flush=True)
    for name, seconds in found.items():
        print(
            f"{name:8} {whole[name]:8.1f} s, of that {seconds:.1f} s for {n_windows:,} windows; {used[name]:.1f} s of the processor"
        )
    overheads = [each["local:1"] / each["here:1"] - 1 for each in (found, used)]
    efficiency, without = (found[f"{where}:1"] / (2 * found[f"{where}:2"]) for where in ("local", "here"))
    print(
        f"overhead of a cluster: {overheads[0]:+.1%} of the windows ({told(overheads[0] <= MOST_OVERHEAD)}: at most "
        f"{MOST_OVERHEAD:.0%} is wanted), {overheads[1]:+.1%} of the processor"
    )
    print(
        f"efficiency of two workers: {efficiency:.2f} ({told(efficiency >= LEAST_EFFICIENCY)}: at least {LEAST_EFFICIENCY} is wanted); of two "
        f"processes without a cluster: {without:.2f}",
        flush=True,
    )
    return found["here:1"] / n_windows


def told(met: bool) -> str:
    return "met" if met else "missed"


def processor_seconds() -> float:
    """Return the processor seconds of this process and of all that it has started."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (own, *own.children(recursive=True)))


def tasks(folder: Path, n: int) -> float:
    """Do empty tasks on two workers; return the seconds of this process's processor for each."""
    home = folder / "tasks"
    shutil.rmtree(home, ignore_errors=True)  # tasks of an earlier run would be taken as done
    home.mkdir()
    (home / "data.bin").write_bytes(np.random.default_rng(1).bytes(n * PART))
    made = home / "made"
    pieces = Pieces(
        is_done=lambda number: (made / str(number)).exists(),
        reads=lambda numbers: [Part("data.bin", number * PART, (number + 1) * PART) for number in numbers],
        makes=lambda number: [f"made/{number}"],
        most=1,
    )
    own = psutil.Process()
    with opened("local:2", None, folder, Watch()) as engine:
        in_shares(nothing, home, range(WARMING), pieces, 1, Watch(), engine)  # what is loaded once
        spent = sum(own.cpu_times()[:2])
        watch = Memory(own, n)
        started = time.monotonic()
        in_shares(nothing, home, range(n), pieces, 1, watch, engine)
        seconds = time.monotonic() - started
        each = (sum(own.cpu_times()[:2]) - spent) / (n - WARMING)
        tell_order(engine, home, pieces)
    print(f"{n:,} empty tasks: {seconds / n * 1000:.1f} ms each, {each * 1000:.1f} ms of this process's processor")
    return each


class Memory(Watch):
    """Tells the resident memory of a process at each tenth of the way."""

    def __init__(self, process: psutil.Process, n: int) -> None:
        self.process, self.step, self.due = process, n / 10, n / 10

    def progress(self, done: float, total: float) -> None:
        if done >= self.due:
            print(f"{done:8,.0f} tasks: {self.process.memory_info().rss / 1e6:.0f} MB", flush=True)
            self.due += self.step


def tell_order(engine: Engine, home: Path, pieces: Pieces) -> None:
    """Print the length of what goes through the scheduler for a task."""
    from snpimpute.base.folders import Folder

    worker = engine.worker("nothing", 1)
    worker.call(nothing, home=Folder(home, tuple(pieces.reads([0])), ("made/0",)), numbers=[0])
    print(f"bytes of an order: {len(pickle.dumps(worker._order)):,}")  # type: ignore[attr-defined]
    worker.receive()
    worker.leave()
    worker.end()


if __name__ == "__main__":
    main()
