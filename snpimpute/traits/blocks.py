"""Blocks, clumps and pruned sites: found by PLINK 1.9 and plink2 in the dosages rounded to calls, or blocks given as BED."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.traits.annotations import Stretches
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.exchange import MOST_CONTIGS, import_dosages, run_plink2, run_tool, site_numbers, write_dosages

CHROMOSOMES = ("--chr-set", str(MOST_CONTIGS), "no-x", "no-y", "no-xy", "no-mt")
BLOCK_COLUMNS = ["block", "contig", "start", "end", "sites"]
CLUMP_R2 = 0.1
CLUMP_KB = PRUNE_KB = 500
WORTH_A_CLUMP = 1e-4  # largest p of a site that is counted to a clump


def haplotype_blocks(dosages: Dosages) -> tuple[pd.DataFrame, np.ndarray]:
    """Find haplotype blocks (Gabriel et al. 2002) by PLINK 1.9, at its defaults: sites of MAF 5% or more, 200 kb at most.

    Returns:
        A row per block: `block` (B1, B2, … in the file's order), `contig`, `start`, `end` (1-based, both sites of the block),
        `sites` (all between them); and int (n_sites,) the row of the block in which each site lies, -1 = none.

    Raises:
        InputError: PLINK 1.9 is missing, or fails.
    """
    with work_folder("blocks") as folder:
        _make_bed(folder, dosages)
        common = ["--bfile", "data", "--allow-no-sex", "--memory", "1024", "--threads", "1", "--out", "found"]
        run_tool("plink1.9", [*common, "--blocks", "no-pheno-req", *CHROMOSOMES], folder)
        path = folder / "found.blocks"
        lines = path.read_text().splitlines() if path.exists() else []
    ends = [site_numbers([line.split()[1], line.split()[-1]]) for line in lines]
    return _table([(int(first), int(last)) for first, last in ends], dosages)


def given_blocks(path: Path, dosages: Dosages) -> tuple[pd.DataFrame, np.ndarray]:
    """Return blocks that a BED lists, as `haplotype_blocks` does; those without a site are left out.

    Raises:
        InputError: it cannot be read, is no BED, or none of its blocks has a site.
    """
    stretches = Stretches.of_bed(path, "the blocks")
    ends = []
    for row in range(len(stretches.table)):
        inside = np.flatnonzero(stretches.holds(row, dosages.sites))
        if len(inside):
            ends.append((int(inside[0]), int(inside[-1])))
    if not ends:
        raise InputError(f"{path.name} has no block that holds a site of {dosages.name}: look at the contigs' names")
    return _table(sorted(ends), dosages)


def _table(ends: Sequence[tuple[int, int]], dosages: Dosages) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the blocks between numbers of sites as a table, and the row of the block of each site."""
    row_of = np.full(dosages.n_sites, -1)
    rows = []
    for row, (first, last) in enumerate(ends):
        row_of[first : last + 1] = np.where(row_of[first : last + 1] < 0, row, row_of[first : last + 1])
        contig, start, end = dosages.sites.contig[first], int(dosages.sites.pos[first]), int(dosages.sites.pos[last])
        rows.append((f"B{row + 1}", contig, start, end, last + 1 - first))
    return pd.DataFrame(rows, columns=BLOCK_COLUMNS), row_of


def clumps(dosages: Dosages, negative_logs: np.ndarray, p: float) -> list[tuple[int, list[int]]]:
    """Clump sites by LD to those with smaller p-values (PLINK 1.9 --clump: r² above .1 within 500 kb).

    Args:
        dosages: the sites.
        negative_logs: float (n_sites,), −log₁₀ of their p-values.
        p: largest p-value of a leading site.

    Returns:
        Number of each leading site, smallest p first, and of the sites that are in its clump.

    Raises:
        InputError: PLINK 1.9 is missing, or fails.
    """
    if not (negative_logs >= -np.log10(p)).any():
        return []
    with work_folder("clumps") as folder:
        _make_bed(folder, dosages)
        rows = [f"s{j}\t{max(10.0**-log, 1e-300):.6g}\n" for j, log in enumerate(negative_logs)]
        (folder / "p.txt").write_text("SNP\tP\n" + "".join(rows))
        command = ["--bfile", "data", "--allow-no-sex", "--memory", "1024", "--threads", "1", "--out", "found"]
        command += ["--clump", "p.txt", "--clump-p1", str(p), "--clump-p2", str(max(p, WORTH_A_CLUMP))]
        run_tool("plink1.9", [*command, "--clump-r2", str(CLUMP_R2), "--clump-kb", str(CLUMP_KB), *CHROMOSOMES], folder)
        path = folder / "found.clumped"
        table = pd.read_csv(path, sep=r"\s+", dtype=str) if path.exists() else pd.DataFrame({"SNP": [], "SP2": []})
    found = []
    for lead, others in zip(table.SNP, table.SP2, strict=True):
        members = [] if others == "NONE" else [name.split("(")[0] for name in others.split(",")]
        found.append((int(site_numbers([lead])[0]), site_numbers(members).tolist()))
    return found


def unpruned(dosages: Dosages, r2: float) -> np.ndarray:
    """Return the sites that LD pruning keeps, bool (n_sites,): of two within 500 kb with a larger r² one goes (plink2 --indep-pairwise).

    Args:
        dosages: the sites.
        r2: largest r² between two that are kept.

    Raises:
        InputError: plink2 is missing, or fails.
    """
    with work_folder("pruning") as folder:
        write_dosages(folder, dosages)
        import_dosages(folder)
        window = [
            "--indep-pairwise",
            f"{PRUNE_KB}kb",
            str(r2),
            "--bad-ld",
        ]  # fewer than 50 samples are the user's choice
        run_plink2(["--pfile", "data", *window, "--out", "found"], folder)
        kept = site_numbers((folder / "found.prune.in").read_text().split())
    found = np.zeros(dosages.n_sites, dtype=bool)
    found[kept] = True
    return found


def _make_bed(folder: Path, dosages: Dosages) -> None:
    """Make data.bed of dosages in a folder, each rounded to the next call."""
    write_dosages(folder, dosages)
    import_dosages(folder)
    run_plink2(["--pfile", "data", "--make-bed", "--out", "data"], folder)
