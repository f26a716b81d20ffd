"""Tables of scores: make them unless they exist, read them, log them to the runs of the scored imputers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.files import write_text
from snpimpute.base.provenance import git_revision
from snpimpute.base.sources import source_digest
from snpimpute.dataset.prepared import dataset_in
from snpimpute.experiment.rows import Done
from snpimpute.experiment.settings import ExperimentSettings
from snpimpute.experiment.workspace import Workspace
from snpimpute.scoring.posteriors import load_posteriors
from snpimpute.scoring.table import score_table


def score_and_log(settings: ExperimentSettings, folder: Path, scored: Sequence[Done], work: Workspace) -> Path:
    """Score the rows that were evaluated, and log to each run its own scores; return the file of the table."""
    path = score(settings, folder, [done.home for done in scored if done.home], work)
    table = read_scores(path)
    for done in scored:
        if work.tracker is not None and done.home is not None:
            own = table[(table.imputer == done.row.imputer) & (table.variant == done.row.variant)]
            work.tracker.log_scores(done.run_id, own.assign(variant=done.logged_as), *_cost_and_logs(done.home))
    return path


def _cost_and_logs(home: Path) -> tuple[dict[str, float], list[Path]]:
    """Return time and memory of imputing as metrics, and the log files of imputing."""
    about = json.loads((home / "impute.json").read_text())
    cost = {"seconds_impute": about["seconds_impute"], "memory_impute_mb": about["memory_mb"]}
    return cost, [path for path in (home / "impute.log",) if path.exists()]


def _offsets_in(home: Path) -> dict[float, np.ndarray]:
    """Return a mapping of level → offsets float64 (3,) that were chosen for a row; empty if none were."""
    kept = home / "offsets.json"
    found = json.loads(kept.read_text()) if kept.exists() else []
    return {entry["level"]: np.array([0.0, *entry["offsets"]]) for entry in found}


def score(settings: ExperimentSettings, folder: Path, homes: list[Path], work: Workspace) -> Path:
    """Make the tidy table of scores of the imputers with the given model folders; return the CSV file.

    If offsets are wanted, hard calls of imputers that have offsets are scored with these too.
    """
    dataset = dataset_in(folder)
    about = [
        dataset.digest,
        sorted(home.name for home in homes),
        settings.scoring.resamples,
        settings.seed,
        source_digest("snpimpute.scoring.table", without=imputers.DISCOVERY),
    ]
    offsets = [_offsets_in(home) if settings.offsets_on(dataset.name) else {} for home in homes]
    if any(offsets):
        used = {home.name: {k: list(v) for k, v in own.items()} for home, own in zip(homes, offsets, strict=True)}
        about.append(used)
    kept = work.scores / f"{dataset.name}-{digest(about)[:12]}.csv"
    with made_alone(kept, work.watch):
        if not kept.exists():
            work.watch.stage(f"score {len(homes)} imputers on {dataset.name}")
            results = [load_posteriors(home / "posteriors.npz") for home in homes]
            by_label = {result.label: found for result, found in zip(results, offsets, strict=True) if found}
            table = score_table(
                dataset, results, settings.scoring.resamples, settings.seed, work.watch.progress, by_label
            )
            write_text(kept, table.to_csv(index=False))
        if not (beside := kept.with_suffix(".json")).exists():
            origin = {
                "dataset_digest": dataset.digest,
                "models": [home.name for home in homes],
                "revision": git_revision(),
            }
            write_text(beside, json.dumps(origin, indent=1) + "\n")
    return kept


def read_scores(path: Path) -> pd.DataFrame:
    """Read a tidy table of scores that `score` wrote."""
    text = ("imputer", "variant", "dataset", "split", "mechanism", "repeat", "subset", "decision", "metric", "versus")
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
        na_values={c: [""] for c in ("value", "low", "high")},
    )


def read_whole_scores(path: Path) -> pd.DataFrame:
    """Read of a table of scores the rows of all masks together, of calls as they are, that are no differences.

    `row` is the row of the report: imputer/variant.
    """
    scores = read_scores(path)
    scores = scores[(scores["repeat"] == "all") & (scores["versus"] == "") & (scores["decision"] == "argmax")]
    return scores.assign(row=scores["imputer"] + "/" + scores["variant"])
