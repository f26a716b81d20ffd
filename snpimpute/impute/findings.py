"""Findings of the check of a target against a panel: problems, which stop an imputation, and warnings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import SITE_COLUMNS
from snpimpute.impute.matching import KINDS, MIN_CALLS_FOR_FREQUENCY, USABLE, PanelSites, name_digests
from snpimpute.io.builds import build_of
from snpimpute.io.filters import shortened
from snpimpute.io.haploid import HaploidCalls
from snpimpute.io.records import Stream

# Limits of problems, which stop an imputation.
MAX_OTHER_ALLELES = 0.1  # share of the SNPs at the panel's positions whose alleles the panel does not know
MIN_SHARED = 0.01  # share of the target's SNPs or of the panel's sites; another build shares fewer positions by chance
MIN_FREQUENCY_CORRELATION = 0.2  # of alternate allele frequencies, target and panel; wrong alleles give 0 or below
MIN_SITES_TO_JUDGE = 20  # with fewer sites, a share of them is no problem
MIN_SITES_FOR_CORRELATION = 100
MIN_SAMPLES_FOR_CORRELATION = 10  # one sample's haplotype can differ from the panel's frequencies at every site

# Limits of warnings.
MIN_CALL_RATE = 0.9
MAX_FREQUENCY_DIFFERENCE = 0.3
MAX_SITE_CONFLICTS = 0.05  # share of the trios at a site
MAX_TRIO_CONFLICTS = 0.02  # share of the sites of a trio; a wrong parent shows several times as many
MIN_HETEROZYGOUS = 100  # samples with fewer heterozygous calls may be identical by chance


@dataclass(frozen=True, eq=False)
class TargetCheck:
    """Result of the check of a target against a panel.

    Attributes:
        target, panel: names of the two files.
        sites: a row per site of the target, in its order, a record with several ALTs having one for each: contig, pos, id, ref,
            alt (as in the target; empty for none), `record` (its number), `allele` (number of the ALT in the record), `n_alts` (of
            the record), `kind` (a key of KINDS), `panel_index` (the row of the
            panel's site, -1 if the calls cannot be used), `panel_site` (the same, but also set if the calls cannot be
            used, such as those of more than two alleles; -1 if the panel has no site with these alleles), `palindromic` (bool),
            `call_rate` (share of the samples with a whole call), `alt_frequency` (of the target's ALT; of the
            panel's ALT if the record is usable; NaN without calls), `panel_frequency` (NaN if not usable), `haploid`,
            `half` (calls), `trios`, `conflicts` (trios with enough calls, and those that contradict inheritance),
            `passed` (FILTER).
        samples: a row per sample: `sample`, `group` (if the sample table has it), `call_rate` and `heterozygosity`
            (at sites with one ALT; NaN without calls), `phased` (share of the diploid calls), `haploid`, `half` (calls).
        trios: a row per sample with a genotyped parent: `sample`, `sire`, `dam` (empty = not in the target), `sites`
            (compared), `conflicts`, `sire_conflicts`, `dam_conflicts` (opposite homozygotes of one parent).
        contigs: the target's contig → the panel's contig, for those that both have.
        builds: genome builds of target and panel according to their headers; empty = not known.
        counts: counts over the whole file; see docs/check.md.
        frequency_correlation: correlation of the alternate allele's frequency in target and panel, over usable sites;
            NaN if it cannot be computed.
        problems: findings that stop an imputation, a line each.
        warnings: findings that the user should look at, a line each.
    """

    target: str
    panel: str
    sites: pd.DataFrame
    samples: pd.DataFrame
    trios: pd.DataFrame
    contigs: dict[str, str]
    builds: tuple[str, str]
    counts: dict[str, int]
    frequency_correlation: float
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def usable(self) -> np.ndarray:
        """Bool (n_sites,): whether the calls of a site can be used."""
        return self.sites.kind.isin(USABLE).to_numpy()

    @property
    def excluded(self) -> pd.DataFrame:
        """Records that are left out: contig, pos, id, ref, alt, reason, explanation."""
        left = self.sites.loc[~self.usable, [*SITE_COLUMNS, "kind"]].rename(columns={"kind": "reason"})
        return left.assign(explanation=left.reason.map(KINDS)).reset_index(drop=True)

    def require_imputable(self) -> None:
        """Raise InputError with all problems in one line, if there are any."""
        if self.problems:
            raise InputError(f"{self.target} cannot be imputed with {self.panel}: {'; '.join(self.problems)}")


def conclude_check(
    stream: Stream,
    panel: PanelSites,
    sites: pd.DataFrame,
    samples: pd.DataFrame,
    trios: pd.DataFrame,
    contigs: dict[str, str],
    haploid: HaploidCalls,
) -> TargetCheck:
    """Return the result of a check: counts, problems and warnings.

    Args:
        stream: the target.
        panel: sites that the target was compared with.
        sites: a row per record of the target, from `classify_records`.
        samples: a row per sample of the target.
        trios: a row per sample with a genotyped parent.
        contigs: the target's contig → the panel's contig.
        haploid: the target's haploid calls.
    """
    usable = sites.kind.isin(USABLE)
    counts = {"records": len(sites), "usable": int(usable.sum()), "panel_sites": len(panel.sites)}
    counts |= {kind.replace(" ", "_").replace("-", "_"): int((sites.kind == kind).sum()) for kind in KINDS}
    counts |= {
        "usable_palindromic": int((usable & sites.palindromic).sum()),
        "without_alt": int((usable & (sites.alt == "")).sum()),
        "filtered": int((usable & ~sites.passed).sum()),
        "samples": len(samples),
        "calls": int(sites.called.sum()),
        "calls_at_usable": int(sites.called[usable].sum()),
        "phased_calls": int(sites.phased.sum()),
        "half_calls": int(sites.half.sum()),
        "haploid_calls": int(sites.haploid.sum()),
        "polyploid_calls": int(sites.polyploid.sum()),
        "trios": len(trios),
    }
    builds = build_of(stream.contig_lengths), build_of(panel.contig_lengths)
    correlation = _correlation(sites[usable])
    problems = _problems(sites, panel, counts, contigs, builds, correlation)
    if odd := haploid.odd(samples["sample"].tolist()):
        problems.append(odd)
    warnings = _warnings(sites, samples, trios, counts, contigs, builds, correlation)
    names = samples["sample"].tolist()
    if again := [name for name, short in zip(names, name_digests(names), strict=True) if short in panel.samples]:
        warnings.append(
            f"in the panel too, under the same name: {numbered(len(again), 'sample')} ({shortened(again)}): imputed from "
            "their own genotypes, and no measure of how well others are"
        )
    if haploid.runs:
        warnings.append(f"haploid calls, written as haploid again: {shortened(list(map(str, haploid.runs)), 4)}")
    warnings += _length_warnings(stream.contig_lengths, panel.contig_lengths, contigs, builds)
    return TargetCheck(
        target=stream.name, panel=panel.name, sites=sites.drop(columns=["called", "phased", "polyploid"]),
        samples=samples.drop(columns=["heterozygous", "fingerprint"]), trios=trios, contigs=contigs, builds=builds,
        counts=counts, frequency_correlation=correlation, problems=tuple(problems), warnings=tuple(warnings),
    )  # fmt: skip


def _correlation(usable: pd.DataFrame) -> float:
    both = usable.alt_frequency.notna() & usable.panel_frequency.notna()
    own, expected = usable.alt_frequency[both].to_numpy(), usable.panel_frequency[both].to_numpy()
    if len(own) < 2 or own.std() < 1e-9 or expected.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(own, expected)[0, 1])


def _problems(
    sites: pd.DataFrame,
    panel: PanelSites,
    counts: dict[str, int],
    contigs: dict[str, str],
    builds: tuple[str, str],
    correlation: float,
) -> list[str]:
    found = []
    if all(builds) and builds[0] != builds[1]:
        found.append(
            f"the target's contigs are those of {builds[0]}, the panel's those of {builds[1]}: lift one over to the other"
        )
    if not contigs:
        own, there = (shortened(list(dict.fromkeys(of.contig))) for of in (sites, panel.sites))
        found.append(f"no contig in common: the target has {own}, the panel {there}")
    elif not counts["usable"]:
        found.append(f"no site in common: {_why_none(counts)}")
    elif not counts["calls_at_usable"]:
        found.append(f"not one call at the {counts['usable']:,} sites that both have: there is nothing to impute from")
    known = counts["usable"] + counts["flipped"] + counts["palindromic"] + counts["other_alleles"]
    snps = known + counts["outside"]
    if 0 < counts["usable"] < MIN_SHARED * min(snps, counts["panel_sites"]):
        found.append(
            f"only {numbered(counts['usable'], 'site')} in common, of {snps:,} SNPs of the target and {counts['panel_sites']:,} sites of "
            f"the panel: another genome build or region"
        )
    if known >= MIN_SITES_TO_JUDGE and counts["other_alleles"] > MAX_OTHER_ALLELES * known:
        found.append(
            f"{counts['other_alleles']:,} of the {known:,} SNPs at positions of the panel have alleles that the panel does not "
            f"know: another genome build, or alleles that are not written as bases of the reference"
        )
    judged = counts["usable"] >= MIN_SITES_FOR_CORRELATION and counts["samples"] >= MIN_SAMPLES_FOR_CORRELATION
    if judged and correlation < MIN_FREQUENCY_CORRELATION:
        found.append(
            f"the allele frequencies do not agree with those of the panel (correlation {correlation:.2f}): "
            f"alleles are mixed up, or the target is of another population or genome build"
        )
    return found


def _why_none(counts: dict[str, int]) -> str:
    """Return the number of records of each kind that cannot be used, in words, the largest first."""
    reasons = {kind: counts[kind.replace(" ", "_").replace("-", "_")] for kind in KINDS if kind not in USABLE}
    most = sorted(((n, kind) for kind, n in reasons.items() if n), reverse=True)
    return f"of {counts['records']:,} records " + ", ".join(f"{n:,} {kind}" for n, kind in most)


def _warnings(
    sites: pd.DataFrame,
    samples: pd.DataFrame,
    trios: pd.DataFrame,
    counts: dict[str, int],
    contigs: dict[str, str],
    builds: tuple[str, str],
    correlation: float,
) -> list[str]:
    usable = sites[sites.kind.isin(USABLE)]
    found = []
    if renamed := [f"{own} is {there}" for own, there in contigs.items() if own != there]:
        found.append(f"contigs with another name in the panel: {shortened(renamed)}")
    if absent := [contig for contig in dict.fromkeys(sites.contig) if contig not in contigs]:
        n = int(sites.contig.isin(absent).sum())
        found.append(f"contigs that the panel lacks, passed through: {shortened(absent)} ({numbered(n, 'record')})")
    counted = {
        "swapped": f"REF and ALT exchanged, the calls turned round: {numbered(counts['swapped'], 'site')}",
        "flipped": f"on the other strand, left out (bcftools +fixref corrects them): {numbered(counts['flipped'], 'site')}",
        "palindromic": f"A/T or C/G whose strand cannot be determined, left out: {numbered(counts['palindromic'], 'site')}",
        "other_alleles": f"other alleles than the panel at the same position: {numbered(counts['other_alleles'], 'SNP')}",
        "duplicate": f"repeating a site of another record, left out: {numbered(counts['duplicate'], 'record')}",
        "not_diploid": f"calls of more than two alleles, passed through: {numbered(counts['not_diploid'], 'site')}",
        "half_calls": f"half calls (0/.), taken as missing: {counts['half_calls']:,}",
        "filtered": f"marked by FILTER but used: {numbered(counts['filtered'], 'site')}",
    }
    found += [line for name, line in counted.items() if counts[name]]
    diploid = counts["calls"] - counts["haploid_calls"]
    if 0 < counts["phased_calls"] < diploid:
        share = counts["phased_calls"] / diploid
        found.append(f"phased and unphased calls are mixed: {share:.0%} are phased")
    if low := int((usable.call_rate < MIN_CALL_RATE).sum()):
        found.append(f"calls for less than {MIN_CALL_RATE:.0%} of the samples: {numbered(low, 'usable site')}")
    low_samples = samples["sample"][samples.call_rate < MIN_CALL_RATE].tolist()
    if low_samples:
        found.append(
            f"less than {MIN_CALL_RATE:.0%} of the calls: {numbered(len(low_samples), 'sample')} ({shortened(low_samples)})"
        )
    apart = (usable.alt_frequency - usable.panel_frequency).abs() > MAX_FREQUENCY_DIFFERENCE
    if n := int((apart & (usable.called >= MIN_CALLS_FOR_FREQUENCY)).sum()):
        found.append(f"allele frequency more than {MAX_FREQUENCY_DIFFERENCE} from the panel's: {numbered(n, 'site')}")
    few = counts["samples"] < MIN_SAMPLES_FOR_CORRELATION or counts["usable"] < MIN_SITES_FOR_CORRELATION
    if few and correlation < MIN_FREQUENCY_CORRELATION:
        found.append(
            f"allele frequencies do not agree with those of the panel (correlation {correlation:.2f}), but there are few data to judge by"
        )
    return found + _sample_warnings(samples) + _trio_warnings(sites, trios)


def _sample_warnings(samples: pd.DataFrame) -> list[str]:
    """Return a warning that names samples with identical calls, if there are any."""
    rich = samples[samples.heterozygous >= MIN_HETEROZYGOUS]
    alike = [list(group["sample"]) for _, group in rich.groupby("fingerprint") if len(group) > 1]
    return [f"identical in every call: {shortened([' = '.join(names) for names in alike])}"] if alike else []


def _trio_warnings(sites: pd.DataFrame, trios: pd.DataFrame) -> list[str]:
    found = []
    wrong = trios[trios.conflicts > MAX_TRIO_CONFLICTS * trios.sites.clip(lower=MIN_SITES_TO_JUDGE)]
    if len(wrong):
        names = [
            f"{row.sample} ({row.conflicts / row.sites:.1%} of {row.sites:,} sites; sire {row.sire_conflicts:,}, dam {row.dam_conflicts:,})"
            for row in wrong.itertuples()
        ]
        found.append(f"contradicting their parents: {numbered(len(wrong), 'sample')}: {shortened(names, 4)}")
    at_sites = int((sites.conflicts > MAX_SITE_CONFLICTS * sites.trios.clip(lower=MIN_SITES_TO_JUDGE)).sum())
    if at_sites:
        found.append(
            f"contradicting inheritance in more than {MAX_SITE_CONFLICTS:.0%} of the families: {numbered(at_sites, 'site')}"
        )
    return found


def _length_warnings(
    own: dict[str, int], panel: dict[str, int], contigs: dict[str, str], builds: tuple[str, str]
) -> list[str]:
    """Return a warning that names contigs whose length differs between the headers, unless both builds are known."""
    if all(builds):
        return []
    different = [
        f"{contig} ({own[contig]:,} and {panel[there]:,})"
        for contig, there in contigs.items()
        if contig in own and there in panel and own[contig] != panel[there]
    ]
    if not different:
        return []
    return [f"contig lengths differ between the headers of target and panel: {shortened(different, 4)}"]
