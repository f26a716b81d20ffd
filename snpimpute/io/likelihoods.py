"""Genotype likelihoods of a record (FORMAT/PL, GL or GP), in place of its calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.records import HAPLOID, NO_CALL, UNPHASED, UNSTATED, genotypes_of, homozygous

FIELDS = ("PL", "GL", "GP")


def likelihoods_of(
    table: np.ndarray | None, key: str, n_samples: int, n_alts: int, place: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return likelihoods of genotypes, float32 (n_samples, n_genotypes), and where they are haploid, bool (n_samples,).

    Genotypes are in VCF's order, haploid ones stand as homozygotes, and the largest is 1; all are 1 where nothing is known.

    Args:
        table: float32 (n_samples, n values), the field, NaN = missing; None where the record lacks it.
        key: one of FIELDS: PL is phred-scaled, GL a logarithm to base 10, GP a probability.
        n_samples, n_alts: numbers of samples and ALTs.
        place: file and position, for messages.

    Raises:
        InputError: a sample has another number of values than there are genotypes or alleles, or values that the field
            cannot have.
    """
    n_genotypes = len(genotypes_of(n_alts))
    out, haploid = np.ones((n_samples, n_genotypes), dtype=np.float32), np.zeros(n_samples, dtype=bool)
    if table is None or not n_alts:
        return out, haploid
    given = ~np.isnan(table)  # a GL may be -inf
    n_values = given.sum(axis=1)
    at_first = np.logical_and.accumulate(given, axis=1).sum(axis=1) == n_values
    diploid, haploid = n_values == n_genotypes, (n_values == n_alts + 1) & at_first
    if (odd := ~(diploid | haploid) & (n_values > 0)).any():
        raise InputError(
            f"{place}: FORMAT/{key} has {n_values[odd][0]} values, and {n_alts + 1} alleles make {n_genotypes} genotypes (of a "
            f"haploid call {n_alts + 1}): make it again, or impute from GT without --use {key}"
        )
    known = table[diploid | haploid]
    if (key == "PL" and (known < 0).any()) or (key == "GP" and ((known < 0) | (known > 1.001)).any()):
        wanted = "numbers of 0 and above" if key == "PL" else "probabilities from 0 to 1"
        raise InputError(f"{place}: FORMAT/{key} holds other values than {wanted}")
    with np.errstate(invalid="ignore"):
        linear = {
            "PL": lambda v: 10 ** (-v / 10),
            "GL": lambda v: 10 ** (v - np.nanmax(v, axis=1, initial=-np.inf)[:, None]),
        }
        values = linear.get(key, np.asarray)(table)
    out[diploid] = values[diploid, :n_genotypes]
    out[haploid] = 0
    out[np.ix_(haploid, homozygous(n_alts))] = values[haploid, : n_alts + 1]
    largest = out.max(axis=1, keepdims=True)
    return np.where(largest > 0, out / np.where(largest > 0, largest, 1), 1), haploid


def likeliest_calls(likelihoods: np.ndarray, haploid: np.ndarray, alts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the likeliest genotypes as alleles, int8 (n_samples, 2), and kinds, int8 (n_samples,).

    NO_CALL where all are alike. Genotypes with an allele that is not named (`<*>`, UNSTATED) are never called.
    """
    genotypes = genotypes_of(len(alts))
    unnamed = [number for number, alt in enumerate(alts, start=1) if alt in UNSTATED]
    named = np.where(np.isin(genotypes, unnamed).any(axis=1), 0, likelihoods)
    known = likelihoods.min(axis=1) < 1
    alleles = np.where(known[:, None], genotypes[named.argmax(axis=1)], MISSING).astype(np.int8)
    kinds = np.where(known, np.where(haploid, HAPLOID, UNPHASED), NO_CALL).astype(np.int8)
    alleles[kinds == HAPLOID, 1] = MISSING
    return alleles, kinds
