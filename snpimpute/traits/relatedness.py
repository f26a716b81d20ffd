"""Genomic relationship of samples: leaving out what is tested, its principal components, and whether there are relatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snpimpute.base.words import numbered

if TYPE_CHECKING:
    from snpimpute.traits.dosages import Dosages

LEAST_MAF = 0.01  # of the sites that tell relationship
PARTS = 10  # stretches of a single contig, each tested with the relationship of the others
CLOSE = 0.2  # relationship from which on two samples count as close relatives: half sibs have .25, first cousins .125
NOISE = 6.0  # standard deviations of unrelated pairs that close relatives must be above
MANY = 0.05  # share of samples with a close relative from which on the mixed model is taken
SITES_PER_BLOCK = 2_000


@dataclass(frozen=True, eq=False)
class Relatedness:
    """How related the samples of a file are.

    Attributes:
        matrix: float64 (n_samples, n_samples), genomic relationship over all sites; its mean diagonal is 1.
        n_sites: number of sites that it is from.
        noise: standard deviation of pairs, from the quartiles of all: of unrelated ones, where most are.
        close: number of samples with a close relative.
    """

    matrix: np.ndarray
    n_sites: int
    noise: float
    close: int

    @property
    def known(self) -> bool:
        """Whether the sites tell half sibs from unrelated samples."""
        return NOISE * self.noise < 0.5

    @property
    def many(self) -> bool:
        """Whether so many samples have close relatives that the mixed model is to be taken."""
        return self.known and self.close > MANY * len(self.matrix)

    def sentence(self) -> str:
        """Return what was found, as a sentence's part."""
        if not self.known:
            return (
                f"{numbered(self.n_sites, 'site')} do not tell relatives from others (pairs vary by {self.noise:.2f} "
                "around their mean)"
            )
        return f"{self.close:,} of {len(self.matrix):,} samples have a close relative among them"


def relatedness_of(dosages: Dosages) -> Relatedness:
    """Return the relatedness of the samples, from all sites with a MAF of 1% or more."""
    gram, n = _gram(dosages, np.ones(dosages.n_sites, dtype=bool))
    matrix = _scaled(gram)
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    low, high = np.quantile(pairs, [0.25, 0.75]) if len(pairs) else (0.0, 0.0)
    noise = float(high - low) / 1.349
    threshold = max(CLOSE, NOISE * noise)
    off = matrix - 2 * np.eye(len(matrix)) * matrix.max()
    return Relatedness(matrix, n, noise, int((off.max(axis=1) >= threshold).sum()))


def components(matrix: np.ndarray, n: int) -> np.ndarray:
    """Return the first principal components of a relationship, float64 (n_samples, n), each of length 1.

    The sign of a component is that with which its largest entry is positive.
    """
    _, vectors = np.linalg.eigh(matrix)
    chosen = vectors[:, ::-1][:, :n]
    return chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])])


def parts_to_test(dosages: Dosages, tested: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the sites to be tested in parts, each with the relationship that leaves them out.

    A part is what is tested of a contig; relationship is from the other contigs. With a single contig it is the region tested,
    if there are sites beyond it, else one of ten stretches with equal numbers of sites, and relationship is from the rest.

    Args:
        dosages: all sites.
        tested: bool (n_sites,), the sites to be tested.

    Yields:
        What is left out, as "contig 3"; bool (n_sites,) the part's sites; float64 (n_samples, n_samples) the relationship.
    """
    contigs = dosages.sites.contig.to_numpy()
    names = list(dict.fromkeys(contigs))
    everywhere, n_all = _gram(dosages, np.ones(dosages.n_sites, dtype=bool))
    if len(names) > 1:
        parts = [(f"contig {name}", contigs == name) for name in names]
    elif not tested.all():
        parts = [("the region tested", tested)]
    else:
        stretches = np.array_split(np.arange(dosages.n_sites), PARTS)
        parts = [
            (f"stretch {i} of {PARTS}", np.isin(np.arange(dosages.n_sites), at))
            for i, at in enumerate(stretches, start=1)
        ]
    for what, left_out in parts:
        part = left_out & tested
        if not part.any():
            continue
        gram, n = _gram(dosages, left_out)
        rest = everywhere - gram if n_all > n else np.eye(dosages.n_samples)
        yield what, part, _scaled(rest)


def _gram(dosages: Dosages, chosen: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the sum over chosen sites of the products of standardised dosages, float64 (n_samples, n_samples), and their number."""
    use = np.flatnonzero(chosen & (np.nan_to_num(dosages.maf()) >= LEAST_MAF))
    gram = np.zeros((dosages.n_samples, dosages.n_samples))
    for start in range(0, len(use), SITES_PER_BLOCK):
        block = dosages.take_sites(use[start : start + SITES_PER_BLOCK]).standardised()
        gram += block @ block.T
    return gram, len(use)


def _scaled(gram: np.ndarray) -> np.ndarray:
    """Return a relationship scaled to a mean diagonal of 1."""
    mean = np.trace(gram) / len(gram)
    return gram / mean if mean > 0 else gram
