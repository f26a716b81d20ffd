"""Regions of neighbouring sites cut out of a matrix, each a contig of its own: many small inputs in one dataset."""

from __future__ import annotations

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix


def cut_regions(matrix: GenotypeMatrix, sites: int, count: int, min_r2: float | None, seed: int) -> pd.DataFrame:
    """Draw disjoint regions of neighbouring sites.

    Each contig is divided from its start into as many regions as fit; `count` of all these are drawn.

    Args:
        matrix: the whole data.
        sites: number of sites of a region.
        count: number of regions.
        min_r2: least r² (exclusive) of each site of a region and the next, over all samples; None = any.
        seed: seed of the draw.

    Returns:
        The sites table of the regions, in file order. Its index holds the numbers of the sites in `matrix`; its contig
        names the region: `15.0007` is the seventh region drawn, on contig 15.

    Raises:
        InputError: there are fewer such regions (says how many).
    """
    r2 = matrix.r2_to_next()
    joined = ~np.isnan(r2) if min_r2 is None else r2 > min_r2
    starts = []
    run = 1  # linked sites up to the present one that are in no region yet
    for site in range(1, matrix.n_sites):
        run = run + 1 if joined[site - 1] and run else 1
        if run == sites:
            starts.append(site - sites + 1)
            run = 0
    if len(starts) < count:
        linked = "" if min_r2 is None else f" with r² above {min_r2:g} between neighbours"
        raise InputError(
            f"the data hold {len(starts)} regions of {sites} sites{linked}, and {count} are wanted: ask for fewer"
        )
    drawn = np.sort(np.random.default_rng(seed).permutation(starts)[:count])
    table = matrix.sites.reset_index(drop=True).iloc[(drawn[:, None] + np.arange(sites)).ravel()]
    number = np.repeat(np.arange(1, count + 1), sites)
    return table.assign(contig=[f"{contig}.{n:04d}" for contig, n in zip(table["contig"], number, strict=True)])
