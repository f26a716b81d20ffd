"""Measure what predictors are worth on traits, on real and simulated ones, and write docs/results/traits.md.

    SNPIMPUTE_PANELS=… python scripts/trait_results.py [--only maize-EarHT] [--predictor cnn] [--work runs/traits] [--to docs/results]
    SNPIMPUTE_PANELS=… python scripts/trait_results.py --shares

Every predictor at its defaults, five random folds, one thread. With --shares: the quick ones on traits of which pairs of sites
make a growing share of the genetic variance, several draws of each. What is measured already in the folder of work is not measured
again; the page is written from all that is there.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.files import write_text
from snpimpute.base.progress import watch
from snpimpute.io.matrix import read_matrix
from snpimpute.metrics.prediction import fold_interval
from snpimpute.report.markdown import table_of as as_markdown
from snpimpute.report.text import Score, interval, number, signed
from snpimpute.traits.evaluate import (
    OPPONENTS,
    Evaluation,
    EvaluationSettings,
    over_folds,
    table_of,
    test_to_train,
    verdict_of,
)
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
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the genetic variance, that pairs make
DRAWS = range(1, 6)  # seeds: samples, causal sites, effects and noise are drawn anew with each
QUICK = ("gblup", "rkhs", "lightgbm", "mlp", "ld_gnn")  # predictors that learn such a trait in seconds


def cohort_of(data: Data, panels: Path) -> Cohort:
    """Return the samples of a trait."""
    if data.files:
        genotypes, traits, trait = data.files
        folder = panels / "traits"
        read = read_training(folder / genotypes, folder / traits, trait, sample_column=data.sample_column).cohort
        return read.take_sites(np.arange(0, read.n_sites, data.every))
    return simulated(panels / "kg15" / "kg15.vcf.gz", data.epistasis)


def simulated(path: Path, epistasis: float, seed: int = 1, n_samples: int = 600, n_sites: int = 150) -> Cohort:
    """Return samples with a trait of heritability .5, of five pairs of sites: each site by itself, the pairs' products, or both."""
    rng = np.random.default_rng(seed)
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


def measure(name: str, read: Callable[[], Cohort], wanted: Sequence[str], folder: Path) -> None:
    """Measure the predictors that are not measured yet, a file each.

    Args:
        name: of the trait.
        read: returns its samples.
        wanted: the predictors.
        folder: of the files.
    """
    due = {predictor: folder / f"{predictor}.json" for predictor in wanted}
    due = {predictor: path for predictor, path in due.items() if not path.exists()}
    if not due:
        return
    cohort = read()
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


def evaluation_of(name: str, folder: Path) -> Evaluation:
    """Return what is measured of a trait."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
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


def folder_of_share(work: Path, share: float, draw: int) -> Path:
    """Return the folder of what is measured of one draw of a trait of which pairs make this share."""
    return work / f"pairs-{share:g}-{draw}"


def shares_section(work: Path) -> str:
    """Return the part of the page on traits of which pairs make a growing share; intervals are over draws, which are independent."""

    def correlations(predictor: str, share: float) -> np.ndarray:
        files = [folder_of_share(work, share, draw) / f"{predictor}.json" for draw in DRAWS]
        return np.array([np.nanmean(json.loads(file.read_text())["measured"]["pcc"]) for file in files])

    rows = []
    for share in SHARES:
        base = correlations(OPPONENTS[0], share)
        row = [f"{share:.0%}", number(float(base.mean()))]
        for predictor in QUICK[1:]:
            own = correlations(predictor, share)
            mean, low, high = fold_interval(own - base, test_to_train=0.0)
            difference = Score(mean, low, high, len(own))
            row.append(
                f"{number(float(own.mean()))}: {signed(difference)} ({interval(difference, signed=True)}) {verdict_of(difference)}"
            )
        rows.append(row)
    columns = ["genetic variance of pairs", *(f"`{predictor}`" for predictor in QUICK)]
    return (
        "## Human genotypes, simulated: from which share of pairs on\n\n"
        f"Correlation, mean of {len(DRAWS)} draws of trait and samples; its difference to `{OPPONENTS[0]}` with a 95% interval over draws.\n\n"
        f"{as_markdown(columns, rows)}\n"
    )


def main() -> None:
    """Measure what is asked for, then write the page of all that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(DATA), action="append")
    parser.add_argument("--predictor", choices=names(), action="append")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "traits")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--shares", action="store_true", help="measure traits with a growing share of pairs instead")
    given = parser.parse_args()
    panels = Path(os.environ["SNPIMPUTE_PANELS"])
    human = panels / "kg15" / "kg15.vcf.gz"
    shared = [(share, draw, folder_of_share(given.work, share, draw)) for share in SHARES for draw in DRAWS]
    for share, draw, folder in shared if given.shares else []:
        measure(folder.name, partial(simulated, human, share, draw), QUICK, folder)
    parts = []
    for name, data in DATA.items():
        folder = given.work / name
        if not given.shares and (given.only is None or name in given.only):
            measure(name, partial(cohort_of, data, panels), given.predictor or names(), folder)
        if all((folder / f"{other}.json").exists() for other in OPPONENTS):
            parts.append(section(data, evaluation_of(name, folder)))
    if all((folder / f"{predictor}.json").exists() for _, _, folder in shared for predictor in QUICK):
        parts.append(shares_section(given.work))
    page = given.to / "traits.md"
    head = page.read_text().partition(MARK)[0]
    write_text(page, "\n".join([head + MARK + "\n", *parts]))


if __name__ == "__main__":
    main()
