"""Scores in the form that MLflow keeps: curves over percent missing, headline figures, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from snpimpute.metrics.registry import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUBSETS = {"all": "", "rare": "rare_", "rare_minor": "rare_minor_"}  # subset of the score table → prefix of the key
HEADLINE_LEVEL = 60.0
Point = tuple[str, float, int]  # metric key, value, step


def headline(scores: pd.DataFrame) -> tuple[str, float]:
    """Return mechanism and level (percent missing) of the headline figures.

    Those of the confusion matrix; without one, the first mechanism and its level nearest to 60.
    """
    confusion = scores[scores["metric"].str.startswith("confusion_")]
    if len(confusion):
        return confusion["mechanism"].iloc[0], float(confusion["level"].iloc[0])
    mechanism = scores["mechanism"].iloc[0]
    levels = scores.loc[scores["mechanism"] == mechanism, "level"].unique()
    return mechanism, float(min(levels, key=lambda level: abs(level - HEADLINE_LEVEL)))


def _curve_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that make curves: scores, not counts, of the subsets that have keys."""
    counts = scores["metric"].str.match("wrong|truth_|sites_|confusion_")
    return scores[scores["subset"].isin(SUBSETS) & ~counts]


def curves(scores: pd.DataFrame, primary: str) -> list[Point]:
    """Return the points of all curves over percent missing; keys of mechanisms other than `primary` have a prefix.

    The step is the level in percent, or in per mille (suffix `_permille`) if a mechanism has levels that are not whole.
    """
    points: list[Point] = []
    for mechanism, rows in _curve_rows(scores).groupby("mechanism", sort=False):
        prefix = "" if mechanism == primary else f"{mechanism}_"
        whole = bool((rows["level"] % 1 == 0).all())
        scale, suffix = (1, "") if whole else (10, "_permille")
        keys = prefix + rows["subset"].map(SUBSETS) + rows["metric"] + suffix
        steps = (rows["level"] * scale).round().astype(int)
        points += list(zip(keys, rows["value"].astype(float), steps, strict=True))
    return points


def headline_key(level: float) -> str:
    """Return the key of macro-F1 at the headline's level (percent missing): "f1_macro_60"."""
    return f"f1_macro_{level:g}"


def headline_points(scores: pd.DataFrame, mechanism: str, level: float) -> list[Point]:
    """Return the metrics of one scenario as points at step 0, with the level in their key (`f1_macro_60`)."""
    rows = _curve_rows(scores)
    rows = rows[(rows["mechanism"] == mechanism) & (rows["level"] == level) & rows["metric"].isin(list(METRICS))]
    keys = rows["subset"].map(SUBSETS) + rows["metric"] + f"_{level:g}"
    return [(key, float(value), 0) for key, value in zip(keys, rows["value"], strict=True)]


def confusion_counts(scores: pd.DataFrame) -> np.ndarray | None:
    """Return (3, 3) counts of calls by true genotype (row) and called genotype (column); None if the table has none."""
    rows = scores[scores["metric"].str.startswith("confusion_") & (scores["subset"] == "all")]
    if rows.empty:
        return None
    by_metric = rows.set_index("metric")["value"]
    return np.array([[by_metric[f"confusion_{true}{called}"] for called in (0, 1, 2)] for true in (0, 1, 2)])


def confusion_figure(counts: np.ndarray, level: float) -> Figure:
    """Draw the confusion matrix of the hidden calls at a level (percent missing).

    Cells show the share of the true genotype's calls, and the count.
    """
    from matplotlib.figure import Figure

    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for true, called in np.ndindex(3, 3):
        colour = "white" if share[true, called] > 0.6 else "black"
        text = f"{share[true, called]:.1%}\n{counts[true, called]:.0f}"
        axes.text(called, true, text, ha="center", va="center", color=colour)
    axes.set(
        title=f"Hidden calls at {level:g}% missing",
        xlabel="called genotype",
        ylabel="true genotype",
        xticks=(0, 1, 2),
        yticks=(0, 1, 2),
    )
    return figure


def robustness_figure(scores: pd.DataFrame) -> Figure:
    """Draw macro-F1 over percent missing with its interval, a curve per mechanism and subset (all, rare sites)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    rows = scores[(scores["metric"] == "f1_macro") & scores["subset"].isin(("all", "rare"))]
    for (mechanism, subset), curve in rows.groupby(["mechanism", "subset"], sort=False):
        curve = curve.sort_values("level")
        label = f"{mechanism} masks, {'all' if subset == 'all' else 'rare'} sites"
        axes.plot(curve["level"], curve["value"], marker="o", ms=3, label=label)
        axes.fill_between(
            curve["level"].astype(float), curve["low"].astype(float), curve["high"].astype(float), alpha=0.2
        )
    axes.set(xlabel="missing (%)", ylabel="macro-F1", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
