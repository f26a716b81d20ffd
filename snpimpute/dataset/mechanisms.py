"""The mechanisms by which calls are hidden for scoring: one entry each, read by settings, report, dashboard and docs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from snpimpute.dataset.masks import array_masks, call_masks, site_masks
from snpimpute.dataset.site_lists import read_masked_sites, read_typed_sites
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix

if TYPE_CHECKING:
    from snpimpute.dataset.settings import ScenarioSettings

Masks = Iterable[tuple[tuple[float, int], np.ndarray]]  # (level, repeat) and the mask, see Scenario.hidden


@dataclass(frozen=True)
class Draw:
    """What a mechanism draws its masks for.

    Attributes:
        panel: train samples: the sites, and what is known of them.
        target: samples whose calls are hidden.
        settings: levels, repeats, and whatever else users set of mechanisms.
        headline_level: percent missing of the headline tables.
        through: bool (n_sites,), the headline's mask where it hides whole sites and is drawn already; else None.
        seed: of every draw.
    """

    panel: GenotypeMatrix
    target: GenotypeMatrix
    settings: ScenarioSettings
    headline_level: float
    through: np.ndarray | None
    seed: int


@dataclass(frozen=True)
class Mechanism:
    """A way of hiding calls.

    Attributes:
        name: in settings and tables.
        label: in words, as in "single calls at random".
        hides: "sites" (whole ones, for every sample alike) or "calls" (of single samples).
        draw: gives the masks, bool (n_sites,) of whole sites, (n_samples, n_sites) of single calls.
        capped: whether `max_missing` can leave every sample a number of calls on each contig.
    """

    name: str
    label: str
    hides: Literal["sites", "calls"]
    draw: Callable[[Draw], Masks]
    capped: bool = False


def _listed(draw: Draw) -> Masks:
    listed = read_masked_sites(draw.settings.masks, draw.panel.sites) if draw.settings.masks else {}
    return [((level, 0), hidden) for level, hidden in listed.items()]


def _independent(draw: Draw) -> Masks:
    wanted = draw.settings
    return site_masks(draw.panel.n_sites, wanted.levels, wanted.repeats, "independent", draw.seed).items()


def _nested(draw: Draw) -> Masks:
    """Masks that all run through that of the headline: below its level they lie within it, above it they hold it."""
    wanted, n_sites, through = draw.settings, draw.panel.n_sites, draw.through
    if through is None:
        level = min(wanted.levels, key=lambda level: abs(level - draw.headline_level))
        through = site_masks(n_sites, [level], 1, "nested", draw.seed)[level, 0]
    return site_masks(n_sites, wanted.levels, wanted.repeats, "nested", draw.seed, through).items()


def _array(draw: Draw) -> Masks:
    wanted = draw.settings
    if wanted.typed is None:
        return array_masks(draw.panel, wanted.levels, wanted.repeats, draw.seed).items()
    hidden = ~read_typed_sites(wanted.typed, draw.panel.sites)
    return [((round(100 * float(hidden.mean()), 1), 0), hidden)]


def _single_calls(name: str) -> Callable[[Draw], Masks]:
    def drawn(draw: Draw) -> Masks:
        wanted, target = draw.settings, draw.target
        return call_masks(
            target.n_samples,
            draw.panel,
            wanted.levels,
            wanted.repeats,
            name,
            draw.seed,
            min_r2=wanted.min_r2,
            most=wanted.max_missing,
            missing=target.calls == MISSING,
        )

    return drawn


_ALL = (
    Mechanism("file", "sites listed in a file", "sites", _listed),
    Mechanism("independent", "whole sites, masks drawn independently", "sites", _independent),
    Mechanism("nested", "whole sites, masks nested in each other", "sites", _nested),
    Mechanism("array", "whole sites, all but those of an array", "sites", _array),
    Mechanism("entries", "single calls at random", "calls", _single_calls("entries"), capped=True),
    Mechanism("maf", "single calls, those at rare sites more often", "calls", _single_calls("maf"), capped=True),
    Mechanism("blocks", "runs of sites in single samples", "calls", _single_calls("blocks")),
    Mechanism(
        "high_ld", "single calls at sites in strong LD with a neighbour", "calls", _single_calls("high_ld"), capped=True
    ),
)
MECHANISMS = {mechanism.name: mechanism for mechanism in _ALL}


def hides_calls(name: str) -> bool:
    """Whether a mechanism of that name hides single calls; one that is not registered any more hides whole sites."""
    return name in MECHANISMS and MECHANISMS[name].hides == "calls"


def label_of(name: str) -> str:
    """What a mechanism of that name hides, in words; its name where it is not registered any more."""
    return MECHANISMS[name].label if name in MECHANISMS else name
