"""What the imputers of an experiment change in the conclusion: tables, made unless they exist, read, and logged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.base.progress import Watch
from snpimpute.base.provenance import git_revision
from snpimpute.base.sources import source_digest
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.dataset.scenarios import Scenario
from snpimpute.experiment.rows import Done
from snpimpute.experiment.settings import ExperimentSettings
from snpimpute.experiment.workspace import Workspace
from snpimpute.genotypes.matrix import MISSING
from snpimpute.metrics.conclusions import ALL, TYPED
from snpimpute.scoring.posteriors import Posteriors, load_posteriors
from snpimpute.traits.aligned import File
from snpimpute.traits.consequence import conclusions
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.parts import Keep, Parts
from snpimpute.traits.simulated import TraitModel, simulated_traits

N_TRAITS = 200
N_FINEMAPPED = 10  # of the headline's level; SuSiE takes up to a second each, for every row
CHI2 = 40.0  # expected at a causal site with true genotypes: power at 5e-8 is then .81
MOST_VARIANCE = 0.5


def conclude_and_log(settings: ExperimentSettings, folder: Path, scored: Sequence[Done], work: Workspace) -> Path:
    """Tell what the rows that were evaluated change in the conclusion, and log it to their runs; return the file of the table."""
    path = conclude(settings, folder, [done.home for done in scored if done.home], work)
    table = read_conclusions(path)
    plain = table[(table.subset == ALL) & (table.versus == "") & table.value.notna()]
    for done in scored:
        if work.tracker is not None and done.home is not None:
            own = plain[plain.file == done.row.label]
            points = [
                (f"consequence_{measure}", float(value), round(level))
                for measure, value, level in zip(own.measure, own.value, own.level, strict=True)
            ]
            work.tracker.log_conclusions(done.run_id, points)
    return path


def conclude(settings: ExperimentSettings, folder: Path, homes: list[Path], work: Workspace) -> Path:
    """Make the table of what the imputers with the given model folders change in the conclusion; return the CSV file.

    For the first mask of each level of the headline's mechanism, traits are simulated with one causal site among the hidden
    ones, that true genotypes would find with a power of .8. At the headline's level some are fine-mapped too.
    """
    dataset = dataset_in(folder)
    about = [dataset.digest, sorted(home.name for home in homes), settings.seed]
    about.append(source_digest("snpimpute.experiment.conclude", without=imputers.DISCOVERY))
    kept = work.conclusions / f"{dataset.name}-{digest(about)[:12]}.csv"
    with made_alone(kept, work.watch):
        if not kept.exists():
            work.watch.stage(f"consequence on {dataset.name}")
            with Parts(kept.with_suffix(".parts"), work.watch) as parts:
                table = _of_dataset(dataset, homes, settings.seed, parts, work.watch)
                write_text(kept, table.to_csv(index=False))
            origin = {"dataset_digest": dataset.digest, "models": [home.name for home in homes]}
            write_text(kept.with_suffix(".json"), json.dumps(origin | {"revision": git_revision()}, indent=1) + "\n")
    return kept


def _of_dataset(dataset: PreparedDataset, homes: Sequence[Path], seed: int, parts: Parts, watch: Watch) -> pd.DataFrame:
    """Return the conclusions at all levels; InputError if there is none that they can be drawn at."""
    results = [load_posteriors(home / "posteriors.npz") for home in homes]
    tables = []
    scenarios = _chosen(dataset)
    for number, scenario in enumerate(scenarios):

        def told(done: float, total: float, number: int = number) -> None:
            watch.progress(number + done / total, len(scenarios))

        try:
            tables.append(_of_scenario(dataset, scenario, results, seed, partial(parts.keep, scenario.key), told))
        except InputError as error:
            watch.warn(f"{dataset.name} at {scenario.level:g}% missing: {error}")
        told(1, 1)
    if not tables:
        raise InputError(f"{dataset.name}: at no level are there hidden sites that may be causal")
    return pd.concat(tables, ignore_index=True)


def _chosen(dataset: PreparedDataset) -> list[Scenario]:
    """Return the first mask of each level of the headline's mechanism, and of the headline's level the headline itself."""
    headline = dataset.headline_scenario
    chosen: dict[float, Scenario] = {}
    for scenario in dataset.test_scenarios():
        if scenario.mechanism == headline.mechanism:
            chosen.setdefault(scenario.level, scenario)
    return list({**chosen, headline.level: headline}.values())


def _of_scenario(
    dataset: PreparedDataset,
    scenario: Scenario,
    results: Sequence[Posteriors],
    seed: int,
    keep: Keep,
    progress: Callable[[float, float], None],
) -> pd.DataFrame:
    """Return the conclusions under one mask, with the column `level`."""
    calls, hidden = dataset.test.calls, scenario.hidden
    values = np.where(calls == MISSING, np.nan, calls).astype(np.float32)
    quality = np.full(values.shape[1], np.nan)
    truth = Dosages(values, dataset.test.names, dataset.test.sites, quality, dataset.name)
    n = truth.n_samples
    model = TraitModel(N_TRAITS, 1, min(MOST_VARIANCE, CHI2 / (n + CHI2)), seed=seed)
    traits = simulated_traits(truth, model, scenario.sites)
    everywhere = np.arange(truth.n_sites)
    files = []
    for result in results:
        imputed = values.copy()
        dosage = result.values[scenario.key].astype(np.float32) @ np.arange(3, dtype=np.float32)
        imputed[hidden if scenario.by_call else np.s_[:, hidden]] = dosage
        files.append(File.of(result.label, Dosages(imputed, truth.samples, truth.sites, quality), everywhere))
    if not scenario.by_call:
        files.append(File.of(TYPED, truth, np.flatnonzero(~hidden)))
    finemapped = N_FINEMAPPED if scenario.key == dataset.headline else 0
    table = conclusions(truth, files, traits, progress, finemapped, seed=seed, keep=keep)
    return table.assign(level=scenario.level)


def read_conclusions(path: Path) -> pd.DataFrame:
    """Read a table that `conclude` wrote: columns of traits.consequence, and `level`."""
    return pd.read_csv(path, dtype={"file": str, "subset": str, "measure": str, "versus": str}, keep_default_na=False, na_values={c: [""] for c in ("value", "low", "high")})  # fmt: skip


def at_level(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return the rows of a table of conclusions at one level."""
    return table[table.level == level].reset_index(drop=True)
