"""Measure how often `models watch` alarms without drift, and how often it finds drift, on simulated bulls.

    python benchmarks/drift.py [--panels 5] [--without 40] [--with 10] [--samples 20 50] [--imputer softmax_regression] [--to FILE]

Each panel is 300 bulls of one breed, of a simulation of its own, without close relatives; every third of its 300 sites is typed.
A model is fitted to it and its baseline computed as the verbs do. Batches are drawn from the 900 other bulls of the breed
(without drift), or have one of these: bulls of another breed; an array that has half of the typed sites and as many
others; 5% (or 2%) of the calls replaced by one of the two other genotypes; 10% of the calls missing. Printed and written: per case
and number of samples the batches, the share with a breach, and the share in which each figure is beyond its threshold.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.files import write_text
from snpimpute.base.processes import QUIET
from snpimpute.dataset.simulate import Breed, SimulationSettings, simulate_bulls
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.baseline import Baseline, BaselineSettings, make_baseline
from snpimpute.impute.drift import CALL_RATE, MISSING_RATE, frequency_shift, judge, sample_figures
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.thresholds import WatchSettings
from snpimpute.impute.windows import WindowedModel
from snpimpute.io.write_vcf import write_vcf

N_PANEL, N_SITES, TYPED_EVERY = 300, 300, 3
BULLS = SimulationSettings(
    n_samples=1500, n_sites=N_SITES, cohorts=1, sons_per_sire=1.0, region_bp=400_000, depth=20, min_maf=0.01,
    breeds=(Breed(name="own", weight=0.8), Breed(name="other", weight=0.2)),
)  # fmt: skip
WITHOUT = "none"
CASES = ("another breed", "another array", "5% wrong calls", "2% wrong calls", "10% missing calls")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panels", type=int, default=5)
    parser.add_argument("--first", type=int, default=1, help="seed of the first panel")
    parser.add_argument("--without", type=int, default=40, help="batches without drift, of each panel and size")
    parser.add_argument("--with", type=int, default=10, dest="drifted", help="batches of each other case")
    parser.add_argument("--samples", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--imputer", default="softmax_regression")
    parser.add_argument("--to", type=Path, help="CSV of all batches")
    arguments = parser.parse_args()
    os.environ.update(QUIET)
    tables = []
    for seed in range(arguments.first, arguments.first + arguments.panels):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            tables.append(watch_panel(seed, Path(folder), arguments.imputer, arguments))
        print(f"panel {seed}: {time.monotonic() - began:.0f} s", flush=True)
    table = pd.concat(tables, ignore_index=True)
    print(table.drop(columns=["panel"]).groupby(["drift", "samples"]).mean().round(3).to_string())
    print(table.groupby(["drift", "samples"])["breach"].agg(["size", "sum"]).to_string())
    if arguments.to:
        write_text(arguments.to, table.to_csv(index=False))


def watch_panel(seed: int, folder: Path, imputer: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return a row per batch of one simulated panel: panel, drift, samples, breach, and bool for each figure."""
    rng = np.random.default_rng(seed)
    bulls = simulate_bulls(BULLS, seed).called
    own = np.flatnonzero(bulls.samples["group"] == "own")
    others = bulls.take_samples(np.flatnonzero(bulls.samples["group"] == "other"))
    drawn = rng.permutation(own)
    model, baseline = baseline_of(bulls.take_samples(drawn[:N_PANEL]), folder, imputer, seed)
    rest = bulls.take_samples(drawn[N_PANEL:])
    rows = []
    at = pd.Index(bulls.sites["id"]).get_indexer(model.sites["id"])
    for n in arguments.samples:
        for drift in (WITHOUT, *CASES):
            source = (others if drift == "another breed" else rest).take_sites(at)
            for _ in range(arguments.without if drift == WITHOUT else arguments.drifted):
                batch = source.take_samples(rng.permutation(source.n_samples)[:n])
                found = judged(model, baseline, batch, drift, rng)
                rows.append({"panel": seed, "drift": drift, "samples": n, **found})
    return pd.DataFrame(rows)


def baseline_of(panel: GenotypeMatrix, folder: Path, imputer: str, seed: int) -> tuple[WindowedModel, Baseline]:
    """Fit a model to a panel and compute its baseline, as the verbs do."""
    write_vcf(folder / "panel.vcf.gz", panel)
    typed = panel.sites.iloc[::TYPED_EVERY]
    (folder / "typed.txt").write_text("".join(f"{c}:{p}\n" for c, p in zip(typed.contig, typed.pos, strict=True)))
    settings = FitSettings(
        folder / "panel.vcf.gz", "bulls", imputer, typed=folder / "typed.txt", holdout=0.0, seed=seed
    )
    model = WindowedModel(fit(settings, folder / "runs").folder, keep_loaded=1)
    return model, make_baseline(model, BaselineSettings(folder / "panel.vcf.gz", folder / "typed.txt", seed=seed))


def judged(
    model: WindowedModel, baseline: Baseline, batch: GenotypeMatrix, drift: str, rng: np.random.Generator
) -> dict[str, bool]:
    """Return whether a batch is a breach, and whether each figure is beyond its threshold."""
    typed = baseline.typed
    if drift == "another array":
        untyped = np.setdiff1d(np.arange(batch.n_sites), typed)
        typed = np.sort(np.concatenate([typed[::2], untyped[:: len(untyped) // (len(typed) // 2)]]))
    calls = batch.calls.copy()
    if "wrong" in drift:
        wrong = rng.random(calls.shape) < float(drift.split("%")[0]) / 100
        calls[wrong] = (calls[wrong] + rng.integers(1, 3, int(wrong.sum()))) % 3
    if "missing" in drift:
        calls[rng.random(calls.shape) < 0.1] = MISSING
    lacking = ~np.isin(np.arange(batch.n_sites), typed)
    truth = replace(batch, calls=calls, haplotypes=None).hide(lacking)
    presented = truth.hide(np.isin(np.arange(batch.n_sites), baseline.hidden))
    seen = truth.calls != MISSING
    shown = truth.calls[:, baseline.judged]
    samples = sample_figures(baseline.population, shown, presented.calls, truth.calls, model.posterior(presented))
    samples[MISSING_RATE] = 1 - seen[:, baseline.typed].mean(axis=1)
    samples[CALL_RATE] = seen[:, typed].mean(axis=1)
    settings = WatchSettings()
    shift = frequency_shift(baseline.population, shown)
    table = judge(samples, shift, baseline.reference, baseline.missing, settings.alpha, settings.tolerances())
    return {"breach": bool(table["breach"].any()), **dict(zip(table["figure"], table["breach"], strict=True))}


if __name__ == "__main__":
    main()
