"""Measure what students keep of their teachers, in the teacher's population and in another one, on simulated cohorts; goes on where it was.

    python benchmarks/distillation.py [--replicates 5] [--kept distillation.csv]

Two populations of 10,000 parted 2,000 generations ago (msprime); 50 of 1,000 sites with a MAF above 5% in the first make half of
the variance of a trait (tstrait). A teacher learns the trait from 2,000 of the first population. A student learns the
teacher's predictions for 500 others of the first, or for 500 of the second: their trait is known to nobody. Both are tested on
500 of each. `direct` is the student's predictor on the true trait of the same 500, which the student does not see.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from snpimpute.base.files import write_text
from snpimpute.genotypes.matrix import SITE_COLUMNS
from snpimpute.metrics.prediction import correlation
from snpimpute.report.markdown import table_of as as_markdown
from snpimpute.traits.attributions import attributions, methods_of
from snpimpute.traits.distilled import taught_by
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.learned import Learned
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort, posterior_of_calls
from snpimpute.traits.predictors.contract import Predictor
from snpimpute.traits.simulated import TraitModel, simulated_traits

SIZE, SPLIT, LENGTH, RATE, MUTATION = 10_000, 2_000, 5e6, 1e-8, 1e-8
N_TEACHER, N_STUDENT, N_TEST, N_SITES = 2000, 500, 500, 1000
MODEL = TraitModel(n_traits=1, n_causal=50, variance=0.5, min_maf=0.05)
TEACHERS = ("gblup", "lightgbm", "mlp")
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ridge": ("ridge", {}),
    "small mlp": ("mlp", {"hidden_1": 16, "hidden_2": 8}),
}
EXPLAINED = 50  # samples


def cohorts(seed: int) -> dict[str, Cohort]:
    """Return the samples to teach, to learn from and to test on: teach, learn-1, learn-2, test-1, test-2."""
    import msprime

    demography = msprime.Demography()
    for name in ("first", "second", "root"):
        demography.add_population(name=name, initial_size=SIZE)
    demography.add_population_split(time=SPLIT, derived=["first", "second"], ancestral="root")
    n_first, n_second = N_TEACHER + N_STUDENT + N_TEST, N_STUDENT + N_TEST
    tree = msprime.sim_ancestry(
        {"first": n_first, "second": n_second},
        demography=demography,
        sequence_length=LENGTH,
        recombination_rate=RATE,
        random_seed=seed,
    )
    mutated = msprime.sim_mutations(tree, rate=MUTATION, random_seed=seed, model=msprime.BinaryMutationModel())
    alleles, positions = [], []
    for variant in mutated.variants(copy=False):
        calls = variant.genotypes[0::2].astype(np.int8) + variant.genotypes[1::2].astype(np.int8)
        frequency = calls[:n_first].mean() / 2
        if min(frequency, 1 - frequency) > MODEL.min_maf:
            alleles.append(calls)
            positions.append(int(variant.site.position) + 1)
    at = np.sort(np.random.default_rng(seed).permutation(len(alleles))[:N_SITES])
    calls = np.stack([alleles[j] for j in at], axis=1)
    sites = pd.DataFrame({"contig": "1", "pos": np.array(positions)[at], "id": "", "ref": "A", "alt": "C"})
    sites = sites[list(SITE_COLUMNS)]
    dosages = Dosages(
        calls.astype(np.float32), [f"s{i}" for i in range(len(calls))], sites, np.full(len(sites), np.nan)
    )
    values = simulated_traits(dosages, replace(MODEL, seed=seed)).values[:, 0]
    everyone = Cohort(posterior_of_calls(calls), sites, values, np.empty((len(calls), 0)))
    ends = np.cumsum([0, N_TEACHER, N_STUDENT, N_TEST, N_STUDENT, N_TEST])
    names = ("teach", "learn-1", "test-1", "learn-2", "test-2")
    return {name: everyone.take_samples(slice(a, b)) for name, a, b in zip(names, ends, ends[1:], strict=False)}


def importance(predictor: Predictor, cohort: Cohort) -> np.ndarray:
    """Return the importance of each site by the predictor's first method (effects, SHAP, integrated gradients), float64 (n_sites,)."""
    found = np.zeros(cohort.n_sites)
    few = cohort.take_samples(np.arange(EXPLAINED))
    found[predictor.chosen] = np.abs(attributions(predictor, few, methods_of(predictor)[0])).mean(axis=0)
    return found


def measured(samples: dict[str, Cohort], seed: int) -> list[dict[str, Any]]:
    """Return a row per teacher, student and population that the student learned from; of a teacher by itself, student is empty."""
    tests = {k: samples[f"test-{k}"] for k in (1, 2)}
    rows, direct = [], {}
    for learned_from in (1, 2):
        for label, (name, params) in STUDENTS.items():
            cls = load(name)
            fitted = cls(cls.parse_params(params), seed=seed).fit(samples[f"learn-{learned_from}"])
            direct[label, learned_from] = {
                k: correlation(t.values, fitted.predict(t.without_trait())) for k, t in tests.items()
            }
    for teacher_name in TEACHERS:
        start = time.monotonic()
        predictor = load(teacher_name)(seed=seed).fit(samples["teach"])
        about: dict[str, Any] = {"teacher": teacher_name, "student": "", "parameters": predictor.n_parameters()}
        about["seconds"] = time.monotonic() - start
        said = {k: predictor.predict(t.without_trait()) for k, t in tests.items()}
        rows.append(about | {f"trait-{k}": correlation(t.values, said[k]) for k, t in tests.items()})
        of_teacher = importance(predictor, tests[1])
        for (label, (name, params)), learned_from in [(s, k) for s in STUDENTS.items() for k in (1, 2)]:
            cls, start = load(name), time.monotonic()
            taught = taught_by(Learned(predictor, "trait", {}), samples[f"learn-{learned_from}"])
            student = cls(cls.parse_params(params), seed=seed).fit(taught)
            row: dict[str, Any] = {"teacher": teacher_name, "student": label, "learned_from": learned_from}
            row |= {"parameters": student.n_parameters(), "seconds": time.monotonic() - start}
            for k, test in tests.items():
                own = student.predict(test.without_trait())
                row |= {f"trait-{k}": correlation(test.values, own), f"teacher-{k}": correlation(said[k], own)}
                row[f"direct-{k}"] = direct[label, learned_from][k]
            row["importance"] = spearmanr(of_teacher, importance(student, tests[1])).statistic
            rows.append(row)
    return rows


def table(rows: pd.DataFrame) -> str:
    """Return means over simulations with standard errors, as Markdown."""

    def cell(values: pd.Series) -> str:
        return f"{values.mean():.2f} ± {values.sem():.2f}" if values.notna().any() else ""

    columns = {
        "trait-1": "trait, first population",
        "trait-2": "trait, second",
        "teacher-1": "teacher, first",
        "teacher-2": "teacher, second",
        "direct-1": "`direct`, first",
        "direct-2": "`direct`, second",
        "importance": "importances of sites",
    }
    lines = []
    keys = rows.fillna({"student": "", "learned_from": 0}).groupby(["teacher", "student", "learned_from"], sort=False)
    for (teacher, student, learned_from), own in keys:
        place = {0: "", 1: "first", 2: "second"}[int(learned_from)]
        n = own.parameters.iloc[0]
        size = "" if np.isnan(n) else f"{n:,.0f}"
        name = [f"`{teacher}`", student or "(teacher)", place]
        lines.append([*name, *(cell(own[column]) for column in columns), size, f"{own.seconds.mean():.1f}"])
    return as_markdown(["teacher", "student", "learned from", *columns.values(), "parameters", "s"], lines)


def main() -> None:
    """Measure the simulations that are not measured yet, then print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--kept", type=Path, default=Path("distillation.csv"))
    given = parser.parse_args()
    rows = pd.read_csv(given.kept) if given.kept.exists() else pd.DataFrame({"seed": []})
    for seed in range(1, given.replicates + 1):
        if seed in set(rows.seed):
            continue
        start = time.monotonic()
        new = pd.DataFrame(measured(cohorts(seed), seed)).assign(seed=seed)
        rows = pd.concat([rows, new], ignore_index=True)
        write_text(given.kept, rows.to_csv(index=False))
        print(f"simulation {seed}: {time.monotonic() - start:.0f} s", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
