"""Compiled draws of the copying model: pairs of haplotypes at observed sites, last site first, and copies at the sites between."""

from __future__ import annotations

import numpy as np

from snpimpute.imputers._recursions import compiled, kept_forward, reached_to


@compiled
def draw_pairs(alleles, observed, likelihoods, error, switches, start, drawn):  # type: ignore[no-untyped-def]
    """Draw pairs of haplotypes at each observed site, last site first, int64 (n, 2, n_observed).

    Of the forward recursion every √n-th site is kept, as in `_recursions.posterior`.

    Args:
        alleles, observed, likelihoods, error, switches, start: see `_recursions.posterior`.
        drawn: float64 (n, n_observed, 2), uniform random numbers.
    """
    n_observed = len(observed)
    held = kept_forward(alleles, observed, likelihoods, error, switches, start)
    kept, _, _, block, block_sums = held
    n_blocks, size = len(kept), len(block)
    out = np.zeros((len(drawn), 2, n_observed), dtype=np.int64)
    for b in range(n_blocks - 1, -1, -1):
        if b < n_blocks - 1:
            reached_to(b, held, alleles, observed, likelihoods, error, switches, start)
        for j in range(min((b + 1) * size, n_observed) - 1, b * size - 1, -1):
            draw_site(j, block[j - b * size], block_sums[j - b * size], switches, start, drawn, out)
    return out


@compiled
def draw_site(j, now, sums, switches, start, drawn, out):  # type: ignore[no-untyped-def]
    """Draw the pairs at observed site `j`, given those at the site behind it, into `out`.

    Args:
        now, sums: (K, K), the forward recursion at the site, see `_recursions.go_forward`; (K,), the sums of its rows.
        switches, start, drawn: see `draw_pairs`.
        out: int64 (n, 2, n_observed), filled behind the site.
    """
    n_states = len(start)
    last = j == out.shape[2] - 1
    switch = np.float32(0) if last else switches[j + 1]
    stay = np.float32(1) - switch
    weights = np.empty(n_states, dtype=np.float64)
    for number in range(len(drawn)):
        first, second = (0, 0) if last else (out[number, 0, j + 1], out[number, 1, j + 1])
        # Row i has the weight w_i * (switch * start[second] * sum of the row + stay * its entry at `second`).
        total = np.float64(0)
        for i in range(n_states):
            row = sums[i]
            if not last:
                row = switch * start[second] * row + stay * now[i, second]
                row *= switch * start[first] + (stay if i == first else np.float32(0))
            total += row
            weights[i] = total
        one = min(np.searchsorted(weights, drawn[number, j, 0] * total, side="right"), n_states - 1)
        total = np.float64(0)
        for k in range(n_states):
            weight = now[one, k]
            if not last:
                weight *= switch * start[second] + (stay if k == second else np.float32(0))
            total += weight
            weights[k] = total
        other = min(np.searchsorted(weights, drawn[number, j, 1] * total, side="right"), n_states - 1)
        out[number, 0, j], out[number, 1, j] = one, other


@compiled
def fill_gaps(pairs, observed, place, switch_rate, start, drawn):  # type: ignore[no-untyped-def]
    """Draw what is copied at all sites, given the pairs at the observed ones, int64 (n, 2, n_sites).

    The two haplotypes of a pair know nothing of each other between observed sites. From the left to a site, s is kept or drawn
    anew from `start`; so it is from the site to the pair b on the right, whatever the site has: three cases.

    Args:
        pairs: int64 (n, 2, n_observed), at least one site.
        observed, place, switch_rate, start: see `_recursions.posterior`.
        drawn: float64 (n, 2, n_sites, 2), uniform random numbers.
    """
    n, n_sites, n_states = len(pairs), len(place), len(start)
    upto = np.cumsum(start.astype(np.float64))
    out = np.empty((n, 2, n_sites), dtype=np.int64)
    for number in range(n):
        for side in range(2):
            behind = 0  # the first observed site that is not passed yet
            for site in range(observed[0], n_sites):
                if behind < len(observed) and observed[behind] == site:
                    out[number, side, site] = pairs[number, side, behind]
                    behind += 1
                    continue
                copy = out[number, side, site - 1]
                kept = np.exp(-switch_rate * (place[site] - place[site - 1]))
                stays, moves, other = kept, 0.0, -1
                if behind < len(observed):
                    other = pairs[number, side, behind]
                    reaches = np.exp(-switch_rate * (place[observed[behind]] - place[site]))
                    anew = (1 - reaches) * start[other]
                    stays = kept * ((reaches if copy == other else 0.0) + anew)
                    moves = (1 - kept) * reaches * start[other]
                    total = stays + moves + (1 - kept) * anew
                    stays, moves = stays / total, moves / total
                chance = drawn[number, side, site, 0]
                if stays <= chance < stays + moves:
                    copy = other
                elif chance >= stays:
                    copy = min(
                        np.searchsorted(upto, drawn[number, side, site, 1] * upto[-1], side="right"), n_states - 1
                    )
                out[number, side, site] = copy
            for site in range(observed[0] - 1, -1, -1):  # copying is the same from right to left
                copy = out[number, side, site + 1]
                if drawn[number, side, site, 0] >= np.exp(-switch_rate * (place[site + 1] - place[site])):
                    copy = min(
                        np.searchsorted(upto, drawn[number, side, site, 1] * upto[-1], side="right"), n_states - 1
                    )
                out[number, side, site] = copy
    return out
