"""Site lists of users: masks, and the sites of an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import site_keys


def read_masked_sites(path: Path, sites: pd.DataFrame) -> dict[float, np.ndarray]:
    """Read masks from a table: percent missing → bool (n_sites,), sorted.

    Args:
        path: TSV with the columns missing_percent and site (contig:pos:ref:alt, or the site's id).
        sites: the sites table of the data.

    Raises:
        InputError: no such file, a column is missing, a level is not a percentage, a site is not in the data.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the masks in {path}: {error}") from None
    if not {"missing_percent", "site"} <= set(table.columns):
        raise InputError(f"{path} needs the columns missing_percent and site, it has {', '.join(table.columns)}")
    number_of = {key: i for i, key in enumerate(sites["id"])} | {key: i for i, key in enumerate(site_keys(sites))}
    masks: dict[float, np.ndarray] = {}
    for level, rows in table.groupby("missing_percent"):
        try:
            percent = float(str(level))
        except ValueError:
            percent = 0.0
        if not 0 < percent < 100:
            raise InputError(f"{path}: missing_percent {level} is not a percentage above 0 and below 100")
        unknown = [site for site in rows["site"] if site not in number_of]
        if unknown:
            raise InputError(f"{path}: masked site {unknown[0]} is not in the data ({len(unknown)} such at {level}%)")
        masks[percent] = np.zeros(len(sites), dtype=bool)
        masks[percent][[number_of[site] for site in rows["site"]]] = True
    return dict(sorted(masks.items()))


def read_typed_sites(path: Path, sites: pd.DataFrame) -> np.ndarray:
    """Read the sites that an array types, bool (n_sites,).

    Args:
        path: one site a line, as contig:pos:ref:alt, contig:pos or the site's id; sites not in the data are ignored.
        sites: the sites table of the data.

    Raises:
        InputError: no such file, or it lists none or all of the data's sites.
    """
    try:
        listed = set(path.read_text().split())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the array's sites in {path}: {error}") from None
    places = [f"{contig}:{pos}" for contig, pos in zip(sites.contig, sites.pos, strict=True)]
    spellings = zip(site_keys(sites), places, sites["id"], strict=True)
    typed = np.array([not listed.isdisjoint(spelled) for spelled in spellings])
    if not typed.any() or typed.all():
        how_many = "all" if typed.all() else "none"
        raise InputError(f"{path} lists {how_many} of the {len(sites)} sites: an array types some and leaves some out")
    return typed
