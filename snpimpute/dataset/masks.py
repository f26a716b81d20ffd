"""Seeded random masks: whole sites, single calls, or all sites but those of an array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix

STREAMS = ("entries", "maf", "blocks", "high_ld", "array")  # the place here gives each its own random numbers
MEAN_BLOCK = 20.0  # mean number of sites of a failed run
RARE_ODDS = 0.05  # at this MAF a call's odds of being hidden by "maf" are half those at a site that does not vary
HIGH_LD = 0.8  # r² to an adjacent site above which "high_ld" may hide a site's calls


def site_masks(
    n_sites: int,
    levels: Sequence[float],
    repeats: int,
    mechanism: Literal["independent", "nested"],
    seed: int,
    through: np.ndarray | None = None,
) -> dict[tuple[float, int], np.ndarray]:
    """Draw masks of whole sites: (level, repeat) → bool (n_sites,).

    Each hides round(level · n_sites / 100) sites and leaves at least one seen.

    `independent` draws each mask anew; `nested` draws one order of the sites per repeat and hides its first sites, so
    that the mask of a lower level lies within that of a higher one. A nested mask that another repeat gave before at
    the same level (as with `through`) is left out.

    Args:
        n_sites: number of sites.
        levels: percent of sites hidden.
        repeats: masks per level.
        mechanism: "independent" or "nested".
        seed: seed of the draws.
        through: bool (n_sites,), a mask whose sites come first in every nested order; None = none.
    """
    masks: dict[tuple[float, int], np.ndarray] = {}
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat, 0]).permutation(n_sites)
        if mechanism == "nested" and through is not None:
            order = order[np.argsort(~through[order], kind="stable")]
        for level in levels:
            n_hidden = min(max(round(level * n_sites / 100), 1), n_sites - 1)
            if mechanism == "independent":
                order = np.random.default_rng([seed, repeat, 1 + round(level * 1000)]).permutation(n_sites)
            hidden = np.zeros(n_sites, dtype=bool)
            hidden[order[:n_hidden]] = True
            earlier = (mask for (its_level, _), mask in masks.items() if its_level == level)
            if mechanism == "independent" or not any(np.array_equal(hidden, mask) for mask in earlier):
                masks[level, repeat] = hidden
    return masks


def call_masks(
    n_samples: int,
    panel: GenotypeMatrix,
    levels: Sequence[float],
    repeats: int,
    mechanism: str,
    seed: int,
    *,
    min_r2: float = HIGH_LD,
    most: int | None = None,
    missing: np.ndarray | None = None,
) -> Iterator[tuple[tuple[float, int], np.ndarray]]:
    """Draw masks of single calls: yield (level, repeat) and bool (n_samples, n_sites).

    Each hides round(level · n_calls / 100) calls, at least one.

    Each mask is drawn anew; calls whose truth is missing count like any other.

    - "entries": all calls are equally likely.
    - "maf": the odds of a call being hidden are proportional to 1 / (MAF + 0.05), MAF that of the panel: at low levels
      a call at a site that does not vary is hidden eleven times as often as one at MAF 0.5.
    - "blocks": runs of neighbouring sites in single samples (a failed row of an array). Each run starts at a random
      sample and site, has a geometric length (20 sites on average) and ends at the end of its contig. The last run is
      cut.
    - "high_ld": like "entries", only at sites whose r² to an adjacent site is above `min_r2` in the panel; `level` is
      the percentage of the calls there.

    Args:
        n_samples: number of samples whose calls are hidden.
        panel: the samples that imputers learn from; gives the sites and, for "maf" and "high_ld", the statistics.
        levels: percent of calls hidden.
        repeats: masks per level.
        mechanism: "entries", "maf", "blocks" or "high_ld".
        seed: seed of the draws.
        min_r2: see "high_ld".
        most: most missing calls of a sample on a contig, counting those in `missing`; where a sample has reached this
            number, calls of other samples are hidden instead. None = any number. Not for "blocks".
        missing: bool (n_samples, n_sites), calls that are missing already; used only if `most` is given.

    Raises:
        InputError: "high_ld" finds no such site, or `most` leaves too few calls to hide.
    """
    shape = (n_samples, panel.n_sites)
    contigs = pd.factorize(panel.sites["contig"])[0]
    allowed = high_ld_sites(panel, min_r2) if mechanism == "high_ld" else np.ones(panel.n_sites, dtype=bool)
    if not allowed.any():
        raise InputError(f"no site has r² above {min_r2:g} to an adjacent one: leave the mechanism high_ld out")
    n_calls = n_samples * int(allowed.sum())
    for repeat in range(repeats):
        for level in levels:
            rng = np.random.default_rng([seed, repeat, 1 + round(level * 1000), STREAMS.index(mechanism)])
            n_hidden = min(max(round(level * n_calls / 100), 1), n_calls - 1)
            # the n_hidden calls of the lowest rank are hidden
            rank = _block_ranks(shape, contigs, n_hidden, rng) if mechanism == "blocks" else rng.random(shape)
            if mechanism == "maf":  # logistic noise: a call ranks below any threshold with the odds described above
                rank = np.log(rank) - np.log1p(-rank) + np.log(np.nan_to_num(panel.maf()) + RARE_ODDS)
            rank[:, ~allowed] = np.inf
            if most is not None:
                _cap_missing(most, rank, contigs, missing)
                if (n_left := int(np.isfinite(rank).sum())) < n_hidden:
                    raise InputError(
                        f"at most {most} missing calls in a sample and contig leave {100 * n_left / n_calls:.1f}% of the calls "
                        f"to hide: raise max_missing, or leave the level {level:g} out"
                    )
            yield (level, repeat), rank <= np.partition(rank.ravel(), n_hidden - 1)[n_hidden - 1]


def _cap_missing(most: int, rank: np.ndarray, contigs: np.ndarray, missing: np.ndarray | None) -> None:
    """Set the rank (n_samples, n_sites) to infinity, in place, beyond the first `most` calls per sample and contig.

    Calls that are missing already count as the first ones, and their rank becomes infinite: they are not hidden again.
    """
    if missing is not None:
        rank[missing] = -np.inf
    for contig in np.unique(contigs):
        sites = np.flatnonzero(contigs == contig)
        here = rank[:, sites]
        here[here.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") >= most] = np.inf
        rank[:, sites] = here
    rank[np.isneginf(rank)] = np.inf


def _block_ranks(shape: tuple[int, int], contigs: np.ndarray, n_wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Return the order in which calls are hidden, run after run, float64 `shape`; infinite for calls in no run.

    Enough runs are drawn to cover `n_wanted` calls.
    """
    n_samples, n_sites = shape
    past_end = np.searchsorted(contigs, contigs, side="right")  # end (exclusive) of each site's contig
    rank = np.full(shape, np.inf)
    n_runs = 0
    while (n_left := n_wanted - int(np.isfinite(rank).sum())) > 0:
        n_new = 1 + int(n_left / MEAN_BLOCK)
        sample, start = rng.integers(n_samples, size=n_new), rng.integers(n_sites, size=n_new)
        length = np.minimum(rng.geometric(1 / MEAN_BLOCK, size=n_new), past_end[start] - start)
        run = np.repeat(np.arange(n_new), length)
        step = np.arange(len(run)) - np.repeat(np.cumsum(length) - length, length)
        np.minimum.at(rank, (sample[run], start[run] + step), (n_runs + run) * float(n_sites) + step)
        n_runs += n_new
    return rank


def high_ld_sites(panel: GenotypeMatrix, min_r2: float = HIGH_LD) -> np.ndarray:
    """Return the sites whose r² to an adjacent site of their contig is above `min_r2`, bool (n_sites,)."""
    linked = panel.r2_to_next() > min_r2
    return np.append(linked, False) | np.append(False, linked)


def array_masks(
    panel: GenotypeMatrix, levels: Sequence[float], repeats: int, seed: int
) -> dict[tuple[float, int], np.ndarray]:
    """Draw masks of all sites but those of an array: (level, repeat) → bool (n_sites,).

    Each hides round(level · n_sites / 100) sites.

    The contigs, each from its first to its last site, are laid end to end and cut into as many pieces of equal length
    as the array has sites; in each piece the site of the highest MAF in the panel is typed. Pieces without a site leave
    sites to type: the whole is cut again for these, among the sites left. The place of the first border is drawn.
    """
    pos = panel.sites["pos"].to_numpy(dtype=np.float64)
    contigs = panel.sites["contig"].to_numpy()
    gaps = np.where(contigs[1:] == contigs[:-1], np.diff(pos), 1.0)
    place = np.append(0.0, np.cumsum(gaps)) / (gaps.sum() + 1.0)
    common_first = np.argsort(-np.nan_to_num(panel.maf()), kind="stable")
    masks: dict[tuple[float, int], np.ndarray] = {}
    for repeat in range(repeats):
        for level in levels:
            border = np.random.default_rng([seed, repeat, 1 + round(level * 1000), STREAMS.index("array")]).random()
            n_typed = panel.n_sites - min(max(round(level * panel.n_sites / 100), 1), panel.n_sites - 1)
            hidden = np.ones(panel.n_sites, dtype=bool)
            while n_left := n_typed - int((~hidden).sum()):
                untyped = common_first[hidden[common_first]]
                piece = np.floor(place[untyped] * n_left + border).astype(int) % n_left
                hidden[untyped[np.unique(piece, return_index=True)[1]]] = False
            masks[level, repeat] = hidden
    return masks
