"""Registered models of whole panels: find, compare on the same held-out samples, promote, roll back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from snpimpute.base.alone import made_alone
from snpimpute.base.checksums import require_checksums
from snpimpute.base.errors import InputError
from snpimpute.base.names import require_plain
from snpimpute.impute.steps import subsets
from snpimpute.impute.windows import WindowedModel
from snpimpute.metrics.intervals import interval, resample, resampling_weights
from snpimpute.metrics.scores import scores
from snpimpute.metrics.sums import N_SUMS
from snpimpute.tracking.models import IMPUTER, safe_name
from snpimpute.tracking.runs import CHAMPION, PANEL_VARIANT, RegisteredModel, RegisteredPredictor
from snpimpute.tracking.writer import Tracker

M = TypeVar("M", RegisteredModel, RegisteredPredictor)

RESAMPLES = 2000
DECIDING_METRIC = "f1_macro"  # a challenger must be better in this metric on all sites
COMPARED = (("all", "f1_macro"), ("all", "site_dosage_r2"), ("rare", "f1_1"), ("rare", "site_dosage_r2"))


def find_model(tracker: Tracker, wanted: str | None) -> RegisteredModel:
    """Return the registered model that `NAME`, `NAME@ALIAS` or `NAME/VERSION` names; NAME alone means its champion.

    NAME is the name given to `snpimpute fit`, or the name in the registry. None means the only champion that there is.

    Raises:
        InputError: there is no such name, alias or version, or several models to choose from (lists them).
    """
    models = tracker.panel_models()
    if not models:
        raise InputError("no fitted model is registered: snpimpute fit makes one, or give --model FOLDER")
    if wanted is None:
        champions = [
            name for name in dict.fromkeys(model.name for model in models) if CHAMPION in tracker.aliases(name)
        ]
        if len(champions) != 1:
            raise InputError(f"several models are registered: choose one with --model ({', '.join(champions)})")
        wanted = champions[0]
    return find_among(tracker, models, wanted, PANEL_VARIANT)


def find_among(tracker: Tracker, models: Sequence[M], wanted: str, suffix: str) -> M:
    """Return the one of registered models that `NAME`, `NAME@ALIAS` or `NAME/VERSION` names; NAME alone means its champion.

    Args:
        tracker: of the store.
        models: versions to choose from.
        wanted: as the user named it; NAME may lack what all names in the registry begin and end with.
        suffix: end of the names in the registry.

    Raises:
        InputError: there is no such name, alias or version (lists those there are).
    """
    name, _, version = wanted.partition("/")
    name, _, alias = name.partition("@")
    there = list(dict.fromkeys(model.name for model in models))
    found = named_among(there, name, suffix)
    if found is None:
        raise InputError(f"no model {name or wanted!r} is registered; there are {', '.join(there)}")
    of_name = [model for model in models if model.name == found]
    if not version:
        aliases = tracker.aliases(of_name[0].name)
        if (alias or CHAMPION) not in aliases:
            raise InputError(f"{of_name[0].name} has no alias {alias or CHAMPION!r}; it has {', '.join(aliases)}")
        version = aliases[alias or CHAMPION]
    for model in of_name:
        if model.version == version:
            return model
    raise InputError(f"{of_name[0].name} has no version {version}; it has {', '.join(m.version for m in of_name)}")


def named_among(there: Collection[str], name: str, suffix: str) -> str | None:
    """Return the name in the registry that a user's name means, see `find_among`; None if it means none of them."""
    names = (name, f"snpimpute-{safe_name(name)}-{suffix}", f"snpimpute-{name}")
    return next((one for one in names if one in there), None)  # one name: "x" and "x-trait" may both be there


def fetch_model(tracker: Tracker, model: RegisteredModel, runs: Path) -> WindowedModel:
    """Fetch a registered model's files to `runs/fetched`, unless they are there, and compare them with their checksums."""
    return WindowedModel(fetched_folder(tracker, model, runs, IMPUTER))


def fetched_folder(tracker: Tracker, model: RegisteredModel | RegisteredPredictor, runs: Path, artifact: str) -> Path:
    """Return the folder below `runs/fetched` of an artifact of a registered model, fetched unless it is there; checksums are compared."""
    for name in (model.name, model.version, model.run_id):  # as the store has them, which others may write to
        require_plain(name, "the registered model")
    folder = runs / "fetched" / f"{model.name}-{model.version}-{model.run_id[:8]}"
    with made_alone(folder, tracker.watch):
        if not folder.exists():
            tracker.fetch_model(model, folder, artifact)
    require_checksums(folder)
    return folder


def model_table(tracker: Tracker) -> pd.DataFrame:
    """Return a row per version: name, version, imputer, aliases, samples, windows, macro-F1 on the held-out samples."""
    figures = {"samples": ("samples_fit", 0), "windows": ("windows", 0), "f1_macro": ("val_f1_macro", np.nan)}
    return version_table(tracker, tracker.panel_models(), "imputer", figures)


def version_table(
    tracker: Tracker, models: Sequence[M], maker: str, figures: Mapping[str, tuple[str, float]]
) -> pd.DataFrame:
    """Return a row per version of registered models.

    Args:
        tracker: of the store.
        models: the versions.
        maker: attribute of a version that tells what learned it.
        figures: for each further column the metric that it shows, and its value where there is none; counts have a 0 there.

    Returns:
        Columns name, version, `maker`, aliases, and those of `figures`.
    """
    rows = []
    for model in models:
        at = [alias for alias, version in tracker.aliases(model.name).items() if version == model.version]
        row = {
            "name": model.name,
            "version": model.version,
            maker: getattr(model, maker),
            "aliases": ", ".join(sorted(at)),
        }
        for column, (metric, otherwise) in figures.items():
            row[column] = type(otherwise)(model.metrics.get(metric, otherwise))
        rows.append(row)
    return pd.DataFrame(rows)


def compare(first: WindowedModel, second: WindowedModel, seed: int = 1) -> pd.DataFrame:
    """Compare two models on the same held-out samples, with calls hidden in the same pattern and windows.

    Returns:
        Columns pattern, subset, metric, `first`, `second`, `difference` (second minus first), `low`, `high`: 95%
        bootstrap intervals of the paired difference; samples (families, if known) and windows are resampled together.

    Raises:
        InputError: a model was not measured, or they were not measured on the same samples and pattern.
    """
    for model in (first, second):
        if not model.about["measured_on"]:
            raise InputError(
                f"model {model.about['name']} ({model.about['imputer']}) was not measured: --holdout was 0%"
            )
    if first.about["measured_on"] != second.about["measured_on"]:
        raise InputError(
            "the models were not measured on the same samples, windows and pattern of missing calls "
            f"({_how_measured_otherwise(first, second)}): fit both from the same panel with the same --holdout, --typed-sites, "
            "--window and --seed"
        )
    rows = []
    for file in sorted(first.folder.glob("sums-*.npy")):
        sums = [np.load(model.folder / file.name, allow_pickle=False).astype(float) for model in (first, second)]
        if any(one.shape[-1] != N_SUMS for one in sums):
            raise InputError("the models were measured by another version of snpimpute: fit them again")
        weights = resampling_weights(np.array(first.about["families"]), sums[0].shape[1], RESAMPLES, seed)
        for i, subset in enumerate(subsets(np.zeros(1))):
            points = [scores(one[:, :, i].sum(axis=(0, 1))) for one in sums]
            drawn = [scores(resample(one[:, :, i], weights)) for one in sums]
            for metric in (metric for which, metric in COMPARED if which == subset):
                low, high = interval(drawn[1][metric] - drawn[0][metric])
                a, b = float(points[0][metric]), float(points[1][metric])
                rows.append((file.stem.removeprefix("sums-"), subset, metric, a, b, b - a, low, high))
    columns = ["pattern", "subset", "metric", "first", "second", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _how_measured_otherwise(first: WindowedModel, second: WindowedModel) -> str:
    """Return in what two models were measured differently, in a few words."""
    words = {"samples": "other samples held out", "sites": "other sites or windows", "hidden": "other calls hidden"}
    one, other = first.about["measured_on"], second.about["measured_on"]
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return "one was fitted by an earlier version"
    return ", ".join(said for what, said in words.items() if one.get(what) != other.get(what))


def promote(tracker: Tracker, wanted: str, runs: Path, force: bool = False) -> str:
    """Make a registered model the champion of its name if it is better than the present one, or if that is forced.

    It is better if the interval of the difference in macro-F1 at the hidden calls of the held-out samples is above 0 for
    every measured pattern.

    Returns:
        A line that reports the move.

    Raises:
        InputError: the model is the champion, cannot be compared, or is not better (gives the difference).
    """

    def judged(challenger: RegisteredModel, champion: RegisteredModel) -> tuple[str, bool]:
        table = compare(fetch_model(tracker, champion, runs), fetch_model(tracker, challenger, runs))
        decisive = table[(table.subset == "all") & (table.metric == DECIDING_METRIC)]
        differences = "; ".join(
            f"{row.pattern}: {row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})" for row in decisive.itertuples()
        )
        return f"macro-F1 {differences}", bool((decisive["low"] > 0).all())

    return move_if_better(
        tracker, find_model(tracker, wanted), lambda name: find_model(tracker, name), "imputer", judged, force
    )


def move_if_better(
    tracker: Tracker,
    challenger: M,
    find: Callable[[str], M],
    maker: str,
    judged: Callable[[M, M], tuple[str, bool]],
    force: bool = False,
) -> str:
    """Make a registered model the champion of its name if there is none, or if it is better than the present one.

    Args:
        tracker: of the store.
        challenger: the model.
        find: returns the version that `NAME/VERSION` names.
        maker: attribute of a version that tells what learned it.
        judged: of challenger and champion, the difference in words, and whether the challenger is better.
        force: move the champion even if the challenger is not better or cannot be compared; the record of the move says so.

    Returns:
        A line that reports the move.

    Raises:
        InputError: the model is the champion already, or, unless forced, is not better (gives the difference) or cannot be compared.
    """
    present = tracker.aliases(challenger.name).get(CHAMPION)
    if present == challenger.version:
        raise InputError(f"{challenger.name} version {present} is the champion already")
    made_by, why = getattr(challenger, maker), "no champion before"
    if present is not None:
        champion = find(f"{challenger.name}/{present}")
        try:
            difference, is_better = judged(challenger, champion)
        except InputError as error:
            if not force:
                raise
            difference, is_better = f"not compared ({error})", False
        if not is_better and not force:
            raise InputError(
                f"{challenger.name} version {challenger.version} ({made_by}) is not better than the champion, "
                f"version {present} ({getattr(champion, maker)}): {difference}; --force promotes it all the same"
            )
        why = f"{'' if is_better else 'forced: '}{difference} against version {present}"
    tracker.move_champion(challenger.name, challenger.version, why)
    return f"{challenger.name}: champion is version {challenger.version} ({made_by}), {why}"


def rollback(tracker: Tracker, wanted: str) -> str:
    """Give a registered model back the champion that it had before the last move; see `restore_champion`."""
    return restore_champion(tracker, find_model(tracker, wanted).name)


def restore_champion(tracker: Tracker, name: str) -> str:
    """Move the champion of a name in the registry back to where it was before the last move.

    Returns:
        A line that reports the move.

    Raises:
        InputError: no earlier champion.
    """
    moves = tracker.moves(name)
    done = [move for move in moves if not move.why.startswith("rollback")]
    undone = len(moves) - len(done)
    left = done[: len(done) - undone] if undone else done
    if not left or not left[-1].before:
        raise InputError(f"{name} has no earlier champion to go back to")
    tracker.move_champion(name, left[-1].before, f"rollback of the move of {left[-1].when:%Y-%m-%d %H:%M:%S} UTC")
    return f"{name}: champion is version {left[-1].before} again"
