"""Site lists of users: masks, and the sites of an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.io.builds import plain_contig
from snpimpute.io.site_names import SiteList


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
    place = _places(sites)
    masks: dict[float, np.ndarray] = {}
    for level, rows in table.groupby("missing_percent"):
        try:
            percent = float(str(level))
        except ValueError:
            percent = 0.0
        if not 0 < percent < 100:
            raise InputError(f"{path}: missing_percent {level} is not a percentage above 0 and below 100")
        wanted = [_plain(site) for site in rows["site"]]
        unknown = [site for site, plain in zip(rows["site"], wanted, strict=True) if plain not in place]
        if unknown:
            raise InputError(f"{path}: masked site {unknown[0]} is not in the data ({len(unknown)} such at {level}%)")
        masks[percent] = np.zeros(len(sites), dtype=bool)
        masks[percent][[place[plain] for plain in wanted]] = True
    return dict(sorted(masks.items()))


def _places(sites: pd.DataFrame) -> dict[str, int]:
    """Every spelling of a site that `_plain` gives → its row: its id, its position, and with its alleles either way round."""
    rows = list(zip(sites["contig"], sites["pos"], sites["ref"], sites["alt"], strict=True))
    found = {f"{plain_contig(contig)}:{pos}": i for i, (contig, pos, _, _) in enumerate(rows)}
    found |= {f"{plain_contig(contig)}:{pos}:{alt}:{ref}": i for i, (contig, pos, ref, alt) in enumerate(rows)}
    found |= {f"{plain_contig(contig)}:{pos}:{ref}:{alt}": i for i, (contig, pos, ref, alt) in enumerate(rows)}
    return {_plain(name): i for i, name in enumerate(sites["id"]) if name} | found


def _plain(site: str) -> str:
    """A site as it is spelled but for what only fashion decides in its contig's name."""
    contig, colon, rest = str(site).partition(":")
    return f"{plain_contig(contig)}:{rest}" if colon else str(site)


def read_typed_sites(path: Path, sites: pd.DataFrame) -> np.ndarray:
    """Read the sites that an array types, bool (n_sites,).

    Args:
        path: a list, see io.site_names; sites that the data lack are left out.
        sites: the sites table of the data.

    Raises:
        InputError: no such file, or it lists none or all of the data's sites.
    """
    typed = np.array(SiteList.read(path, "the array's sites").among(sites), dtype=bool)
    if not typed.any() or typed.all():
        how_many = "all" if typed.all() else "none"
        raise InputError(f"{path} lists {how_many} of the {len(sites)} sites: an array types some and leaves some out")
    return typed
