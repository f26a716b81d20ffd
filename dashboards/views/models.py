"""Page on the registered models and the moves of their aliases."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import GREY, axis, figure, page, select_one, table
from snpimpute import imputers
from snpimpute.experiment.kept import KeptDataset
from snpimpute.report.text import plain as plain_text
from snpimpute.report.text import plotly_text
from snpimpute.report.tree import COLOURS, Style
from snpimpute.tracking.reader import EmptyStoreError, Registered, Version
from snpimpute.tracking.runs import CHAMPION, PANEL_VARIANT, TrainingRun

GONE = "the training run was deleted"


def main() -> None:
    found = {model.name: model for model in reading.registered() if model.versions}
    if not found:
        raise EmptyStoreError("no model is registered yet")
    model = found[select_one("Registered model", list(found), "model")]
    runs = {run.run_id: run for run in reading.training_runs()}
    aliases(model, runs)
    scores(model.versions)
    moves(model, runs)
    training_data(model.versions, runs)


def aliases(model: Registered, runs: Mapping[str, TrainingRun]) -> None:
    """Draw the table of aliases."""
    st.subheader("Aliases", anchor=False)
    rows = [
        {
            "Alias": alias,
            "Version": version.number,
            "Imputer": version.label,
            "Validation macro-F1": version.score,
            "Load it as": f"models:/{model.name}@{alias}",
            "Revision": revision(runs.get(version.run_id)),
        }
        for version in model.versions
        for alias in version.aliases
    ]
    rows.sort(key=lambda row: (row["Alias"] != CHAMPION, row["Alias"]))
    table(
        "aliases",
        pd.DataFrame(rows, columns=["Alias", "Version", "Imputer", "Validation macro-F1", "Load it as", "Revision"]),
        how="The version of each alias now. Scores are macro-F1, 0 to 1, at calls hidden in "
        + (
            "the samples held out when the model was fitted; only snpimpute models promote moves the champion of these "
            "models, and compares both on the same samples."
            if any(version.variant == PANEL_VARIANT for version in model.versions)
            else "the validation samples: the champion is the best of all, each other alias the best of its imputer."
        ),
        column_config={"Validation macro-F1": st.column_config.NumberColumn(format="%.4f")},
    )


def revision(run: TrainingRun | None) -> str:
    """Return the revision of the code that a run was trained with."""
    return (run.revision or "–") if run else GONE


def scores(mine: list[Version]) -> None:
    """Draw the validation score of each version."""
    st.subheader("Validation score of each version", anchor=False)
    imputers = list(dict.fromkeys(version.imputer for version in mine))
    traces = []
    for i, imputer in enumerate(imputers):
        own = [version for version in mine if version.imputer == imputer]
        traces.append(
            {
                "x": [version.number for version in own],
                "y": [finite_or_none(version.score) for version in own],
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
    champions = [version for version in mine if CHAMPION in version.aliases]
    if champions:
        traces.append(
            {
                "x": [version.number for version in champions],
                "y": [finite_or_none(version.score) for version in champions],
                "mode": "markers",
                "name": f"{CHAMPION} now",
                "marker": {"symbol": "circle-open", "color": GREY, "size": 20, "line": {"width": 2.5}},
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
        how="Each point is a version; the ring marks the champion. Scores of versions that were fitted on different data (see the "
        "last table) are not comparable.",
        table=pd.DataFrame(
            [
                (v.number, v.imputer, v.variant, v.score, v.created.isoformat(), v.dataset_digest, " ".join(v.aliases))
                for v in mine
            ],
            columns=["version", "imputer", "variant", "val_f1_macro", "created", "dataset_digest", "aliases"],
        ),
        alt="Validation macro-F1 of each version",
    )


def finite_or_none(score: float) -> float | None:
    """Return a score, or None for NaN."""
    return None if isnan(score) else score


def moves(model: Registered, runs: Mapping[str, TrainingRun]) -> None:
    """Draw the table of the moves of one alias."""
    st.subheader("What changed at each promotion", anchor=False)
    present = {alias: version.number for version in model.versions for alias in version.aliases}
    names = sorted({*present, *(move.alias for move in model.moves)}, key=lambda a: (a != CHAMPION, a))
    if not names:
        st.info("No alias is set, and no move of an alias was recorded.")
        return
    chosen = select_one("Alias", names, "alias")
    mine = [move for move in reversed(model.moves) if move.alias == chosen]
    at = f"version {present[chosen]}" if chosen in present else "no version"
    if not mine:
        st.info(
            f"Nothing was recorded of how this alias came to {at}: it was set in MLflow itself, or by a version of snpimpute "
            "that did not record it."
        )
        return
    if mine[0].to != str(present.get(chosen, "")):
        st.warning(
            f"The last move that was recorded is to version {mine[0].to}; the alias is at {at}. It was moved in MLflow itself, "
            "or that version was deleted."
        )
    by_number = {str(version.number): version for version in model.versions}
    rows = [
        {
            "When (UTC)": f"{move.when:%Y-%m-%d %H:%M:%S}",
            "Who": move.who,
            "From": version_text(move.before, by_number),
            "To": version_text(move.to, by_number),
            "Why": move.why,
            "Changed": changes(by_number.get(move.before), by_number.get(move.to), runs) if move.before else "–",
        }
        for move in mine
    ]
    table(
        "promotions",
        pd.DataFrame(rows),
        how="Newest first, as recorded at the time: who moved the alias, between which versions and why. Changed: parameters, data and "
        "code that differ between the two versions.",
        column_config={"Why": st.column_config.TextColumn(width="medium")},
    )


def version_text(number: str, versions: Mapping[str, Version]) -> str:
    """Return the number of a version with its imputer and variant."""
    if not number:
        return "–"
    return f"{number}: {versions[number].label if number in versions else 'deleted'}"


def changes(before: Version | None, after: Version | None, runs: Mapping[str, TrainingRun]) -> str:
    """Return the parameters, data and code that differ between two versions, as text."""
    if before is None or after is None or before.run_id not in runs or after.run_id not in runs:
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
    return "; ".join(found) or "nothing that the store records"


def training_data(mine: list[Version], runs: Mapping[str, TrainingRun]) -> None:
    """Draw the table of the data that each version learned from."""
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
                "Trained (UTC)": f"{version.created:%Y-%m-%d %H:%M}",
                "Digest": version.dataset_digest,
            }
        )
    table(
        "data",
        pd.DataFrame(rows),
        how="Versions with the same digest learned from the same train samples; a version with another digest may have learned from "
        "samples that are test samples here. A model may contain the genotypes that it learned from.",
        column_config={"Samples learned from": st.column_config.NumberColumn(format="localized")},
    )


def masks_of(run: TrainingRun) -> str:
    """Return the policy of a network's training masks; "–" for other imputers, which have none."""
    is_known = run.imputer in imputers.names()
    network = is_known and imputers.load(run.imputer).learns_in_epochs
    return plain_text(run.params.get("mask")) if network else "–"


def kept_datasets() -> list[KeptDataset]:
    try:
        return reading.datasets()
    except EmptyStoreError:
        return []


def source_of(dataset: KeptDataset | None) -> str:
    """Return the files and region that a dataset was made from."""
    if dataset is None:
        return "–"
    data = dataset.settings
    files = [str(data[key]) for key in ("train", "test") if data.get(key)] or [str(data.get("source", "–"))]
    region = f", {data['region']}" if data.get("region") else ""
    return " and ".join(files) + region


with page("Models", "Versions of each dataset's registered model, their aliases, and their training data."):
    main()
