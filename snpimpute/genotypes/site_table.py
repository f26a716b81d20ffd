"""Table of sites as it lies beside what was learned at them: tab-separated, a row per site."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def write_sites(path: Path, sites: pd.DataFrame) -> None:
    """Write sites, columns as those of a matrix (genotypes.matrix.SITE_COLUMNS) or more."""
    sites.to_csv(path, sep="\t", index=False)


def read_sites(path: Path) -> pd.DataFrame:
    """Read what `write_sites` wrote: names of contigs and sites stay strings, whatever they look like."""
    return pd.read_csv(path, sep="\t", dtype={"contig": str, "id": str}, keep_default_na=False)
