"""Measure macro-F1 of mosaic and of Beagle against the processor seconds of imputing.

    python benchmarks/mosaic_curve.py [--runs runs] [--levels 30 60 90] [--to docs/results]

On the development data of experiments/mosaic.toml (needs SNPIMPUTE_PANELS): mosaic with fewer and more states, Beagle with
the experiment's settings and one, three and ten phasings averaged, Minimac4. Each row is fitted once and imputes each mask,
on one thread, in a process of its own. Seconds are processor seconds, with those of the programs that it runs, and are valid
on a busy machine too; memory is the largest of the process or of a program. Writes mosaic-cost.csv and mosaic-cost.png.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from snpimpute import imputers
from snpimpute.base.files import write_text
from snpimpute.base.provenance import peak_memory_mb
from snpimpute.dataset.prepared import dataset_in
from snpimpute.dataset.scenarios import at_hidden
from snpimpute.experiment.pipeline import prepare
from snpimpute.experiment.settings import ExperimentSettings, read
from snpimpute.experiment.workspace import Workspace
from snpimpute.metrics.scores import f1_macro
from snpimpute.report.tree import COLOURS
from snpimpute.tuning.parameters import given_params

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "mosaic.toml"
TUNED = {"kg15-500": "human", "cattle-chr1": "breed"}  # variant of Beagle and Minimac4 that is tuned for the dataset
STATES = (40, 70, 100, 150, 200)
PHASINGS = (1, 3, 10)


@dataclass(frozen=True)
class Case:
    """One row: `name` of an imputer, and its `curve` and the label `at` its point in the report."""

    name: str
    params: dict[str, Any]
    curve: str
    at: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--levels", type=float, nargs="+", default=[30.0, 60.0, 90.0])
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results")
    arguments = parser.parse_args()
    settings = read(EXPERIMENT)
    rows: list[dict[str, Any]] = []
    for name in TUNED:
        folder = prepare(settings, name, Workspace(arguments.runs))
        for case in cases(settings, name, folder):
            found = in_own_process(measure, folder, case, arguments.levels, settings.seed)
            rows += [{"dataset": name, "curve": case.curve, "at": case.at, **row} for row in found]
            print(pd.DataFrame(rows[-len(found) :]).to_string(index=False, header=len(rows) == len(found)), flush=True)
    table = pd.DataFrame(rows)
    write_text(arguments.to / "mosaic-cost.csv", table.round(4).to_csv(index=False))
    draw(table, arguments.to / "mosaic-cost.png")


def cases(settings: ExperimentSettings, name: str, folder: Path) -> list[Case]:
    switch = in_own_process(chosen_switch, folder, settings.seed)
    tuned, minimac4 = (
        {**variant.params, **given_params(variant.params_file)}
        for variant in (settings.variants[program][TUNED[name]] for program in ("beagle", "minimac4"))
    )
    return [
        *(Case("mosaic", {"switch": switch, "states": k}, "mosaic", f"{k} states") for k in STATES),
        *(Case("beagle", {**tuned, "phasings": n}, "beagle, tuned", f"{n} phasing{'s' * (n > 1)}") for n in PHASINGS),
        Case("minimac4", minimac4, "minimac4", "phased once"),
    ]


def in_own_process(function: Any, *arguments: Any) -> Any:
    """Return the result of a function that runs in a new process, so that its memory and seconds are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def chosen_switch(folder: Path, seed: int) -> float:
    """Return the rate of haplotype switches that mosaic chooses on the panel; all its rows use it."""
    cls = imputers.load("mosaic")
    return cls(seed=seed, threads=1).fit(dataset_in(folder).train).refit_params().switch  # type: ignore[attr-defined]


def measure(folder: Path, case: Case, levels: list[float], seed: int) -> list[dict[str, Any]]:
    """Return macro-F1, wrong calls, processor seconds and memory at the first mask of each level."""
    dataset = dataset_in(folder)
    cls = imputers.load(case.name)
    model = cls(cls.parse_params(case.params), seed=seed, threads=1)
    model.fit(dataset.train)
    rows = []
    for scenario in dataset.test_scenarios():
        if scenario.level not in levels or scenario.repeat > 0:
            continue
        target = dataset.test.hide(scenario.hidden)
        started = processor_seconds()
        posterior = model.posterior(target)
        seconds = processor_seconds() - started
        truth = at_hidden(dataset.test.calls, scenario.hidden)
        calls = at_hidden(posterior, scenario.hidden).argmax(axis=-1)
        rows.append(
            {
                "level": scenario.level,
                "f1_macro": f1_macro(truth, calls),
                "wrong": int(((calls != truth) & (truth >= 0)).sum()),
                "seconds": seconds,
                "memory_mb": peak_memory_mb(),
            }
        )
    return rows


def processor_seconds() -> float:
    """Return the processor seconds of this process and of the programs that it has run."""
    return sum(os.times()[:4])


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw macro-F1 against time in units of one run of tuned Beagle, a panel for each dataset and level."""
    datasets, levels = table["dataset"].unique(), sorted(table["level"].unique())
    figure, axes = plt.subplots(
        len(datasets),
        len(levels),
        figsize=(3.6 * len(levels), 3.2 * len(datasets)),
        layout="constrained",
        squeeze=False,
    )
    for line, dataset in zip(axes, datasets, strict=True):
        for ax, level in zip(line, levels, strict=True):
            part = table[(table["dataset"] == dataset) & (table["level"] == level)]
            one_run = part.loc[part["at"] == "1 phasing", "seconds"].item()
            for (curve, points), colour, marker in zip(part.groupby("curve", sort=False), COLOURS, "osD", strict=False):
                ax.plot(
                    points["seconds"] / one_run,
                    points["f1_macro"],
                    color=colour,
                    marker=marker,
                    markersize=4,
                    label=curve,
                )
            ax.set(xscale="log", title=f"{dataset}, {level:g}% missing")
            ax.set_xticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
            ax.minorticks_off()
            ax.grid(alpha=0.3)
    figure.supxlabel("processor time to impute, in runs of tuned Beagle")
    figure.supylabel("macro-F1 (0 to 1)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
