"""Ways to fine-map on imputed genotypes: dosages as they are, with the variance that they lack, or over draws from the posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.traits.aligned import File
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.drawn import centred_draw, read_drawn
from snpimpute.traits.phenotypes import Trait
from snpimpute.traits.susie import (
    COVERAGE,
    EFFECTS,
    LEAST_PURITY,
    CredibleSet,
    FineMapped,
    correlation_of,
    from_products,
    from_samples,
)

ALIKE = 0.5  # least |r| of what two sets stand for, from which on they are of one effect
AGREE = 0.5  # share of the draws that have an effect, from which on it makes a set
LEAST_QUALITY = 0.01  # DR2 below it is taken for it


@dataclass(frozen=True)
class Way:
    """A way to fine-map.

    Attributes:
        meaning: what it does, for users.
        draws: whether it needs draws.
        averaged: whether SuSiE runs on each draw and what it finds is averaged; else it runs once.
    """

    meaning: str
    draws: bool
    averaged: bool = False

    def fits(self, file: File) -> bool:
        """Tell whether a file has what the way needs."""
        return file.draws is not None if self.draws else bool(np.isfinite(file.quality).any())


WAYS = {
    "dr2": Way(
        "z scaled by the square root of DR2, LD between sites by those of both: the variance that a dosage lacks", False
    ),
    "variance": Way("the same by draws: LD and variance are means over them, as in FINEMAP-miss", True),
    "draws": Way("SuSiE on each draw, probabilities averaged (multiple imputation)", True, averaged=True),
}


def require_ways(names: Sequence[str]) -> None:
    """Raise InputError unless all of these are ways."""
    for name in names:
        if name not in WAYS:
            raise InputError(f"--way {name!r} is not known: choose {', '.join(WAYS)}")


@dataclass(frozen=True, eq=False)
class Window:
    """Neighbouring sites of a file, ready to be fine-mapped for many traits.

    Attributes:
        first, last: its sites among the file's; `last` is exclusive.
        parts: genotypes, float64 (n_samples, n) and centred, and their products (see `susie.from_products`), one or one a draw.
        correlation: float64 (n, n), of dosages; None where there is one part.
    """

    first: int
    last: int
    parts: list[tuple[np.ndarray, np.ndarray]]
    correlation: np.ndarray | None

    @classmethod
    def of(cls, file: File, first: int, last: int, way: str | None = None) -> Window:
        """Return sites of a file, for a way of WAYS; None = dosages as they are."""
        dosages = file.dosages[:, first:last]
        if way is None or not WAYS[way].draws:
            products = dosages.T @ dosages
            if way is not None:
                own = np.clip(file.quality[first:last], LEAST_QUALITY, 1.0)
                own = np.where(np.isfinite(own), own, 1.0)
                products[np.diag_indices_from(products)] /= own
            return cls(first, last, [(dosages, products)], None)
        assert file.draws is not None
        drawn = (centred_draw(draw[:, first:last]) for draw in file.draws)
        if WAYS[way].averaged:
            return cls(first, last, [(one, one.T @ one) for one in drawn], correlation_of(dosages))
        mean = sum((one.T @ one for one in drawn), np.zeros((last - first, last - first))) / len(file.draws)
        return cls(first, last, [(dosages, mean)], None)

    def fine_mapped(self, values: np.ndarray, weights: np.ndarray | None = None, effects: int = EFFECTS) -> FineMapped:
        """Run SuSiE for a trait.

        Args:
            values: float64 (n_samples,), centred.
            weights, effects: see `susie.from_summary`.
        """
        yy, n = float(values @ values), len(values)
        found = [from_products(xx, x.T @ values, yy, n, weights, effects) for x, xx in self.parts]
        return found[0] if self.correlation is None else averaged(found, self.correlation)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws of a genotype file and the trait that each of them is tested for."""

    files: Sequence[Path]
    trait: Trait

    def fine_mapped(self, dosages: Dosages, weights: np.ndarray | None, effects: int, purity: float) -> FineMapped:
        """Run SuSiE on each draw of some neighbouring sites, and average what it finds.

        Args:
            dosages: of these sites, in all samples; the trait's rows are among them.
            weights, effects, purity: see `susie.from_summary`.

        Raises:
            InputError: see `drawn.read_drawn`.
        """
        own, pos = dosages.take_samples(self.trait.rows), dosages.sites.pos
        region = f"{dosages.sites.contig.iloc[0]}:{pos.iloc[0]}-{pos.iloc[-1]}"
        scaled = own.standardised()  # a site may not vary in the samples that have the trait
        correlation = scaled.T @ scaled / own.n_samples
        values = self.trait.residuals()
        found = []
        for file in self.files:  # one at a time: a locus may have thousands of sites
            x = centred_draw(read_drawn([file], own, region)[0])
            found.append(from_samples(x, values, weights, effects, purity))
        return averaged(found, correlation, purity)


def averaged(found: Sequence[FineMapped], correlation: np.ndarray, least_purity: float = LEAST_PURITY) -> FineMapped:
    """Average what SuSiE finds in several draws.

    PIPs are means. A set of one draw is of the same effect as that of another where the sites that they stand for correlate by
    ALIKE or more, each weighed by its probability to be the effect. Of an effect that half of the draws have (AGREE), the
    probabilities are means over these; its set has the fewest sites that make up 95%, and the least purity holds for it, too.

    Args:
        found: of each draw.
        correlation: float64 (n_sites, n_sites), of dosages.
        least_purity: least |r| between two sites of a set.
    """
    effects: list[list[np.ndarray]] = []
    seen_in: list[int] = []  # the last draw that an effect was found in
    for number, of_draw in enumerate(found):
        for credible in of_draw.sets:
            alike = [
                abs(float(credible.chances @ correlation @ np.mean(own, axis=0))) if last != number else -1.0
                for own, last in zip(effects, seen_in, strict=True)
            ]
            best = int(np.argmax(alike)) if alike else -1
            if best >= 0 and alike[best] >= ALIKE:
                effects[best].append(credible.chances)
                seen_in[best] = number
            else:
                effects.append([credible.chances])
                seen_in.append(number)
    sets = []
    for own in effects:
        chances = np.mean(own, axis=0)
        order = np.argsort(-chances, kind="stable")
        upto = np.cumsum(chances[order])
        members = np.sort(order[: int(np.searchsorted(upto, COVERAGE * upto[-1])) + 1])
        purity = float(np.abs(correlation[np.ix_(members, members)]).min())
        if len(own) >= AGREE * len(found) and purity >= least_purity:
            sets.append(CredibleSet(members, purity, float(chances[members].sum()), chances))
    pip = np.mean([of_draw.pip for of_draw in found], axis=0)
    return FineMapped(pip, sets, all(of_draw.converged for of_draw in found))
