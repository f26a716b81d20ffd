"""All studies of an experiment at once (scripts/studies.py), and their journals taken up by `tune --adopt`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snpimpute.tuning.adopt import readable_journal, studies_in

ROOT = Path(__file__).parents[2]
EXPERIMENT = """
name = "small"
imputers = ["mode", "ld_knn"]
only_listed_variants = true
threads = 1
tuning = { trials = 3, seconds = 600 }
[data.calves]
simulation = { n_samples = 60, n_sites = 30 }
scenarios = { levels = [50], repeats = 1 }
[data.heifers]
simulation = { n_samples = 60, n_sites = 30 }
scenarios = { levels = [50], repeats = 1 }
seed = 2
[variants.mode.default]
[variants.ld_knn.default]
[variants.ld_knn.tuned]
tune = true
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], str]:
    """The experiment, the packed journals of its studies, and what the script printed."""
    folder = tmp_path_factory.mktemp("studies")
    experiment = folder / "small.toml"
    experiment.write_text(EXPERIMENT)
    command = [sys.executable, str(ROOT / "scripts" / "studies.py"), str(experiment), "--runs", str(folder / "runs")]
    command += ["--minutes", "5", "--workers", "ld_knn=2", "--pack", str(folder / "packed")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return experiment, sorted((folder / "packed").glob("*.journal.gz")), done.stdout


def snpimpute(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "snpimpute", *arguments], capture_output=True, text=True)


def test_every_study_has_its_trials(packed: tuple[Path, list[Path], str]) -> None:
    _, journals, printed = packed
    assert len(journals) == 2
    for journal, dataset in zip(journals, ("calves", "heifers"), strict=True):
        with readable_journal(journal) as readable:
            ((study, counted),) = studies_in(readable).items()
        assert study.startswith(f"{dataset}-") and "-ld_knn-tuned-" in study and counted == 3
        assert f"3 trials  {study}" in printed


def test_tune_adopts_a_journal_and_runs_no_trial_twice(packed: tuple[Path, list[Path], str], tmp_path: Path) -> None:
    experiment, journals, _ = packed
    runs = tmp_path / "runs"
    done = snpimpute("tune", str(experiment), "--runs", str(runs), "--adopt", str(journals[0]))
    assert done.returncode == 0, done.stderr
    assert "study ld_knn/tuned on calves: 3 trials, ended by trials" in done.stdout
    (journal,) = (runs / "studies").glob("*.journal")
    assert list(studies_in(journal).values()) == [3]
    assert journal.name.startswith("calves-"), "no study of the other dataset was run"


def test_a_journal_of_other_rows_is_refused_in_one_line(packed: tuple[Path, list[Path], str], tmp_path: Path) -> None:
    experiment, journals, _ = packed
    done = snpimpute(
        "tune", str(experiment), "--runs", str(tmp_path / "runs"), "--data", "heifers", "--adopt", str(journals[0])
    )
    assert done.returncode == 2 and "has no study of these rows and data: it has calves-" in done.stderr
    assert "Traceback" not in done.stderr
