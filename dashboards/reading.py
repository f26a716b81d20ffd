"""What the pages read from the store and the folder of runs: cached for moments, never written."""

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
from snpimpute.experiment.kept import KeptDataset, KeptScores, kept_datasets, kept_posteriors, kept_scores
from snpimpute.experiment.score import read_scores
from snpimpute.report.about import ReportContext
from snpimpute.report.rows import Rows
from snpimpute.report.sections import styles_of
from snpimpute.report.tree import Style
from snpimpute.scoring.calls import HiddenCalls, hidden_calls
from snpimpute.scoring.posteriors import load_posteriors
from snpimpute.tracking.reader import EmptyStoreError, Registered, Store, read_only
from snpimpute.tracking.runs import TrainingRun
from snpimpute.tuning.reader import SeenStudy, importances, journals, names_in, read_study

MOMENT = 5.0  # seconds that what the store said is taken to hold
WHAT_TO_RUN = "run `make demo`, or `snpimpute experiment my.vcf.gz`, and load this page again"


def store() -> Store:
    """The MLflow store; raises InputError, in a line that says what to do, if there is none or it cannot be reached."""
    return _store(places().store)


def _store(uri: str) -> Store:
    try:
        return _opened(uri, read_only(uri))
    except FileNotFoundError:
        return Store(uri)  # which says so


@st.cache_resource(ttl=MOMENT, show_spinner=False)
def _opened(uri: str, place: str) -> Store:
    return Store(uri)


def training_runs() -> list[TrainingRun]:
    """The training runs that are in the store now, newest first."""
    return _training_runs(store())


@st.cache_data(ttl=MOMENT, show_spinner=False, hash_funcs={Store: lambda found: found.uri})
def _training_runs(found: Store) -> list[TrainingRun]:
    return found.training_runs()


def registered() -> list[Registered]:
    """The registered models that are in the store now."""
    return _registered(store())


@st.cache_data(ttl=MOMENT, show_spinner=False, hash_funcs={Store: lambda found: found.uri})
def _registered(found: Store) -> list[Registered]:
    return found.registered()


def datasets() -> list[KeptDataset]:
    """The prepared datasets, newest first; EmptyStoreError where there is none."""
    found = kept_datasets(places().runs)
    if not found:
        store()  # says what is the matter, if something is
        raise EmptyStoreError(f"there is no prepared dataset in {places().runs}")
    return found


def scores_of(dataset: KeptDataset) -> list[KeptScores]:
    """The tables of scores of a prepared dataset, newest first."""
    found = kept_scores(places().runs, kept_datasets(places().runs), dataset.name)
    return [table for table in found if table.dataset_digest == dataset.digest]


def score_rows(table: KeptScores) -> pd.DataFrame:
    """A tidy table of scores, test samples only; all visitors share it, so nobody may write to it."""
    return _score_rows(table.path, _last_written(table))


@st.cache_resource(max_entries=12, show_spinner="Reading the scores")
def _score_rows(path: Path, when: float) -> pd.DataFrame:
    table = read_scores(path)
    return table[(table["split"] == "test") & (table["decision"] == "argmax")]


def pooled_rows(table: KeptScores, dataset: KeptDataset) -> tuple[Rows, dict[str, Style]]:
    """A table of scores, pooled over masks, found by key, and a look for each of its imputers and variants."""
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
    """The prepared dataset itself, with its genotypes."""
    if not (dataset.folder / "dataset.json").exists():
        raise InputError(f"the prepared dataset {dataset.folder.name} was removed meanwhile: load this page again")
    with st.spinner("Reading the genotypes"):
        return dataset_in(dataset.folder)


def imputed_runs(dataset: KeptDataset) -> dict[str, tuple[TrainingRun, Path]]:
    """Name → training run on this prepared dataset, and the file of its posteriors; the newest first.

    Where several runs have the same imputer and variant, the name says when each was started.
    """
    kept = kept_posteriors(places().runs)
    runs = [run for run in training_runs() if run.dataset_digest == dataset.digest and run.key_tag in kept]
    return {name: (run, kept[run.key_tag]) for name, run in named(runs).items()}


def named(runs: list[TrainingRun]) -> dict[str, TrainingRun]:
    """A name for each run: imputer and variant, with the time where several have the same, sorted."""
    labels = [run.label for run in runs]
    found = {}
    for run in sorted(runs, key=lambda run: (run.label, run.started)):
        when = "" if labels.count(run.label) == 1 else f" ({run.started:%Y-%m-%d %H:%M:%S}, {run.run_id[:6]})"
        found[run.label + when] = run
    return found


def masks_of(dataset: KeptDataset, posteriors: Path, keys: Collection[str]) -> list[HiddenCalls]:
    """What a run gave at the hidden calls of these masks."""
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


def studies() -> dict[str, str]:
    """Name of each study → the storage that it is in, the one written last first."""
    found = {path.stem: str(path) for path in journals(places().runs)}
    if (database := places().studies) is not None:
        found |= {name: database for name in names_in(database) if name not in found}
    return found


def study(name: str, storage: str) -> SeenStudy:
    """A study as it stands now."""
    return _study(name, storage, _written(storage))


@st.cache_resource(ttl=3600, max_entries=500, show_spinner=False)
def _study(name: str, storage: str, written: float) -> SeenStudy:
    return read_study(storage, name)


def importance_of(name: str, storage: str, counted: int) -> dict[str, float]:
    """Importance of a study's parameters, taken anew when more trials have ended."""
    return _importance(name, storage, counted)


@st.cache_resource(max_entries=100, show_spinner="Taking the importance of the parameters")
def _importance(name: str, storage: str, counted: int) -> dict[str, float]:
    return importances(storage, name)


def _written(storage: str) -> float:
    """When a journal was last written; for a database: now, to the second."""
    if "://" in storage:
        return float(round(time.time()))
    try:
        return Path(storage).stat().st_mtime
    except OSError:
        raise InputError(f"the journal {Path(storage).name} was removed meanwhile: load this page again") from None


def read_ahead() -> None:
    """Read what the first visitor of the studies would have to wait for; what is the matter with it, the page says."""
    with suppress(InputError):
        listed = studies()
        for name, storage in listed.items():
            seen = study(name, storage)
            if name == next(iter(listed)):
                importance_of(name, storage, seen.counted)
