"""Which calls are hidden: sample splits, masks for scoring, masks for training. Everything is seeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix

DEFAULT_LEVELS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0)
VALIDATION_LEVELS = (10.0, 30.0, 60.0, 80.0, 90.0)
VALIDATION_CALL_LEVELS = (1.0, 5.0, 20.0)  # of datasets that are tested on single calls alone
SPLIT_SCHEMES = ("random", "family", "group", "youngest")
CALL_MECHANISMS = ("entries", "maf", "blocks", "high_ld")  # the others hide whole sites
CAPPED_MECHANISMS = ("entries", "maf", "high_ld")  # those that can leave every sample a number of calls on each contig
MEAN_BLOCK = 20.0  # sites of a failed run, on average
RARE_ODDS = 0.05  # MAF at which a call's odds of being hidden by "maf" are half those of an allele never seen
HIGH_LD = 0.8  # r² to an adjacent site above which "high_ld" may hide a site's calls


class Scenario:
    """One way of hiding calls. The mask is kept a bit per call.

    Args:
        split: "test" or "validation": whose calls are hidden.
        mechanism: of whole sites "independent", "nested", "file" or "array"; of single calls one of CALL_MECHANISMS.
        level: percent hidden of the sites; of single-call mechanisms percent of the calls ("high_ld": of the calls at
            the sites it may hide).
        repeat: number of the mask among those of the same mechanism and level, from 0.
        hidden: bool (n_sites,): sites hidden for every sample of the split; or (n_samples, n_sites): single calls.
    """

    def __init__(self, split: str, mechanism: str, level: float, repeat: int, hidden: np.ndarray) -> None:
        self.split = split
        self.mechanism = mechanism
        self.level = level
        self.repeat = repeat
        self.n_sites = hidden.shape[-1]
        self.packed = np.packbits(hidden, axis=-1)  # uint8, eight sites a byte

    @property
    def key(self) -> str:
        return f"{self.split}-{self.mechanism}-{self.level:g}-{self.repeat}"

    @property
    def by_call(self) -> bool:
        """Whether single calls are hidden, not whole sites."""
        return self.packed.ndim == 2

    @property
    def hidden(self) -> np.ndarray:
        """The mask, as it was given."""
        return np.unpackbits(self.packed, axis=-1, count=self.n_sites).view(bool)

    @property
    def sites(self) -> np.ndarray:
        """bool (n_sites,): the sites at which any call is hidden."""
        anywhere = np.bitwise_or.reduce(np.atleast_2d(self.packed), axis=0)
        return np.unpackbits(anywhere, count=self.n_sites).view(bool)


def at_hidden(values: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """What `values` (n_samples, n_sites, ...) hold at the calls that a mask hides.

    Args:
        values: of any kind.
        hidden: bool, (n_sites,) for whole sites or (n_samples, n_sites).

    Returns:
        (n_samples, n_hidden_sites, ...) of whole sites; (n_hidden_calls, ...) of single calls, sample after sample.
    """
    return values[hidden] if hidden.ndim == 2 else values[:, hidden]


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
        mechanism: one of CALL_MECHANISMS.
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
            draw = [seed, repeat, 1 + round(level * 1000), CALL_MECHANISMS.index(mechanism)]
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
            border = np.random.default_rng([seed, repeat, 1 + round(level * 1000), len(CALL_MECHANISMS)]).random()
            n_typed = panel.n_sites - min(max(round(level * panel.n_sites / 100), 1), panel.n_sites - 1)
            hidden = np.ones(panel.n_sites, dtype=bool)
            while n_left := n_typed - int((~hidden).sum()):
                left = common_first[hidden[common_first]]
                window = np.floor(place[left] * n_left + border).astype(int) % n_left
                hidden[left[np.unique(window, return_index=True)[1]]] = False
            masks[level, repeat] = hidden
    return masks


def split_samples(samples: pd.DataFrame, n_held: int, scheme: str, seed: int) -> np.ndarray:
    """Choose the samples that are held out.

    Args:
        samples: sample table; `family`, `group` or `birth_order` are needed by the schemes of these names.
        n_held: how many samples to hold out; whole families or groups come as near to it as they can from below
            (at least one), "random" and "youngest" reach it exactly.
        scheme: "random"; "family", "group" (whole ones held out together, drawn at random; samples without one are
            each their own); "youngest" (highest birth_order).
        seed: of the draw.

    Returns:
        bool (n_samples,): true for the samples held out.
    """
    n = len(samples)
    if not 0 < n_held < n:
        raise InputError(f"cannot hold out {n_held} of {n} samples: the split needs at least one sample on each side")
    rng = np.random.default_rng(seed)
    held = np.zeros(n, dtype=bool)
    if scheme == "random":
        held[rng.permutation(n)[:n_held]] = True
        return held
    column = {"family": "family", "group": "group", "youngest": "birth_order"}.get(scheme)
    if column is None:
        raise InputError(f"unknown split {scheme!r}: give one of {', '.join(SPLIT_SCHEMES)}")
    if column not in samples or samples[column].replace("", np.nan).isna().all():
        raise InputError(f"split {scheme!r} needs the column {column!r} in the sample table")
    if scheme == "youngest":
        age = pd.to_numeric(samples[column], errors="coerce").fillna(-np.inf).to_numpy()
        held[np.lexsort((rng.random(n), age))[-n_held:]] = True
        return held
    unit = unit_labels(samples, column)
    names, sizes = np.unique(unit, return_counts=True)
    for i in rng.permutation(len(names)):
        if held.sum() + sizes[i] <= n_held or not held.any():
            held |= unit == names[i]
    if held.all():
        raise InputError(f"split {scheme!r} needs at least two values in the column {column!r} of the sample table")
    return held


def unit_names(samples: pd.DataFrame, column: str) -> np.ndarray:
    """(n_samples,) the family or group of each sample, as `family 12`; its own name where it has none."""
    names = samples["sample"].astype(str).to_numpy()
    if column not in samples:
        return names
    labels = samples[column].fillna("").astype(str).to_numpy()
    return np.where(labels == "", names, f"{column} " + labels.astype(object)).astype(str)


def unit_labels(samples: pd.DataFrame, column: str) -> np.ndarray:
    """int (n_samples,): number of the family or group of each sample; a sample without one is a unit of its own."""
    return pd.factorize(unit_names(samples, column))[0]


@dataclass(frozen=True, eq=False)
class TrainingMask:
    """What a network has hidden from it while it learns.

    policy "fixed" (published): every call of the columns `sites`, plus single calls of genotypes 1 and 2 outside these
    columns, up to `multipliers` times their count inside, capped at the count of genotype 0 inside. The same mask is
    used throughout training. policy "random": drawn anew for each sample of each batch, at a level drawn uniformly
    from `levels` (percent).
    """

    policy: Literal["fixed", "random"]
    sites: np.ndarray | None = None
    levels: tuple[float, float] = (5.0, 97.0)

    def draw_fixed(self, calls: np.ndarray, multipliers: tuple[float, float], seed: int) -> np.ndarray:
        """bool (n_samples, n_sites): the fixed mask for training calls int8 (n_samples, n_sites); multipliers for 1, 2."""
        if self.sites is None:
            raise ValueError("a fixed training mask needs its sites")
        rng = np.random.default_rng(seed)
        inside = np.broadcast_to(self.sites, calls.shape)
        hidden = inside.copy()
        cap = int(((calls == 0) & inside).sum())
        for genotype, multiplier in zip((1, 2), multipliers, strict=True):
            count = int(((calls == genotype) & inside).sum())
            wanted = max(min(round(multiplier * count), cap) - count, 0)
            outside = np.flatnonzero((calls == genotype) & ~inside)
            hidden.flat[rng.permutation(outside)[:wanted]] = True
        return hidden

    def draw_random(self, n_samples: int, n_sites: int, rng: np.random.Generator) -> np.ndarray:
        """bool (n_samples, n_sites): a mask of its own for each sample, its level uniform in `levels`, at least one hidden."""
        low, high = self.levels
        n_hidden = np.clip(np.round(rng.uniform(low, high, n_samples) * n_sites / 100), 1, n_sites - 1)
        rank = rng.random((n_samples, n_sites)).argsort(axis=1).argsort(axis=1)
        return rank < n_hidden[:, None]
