"""Registered models of traits: find, compare on the same folds, promote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.impute.champions import fetched_folder, find_among, move_if_better, restore_champion, version_table
from snpimpute.metrics.prediction import MEASURES
from snpimpute.report.text import interval, signed
from snpimpute.tracking.models import PREDICTOR
from snpimpute.tracking.runs import RegisteredPredictor
from snpimpute.tracking.writer import Tracker
from snpimpute.traits.evaluate import DECIDING
from snpimpute.traits.measured import Measured, read_measured

SUFFIX = "trait"  # of the names in the registry


def find_model(tracker: Tracker, wanted: str) -> RegisteredPredictor:
    """Return the registered model that `TRAIT`, `TRAIT@ALIAS` or `TRAIT/VERSION` names; TRAIT alone means its champion.

    TRAIT is the trait, with or without `-trait`, or the name in the registry.

    Raises:
        InputError: there is no such name, alias or version.
    """
    models = tracker.predictor_models()
    if not models:
        raise InputError("no predictor of a trait is registered: snpimpute traits fit makes one where there is a store")
    return find_among(tracker, models, wanted, SUFFIX)


def fetch_model(tracker: Tracker, model: RegisteredPredictor, runs: Path) -> Path:
    """Return the folder that a registered model's files are fetched to, after comparing them with their checksums."""
    return fetched_folder(tracker, model, runs, PREDICTOR)


def model_table(tracker: Tracker) -> pd.DataFrame:
    """Return a row per version: name, version, predictor, aliases, samples, folds that it was measured on, correlation over them."""
    figures = {"samples": ("samples", 0), "folds": ("folds", 0), "correlation": (DECIDING, np.nan)}
    return version_table(tracker, tracker.predictor_models(), "predictor", figures)


def compare(tracker: Tracker, first: str, second: str, runs: Path) -> pd.DataFrame:
    """Compare two registered models on the folds that both were measured on.

    Returns:
        Columns measure, `first`, `second`, `difference` (second minus first), `low`, `high`: the 95% interval of the paired
        difference over folds.

    Raises:
        InputError: a model was not measured, or they were not measured on the same samples, trait and folds.
    """
    one, other = (_measured(tracker, find_model(tracker, name), runs) for name in (first, second))
    rows = []
    for measure in MEASURES:
        if measure in one.values and measure in other.values and MEASURES[measure].better:
            apart = other.minus(one, measure)
            means = (one.score(measure).value, other.score(measure).value)
            rows.append((MEASURES[measure].label, *means, apart.value, apart.low, apart.high))
    return pd.DataFrame(rows, columns=["measure", "first", "second", "difference", "low", "high"])


def promote(tracker: Tracker, wanted: str, runs: Path, force: bool = False) -> str:
    """Make a registered model the champion of its trait if the interval of the difference in correlation is above 0, or if that is forced.

    Returns:
        A line that reports the move.

    Raises:
        InputError: the model is the champion, cannot be compared, or is not better (gives the difference).
    """

    def judged(challenger: RegisteredPredictor, champion: RegisteredPredictor) -> tuple[str, bool]:
        apart = _measured(tracker, challenger, runs).minus(_measured(tracker, champion, runs), DECIDING)
        return f"{MEASURES[DECIDING].label} {signed(apart)} ({interval(apart, signed=True)})", apart.low > 0

    return move_if_better(
        tracker, find_model(tracker, wanted), lambda name: find_model(tracker, name), "predictor", judged, force
    )


def rollback(tracker: Tracker, wanted: str) -> str:
    """Give a registered model back the champion that it had before the last move; InputError if there was none."""
    return restore_champion(tracker, find_model(tracker, wanted).name)


def _measured(tracker: Tracker, model: RegisteredPredictor, runs: Path) -> Measured:
    """Return what a registered model reached by fold; InputError if it was not measured."""
    measured = read_measured(fetch_model(tracker, model, runs))
    if measured is None:
        raise InputError(f"{model.name} version {model.version} ({model.predictor}) was not measured: --folds was 0")
    return measured
