"""Page that compares two runs: parameters, metrics, and the sites where one is right and the other wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import axis, controls, figure, mask_kind, page, plain, select_one, table
from snpimpute.experiment.kept import KeptDataset, KeptScores
from snpimpute.metrics.registry import METRICS
from snpimpute.report.rows import BETTER, WORSE, judge_difference
from snpimpute.report.text import Score, plotly_text
from snpimpute.report.tree import COLOURS
from snpimpute.scoring.calls import right_and_wrong
from snpimpute.tracking.reader import EmptyStoreError
from snpimpute.tracking.runs import TrainingRun, training_tag

# metrics that are curves, which are left out: the store has only the value at the last level
CURVE = re.compile(rf"(?!val_).*({'|'.join(METRICS)})(_permille)?")
ALL_MASKS = "all masks together"


def main() -> None:
    runs = reading.training_runs()
    if len(runs) < 2:
        raise EmptyStoreError("there are not two training runs yet")
    kept = {dataset.digest: dataset for dataset in reading.datasets()}
    digests = list(dict.fromkeys(run.dataset_digest for run in runs))
    names = {
        digest: f"{next(r.dataset for r in runs if r.dataset_digest == digest)} ({digest[:8]})" for digest in digests
    }
    most = max(range(len(digests)), key=lambda i: min(sum(r.dataset_digest == digests[i] for r in runs), 2))
    with controls():
        digest = select_one("Prepared dataset", digests, "dataset", most, format_func=lambda d: names[d])
        by_name = reading.runs_by_name([run for run in runs if run.dataset_digest == digest])
        pair = two_runs(by_name) if len(by_name) > 1 else None
    if pair is None:
        st.info("Only one run was trained on this dataset.")
        return
    first, second = pair
    a, b = by_name[first], by_name[second]
    st.caption(plain(f"First: {describe_run(a)}. Second: {describe_run(b)}. Differences are second minus first."))
    parameters(a, b)
    metrics(a, b)
    dataset = kept.get(digest)
    if dataset is None:
        st.info("The prepared dataset is not kept here: scores and sites cannot be shown.")
        return
    scores(dataset, a, b)
    sites(dataset, first, second, a, b)


def two_runs(by_name: Mapping[str, TrainingRun]) -> tuple[str, str]:
    """Draw the controls for two runs, and return their names: never the same run, at first two imputers if there are."""
    columns = st.columns(2)
    with columns[0]:
        first = select_one("First run", list(by_name), "first")
    others = [name for name in by_name if name != first]
    unlike = [name for name in others if by_name[name].imputer != by_name[first].imputer]
    with columns[1]:
        second = select_one("Second run", others, "second", others.index((unlike or others)[0]))
    return first, second


def describe_run(run: TrainingRun) -> str:
    """Return imputer, variant, start and revision of a run."""
    return f"{run.label}, started {run.started:%Y-%m-%d %H:%M} UTC, revision {run.revision or 'unknown'}"


def parameters(a: TrainingRun, b: TrainingRun) -> None:
    """Draw the table of parameters."""
    st.subheader("Parameters", anchor=False)
    everything = side_by_side(a.params, b.params, "Parameter")
    differ = everything[everything["First"] != everything["Second"]]
    only = st.toggle("Only those that differ", value=True, key="differ", bind="query-params")
    table(
        "parameters",
        differ if only else everything,
        how=f"{len(differ)} of {len(everything)} parameters differ; –: a run does not have the parameter.",
        whole=everything,
    )


def side_by_side(first: Mapping[str, str], second: Mapping[str, str], what: str) -> pd.DataFrame:
    """Return a table of two mappings, a row per key."""
    names = list(dict.fromkeys([*first, *second]))
    rows = [(name, str(first.get(name, "–")), str(second.get(name, "–"))) for name in names]
    return pd.DataFrame(rows, columns=[what, "First", "Second"])


def metrics(a: TrainingRun, b: TrainingRun) -> None:
    """Draw the table of metrics that the store has."""
    st.subheader("Cost, validation and headline metrics", anchor=False)
    names = [name for name in dict.fromkeys([*a.metrics, *b.metrics]) if not CURVE.fullmatch(name)]
    shown = pd.DataFrame(
        [(name, a.metrics.get(name), b.metrics.get(name)) for name in sorted(names)],
        columns=["Metric", "First", "Second"],
    ).astype({"First": float, "Second": float})
    shown["Difference"] = shown["Second"] - shown["First"]
    table(
        "metrics",
        shown,
        how="Metrics in the store: seconds, megabytes, counts; val_ is on the validation masks; a number at the end is the percentage "
        "missing.",
        column_config=dict.fromkeys(("First", "Second", "Difference"), st.column_config.NumberColumn(format="%.4f")),
    )


def scores(dataset: KeptDataset, a: TrainingRun, b: TrainingRun) -> None:
    """Draw the table of all scores of both runs at one level."""
    st.subheader("Every score", anchor=False)
    found = newest_common_table(dataset, a, b)
    if found is None:
        st.info("No table of scores contains both runs.")
        return
    rows = reading.score_rows(found)
    rows = rows[(rows["repeat"] == "all") & ~rows["subset"].str.match("site:|sample:|confidence:")]
    columns = st.columns(2)
    mechanisms = sorted(rows["mechanism"].unique(), key=lambda m: m != dataset.mechanism)
    with columns[0]:
        mechanism = select_one("Masks", mechanisms, "masks", format_func=mask_kind)
    levels = sorted(rows.loc[rows["mechanism"] == mechanism, "level"].unique().tolist())
    near = min(range(len(levels)), key=lambda i: abs(levels[i] - dataset.level))
    with columns[1]:
        level = select_one("Level", levels, "level", near, format_func=lambda v: f"{v:g}% missing")
    here = rows[(rows["mechanism"] == mechanism) & (rows["level"] == level)]
    table(
        "scores",
        differences(here, a, b),
        how="Low, high: 95% interval of the paired difference, if the table has one for these two. The second run is “better” or "
        "“worse” only if the interval excludes zero.",
        column_config=dict.fromkeys(
            ("First", "Second", "Difference", "Low", "High"), st.column_config.NumberColumn(format="%.4f")
        ),
    )


def newest_common_table(dataset: KeptDataset, a: TrainingRun, b: TrainingRun) -> KeptScores | None:
    """Return the newest table of scores that contains both runs; tables of older versions do not record their runs."""
    for kept in reading.scores_of(dataset):
        if kept.models and not {a.key_tag, b.key_tag} <= {training_tag(model) for model in kept.models}:
            continue
        rows = reading.score_rows(kept)
        labels = set((rows["imputer"] + "/" + rows["variant"]).unique())
        if {a.label, b.label} <= labels and a.label != b.label:
            return kept
    return None


def differences(rows: pd.DataFrame, a: TrainingRun, b: TrainingRun) -> pd.DataFrame:
    """Return every metric of every subset of both runs, and their difference, with its interval if there is one."""
    label = rows["imputer"] + "/" + rows["variant"]
    key = ["subset", "metric"]
    alone = rows["versus"] == ""
    both = [rows[alone & (label == run.label)].set_index(key)["value"] for run in (a, b)]
    shown = pd.concat(both, axis=1, keys=["First", "Second"]).reset_index()
    kept: dict[tuple[str, str], Score] = {}
    for run, other, sign in ((b, a, 1), (a, b, -1)):
        for row in rows[(label == run.label) & (rows["versus"] == other.label)].itertuples():
            score = Score(row.value, row.low, row.high, row.n)
            kept[row.subset, row.metric] = score if sign == 1 else -score
    found = [kept.get((row.subset, row.metric)) for row in shown.itertuples()]
    shown["Difference"] = shown["Second"] - shown["First"]
    shown["Low"] = [score.low if score else None for score in found]
    shown["High"] = [score.high if score else None for score in found]
    words = [judge_difference(score) if score else "–" for score in found]
    shown["Second is"] = [
        word if word in (BETTER, WORSE) or score else "–" for word, score in zip(words, found, strict=True)
    ]
    return shown.rename(columns={"subset": "Calls", "metric": "Metric"}).astype({"Low": float, "High": float})


def sites(dataset: KeptDataset, first: str, second: str, a: TrainingRun, b: TrainingRun) -> None:
    """Draw the number of calls at each site that only one of the two runs has right."""
    st.subheader("Where one is right and the other wrong", anchor=False)
    posteriors: dict[str, Path] = {run.run_id: path for run, path in reading.imputed_runs(dataset).values()}
    missing = [run.label for run in (a, b) if run.run_id not in posteriors]
    if missing:
        st.info(plain(f"No posteriors are kept of {' and '.join(missing)}."))
        return
    prepared = reading.genotypes(dataset)
    scenarios = prepared.test_scenarios()
    mechanisms = sorted({s.mechanism for s in scenarios}, key=lambda m: m != dataset.mechanism)
    mechanism = st.session_state.get("masks", mechanisms[0])
    level = st.session_state.get("level", dataset.level)
    found = {str(s.repeat + 1): s.key for s in scenarios if (s.mechanism, s.level) == (mechanism, level)}
    options = [*found, *([ALL_MASKS] if len(found) > 1 else [])]
    mask = select_one("Mask", options, "mask")
    keys = list(found.values()) if mask == ALL_MASKS else [found[mask]]
    pair = (reading.masks_of(dataset, posteriors[run.run_id], keys) for run in (a, b))
    table_of = right_and_wrong(prepared, *pair)
    contigs = list(dict.fromkeys(table_of["contig"].astype(str)))
    contig = select_one("Contig", contigs, "contig") if len(contigs) > 1 else contigs[0]
    here = table_of[table_of["contig"].astype(str) == contig]
    totals = here[["both_right", "only_first", "only_second", "both_wrong"]].sum()
    n = max(int(here["n"].sum()), 1)
    boxes = st.columns(4)
    for box, (name, words) in zip(
        boxes,
        {
            "both_right": "Both right",
            "only_first": "Only the first",
            "only_second": "Only the second",
            "both_wrong": "Both wrong",
        }.items(),
        strict=True,
    ):
        box.metric(words, f"{totals[name]:,}", f"{totals[name] / n:.1%} of calls", delta_color="off", delta_arrow="off")
    text = [
        plotly_text(
            f"{s.site}\nMAF {s.maf_test:.3f}\nonly first right {s.only_first}, only second {s.only_second} of {s.n}"
        )
        for s in here.itertuples()
    ]
    x = (here["pos"] / 1e6).tolist()
    common = {"mode": "markers+lines", "x": x, "text": text, "hovertemplate": "%{text}<extra></extra>"}
    traces = [
        stems(x, here["only_first"].tolist(), COLOURS[0]),
        common
        | {"y": here["only_first"].tolist(), "mode": "markers", "name": plotly_text(f"only {first} is right")}
        | {"marker": {"color": COLOURS[0], "size": 6}},
        stems(x, (-here["only_second"]).tolist(), COLOURS[1]),
        common
        | {"y": (-here["only_second"]).tolist(), "mode": "markers", "name": plotly_text(f"only {second} is right")}
        | {"marker": {"color": COLOURS[1], "size": 6, "symbol": "square"}},
    ]
    most = max(int(here["only_first"].max()), int(here["only_second"].max()), 1)
    step = even_step(most / 4)
    ticks = list(range(-step * (most // step), most + 1, step))
    figure(
        "sites",
        traces,
        {
            "xaxis": axis(f"Position on contig {contig} (Mb)"),
            "yaxis": axis("Calls (number)", tickvals=ticks, ticktext=[str(abs(t)) for t in ticks], zeroline=True),
        },
        how="Each site has a stem up for the calls that only the first run has right, and one down for those that only the second has right.",
        table=table_of,
        alt="Calls that only one of the two has right, at each site",
    )


def even_step(about: float) -> int:
    """Return the smallest of 1, 2 or 5 times a power of ten that is not below `about`."""
    return next(step for power in range(10) for step in (10**power, 2 * 10**power, 5 * 10**power) if step >= about)


def stems(x: list[float], y: list[int], colour: str) -> dict[str, object]:
    """Return plotly's trace of lines from zero to each point."""
    ends: dict[str, list[float | None]] = {"x": [], "y": []}
    for at, height in zip(x, y, strict=True):
        ends["x"] += [at, at, None]
        ends["y"] += [0, height, None]
    return {**ends, "mode": "lines", "line": {"color": colour, "width": 1}, "showlegend": False, "hoverinfo": "skip"}


with page("Compare two", "Any two runs on one prepared dataset: parameters, scores, and the sites where they differ."):
    main()
