"""An experiment that is disturbed ends as an undisturbed one: two at once, a disk that was full."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from snpimpute.experiment.score import read_scores

pytestmark = pytest.mark.panels  # five experiments, a minute in all

SETTINGS = """
name = "little"
threads = 1
imputers = ["mode", "softmax_regression"]
only_listed_variants = true
tuning = { trials = 3, seconds = 600 }
scoring = { resamples = 100 }

[data.calves]
simulation = { n_samples = 60, n_sites = 30 }
scenarios = { levels = [60], repeats = 1 }

[variants.mode.default]

[variants.softmax_regression.tuned]
"""
COMMAND = [sys.executable, "-m", "snpimpute", "experiment", "little.toml", "--json"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
ENVIRONMENT["PYTHONPATH"] = str(Path(__file__).parents[2])


def scores(path: Path) -> pd.DataFrame:
    """The table of scores without the times."""
    table = read_scores(path)
    return table[table["metric"] != "seconds"].reset_index(drop=True)


@pytest.fixture(scope="module")
def two_at_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """Folder and answers of two experiments that were started at once on one folder of runs, which was not there."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "little.toml").write_text(SETTINGS)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [subprocess.Popen(COMMAND, cwd=folder, env=ENVIRONMENT, text=True, **pipes) for _ in range(2)]
    ended = [(*process.communicate(timeout=240), process.returncode) for process in started]
    assert [status for _, _, status in ended] == [0, 0], ended
    return folder, [json.loads(printed) for printed, _, _ in ended]


def test_two_experiments_at_once_make_everything_once(two_at_once: tuple[Path, list[dict]]) -> None:
    from mlflow import MlflowClient

    folder, (one, other) = two_at_once
    assert one["scores"] == other["scores"] and one["tables"] == other["tables"] and one["failures"] == []
    (kept,) = folder.glob("runs/studies/*.json")
    assert json.loads(kept.read_text())["tuned"]["trials"] == 3
    client = MlflowClient(one["mlflow_uri"])
    runs = {
        e.name.removeprefix("snpimpute/calves/"): client.search_runs([e.experiment_id])
        for e in client.search_experiments()
    }
    names = {name: sorted(run.info.run_name for run in found) for name, found in runs.items() if found}
    assert names == {
        "train": ["mode default", "softmax_regression tuned"],
        "tune": ["softmax_regression tuned", "trial 0", "trial 1", "trial 2"],
        "compare": ["comparison"],
    }
    versions = client.search_model_versions("name = 'snpimpute-calves'")
    assert sorted(version.tags["imputer"] for version in versions) == ["mode", "softmax_regression"]


def test_a_full_disk_is_one_line_and_the_same_command_then_gives_the_same_scores(
    two_at_once: tuple[Path, list[dict]], tmp_path: Path
) -> None:
    """A file system of its own that is full in the middle, and has room for the second start."""
    (tmp_path / "little.toml").write_text(SETTINGS)
    (tmp_path / "runs").mkdir()
    evaluate = " ".join(COMMAND).replace(" experiment ", " evaluate ")
    script = (
        f"mount -t tmpfs -o size=2500k none {tmp_path}/runs || exit 77\n{evaluate} > first.out 2> first.err; echo $?\n"
        f"mount -o remount,size=100m {tmp_path}/runs; {evaluate} > second.out; echo $?\ncp runs/scores/*.csv scores.csv\n"
        "find runs -name '.*.part*'"
    )
    apart = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(apart, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.stdout.split() == ["2", "0"], done
    lines = (tmp_path / "first.err").read_text().splitlines()
    (told,) = [line for line in lines if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert told.startswith("snpimpute: ") and (tmp_path / "first.out").read_text() == ""
    assert "No space left on device" in told
    assert told.endswith("; make room, and run the same command again to go on")
    _, (undisturbed, _) = two_at_once
    folder = two_at_once[0]
    pd.testing.assert_frame_equal(scores(tmp_path / "scores.csv"), scores(folder / undisturbed["scores"]["calves"]))
