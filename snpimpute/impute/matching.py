"""Match of each record of a target to a panel: the same site, exchanged alleles, the other strand, or no match."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS, GenotypeMatrix
from snpimpute.impute.cells import cell_of, count_cells, counted, cut
from snpimpute.io.builds import plain_contig
from snpimpute.io.records import HAPLOID, UNSTATED, Record, Stream, is_allele, split
from snpimpute.io.stream import streamed

# Kinds of match between a record of the target and the panel. Only the calls of the first two can be used.
SHARED = "shared"
SWAPPED = "swapped"
FLIPPED = "flipped"
PALINDROMIC = "palindromic"
ALLELES = "other alleles"
OUTSIDE = "outside"
MULTIALLELIC = "multi-allelic"
UNKNOWN = "unknown alleles"
NOT_DIPLOID = "not diploid"
DUPLICATE = "duplicate"
USABLE = (SHARED, SWAPPED)
KINDS = {
    SHARED: "the panel's site, with the same REF and ALT",
    SWAPPED: "the panel's site with REF and ALT exchanged; the calls are turned round",
    FLIPPED: "the panel has the alleles of the other strand",
    PALINDROMIC: "A/T or C/G, and its strand cannot be determined",
    ALLELES: "the panel has other bases at this position",
    OUTSIDE: "the panel has no such site",
    MULTIALLELIC: "several alternate alleles, and REF is one of the panel's alternate alleles",
    UNKNOWN: "an allele that VCF does not know (1, B, I, D, -)",
    NOT_DIPLOID: "has calls of more than two alleles",
    DUPLICATE: "the same site as an earlier record",
}

MAX_STRAND_FLIPS = 0.01  # above this share of the matched sites the file mixes strands: no palindromic site is used
MAX_FREQUENCY_DIFFERENCE = 0.3
PALINDROMIC_MARGIN = 0.2  # an A/T or C/G site whose frequency fits the other strand better by this much is not used
MIN_CALLS_FOR_FREQUENCY = 20
EXCHANGED_MARGIN = 0.2  # alleles of other lengths count as exchanged if their frequency fits better so by this much
BASE_CODES = {"A": 0, "C": 1, "G": 2, "T": 3}  # the complement of a base is 3 minus its code


@dataclass(frozen=True, eq=False)
class PanelSites:
    """Sites of a panel, or of a model fitted on one, that a target is compared with.

    Attributes:
        sites: contig, pos, id, ref, alt (genotypes.SITE_COLUMNS), one ALT each.
        alt_frequency: float64 (n_sites,), NaN if not known.
        name: name of the panel, for messages.
        contig_lengths: contig → length in bases, as far as known.
        record: int64 (n_sites,), the same number for sites of one record; None if each is a record of its own.
        haploid: bool (n_sites,), whether a sample has a haploid call there; None if none has anywhere.
        samples: digests of the panel's samples (`name_digests`); empty if they are not known.
    """

    sites: pd.DataFrame
    alt_frequency: np.ndarray
    name: str = "the panel"
    contig_lengths: dict[str, int] = field(default_factory=dict)
    record: np.ndarray | None = None
    haploid: np.ndarray | None = None
    samples: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.alt_frequency.shape != (len(self.sites),):
            raise ValueError(f"alt_frequency must be ({len(self.sites)},), got {self.alt_frequency.shape}")

    @classmethod
    def of_file(cls, path: Path, *, watch: Watch | None = None, engine: Engine = HERE) -> PanelSites:
        """Read the sites of a VCF, BCF or PLINK file, one for each ALT; of those with the same alleles the first that varies, else the first.

        Args:
            path: the file.
            watch: receives the progress on an engine.
            engine: where the records are read, cell by cell; HERE = in one pass of this process.

        Raises:
            InputError: the file cannot be read (see io.stream.streamed), or has no such site.
        """
        watch = watch or Watch()
        cells = [] if engine is HERE else cut([path], watch)
        found = _SitesRead()
        with streamed(path) as (panel,):
            for record in [] if cells else panel.records:
                found.add(record)
        if cells:
            watch.stage(f"read the sites of {panel.name}")
            for part in counted(read_sites, [panel], cells, {}, watch, engine):
                found.join(part)
        if not found.rows:
            raise InputError(f"{panel.name} has no site with an ALT: a panel needs some")
        sites = pd.DataFrame(found.rows, columns=list(SITE_COLUMNS)).astype({"pos": np.int64})
        return cls(
            sites, np.array(found.frequency), panel.name, panel.contig_lengths, np.array(found.records, dtype=np.int64),
            np.array(found.haploid, dtype=bool), frozenset(name_digests(panel.names)),
        )  # fmt: skip

    @classmethod
    def of_matrix(cls, matrix: GenotypeMatrix, name: str = "the panel") -> PanelSites:
        """Return the sites of a matrix with their frequencies."""
        return cls(matrix.sites, matrix.alt_frequency(), name)


def read_sites(home: Path, numbers: list[int]) -> None:
    """Read the sites of a panel in some cells, see `cells.counted`."""
    count_cells(home, numbers, _sites_by_cell)


def _sites_by_cell(streams: tuple[Stream, ...], _paths: Sequence[Path], _plan: dict[str, Any]) -> dict[int, _SitesRead]:
    found: dict[int, _SitesRead] = {}
    for record in streams[0].records:
        found.setdefault(cell_of(record.pos), _SitesRead()).add(record)
    return found


class _SitesRead:
    """Sites of a panel, collected over its records.

    Attributes:
        rows: contig, pos, id, ref and alt of each.
        frequency: of the alternate allele, NaN without calls.
        records: number of its record.
        haploid: whether a sample has a haploid call there.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, str, str, str]] = []
        self.frequency, self.records, self.haploid = array("d"), array("q"), array("b")
        self._n_records = 0
        self._place = ("", 0)
        self._here: dict[tuple[str, ...], int] = {}  # rows at this place, by REF and ALT

    def add(self, record: Record) -> None:
        """Add the sites of a record."""
        for part in split(record):
            if is_site(part) and part.alts and part.alts[0] not in UNSTATED:
                self._add(part)
        self._n_records += 1

    def _add(self, record: Record) -> None:
        calls = record.calls
        known = calls != MISSING
        n = int(known.sum())
        share = float(calls[known].sum(dtype=np.int64)) / (2 * n) if n else np.nan
        row = (record.contig, record.pos, record.id, record.ref, record.alts[0])
        if (record.contig, record.pos) != self._place:
            self._place, self._here = (record.contig, record.pos), {}
        before = self._here.setdefault(row[3:], len(self.rows))
        if before == len(self.rows):
            self.rows.append(row)
            self.frequency.append(share)
            self.records.append(self._n_records)
            self.haploid.append(bool((record.kinds == HAPLOID).any()))
        elif 0 < share < 1 and not 0 < self.frequency[before] < 1:
            self.rows[before], self.frequency[before], self.records[before] = row, share, self._n_records

    def join(self, later: _SitesRead) -> None:
        """Add the sites of records that follow those added here, at other positions."""
        self.rows += later.rows
        self.frequency += later.frequency
        self.records.extend(self._n_records + number for number in later.records)
        self.haploid += later.haploid
        self._n_records += later._n_records


def name_digests(names: Sequence[str]) -> list[str]:
    """Return a short digest of each sample's name: a model tells by them that a sample was in its panel, without the names."""
    return [digest(["sample", name])[:12] for name in names]


def is_site(record: Record) -> bool:
    """Return whether a record has one ALT or none, and alleles that VCF knows."""
    return len(record.alts) <= 1 and all(map(is_allele, (record.ref, *record.alts)))


def matching_contigs(target: Sequence[str], panel: Sequence[str]) -> dict[str, str]:
    """Return a mapping of the target's contig → the panel's contig.

    Names match if they are equal, or else if they differ only in `chr`, case, or M for MT.
    """
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


def classify_records(sites: pd.DataFrame, panel: PanelSites, contigs: dict[str, str]) -> pd.DataFrame:
    """Add to each record of a target its match to the panel.

    Args:
        sites: a row per site of the target, a record with several ALTs having one for each (see `check_target`).
        panel: sites to match with.
        contigs: the target's contig → the panel's contig.

    Returns:
        The table with the columns kind, panel_index, panel_site, palindromic and panel_frequency (see `TargetCheck`).
        alt_frequency of usable records is that of the panel's ALT.
    """
    no_alt = (sites.alt == "").to_numpy()
    several = (sites.n_alts > 1).to_numpy()
    not_diploid = (sites.polyploid > 0).to_numpy()
    pairs, panel_pairs = _allele_numbers(sites, panel.sites)
    ref, alt, panel_ref, panel_alt = *pairs.T, *panel_pairs.T
    ref_known, alt_known = (
        column.map({text: is_allele(text) for text in column.unique()}).to_numpy(dtype=bool)
        for column in (sites.ref, sites.alt)
    )
    site = ref_known & (alt_known | no_alt)

    places, panel_places = _place_numbers(sites, panel.sites, contigs)
    at_place = _first_rows(panel_places, places)
    keys = _Keys(places, panel_places, max(pairs.max(initial=0), panel_pairs.max(initial=0)) + 1)
    same = keys.rows((panel_ref, panel_alt), (ref, alt))
    exchanged = keys.rows((panel_alt, panel_ref), (ref, alt))
    single = (np.maximum(ref, alt) < len(BASE_CODES)) & (np.minimum(ref, alt) >= 0)
    # Of an insertion and the deletion at its place the alleles are exchanged too, and REF is the reference's in both: they
    # are taken for one variant only if the frequency tells so.
    apart = np.abs(sites.alt_frequency - panel.alt_frequency[exchanged])
    turned = np.abs(1 - sites.alt_frequency - panel.alt_frequency[exchanged])
    exchanged[~single & ~((apart > turned + EXCHANGED_MARGIN) & (sites.called >= MIN_CALLS_FOR_FREQUENCY))] = -1
    same = np.where(same >= 0, same, exchanged)
    complement = lambda codes: np.where(single, 3 - codes, -1)  # noqa: E731
    other_strand = keys.rows((panel_ref, panel_alt), (complement(ref), complement(alt)))
    back = keys.rows((panel_alt, panel_ref), (complement(ref), complement(alt)))
    other_strand = np.where(other_strand >= 0, other_strand, back)
    # A record without ALT (all calls are REF) fits if REF is one of the two alleles.
    one = np.zeros(len(ref), dtype=np.int64)
    with_ref, with_alt = (keys.rows((own, 0 * own), (ref, one)) for own in (panel_ref, panel_alt))
    same[no_alt] = np.where(with_ref >= 0, with_ref, with_alt)[no_alt]
    is_base = (ref >= 0) & (ref < len(BASE_CODES))
    turned_ref = np.where(is_base, 3 - ref, -1)
    with_ref, with_alt = (keys.rows((own, 0 * own), (turned_ref, one)) for own in (panel_ref, panel_alt))
    other_strand[no_alt] = np.where(with_ref >= 0, with_ref, with_alt)[no_alt]

    own_number = -1 - np.arange(len(sites))  # unique numbers for records that are not tested for repeats
    alleles = pd.MultiIndex.from_arrays([places, ref, alt, np.where(site, 0, own_number)])
    # of several records of a site that which tells most comes first
    order = np.lexsort((np.arange(len(sites)), -sites.called, no_alt))
    again = site & _repeated(alleles, order)
    again |= _repeated(pd.Index(np.where(site & (same >= 0) & ~not_diploid & ~again, same, own_number)), order)
    kind = np.select(
        [
            ~site,
            not_diploid,
            again,
            (same >= 0) & (ref == panel_ref[same]),
            (same >= 0) & several,
            same >= 0,
            other_strand >= 0,
            (at_place >= 0) & (single | no_alt),
        ],
        [UNKNOWN, NOT_DIPLOID, DUPLICATE, SHARED, MULTIALLELIC, SWAPPED, FLIPPED, ALLELES],
        OUTSIDE,
    ).astype(object)
    matched = np.isin(kind, USABLE)
    frequency = np.where(kind == SWAPPED, 1 - sites.alt_frequency, sites.alt_frequency)
    expected = np.where(matched, panel.alt_frequency[same], np.nan)

    bases = np.maximum(panel_ref, panel_alt) < len(BASE_CODES)
    palindromic = matched & (bases & (panel_ref + panel_alt == 3))[same]
    n_flipped = int((kind == FLIPPED).sum())
    mixed_strands = n_flipped > MAX_STRAND_FLIPS * (n_flipped + int((matched & ~palindromic).sum()))
    nearer_flipped = np.abs(frequency - expected) > np.abs(1 - frequency - expected) + PALINDROMIC_MARGIN
    unsure = palindromic & (mixed_strands | (nearer_flipped & (sites.called >= MIN_CALLS_FOR_FREQUENCY)))
    kind[unsure] = PALINDROMIC
    # One ALT of a record that is the panel's tells the strand of the others, and that REF is the same.
    told = several & np.isin(sites.record, sites.record[several & (kind == SHARED)])
    kind[told & (kind == PALINDROMIC)] = SHARED
    kept = several & np.isin(sites.record, sites.record[kind == MULTIALLELIC])
    kind[(told | kept) & (kind == ALLELES)] = OUTSIDE
    usable = np.isin(kind, USABLE)
    return sites.assign(
        kind=kind,
        panel_index=np.where(usable, same, -1),
        panel_site=same,
        palindromic=palindromic,
        alt_frequency=np.where(usable, frequency, sites.alt_frequency),
        panel_frequency=np.where(usable, expected, np.nan),
    )


def _allele_numbers(*tables: pd.DataFrame) -> list[np.ndarray]:
    """Return int64 (n, 2) for each sites table: numbers of REF and ALT, 0 to 3 for A, C, G, T; -1 for no allele."""
    columns = [table[name] for table in tables for name in ("ref", "alt")]
    number = {"": -1} | BASE_CODES
    for text in pd.unique(pd.concat(columns)):
        number.setdefault(text, len(number) - 1)
    return [
        np.stack([table[name].map(number).to_numpy(dtype=np.int64) for name in ("ref", "alt")], axis=1)
        for table in tables
    ]


class _Keys:
    """Search for sites of a panel by place and two numbers of alleles."""

    def __init__(self, places: np.ndarray, panel_places: np.ndarray, n_alleles: int) -> None:
        numbers, _ = pd.factorize(np.concatenate([panel_places, places]))
        self._of_panel, self._of_target = numbers[: len(panel_places)], numbers[len(panel_places) :]
        self._n = n_alleles

    def rows(self, panel: tuple[np.ndarray, np.ndarray], wanted: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return int64: the first of the panel's sites at the place of each record that has its two numbers, -1 = none."""
        pairs, _ = pd.factorize(np.concatenate([first * self._n + second for first, second in (panel, wanted)]))
        n_panel, n_pairs = len(panel[0]), int(pairs.max(initial=0)) + 1
        keys = self._of_panel * n_pairs + pairs[:n_panel]
        own = np.where(np.minimum(*wanted) >= 0, self._of_target * n_pairs + pairs[n_panel:], -1)
        return _first_rows(keys, own)


def _place_numbers(sites: pd.DataFrame, panel: pd.DataFrame, contigs: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 for the target's records and for the panel's sites: equal numbers for equal contig and position."""
    number: dict[str, int] = {contig: i for i, contig in enumerate(dict.fromkeys(panel.contig))}
    of_target = {
        contig: number[contigs[contig]] if contig in contigs else len(number) + i
        for i, contig in enumerate(dict.fromkeys(sites.contig))
    }
    return (
        (sites.contig.map(of_target).to_numpy(dtype=np.int64) << 32) + sites.pos.to_numpy(),
        (panel.contig.map(number).to_numpy(dtype=np.int64) << 32) + panel.pos.to_numpy(),
    )


def _repeated(keys: pd.Index, order: np.ndarray) -> np.ndarray:
    """Return which keys are those of another row that comes before in this order of the rows, bool (n_rows,)."""
    out = np.empty(len(keys), dtype=bool)
    out[order] = keys.take(order).duplicated()
    return out


def _first_rows(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return int64: the first row of `keys` that equals each of `wanted`, -1 = none."""
    first = np.flatnonzero(~pd.Index(keys).duplicated())
    found = pd.Index(keys[first]).get_indexer(wanted)
    return np.where(found >= 0, first[found], -1)
