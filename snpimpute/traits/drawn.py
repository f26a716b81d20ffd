"""Draws of an imputed file, as `impute --draws` writes them: found in their folder, and read at the file's sites and samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, site_keys
from snpimpute.io.stream import GENOTYPE_SUFFIXES
from snpimpute.traits.dosages import Dosages, read_dosages

FEWEST = 2  # draws: one says nothing of how they differ


def draw_files(folder: Path) -> list[Path]:
    """Return the genotype files of a folder, by name.

    Raises:
        InputError: it is no folder, or has fewer than two.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder of draws: snpimpute impute --draws 20 makes one beside the imputed file"
        )
    found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(GENOTYPE_SUFFIXES))
    if len(found) < FEWEST:
        raise InputError(
            f"{folder} has {len(found)} genotype files: draws are {FEWEST} at least (snpimpute impute --draws 20)"
        )
    return found


def read_drawn(files: Sequence[Path], like: Dosages, region: str | None = None) -> np.ndarray:
    """Read draws at the sites and samples of an imputed file, int8 (n_draws, n_samples, n_sites), -1 = missing.

    Args:
        files: of the draws.
        like: the imputed file, or some of its sites and samples.
        region: that holds these sites; None = all.

    Raises:
        InputError: a draw cannot be read, lacks a site or a sample, or holds dosages.
    """
    keys = site_keys(like.sites)
    out = np.empty((len(files), like.n_samples, like.n_sites), dtype=np.int8)
    for number, file in enumerate(files):
        read = read_dosages(file, region=region)
        column = {key: j for j, key in enumerate(site_keys(read.sites))}
        row = {name: i for i, name in enumerate(read.samples)}
        for what, wanted, own in (("site", keys, column), ("sample", like.samples, row)):
            if (absent := next((name for name in wanted if name not in own), None)) is not None:
                raise InputError(
                    f"{file.name} lacks {what} {absent} of {like.name}: draws are those of the same imputation"
                )
        values = read.values[np.ix_([row[name] for name in like.samples], [column[key] for key in keys])]
        values = np.where(np.isfinite(values), values, MISSING)
        if (values != np.rint(values)).any():
            raise InputError(f"{file.name} holds dosages, not drawn genotypes: snpimpute impute --draws 20 draws some")
        out[number] = values
    return out


def centred_draw(draw: np.ndarray) -> np.ndarray:
    """Return a draw, int8 (n_samples, n_sites), less its site's mean, float64; 0 where missing."""
    seen = draw != MISSING
    mean = np.where(seen, draw, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen, draw - mean, 0.0)
