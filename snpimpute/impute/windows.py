"""Whole chromosomes in pieces: windows that overlap, an imputer fitted in each, posteriors blended over the overlaps."""

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
from snpimpute.base.digests import file_digest
from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix, require_same_sites
from snpimpute.imputers.contract import Imputer
from snpimpute.io.maps import GeneticMap

LEAST_OVERLAP = 0.25  # of a window's length
FEWEST_SITES = 10  # of a window, where its contig has so many
ABOUT = "model.json"


@dataclass(frozen=True)
class Window:
    """Neighbouring sites of one contig: those from number `start` up to, and without, number `stop`."""

    contig: str
    start: int
    stop: int

    @property
    def sites(self) -> slice:
        return slice(self.start, self.stop)


def cut_by_sites(sites: pd.DataFrame, size: int, overlap: float = LEAST_OVERLAP) -> list[Window]:
    """Cut each contig into windows of `size` sites, evenly spaced, or one of all its sites where it has no more.

    Args:
        sites: the sites table, the sites of a contig together.
        size: sites of a window.
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
    """Cut each contig into windows of `length` cM, evenly spaced; one that holds too few sites takes in its neighbours.

    Args:
        sites: the sites table, the sites of a contig together, in order of position.
        length: cM of a window.
        genetic_map: where the cM come from; None: 1 cM per Mb.
        overlap: least share of a window's length that it has in common with the next one.

    Raises:
        InputError: a length that is not positive, an overlap below a quarter or not below 1, a contig without map.
    """
    _require_overlap(overlap)
    if not length > 0:
        raise InputError(f"windows of {length:g} cM are none: give a length above 0")
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
            start, stop = _with_enough(start, stop, last - first)
            window = Window(contig, first + start, first + stop)
            before = windows[-1] if windows and windows[-1].contig == contig else Window(contig, first, first)
            if window.start > before.stop:  # a gap in the map: no site may be left out
                window = Window(contig, before.stop, window.stop)
            if window.stop > before.stop:
                windows.append(window)
    return windows


def _with_enough(start: int, stop: int, n: int) -> tuple[int, int]:
    """The same sites, or FEWEST_SITES around them (all `n` of the contig if it has no more)."""
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
    """Each contig with the number of its first site, and of the first one after it."""
    names = sites["contig"].to_numpy()
    borders = np.flatnonzero(names[1:] != names[:-1]) + 1
    for first, last in zip([0, *borders], [*borders, len(names)], strict=True):
        if last > first:
            yield str(names[first]), int(first), int(last)


def weights_in(windows: Sequence[Window], number: int) -> np.ndarray:
    """float32 (n_sites of the window,): share that window `number` has in the blend at each of its sites.

    At a site the windows that hold it weigh in proportion to its distance, in sites, from their nearer border: over
    the overlap of two windows the one goes down linearly as the other goes up. The shares of a site sum to 1.
    """
    window = windows[number]
    own = _rise(window, window)
    beside = [o for o in windows if o.contig == window.contig and o.start < window.stop and window.start < o.stop]
    total = sum(_rise(other, window) for other in beside)
    return (own / total).astype(np.float32)


def _rise(window: Window, within: Window) -> np.ndarray:
    """float64: distance of each site of `within` from the nearer border of `window`, counted from 1; 0 outside."""
    site = np.arange(within.start, within.stop)
    return np.maximum(np.minimum(site - window.start + 1, window.stop - site), 0).astype(float)


def owned_by(windows: Sequence[Window], number: int) -> np.ndarray:
    """bool (n_sites of the window,): the sites at which this window weighs most (the first of those that weigh the same)."""
    window = windows[number]
    others = [i for i, other in enumerate(windows) if other.contig == window.contig]
    rises = np.stack([_rise(windows[i], window) for i in others])
    return np.array(others)[rises.argmax(axis=0)] == number


# ---------------------------------------------------------------------- the model of a whole panel


class WindowedModel:
    """An imputer for all sites of a panel: one fitted imputer for each window.

    Attributes:
        folder: where it is kept: `model.json`, `sites.tsv` and a saved imputer for each window in `windows/`.
        about: what model.json holds: name, imputer, params, panel, and whatever was noted of the fit.
        sites: the panel's sites table, with the panel's alternate-allele frequency in the column `alt_frequency`.
        windows: the windows, in order.
    """

    def __init__(self, folder: Path, keep_loaded: int = 0) -> None:
        """Open a fitted model.

        Args:
            folder: where it is kept.
            keep_loaded: imputers of this many windows stay in memory once they were asked for: a server wants them.

        Raises:
            InputError: the folder holds no fitted model.
        """
        self.folder = Path(folder)
        self._loaded = lru_cache(keep_loaded)(self._load)
        try:
            self.about: dict[str, Any] = json.loads((self.folder / ABOUT).read_text())
        except (OSError, ValueError):
            raise InputError(f"{folder} holds no fitted model: snpimpute fit makes one") from None
        types = {"contig": str, "id": str, "ref": str, "alt": str}
        self.sites = pd.read_csv(self.folder / "sites.tsv", sep="\t", dtype=types, keep_default_na=False)
        self.windows = [Window(*window) for window in self.about["windows"]]

    @staticmethod
    def place(folder: Path, number: int) -> Path:
        """Where the imputer of window `number` is saved."""
        return Path(folder) / "windows" / f"{number:05d}"

    def verify(self) -> None:
        """Raise InputError that names the first file which is not as it was when the model was fitted."""
        for name, checksum in self.about["checksums"].items():
            path = self.folder / name
            if not path.is_file() or file_digest(path) != checksum:
                what = "is not as it was when the model was fitted" if path.is_file() else "is missing"
                raise InputError(f"model {self.about['name']}: {path} {what}: fit it again, or fetch it anew")

    @property
    def imputer_class(self) -> type[Imputer]:
        """The class of the windows' imputers."""
        return imputers.class_in(self.place(self.folder, 0))

    def imputer(self, number: int) -> Imputer:
        """The fitted imputer of window `number`, loaded."""
        return self._loaded(number)

    def _load(self, number: int) -> Imputer:
        place = self.place(self.folder, number)
        return imputers.class_in(place).load(place)

    def posterior(self, target: GenotypeMatrix) -> np.ndarray:
        """Posterior probability of genotypes 0, 1, 2 for every sample and site of `target`, blended over the windows.

        Returns:
            float32 (n_samples, n_sites, 3); rows sum to 1, observed calls have all weight on themselves.

        Raises:
            InputError: the target's sites or alleles are not those of the model (names the first difference).
        """
        require_same_sites(self.sites, target.sites, f"model {self.about['name']}")
        out = np.zeros((*target.calls.shape, 3), dtype=np.float32)
        for number, window in enumerate(self.windows):
            part = target.take_sites(window.sites)
            out[:, window.sites] += window_posterior(self, number, part) * weights_in(self.windows, number)[:, None]
        return out


def window_posterior(model: WindowedModel, number: int, target: GenotypeMatrix) -> np.ndarray:
    """float32 (n_samples, n_sites of the window, 3): what a window's imputer gives, before the blend.

    Where no call is missing no imputer is loaded.
    """
    if (target.calls == MISSING).any():
        return model.imputer(number).posterior(target)
    return (target.calls[:, :, None] == np.arange(3, dtype=np.int8)).astype(np.float32)
