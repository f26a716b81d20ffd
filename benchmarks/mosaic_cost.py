"""Measure what `fit` and `impute` with mosaic cost beside Beagle, on arrays over real and simulated panels, in one run.

    python benchmarks/mosaic_cost.py [--only human cattle small large] [--threads 1] [--work FOLDER] [--to FILE]

Arrays with a tenth of the sites, chosen at random: 500 people of kg15 over the other 2,004 (10,000 sites; needs
SNPIMPUTE_PANELS), 100 bulls over the other 400 (7,250 sites), both without phase; and 100 simulated people over phased panels
of 1,000 and of 10,000 (msprime; 5,000 sites), which are 2,000 and 20,000 haplotypes. Each command is a process of its own:
`snpimpute fit` (its phasing of the panel too), `snpimpute impute` from the fitted model, Beagle's phasing of an unphased
panel, and Beagle's imputing from the phased one, with the same number of threads. Written are processor seconds, which are
valid on a busy machine too, their ratio to Beagle's, and the largest memory of the command with all its processes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from scale import simulate
from watched import watched

from snpimpute.base.files import write_text
from snpimpute.base.processes import QUIET
from snpimpute.base.programs import beagle_jar

EVERY = 10  # one site of so many is typed
SEED = 1
REAL = {"human": ("kg15/kg15.vcf.gz", 500), "cattle": ("cattle/cattle.vcf.gz", 100)}  # file, samples of the target
SIMULATED = {"small": 1_000, "large": 10_000}  # samples of the panel
N_TARGET, N_SITES = 100, 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[*REAL, *SIMULATED], choices=[*REAL, *SIMULATED])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--to", type=Path, help="CSV")
    arguments = parser.parse_args()
    os.environ.update(QUIET)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        for case in arguments.only:
            folder = (arguments.work or Path(name)) / case
            if not (folder / "target.vcf.gz").exists():
                make(case, folder)
            rows += measure(case, folder, arguments.threads)
            print(pd.DataFrame(rows).round(2).to_string(index=False), flush=True)
    if arguments.to:
        write_text(arguments.to, pd.DataFrame(rows).round(3).to_csv(index=False))


def make(case: str, folder: Path) -> None:
    """Write panel.vcf.gz and target.vcf.gz, which has the typed sites alone and no phase."""
    if case in SIMULATED:
        simulate(folder, N_SITES, SIMULATED[case], N_TARGET, EVERY)
        return
    if not os.environ.get("SNPIMPUTE_PANELS"):
        sys.exit("set SNPIMPUTE_PANELS to the folder of the panels")
    file, n_target = REAL[case]
    whole = Path(os.environ["SNPIMPUTE_PANELS"]) / file
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    names = np.array(bcftools("query", "-l", whole).split())
    target = np.zeros(len(names), dtype=bool)
    target[rng.permutation(len(names))[:n_target]] = True
    sites = bcftools("query", "-f", "%CHROM\t%POS\n", whole).splitlines()
    typed = np.sort(rng.permutation(len(sites))[: len(sites) // EVERY])
    (folder / "panel.txt").write_text("\n".join(names[~target]) + "\n")
    (folder / "target.txt").write_text("\n".join(names[target]) + "\n")
    (folder / "typed.tsv").write_text("\n".join(sites[i] for i in typed) + "\n")
    bcftools("view", "-S", folder / "panel.txt", "-Oz", "-o", folder / "panel.vcf.gz", whole)
    typed_sites = ["-T", folder / "typed.tsv"]
    bcftools("view", "-S", folder / "target.txt", *typed_sites, "-Oz", "-o", folder / "phased.vcf.gz", whole)
    unphased = bcftools("view", folder / "phased.vcf.gz").replace("0|1", "0/1").replace("1|0", "0/1").replace("|", "/")
    subprocess.run(["bgzip", "-c"], input=unphased.encode(), stdout=(folder / "part").open("wb"), check=True)
    (folder / "part").rename(folder / "target.vcf.gz")
    for part in ("panel", "target"):
        bcftools("index", "-f", "-t", folder / f"{part}.vcf.gz")


def bcftools(*arguments: str | Path) -> str:
    """Return what bcftools prints."""
    return subprocess.run(["bcftools", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(case: str, folder: Path, threads: int) -> list[dict[str, object]]:
    """Return a row a command: processor seconds, their ratio to Beagle's of the same task, memory."""
    panel, target = folder / "panel.vcf.gz", folder / "target.vcf.gz"
    memory = f"-Xmx{psutil.virtual_memory().total * 3 // 4 >> 20}m"
    beagle = ["java", memory, "-jar", str(beagle_jar()), f"nthreads={threads}", f"seed={SEED}"]
    ours = [sys.executable, "-m", "snpimpute"]
    shared = ["--runs", str(folder / "runs"), "--threads", str(threads)]
    fit = ["--imputer", "mosaic", "--name", case, "--holdout", "0%", "--typed-sites", str(target), *shared]
    impute = [*ours, "impute", str(target), "-o", str(folder / "ours.vcf.gz"), "--force", *shared]
    commands: dict[tuple[str, str], list[str]] = {}
    if case in REAL:  # what phasing costs is measured on calls without phase, which kg15 has
        unphased, phased = folder / "unphased.vcf.gz", folder / "beagle-panel"
        subprocess.run(f"bcftools view {panel} | sed '/^#/!s/|/\\//g' | bgzip -c > {unphased}", shell=True, check=True)
        commands["Beagle", "phase the panel"] = [*beagle, f"gt={unphased}", f"out={phased}"]
        commands["mosaic", "phase the panel and fit"] = [*ours, "fit", str(unphased), *fit]
        panel = phased.with_suffix(".vcf.gz")
    else:
        commands["mosaic", "fit"] = [*ours, "fit", str(panel), *fit]
    commands["Beagle", "impute"] = [*beagle, f"gt={target}", f"ref={panel}", "gp=true", f"out={folder / 'beagle'}"]
    commands["mosaic", "impute"] = impute
    rows: list[dict[str, object]] = []
    of_beagle = np.nan
    for (program, task), command in commands.items():
        if (program, task) == (
            "mosaic",
            "impute",
        ):  # by the model's folder: asking MLflow for it by name takes 2.4 s more
            command = [*command, "--model", str(next((folder / "runs" / "models").glob("*/model")))]
        passed, used, memory_mb = watched(command)
        of_beagle = used if program == "Beagle" else of_beagle
        row = {"panel": case, "program": program, "task": task, "processor_s": used, "of_beagle": used / of_beagle}
        rows.append(row | {"elapsed_s": passed, "memory_mb": memory_mb})
    return rows


if __name__ == "__main__":
    main()
