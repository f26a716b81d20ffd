"""Compare encodings of imputed genotypes, and calls with the posterior's expectation, by how well a trait is predicted; goes on where it was.

    SNPIMPUTE_PANELS=… python benchmarks/trait_encodings.py [--only maize] [--predictor ridge …] [--seeds 2] [--kept encodings.csv]

Every tenth site is typed; `mosaic`, at its defaults, imputes the others from samples that are in no fold. A predictor learns from
and predicts by the same kind of genotypes: the most probable calls, or the posterior, of whose encoding it takes the expectation
(and true genotypes in its own encoding, for what imputing costs at all). Folds are the same for all; each seed draws them anew.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.files import write_text
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers import load as load_imputer
from snpimpute.io.matrix import read_matrix
from snpimpute.metrics.prediction import MEASURES, fold_interval
from snpimpute.report.markdown import table_of as as_markdown
from snpimpute.report.text import Score, interval, number, signed
from snpimpute.traits.folds import folds_of
from snpimpute.traits.phenotypes import read_traits, trait_of
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort, posterior_of_calls
from snpimpute.traits.predictors.encodings import TABLES

FOLDS, TYPED_EVERY = 5, 10
N_PANEL, N_SAMPLES, N_SITES, N_CAUSAL = 504, 600, 300, 10
HERITABILITY = 0.5
KINDS = ("calls", "expectation")
SETTINGS = {"cnn": {"filters_1": 8, "filters_2": 16}}  # beside the defaults: a quarter of the filters, for its time


@dataclass(frozen=True, eq=False)
class Sample:
    """Samples with a trait: true genotypes, int8 (n_samples, n_sites), what imputing made of them, float32 (…, 3), the trait."""

    truth: GenotypeMatrix
    imputed: np.ndarray
    values: np.ndarray

    def cohort(self, kind: str) -> Cohort:
        """Return the samples with true genotypes, imputed calls, or posteriors."""
        posterior = {
            "true": lambda: posterior_of_calls(self.truth.calls),
            "calls": lambda: posterior_of_calls(self.imputed.argmax(axis=2).astype(np.int8)),
            "expectation": lambda: self.imputed,
        }[kind]()
        return Cohort(posterior, self.truth.sites, self.values, np.empty((len(self.values), 0)))


def imputed(panel: GenotypeMatrix, truth: GenotypeMatrix) -> np.ndarray:
    """Return posteriors of samples of which every tenth site is typed."""
    untyped = np.arange(truth.n_sites) % TYPED_EVERY != TYPED_EVERY // 2
    cls = load_imputer("mosaic")
    return cls(seed=1, threads=1).fit(panel).posterior(truth.hide(np.broadcast_to(untyped, truth.calls.shape)))


def human(panels: Path, dominance: float) -> Sample:
    """Return people with a simulated trait; of its genetic variance `dominance` is what heterozygotes add to the alleles' sum."""
    rng = np.random.default_rng(1)
    matrix, _ = read_matrix(panels / "kg15" / "kg15.vcf.gz", region="15:27380000-28400000")
    drawn = rng.permutation(matrix.n_samples)
    common = np.flatnonzero(matrix.maf() > 0.05)
    matrix = matrix.take_sites(common[np.linspace(0, len(common) - 1, N_SITES).round().astype(int)])
    truth = matrix.take_samples(np.sort(drawn[N_PANEL : N_PANEL + N_SAMPLES]))
    panel = matrix.take_samples(np.sort(drawn[:N_PANEL]))
    causal = rng.permutation(np.flatnonzero(truth.maf() > 0.2))[:N_CAUSAL]
    alleles = _scaled(truth.calls[:, causal].astype(float))
    extra = (truth.calls[:, causal] == 1).astype(float)
    design = np.column_stack([np.ones(N_SAMPLES), alleles])
    extra = _scaled(extra - design @ np.linalg.lstsq(design, extra, rcond=None)[0])
    alone, together = (_scaled(part @ rng.choice([-1.0, 1.0], N_CAUSAL)) for part in (alleles, extra))
    genetic = _scaled(np.sqrt(1 - dominance) * alone + np.sqrt(dominance) * together)
    values = np.sqrt(HERITABILITY) * genetic + np.sqrt(1 - HERITABILITY) * rng.normal(size=N_SAMPLES)
    return Sample(truth, imputed(panel, truth), values)


def maize(panels: Path) -> Sample:
    """Return inbred lines with their ear height, at every third site; 100 others are the panel."""
    matrix, _ = read_matrix(panels / "traits" / "maize" / "maize.vcf.gz")
    matrix = matrix.take_sites(np.arange(0, matrix.n_sites, 3))
    drawn = np.random.default_rng(1).permutation(matrix.n_samples)
    panel, truth = (matrix.take_samples(np.sort(part)) for part in (drawn[:100], drawn[100:]))
    table = read_traits(panels / "traits" / "maize" / "traits.tsv", None)
    trait = trait_of(table, "EarHT", truth.names, covariates=(), source="traits.tsv", genotypes="maize.vcf.gz")
    truth = truth.take_samples(trait.rows)
    return Sample(truth, imputed(panel, truth), trait.values)


DATA: dict[str, tuple[str, Callable[[Path], Sample]]] = {
    "additive": ("people, alleles add up", lambda panels: human(panels, 0.0)),
    "dominant": ("people, half of the genetic variance is of heterozygotes", lambda panels: human(panels, 0.5)),
    "maize": ("maize, ear height", maize),
}


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def settings_of(predictor: str) -> list[tuple[str, str]]:
    """Return the pairs of encoding and kind of genotypes that are compared; the first is true genotypes."""
    own = load(predictor).Params().encoding
    return [(own, "true"), *((encoding, kind) for encoding in TABLES for kind in KINDS)]


def measure(data: str, sample: Sample, predictor: str, seed: int, kept: Path) -> None:
    """Add what is missing of a predictor and seed to the file that is kept: a row per encoding, kind and fold."""
    rows = (
        pd.read_csv(kept) if kept.exists() else pd.DataFrame(columns=["data", "predictor", "seed", "encoding", "kind"])
    )
    here = rows[(rows.data == data) & (rows.predictor == predictor) & (rows.seed == seed)]
    done = set(zip(here.encoding, here.kind, strict=True))
    names = pd.DataFrame({"sample": sample.truth.names})
    folds = folds_of(names, "random", FOLDS, 1, seed)
    cls = load(predictor)
    for encoding, kind in settings_of(predictor):
        if (encoding, kind) in done:
            continue
        cohort, start = sample.cohort(kind), time.monotonic()
        found = []
        for k, fold in enumerate(folds):
            fitted = cls(cls.parse_params({"encoding": encoding, **SETTINGS.get(predictor, {})}), seed=seed).fit(
                cohort.take_samples(fold.train)
            )
            predicted = fitted.predict(cohort.take_samples(fold.test).without_trait()).astype(np.float64)
            about = {"data": data, "predictor": predictor, "seed": seed, "encoding": encoding, "kind": kind}
            found.append({**about, "fold": k, "pcc": MEASURES["pcc"].of(cohort.values[fold.test], predicted)})
        rows = pd.concat([rows, pd.DataFrame(found)], ignore_index=True)
        write_text(kept, rows.to_csv(index=False))
        print(f"{data} {predictor} {encoding} {kind}: {time.monotonic() - start:.0f} s", flush=True)


def table(rows: pd.DataFrame) -> str:
    """Return correlations, and paired differences between kinds and between encodings, as Markdown."""
    share = 1 / (FOLDS - 1)

    def of(own: pd.DataFrame, encoding: str, kind: str) -> np.ndarray:
        chosen = own[(own.encoding == encoding) & (own.kind == kind)].sort_values(["seed", "fold"])
        return chosen.pcc.to_numpy(dtype=float)

    def cell(values: np.ndarray, sign: bool = False) -> str:
        if not len(values):
            return ""
        score = Score(*fold_interval(values, share), len(values))
        return f"{signed(score) if sign else number(score.value)} ({interval(score, signed=sign)})"

    lines = []
    for (data, predictor), own in rows.groupby(["data", "predictor"], sort=False):
        first = settings_of(str(predictor))[0][0]
        for encoding in TABLES:
            calls, expected, least = (
                of(own, encoding, "calls"),
                of(own, encoding, "expectation"),
                of(own, "additive", "expectation"),
            )
            if not len(calls) == len(expected) == len(least) > 0:
                continue
            true = cell(of(own, encoding, "true")) if encoding == first else ""
            apart = "" if encoding == "additive" else cell(expected - least, True)
            name = [DATA[str(data)][0], f"`{predictor}`", f"`{encoding}`", true, cell(calls), cell(expected)]
            lines.append([*name, cell(expected - calls, True), apart])
    columns = [
        "trait",
        "predictor",
        "encoding",
        "true genotypes",
        "calls",
        "expectation",
        "expectation − calls",
        "to `additive`",
    ]
    return as_markdown(columns, lines)


def main() -> None:
    """Measure what is not measured yet, then print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(DATA), action="append")
    parser.add_argument("--predictor", nargs="+", default=["ridge", "mlp", "cnn"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kept", type=Path, default=Path("encodings.csv"))
    given = parser.parse_args()
    panels = Path(os.environ["SNPIMPUTE_PANELS"])
    for seed in range(1, given.seeds + 1):
        for name, (_, make) in DATA.items():
            if given.only is not None and name not in given.only:
                continue
            sample = make(panels)
            if seed == 1:
                wrong = (sample.imputed.argmax(axis=2) != sample.truth.calls).mean()
                sure = sample.imputed.max(axis=2).mean()
                print(f"{name}: {sample.truth.calls.shape}, {wrong:.3f} of calls wrong, mean probability {sure:.3f}")
            for predictor in given.predictor:
                measure(name, sample, predictor, seed, given.kept)
    print(table(pd.read_csv(given.kept)))


if __name__ == "__main__":
    main()
