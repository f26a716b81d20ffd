"""Write the results of mosaic, docs/results/mosaic.md, and their figure, from the tables in docs/results.

    python scripts/mosaic_results.py [--to docs/results]

Of the 500-site protocol it reads what `scripts/mosaic_tables.py` wrote (mosaic.csv, mosaic-rows.csv) and what the first version made on the
same data (mosaic-first.csv); of arrays arrays.csv and arrays-rates.csv; what seeds do in mosaic-seeds.csv, of benchmarks/mosaic_seeds.py; what
commands cost in mosaic-commands.csv, of benchmarks/mosaic_cost.py.
The page names the datasets that were not run.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter

from snpimpute.base.files import write_text
from snpimpute.report.calls import brief
from snpimpute.report.markdown import table_of
from snpimpute.report.text import difference
from snpimpute.report.tree import COLOURS
from snpimpute.scoring.pooling import Difference

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "mosaic.toml"
OWN = "mosaic/default"
FLOOR = "mode/default"  # far below all others, so not drawn
MARGIN = 0.005  # largest loss of macro-F1 that counts as no worse
BETTER, NO_WORSE, BEHIND = "better", "no worse", f"behind by less than {MARGIN}"
KEPT_WITHIN = (
    0.001  # loss of macro-F1, or gain of log-loss, that a new version of mosaic was allowed on development data
)
NOT_RUN = "IMPUTE5, GLIMPSE2, Selphi and FImpute could not be had here and were not run"
RESULTS = ROOT / "docs" / "results"
VERSIONS = {"arrays": "before rates", "arrays-rates": "today's"}  # of mosaic, by the table of arrays
# What the datasets of each group in mosaic.csv are.
ABOUT = {
    "Human, new splits": "928 of 2,504 people drawn anew, four masks a level",
    "Cattle, new splits": "400 and 100 bulls drawn anew, four masks a level",
    "Cattle, families apart": "sires' families are wholly in train or in test, four masks a level; the first alone left much "
    "untold, so four more were added",
    "Human, sites set aside": "500 sites each, two masks a level",
    "Cattle, chromosomes set aside": "two masks a level",
    "Human, single calls": "calls missing at random, two masks a level",
    "Cattle, single calls": "calls missing at random, two masks a level",
    "Human, development data": "the panel's own split and masks: mosaic was designed on them",
    "Cattle, development data": "the panel's own split and masks: mosaic was designed on them",
}
# Columns of the table of further metrics: the metric and its subset of sites in mosaic-rows.csv.
FURTHER = {
    "F1 of 0": ("f1_0", "all"),
    "of 1": ("f1_1", "all"),
    "of 2": ("f1_2", "all"),
    "of heterozygotes, rare sites": ("f1_1", "rare_minor"),
    "dosage r² within sites, rare": ("site_dosage_r2", "rare_minor"),
    "dosage r² within sites": ("site_dosage_r2", "all"),
    "IQS": ("centred_iqs", "all"),
    "log-loss": ("log_loss", "all"),
    "calibration error": ("ece", "all"),
}


# Columns of the table of arrays.
ARRAYS = (
    "data", "mosaic", "wrong calls", "of the best other", "fewer or more", "ahead, macro-F1", "no worse by .002"
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    levels, rows = (pd.read_csv(RESULTS / name) for name in ("mosaic.csv", "mosaic-rows.csv"))
    draw(rows, arguments.to / "mosaic.png")
    write_text(arguments.to / "mosaic.md", page(levels, rows))


def page(levels: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Return the whole page as Markdown.

    Args:
        levels: mosaic beside the best other imputer, by group of datasets and level.
        rows: scores of all rows, by group.
    """
    run = {name for names in rows["datasets"] for name in names.split()}
    absent = [name for name in tomllib.loads(EXPERIMENT.read_text())["data"] if name not in run]
    tables = {version: (pd.read_csv(RESULTS / f"{name}.csv"), groups_of(name)) for name, version in VERSIONS.items()}
    on_arrays = arrays(tables)
    parts = [
        "# Mosaic against the others",
        "Arrays over final data, with mosaic before and after it learned rates; the 500-site protocol, on splits that the first version was scored on too; what a command costs. "
        "[The page of the first version](mosaic-first.md) stays as it was, with what is withdrawn of it.",
        "## Arrays over new data",
        "Final data: each design was frozen by a tag and a record before its data were read. “Before rates” is mosaic as it was before "
        "it [learned how often haplotypes switch](../decisions/0052-rates-learned-from-the-panel.md). The best other is the one with "
        "fewest wrong calls of Beagle at its defaults, Beagle tuned, Minimac4, SHAPEIT4 with Minimac4. Aims: no worse than the best other by .002 in macro-F1 "
        "everywhere; on human arrays a tenth fewer wrong calls, on cattle with 80 to 95% missing a fifth fewer, intervals without zero. "
        "All rows, with what was not run: [before rates](arrays.md), [today](arrays-rates.md).",
        table_of(ARRAYS, on_arrays),
        missed_on_arrays(on_arrays),
        "## The 500-site protocol",
        "Made by `make mosaic` from the scores of `experiments/mosaic.toml`. **These data are spent**: the first version was scored on all of "
        "them, and choices were made since. Beagle's and Minimac4's settings are those that their studies of 50 trials found on the development data, the map's "
        "scale among them; Beagle `longer-map` was chosen there by hand (a map of ten times the length, three phasings averaged). “First version”: "
        f"mosaic of 2026-11-26 on the same masks, from [its page](mosaic-first.md) ([as a table](mosaic-first.csv)). {NOT_RUN}. The differences [as a table](mosaic.csv), the scores of all rows [as another](mosaic-rows.csv).",
        *([f"**Not run with today's code, and so not here: {', '.join(absent)}.**"] if absent else []),
        "![what macro-F1 lacks to 1, against percent missing](mosaic.png)",
        aims(levels, rows),
        after_the_first(levels),
        "Differences are means over the datasets of a group. Their 95% intervals resample samples (families, in cattle), each "
        "once for all splits that it is in, and masks; of one mask a level (development data) samples alone. *Better*: the interval is above zero; *no worse*: above "
        f"−{MARGIN}; *{BEHIND}*: the same, but below zero; *worse*: below zero. The best other imputer is that of the highest mean macro-F1 at that level. – stands where Beagle gives hard calls alone: where single calls are missing, and without a reference.",
    ]
    for group, part in levels.groupby("group", sort=False):
        scores = whole(rows[rows["group"] == group])
        names = scores["datasets"].iloc[0].split()
        parts += [f"### {group}", f"{dataset_list(names)}: {ABOUT[group]}."]
        shown = shown_further(part["tuned"].iloc[0], scores)
        parts += [differences(part), accuracies(scores), further(scores, shown), by_maf(scores, shown)]
    parts += by_seed(pd.read_csv(RESULTS / "mosaic-seeds.csv"))
    parts += [*without_beagle(rows), *costs(pd.read_csv(RESULTS / "mosaic-commands.csv"))]
    return "\n\n".join(parts) + "\n"


def groups_of(design: str) -> dict[str, str]:
    """Return the groups of datasets of a design of arrays, and what they are called."""
    return tomllib.loads((RESULTS / f"{design}.toml").read_text())["about"]["groups"]


def missed_on_arrays(rows: list[list[str]]) -> str:
    """Return which aims are missed on arrays; `rows` are those of `arrays`."""
    fewer = {row[0]: 1 - number_in(row[2]) / number_in(row[3]) for row in rows if not row[0].startswith("Cattle")}
    nearest = max(fewer, key=lambda data: fewer[data])
    untold = sum(row[-1] != "yes" for row in rows)
    return (
        "Missed: a tenth fewer wrong calls than the best other on human arrays, and a fifth fewer on cattle, are reached nowhere (nearest on "
        f"people: {fewer[nearest]:.1%} on {nearest[0].lower()}{nearest[1:]}); no worse by .002 is not told in {untold} of {len(rows)} rows."
    )


def number_in(cell: str) -> int:
    """Return the number that a cell begins with."""
    return int(cell.split()[0].replace(",", ""))


def arrays(tables: dict[str, tuple[pd.DataFrame, dict[str, str]]]) -> list[list[str]]:
    """Return rows of mosaic beside the best other on each array, by version of mosaic; the groups have their names beside."""
    rows = []
    for version, (table, titles) in tables.items():
        for (group, target), part in table.groupby(["group", "target"], sort=False):
            own = part[part["row"] == "mosaic"].iloc[0]
            others = part[~part["row"].str.startswith("mosaic")]
            best, tuned = others.loc[others["wrong"].idxmin()], "beagle-tuned" in set(others["row"])
            lead = Difference(own.f1_macro - best.f1_macro, best.ahead_low, best.ahead_high)
            share = f"{more(own.wrong / best.wrong)}% ({more(best.ratio_low)} to {more(best.ratio_high)})"
            kind, percent = str(target).split("-")
            rows.append(
                [
                    f"{titles[group]}: {percent}% {'typed' if kind == 'array' else 'of the calls missing'}",
                    version,
                    f"{own.wrong:,}",
                    f"{best.wrong:,} `{best.row}`{'' if tuned else ', not tuned'}",
                    share,
                    difference(*lead, digits=4),
                    "yes" if lead.low > -0.002 else "not told" if lead.high > -0.002 else "no",
                ]
            )
    return rows


def whole(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a group's scores that are of all of its datasets, without differences."""
    return rows[(rows["datasets"] == rows["datasets"].iloc[0]) & rows["versus"].isna()]


def development(group: str) -> bool:
    return "development" in group


def dataset_list(names: Sequence[str]) -> str:
    return f"{len(names)} dataset{'s' if len(names) > 1 else ''} (`{'`, `'.join(names)}`)"


def verdict(found: Difference) -> str:
    if found.low > 0:
        return BETTER
    if found.low > -MARGIN:
        return BEHIND if found.high < 0 else NO_WORSE
    return "worse" if found.high < 0 else "not told"


def more(ratio: float) -> str:
    """Return by how many percent more a ratio is, as `+3`, `−12` or `0`."""
    percent = round(100 * (ratio - 1))
    return f"{percent:+}".replace("-", "−") if percent else "0"


def aims(levels: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Return a table of the aims, set before the final data was scored, and the results on each group of new data."""
    told: list[list[str]] = []
    for group, part in levels.groupby("group", sort=False):
        if development(group):
            continue
        verdicts = {row.level: verdict(Difference(row.ahead, row.low, row.high)) for row in part.itertuples()}
        aim = f"no worse than the best other at every level, by {MARGIN}"
        told.append([group, aim, *outcome(verdicts, (BETTER, NO_WORSE, BEHIND))])
        if "calls" in group:  # the other aims were set for whole sites
            continue
        if group.startswith("Human"):
            low = {level: word for level, word in verdicts.items() if 10 <= level <= 60}
            told.append([group, "better than the best other at 10 to 60%", *outcome(low, (BETTER,))])
            ratios = {row.level: row.wrong / row.wrong_of_tuned for row in part.itertuples() if 30 <= row.level <= 60}
            met = "yes" if max(ratios.values()) <= 0.75 else "no"
            by_level = ", ".join(f"{more(ratio)}% at {level:g}%" for level, ratio in ratios.items())
            told.append([group, "a quarter fewer wrong calls than tuned Beagle at 30 to 60%", met, by_level])
            own = rows[(rows["group"] == group) & (rows["subset"] == "rare_minor") & rows["versus"].notna()].iloc[0]
            rare = Difference(own["value"], own["low"], own["high"])
            aim = "no worse in F1 of heterozygotes at rare sites, over all levels"
            met = "yes" if rare.low > -MARGIN else "no"
            told.append([group, aim, met, f"{difference(*rare, digits=4)} to `{own['versus']}`"])
        else:
            to_beagle = {
                row.level: verdict(Difference(row.ahead_of_beagle, row.low_to_beagle, row.high_to_beagle))
                for row in part.itertuples()
                if row.level >= 80
            }
            told.append([group, "better than the best Beagle at 80 to 95%", *outcome(to_beagle, (BETTER,))])
    return (
        table_of(["data", "aim", "met", "found"], told, numbers=False) if told else "No new data has been scored yet."
    )


def after_the_first(levels: pd.DataFrame) -> str:
    """Return a sentence on where mosaic makes more wrong calls than its first version, by group and level."""
    lost = levels[levels["wrong"] > levels["wrong_of_first"]]
    told = [
        f"{group} at {', '.join(f'{row.level:g}% ({row.wrong:,.0f}, {row.wrong_of_first:,.0f})' for row in part.itertuples())}"
        for group, part in lost.groupby("group", sort=False)
    ]
    n_compared = levels["wrong_of_first"].notna().sum()
    return (
        f"Of {n_compared} levels at which the first version was scored on all datasets of a group, today's mosaic makes more wrong calls at {len(lost)}"
        + (f": {'; '.join(told)} (today's and the first version's)." if told else ".")
    )


def by_seed(table: pd.DataFrame) -> list[str]:
    """Return the section on both versions with other seeds on the development data, from rows by version, dataset, seed and level."""
    means = table.groupby(["version", "dataset", "level"])[["wrong", "f1_macro", "log_loss"]].agg(
        ["mean", "min", "max"]
    )
    rows, worse = [], []
    for dataset, level in table[["dataset", "level"]].drop_duplicates().itertuples(index=False):
        own, first = (means.loc[version, dataset, level] for version in ("today", "first"))
        lost = {
            "macro-F1": first["f1_macro", "mean"] - own["f1_macro", "mean"],
            "log-loss": own["log_loss", "mean"] - first["log_loss", "mean"],
        }
        worse += [
            f"{dataset} at {level:g}% in {metric} (by {by:.4f})" for metric, by in lost.items() if by > KEPT_WITHIN
        ]
        counts = [
            f"{v['wrong', 'mean']:,.0f} ({v['wrong', 'min']:,.0f} to {v['wrong', 'max']:,.0f})" for v in (own, first)
        ]
        scores = [
            f"{v[metric, 'mean']:.4f}".removeprefix("0") for metric in ("f1_macro", "log_loss") for v in (own, first)
        ]
        rows.append([dataset, f"{level:g}%", *counts, *scores])
    n_seeds = table["seed"].nunique()
    columns = ["data", "missing", "wrong calls, today's", "the first version's"]
    columns += ["macro-F1, today's", "the first's", "log-loss, today's", "the first's"]
    return [
        "### What the seed does",
        f"Development data have one mask a level, and mosaic draws: {n_seeds} seeds of each version, `python benchmarks/mosaic_seeds.py` ([as a table](mosaic-seeds.csv)); "
        "means, and of the wrong calls the lowest and the highest. Cattle are phased by Beagle anew with each seed. The scores of the first version were to be kept within "
        f"{KEPT_WITHIN}: "
        + (
            f"in the mean of the seeds that is missed on {', '.join(worse)}."
            if worse
            else "in the mean of the seeds they are."
        ),
        table_of([*columns], rows),
    ]


def outcome(verdicts: dict[float, str], wanted: tuple[str, ...]) -> list[str]:
    """Return whether the verdicts at all levels are as wanted, and the levels of each verdict."""
    met = "yes" if all(word in wanted for word in verdicts.values()) else "no"
    words = dict.fromkeys(verdicts.values())
    return [
        met,
        "; ".join(f"{word}: {', '.join(f'{v:g}%' for v in verdicts if verdicts[v] == word)}" for word in words),
    ]


def differences(table: pd.DataFrame) -> str:
    """Return a group's rows of mosaic.csv as a table of the page."""
    rows = []
    for row in table.itertuples():
        found = Difference(row.ahead, row.low, row.high)
        to_beagle = Difference(row.ahead_of_beagle, row.low_to_beagle, row.high_to_beagle)
        rows.append(
            [
                f"{row.level:g}%",
                difference(*found, digits=4),
                verdict(found),
                f"`{row.best}`",
                "same" if row.beagle == row.best else f"{difference(*to_beagle, digits=4)} to `{row.beagle}`",
                f"{row.wrong:,.0f}",
                f"{row.wrong_of_tuned:,.0f}",
                f"{more(row.wrong / row.wrong_of_tuned)}%",
                "–" if pd.isna(row.wrong_of_first) else f"{row.wrong_of_first:,.0f}",
            ]
        )
    columns = ["missing", "ahead, macro-F1", "so", "best other", "ahead of the best Beagle", "wrong calls"]
    return table_of([*columns, f"of `{table.tuned.iloc[0]}`", "fewer or more", "of the first version"], rows)


def one(rows: pd.DataFrame, label: str, metric: str, subset: str = "all", level: float | None = None) -> float:
    """Return a score of a row at a level, or as the mean over the levels."""
    at = rows["level"].isna() if level is None else rows["level"] == level
    found = rows[at & (rows["row"] == label) & (rows["metric"] == metric) & (rows["subset"] == subset)]
    return float(found["value"].iloc[0]) if len(found) else np.nan


def accuracies(scores: pd.DataFrame) -> str:
    """Return a table of every imputer's mean macro-F1 over the datasets at every level, with time and memory."""
    levels = levels_of(scores)
    rows = []
    for label in scores["row"].unique():
        cells = [f"{one(scores, label, 'f1_macro', level=level):.3f}" for level in levels]
        rows.append(
            [f"`{label}`", *cells, brief(one(scores, label, "seconds")), f"{one(scores, label, 'memory_mb'):,.0f} MB"]
        )
    return table_of(["macro-F1", *(f"{level:g}%" for level in levels), "a mask, one thread", "memory"], rows)


def levels_of(scores: pd.DataFrame) -> list[float]:
    return sorted(scores["level"].dropna().unique())


def shown_further(tuned: str, scores: pd.DataFrame) -> list[str]:
    """Return the imputers whose further metrics are shown."""
    wanted = (OWN, tuned, tuned.replace("beagle", "minimac4"), "softmax_regression/default")
    return [label for label in wanted if label in set(scores["row"])]


def further(scores: pd.DataFrame, shown: Sequence[str]) -> str:
    """Return a table of further metrics (F1 of genotypes, rare sites, posterior), as means over the levels."""
    rows = []
    for label in shown:
        values = [one(scores, label, *of) for of in FURTHER.values()]
        rows.append([f"`{label}`", *("–" if np.isnan(value) else f"{value:.3f}" for value in values)])
    return table_of(["mean over levels", *FURTHER], rows)


def by_maf(scores: pd.DataFrame, shown: Sequence[str]) -> str:
    """Return a table of macro-F1 and share of wrong calls by MAF bin, over the levels."""
    bins = sorted(subset for subset in scores["subset"].unique() if subset.startswith("maf:"))
    rows = []
    for label in shown:
        found = [(one(scores, label, "f1_macro", subset), one(scores, label, "wrong_share", subset)) for subset in bins]
        rows.append([f"`{label}`", *(f"{score:.3f}, {100 * wrong:.1f}%" for score, wrong in found)])
    titles = [subset.removeprefix("maf:").replace("-", "–") for subset in bins]
    return table_of(["macro-F1, wrong calls by MAF", *titles], rows)


def without_beagle(rows: pd.DataFrame) -> list[str]:
    """Return the section of mosaic that phases the panel itself, which was run on some datasets of a group."""
    parts = []
    for group, part in rows.groupby("group", sort=False):
        for name, own in part[part["datasets"] != part["datasets"].iloc[0]].groupby("datasets", sort=False):
            parts += [f"On `{name}` ({group[0].lower()}{group[1:]}):", behind(own)]
    if not parts:
        return []
    return [
        "### Without Beagle",
        "`mosaic/alone` phases a panel without phase itself. Macro-F1, and in brackets how far mosaic as it is by default is ahead and the lower end of the interval.",
        *parts,
    ]


def behind(rows: pd.DataFrame) -> str:
    """Return a table of other variants' macro-F1 at every level of a dataset, and mosaic's lead over each."""
    levels, shown = levels_of(rows), []
    for label in rows.loc[rows["versus"].isna(), "row"].unique():
        own = rows[rows["row"] == label]
        leads = rows[rows["versus"] == label].set_index("level")
        cells = [
            f"{one(own, label, 'f1_macro', level=v):.3f} ({leads['value'][v]:+.3f}, {leads['low'][v]:+.3f})"
            for v in levels
        ]
        times = [brief(one(own, label, metric)) for metric in ("seconds_fit", "seconds")]
        shown.append([f"`{label}`", *(cell.replace("-", "−") for cell in cells), *times])
    return table_of(["macro-F1 (mosaic ahead by, at least)", *(f"{v:g}%" for v in levels), "to fit", "a mask"], shown)


def costs(table: pd.DataFrame) -> list[str]:
    """Return the section with the table of benchmarks/mosaic_cost.py."""
    cases = {
        "human": "500 people over 2,004, 10,000 sites",
        "cattle": "100 bulls over 400, 7,250 sites",
        "small": "100 simulated people over 1,000, 5,000 sites",
        "large": "100 simulated people over 10,000, 5,000 sites",
    }
    rows, of_beagle = [], np.nan
    for row in table.itertuples():
        of_beagle = row.processor_s if row.program == "Beagle" else of_beagle
        times = "" if np.isnan(row.of_beagle) or row.program == "Beagle" else f"{row.processor_s / of_beagle:.2f}"
        rows.append(
            [
                cases[row.panel],
                row.program,
                row.task,
                f"{row.processor_s:,.1f}",
                times,
                f"{row.elapsed_s:,.1f}",
                f"{row.memory_mb:,.0f}",
            ]
        )
    slower = table[(table["program"] == "mosaic") & (table["task"] == "impute") & (table["of_beagle"] > 1)]
    missed = [cases[panel] for panel in slower["panel"]]
    return [
        "## What a command costs",
        "Arrays with a tenth of the sites, one thread, whole commands, all of one run of `python benchmarks/mosaic_cost.py`. Aims: `impute` at most 1.0 × "
        "Beagle, ten times the panel at most twice the cost, memory below 1.5 GB with 20,000 haplotypes, `fit` at most 3 × Beagle's phasing of the panel. "
        f"{'Missed: `impute` on ' + ' and '.join(missed) if missed else 'All are reached'}; memory was measured with 5,000 sites, which is a window.",
        table_of(
            ["data", "program", "task", "processor seconds", "times Beagle", "seconds", "MB"],
            rows,
        ),
    ]


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw 1 − macro-F1 against percent missing, a panel for each group of new data, or of all data if none is new."""
    groups = {group: whole(part) for group, part in rows.groupby("group", sort=False)}
    groups = {group: scores for group, scores in groups.items() if not development(group)} or groups
    labels = list(dict.fromkeys(label for scores in groups.values() for label in scores["row"].unique()))
    labels = sorted((label for label in labels if label != FLOOR), key=lambda label: label != OWN)
    short = {label: label.replace("/human", "/tuned").replace("/breed", "/tuned") for label in labels}
    styles = dict.fromkeys(short.values())
    styles = {name: (colour, marker) for name, colour, marker in zip(styles, COLOURS, "osD^vPX*", strict=False)}
    n_columns = min(len(groups), 2 if len(groups) < 5 else 3)
    n_rows = -(-len(groups) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(5 * n_columns, 3.6 * n_rows), layout="constrained", squeeze=False
    )
    for ax, (group, scores) in zip(axes.flat, groups.items(), strict=False):
        levels = levels_of(scores)
        for label in labels:
            if label in set(scores["row"]):
                values = [1 - one(scores, label, "f1_macro", level=level) for level in levels]
                colour, marker = styles[short[label]]
                ax.plot(
                    levels, values, color=colour, marker=marker, markersize=4, linewidth=2.2 if label == OWN else 1.2,
                    label=short[label],
                )  # fmt: skip
        what = "calls" if "calls" in group else "sites"
        ax.set(title=group, xlabel=f"{what} missing (%)", ylabel="1 − macro-F1 (lower is better)", yscale="log")
        ax.grid(alpha=0.3, which="both")
        low, high = ax.get_ylim()
        ax.set_yticks(
            ticks := [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if low < t < high], [f"{t:g}" for t in ticks]
        )
        ax.yaxis.set_minor_formatter(NullFormatter())
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    handles = {text: line for ax in axes.flat for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
