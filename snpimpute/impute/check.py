"""A target against a panel before anything is imputed: same build, same sites, same alleles, and are the calls sound."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.inheritance import Trios
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS, GenotypeMatrix
from snpimpute.io.builds import build_of, plain_contig
from snpimpute.io.filters import BASES, shortened
from snpimpute.io.records import HALF, HAPLOID, N_KINDS, PHASED, POLYPLOID, UNPHASED, Record, Stream
from snpimpute.io.stream import streamed

# What a record of the target is to the panel. The calls of the first two can be used; the others are left out.
SHARED = "shared"
SWAPPED = "swapped"
FLIPPED = "flipped"
PALINDROMIC = "palindromic"
ALLELES = "other alleles"
OUTSIDE = "outside"
MULTIALLELIC = "multi-allelic"
INDEL = "indel"
NOT_DIPLOID = "not diploid"
DUPLICATE = "duplicate"
USABLE = (SHARED, SWAPPED)
KINDS = {
    SHARED: "the panel's site, REF and ALT alike",
    SWAPPED: "the panel's site with REF and ALT exchanged; the calls are turned round",
    FLIPPED: "the panel has the alleles of the other strand",
    PALINDROMIC: "A/T or C/G, and its strand cannot be told",
    ALLELES: "the panel has other alleles at this position",
    OUTSIDE: "the panel has no site at this position",
    MULTIALLELIC: "more than one alternate allele",
    INDEL: "not a single base for another (indel, symbolic allele)",
    NOT_DIPLOID: "has haploid calls (X, Y, MT) or calls of more than two alleles",
    DUPLICATE: "the same site as an earlier record",
}

# What stops an imputation.
MAX_OTHER_ALLELES = 0.1  # share of the SNPs at the panel's positions whose alleles the panel does not know
MIN_SHARED = (
    0.01  # share of the target's SNPs, or of the panel's sites; positions of another build meet by chance below it
)
MIN_FREQUENCY_CORRELATION = 0.2  # of alternate allele frequencies, target and panel; wrong alleles give 0 or below
MIN_SITES_TO_JUDGE = 20  # below so many sites a share of them stops nothing
MIN_SITES_FOR_CORRELATION = 100
MIN_SAMPLES_FOR_CORRELATION = 10  # one sample's haplotype can differ from the panel's frequencies at every site

# What is warned of.
MAX_STRAND_FLIPS = 0.01  # above this share of the matched sites the file mixes strands: no palindromic site is used
MIN_CALL_RATE = 0.9
MIN_CALLS_FOR_FREQUENCY = 20
MAX_FREQUENCY_DIFFERENCE = 0.3
PALINDROMIC_MARGIN = 0.2  # by so much nearer to the other strand's frequency, an A/T or C/G site is not used
MAX_SITE_CONFLICTS = 0.05  # share of the trios at a site
MAX_TRIO_CONFLICTS = 0.02  # share of the sites of a trio; a wrong parent shows several times as many
MIN_HETEROZYGOUS = 100  # identical samples with fewer heterozygous calls than this need not be one and the same

SEX_CONTIGS = ("X", "Y", "XY", "MT", "Z", "W")  # inheritance is another there
BASE_CODES = {"A": 0, "C": 1, "G": 2, "T": 3}  # the complement of a base is 3 minus its code


@dataclass(frozen=True, eq=False)
class PanelSites:
    """What a target is compared to: the sites of a panel, or of a model fitted on one.

    Attributes:
        sites: contig, pos, id, ref, alt (genotypes.SITE_COLUMNS), biallelic SNPs.
        alt_frequency: float64 (n_sites,), NaN where not known.
        name: of the panel, for messages.
        contig_lengths: contig → length in bases, as far as known.
    """

    sites: pd.DataFrame
    alt_frequency: np.ndarray
    name: str = "the panel"
    contig_lengths: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.alt_frequency.shape != (len(self.sites),):
            raise ValueError(f"alt_frequency must be ({len(self.sites)},), got {self.alt_frequency.shape}")

    @classmethod
    def of_file(cls, path: Path) -> PanelSites:
        """The biallelic SNPs of a VCF, BCF or PLINK 1 file, the first one at each position.

        Raises:
            InputError: the file cannot be read (see io.stream.streamed), or has no such site.
        """
        rows: list[tuple[str, int, str, str, str]] = []
        frequency = array("d")
        last = ("", 0)
        with streamed(path) as (panel,):
            for record in panel.records:
                if not _is_snp(record) or not record.alts or (record.contig, record.pos) == last:
                    continue
                last = (record.contig, record.pos)
                calls = record.calls
                known = calls != MISSING
                n = int(known.sum())
                rows.append((record.contig, record.pos, record.id, record.ref, record.alts[0]))
                frequency.append(float(calls[known].sum(dtype=np.int64)) / (2 * n) if n else np.nan)
        if not rows:
            raise InputError(f"{panel.name} has no biallelic SNP: a panel needs some")
        sites = pd.DataFrame(rows, columns=list(SITE_COLUMNS)).astype({"pos": np.int64})
        return cls(sites, np.array(frequency), panel.name, panel.contig_lengths)

    @classmethod
    def of_matrix(cls, matrix: GenotypeMatrix, name: str = "the panel") -> PanelSites:
        """The sites of a matrix with their frequencies."""
        return cls(matrix.sites, matrix.alt_frequency(), name)


@dataclass(frozen=True, eq=False)
class TargetCheck:
    """What the comparison found.

    Attributes:
        target, panel: names of the two.
        sites: a row per record of the target, in its order: contig, pos, id, ref, alt (as in the target; several
            alternate alleles joined by commas, empty for none), `kind` (a key of KINDS), `panel_index` (the row of the
            panel's site, -1 where the calls cannot be used), `panel_site` (the same, but also where they cannot, as in
            haploid calls; -1 where the panel has no site of these alleles), `palindromic` (bool), `call_rate` (share of
            the samples with two known alleles), `alt_frequency` (of the target's ALT; of the panel's ALT where the
            record is usable; NaN without calls), `panel_frequency` (NaN where not usable), `haploid`, `half` (calls),
            `trios`, `conflicts` (complete enough trios, and those that contradict inheritance), `passed` (FILTER).
        samples: a row per sample: `sample`, `group` (where the sample table has it), `call_rate` and `heterozygosity`
            (at biallelic SNPs; NaN without calls), `phased` (share of the calls), `haploid`, `half` (calls).
        trios: a row per sample with a genotyped parent: `sample`, `sire`, `dam` (empty = not in the target), `sites`
            (compared), `conflicts`, `sire_conflicts`, `dam_conflicts` (opposite homozygotes of one parent).
        contigs: the target's contig → the panel's, for those that both have.
        builds: genome builds of target and panel, as their headers tell; empty = not told.
        counts: what is counted over the whole file; see docs/check.md.
        frequency_correlation: of the alternate allele's frequency in target and panel, over usable sites; NaN if
            it cannot be computed.
        problems: what must stop an imputation, a line each.
        warnings: what to look at, a line each.
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
        """bool (n_records,): whether the calls of a record can be used."""
        return self.sites.kind.isin(USABLE).to_numpy()

    @property
    def excluded(self) -> pd.DataFrame:
        """The records left out: contig, pos, id, ref, alt, reason, explanation."""
        left = self.sites.loc[~self.usable, [*SITE_COLUMNS, "kind"]].rename(columns={"kind": "reason"})
        return left.assign(explanation=left.reason.map(KINDS)).reset_index(drop=True)

    def require_imputable(self) -> None:
        """Raise InputError with all problems in one line, if there are any."""
        if self.problems:
            raise InputError(f"{self.target} cannot be imputed with {self.panel}: {'; '.join(self.problems)}")


def check_target(target: Path, panel: PanelSites, *, samples: pd.DataFrame | None = None) -> TargetCheck:
    """Compare a target with a panel, record by record; memory grows with the number of sites and samples, not their product.

    Args:
        target: VCF, BCF or PLINK 1 (.bed).
        panel: the sites to compare it to.
        samples: a sample table (io.samples.read_samples); its columns sire and dam say whose calls to hold against each
            other. Rows of samples that the target lacks are passed over.

    Returns:
        What was found. Sites whose strand cannot be told from their alleles (A/T, C/G) are taken as the panel has them
        where no more than MAX_STRAND_FLIPS of the others are flipped, and the frequency does not speak against it.

    Raises:
        InputError: the target cannot be read at all: see io.stream.streamed.
    """
    with streamed(target) as (stream,):
        table = None if samples is None else _known_samples(samples, stream)
        tally = _Tally(stream.names, Trios.of(stream.names, table))
        for record in stream.records:
            tally.add(record)
    sites = tally.sites()
    contigs = _matching_contigs(list(dict.fromkeys(sites.contig)), list(dict.fromkeys(panel.sites.contig)))
    sites = _classified(sites, panel, contigs)
    return _concluded(stream, panel, sites, tally.samples(table), tally.trios.table(), contigs)


# ---------------------------------------------------------------------- one pass over the target


class _Tally:
    """Sums over the records of the target."""

    def __init__(self, names: Sequence[str], trios: Trios) -> None:
        self.trios = trios
        self._names = list(names)
        self._rows: list[tuple[str, str, str, str]] = []
        self._pos = array("q")
        # of each record: alternate copies, trios, conflicts, passed, then a count per kind of call
        self._numbers = array("q")
        self._of_samples = np.zeros((len(names), N_KINDS), dtype=np.int64)
        self._heterozygous = np.zeros(len(names), dtype=np.int64)
        self._fingerprint = np.zeros(len(names), dtype=np.uint64)

    def add(self, record: Record) -> None:
        kinds = np.bincount(record.kinds, minlength=N_KINDS)
        calls = record.calls
        seen = calls != MISSING
        compared = conflicts = 0
        if _is_snp(record):
            self._of_samples[np.arange(len(self._names)), record.kinds] += 1
            self._heterozygous += calls == 1
            self._fingerprint = self._fingerprint * np.uint64(1099511628211) + (calls + 2).astype(np.uint64)
            if plain_contig(record.contig) not in SEX_CONTIGS:
                compared, conflicts = self.trios.add(calls)
        self._rows.append((record.contig, record.id, record.ref, ",".join(record.alts)))
        self._pos.append(record.pos)
        copies = int(calls[seen].sum(dtype=np.int64))
        self._numbers.extend([copies, compared, conflicts, int(record.passed), *kinds.tolist()])

    def sites(self) -> pd.DataFrame:
        """The records without what the panel says of them; alt_frequency of the target's own ALT."""
        sites = pd.DataFrame(self._rows, columns=["contig", "id", "ref", "alt"])
        sites.insert(1, "pos", np.array(self._pos, dtype=np.int64))
        numbers = np.array(self._numbers, dtype=np.int64).reshape(len(sites), 4 + N_KINDS)
        copies, compared, conflicts, passed = numbers[:, :4].T
        kinds = numbers[:, 4:]
        called = kinds[:, UNPHASED] + kinds[:, PHASED]
        single = (sites.alt.str.len() <= 1).to_numpy()
        with np.errstate(invalid="ignore"):
            frequency = np.where(single, copies / (2 * called), np.nan)
        return sites.assign(
            call_rate=called / len(self._names), alt_frequency=frequency, haploid=kinds[:, HAPLOID], half=kinds[:, HALF],
            polyploid=kinds[:, POLYPLOID], called=called, phased=kinds[:, PHASED], trios=compared, conflicts=conflicts,
            passed=passed.astype(bool),
        )  # fmt: skip

    def samples(self, table: pd.DataFrame | None) -> pd.DataFrame:
        called = self._of_samples[:, UNPHASED] + self._of_samples[:, PHASED]
        with np.errstate(invalid="ignore"):
            columns = {
                "sample": self._names,
                "call_rate": called / self._of_samples.sum(axis=1),
                "heterozygosity": self._heterozygous / called,
                "phased": self._of_samples[:, PHASED] / called,
                "haploid": self._of_samples[:, HAPLOID],
                "half": self._of_samples[:, HALF],
                "heterozygous": self._heterozygous,
                "fingerprint": self._fingerprint,
            }
        found = pd.DataFrame(columns)
        if table is not None and "group" in table:
            found.insert(1, "group", found["sample"].map(table.set_index("sample").group).fillna(""))
        return found


def _is_snp(record: Record) -> bool:
    """Whether a record is of one base against another, or against none yet seen."""
    return len(record.alts) <= 1 and record.ref in BASES and all(alt in BASES for alt in record.alts)


def _known_samples(table: pd.DataFrame, stream: Stream) -> pd.DataFrame:
    if not table["sample"].isin(stream.names).any():
        raise InputError(
            f"the sample table names none of the samples of {stream.name}: it has {shortened(table['sample'].tolist())}, "
            f"the target {shortened(stream.names)}"
        )
    return table


# ---------------------------------------------------------------------- against the panel


def _matching_contigs(target: Sequence[str], panel: Sequence[str]) -> dict[str, str]:
    """The target's contig → the panel's: the same name, else the same but for `chr`, case, and M for MT."""
    there = set(panel)
    plain = {plain_contig(contig): contig for contig in reversed(panel)}
    found = {contig: contig for contig in target if contig in there}
    taken = set(found)
    for contig in target:
        match = plain.get(plain_contig(contig))
        if contig not in found and match is not None and match not in taken:
            found[contig] = match
            taken.add(match)
    return found


def _classified(sites: pd.DataFrame, panel: PanelSites, contigs: dict[str, str]) -> pd.DataFrame:
    """The sites with what they are to the panel; alt_frequency becomes that of the panel's ALT where they are usable."""
    ref, alt = _codes(sites.ref), _codes(sites.alt)
    no_alt = (sites.alt == "").to_numpy()
    multiallelic = sites.alt.str.contains(",").to_numpy(dtype=bool)
    snp = ~multiallelic & (ref >= 0) & ((alt >= 0) | no_alt)
    not_diploid = (sites.haploid + sites.polyploid > 0).to_numpy()

    panel_ref, panel_alt = _codes(panel.sites.ref), _codes(panel.sites.alt)
    places, panel_places = _places(sites, panel.sites, contigs)
    at_place = _row_of(panel_places, places)
    same = _row_of(panel_places * 16 + _pair(panel_ref, panel_alt), places * 16 + _pair(ref, alt))
    other_strand = _row_of(panel_places * 16 + _pair(panel_ref, panel_alt), places * 16 + _pair(3 - ref, 3 - alt))
    # A record without ALT (all calls are REF) fits if REF is one of the two alleles.
    same[no_alt] = np.where(_has(panel_ref, panel_alt, at_place, ref), at_place, -1)[no_alt]
    other_strand[no_alt] = np.where(_has(panel_ref, panel_alt, at_place, 3 - ref), at_place, -1)[no_alt]

    own_number = -1 - np.arange(len(sites))  # of what repeats nothing
    site = places * 16 + _pair(ref, np.where(no_alt, ref, alt))
    again = pd.Index(np.where(snp, site, own_number)).duplicated()
    again |= pd.Index(np.where(snp & (same >= 0) & ~not_diploid & ~again, same, own_number)).duplicated()
    kind = np.select(
        [
            multiallelic,
            ~snp,
            not_diploid,
            again,
            (same >= 0) & (ref == panel_ref[same]),
            same >= 0,
            other_strand >= 0,
            at_place >= 0,
        ],
        [MULTIALLELIC, INDEL, NOT_DIPLOID, DUPLICATE, SHARED, SWAPPED, FLIPPED, ALLELES],
        OUTSIDE,
    ).astype(object)
    matched = np.isin(kind, USABLE)
    frequency = np.where(kind == SWAPPED, 1 - sites.alt_frequency, sites.alt_frequency)
    expected = np.where(matched, panel.alt_frequency[same], np.nan)

    palindromic = matched & (panel_ref[same] + panel_alt[same] == 3)
    n_flipped = int((kind == FLIPPED).sum())
    mixed_strands = n_flipped > MAX_STRAND_FLIPS * (n_flipped + int((matched & ~palindromic).sum()))
    nearer_flipped = np.abs(frequency - expected) > np.abs(1 - frequency - expected) + PALINDROMIC_MARGIN
    unsure = palindromic & (mixed_strands | (nearer_flipped & (sites.called >= MIN_CALLS_FOR_FREQUENCY)))
    kind[unsure] = PALINDROMIC
    usable = matched & ~unsure
    return sites.assign(
        kind=kind,
        panel_index=np.where(usable, same, -1),
        panel_site=same,
        palindromic=palindromic,
        alt_frequency=np.where(usable, frequency, sites.alt_frequency),
        panel_frequency=np.where(usable, expected, np.nan),
    )


def _codes(alleles: pd.Series) -> np.ndarray:
    """int64: 0 to 3 for A, C, G, T, -1 for anything else."""
    return alleles.map(BASE_CODES).fillna(-1).to_numpy(dtype=np.int64)


def _pair(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64, 0 to 15: two alleles, whichever comes first; 15 (T and T, which no site has) where one of them is no base."""
    pair = 4 * np.minimum(one, other) + np.maximum(one, other)
    bases = (np.minimum(one, other) >= 0) & (np.maximum(one, other) <= 3)
    return np.where(bases, pair, 15)


def _places(sites: pd.DataFrame, panel: pd.DataFrame, contigs: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """int64 for the target's records and the panel's sites: a number for contig and position, the same where both are."""
    number: dict[str, int] = {contig: i for i, contig in enumerate(dict.fromkeys(panel.contig))}
    of_target = {
        contig: number[contigs[contig]] if contig in contigs else len(number) + i
        for i, contig in enumerate(dict.fromkeys(sites.contig))
    }
    return (
        (sites.contig.map(of_target).to_numpy(dtype=np.int64) << 32) + sites.pos.to_numpy(),
        (panel.contig.map(number).to_numpy(dtype=np.int64) << 32) + panel.pos.to_numpy(),
    )


def _row_of(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64: the first row of `keys` that holds each of `wanted`, -1 = none."""
    first = np.flatnonzero(~pd.Index(keys).duplicated())
    found = pd.Index(keys[first]).get_indexer(wanted)
    return np.where(found >= 0, first[found], -1)


def _has(ref: np.ndarray, alt: np.ndarray, rows: np.ndarray, allele: np.ndarray) -> np.ndarray:
    """bool: whether the panel's site at `rows` (-1 = none) has the allele."""
    return (rows >= 0) & ((ref[rows] == allele) | (alt[rows] == allele))


# ---------------------------------------------------------------------- what follows from it


def _concluded(
    stream: Stream,
    panel: PanelSites,
    sites: pd.DataFrame,
    samples: pd.DataFrame,
    trios: pd.DataFrame,
    contigs: dict[str, str],
) -> TargetCheck:
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
    warnings = _warnings(sites, samples, trios, counts, contigs, builds, correlation)
    warnings += _unlike_lengths(stream.contig_lengths, panel.contig_lengths, contigs, builds)
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
            f"only {_n(counts['usable'], 'site')} in common, of {snps:,} SNPs of the target and {counts['panel_sites']:,} sites of "
            f"the panel: another genome build or region"
        )
    if known >= MIN_SITES_TO_JUDGE and counts["other_alleles"] > MAX_OTHER_ALLELES * known:
        found.append(
            f"{counts['other_alleles']:,} of the {known:,} SNPs at positions of the panel have alleles that the panel does not "
            f"know: another genome build, or alleles that are not spelled as bases of the reference"
        )
    judged = counts["usable"] >= MIN_SITES_FOR_CORRELATION and counts["samples"] >= MIN_SAMPLES_FOR_CORRELATION
    if judged and correlation < MIN_FREQUENCY_CORRELATION:
        found.append(
            f"the allele frequencies do not go with those of the panel (correlation {correlation:.2f}): "
            f"alleles are mixed up, or the population or the build is another"
        )
    return found


def _why_none(counts: dict[str, int]) -> str:
    """Where the records went, in words; most of them first."""
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
        found.append(f"contigs are named otherwise in the panel: {shortened(renamed)}")
    if absent := [contig for contig in dict.fromkeys(sites.contig) if contig not in contigs]:
        n = int(sites.contig.isin(absent).sum())
        found.append(f"contigs that the panel has not, passed through: {shortened(absent)} ({_n(n, 'record')})")
    haploid = f"{_n(counts['not_diploid'], 'SNP')} ({_n(counts['haploid_calls'], 'haploid call')}"
    haploid += f", {counts['polyploid_calls']:,} of more than two alleles)" if counts["polyploid_calls"] else ")"
    counted = {
        "swapped": f"REF and ALT exchanged, the calls turned round: {_n(counts['swapped'], 'site')}",
        "flipped": f"of the other strand, left out (bcftools +fixref mends them): {_n(counts['flipped'], 'site')}",
        "palindromic": f"A/T or C/G whose strand cannot be told, left out: {_n(counts['palindromic'], 'site')}",
        "other_alleles": f"other alleles than the panel at the same position: {_n(counts['other_alleles'], 'SNP')}",
        "duplicate": f"repeating an earlier site, left out: {_n(counts['duplicate'], 'record')}",
        "not_diploid": f"not diploid, passed through: {haploid}",
        "half_calls": f"half calls (0/.), taken as missing: {counts['half_calls']:,}",
        "filtered": f"marked by FILTER and used all the same: {_n(counts['filtered'], 'site')}",
    }
    found += [line for name, line in counted.items() if counts[name]]
    if 0 < counts["phased_calls"] < counts["calls"]:
        share = counts["phased_calls"] / counts["calls"]
        found.append(f"phased and unphased calls are mixed: {share:.0%} are phased")
    if low := int((usable.call_rate < MIN_CALL_RATE).sum()):
        found.append(f"calls for less than {MIN_CALL_RATE:.0%} of the samples: {_n(low, 'usable site')}")
    low_samples = samples["sample"][samples.call_rate < MIN_CALL_RATE].tolist()
    if low_samples:
        found.append(
            f"less than {MIN_CALL_RATE:.0%} of the calls: {_n(len(low_samples), 'sample')} ({shortened(low_samples)})"
        )
    apart = (usable.alt_frequency - usable.panel_frequency).abs() > MAX_FREQUENCY_DIFFERENCE
    if n := int((apart & (usable.called >= MIN_CALLS_FOR_FREQUENCY)).sum()):
        found.append(f"allele frequency more than {MAX_FREQUENCY_DIFFERENCE} from the panel's: {_n(n, 'site')}")
    few = counts["samples"] < MIN_SAMPLES_FOR_CORRELATION or counts["usable"] < MIN_SITES_FOR_CORRELATION
    if few and correlation < MIN_FREQUENCY_CORRELATION:
        found.append(
            f"allele frequencies do not go with those of the panel (correlation {correlation:.2f}), but there is little to judge by"
        )
    return found + _sample_warnings(samples) + _trio_warnings(sites, trios)


def _sample_warnings(samples: pd.DataFrame) -> list[str]:
    """Samples that are called alike everywhere."""
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
        found.append(f"contradicting their parents: {_n(len(wrong), 'sample')}: {shortened(names, 4)}")
    at_sites = int((sites.conflicts > MAX_SITE_CONFLICTS * sites.trios.clip(lower=MIN_SITES_TO_JUDGE)).sum())
    if at_sites:
        found.append(
            f"contradicting inheritance in more than {MAX_SITE_CONFLICTS:.0%} of the families: {_n(at_sites, 'site')}"
        )
    return found


def _n(n: int, noun: str) -> str:
    """ "1 site", "2 sites"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _unlike_lengths(
    own: dict[str, int], panel: dict[str, int], contigs: dict[str, str], builds: tuple[str, str]
) -> list[str]:
    """Contigs whose length differs between the headers, where the builds are not known to be different."""
    if all(builds):
        return []
    unlike = [
        f"{contig} ({own[contig]:,} and {panel[there]:,})"
        for contig, there in contigs.items()
        if contig in own and there in panel and own[contig] != panel[there]
    ]
    return [f"contig lengths differ between the headers of target and panel: {shortened(unlike, 4)}"] if unlike else []
