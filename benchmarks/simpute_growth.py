"""Measure the growth of Simpute's time with missing calls, positions, samples and sites, and compare with Beagle.

    python benchmarks/simpute_growth.py [--rounds 3] [--vcf panel.vcf.gz] [--beagle-sites 500] [--beagle-samples 500]
    python benchmarks/simpute_growth.py --rounds 0 --vcf panel.vcf.gz --whole

Each part of the table doubles one quantity and keeps the others. Seconds are of processor time (the least of the rounds,
one thread), and are valid on a busy machine too. With --vcf, one call in a hundred of that file is hidden. Simpute imputes
the whole file, and the largest memory of the process is printed. Then Simpute and Beagle without a reference (its defaults,
one thread) impute the same part from its middle, one after the other; with --whole the whole file, which takes Beagle a
quarter of an hour for 2,504 people and 10,000 sites. Beagle's seconds are those of its process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.provenance import peak_memory_mb
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers.contract import Imputer, impute
from snpimpute.imputers.simpute import Simpute

SAMPLES, SITES, POSITIONS, PERCENT = 500, 4000, 400, 8.0
DOUBLED = 4  # sizes of each part of the table
MISSING_PERCENT = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vcf", type=Path, help="compare with Beagle on this file")
    parser.add_argument("--beagle-sites", type=int, default=500)
    parser.add_argument("--beagle-samples", type=int, default=500)
    parser.add_argument("--whole", action="store_true", help="compare on all of the file")
    arguments = parser.parse_args()
    if arguments.rounds:
        show_growth(arguments.rounds)
    if arguments.vcf:
        cut = (0, 0) if arguments.whole else (arguments.beagle_sites, arguments.beagle_samples)
        compare_with_beagle(arguments.vcf, *cut)


def show_growth(rounds: int) -> None:
    """Print processor seconds, and their ratio to those of half the size."""
    print(f"{'doubled':20}{'samples':>8}{'sites':>8}{'positions':>11}{'missing':>9}{'s':>9}{'ratio':>7}")
    for doubled, cases in parts():
        before = None
        for n_samples, n_sites, n_positions, percent in cases:
            target = masked(n_samples, n_sites, n_positions, percent)
            model = Simpute().fit(target.take_samples(slice(0)))
            seconds = min(processor_seconds(partial(fill, model, target))[0] for _ in range(rounds))
            ratio = f"{seconds / before:7.2f}" if before else ""
            n_missing = int((target.calls == MISSING).sum())
            print(f"{doubled:20}{n_samples:8}{n_sites:8}{n_positions:11}{n_missing:9}{seconds:9.3f}{ratio}", flush=True)
            before = seconds


def parts() -> Iterator[tuple[str, list[tuple[int, int, int, float]]]]:
    """Yield the doubled quantity and its cases: samples, sites, positions with missing calls, percent missing there."""
    times = [2**i for i in range(DOUBLED)]
    yield "missing calls", [(SAMPLES, SITES, POSITIONS, PERCENT * t) for t in times]
    yield "positions", [(SAMPLES, SITES, POSITIONS * t, PERCENT / t) for t in times]
    yield "samples", [(SAMPLES * t, SITES, POSITIONS, PERCENT / t) for t in times]
    yield "sites", [(SAMPLES, SITES * t, POSITIONS, PERCENT) for t in times]


def masked(n_samples: int, n_sites: int, n_positions: int, percent: float) -> GenotypeMatrix:
    """Return random calls, of which a share is missing at evenly spaced positions."""
    rng = np.random.default_rng(1)
    calls = rng.binomial(2, rng.uniform(0.1, 0.5, n_sites), (n_samples, n_sites)).astype(np.int8)
    positions = np.linspace(0, n_sites - 1, n_positions).astype(int)
    hidden = np.zeros(calls.shape, dtype=bool)
    hidden[:, positions] = rng.random((n_samples, n_positions)) < percent / 100
    calls[hidden] = MISSING
    samples = pd.DataFrame({"sample": [f"s{i}" for i in range(n_samples)]})
    sites = pd.DataFrame({"contig": "1", "pos": np.arange(n_sites) + 1, "id": "", "ref": "A", "alt": "C"})
    return GenotypeMatrix(calls, samples, sites)


def compare_with_beagle(vcf: Path, n_sites: int, n_samples: int) -> None:
    """Print seconds and error rate of Simpute on the whole file, and of both on a part of it (0 sites: the whole)."""
    from snpimpute.imputers.beagle import Beagle
    from snpimpute.io.matrix import read_matrix

    truth, _ = read_matrix(vcf)
    quick = time_one("Simpute", Simpute(), truth)
    print(f"{'':9}largest memory of the process, reading the file included: {peak_memory_mb():.0f} MB")
    cut = truth
    if n_sites and n_samples:
        first = max((truth.n_sites - n_sites) // 2, 0)
        samples = np.sort(np.random.default_rng(1).permutation(truth.n_samples)[:n_samples])
        cut = truth.take_sites(slice(first, first + n_sites)).take_samples(samples)
        quick = time_one("Simpute", Simpute(), cut)
    slow = time_one("Beagle", Beagle(Beagle.parse_params({"mode": "alone"})), cut)
    print(f"Beagle takes {slow / quick:.0f} times the processor seconds{' on the cut' if cut is not truth else ''}")


def time_one(name: str, imputer: Imputer, truth: GenotypeMatrix) -> float:
    """Return processor seconds to fit and impute, and print them with the error rate at the hidden calls."""
    hidden = np.random.default_rng(2).random(truth.calls.shape, dtype=np.float32) < MISSING_PERCENT / 100
    target = truth.hide(hidden)
    begin = time.perf_counter()
    seconds, calls = processor_seconds(lambda: fill(imputer.fit(target.take_samples(slice(0))), target))
    passed = time.perf_counter() - begin
    error = (calls != truth.calls)[hidden & (truth.calls != MISSING)].mean()
    print(
        f"{name:9}{truth.n_samples} × {truth.n_sites}, {hidden.sum()} missing: "
        f"{seconds:.2f} processor s ({passed:.1f} s passed), error rate {100 * error:.2f}%",
        flush=True,
    )
    return seconds


def fill(imputer: Imputer, target: GenotypeMatrix) -> np.ndarray:
    return impute(imputer, target).calls


def processor_seconds(run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return the processor seconds of `run`, with its child processes, and its result."""

    def now() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in used)

    begin = now()
    given = run()
    return now() - begin, given


if __name__ == "__main__":
    main()
