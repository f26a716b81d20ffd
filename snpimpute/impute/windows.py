"""Windows of whole chromosomes: overlapping windows, one fitted imputer for each, posteriors blended over overlaps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.checksums import TABLE, require_checksums
from snpimpute.base.errors import InputError
from snpimpute.base.names import require_plain
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS, GenotypeMatrix, contig_slices, require_same_sites
from snpimpute.impute.matching import PanelSites
from snpimpute.imputers.contract import Imputer
from snpimpute.io.maps import GeneticMap

LEAST_OVERLAP = 0.25  # share of a window's length
FEWEST_SITES = 10  # fewest sites of a window, if its contig has as many
ABOUT = "model.json"


@dataclass(frozen=True)
class Window:
    """Neighbouring sites of one contig, from number `start` to number `stop`, which is excluded."""

    contig: str
    start: int
    stop: int

    @property
    def sites(self) -> slice:
        """Slice of the window's sites in the sites table."""
        return slice(self.start, self.stop)


def cut_by_sites(sites: pd.DataFrame, size: int, overlap: float = LEAST_OVERLAP) -> list[Window]:
    """Cut each contig into evenly spaced windows of `size` sites, or into one window if it has no more sites.

    Args:
        sites: the sites table, the sites of a contig together.
        size: number of sites in a window.
        overlap: least share of a window that it has in common with the next one.

    Raises:
        InputError: a size below FEWEST_SITES, an overlap below a quarter or not below 1.
    """
    _require_overlap(overlap)
    if size < FEWEST_SITES:
        raise InputError(f"windows of {size} sites are too small: give at least {FEWEST_SITES}")
    windows = []
    for contig, first, last in contigs_of(sites):
        n = last - first
        step = size - int(np.ceil(size * overlap))
        count = 1 if n <= size else -(-(n - size) // step) + 1
        starts = np.round(np.linspace(0, max(n - size, 0), count)).astype(int)
        windows += [Window(contig, first + int(start), first + min(int(start) + size, n)) for start in starts]
    return windows


def cut_by_map(
    sites: pd.DataFrame, length: float, genetic_map: GeneticMap | None, overlap: float = LEAST_OVERLAP
) -> list[Window]:
    """Cut each contig into evenly spaced windows of `length` cM; a window with too few sites is widened.

    Args:
        sites: the sites table, the sites of a contig together, in order of position.
        length: length of a window in cM.
        genetic_map: map from bases to cM; None: 1 cM per Mb.
        overlap: least share of a window's length that it has in common with the next one.

    Raises:
        InputError: a length that is not positive, an overlap below a quarter or not below 1, a contig without map.
    """
    _require_overlap(overlap)
    if not length > 0:
        raise InputError(f"windows of {length:g} cM are not possible: give a length above 0")
    genetic_map = genetic_map or GeneticMap()
    windows: list[Window] = []
    for contig, first, last in contigs_of(sites):
        place = genetic_map.centimorgans(contig, sites["pos"].to_numpy()[first:last])
        span = place[-1] - place[0]
        count = 1 if span <= length else int(np.ceil((span - length) / (length * (1 - overlap)))) + 1
        begins = place[0] + np.linspace(0, max(span - length, 0), count)
        for begin in begins:
            start = int(np.searchsorted(place, begin, side="left"))
            stop = len(place) if begin == begins[-1] else int(np.searchsorted(place, begin + length, side="right"))
            start, stop = _widen_to_fewest_sites(start, stop, last - first)
            window = Window(contig, first + start, first + stop)
            before = windows[-1] if windows and windows[-1].contig == contig else Window(contig, first, first)
            if window.start > before.stop:  # after a gap in the map: every site must be in a window
                window = Window(contig, before.stop, window.stop)
            if window.stop > before.stop:
                windows.append(window)
    return windows


def _widen_to_fewest_sites(start: int, stop: int, n: int) -> tuple[int, int]:
    """Return start and stop, widened to FEWEST_SITES sites (to all `n` sites of the contig if it has no more)."""
    wanted = min(FEWEST_SITES, n)
    if stop - start >= wanted:
        return start, stop
    start = max(0, min(start - (wanted - (stop - start)) // 2, n - wanted))
    return start, start + wanted


def _require_overlap(overlap: float) -> None:
    if not LEAST_OVERLAP <= overlap < 1:
        raise InputError(
            f"windows must overlap by {LEAST_OVERLAP:.0%} at least and by less than 100%, not by {overlap:.0%}"
        )


def contigs_of(sites: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    """Yield each contig with the number of its first site, and of the first site after it."""
    for part in contig_slices(sites):
        yield str(sites["contig"].iloc[part.start]), part.start, part.stop


def weights_in(windows: Sequence[Window], number: int) -> np.ndarray:
    """Return float32 (n_sites of the window,): the weight of window `number` in the blend at each of its sites.

    The weight of a window at a site is proportional to the site's distance, in sites, from the window's nearer border.
    So over the overlap of two windows one weight falls linearly and the other rises. The weights of a site sum to 1.
    """
    window = windows[number]
    own = _border_distance(window, window)
    beside = [o for o in windows if o.contig == window.contig and o.start < window.stop and window.start < o.stop]
    total = sum(_border_distance(other, window) for other in beside)
    return (own / total).astype(np.float32)


def _border_distance(window: Window, within: Window) -> np.ndarray:
    """Return float64: distance of each site of `within` from the nearer border of `window`, from 1; 0 outside."""
    site = np.arange(within.start, within.stop)
    return np.maximum(np.minimum(site - window.start + 1, window.stop - site), 0).astype(float)


def owned_by(windows: Sequence[Window], number: int) -> np.ndarray:
    """Return bool (n_sites of the window,): the sites at which this window has the largest weight.

    If several windows have the same weight at a site, the first one owns it.
    """
    window = windows[number]
    others = [i for i, other in enumerate(windows) if other.contig == window.contig]
    distances = np.stack([_border_distance(windows[i], window) for i in others])
    return np.array(others)[distances.argmax(axis=0)] == number


def spread_windows(n_windows: int, wanted: int) -> list[int]:
    """Return the numbers of `wanted` windows, evenly spread; all if `wanted` is 0 or there are no more."""
    if wanted == 0 or wanted >= n_windows:
        return list(range(n_windows))
    return sorted({int(i) for i in np.round(np.linspace(0, n_windows - 1, wanted))})


def _require_windows_of(sites: pd.DataFrame, windows: Sequence[Window], where: Path) -> None:
    """Raise InputError unless the windows are parts of the sites table that cover it, each on one contig."""
    contigs = sites["contig"].to_numpy() if "contig" in sites else np.array([])
    covered = np.zeros(len(sites), dtype=bool)
    for window in windows:
        whole = isinstance(window.start, int) and isinstance(window.stop, int)
        if (
            not (whole and 0 <= window.start < window.stop <= len(contigs))
            or (contigs[window.sites] != window.contig).any()
        ):
            raise InputError(f"{where}: the window {window} is not one of this model's sites")
        covered[window.sites] = True
    if not windows or not covered.all():
        raise InputError(f"{where}: its windows do not cover this model's sites")


# ---------------------------------------------------------------------- the model of a whole panel


class WindowedModel:
    """Imputer for all sites of a panel, made of one fitted imputer for each window.

    Attributes:
        folder: the model's folder: `model.json`, `sites.tsv`, a saved imputer for each window in `windows/`, and a table
            of checksums of all of them.
        about: content of model.json: name, imputer, params, panel, and records of the fit.
        table: the panel's sites table, with the panel's alternate-allele frequency in the column `alt_frequency`, whether
            the site varies in the panel (`varies`, bool), the number of its record (`record`, int), and whether the panel has
            haploid calls there (`haploid`, bool).
        sites: the part of `table` that varies: the sites that the imputers know.
        windows: the windows, in order, as parts of `sites`.
    """

    def __init__(self, folder: Path, keep_loaded: int = 0, trust: bool = False) -> None:
        """Open a fitted model.

        Args:
            folder: the model's folder.
            keep_loaded: number of windows whose imputers stay in memory after use, for a server; tables of sites then have
                Python's strings, see `plain_strings`.
            trust: run the commands of a program's description that stands in this folder alone (see
                `imputers.class_in`).

        Raises:
            InputError: the folder holds no fitted model, or one whose windows are not those of its sites.
        """
        self.folder = Path(folder)
        self.trust = trust
        self._stays = keep_loaded > 0
        self._loaded = lru_cache(keep_loaded)(self._load)
        try:
            self.about: dict[str, Any] = json.loads((self.folder / ABOUT).read_text())
            types = {"contig": str, "id": str, "ref": str, "alt": str}
            table = pd.read_csv(self.folder / "sites.tsv", sep="\t", dtype=types, keep_default_na=False)
            self.table = table.astype({"varies": bool, "record": int, "haploid": bool})
            sites = self.table[self.table["varies"]].reset_index(drop=True)
            self.sites = plain_strings(sites) if self._stays else sites
            written = [self.about[key] for key in ("name", "imputer")] + [self.about.get("panel_digest", "none")]
            self.windows = [Window(*window) for window in self.about["windows"]]
        except (OSError, LookupError, TypeError, ValueError):
            raise InputError(f"{folder} holds no fitted model: snpimpute fit makes one") from None
        for name in written:  # they go into the header of an imputed file
            require_plain(name, f"{self.folder / ABOUT}:")
        _require_windows_of(self.sites, self.windows, self.folder / ABOUT)

    @staticmethod
    def place(folder: Path, number: int) -> Path:
        """Return the folder in which the imputer of window `number` is saved."""
        return Path(folder) / "windows" / f"{number:05d}"

    @classmethod
    def verified(cls, folder: Path, keep_loaded: int = 0, trust: bool = False) -> WindowedModel:
        """Open a model that is as it was fitted, and would run no commands that are not trusted; see `__init__`.

        Raises:
            InputError: no fitted model, a file was changed, removed or added (names the first), or see
                `imputers.class_in`.
        """
        if (Path(folder) / ABOUT).exists() or (Path(folder) / TABLE).exists():  # else it never was a model
            require_checksums(Path(folder))
        model = cls(folder, keep_loaded, trust)
        for number in range(len(model.windows)):
            imputers.class_in(cls.place(model.folder, number), trust)
        return model

    @property
    def imputer_class(self) -> type[Imputer]:
        """Class of the windows' imputers."""
        return imputers.class_in(self.place(self.folder, 0), self.trust)

    def panel_sites(self) -> PanelSites:
        """Return all sites of the panel, with its frequencies, as a target is compared with them."""
        table = self.table
        return PanelSites(
            table[list(SITE_COLUMNS)], table["alt_frequency"].to_numpy(float), f"model {self.about['name']}", {},
            table["record"].to_numpy(), table["haploid"].to_numpy(), frozenset(self.about.get("samples", ())),
        )  # fmt: skip

    def imputer(self, number: int) -> Imputer:
        """Return the fitted imputer of window `number`, loaded."""
        return self._loaded(number)

    def _load(self, number: int) -> Imputer:
        place = self.place(self.folder, number)
        imputer = imputers.class_in(place, self.trust).load(place)
        if self._stays:
            imputer.sites = plain_strings(imputer.sites)
        return imputer

    def posterior(self, target: GenotypeMatrix) -> np.ndarray:
        """Return the posterior of genotypes 0, 1, 2 for every sample and site of `target`, blended over the windows.

        Returns:
            float32 (n_samples, n_sites, 3); rows sum to 1, observed calls have all weight on themselves.

        Raises:
            InputError: the target's sites or alleles are not those of the model (names the first difference).
        """
        if (
            target.sites is not self.sites
        ):  # which a server's targets have, for which the comparison takes a tenth of an answer
            require_same_sites(self.sites, target.sites, f"model {self.about['name']}")
        out = np.zeros((*target.calls.shape, 3), dtype=np.float32)
        for number, window in enumerate(self.windows):
            part = target.take_sites(window.sites)
            out[:, window.sites] += window_posterior(self, number, part) * weights_in(self.windows, number)[:, None]
        return out


def plain_strings(sites: pd.DataFrame) -> pd.DataFrame:
    """Return a table of sites with Python's strings, which a server compares at each request ten times as fast as Arrow's."""
    return sites.astype({name: object for name in ("contig", "id", "ref", "alt") if name in sites})


def window_posterior(model: WindowedModel, number: int, target: GenotypeMatrix) -> np.ndarray:
    """Return float32 (n_samples, n_sites of the window, 3): the posterior of a window's imputer, before the blend.

    If no call is missing, no imputer is loaded.
    """
    if (target.calls == MISSING).any():
        return model.imputer(number).posterior(target)
    return (target.calls[:, :, None] == np.arange(3, dtype=np.int8)).astype(np.float32)
