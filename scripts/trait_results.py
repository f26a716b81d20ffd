"""Measure what predictors are worth on traits, on real and simulated ones, and write docs/results/traits.md.

    SNPIMPUTE_PANELS=… python scripts/trait_results.py [--only maize-EarHT] [--predictor cnn] [--work runs/traits] [--to docs/results]

Every predictor at its defaults, five random folds, one thread. What is measured already in the folder of work is not measured
again; the page is written from all that is there.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.files import write_text
from snpimpute.base.progress import watch
from snpimpute.io.matrix import read_matrix
from snpimpute.report.markdown import table_of as as_markdown
from snpimpute.report.text import Score, interval, number, signed
from snpimpute.traits.evaluate import OPPONENTS, Evaluation, EvaluationSettings, over_folds, table_of, test_to_train
from snpimpute.traits.folds import folds_of
from snpimpute.traits.learned import read_training
from snpimpute.traits.predictors import load, names
from snpimpute.traits.predictors.cohort import Cohort, posterior_of_calls

ROOT = Path(__file__).parents[1]
FOLDS = 5
MARK = "<!-- tables: scripts/trait_results.py -->\n"  # what is above it on the page is kept


@dataclass(frozen=True)
class Data:
    """A trait: its title, and either files below the folder of panels or how it is simulated on kg15.

    Attributes:
        files: genotypes, trait table, trait; empty of a simulated one.
        sample_column: column of the trait table with the samples' names; None = found by its name.
        every: of how many sites one is used.
        epistasis: share of the genetic variance that pairs of sites make, and no site alone.
    """

    title: str
    files: tuple[str, str, str] | tuple[()] = ()
    sample_column: str | None = None
    every: int = 1
    epistasis: float = 0.0


DATA = {
    "wheat": Data("Wheat, yield in environment 1", ("wheat/markers.tsv.gz", "wheat/traits.tsv", "yield_env1")),
    "maize-EarHT": Data("Maize, ear height", ("maize/maize.vcf.gz", "maize/traits.tsv", "EarHT")),
    "maize-dpoll": Data("Maize, days to pollen", ("maize/maize.vcf.gz", "maize/traits.tsv", "dpoll")),
    "rice": Data(
        "Rice, height of the plant, every tenth site",
        ("rice/rice.bed", "rice/traits.csv", "Plant.height"),
        sample_column="PlinkIDs",
        every=10,
    ),
    "additive": Data("Human genotypes, simulated: 10 sites add up to half of the variance"),
    "epistatic": Data("Human genotypes, simulated: all of the genetic variance is of pairs", epistasis=1.0),
}


def cohort_of(data: Data, panels: Path) -> Cohort:
    """Return the samples of a trait."""
    if data.files:
        genotypes, traits, trait = data.files
        folder = panels / "traits"
        read = read_training(folder / genotypes, folder / traits, trait, sample_column=data.sample_column).cohort
        return read.take_sites(np.arange(0, read.n_sites, data.every))
    return simulated(panels / "kg15" / "kg15.vcf.gz", data.epistasis)


def simulated(path: Path, epistasis: float, n_samples: int = 600, n_sites: int = 150) -> Cohort:
    """Return samples with a trait of heritability .5, of five pairs of sites: each site by itself, the pairs' products, or both."""
    rng = np.random.default_rng(1)
    matrix, _ = read_matrix(path, region="15:27380000-28400000")
    matrix = matrix.take_samples(np.sort(rng.permutation(matrix.n_samples)[:n_samples]))
    common = np.flatnonzero(matrix.maf() > 0.2)
    matrix = matrix.take_sites(common[np.linspace(0, len(common) - 1, n_sites).round().astype(int)])
    z = (matrix.calls - matrix.calls.mean(axis=0)) / matrix.calls.std(axis=0)
    causal = rng.permutation(n_sites)[:10]
    alone = z[:, causal] @ rng.choice([-1.0, 1.0], 10)
    pairs = (z[:, causal[:5]] * z[:, causal[5:]]) @ rng.choice([-1.0, 1.0], 5)
    design = np.column_stack([np.ones(n_samples), z[:, causal]])
    pairs -= (
        design @ np.linalg.lstsq(design, pairs, rcond=None)[0]
    )  # what the sites explain alone is none of the pairs'
    genetic = np.sqrt(1 - epistasis) * alone / alone.std() + np.sqrt(epistasis) * pairs / pairs.std()
    values = np.sqrt(0.5) * genetic / genetic.std() + np.sqrt(0.5) * rng.normal(size=n_samples)
    return Cohort(posterior_of_calls(matrix.calls), matrix.sites, values, np.empty((n_samples, 0)))


def measure(name: str, panels: Path, wanted: list[str], work: Path) -> None:
    """Measure the predictors that are not measured yet, a file each."""
    due = {predictor: work / name / f"{predictor}.json" for predictor in wanted}
    due = {predictor: path for predictor, path in due.items() if not path.exists()}
    if not due:
        return
    cohort = cohort_of(DATA[name], panels)
    samples = pd.DataFrame({"sample": [str(i) for i in range(cohort.n_samples)]})
    folds = folds_of(samples, "random", FOLDS, 1, seed=1)
    for predictor, path in due.items():
        settings = EvaluationSettings(Path(), Path(), name)
        with watch() as watching:
            measured, seconds, parameters = over_folds({predictor: load(predictor)}, cohort, folds, settings, watching)
        about = {
            "samples": cohort.n_samples,
            "sites": cohort.n_sites,
            "share": test_to_train(folds),
            "seconds": seconds[predictor],
            "parameters": parameters[predictor],
            "measured": {key: values.tolist() for (_, key), values in measured.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(about) + "\n")


def evaluation_of(name: str, work: Path) -> Evaluation:
    """Return what is measured of a trait."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted((work / name).glob("*.json"))}
    first = found[OPPONENTS[0]]
    measured = {(p, k): np.array(v) for p, about in found.items() for k, v in about["measured"].items()}
    return Evaluation(
        EvaluationSettings(Path(), Path(), name),
        first["samples"],
        first["sites"],
        False,
        table_of(measured, first["share"]),
        {p: about["seconds"] for p, about in found.items()},
        {p: about["parameters"] for p, about in found.items()},
        (),
    )


def section(data: Data, found: Evaluation) -> str:
    """Return a trait's part of the page."""

    def cell(score: Score, sign: bool = False) -> str:
        return f"{signed(score) if sign else number(score.value)} ({interval(score, signed=sign)})"

    rows = []
    for name in sorted(found.seconds, key=lambda name: -found.score(name, "pcc").value):
        size = found.parameters[name]
        row = [f"`{name}`", cell(found.score(name, "pcc"))]
        for other in OPPONENTS:
            row.append(
                "" if other == name else f"{cell(found.score(name, 'pcc', other), True)} {found.verdict(name, other)}"
            )
        row += [number(found.score(name, measure).value) for measure in ("slope", "top")]
        rows.append([*row, "" if size is None else f"{size:,}", f"{found.seconds[name]:.1f}"])
    columns = [
        "predictor",
        "correlation",
        "to `gblup`",
        "to `lightgbm`",
        "slope",
        "top 10%",
        "parameters",
        "s per fold",
    ]
    return f"## {data.title}\n\n{found.n_samples:,} samples, {found.n_sites:,} sites.\n\n{as_markdown(columns, rows)}\n"


def main() -> None:
    """Measure what is asked for, then write the page of all that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(DATA), action="append")
    parser.add_argument("--predictor", choices=names(), action="append")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "traits")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results")
    given = parser.parse_args()
    panels = Path(os.environ["SNPIMPUTE_PANELS"])
    parts = []
    for name, data in DATA.items():
        if given.only is None or name in given.only:
            measure(name, panels, given.predictor or names(), given.work)
        if all((given.work / name / f"{other}.json").exists() for other in OPPONENTS):
            parts.append(section(data, evaluation_of(name, given.work)))
    page = given.to / "traits.md"
    head = page.read_text().partition(MARK)[0]
    write_text(page, "\n".join([head + MARK + "\n", *parts]))


if __name__ == "__main__":
    main()
