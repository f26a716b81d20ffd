"""Masks drawn at random: whole sites, single calls, all but the sites of an array. Everything is seeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix

STREAMS = ("entries", "maf", "blocks", "high_ld", "array")  # by its place here each of them draws numbers of its own
MEAN_BLOCK = 20.0  # sites of a failed run, on average
RARE_ODDS = 0.05  # MAF at which a call's odds of being hidden by "maf" are half those of an allele never seen
HIGH_LD = 0.8  # r² to an adjacent site above which "high_ld" may hide a site's calls


def site_masks(
    n_sites: int,
    levels: Sequence[float],
    repeats: int,
    mechanism: Literal["independent", "nested"],
    seed: int,
    through: np.ndarray | None = None,
) -> dict[tuple[float, int], np.ndarray]:
    """Whole-site masks: (level, repeat) → bool (n_sites,), round(level · n_sites / 100) sites hidden, at least one seen.

    `independent` draws each mask anew; `nested` draws one order of the sites per repeat and hides its first ones, so
    that the mask of a lower level lies within that of a higher one. A nested mask that came out before at its level
    (that of `through`) is given once only.

    Args:
        n_sites: number of sites.
        levels: percent of sites hidden.
        repeats: masks per level.
        mechanism: "independent" or "nested".
        seed: of the draw.
        through: bool (n_sites,), a mask that all nested orders run through: its sites are hidden before all others.
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
            known = (masks[before] for before in masks if before[0] == level)
            if mechanism == "independent" or not any(np.array_equal(hidden, mask) for mask in known):
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
    """Single-call masks, (level, repeat) and bool (n_samples, n_sites): round(level · n_calls / 100) calls, at least one.

    Each mask is drawn anew; calls whose truth is missing count like any other.

    - "entries": every call is as likely as any other.
    - "maf": the odds of a call being hidden are proportional to 1 / (MAF + 0.05), MAF that of the panel: at low levels
      a call at a site that does not vary is hidden eleven times as often as one at MAF 0.5.
    - "blocks": runs of neighbouring sites in single samples (a failed row of an array), each from a random sample and
      site, of a geometric length (20 sites on average), never across the border of a contig. The last run is cut.
    - "high_ld": like "entries", at those sites alone whose r² to an adjacent site is above `min_r2` in the panel;
      `level` is the percentage of the calls there.

    Args:
        n_samples: of the samples whose calls are hidden.
        panel: what was learned from: its sites, and where the mechanism depends on them its calls.
        levels: percent of calls hidden.
        repeats: masks per level.
        mechanism: "entries", "maf", "blocks" or "high_ld".
        seed: of the draw.
        min_r2: see "high_ld".
        most: calls that a sample may lack on a contig, those that `missing` says are lacking already among them; where
            a sample has that many, calls of other samples are hidden instead. Not for "blocks".
        missing: bool (n_samples, n_sites), looked at where `most` is given only.

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
            draw = [seed, repeat, 1 + round(level * 1000), STREAMS.index(mechanism)]
            rng = np.random.default_rng(draw)
            n_hidden = min(max(round(level * n_calls / 100), 1), n_calls - 1)
            turn = _turns_of_blocks(shape, contigs, n_hidden, rng) if mechanism == "blocks" else rng.random(shape)
            if mechanism == "maf":  # logistic noise: the calls below any threshold are hidden with the odds above
                turn = np.log(turn) - np.log1p(-turn) + np.log(np.nan_to_num(panel.maf()) + RARE_ODDS)
            turn[:, ~allowed] = np.inf
            if most is not None:
                _keep_to(most, turn, contigs, missing)
                if (n_left := int(np.isfinite(turn).sum())) < n_hidden:
                    raise InputError(
                        f"at most {most} missing calls in a sample and contig leave {100 * n_left / n_calls:.1f}% of the calls "
                        f"to hide: raise max_missing, or leave the level {level:g} out"
                    )
            yield (level, repeat), turn <= np.partition(turn.ravel(), n_hidden - 1)[n_hidden - 1]


def _keep_to(most: int, turn: np.ndarray, contigs: np.ndarray, missing: np.ndarray | None) -> None:
    """Set the turns (n_samples, n_sites) to infinity of all but the first `most` calls of each sample and contig.

    Calls that are missing already are the first of all, and have no turn.
    """
    if missing is not None:
        turn[missing] = -np.inf
    for contig in np.unique(contigs):
        sites = np.flatnonzero(contigs == contig)
        here = turn[:, sites]
        here[here.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") >= most] = np.inf
        turn[:, sites] = here
    turn[np.isneginf(turn)] = np.inf


def _turns_of_blocks(
    shape: tuple[int, int], contigs: np.ndarray, n_wanted: int, rng: np.random.Generator
) -> np.ndarray:
    """float64 `shape`: when each call's turn comes to be hidden, run after run; infinite for calls in no run.

    Enough runs are drawn to cover `n_wanted` calls.
    """
    n_samples, n_sites = shape
    past_end = np.searchsorted(contigs, contigs, side="right")  # of the contig of each site
    turn = np.full(shape, np.inf)
    n_runs = 0
    while (n_left := n_wanted - int(np.isfinite(turn).sum())) > 0:
        n_new = 1 + int(n_left / MEAN_BLOCK)
        sample, start = rng.integers(n_samples, size=n_new), rng.integers(n_sites, size=n_new)
        length = np.minimum(rng.geometric(1 / MEAN_BLOCK, size=n_new), past_end[start] - start)
        run = np.repeat(np.arange(n_new), length)
        step = np.arange(len(run)) - np.repeat(np.cumsum(length) - length, length)
        np.minimum.at(turn, (sample[run], start[run] + step), (n_runs + run) * float(n_sites) + step)
        n_runs += n_new
    return turn


def high_ld_sites(panel: GenotypeMatrix, min_r2: float = HIGH_LD) -> np.ndarray:
    """bool (n_sites,): sites whose r² to an adjacent site of their contig is above `min_r2`."""
    linked = panel.r2_to_next() > min_r2
    return np.append(linked, False) | np.append(False, linked)


def array_masks(
    panel: GenotypeMatrix, levels: Sequence[float], repeats: int, seed: int
) -> dict[tuple[float, int], np.ndarray]:
    """All sites but those of an array: (level, repeat) → bool (n_sites,), round(level · n_sites / 100) sites hidden.

    The contigs, each from its first to its last site, are laid end to end and cut into as many windows of equal length
    as the array has sites; in each window the site of the highest MAF in the panel is typed. Windows without a site are
    made up for by cutting the whole anew for the sites that are left. Where the first border falls is drawn.
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
                left = common_first[hidden[common_first]]
                window = np.floor(place[left] * n_left + border).astype(int) % n_left
                hidden[left[np.unique(window, return_index=True)[1]]] = False
            masks[level, repeat] = hidden
    return masks
