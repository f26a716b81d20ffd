"""Compare the speed of reading a target and writing imputed genotypes with bcftools rewriting the written file.

    python benchmarks/output_speed.py [--samples 2000] [--sites 4000] [--threads 2] [--rounds 5] [--suffix .vcf.gz]

Two cases: *array* (the target has every tenth site, with all calls) and *sporadic* (it has all sites, with one call in fifty
missing). Each round times our program (read the target's records and calls with cyvcf2 as `impute` does, write every site,
write the index), and then `bcftools view` of the written file, with the same number of threads, into a file of the same
format. The posteriors are made before the clock starts, as one block that is written repeatedly at new positions. Printed
are medians over the rounds of elapsed seconds, of processor seconds, and of the ratios of a round; above 1 our program is
faster. bcftools writes no index; the time of our index is included. On a busy machine the processor seconds are more
reliable.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.io.imputed import ImputedSites, ImputedWriter
from snpimpute.io.write_vcf import write_vcf

BLOCK = 500  # number of sites that are written together, as in a window
EVERY = 10  # an array's target has one in this many sites
HOLES = 0.02  # share of missing calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--sites", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--suffix", choices=[".vcf.gz", ".bcf", ".vcf"], default=".vcf.gz")
    arguments = parser.parse_args()
    kind = {".vcf.gz": "-Oz", ".bcf": "-Ob", ".vcf": "-Ov"}[arguments.suffix]
    print(
        f"{'case':10}{'MB':>6}   {'seconds: ours':>14}{'bcftools':>10}{'ratio':>7}   {'processor s: ours':>18}{'bcftools':>10}{'ratio':>7}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in ("array", "sporadic"):
            made = Made(folder, case, arguments.samples, arguments.sites)
            out, again = folder / f"out{arguments.suffix}", folder / f"again{arguments.suffix}"
            rewrite = ["bcftools", "view", kind, "--threads", str(arguments.threads), "-o", str(again), str(out)]
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                ours.append(seconds(partial(made.impute, out, arguments.threads)))
                theirs.append(seconds(partial(subprocess.run, rewrite, check=True)))
            text = ["bcftools", "view", str(out)]
            size = len(subprocess.run(text, check=True, capture_output=True).stdout) / 1e6
            a, b = np.median(ours, axis=0), np.median(theirs, axis=0)
            ratio = np.median(np.array(theirs) / np.array(ours), axis=0)
            print(
                f"{case:10}{size:6.0f}   {a[0]:14.2f}{b[0]:10.2f}{ratio[0]:7.2f}   {a[1]:18.2f}{b[1]:10.2f}{ratio[1]:7.2f}",
                flush=True,
            )


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Return elapsed seconds and processor seconds (of this process and its child processes)."""

    def used() -> float:
        times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(t.ru_utime + t.ru_stime for t in times)

    begin, used_before = time.perf_counter(), used()
    run()
    return time.perf_counter() - begin, used() - used_before


class Made:
    """A target with posteriors for it."""

    def __init__(self, folder: Path, case: str, n_samples: int, n_sites: int) -> None:
        rng = np.random.default_rng(1)
        frequency = rng.beta(0.5, 1.0, BLOCK)
        truth = rng.binomial(2, frequency, (n_samples, BLOCK)).astype(np.int8)
        hidden = np.ones(truth.shape, dtype=bool) if case == "array" else rng.random(truth.shape) < HOLES
        if case == "array":
            hidden[:, ::EVERY] = False
        weights = np.full((*truth.shape, 3), 0.05)
        sure = rng.choice(
            [0.5, 3.0, 20.0, 60.0], truth.shape
        )  # how sure an imputer is: most calls nearly, some not at all
        np.put_along_axis(weights, truth[:, :, None].astype(int), sure[:, :, None], axis=2)
        drawn = rng.gamma(weights)
        posterior = drawn / drawn.sum(axis=2, keepdims=True)
        self.posterior = np.where(hidden[:, :, None], posterior, np.eye(3)[truth]).astype(np.float32)
        self.observed = np.where(hidden, np.int8(MISSING), truth)
        self.typed = ~hidden.all(axis=0)
        self.n_sites = n_sites
        samples = pd.DataFrame({"sample": [f"s{i}" for i in range(n_samples)]})
        blocks = [self.sites(start)[self.typed] for start in range(0, n_sites, BLOCK)]
        calls = np.tile(self.observed[:, self.typed], len(blocks))
        self.target = folder / f"{case}.vcf.gz"
        write_vcf(self.target, GenotypeMatrix(calls, samples, pd.concat(blocks, ignore_index=True)))

    def sites(self, start: int) -> pd.DataFrame:
        positions = 100 * (np.arange(BLOCK) + start) + 1
        return pd.DataFrame({"contig": "1", "pos": positions, "id": "", "ref": "A", "alt": "C"})

    def impute(self, out: Path, threads: int) -> None:
        """Read the target and write the file."""
        from cyvcf2 import VCF

        vcf = VCF(str(self.target))
        swapped = np.zeros(BLOCK, dtype=bool)
        about = {"model": "benchmark"}
        with ImputedWriter(out, vcf.raw_header, vcf.samples, contigs=["1"], about=about, threads=threads) as writer:
            for start in range(0, self.n_sites, BLOCK):
                records: list[str | None] = [None] * BLOCK
                for j in np.flatnonzero(self.typed).tolist():
                    record = next(vcf)
                    record.genotype.array()
                    records[j] = str(record)
                writer.write(ImputedSites(self.sites(start), self.posterior, self.observed, records, swapped))


if __name__ == "__main__":
    main()
