"""Registry of the mechanisms that hide calls for scoring, read by settings, report, dashboard and documentation."""

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

Masks = Iterable[tuple[tuple[float, int], np.ndarray]]  # (level, repeat) and the mask; see Scenario.hidden


@dataclass(frozen=True, eq=False)
class Draw:
    """Input of a mechanism's draw of masks.

    Attributes:
        panel: train samples; they give the sites and the sites' statistics.
        target: samples whose calls are hidden.
        settings: levels, repeats and the other settings of mechanisms.
        headline_level: percent missing of the headline tables.
        through: bool (n_sites,), the headline's mask if it hides whole sites and is drawn already; else None.
        seed: seed of every draw.
    """

    panel: GenotypeMatrix
    target: GenotypeMatrix
    settings: ScenarioSettings
    headline_level: float
    through: np.ndarray | None
    seed: int


@dataclass(frozen=True)
class Mechanism:
    """Entry of the registry: a way of hiding calls.

    Attributes:
        name: name in settings and tables.
        label: name in words, as in "single calls at random".
        hides: "sites" (whole sites, for all samples alike) or "calls" (of single samples).
        draw: gives the masks, bool (n_sites,) of whole sites or (n_samples, n_sites) of single calls.
        capped: whether `max_missing` can limit the missing calls of a sample on a contig.
    """

    name: str
    label: str
    hides: Literal["sites", "calls"]
    draw: Callable[[Draw], Masks]
    capped: bool = False


def _draw_listed(draw: Draw) -> Masks:
    """Read the masks listed in a file."""
    listed = read_masked_sites(draw.settings.masks, draw.panel.sites) if draw.settings.masks else {}
    return [((level, 0), hidden) for level, hidden in listed.items()]


def _draw_independent(draw: Draw) -> Masks:
    """Draw each mask of whole sites by itself."""
    wanted = draw.settings
    return site_masks(draw.panel.n_sites, wanted.levels, wanted.repeats, "independent", draw.seed).items()


def _draw_nested(draw: Draw) -> Masks:
    """Draw nested masks through the headline's: at lower levels they lie within it, at higher ones they contain it."""
    wanted, n_sites, through = draw.settings, draw.panel.n_sites, draw.through
    if through is None:
        level = min(wanted.levels, key=lambda level: abs(level - draw.headline_level))
        through = site_masks(n_sites, [level], 1, "nested", draw.seed)[level, 0]
    return site_masks(n_sites, wanted.levels, wanted.repeats, "nested", draw.seed, through).items()


def _draw_array(draw: Draw) -> Masks:
    """Draw masks of all sites but an array's, or hide all sites that the user's array lacks."""
    wanted = draw.settings
    if wanted.typed is None:
        return array_masks(draw.panel, wanted.levels, wanted.repeats, draw.seed).items()
    hidden = ~read_typed_sites(wanted.typed, draw.panel.sites)
    return [((round(100 * float(hidden.mean()), 1), 0), hidden)]


def _drawing_calls(name: str) -> Callable[[Draw], Masks]:
    """Return the draw of masks of single calls by the mechanism `name` of `call_masks`."""

    def draw_calls(draw: Draw) -> Masks:
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

    return draw_calls


_ALL = (
    Mechanism("file", "sites listed in a file", "sites", _draw_listed),
    Mechanism("independent", "whole sites, masks drawn independently", "sites", _draw_independent),
    Mechanism("nested", "whole sites, masks nested in each other", "sites", _draw_nested),
    Mechanism("array", "whole sites, all but those of an array", "sites", _draw_array),
    Mechanism("entries", "single calls at random", "calls", _drawing_calls("entries"), capped=True),
    Mechanism("maf", "single calls, those at rare sites more often", "calls", _drawing_calls("maf"), capped=True),
    Mechanism("blocks", "runs of sites in single samples", "calls", _drawing_calls("blocks")),
    Mechanism(
        "high_ld",
        "single calls at sites in strong LD with a neighbour",
        "calls",
        _drawing_calls("high_ld"),
        capped=True,
    ),
)
MECHANISMS = {mechanism.name: mechanism for mechanism in _ALL}


def hides_calls(name: str) -> bool:
    """Tell whether the mechanism of that name hides single calls; a name no longer registered counts as whole sites."""
    return name in MECHANISMS and MECHANISMS[name].hides == "calls"


def label_of(name: str) -> str:
    """Return the label of the mechanism of that name; the name itself if it is no longer registered."""
    return MECHANISMS[name].label if name in MECHANISMS else name
