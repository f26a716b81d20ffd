"""Kills of the process that first makes an MLflow store, at random moments: how many leave a store that works."""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = """
import sys
from pathlib import Path
from snpimpute.tracking.connect import open_client, tracking_uri
from snpimpute.tracking.writer import Tracker
runs = Path(sys.argv[1])
open_client("sqlite://")
print("begins", flush=True)
tracker = Tracker(tracking_uri(None, runs), runs)
print("made", flush=True)
record = {"number": 0, "state": "complete", "score": 0.5, "params": {}}
tracker.log_trial(dataset="x", study="s", imputer="mode", variant="tuned", record=record)
"""


def start(runs: Path) -> subprocess.Popen[str]:
    """Start a process that makes a store and logs a trial; return it once MLflow is imported."""
    process = subprocess.Popen([sys.executable, "-c", FIRST, str(runs)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begins\n"
    return process


def main() -> None:
    """Kill, start again, and print what was left and whether the second start worked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="store-kills-"))
    undisturbed = start(folder / "undisturbed")
    begun = time.monotonic()
    assert undisturbed.stdout is not None and undisturbed.stdout.readline() == "made\n"
    longest = time.monotonic() - begun
    undisturbed.wait()
    print(f"a store takes {longest:.1f} s to make")
    usable = 0
    for number in range(options.kills):
        runs = folder / str(number)
        process = start(runs)
        moment = chance.uniform(0, 1.1 * longest)
        time.sleep(moment)
        process.kill()
        process.wait()
        left = sorted(f"{path.name} ({path.stat().st_size})" for path in runs.iterdir() if path.suffix != ".lock")
        again = start(runs)
        works = again.wait() == 0 and sorted(p.name for p in runs.glob(".*")) == [".mlflow.db.lock"]
        usable += works
        print(f"{moment:5.2f} s: left {', '.join(left) or 'nothing'}; {'usable' if works else 'BROKEN'}", flush=True)
        shutil.rmtree(runs)
    shutil.rmtree(folder)
    print(f"{usable} usable stores of {options.kills}")


if __name__ == "__main__":
    main()
