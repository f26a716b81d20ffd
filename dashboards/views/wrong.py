"""Page on the right and wrong calls of one trained imputer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import GREY, axis, controls, figure, mask_kind, page, select_one, table
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.experiment.kept import KeptDataset
from snpimpute.report.text import number, plotly_text
from snpimpute.report.tree import COLOURS
from snpimpute.scoring.calls import HiddenCalls, by_sample, by_site, calibration_of, confusion_of, cutout
from snpimpute.tracking.reader import EmptyStoreError

BLUES = [[0, "#d6e6f4"], [0.5, "#6aaed6"], [1, "#08306b"]]
THREE_BLUES = [
    [0, "#d6e6f4"],
    [1 / 3, "#d6e6f4"],
    [1 / 3, "#6aaed6"],
    [2 / 3, "#6aaed6"],
    [2 / 3, "#08306b"],
    [1, "#08306b"],
]
ALL_MASKS = "all masks together"
N_WORST = 15


def main() -> None:
    with controls():
        dataset = select_one("Prepared dataset", reading.datasets(), "dataset", format_func=lambda d: d.label)
        imputed = reading.imputed_runs(dataset)
        if not imputed:
            raise EmptyStoreError(f"no trained imputer with posteriors is kept for {dataset.label}")
        columns = st.columns(4)
        with columns[0]:
            name = select_one("Run", list(imputed), "run")
        prepared = reading.genotypes(dataset)
        keys = mask_choice(prepared, dataset, columns[1:])
    masks = reading.masks_of(dataset, imputed[name][1], keys)
    along_chromosome(prepared, masks, name)
    left, right = st.columns(2)
    with left:
        confusions(masks)
    with right:
        calibration(masks)
    worst_samples(prepared, masks)
    call_by_call(prepared, masks)


def mask_choice(prepared: PreparedDataset, dataset: KeptDataset, columns: Any) -> list[str]:
    """Draw the controls for masks, and return the keys of the chosen scenarios: one, or all of a level."""
    scenarios = prepared.test_scenarios()
    mechanisms = sorted({s.mechanism for s in scenarios}, key=lambda m: m != dataset.mechanism)
    with columns[0]:
        mechanism = select_one("Masks", mechanisms, "masks", format_func=mask_kind)
    levels = sorted({s.level for s in scenarios if s.mechanism == mechanism})
    near = min(range(len(levels)), key=lambda i: abs(levels[i] - dataset.level))
    with columns[1]:
        level = select_one("Level", levels, "level", near, format_func=lambda v: f"{v:g}% missing")
    found = {str(s.repeat + 1): s.key for s in scenarios if (s.mechanism, s.level) == (mechanism, level)}
    with columns[2]:
        options = [*found, *([ALL_MASKS] if len(found) > 1 else [])]
        mask = select_one(
            "Mask", options, "mask", help="With one mask, r² to the nearest observed site is shown as well."
        )
    return list(found.values()) if mask == ALL_MASKS else [found[mask]]


def along_chromosome(prepared: PreparedDataset, masks: list[HiddenCalls], name: str) -> None:
    """Draw right calls, MAF and r² at each site along a contig, with the mask."""
    st.subheader("Along the chromosome", anchor=False)
    sites = by_site(prepared, masks)
    contigs = list(dict.fromkeys(sites["contig"].astype(str)))
    if len(contigs) > 1:
        contig = select_one("Contig", contigs, "contig")
        sites = sites[sites["contig"].astype(str) == contig]
    else:
        contig = contigs[0]
    x = (sites["pos"] / 1e6).to_numpy()
    hidden = (sites["masks"] > 0).to_numpy()
    text = [
        plotly_text(f"{s.site}\nright {number(s.right)} of {s.n} calls\nMAF {number(s.maf_test)}")
        + (plotly_text(f"\nr² {number(s.r2)} to {s.nearest}, {s.distance:,.0f} bp away") if s.nearest else "")
        for s in sites.itertuples()
    ]
    dots = {"mode": "markers", "text": text, "hovertemplate": "%{text}<extra></extra>", "x": x.tolist()}
    one = len(masks) == 1
    traces = [
        dots | {"y": as_list(sites["right"]), "name": "right calls", "marker": {"color": COLOURS[0], "size": 5}},
        dots
        | {"y": as_list(sites["maf_test"]), "name": "MAF", "yaxis": "y2"}
        | {"marker": {"color": COLOURS[1], "size": 4, "symbol": "square"}},
    ]
    if one:
        traces.append(
            dots
            | {"y": as_list(sites["r2"]), "name": "r² to the nearest observed site", "yaxis": "y3"}
            | {"marker": {"color": COLOURS[2], "size": 5, "symbol": "diamond"}}
        )
    traces += [
        {
            "x": x[chosen].tolist(),
            "y": [0.5] * int(chosen.sum()),
            "mode": "markers",
            "yaxis": "y4",
            "name": what,
            "hoverinfo": "skip",
            "marker": {"symbol": "line-ns", "size": 13, "line": {"color": colour, "width": 1.5}},
        }
        for what, chosen, colour in (("hidden", hidden, COLOURS[3]), ("observed", ~hidden, COLOURS[4]))
    ]
    layout = {
        "height": 720 if one else 560,
        "xaxis": axis(f"Position on contig {contig} (Mb)", anchor="y4"),
        "yaxis": axis("Right calls<br>(share)".replace("<br>", "\n"), domain=[0.62, 1.0]),
        "yaxis2": axis("MAF\n(share)", domain=[0.40 if one else 0.2, 0.57], range=[-0.03, 0.53]),
        "yaxis4": axis("", domain=[0.0, 0.08], range=[0, 1], showticklabels=False, showgrid=False, fixedrange=True),
    }
    if one:
        layout["yaxis3"] = axis("r²\n(0 to 1)", domain=[0.14, 0.35], range=[-0.03, 1.03])
    figure(
        "chromosome",
        traces,
        layout,
        how=f"{name}: each point is a site. Low points with high r² below them are sites that the neighbours should predict; sites with "
        "low r² are predicted by no neighbour. The strip at the bottom is the mask.",
        table=sites,
        alt="Share of right calls, MAF and r² to the nearest observed site along the chromosome",
    )


def as_list(column: pd.Series) -> list[float | None]:
    """Return a column as a list, with None for NaN."""
    return [None if pd.isna(value) else float(value) for value in column]


def confusions(masks: list[HiddenCalls]) -> None:
    """Draw the confusion matrix."""
    st.subheader("Genotype confusion", anchor=False)
    counts = confusion_of(masks)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = [[f"{share[t, c]:.1%}<br>{counts[t, c]:,}" for c in range(3)] for t in range(3)]
    figure(
        "confusion",
        [
            {
                "type": "heatmap",
                "x": ["0", "1", "2"],
                "y": ["0", "1", "2"],
                "z": share.tolist(),
                "zmin": 0,
                "zmax": 1,
                "colorscale": BLUES,
                "text": words,
                "texttemplate": "%{text}",
                "hovertemplate": "true %{y}, called %{x}<br>%{text}<extra></extra>",
                "showscale": False,
            }
        ],
        {
            "xaxis": axis("Called genotype (alternate alleles)", type="category"),
            "yaxis": axis("True genotype (alternate alleles)", type="category", autorange="reversed"),
            "height": 400,
        },
        how="Shares are of the true genotype (rows sum to 100%); below each share is the number of calls.",
        table=pd.DataFrame(
            [(t, c, int(counts[t, c]), float(share[t, c])) for t in range(3) for c in range(3)],
            columns=["true", "called", "calls", "share_of_true"],
        ),
        alt="Calls by true and called genotype",
    )


def calibration(masks: list[HiddenCalls]) -> None:
    """Draw the share of right calls against the stated confidence."""
    st.subheader("Calibration", anchor=False)
    bins = calibration_of(masks)
    if bins.empty:
        st.info("This imputer gives hard calls without a posterior of its own: there is nothing to calibrate.")
        return
    start = float(min(bins["confidence"].min(), bins["right"].min()))
    figure(
        "calibration",
        [
            {
                "x": [start, 1],
                "y": [start, 1],
                "mode": "lines",
                "name": "as often right as stated",
                "line": {"color": GREY, "dash": "dot", "width": 1},
                "hoverinfo": "skip",
            },
            {
                "x": bins["confidence"].tolist(),
                "y": bins["right"].tolist(),
                "mode": "lines+markers",
                "name": "by bin of confidence",
                "line": {"color": COLOURS[0]},
                "marker": {"size": (6 + 14 * np.sqrt(bins["n"] / bins["n"].max())).tolist(), "color": COLOURS[0]},
                "text": [f"{n:,.0f} calls" for n in bins["n"]],
                "hovertemplate": "stated %{x:.3f}, right %{y:.3f}<br>%{text}<extra></extra>",
            },
        ],
        {"xaxis": axis("Stated confidence (mean posterior)"), "yaxis": axis("Right calls (share)"), "height": 400},
        how="Below the dotted line the imputer is too confident; larger points contain more calls.",
        table=bins,
        alt="Share of right calls against stated confidence",
    )


def worst_samples(prepared: PreparedDataset, masks: list[HiddenCalls]) -> None:
    """Draw the table of the samples that are imputed worst."""
    st.subheader("Samples imputed worst", anchor=False)
    samples = by_sample(prepared, masks)
    lowest = samples.drop(columns="row").head(N_WORST)
    if not (samples["group"] != "").any():
        lowest = lowest.drop(columns="group")
    names = {
        "sample": "Sample",
        "group": "Group",
        "n": "Calls",
        "wrong": "Wrong",
        "right": "Right (share)",
        "f1_macro": "Macro-F1",
    }
    three = st.column_config.NumberColumn(format="%.3f")
    table(
        "samples",
        lowest.rename(columns=names),
        how=f"The {len(lowest)} of {len(samples)} test samples with the smallest share of right calls: look there for swapped or "
        "contaminated samples, and for groups that the panel lacks. The CSV contains all samples.",
        whole=samples.drop(columns="row"),
        column_config={"Right (share)": three, "Macro-F1": three},
    )


def call_by_call(prepared: PreparedDataset, masks: list[HiddenCalls]) -> None:
    """Draw truth, call and confidence of single calls in a range of sites."""
    st.subheader("Call by call", anchor=False)
    if len(masks) > 1:
        st.info("Choose one mask above to see single calls.")
        return
    n_sites = prepared.test.n_sites
    start = 0
    with controls("calls"):
        columns = st.columns(4)
        with columns[0]:
            width = select_one(
                "Sites in the window", [w for w in (20, 40, 80, 160) if w < n_sites] or [n_sites], "width", 1
            )
        with columns[1]:
            order = select_one("Samples", ["worst first", "best first", "in file order"], "order")
        with columns[2]:
            n_samples = select_one("Number of samples", [15, 30, 60, 120], "rows", 1)
        with columns[3]:
            side_by_side = select_one("Panels", ["side by side", "one below the other"], "panels") == "side by side"
        if n_sites > width:
            start = st.slider(
                "First site (number in file order)", 0, n_sites - width, 0, key="start", bind="query-params"
            )
    ranked = by_sample(prepared, masks)
    ranked = {"worst first": ranked, "best first": ranked.iloc[::-1], "in file order": ranked.sort_values("row")}[order]
    seen = cutout(prepared, masks[0], ranked["row"].head(n_samples).tolist(), range(start, min(start + width, n_sites)))
    names, keys = [plotly_text(s) for s in seen.samples], [plotly_text(s) for s in seen.sites]
    numbers = list(range(start + 1, start + 1 + len(keys)))
    wrong = np.argwhere((seen.calls != seen.truth) & ~np.isnan(seen.calls) & ~np.isnan(seen.truth))
    places = list(range(len(names)))
    genotype: dict[str, Any] = {"zmin": 0, "zmax": 2, "colorscale": THREE_BLUES}
    bar: dict[str, Any] = {
        "orientation": "h",
        "thickness": 12,
        "len": 0.42,
        "y": 0,
        "yref": "container",
        "yanchor": "bottom",
        "tickangle": 0,
    }
    genotype["colorbar"] = {
        **bar,
        "title": {"text": "Genotype<br> ", "side": "top"},
        "x": 0.25,
        "tickvals": [0.33, 1, 1.67],
        "ticktext": ["0", "1", "2"],
    }
    confidence: dict[str, Any] = {"zmin": 1 / 3, "zmax": 1, "colorscale": "Cividis"}
    confidence["colorbar"] = {
        **bar,
        "title": {"text": "Confidence<br> ", "side": "top"},
        "x": 0.75,
        "tickvals": [0.4, 0.7, 1],
    }
    traces: list[dict[str, Any]] = []
    panels = (
        ("truth", seen.truth, "", genotype),
        ("call", seen.calls, "2", genotype),
        ("confidence", seen.confidence, "3", confidence),
    )
    for what, values, which, look in panels:
        traces.append(
            {
                "type": "heatmap",
                "name": what,
                "x": numbers,
                "y": places,
                "z": [[None if np.isnan(v) else float(v) for v in row] for row in values],
                "customdata": [[f"{name}<br>{key}" for key in keys] for name in names],
                "hovertemplate": f"%{{customdata}}<br>{what} %{{z}}<extra></extra>",
                "xaxis": f"x{which}",
                "yaxis": f"y{which}",
                "showscale": what != "call",
                "xgap": 0.5,
                "ygap": 0.5,
                **look,
            }
        )
    traces.append(
        {
            "x": [numbers[c] for _, c in wrong],
            "y": [places[r] for r, _ in wrong],
            "mode": "markers",
            "xaxis": "x2",
            "yaxis": "y2",
            "name": "wrong call",
            "marker": {"symbol": "x", "size": 6, "color": COLOURS[1]},
            "hoverinfo": "skip",
        }
    )
    layout: dict[str, Any] = {"height": (284 if side_by_side else 374) + (15 if side_by_side else 45) * len(names)}
    layout |= {"showlegend": False, "annotations": [], "margin": {"l": 8, "r": 12, "t": 64, "b": 120}}
    for i, (what, *_rest) in enumerate(panels):
        which = "" if i == 0 else str(i + 1)
        across, down = [i * 0.345, i * 0.345 + 0.31], [0.7 - i * 0.35, 1 - i * 0.35]
        wide, high = (across, [0.0, 1.0]) if side_by_side else ([0.0, 1.0], down)
        x = axis("Site (number)", showgrid=False)
        y = axis("Test sample" if i == 0 or not side_by_side else "", showgrid=False, autorange="reversed")
        y |= {"tickvals": places, "ticktext": names, "showticklabels": i == 0 or not side_by_side}
        layout[f"xaxis{which}"] = {**x, "domain": wide, "anchor": f"y{which}", **({} if i == 0 else {"matches": "x"})}
        layout[f"yaxis{which}"] = {**y, "domain": high, "anchor": f"x{which}", **({} if i == 0 else {"matches": "y"})}
        title = {"text": what.capitalize(), "x": sum(wide) / 2, "y": high[1], "showarrow": False, "yanchor": "bottom"}
        layout["annotations"].append({**title, "xref": "paper", "yref": "paper"})
    cells = [
        (name, key, seen.truth[r, c], seen.calls[r, c], seen.confidence[r, c])
        for r, name in enumerate(seen.samples)
        for c, key in enumerate(seen.sites)
    ]
    figure(
        "calls",
        traces,
        layout,
        how="A row per sample, a column per site (numbered in file order); columns that are empty in call and confidence were observed. Crosses are "
        "wrong calls; those with high confidence cannot be removed by a threshold.",
        table=pd.DataFrame(cells, columns=["sample", "site", "truth", "call", "confidence"]),
        alt="Truth, call and confidence of each sample at each site",
    )


with page("Where it goes wrong", "The hidden calls of one trained imputer: by site, by sample, one by one."):
    main()
