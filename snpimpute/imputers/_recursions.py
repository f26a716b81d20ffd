"""Compiled recursions of the copying model: one copy over the whole panel, pairs of copies over few haplotypes.

Numba compiles each function when it is first called, and keeps the machine code beside this file (or in the user's cache
folder, if this one cannot be written; in neither, each process compiles anew). All arrays are float32 unless said; nothing here holds Python's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "arcp", "nsz"}}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called."""
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # there is no folder that machine code could be kept in
        return numba.njit(**OPTIONS)(function)


# Added to the likelihoods of a block, as a share of their sum: a copy switches before it is so unlikely, and numbers too small
# for the processor slow it down.
LEAST = np.float32(1e-12)
# Of more carriers than these, pairs are summed over all haplotypes, eight at a time, those that are no carriers with weight 0.
FEW = 16


@compiled
def unpacked(bits, places, chosen):  # type: ignore[no-untyped-def]
    """Return the alleles of some of the panel's haplotypes at some sites, uint8 (n, K).

    Args:
        bits: see `gathered`.
        places: int (n,), the sites' bits.
        chosen: int (K,), the haplotypes.
    """
    out = np.empty((len(places), len(chosen)), dtype=np.uint8)
    eight = np.empty(len(chosen), dtype=np.uint8)
    last = -1
    for k in range(len(places)):
        number, place, here = places[k] // 8, np.uint8(places[k] % 8), out[k]
        if number != last:
            byte, last = bits[number], number
            for i in range(len(chosen)):
                eight[i] = byte[chosen[i]]
        for i in range(len(chosen)):
            here[i] = (eight[i] >> place) & np.uint8(1)
    return out


@compiled
def differing(alleles):  # type: ignore[no-untyped-def]
    """Return at which sites haplotypes are not all alike, bool (n,); `alleles` is uint8 (n, K)."""
    out = np.zeros(len(alleles), dtype=np.bool_)
    for k in range(len(alleles)):
        here = alleles[k]
        others = 0
        for i in range(len(here)):
            others += here[i] != here[0]
        out[k] = others > 0
    return out


@compiled
def gathered(bits, places, rows, places_in_rows, n_rows):  # type: ignore[no-untyped-def]
    """Return the alleles of the panel's haplotypes at some sites, eight of them a byte, uint8 (n_rows, R).

    Args:
        bits: uint8 (n_bytes, R), alleles of the panel's haplotypes, eight sites a byte.
        places: int (n,), the sites' bits.
        rows, places_in_rows: int (n,), the byte of the result, and the bit in it, that each site gets.
    """
    out = np.zeros((n_rows, bits.shape[1]), dtype=np.uint8)
    for k in range(len(places)):
        byte, here = bits[places[k] // 8], out[rows[k]]
        taken, given = np.uint8(places[k] % 8), np.uint8(places_in_rows[k])
        for r in range(len(byte)):
            here[r] |= ((byte[r] >> taken) & np.uint8(1)) << given
    return out


@compiled
def usage(alleles, blocks, likelihoods, stays):  # type: ignore[no-untyped-def]
    """Return the mean and the largest posterior probability, over blocks of sites, that each haplotype is copied.

    One haplotype is copied in a block; between two blocks the copy may switch to any other one. Loops are as short as they are so
    that the compiler takes eight haplotypes at a time wherever the arrays lie: a sum in another order is another number.

    Args:
        alleles: uint8 (n, R), of the panel's haplotypes at the observed sites, see `gathered`.
        blocks: int (n,), the block of each of these bytes, ascending from 0.
        likelihoods: (n, 8, 2), likelihood of the call at each site of a byte if allele 0 or 1 is copied; 1 = no call.
        stays: (n_blocks,), probability that no switch lies between the block before and this one.

    Returns:
        mean, largest: (R,) each.
    """
    n_haplotypes, n_blocks = alleles.shape[1], len(stays)
    like = np.empty((n_blocks, n_haplotypes), dtype=np.float32)
    forward = np.empty((n_blocks, n_haplotypes), dtype=np.float32)
    table = np.empty(256, dtype=np.float32)
    share = np.float32(1) / np.float32(n_haplotypes)
    total = np.float32(1)
    k = 0
    for b in range(n_blocks):
        here, now = like[b], forward[b]
        first = k
        while k < len(alleles) and blocks[k] == b:
            fill_table(likelihoods[k], table)
            byte = alleles[k]
            if k == first:
                for r in range(n_haplotypes):
                    here[r] = table[byte[r]]
            else:
                for r in range(n_haplotypes):
                    here[r] *= table[byte[r]]
            k += 1
        new = np.float32(0)
        for r in range(n_haplotypes):
            new += here[r]
        scale = np.float32(1) / max(new, LEAST)
        new = np.float32(0)
        if b == 0:
            for r in range(n_haplotypes):
                here[r] = here[r] * scale + LEAST
                now[r] = here[r]
                new += now[r]
        else:
            before = forward[b - 1]
            stay, moved = stays[b] / total, (np.float32(1) - stays[b]) * share
            for r in range(n_haplotypes):
                here[r] = here[r] * scale + LEAST
            for r in range(n_haplotypes):
                now[r] = (before[r] * stay + moved) * here[r]
                new += now[r]
        total = new
    backward = np.ones(n_haplotypes, dtype=np.float32)
    mean = np.zeros(n_haplotypes, dtype=np.float32)
    largest = np.zeros(n_haplotypes, dtype=np.float32)
    weight = np.float32(1) / np.float32(n_blocks)
    stay, moved = np.float32(1), np.float32(0)
    for b in range(n_blocks - 1, -1, -1):
        now, here = forward[b], like[b]
        total = np.float32(0)
        for r in range(n_haplotypes):
            backward[r] = backward[r] * stay + moved
            now[r] *= backward[r]
            total += now[r]
        scale = np.float32(1) / total
        for r in range(n_haplotypes):
            now[r] *= scale
            mean[r] += now[r] * weight
        raise_to(largest, now)
        total = np.float32(0)
        for r in range(n_haplotypes):
            backward[r] *= here[r]
            total += backward[r]
        stay, moved = stays[b] * np.float32(n_haplotypes) / total, np.float32(1) - stays[b]
    return mean, largest


@compiled
def raise_to(largest, values):  # type: ignore[no-untyped-def]
    """Write into `largest`, (n,), those of the values that are larger; neither are negative.

    Such float32s are in the order of their bits as integers, of which the compiler compares eight at a time.
    """
    bits, others = largest.view(np.int32), values.view(np.int32)
    for r in range(len(bits)):
        bits[r] = max(bits[r], others[r])


@compiled
def fill_table(likelihoods, table):  # type: ignore[no-untyped-def]
    """Write the likelihood of the calls at the eight sites of a byte, (8, 2), for each value that the byte may have, (256,)."""
    table[0] = 1
    size = 1
    for site in range(8):
        for value in range(size):
            table[size + value] = table[value] * likelihoods[site, 1]
            table[value] *= likelihoods[site, 0]
        size *= 2


@compiled
def given_one(copied, likelihood, error, of_reference, of_alternate):  # type: ignore[no-untyped-def]
    """Write the likelihood of a call given the two alleles copied, for each haplotype as one of them.

    Args:
        copied: uint8 (K,), the alleles of the haplotypes.
        likelihood: (3,), of the genotypes: 1 for the one called, or for all of a missing call.
        error: probability that an allele is not the one copied.
        of_reference, of_alternate: (K,), written: the likelihood if the other one copied has allele 0 or 1.
    """
    right = np.float32(1) - error
    if_0 = likelihood[0] * right + likelihood[1] * error, likelihood[1] * right + likelihood[2] * error
    if_1 = likelihood[0] * error + likelihood[1] * right, likelihood[1] * error + likelihood[2] * right
    both_0, mixed = right * if_0[0] + error * if_0[1], error * if_0[0] + right * if_0[1]
    other_mixed, both_1 = right * if_1[0] + error * if_1[1], error * if_1[0] + right * if_1[1]
    for i in range(len(copied)):
        of_reference[i] = mixed if copied[i] else both_0
        of_alternate[i] = both_1 if copied[i] else other_mixed


@compiled
def go_forward(before, sums, total, copied, likelihood, error, switch, start, now):  # type: ignore[no-untyped-def]
    """Take one step of the forward recursion; return the sum of what it has written.

    Args:
        before: (K, K), probabilities of the pairs given the calls up to the observed site before, up to a factor.
        sums: (K,), the sums of its rows; those of `now` are written in their place.
        total: the sum of `before`.
        copied: uint8 (K,), alleles at the site of the haplotypes that pairs are made of.
        likelihood, error: see `given_one`.
        switch: probability of a switch between the two sites.
        start: (K,), probabilities of the haplotypes where copying begins or switches; sum 1.
        now: (K, K), written; the factor is the likelihood of the site's call given those before it.
    """
    n_states = len(start)
    of_reference, of_alternate = np.empty(n_states, dtype=np.float32), np.empty(n_states, dtype=np.float32)
    given_one(copied, likelihood, error, of_reference, of_alternate)
    stay = np.float32(1) - switch
    both_stay = stay * stay / total
    rows = sums * (switch * stay / total)
    new = np.float32(0)
    for i in range(n_states):
        like = of_alternate if copied[i] else of_reference
        of_other = start[i]
        of_one = rows[i] + switch * switch * of_other
        row = np.float32(0)
        for k in range(n_states):
            value = (both_stay * before[i, k] + of_one * start[k] + of_other * rows[k]) * like[k]
            now[i, k] = value
            row += value
        sums[i] = row
        new += row
    return new


@compiled
def posterior(alleles, observed, likelihoods, error, switches, place, switch_rate, start):  # type: ignore[no-untyped-def]
    """Return the posterior of a sample, (n_sites, 3), by forward-backward over pairs.

    Of the forward recursion every √n-th site is kept, and the sites between are worked out again when the backward
    recursion comes to them: less to hold is also faster.

    Args:
        alleles: uint8 (n_sites, K), of the haplotypes that pairs are made of.
        observed: int (n_observed,), the observed sites, ascending.
        likelihoods: (n_observed, 3), of the genotypes, see `given_one`.
        error: probability that an allele is not the one copied.
        switches: (n_observed,), probability of a switch between each observed site and the one before it.
        start: (K,), probabilities of the haplotypes where copying begins or switches; sum 1.
        place: float64 (n_sites,), where the sites stand; a copy stays within a unit with probability exp(-switch_rate).
    """
    n_sites, n_states = alleles.shape
    n_observed = len(observed)
    held = kept_forward(alleles, observed, likelihoods, error, switches, start)
    kept, kept_sums, _, block, block_sums = held
    n_blocks, size = len(kept), len(block)
    out = np.zeros((n_sites, 3), dtype=np.float32)
    backward = np.ones((n_states, n_states), dtype=np.float32)
    mean = np.ones(n_states, dtype=np.float32)  # of the rows of `backward`, weighed by `start`
    whole = np.float32(n_states * n_states)
    total = whole
    of_reference, of_alternate = np.empty(n_states, dtype=np.float32), np.empty(n_states, dtype=np.float32)
    for k in range(n_observed - 1, -2, -1):
        if k >= 0 and k // size < n_blocks - 1 and k % size == size - 1:
            b = k // size
            reached_to(b, held, alleles, observed, likelihoods, error, switches, start)
        reached, rows = (block[k % size], block_sums[k % size]) if k >= 0 else (kept[0], kept_sums[0])
        begin = observed[k] if k >= 0 else -1
        end = observed[k + 1] if k + 1 < n_observed else n_sites
        if end - begin > 1:
            left, right = place[max(begin, 0)], place[min(end, n_sites - 1)]
            between(alleles, begin + 1, end, place, left, right, switch_rate, start, reached, rows, backward, mean, out)
        if k >= 0:
            stay = np.float32(1) - switches[k + 1] if k + 1 < n_observed else np.float32(1)
            given_one(alleles[begin], likelihoods[k], error, of_reference, of_alternate)
            scale = whole / total
            total = go_back(backward, mean, start, stay, alleles[begin], of_reference, of_alternate, scale)
            given_pairs(
                alleles[begin], likelihoods[k], error, reached, backward, of_reference, of_alternate, out[begin]
            )
    return out


@compiled
def given_pairs(copied, likelihood, error, reached, ahead, of_reference, of_alternate, out):  # type: ignore[no-untyped-def]
    """Write the posterior of the genotypes at an observed site, (3,): a call is certain, likelihoods are weighed by the pairs.

    Args:
        copied: uint8 (K,), alleles of the haplotypes at the site.
        likelihood, error: see `given_one`.
        reached: (K, K), probabilities of the pairs given the calls up to this site, up to a factor.
        ahead: (K, K), likelihood of the calls from this site on, given the pair at the site, up to a factor.
        of_reference, of_alternate: (K,), the site's own part in `ahead`, see `given_one`; turned over here.
        out: (3,), written.
    """
    top = max(likelihood[0], likelihood[1], likelihood[2])
    if likelihood[0] + likelihood[1] + likelihood[2] == top:
        for g in range(3):
            out[g] = likelihood[g] / top
        return
    n_states = len(copied)
    of_copies = np.zeros(3, dtype=np.float64)  # pairs with so many copies of the alternate allele
    for i in range(n_states):
        of_reference[i] = np.float32(1) / of_reference[i] if of_reference[i] > 0 else np.float32(0)
        of_alternate[i] = np.float32(1) / of_alternate[i] if of_alternate[i] > 0 else np.float32(0)
    for i in range(n_states):
        with_0 = with_1 = np.float32(0)
        without_own = of_alternate if copied[i] else of_reference
        for j in range(n_states):
            value = reached[i, j] * (ahead[i, j] * without_own[j])
            with_1 += value * copied[j]
            with_0 += value
        of_copies[copied[i]] += with_0 - with_1
        of_copies[copied[i] + 1] += with_1
    right = np.float64(1) - error
    total = 0.0
    for g in range(3):
        out[g] = 0
    for copies in range(3):
        first, second = (right if copies == 2 else np.float64(error)), (right if copies > 0 else np.float64(error))
        chances = (1 - first) * (1 - second), first * (1 - second) + (1 - first) * second, first * second
        whole = chances[0] * likelihood[0] + chances[1] * likelihood[1] + chances[2] * likelihood[2]
        if whole > 0 and of_copies[copies] > 0:
            total += of_copies[copies]
            for g in range(3):
                out[g] += of_copies[copies] * chances[g] * likelihood[g] / whole
    for g in range(3):
        out[g] /= total


@compiled
def reached_to(b, held, alleles, observed, likelihoods, error, switches, start):  # type: ignore[no-untyped-def]
    """Write the forward recursion of a block of observed sites, see `go_forward`, from what is kept before it, and keep the last for the next one.

    Args:
        b: number of the block.
        held: the arrays of `kept_forward`; those of the block are written.
        alleles, observed, likelihoods, error, switches, start: see `posterior`.
    """
    kept, kept_sums, kept_totals, block, block_sums = held
    size = len(block)
    sums, total = kept_sums[b].copy(), kept_totals[b]
    before = kept[b]
    for j in range(b * size, min((b + 1) * size, len(observed))):
        now = block[j - b * size]
        total = go_forward(before, sums, total, alleles[observed[j]], likelihoods[j], error, switches[j], start, now)
        block_sums[j - b * size] = sums
        before = now
    if b + 1 < len(kept):
        kept[b + 1], kept_sums[b + 1], kept_totals[b + 1] = before, sums, total


@compiled
def kept_forward(alleles, observed, likelihoods, error, switches, start):  # type: ignore[no-untyped-def]
    """Go forward over all observed sites; return what is kept before each block of √n of them, and the last block.

    Args:
        alleles, observed, likelihoods, error, switches, start: see `posterior`.

    Returns:
        kept, kept_sums, kept_totals: (n_blocks, K, K), (n_blocks, K), (n_blocks,): before each block, see `go_forward`.
        block, block_sums: (size, K, K), (size, K), of the last block: the pairs, and the sums of their rows.
    """
    n_observed, n_states = len(observed), alleles.shape[1]
    size = max(1, int(np.sqrt(n_observed)))
    n_blocks = -(-n_observed // size)
    kept = np.empty((n_blocks, n_states, n_states), dtype=np.float32)  # what comes before each block
    kept_sums, kept_totals = np.empty((n_blocks, n_states), dtype=np.float32), np.ones(n_blocks, dtype=np.float32)
    block = np.empty((size, n_states, n_states), dtype=np.float32)
    block_sums = np.empty((size, n_states), dtype=np.float32)
    kept[0], kept_sums[0] = np.outer(start, start), start
    held = kept, kept_sums, kept_totals, block, block_sums
    for b in range(n_blocks):
        reached_to(b, held, alleles, observed, likelihoods, error, switches, start)
    return held


@compiled
def go_back(state, mean, start, stay, copied, of_reference, of_alternate, scale):  # type: ignore[no-untyped-def]
    """Take one step of the backward recursion, over a gap and the observed site before it, in place; return the sum.

    Args:
        state: (K, K), likelihood of the calls behind the gap given the pair, up to a factor; of this site's call too, then.
        mean: (K,), the means of its rows, weighed by `start`; in place too.
        start: (K,), see `go_forward`.
        stay: probability of no switch in the gap.
        copied: uint8 (K,), alleles of the haplotypes at the site.
        of_reference, of_alternate: (K,), see `given_one`.
        scale: factor, so that numbers stay within what a float32 can hold.
    """
    n_states = len(start)
    switch = np.float32(1) - stay
    both = np.float32(0)
    for i in range(n_states):
        both += mean[i] * start[i]
    moved = mean * (switch * stay * scale) + np.float32(0.5) * switch * switch * scale * both
    both_stay = stay * stay * scale
    total = np.float32(0)
    for i in range(n_states):
        like = of_alternate if copied[i] else of_reference
        of_one = moved[i]
        row = part = np.float32(0)
        for j in range(n_states):
            value = (both_stay * state[i, j] + (of_one + moved[j])) * like[j]
            state[i, j] = value
            row += value * start[j]
            part += value
        mean[i] = row
        total += part
    return total


@compiled
def between(  # type: ignore[no-untyped-def]
    alleles, begin, end, place, left, right, switch_rate, start, reached, rows, ahead, mean, out
):
    """Write the posterior at the sites from `begin` to `end`, between two observed ones or beyond the first or last one.

    Let p be the probability of no switch from the observed site before to a site, u from the site to the observed site
    after, q = 1 - p and v = 1 - u; s the start, f the sum of F, r = F1, m = Bs and c = s'm. Pairs at the site have the
    probabilities p² F + pq (r s' + s r') + q² f s s', times u² B + uv (m 1' + 1 m') + v² c. Sums of this product over
    all pairs, over those whose one haplotype carries the allele that is rarer among the K, and over those with both, give
    the posterior; the sums over the other haplotype are nine terms, which the sites share.

    Args:
        alleles, place, switch_rate, start: see `posterior`.
        left, right: float64, places of the two observed sites.
        reached, rows: F, (K, K), the `forward` of the observed site before; r, (K,).
        ahead, mean: B, (K, K), likelihood of the calls from the observed site after on; m, (K,).
        out: (n_sites, 3), written from `begin` to `end`.
    """
    n_states = len(start)
    terms, sums = np.zeros((n_states, 9), dtype=np.float32), np.zeros(9, dtype=np.float64)
    carriers = np.zeros(n_states + 1, dtype=np.int64)
    one_r, one_m, passed = np.zeros((3, n_states), dtype=np.float32)
    of_carriers = np.zeros(9, dtype=np.float32)
    f = c = np.float32(0)
    shared = False
    for site in range(begin, end):
        n_carriers = 0
        for i in range(n_states):
            n_carriers += alleles[site, i]
        rarer = 0 if 2 * n_carriers > n_states else 1
        if n_carriers == 0 or n_carriers == n_states:
            out[site, 2 - 2 * rarer] = 1
            continue
        if not shared:
            f, c = shared_terms(start, reached, rows, ahead, mean, terms, sums)
            shared = True
        n_carriers = 0
        for i in range(n_states):
            carriers[n_carriers] = i
            n_carriers += alleles[site, i] == rarer
        p = np.float32(np.exp(-switch_rate * (place[site] - left)))
        u = np.float32(np.exp(-switch_rate * (right - place[site])))
        q, v = np.float32(1) - p, np.float32(1) - u
        from_left, from_right = (p * p, p * q, q * q), (u * u, u * v, v * v)
        for i in range(n_states):
            one_r[i], one_m[i], passed[i] = from_left[1] * rows[i], from_right[1] * mean[i], 0
        of_carriers[:] = 0
        with_two = np.float64(0)
        for x in range(n_carriers):
            i = carriers[x]
            for term in range(9):
                of_carriers[term] += terms[i, term]
            s, r, m = start[i], one_r[i], one_m[i]
            r_i, m_i = r + from_left[2] * f * s, m + from_right[2] * c
            of_left, of_right = reached[i], ahead[i]
            part = np.float32(0)  # of the carriers before this one: a pair the other way round is as probable
            if n_carriers > FEW:
                for j in range(min(i - i % 8 + 8, n_states)):
                    pair = from_left[0] * of_left[j] + r_i * start[j] + s * one_r[j]
                    part += passed[j] * pair * (from_right[0] * of_right[j] + m_i + one_m[j])
                passed[i] = 1
            else:
                for y in range(x):
                    j = carriers[y]
                    pair = from_left[0] * of_left[j] + r_i * start[j] + s * one_r[j]
                    part += pair * (from_right[0] * of_right[j] + m_i + one_m[j])
            pair = from_left[0] * of_left[i] + r_i * s + s * r
            with_two += 2 * part + pair * (from_right[0] * of_right[i] + m_i + m)
        whole = with_one = np.float64(0)
        for a in range(3):
            for b in range(3):
                weight = from_left[a] * from_right[b]
                whole += weight * sums[3 * a + b]
                with_one += weight * of_carriers[3 * a + b]
        with_one, with_two = min(with_one, whole), min(with_two, with_one)
        out[site, 2 * rarer] = with_two / whole
        out[site, 1] = 2 * (with_one - with_two) / whole
        out[site, 2 - 2 * rarer] = max(0.0, whole - 2 * with_one + with_two) / whole


@compiled
def shared_terms(start, reached, rows, ahead, mean, terms, sums):  # type: ignore[no-untyped-def]
    """Write what all sites of a gap share, see `between`: the nine sums over one haplotype of a pair, and over both.

    Return f and c.
    """
    n_states = len(start)
    f = c = rm = np.float32(0)
    for i in range(n_states):
        f += rows[i]
        c += mean[i] * start[i]
        rm += rows[i] * mean[i]
    for i in range(n_states):
        both = with_mean = with_rows = np.float32(0)
        for j in range(n_states):
            both += reached[i, j] * ahead[i, j]
            with_mean += reached[i, j] * mean[j]
            with_rows += ahead[i, j] * rows[j]
        s, r, m = start[i], rows[i], mean[i]
        terms[i, 0], terms[i, 1], terms[i, 2] = both, m * r + with_mean, c * r
        terms[i, 3], terms[i, 4], terms[i, 5] = r * m + s * with_rows, r * (m + c) + s * (m * f + rm), c * (r + s * f)
        terms[i, 6], terms[i, 7], terms[i, 8] = f * s * m, f * s * (m + c), f * c * s
    for term in range(9):
        total = 0.0
        for i in range(n_states):
            total += terms[i, term]
        sums[term] = total
    return f, c
