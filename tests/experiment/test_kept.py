"""Results are found again in a folder of runs: datasets, tables of scores and the models behind them, posteriors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.prepared import save_dataset
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.experiment.kept import kept_datasets, kept_posteriors, kept_scores
from snpimpute.tracking.runs import training_tag


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two preparations of one name, the second younger by an hour, and a folder that is none."""
    runs = tmp_path / "runs"
    for seed, when in ((1, 1_000_000), (2, 1_003_600)):
        data = DataSettings(
            simulation={"n_samples": 60, "n_sites": 20}, scenarios=ScenarioSettings(levels=(60,), repeats=1)
        )
        folder = save_dataset(build_dataset("cal.v_es", data, seed, headline_level=60), runs / "datasets")
        os.utime(folder / "dataset.json", (when, when))
    (runs / "datasets" / "half-made").mkdir()
    (runs / "scores").mkdir()
    return runs


def table(runs: Path, digest: str, when: int, **beside: object) -> Path:
    path = runs / "scores" / f"cal.v_es-{digest}.csv"
    path.write_text("imputer\n")
    os.utime(path, (when, when))
    if beside:
        path.with_suffix(".json").write_text(json.dumps(beside))
    return path


def test_datasets_newest_first(runs: Path) -> None:
    younger, older = kept_datasets(runs)
    assert (younger.name, younger.mechanism, younger.level) == ("cal.v_es", "independent", 60.0)
    assert younger.made > older.made and younger.digest != older.digest
    assert younger.label == f"cal.v_es ({younger.digest[:8]})"
    assert kept_datasets(runs / "nowhere") == []


def test_tables_tell_their_dataset_or_it_is_told_by_their_age(runs: Path) -> None:
    younger, older = kept_datasets(runs)
    told = table(runs, "a" * 12, 1_009_000, dataset_digest=older.digest, models=["m1"], revision="r")
    before, after = table(runs, "b" * 12, 1_002_000), table(runs, "c" * 12, 1_008_000)
    (runs / "scores" / "cal.v_es-more-dddddddddddd.csv").write_text("imputer\n")
    found = kept_scores(runs, kept_datasets(runs), "cal.v_es")
    assert [(t.path, t.dataset_digest) for t in found] == [
        (told, older.digest),
        (after, younger.digest),
        (before, older.digest),
    ]
    assert (found[0].models, found[0].revision, found[1].models) == (("m1",), "r", ())


def test_posteriors_are_found_by_the_tag_of_their_run(runs: Path) -> None:
    home = runs / "models" / "calves-mode-default-0123456789"
    home.mkdir(parents=True)
    (home / "posteriors.npz").touch()
    (runs / "models" / "half-made").mkdir()
    assert kept_posteriors(runs) == {training_tag(home.name): home / "posteriors.npz"}
