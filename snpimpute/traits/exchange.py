"""Dosages as plink2, PLINK 1.9 and GEMMA read them, and one way to run these programs.

Sites go through the programs as s0, s1, … and samples as i0, i1, …; contigs become autosomes 1, 2, …: to the programs a 23 is
the human X, and what they do not know they leave out of LD and blocks. What they return is put back by these names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.programs import program, run_program

if TYPE_CHECKING:
    from snpimpute.traits.dosages import Dosages

MOST_CONTIGS = 95  # autosomes that plink2 and PLINK 1.9 can have
STEPS = 16_384  # of a dosage, per ALT: what plink2 holds
MEMORY_MB = 2048  # by default plink2 takes half of the machine's memory
HARD_CALLS = "0.49999"  # farthest from a whole number that a dosage is to be a call, for LD and blocks
NEEDED_BY = {  # what needs a program, and how to get it
    "plink2": ("testing or fine-mapping sites", "Debian: apt-get install plink2"),
    "plink1.9": ("a search for clumps and haplotype blocks", "Debian: apt-get install plink1.9"),
    "gemma": ("the mixed model", "Debian: apt-get install gemma"),
}


def write_dosages(folder: Path, dosages: Dosages) -> None:
    """Write dosages for the programs into a folder, as genotypes.txt, sites.map and samples.fam.

    genotypes.txt has a line per site: name, ALT, REF and the number of ALTs of each sample, NA where missing. It is the "mean
    genotype file" of GEMMA, and plink2 imports it. Dosages are rounded to 1/16384, so that both test the same numbers.

    Raises:
        InputError: the sites are on more than 95 contigs.
    """
    contigs = list(dict.fromkeys(dosages.sites.contig))
    if len(contigs) > MOST_CONTIGS:
        raise InputError(
            f"{dosages.name} has sites on {len(contigs)} contigs, and plink2 takes {MOST_CONTIGS}: choose some by --region"
        )
    number = {contig: i for i, contig in enumerate(contigs, start=1)}
    spelled = np.array([f"{step / STEPS:.6f}\t".encode() for step in range(2 * STEPS + 1)] + [b"NA      \t"])
    with (folder / "genotypes.txt").open("wb") as file:
        for j, (ref, alt) in enumerate(zip(dosages.sites.ref, dosages.sites.alt, strict=True)):
            values = dosages.values[:, j]
            steps = np.where(np.isfinite(values), np.rint(np.nan_to_num(values) * np.float64(STEPS)), 2 * STEPS + 1)
            line = spelled[steps.astype(np.int64)].tobytes()[:-1].rstrip()
            file.write(f"s{j}\t{alt}\t{ref}\t".encode() + line + b"\n")
    table = pd.DataFrame(
        {
            "contig": dosages.sites.contig.map(number),
            "site": [f"s{j}" for j in range(dosages.n_sites)],
            "cm": 0,
            "pos": dosages.sites.pos,
        }
    )
    table.to_csv(folder / "sites.map", sep="\t", index=False, header=False)
    rows = (f"0\ti{i}\t0\t0\t0\t-9\n" for i in range(dosages.n_samples))
    (folder / "samples.fam").write_text("".join(rows))


def import_dosages(folder: Path, name: str = "data") -> None:
    """Have plink2 make NAME.pgen, NAME.pvar and NAME.psam of what `write_dosages` wrote into a folder."""
    source = ["--import-dosage", "genotypes.txt", "noheader", "format=1", "ref-last", "--fam", "samples.fam"]
    options = ["--map", "sites.map", "--hard-call-threshold", HARD_CALLS, "--make-pgen", "--out", name]
    run_plink2([*source, *options], folder)


def run_plink2(arguments: Sequence[str], folder: Path, threads: int = 1) -> None:
    """Run plink2 in a folder; InputError in one line if it is missing or fails."""
    common = ["--chr-set", str(MOST_CONTIGS), "no-x", "no-y", "no-xy", "no-mt"]
    common += ["--threads", str(threads), "--memory", str(MEMORY_MB)]
    run_tool("plink2", [*arguments, *common], folder)


def run_tool(name: str, arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a program of NEEDED_BY in a folder and return what it printed; InputError in one line if it is missing or fails.

    Variables of `env` are added to the environment.
    """
    path = program(name, *NEEDED_BY[name])
    done = run_program([path, *arguments], cwd=folder, env=None if env is None else {**os.environ, **env})
    said = done.stdout + done.stderr
    if done.returncode != 0:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        at = next((i for i, line in enumerate(lines) if line.lower().startswith("error")), max(len(lines) - 1, 0))
        raise InputError(f"{name} failed: {' '.join(lines[at : at + 3])[:300] or 'it gave no message'}")
    return said


def tool_version(name: str) -> str:
    """Return the first line that a program of NEEDED_BY prints without arguments, its version; InputError if it is missing."""
    with work_folder("version") as folder:
        return next(iter(run_tool(name, [], folder).strip().splitlines()), name)


def site_numbers(names: Sequence[str]) -> np.ndarray:
    """Return the numbers of sites by the names that they have in the programs, int (n,)."""
    return np.array([int(name[1:]) for name in names], dtype=np.intp)
