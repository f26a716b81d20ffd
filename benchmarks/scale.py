"""Measure time and memory of an imputation by the number of sites, and those of Beagle.

    python benchmarks/scale.py [--sites 25000 100000] [--samples 2000] [--panel 500] [--imputer softmax_regression]
                               [--params FILE] [--typed 0.1] [--threads 2] [--work FOLDER] [--no-beagle]

The benchmark shows whether memory is bounded and time is linear. For each number of sites a panel and a target are
simulated (msprime: a population of 10,000, joined pieces of 10,000 sites). The target has every tenth site. `snpimpute fit`
learns from the panel with the target's sites as typed sites, `snpimpute impute` writes all sites, and Beagle does the same
from the same files in the same run. Printed are elapsed seconds, processor seconds, the largest memory of the command with
all its processes (resident, summed; shared memory counts for each of them), and the throughput relative to Beagle's, by
processor seconds. Fitting is done once for a panel, imputing for every target. With --work, files stay and are used again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
from watched import watched

from snpimpute.base.processes import QUIET
from snpimpute.base.programs import beagle_jar

PIECE = 10_000  # number of sites that are simulated together
PIECE_BP = 12_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[25_000, 100_000])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--panel", type=int, default=500)
    parser.add_argument("--imputer", default="softmax_regression")
    parser.add_argument("--params", type=Path, help="TOML; a network's epochs do not change how long it imputes")
    parser.add_argument("--typed", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--no-beagle", action="store_true")
    arguments = parser.parse_args()
    os.environ.update(QUIET)
    print(f"{'sites':>8} {'command':26} {'seconds':>8} {'processor':>10} {'MB':>7} {'× Beagle':>9}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for n_sites in arguments.sites:
            folder = (arguments.work or Path(name)) / f"{n_sites}"
            if not (folder / "target.vcf.gz").exists():
                simulate(folder, n_sites, arguments.panel, arguments.samples, round(1 / arguments.typed))
            measure(folder, n_sites, arguments)


def measure(folder: Path, n_sites: int, arguments: argparse.Namespace) -> None:
    """Run and time the commands, and print a line for each."""
    ours, threads = [sys.executable, "-m", "snpimpute"], ["--threads", str(arguments.threads)]
    panel, target = str(folder / "panel.vcf.gz"), str(folder / "target.vcf.gz")
    runs = ["--runs", str(folder / "runs")]
    name = f"scale-{arguments.imputer}"
    fit = [*ours, "fit", panel, "--imputer", arguments.imputer, "--name", name, "--holdout", "0%", *runs, *threads]
    fit += ["--typed-sites", target]
    fit += ["--params", str(arguments.params)] if arguments.params else []
    impute = [*ours, "impute", target, "-o", str(folder / "ours.vcf.gz"), "--model", name, "--force", *runs, *threads]
    commands = {f"{arguments.imputer} fit": fit, f"{arguments.imputer} impute": impute}
    if not arguments.no_beagle:
        memory = f"-Xmx{psutil.virtual_memory().total * 3 // 4 >> 20}m"
        beagle = ["java", memory, "-jar", str(beagle_jar()), f"gt={target}", f"ref={panel}", f"out={folder / 'beagle'}"]
        commands["Beagle"] = [*beagle, f"nthreads={arguments.threads}", "gp=true"]
    kept = folder / "measured.json"
    measured = json.loads(kept.read_text()) if kept.exists() else {}
    for what, command in commands.items():
        if what not in measured:
            measured[what] = watched(command)
            kept.write_text(json.dumps(measured))
    beagle_used = measured.get("Beagle", (np.nan,) * 3)[1]
    for what in commands:
        passed, used, memory_mb = measured[what]
        ratio = f"{beagle_used / used:9.1f}" if what.endswith(" impute") else ""
        print(f"{n_sites:8} {what:26} {passed:8.0f} {used:10.0f} {memory_mb:7.0f} {ratio}", flush=True)


def simulate(folder: Path, n_sites: int, n_panel: int, n_target: int, every: int, seed: int = 0) -> None:
    """Write panel.vcf.gz (phased, all sites) and target.vcf.gz (unphased, every `every`th site); other seeds are 1,000 apart."""
    import msprime

    folder.mkdir(parents=True, exist_ok=True)
    parts = {"panel": (0, n_panel, 1), "target": (n_panel, n_panel + n_target, every)}
    pipes = {}
    for part, (first, last, _) in parts.items():
        out = (folder / f"{part}.part").open("wb")
        pipes[part] = subprocess.Popen(["bgzip", "-c"], stdin=subprocess.PIPE, stdout=out)
        names = "\t".join(f"s{i}" for i in range(first, last))
        head = "##fileformat=VCFv4.2\n##contig=<ID=1>\n"
        head += '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        head += f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{names}\n"
        pipes[part].stdin.write(head.encode())
    written = 0
    for piece in range(-(-n_sites // PIECE)):
        trees = msprime.sim_ancestry(
            n_panel + n_target,
            population_size=10_000,
            recombination_rate=1e-8,
            sequence_length=PIECE_BP,
            random_seed=seed + piece + 1,
        )
        trees = msprime.sim_mutations(
            trees, rate=2.5e-8, model=msprime.BinaryMutationModel(), random_seed=seed + piece + 1
        )
        kept = 0
        for variant in trees.variants():
            alleles = variant.genotypes
            count = int(alleles[: 2 * n_panel].sum())
            if not 0.01 * 2 * n_panel <= count <= 0.99 * 2 * n_panel:
                continue
            for part, (first, last, step) in parts.items():
                if written % step == 0:
                    own = alleles[2 * first : 2 * last].astype(np.uint8) + ord("0")
                    text = np.empty((last - first, 4), dtype=np.uint8)
                    text[:, 0], text[:, 2] = own[::2], own[1::2]
                    text[:, 1], text[:, 3] = ord("|" if part == "panel" else "/"), ord("\t")
                    position = piece * PIECE_BP + int(variant.site.position) + 1
                    line = f"1\t{position}\t.\tA\tC\t.\tPASS\t.\tGT\t".encode() + text.tobytes()[:-1] + b"\n"
                    pipes[part].stdin.write(line)
            written, kept = written + 1, kept + 1
            if kept == PIECE or written == n_sites:
                break
        else:
            sys.exit(f"a piece of {PIECE_BP} bases has {kept} sites, not {PIECE}")
    for part, pipe in pipes.items():
        pipe.stdin.close()
        if pipe.wait():
            sys.exit("bgzip failed")
        (folder / f"{part}.part").rename(folder / f"{part}.vcf.gz")
        subprocess.run(["bcftools", "index", "-f", "-t", folder / f"{part}.vcf.gz"], check=True)


if __name__ == "__main__":
    main()
