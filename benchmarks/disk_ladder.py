"""Ladder of full disks: an experiment on file systems of growing size, then with room, against an undisturbed one."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from snpimpute.experiment.score import read_scores

SETTINGS = """
name = "ladder"
threads = 1
imputers = ["mode", "softmax_regression", "beagle"]
only_listed_variants = true
tuning = { trials = 3, seconds = 600 }
scoring = { resamples = 100, offsets = true }

[data.calves]
simulation = { n_samples = 60, n_sites = 30 }
scenarios = { levels = [60, 90], repeats = 1 }

[variants.mode.default]

[variants.softmax_regression.tuned]

[variants.beagle.default]
params = { iterations = 1, burnin = 1, memory_mb = 256 }
"""


def run(settings: Path, runs: Path) -> subprocess.CompletedProcess[str]:
    """Run the experiment in a folder of runs."""
    command = [sys.executable, "-m", "snpimpute", "experiment", str(settings), "--runs", str(runs)]
    return subprocess.run(command, capture_output=True, text=True)


def scores(runs: Path) -> pd.DataFrame:
    """Return the one table of scores in a folder of runs, without the times."""
    (path,) = (runs / "scores").glob("*.csv")
    table = read_scores(path)
    return table[table["metric"] != "seconds"].reset_index(drop=True)


def main() -> None:
    """Climb the ladder, and print what each rung said and whether the second start gave the undisturbed scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", help="sizes of the file systems in KiB; mounting wants root")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="disk-ladder-"))
    settings, disk = folder / "ladder.toml", folder / "disk"
    settings.write_text(SETTINGS)
    disk.mkdir()
    assert run(settings, folder / "undisturbed").returncode == 0
    wanted = scores(folder / "undisturbed")
    print(f"undisturbed: {len(wanted)} rows")
    for size in options.sizes or [40, 500, 1500, 3000, 3600, 4600, 6000, 7500, 9500, 11500, 13500]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=True)
        try:
            first = run(settings, disk / "runs")
            subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
            second = run(settings, disk / "runs")
            same = second.returncode == 0 and scores(disk / "runs").equals(wanted)
            lines = first.stderr.strip().splitlines()
            print(
                f"{size} KiB: exit {first.returncode}, {len(lines)} lines; then {'the same' if same else 'OTHER'} scores"
            )
            print("".join(f"    {line}\n" for line in lines), end="", flush=True)
        finally:
            subprocess.run(["umount", disk], check=True)


if __name__ == "__main__":
    main()
