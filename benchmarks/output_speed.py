"""How fast the reading of a target and the writing of imputed genotypes are, against bcftools that rewrites what was written.

    python benchmarks/output_speed.py [--samples 2000] [--sites 4000] [--threads 2] [--rounds 5] [--suffix .vcf.gz]

Two cases: *array* (the target has every tenth site, all calls there) and *sporadic* (it has all sites, one call in fifty
missing). Each round times, one after the other, ours (read the target's records and calls with cyvcf2 as `impute` does,
write every site, index) and `bcftools view` of the file that came out, with the same number of threads, into one of the
same kind. The posteriors are made before the clock starts, one block that is written again and again at new positions.
Printed are the medians over the rounds and their ratio: above 1, ours is faster. bcftools writes no index; what ours
takes for its own is within its seconds. `prints` is ours without compression and index.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.genotypes import MISSING, GenotypeMatrix
from snpimpute.io.imputed import ImputedSites, ImputedWriter
from snpimpute.io.vcf import write_vcf

BLOCK = 500  # sites that are written together, as a window gives them
EVERY = 10  # of the sites, one is in an array's target
HOLES = 0.02


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--samples", type=int, default=2000)
    asked.add_argument("--sites", type=int, default=4000)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--suffix", choices=[".vcf.gz", ".bcf", ".vcf"], default=".vcf.gz")
    arguments = asked.parse_args()
    kind = {".vcf.gz": "-Oz", ".bcf": "-Ob", ".vcf": "-Ov"}[arguments.suffix]
    print(f"{'case':10}{'ours s':>9}{'bcftools s':>12}{'prints s':>10}{'ratio':>8}{'MB':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in ("array", "sporadic"):
            made = Made(folder, case, arguments.samples, arguments.sites)
            out, again = folder / f"out{arguments.suffix}", folder / f"again{arguments.suffix}"
            rewrite = ["bcftools", "view", kind, "--threads", str(arguments.threads), "-o", str(again), str(out)]
            ours, theirs, prints = [], [], []
            for _ in range(arguments.rounds):
                ours.append(seconds(lambda: made.impute(out, arguments.threads)))  # noqa: B023
                theirs.append(seconds(lambda: subprocess.run(rewrite, check=True)))  # noqa: B023
                prints.append(seconds(lambda: made.impute(Path("/dev/shm/snpimpute-prints.vcf"), 1)))  # noqa: B023
            size = Path("/dev/shm/snpimpute-prints.vcf").stat().st_size / 1e6
            a, b, c = (statistics.median(times) for times in (ours, theirs, prints))
            print(f"{case:10}{a:9.2f}{b:12.2f}{c:10.2f}{b / a:8.2f}{size:8.0f}", flush=True)


def seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


class Made:
    """A target, and posteriors for it."""

    def __init__(self, folder: Path, case: str, n_samples: int, n_sites: int) -> None:
        rng = np.random.default_rng(1)
        frequency = rng.beta(0.5, 1.0, BLOCK)
        truth = rng.binomial(2, frequency, (n_samples, BLOCK)).astype(np.int8)
        hidden = np.ones(truth.shape, dtype=bool) if case == "array" else rng.random(truth.shape) < HOLES
        if case == "array":
            hidden[:, ::EVERY] = False
        weights = np.full((*truth.shape, 3), 0.05)
        sure = rng.choice([0.5, 3.0, 20.0, 60.0], truth.shape)  # how sure an imputer is: most calls nearly, some not at all
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
