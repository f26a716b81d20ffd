"""Check of a target against a panel before imputation: one pass over its records matches and counts them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.genotypes.inheritance import Trios
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.cells import cell_of, count_cells, counted, cut
from snpimpute.impute.findings import TargetCheck, conclude_check
from snpimpute.impute.matching import (
    PanelSites,
    classify_records,
    is_site,
    matching_contigs,
)
from snpimpute.io.builds import plain_contig
from snpimpute.io.haploid import SEX_CONTIGS, HaploidCalls
from snpimpute.io.records import HALF, HAPLOID, N_KINDS, PHASED, POLYPLOID, UNPHASED, Record, Stream, split
from snpimpute.io.samples import left_out_of
from snpimpute.io.stream import streamed

HASH_FACTOR = 1099511628211  # of samples' fingerprints (FNV)
N_NUMBERS = 7 + N_KINDS  # kept of each site
RECORD = 4  # place of the record's number among them
PARENTS = ("sample", "sire", "dam")  # columns of a sample table by which trios are known


def check_target(
    target: Path,
    panel: PanelSites,
    *,
    samples: pd.DataFrame | None = None,
    use: str | None = None,
    watch: Watch | None = None,
    engine: Engine = HERE,
) -> TargetCheck:
    """Compare a target with a panel, record by record.

    Memory grows with the number of sites plus samples, not with their product.

    Args:
        target: VCF, BCF or PLINK (.bed, .pgen).
        panel: sites to compare the target with.
        samples: a sample table (io.samples.read_samples); its columns sire and dam name the trios whose calls are tested
            for conflicts. Rows of samples that the target lacks are counted.
        use: FORMAT field of likelihoods whose likeliest genotypes are checked in place of GT; None = GT, without the calls
            that the target marks as imputed.
        watch: receives the progress on an engine.
        engine: where the records are counted, cell by cell; HERE = in one pass of this process.

    Returns:
        The findings. Alleles A/T and C/G do not show their strand. Such sites count as being on the panel's strand if no
        more than MAX_STRAND_FLIPS of the other sites are flipped and the allele frequency does not contradict it.

    Raises:
        InputError: the target cannot be read at all (see io.stream.streamed), or the sample table has none of its samples.
    """
    watch = watch or Watch()
    cells = [] if engine is HERE else cut([target], watch)
    with streamed(target, likelihoods=use, observed=True) as (stream,):
        others = "" if samples is None else left_out_of(samples, stream.names, stream.name)
        tally = _Tally(stream.names, Trios.of(stream.names, samples))
        for record in [] if cells else stream.records:
            tally.add(record)
    if cells:
        watch.stage(f"check {stream.name}")
        parents = None if samples is None else samples[[c for c in PARENTS if c in samples]].to_dict("list")
        for part in counted(count_target, [stream], cells, {"use": use, "samples": parents}, watch, engine):
            tally.join(part)
    sites = tally.sites()
    contigs = matching_contigs(list(dict.fromkeys(sites.contig)), list(dict.fromkeys(panel.sites.contig)))
    sites = classify_records(sites, panel, contigs)
    trios = tally.trios.table()
    found = conclude_check(stream, panel, sites, tally.samples(samples), trios, contigs, tally.haploid)
    more = sorted(stream.notes)
    if n := tally.n_in_sets:
        more.append(
            f"phased within sets (PS) alone, written without that phase unless fields are kept: {numbered(n, 'record')}"
        )
    return replace(found, warnings=(*found.warnings, *more, *([others] if others else [])))


def count_target(home: Path, numbers: list[int]) -> None:
    """Count the records of a target in some cells, see `cells.counted`."""
    count_cells(home, numbers, _tallies, lambda plan: {"likelihoods": plan["use"], "observed": True})


def _tallies(streams: tuple[Stream, ...], _paths: Sequence[Path], plan: dict[str, Any]) -> dict[int, _Tally]:
    samples = None if plan["samples"] is None else pd.DataFrame(plan["samples"])
    found: dict[int, _Tally] = {}
    for record in streams[0].records:
        cell = cell_of(record.pos)
        if cell not in found:
            found[cell] = _Tally(streams[0].names, Trios.of(streams[0].names, samples))
        found[cell].add(record)
    return found


class _Tally:
    """Counts per record and per sample, collected over the records of the target."""

    def __init__(self, names: Sequence[str], trios: Trios) -> None:
        self.trios = trios
        self.haploid = HaploidCalls()
        self._names = list(names)
        self._rows: list[tuple[str, str, str, str]] = []
        self._pos = array("q")
        self._n_records = 0
        self.n_in_sets = 0  # records whose calls are phased within sets alone
        # per site: alternate copies, trios, conflicts, passed, record, allele, ALTs of the record, then a count per kind of call
        self._numbers = array("q")
        self._of_samples = np.zeros((len(names), N_KINDS), dtype=np.int64)
        self._heterozygous = np.zeros(len(names), dtype=np.int64)
        self._fingerprint = np.zeros(len(names), dtype=np.uint64)
        self._n_hashed = 0  # sites in the fingerprints

    def add(self, record: Record) -> None:
        """Add the calls of a record to the counts, at a site for each ALT."""
        for part in split(record):
            self._add(part, len(record.alts))
        self.haploid.add(record)
        self._n_records += 1
        self.n_in_sets += record.phase_sets and bool((record.kinds == PHASED).any())

    def _add(self, record: Record, n_alts: int) -> None:
        """Add the calls of a site, whose record has so many ALTs."""
        kinds = np.bincount(record.kinds, minlength=N_KINDS)
        calls = record.calls
        seen = calls != MISSING
        compared = conflicts = 0
        if is_site(record):
            self._of_samples[np.arange(len(self._names)), record.kinds] += 1
            self._heterozygous += calls == 1
            self._fingerprint = self._fingerprint * np.uint64(HASH_FACTOR) + (calls + 2).astype(np.uint64)
            self._n_hashed += 1
            if plain_contig(record.contig) not in SEX_CONTIGS:  # inheritance of autosomes does not apply there
                compared, conflicts = self.trios.add(calls)
        self._rows.append((record.contig, record.id, record.ref, "".join(record.alts)))
        self._pos.append(record.pos)
        copies = int(calls[seen].sum(dtype=np.int64))
        self._numbers.extend([copies, compared, conflicts, int(record.passed)])
        self._numbers.extend([self._n_records, record.allele, n_alts, *kinds.tolist()])

    def join(self, later: _Tally) -> None:
        """Add the counts of records that follow those counted here, of the same samples."""
        numbers = np.array(later._numbers, dtype=np.int64).reshape(-1, N_NUMBERS)
        numbers[:, RECORD] += self._n_records
        self._numbers.extend(numbers.ravel().tolist())
        self._rows += later._rows
        self._pos += later._pos
        self._n_records += later._n_records
        self.n_in_sets += later.n_in_sets
        self._of_samples += later._of_samples
        self._heterozygous += later._heterozygous
        shift = np.uint64(pow(HASH_FACTOR, later._n_hashed, 2**64))
        self._fingerprint = self._fingerprint * shift + later._fingerprint
        self._n_hashed += later._n_hashed
        self.trios.join(later.trios)
        self.haploid.join(later.haploid)

    def sites(self) -> pd.DataFrame:
        """Return a row per site, not yet compared with the panel; alt_frequency is that of the target's own ALT."""
        sites = pd.DataFrame(self._rows, columns=["contig", "id", "ref", "alt"])
        sites.insert(1, "pos", np.array(self._pos, dtype=np.int64))
        numbers = np.array(self._numbers, dtype=np.int64).reshape(len(sites), N_NUMBERS)
        copies, compared, conflicts, passed, record, allele, n_alts = numbers[:, :7].T
        kinds = numbers[:, 7:]
        called = kinds[:, UNPHASED] + kinds[:, PHASED] + kinds[:, HAPLOID]
        with np.errstate(invalid="ignore"):
            frequency = copies / (2 * called)
        return sites.assign(
            call_rate=called / len(self._names), alt_frequency=frequency, haploid=kinds[:, HAPLOID], half=kinds[:, HALF],
            polyploid=kinds[:, POLYPLOID], called=called, phased=kinds[:, PHASED], trios=compared, conflicts=conflicts,
            passed=passed.astype(bool), record=record, allele=allele, n_alts=n_alts,
        )  # fmt: skip

    def samples(self, table: pd.DataFrame | None) -> pd.DataFrame:
        """Return a row per sample, with its group if the sample table has groups."""
        called = self._of_samples[:, [UNPHASED, PHASED, HAPLOID]].sum(axis=1)
        with np.errstate(invalid="ignore"):
            columns = {
                "sample": self._names,
                "call_rate": called / self._of_samples.sum(axis=1),
                "heterozygosity": self._heterozygous / called,
                "phased": self._of_samples[:, PHASED] / (called - self._of_samples[:, HAPLOID]),
                "haploid": self._of_samples[:, HAPLOID],
                "half": self._of_samples[:, HALF],
                "heterozygous": self._heterozygous,
                "fingerprint": self._fingerprint,
            }
        found = pd.DataFrame(columns)
        if table is not None and "group" in table:
            found.insert(1, "group", found["sample"].map(table.set_index("sample").group).fillna(""))
        return found
