"""Read-only access of the pages to the store and the folder of runs, with a short cache."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboards.places import places
from snpimpute.base.errors import InputError
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.experiment.conclude import read_conclusions
from snpimpute.experiment.kept import (
    KeptDataset,
    KeptScores,
    kept_conclusions,
    kept_datasets,
    kept_posteriors,
    kept_scores,
)
from snpimpute.experiment.score import read_scores
from snpimpute.impute.watching import read_batches, watched_models
from snpimpute.report.about import ReportContext
from snpimpute.report.rows import Rows
from snpimpute.report.sections import styles_of
from snpimpute.report.tree import Style
from snpimpute.scoring.calls import HiddenCalls, hidden_calls
from snpimpute.scoring.posteriors import load_posteriors
from snpimpute.tracking.reader import EmptyStoreError, Registered, Store, read_only
from snpimpute.tracking.runs import Comparison, PredictorRun, TrainingRun, TraitModel
from snpimpute.tuning.reader import SeenStudy, importances, journals, names_in, read_study

CACHE_SECONDS = 5.0  # seconds for which answers of the store are kept
WHAT_TO_RUN = "run `make demo`, or `snpimpute experiment my.vcf.gz`, and load this page again"


def store() -> Store:
    """Return the MLflow store.

    Raises:
        InputError: there is no store, or it cannot be reached; one line that says what to do.
    """
    return _store(places().store)


def _store(uri: str) -> Store:
    try:
        return _opened_store(uri, read_only(uri))
    except FileNotFoundError:
        return Store(uri)  # raises the error that reports this


@st.cache_resource(ttl=CACHE_SECONDS, show_spinner=False)
def _opened_store(uri: str, place: str) -> Store:
    return Store(uri)


def training_runs() -> list[TrainingRun]:
    """Return the training runs that are in the store now, newest first."""
    return _training_runs(store())


@st.cache_data(ttl=CACHE_SECONDS, show_spinner=False, hash_funcs={Store: lambda found: found.uri})
def _training_runs(found: Store) -> list[TrainingRun]:
    return found.training_runs()


def registered() -> list[Registered]:
    """Return the registered models that are in the store now."""
    return _registered(store())


@st.cache_data(ttl=CACHE_SECONDS, show_spinner=False, hash_funcs={Store: lambda found: found.uri})
def _registered(found: Store) -> list[Registered]:
    return found.registered()


def trait_models() -> list[TraitModel]:
    """Return the registered models of traits that are in the store now."""
    return _trait_models(store())


@st.cache_data(ttl=CACHE_SECONDS, show_spinner=False, hash_funcs={Store: lambda found: found.uri})
def _trait_models(found: Store) -> list[TraitModel]:
    return found.trait_models()


def comparisons() -> list[Comparison]:
    """Return the comparisons of predictors that are in the store now, newest first."""
    return _comparisons(store())


@st.cache_data(ttl=CACHE_SECONDS, show_spinner=False, hash_funcs={Store: lambda found: found.uri})
def _comparisons(found: Store) -> list[Comparison]:
    return found.comparisons()


def by_fold(run: PredictorRun, measure: str) -> list[float]:
    """Return the values of a measure of a predictor's run, a value per fold."""
    return _by_fold(store(), run, measure)


@st.cache_data(
    ttl=60,
    max_entries=500,
    show_spinner=False,
    hash_funcs={Store: lambda found: found.uri, PredictorRun: lambda run: (run.run_id, sorted(run.metrics.items()))},
)
def _by_fold(found: Store, run: PredictorRun, measure: str) -> list[float]:
    return found.by_fold(run, measure)


def datasets() -> list[KeptDataset]:
    """Return the prepared datasets, newest first; EmptyStoreError if there is none."""
    found = kept_datasets(places().runs)
    if not found:
        store()  # raises its own error if the store is the cause
        raise EmptyStoreError(f"there is no prepared dataset in {places().runs}")
    return found


def scores_of(dataset: KeptDataset) -> list[KeptScores]:
    """Return the tables of scores of a prepared dataset, newest first."""
    found = kept_scores(places().runs, kept_datasets(places().runs), dataset.name)
    return [table for table in found if table.dataset_digest == dataset.digest]


def score_rows(table: KeptScores) -> pd.DataFrame:
    """Return a tidy table of scores of the test samples; all visitors share it, so it must not be changed."""
    return _score_rows(table.path, _last_written(table))


@st.cache_resource(max_entries=12, show_spinner="Reading the scores")
def _score_rows(path: Path, when: float) -> pd.DataFrame:
    table = read_scores(path)
    return table[(table["split"] == "test") & (table["decision"] == "argmax")]


def conclusions_of(dataset: KeptDataset) -> list[KeptScores]:
    """Return the tables of what imputers change in the conclusion on a prepared dataset, newest first."""
    return kept_conclusions(places().runs, dataset)


def conclusion_rows(table: KeptScores) -> pd.DataFrame:
    """Return a table of conclusions; all visitors share it, so it must not be changed."""
    return _conclusion_rows(table.path, _last_written(table))


@st.cache_resource(max_entries=12, show_spinner="Reading the conclusions")
def _conclusion_rows(path: Path, when: float) -> pd.DataFrame:
    return read_conclusions(path)


def pooled_rows(table: KeptScores, dataset: KeptDataset) -> tuple[Rows, dict[str, Style]]:
    """Return the scores of a table, pooled over masks, and a style for each of its imputers and variants."""
    return _pooled_rows(table.path, _last_written(table), dataset.name, dataset.mechanism, dataset.level)


@st.cache_resource(max_entries=24, show_spinner="Reading the scores")
def _pooled_rows(path: Path, when: float, dataset: str, mechanism: str, level: float) -> tuple[Rows, dict[str, Style]]:
    scores = _score_rows(path, when)
    scores = scores[(scores["repeat"] == "all") & ~scores["subset"].str.match("site:|sample:|confidence:")]
    context = ReportContext(
        title="",
        notes=[],
        datasets=[],
        imputers=scores[["dataset", "imputer", "variant"]].drop_duplicates(),
        primary_mechanism=mechanism,
        headline_level=level,
        versions={},
        mlflow_links={},
    )
    return Rows(scores, context, dataset), styles_of(scores, context)


def _last_written(table: KeptScores) -> float:
    try:
        return table.path.stat().st_mtime
    except OSError:
        raise InputError(f"the scores {table.path.name} were removed meanwhile: load this page again") from None


def genotypes(dataset: KeptDataset) -> PreparedDataset:
    """Return the prepared dataset itself, with its genotypes."""
    if not (dataset.folder / "dataset.json").exists():
        raise InputError(f"the prepared dataset {dataset.folder.name} was removed meanwhile: load this page again")
    with st.spinner("Reading the genotypes"):
        return dataset_in(dataset.folder)


def imputed_runs(dataset: KeptDataset) -> dict[str, tuple[TrainingRun, Path]]:
    """Return a mapping of name → training run on this prepared dataset, and the file of its posteriors.

    If several runs have the same imputer and variant, the name contains their start.
    """
    kept = kept_posteriors(places().runs)
    runs = [run for run in training_runs() if run.dataset_digest == dataset.digest and run.key_tag in kept]
    return {name: (run, kept[run.key_tag]) for name, run in runs_by_name(runs).items()}


def runs_by_name(runs: list[TrainingRun]) -> dict[str, TrainingRun]:
    """Return a mapping of name → run, sorted.

    The name is imputer and variant, with the start and the beginning of the id if several runs have the same.
    """
    labels = [run.label for run in runs]
    found = {}
    for run in sorted(runs, key=lambda run: (run.label, run.started)):
        when = "" if labels.count(run.label) == 1 else f" ({run.started:%Y-%m-%d %H:%M:%S}, {run.run_id[:6]})"
        found[run.label + when] = run
    return found


def masks_of(dataset: KeptDataset, posteriors: Path, keys: Collection[str]) -> list[HiddenCalls]:
    """Return the posteriors of a run at the hidden calls of the masks with these keys."""
    try:
        found = load_posteriors(posteriors, keys)
    except OSError:
        raise InputError(
            f"the posteriors of {posteriors.parent.name} were removed meanwhile: load this page again"
        ) from None
    masks = hidden_calls(genotypes(dataset), found)
    if not masks:
        raise InputError(f"{posteriors.parent.name} holds no posteriors of the masks {', '.join(keys)}")
    return masks


def watched() -> dict[str, Path]:
    """Return the tables of batches that models were watched on, the last written first."""
    return watched_models(places().runs)


def batches(table: Path) -> pd.DataFrame:
    """Return a table of batches in its present state."""
    return _batches(table, table.stat().st_mtime)


@st.cache_data(max_entries=100, show_spinner=False)
def _batches(path: Path, when: float) -> pd.DataFrame:
    return read_batches(path)


def studies() -> dict[str, str]:
    """Return a mapping of study → storage, the last written first."""
    found = {path.stem: str(path) for path in journals(places().runs)}
    if (database := places().studies) is not None:
        found |= {name: database for name in names_in(database) if name not in found}
    return found


def study(name: str, storage: str) -> SeenStudy:
    """Return a study in its present state."""
    return _study(name, storage, _last_change(storage))


@st.cache_resource(ttl=3600, max_entries=500, show_spinner=False)
def _study(name: str, storage: str, written: float) -> SeenStudy:
    return read_study(storage, name)


def importance_of(name: str, storage: str, counted: int) -> dict[str, float]:
    """Return the importance of a study's parameters; it is computed again when more trials have ended."""
    return _importance(name, storage, counted)


@st.cache_resource(max_entries=100, show_spinner="Computing the importance of the parameters")
def _importance(name: str, storage: str, counted: int) -> dict[str, float]:
    return importances(storage, name)


def _last_change(storage: str) -> float:
    """Return the time at which a journal was last written; for a database: now, to the second."""
    if "://" in storage:
        return float(round(time.time()))
    try:
        return Path(storage).stat().st_mtime
    except OSError:
        raise InputError(f"the journal {Path(storage).name} was removed meanwhile: load this page again") from None


def read_ahead() -> None:
    """Fill the cache of studies, so that the first visitor need not wait; errors are left to the page."""
    with suppress(InputError):
        found = studies()
        for name, storage in found.items():
            seen = study(name, storage)
            if name == next(iter(found)):
                importance_of(name, storage, seen.counted)
