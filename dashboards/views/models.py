"""The registered models, and how their aliases moved."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.shown import GREY, axis, figure, one_of, page, table
from snpimpute import imputers
from snpimpute.kept import KeptDataset
from snpimpute.report.html import plotly_text
from snpimpute.report.text import plain as shown_plain
from snpimpute.report.tree import COLOURS, Style
from snpimpute.store import EmptyStoreError, Promotion, TrainingRun, Version, promotions
from snpimpute.tracking import CHAMPION

GONE = "the training run was deleted"


def main() -> None:
    versions = reading.versions()
    if not versions:
        raise EmptyStoreError("no model is registered yet")
    names = list(dict.fromkeys(version.name for version in versions))
    name = one_of("Registered model", names, "model")
    mine = [version for version in versions if version.name == name]
    runs = {run.run_id: run for run in reading.training_runs()}
    moves = promotions(mine)
    aliases(mine, runs)
    scores(mine, moves)
    promoted(moves, mine, runs)
    seen(mine, runs)


def aliases(mine: list[Version], runs: Mapping[str, TrainingRun]) -> None:
    st.subheader("Aliases", anchor=False)
    rows = [
        {
            "Alias": alias,
            "Version": version.number,
            "Imputer": version.label,
            "Validation macro-F1": version.score,
            "Load it as": f"models:/{version.name}@{alias}",
            "Revision": revision(runs.get(version.run_id)),
        }
        for version in mine
        for alias in version.aliases
    ]
    rows.sort(key=lambda row: (row["Alias"] != CHAMPION, row["Alias"]))
    table(
        "aliases",
        pd.DataFrame(rows, columns=["Alias", "Version", "Imputer", "Validation macro-F1", "Load it as", "Revision"]),
        how="The champion is the best of all on the validation masks (0 to 1), the other aliases the best of each imputer.",
        column_config={"Validation macro-F1": st.column_config.NumberColumn(format="%.4f")},
    )


def revision(run: TrainingRun | None) -> str:
    return (run.revision or "–") if run else GONE


def scores(mine: list[Version], moves: list[Promotion]) -> None:
    st.subheader("Validation score of each version", anchor=False)
    imputers = list(dict.fromkeys(version.imputer for version in mine))
    traces = []
    for i, imputer in enumerate(imputers):
        own = [version for version in mine if version.imputer == imputer]
        traces.append(
            {
                "x": [version.number for version in own],
                "y": [None if version.score != version.score else version.score for version in own],
                "mode": "markers",
                "name": plotly_text(imputer or "not trained here"),
                "marker": {
                    "color": COLOURS[i % len(COLOURS)],
                    "symbol": Style.PLOTLY_SYMBOL[i // len(COLOURS) % len(Style.PLOTLY_SYMBOL)],
                    "size": 10,
                },
                "text": [
                    plotly_text(
                        "\n".join([f"version {v.number}: {v.label}", f"{v.created:%Y-%m-%d %H:%M}", *v.aliases])
                    )
                    for v in own
                ],
                "hovertemplate": "%{text}<br>%{y:.4f}<extra></extra>",
            }
        )
    champions = [move.version for move in moves if move.alias == CHAMPION]
    if champions:
        last = max(version.number for version in mine)
        traces.append(
            {
                "x": [*(v.number for v in champions), last],
                "y": [*(v.score for v in champions), champions[-1].score],
                "mode": "lines",
                "name": CHAMPION,
                "line": {"shape": "hv", "color": GREY, "width": 2, "dash": "dot"},
                "hoverinfo": "skip",
            }
        )
    figure(
        "versions",
        traces,
        {
            "xaxis": axis("Version (number)", dtick=1 if len(mine) < 25 else None),
            "yaxis": axis("Validation macro-F1 (0 to 1)"),
        },
        how="Each point is a version; the dotted line is the champion's score. It may fall where another prepared dataset begins: scores "
        "on different data do not compare.",
        table=pd.DataFrame(
            [
                (v.number, v.imputer, v.variant, v.score, v.created.isoformat(), v.dataset_digest, " ".join(v.aliases))
                for v in mine
            ],
            columns=["version", "imputer", "variant", "val_f1_macro", "created", "dataset_digest", "aliases"],
        ),
        alt="Validation macro-F1 of each version",
    )


def promoted(moves: list[Promotion], mine: list[Version], runs: Mapping[str, TrainingRun]) -> None:
    st.subheader("What changed at each promotion", anchor=False)
    chosen = (
        one_of("Alias", sorted({m.alias for m in moves}, key=lambda a: (a != CHAMPION, a)), "alias") if moves else None
    )
    rows = [
        {
            "When": f"{move.version.created:%Y-%m-%d %H:%M}",
            "Version": move.version.number,
            "Imputer": move.version.label,
            "Before": f"{move.before.number}: {move.before.label}" if move.before else "–",
            "Why": move.reason,
            "Changed": changes(move.before, move.version, runs),
        }
        for move in reversed(moves)
        if move.alias == chosen
    ]
    present = next((version.number for version in mine if chosen in version.aliases), None)
    by_rule = next((move.version.number for move in reversed(moves) if move.alias == chosen), None)
    if rows and present != by_rule:
        where = f"at version {present}" if present else "nowhere"
        st.warning(f"By the rule this alias would be at version {by_rule}; it is {where}: somebody moved it by hand.")
    table(
        "promotions",
        pd.DataFrame(rows, columns=["When", "Version", "Imputer", "Before", "Why", "Changed"]),
        how="Newest first. The store keeps only where an alias is now; this follows the rule by which training moves it: to a "
        "higher validation score, or to the first version on another prepared dataset.",
        column_config={"Changed": st.column_config.TextColumn(width="large")},
    )


def changes(before: Version | None, after: Version, runs: Mapping[str, TrainingRun]) -> str:
    """Parameters, data and code that differ between two versions."""
    if before is None:
        return "–"
    if before.run_id not in runs or after.run_id not in runs:
        return GONE
    old, new = runs[before.run_id], runs[after.run_id]
    found = [f"imputer {old.imputer} → {new.imputer}"] if old.imputer != new.imputer else []
    if old.variant != new.variant:
        found.append(f"variant {old.variant} → {new.variant}")
    if old.dataset_digest != new.dataset_digest:
        found.append(f"data {old.dataset_digest[:8]} → {new.dataset_digest[:8]}")
    if old.revision != new.revision:
        found.append(f"revision {old.revision[:7] or '–'} → {new.revision[:7] or '–'}")
    if old.imputer == new.imputer:
        for name in dict.fromkeys([*old.params, *new.params]):
            was, now = old.params.get(name, "–"), new.params.get(name, "–")
            if was != now:
                found.append(f"{name} {was} → {now}")
    return "; ".join(found) or "nothing that the store knows"


def seen(mine: list[Version], runs: Mapping[str, TrainingRun]) -> None:
    st.subheader("The data each has seen", anchor=False)
    kept = {dataset.digest: dataset for dataset in kept_datasets()}
    rows = []
    for version in reversed(mine):
        run, dataset = runs.get(version.run_id), kept.get(version.dataset_digest)
        rows.append(
            {
                "Version": version.number,
                "Imputer": version.label,
                "Prepared dataset": dataset.label if dataset else f"{version.dataset_digest[:8]} (not kept here)",
                "Made from": source_of(dataset),
                "Samples learned from": run.metrics.get("samples_fit") if run else None,
                "Training masks": masks_of(run) if run else GONE,
                "Trained": f"{version.created:%Y-%m-%d %H:%M}",
                "Digest": version.dataset_digest,
            }
        )
    table(
        "data",
        pd.DataFrame(rows),
        how="Versions of one digest have seen the same train samples; a version of another digest may have seen samples that are test "
        "samples here. A model may contain the genotypes it learned from.",
        column_config={"Samples learned from": st.column_config.NumberColumn(format="localized")},
    )


def masks_of(run: TrainingRun) -> str:
    """What a network had hidden while it learned; nothing else hides anything."""
    known = run.imputer in imputers.names()
    network = known and imputers.load(run.imputer).framework in ("tensorflow", "torch")
    return shown_plain(run.params.get("mask")) if network else "–"


def kept_datasets() -> list[KeptDataset]:
    try:
        return reading.datasets()
    except EmptyStoreError:
        return []


def source_of(dataset: KeptDataset | None) -> str:
    if dataset is None:
        return "–"
    data = dataset.settings
    files = [str(data[key]) for key in ("train", "test") if data.get(key)] or [str(data.get("source", "–"))]
    region = f", {data['region']}" if data.get("region") else ""
    return " and ".join(files) + region


with page("Models", "Versions of each dataset's registered model, the aliases at them, and the data behind them."):
    main()
