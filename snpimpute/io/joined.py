"""Lines of an imputed file for records with several ALTs, whose sites were imputed each by itself, or with haploid calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.records import copies_of, genotypes_of, homozygous
from snpimpute.io.target_line import COUNTED, PER_ALLELE, TargetLine

LEAST = 1e-9  # of a probability, so that sites that contradict each other have a genotype
NOTHING = 1e-6  # less is rounding error
OWN_INFO, OWN_FORMAT = {"AF", "DR2", "IMP"}, {"GT", "DS", "GP", "IC"}


@dataclass(frozen=True, eq=False)
class JoinedSite:
    """Record to write, with any number of ALTs.

    Attributes:
        contig, pos, id, ref, alts: of the record.
        posterior: float32 (n_alts, 3, n_samples), probabilities of 0, 1, 2 copies of each ALT, at each imputed by itself.
        alleles: int8 (n_samples, 2), observed calls by the number of the allele, twice that of a haploid call; -1 = imputed.
        phased: bool (n_samples,), whether an observed call is phased.
        line: the target's VCF line, None where the target has none.
        same_alleles: whether the line has the same alleles in the same order.
        haploid: bool (n_samples,), calls to write as haploid ones; their posterior is that of homozygotes. None = no call.
        first: int8 (n_alts, n_samples), for each ALT the first allele, 1 or 0, of a sample with one copy, -1 = not known. Every call
            is then written phased. None = only observed calls that are.
    """

    contig: str
    pos: int
    id: str
    ref: str
    alts: Sequence[str]
    posterior: np.ndarray
    alleles: np.ndarray
    phased: np.ndarray
    line: str | None
    same_alleles: bool
    haploid: np.ndarray | None = None
    first: np.ndarray | None = None


def joint_posterior(posterior: np.ndarray) -> np.ndarray:
    """Return the probabilities of genotypes, float64 (n_samples, n_genotypes), in VCF's order; rows sum to 1.

    That of a genotype is in proportion to the product of the probabilities of its copies of each ALT: the sites are taken as
    independent, but for a sample having two alleles.

    Args:
        posterior: as in JoinedSite.
    """
    n_alts = len(posterior)
    joint = np.ones((posterior.shape[2], len(genotypes_of(n_alts))))
    for number, of_alt in enumerate(posterior, start=1):
        joint *= np.maximum(of_alt.T.astype(np.float64), LEAST) @ copies_of(number, n_alts).T
    joint /= joint.sum(axis=1, keepdims=True)
    joint[joint < NOTHING] = 0
    return joint / joint.sum(axis=1, keepdims=True)


def joined_line(
    site: JoinedSite,
    keep_fields: bool = False,
    ties_lean: bool = False,
    per_allele: Collection[str] = frozenset(PER_ALLELE),
    drawn: bool = False,
) -> str:
    """Return a record as a VCF line, without its end: GT, DS of each ALT, GP of each genotype and IC; AF and DR2 of each ALT.

    Haploid calls have one allele in GT, DS from 0 to 1, and GP of each allele.

    Args:
        site: the record.
        keep_fields: whether other fields of the target's line are kept; those with a value per allele or genotype only if the
            alleles are the same.
        ties_lean: whether a DS half way between two genotypes is moved by 0.0001 towards GT (for a .pgen).
        per_allele: keys of the fields with a value per allele or genotype.
        drawn: whether the record holds one draw from a posterior, without DS, GP and DR2.
    """
    genotypes, n_alts = genotypes_of(len(site.alts)), len(site.alts)
    seen = (site.alleles != MISSING).all(axis=1)
    joint = joint_posterior(site.posterior)
    low, high = np.sort(site.alleles[seen], axis=1).astype(int).T
    joint[seen] = np.arange(len(genotypes)) == (high * (high + 1) // 2 + low)[:, None]
    alleles = np.where(seen[:, None], site.alleles, genotypes[joint.argmax(axis=1)])
    line = None if site.line is None else TargetLine(site.line, len(seen))
    in_sets = line is not None and line.in_sets and (site.first is not None or not keep_fields)
    phased = seen & site.phased & (not in_sets)
    alleles = np.sort(alleles, axis=1) if in_sets else alleles
    if site.first is not None:
        low, high = np.sort(alleles, axis=1).T
        on_first = site.first[np.maximum(high - 1, 0), np.arange(len(seen))] == 1
        ordered = np.where(on_first[:, None], np.stack([high, low], axis=1), np.stack([low, high], axis=1))
        alleles, phased = np.where(phased[:, None], alleles, ordered), np.ones(len(seen), dtype=bool)
    copies = np.stack([(genotypes == number).sum(axis=1) for number in range(1, n_alts + 1)], axis=1)
    doses, squares = joint @ copies, joint @ copies**2
    true = squares.mean(axis=0) - doses.mean(axis=0) ** 2
    r2 = np.divide(doses.var(axis=0), true, out=np.zeros(n_alts), where=true > 1e-6)
    haploid = np.zeros(len(seen), dtype=bool) if site.haploid is None else site.haploid
    one_copy = np.where(haploid, 2, 1)[:, None]  # in copies of the diploid genotype
    n_alleles = int((2 - haploid).sum())
    info = [f"AF={_listed((doses / one_copy).sum(axis=0) / n_alleles, '.4g')}"]
    info += [] if drawn else [f"DR2={_listed(np.clip(r2, 0, 1), '.2f')}"]
    info += [] if seen.any() else ["IMP"]
    joint[np.ix_(haploid, np.delete(np.arange(len(genotypes)), homozygous(n_alts)))] = 0
    hundredths = [np.rint(100 * doses / one_copy), np.rint(100 * joint)]
    numbers = np.column_stack([alleles, phased, ~seen, haploid, *hundredths])
    kinds, which = np.unique(numbers.astype(np.int16), axis=0, return_inverse=True)
    spelled = [_text(kind.tolist(), n_alts, ties_lean) for kind in kinds]
    name, quality, passed, keys = site.id, ".", "PASS", "GT:DS:GP:IC"
    if drawn:
        keys, spelled = "GT:IC", [f"{text.split(':')[0]}:{text.split(':')[-1]}" for text in spelled]
    texts = np.array(spelled, dtype=object)[which.ravel()].tolist()
    if line is not None:
        name, quality, passed = (site.id if line.name == "." else line.name), line.quality, line.passed
        if keep_fields:
            dropped = (set() if site.same_alleles else set(per_allele)) | ({"PS"} if site.first is not None else set())
            info += line.other_info(COUNTED | OWN_INFO | dropped)
            others, values = line.other_fields(OWN_FORMAT | dropped)
            if others:
                keys = f"{keys}:{others}"
                texts = [f"{text}:{value}" for text, value in zip(texts, values, strict=True)]
    fixed = [
        site.contig,
        str(site.pos),
        name or ".",
        site.ref,
        ",".join(site.alts),
        quality,
        passed,
        ";".join(info),
        keys,
    ]
    return "\t".join([*fixed, *texts])


def _text(numbers: list[int], n_alts: int, ties_lean: bool) -> str:
    """Return the text of a call: two alleles, whether phased, imputed, haploid, DS of each ALT and GP, in hundredths."""
    first, second, phased, imputed, haploid, *hundredths = numbers
    doses: list[float] = list(hundredths[:n_alts])
    probabilities = hundredths[n_alts:]
    if haploid:
        probabilities = [probabilities[place] for place in homozygous(n_alts)]
    if (
        ties_lean and n_alts == 1 and doses[0] in ((25, 75) if haploid else (50, 150))
    ):  # PLINK 2 doubles those of haploids
        copies = first if haploid else first + second
        doses = [doses[0] + (0.01 if 100 * copies > doses[0] else -0.01)]
    ds, gp = (",".join(f"{number / 100:g}" for number in part) for part in (doses, probabilities))
    genotype = f"{first}" if haploid else f"{first}{'|' if phased else '/'}{second}"
    return f"{genotype}:{ds}:{gp}:{imputed}"


def _listed(values: np.ndarray, form: str) -> str:
    return ",".join(f"{value:{form}}" for value in values)
