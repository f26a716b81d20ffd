"""Sums over the sites that an imputed file and the truth share, cell by cell; they add up to those of the whole files."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.cells import cell_of, count_cells
from snpimpute.impute.pairing import Alleles, Pair, merge_by_position, paired
from snpimpute.impute.phase import Switches
from snpimpute.io.filters import shortened
from snpimpute.io.records import HALF, NO_CALL, Record, Stream
from snpimpute.io.site_names import SiteList
from snpimpute.metrics.maf import maf_bin, maf_bin_names
from snpimpute.metrics.scores import centred_sums, non_reference_concordance, scores
from snpimpute.metrics.sums import N_SUMS, confusion, genotype_shares, site_sums, with_hard_calls_of

CALLS_PER_BLOCK = 50_000
BESIDE = ("f1_macro", "site_dosage_r2", "centred_dosage_r2", "centred_iqs")  # metrics beside the concordances
TYPED_SITES = "the typed sites"  # what messages call the list of --typed


class Sums:
    """Sums over some of the sites.

    Attributes:
        counts: records and calls, scored and not scored.
        by_sample, by_bin: sums of `site_sums` by sample and by MAF bin.
        centred: `centred_sums` by sample.
        typed_confusion: calls that were known before imputation, by truth and call.
        rows, pos, numbers: of each site contig, id, REF and ALT; position; numbers of `Concordance.sites`.
        fields: fields of the imputed file that were used.
        n_typed: number of sites that the list or the file of typed calls has.
        switches: of phase.

    Args:
        truth_rows, imputed_rows: the rows of the samples compared in the two files.
    """

    def __init__(self, truth_rows: np.ndarray, imputed_rows: np.ndarray) -> None:
        n = len(truth_rows)
        self.counts: Counter[str] = Counter()
        self.by_sample = np.zeros((n, N_SUMS))
        self.centred = np.zeros((n, 6))
        self.by_bin = np.zeros((len(maf_bin_names()), N_SUMS))
        self.typed_confusion = np.zeros((3, 3), dtype=np.int64)
        self.rows: list[tuple[str, str, str, str]] = []
        self.pos = array("q")
        self.numbers: list[np.ndarray] = []
        self.fields: set[str] = set()
        self.n_typed = 0
        self.switches = Switches(truth_rows, imputed_rows)

    def join(self, later: Sums) -> None:
        """Add the sums over sites that follow those added here, all of one cell."""
        self.counts.update(later.counts)
        self.by_sample += later.by_sample
        self.centred += later.centred
        self.by_bin += later.by_bin
        self.typed_confusion += later.typed_confusion
        self.rows += later.rows
        self.pos += later.pos
        self.numbers += later.numbers
        self.fields |= later.fields
        self.n_typed += later.n_typed
        self.switches.join(later.switches)


def compare_cells(home: Path, numbers: list[int]) -> None:
    """Sum over the sites of some cells, see `cells.counted`."""
    count_cells(home, numbers, _sums_by_cell, lambda _: {"dosages": True})


def _sums_by_cell(streams: tuple[Stream, ...], paths: Sequence[Path], plan: dict[str, Any]) -> dict[int, Sums]:
    listed = SiteList.read(paths[-1], TYPED_SITES) if plan["listed"] else None
    of_one_contig: defaultdict[str, int] = defaultdict(int)
    return {cell[1]: sums for cell, sums in Comparison(streams, plan["typed"], listed).cells(of_one_contig)}


class Comparison:
    """Pairs of records of the truth and the imputed file, and the sums over them.

    Attributes:
        names: the samples compared.

    Args:
        streams: truth, imputed file, and perhaps a file of typed calls.
        typed: whether typed calls are told apart.
        listed: sites that are typed in all samples.

    Raises:
        InputError: the files share no sample.
    """

    def __init__(self, streams: Sequence[Stream], typed: bool, listed: SiteList | None) -> None:
        self._streams = streams
        self._truth, self._imputed = streams[0], streams[1]
        there = {name: i for i, name in enumerate(self._imputed.names)}
        self.names = [name for name in self._truth.names if name in there]
        if not self.names:
            raise InputError(
                f"{self._truth.name} and {self._imputed.name} have no sample in common: they have "
                f"{shortened(self._truth.names, 4)} and {shortened(self._imputed.names, 4)}"
            )
        self._truth_rows = np.array([i for i, name in enumerate(self._truth.names) if name in there])
        self._imputed_rows = np.array([there[name] for name in self.names])
        of_typed = {name: i for i, name in enumerate(streams[2].names)} if len(streams) > 2 else {}
        self._typed_rows = np.array([of_typed.get(name, -1) for name in self.names])
        if len(streams) > 2 and (self._typed_rows < 0).all():
            raise InputError(
                f"{streams[2].name} has none of the samples of {self._truth.name}: it has {shortened(streams[2].names, 4)}"
            )
        self._listed, self._typed = listed, typed
        self._block_size = max(1, CALLS_PER_BLOCK // len(self.names))
        self._block: list[tuple[Pair, np.ndarray, np.ndarray]] = []

    def empty(self) -> Sums:
        """Return sums over no site."""
        return Sums(self._truth_rows, self._imputed_rows)

    def cells(self, rank: Mapping[str, int]) -> Iterator[tuple[tuple[int, int], Sums]]:
        """Read the files; yield each cell that has records, as rank of the contig and number on it, with the sums over its sites.

        Args:
            rank: plain contig → rank in an order that all files follow.
        """
        places = merge_by_position(self._streams, rank)
        for cell, of_cell in groupby(places, lambda each: (each[0][0], cell_of(each[0][1]))):
            here = self.empty()
            for _, records in of_cell:
                self._add(here, *records)
            self._add_block(here)
            yield cell, here

    def _add(
        self,
        here: Sums,
        truth: dict[Alleles, list[Record]],
        imputed: dict[Alleles, list[Record]],
        typed: dict[Alleles, list[Record]] | None = None,
    ) -> None:
        """Add the records that the files have at one position."""
        pairs, others = paired(truth, imputed)
        n_both = len(pairs) + len(others)
        only = {"truth": len(truth) - n_both, "imputed": len(imputed) - n_both}
        for which, n in only.items():
            here.counts[f"records_only_in_{which}"] += n
        here.counts["same_position_other_alleles"] += min(only.values())
        here.counts["repeated"] += sum(map(len, truth.values())) + sum(map(len, imputed.values()))
        here.counts["repeated"] -= len(truth) + len(imputed)
        here.counts["not_scored_no_alt"] += len(others)
        for pair in pairs:
            here.switches.add(pair)
            self._block.append((pair, *self._known_before(here, pair, typed or {})))
            if len(self._block) == self._block_size:
                self._add_block(here)

    def _known_before(
        self, here: Sums, pair: Pair, typed: dict[Alleles, list[Record]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return two bool (n_samples,): whose call at the site was known before imputation, and whose was known by half."""
        everyone, nobody = np.ones(len(self.names), dtype=bool), np.zeros(len(self.names), dtype=bool)
        truth, imputed = pair.truth, pair.imputed
        if self._listed is not None:
            alleles = (pair.ref, pair.alt)
            if any(self._listed.holds(r.contig, r.pos, r.id, alleles) for r in (truth, imputed)):
                here.n_typed += 1
                return everyone, nobody
            return nobody, nobody
        of_site = [r for (ref, alts), records in typed.items() if {ref, *alts} <= {pair.ref, pair.alt} for r in records]
        if not of_site:
            return nobody, nobody
        here.n_typed += 1
        kinds = np.append(of_site[0].kinds, NO_CALL)[self._typed_rows]
        return (kinds != NO_CALL) & (kinds != HALF), kinds == HALF

    def _add_block(self, here: Sums) -> None:
        """Score the pairs collected so far, and add them to the sums."""
        if not self._block:
            return
        pairs, known_before, half_known = zip(*self._block, strict=True)
        self._block = []
        all_truth = np.stack([_turned(pair.truth.calls, pair.truth_turned) for pair in pairs], axis=1)
        truth = all_truth[self._truth_rows]
        calls = np.stack([_turned(pair.imputed.calls, pair.imputed_turned) for pair in pairs], axis=1)
        calls, posterior, dosage, given = self._imputed_values(here, pairs, calls[self._imputed_rows])
        is_typed, is_half = np.stack(known_before, axis=1), np.stack(half_known, axis=1)
        known = truth != MISSING
        here.counts["calls_truth_missing"] += int((~known).sum())
        here.counts["calls_not_imputed"] += int((known & ~given).sum())
        here.counts["calls_without_hard_call"] += int((known & given & (calls == MISSING) & ~is_typed & ~is_half).sum())
        here.counts["calls_typed_by_half"] += int((known & is_half).sum())
        hard = np.where(calls == MISSING, np.int8(MISSING), truth)
        calls = np.where(calls == MISSING, np.int8(0), calls)
        soft = np.where(given, truth, np.int8(MISSING))
        if self._typed:
            here.typed_confusion += confusion(np.where(is_typed, hard, np.int8(MISSING)), calls)
            hard[is_typed | is_half] = MISSING
            soft[is_typed | is_half] = MISSING
        shares = genotype_shares(all_truth)
        sums = site_sums(soft, posterior, calls, dosage, shares=shares)
        if not np.array_equal(hard, soft):
            sums = with_hard_calls_of(sums, site_sums(hard, posterior, calls, dosage, shares=shares))
        by_site = sums.sum(axis=0, dtype=np.float64)
        here.by_sample += sums.sum(axis=1, dtype=np.float64)
        known = all_truth != MISSING
        with np.errstate(invalid="ignore"):
            frequency = np.where(known, all_truth, 0).sum(axis=0) / (2.0 * known.sum(axis=0))
        here.centred += centred_sums(soft, dosage, frequency)
        maf = np.minimum(frequency, 1 - frequency)
        place = maf_bin(maf)
        for b in np.unique(place[place >= 0]):
            here.by_bin[b] += by_site[place == b].sum(axis=0)
        for pair in pairs:
            here.rows.append((pair.truth.contig, pair.truth.id or pair.imputed.id, pair.ref, pair.alt))
            here.pos.append(pair.truth.pos)
        quality = [pair.imputed.quality for pair in pairs]
        here.fields |= {f"INFO/{pair.imputed.quality_key}" for pair in pairs if pair.imputed.quality_key}
        n_scored = (np.maximum(hard, soft) != MISSING).sum(axis=0)
        numbers = [maf, place, (hard != MISSING).sum(axis=0), n_scored, *site_scores(by_site).values(), quality]
        here.numbers.append(np.array(numbers, dtype=np.float64))

    def _imputed_values(
        self, here: Sums, pairs: Sequence[Pair], calls: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return what the imputed file says of a block.

        Args:
            here: sums, which keep the fields that are used.
            pairs: the sites.
            calls: int8 (n_samples, n), GT in the sites' alleles, -1 = missing.

        Returns:
            Hard calls int8 (n_samples, n), -1 = missing; posterior float64 (n_samples, n, 3) and dosage float64 (n_samples, n), from
            GP, DS or GT; bool (n_samples, n), where any of these is there.
        """
        calls = calls.copy()
        given = calls != MISSING
        posterior = np.eye(3)[np.where(given, calls, 0)]
        dosage = np.where(given, calls, 0).astype(np.float64)
        for j, pair in enumerate(pairs):
            record = pair.imputed
            if record.has_calls:
                here.fields.add("GT")
            if record.posterior is not None:
                values = record.posterior[self._imputed_rows].astype(np.float64)
                values = values[:, ::-1] if pair.imputed_turned else values
                total = values.sum(axis=1)
                there = np.isfinite(total) & (total > 0)
                posterior[there, j] = values[there] / total[there, None]
                dosage[there, j] = posterior[there, j] @ np.array([0.0, 1.0, 2.0])
                given[:, j] |= there
                here.fields.add("GP")
            if record.dosage is not None:
                dose = np.clip(record.dosage[self._imputed_rows].astype(np.float64), 0, 2)
                dose = 2 - dose if pair.imputed_turned else dose
                there = np.isfinite(dose)
                dosage[there, j] = dose[there]
                if record.posterior is None:
                    posterior[there, j] = np.clip(1 - np.abs(dose[there, None] - np.arange(3.0)), 0, 1)
                given[:, j] |= there
                here.fields.add("DS")
            if not record.has_calls:
                calls[:, j] = np.where(given[:, j], posterior[:, j].argmax(axis=1), MISSING)
        return calls, posterior, dosage, given


def _turned(calls: np.ndarray, turn: bool) -> np.ndarray:
    """Return calls as copies of the other allele where they are to be turned round; -1 = missing stays."""
    return np.where(calls != MISSING, 2 - calls, calls).astype(np.int8) if turn else calls


def concordances(sums: np.ndarray, beside: Sequence[str] = BESIDE) -> dict[str, np.ndarray]:
    """Return the concordances and the metrics `beside` them from sums of `site_sums`."""
    found = scores(sums)
    return {
        "concordance": found["f1_micro"],
        "non_reference_concordance": non_reference_concordance(sums),
        **{name: found[name] for name in beside},
    }


def site_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of `Concordance.sites` from sums by site."""
    found = concordances(sums)
    kept = {name: found[name] for name in ("concordance", "non_reference_concordance", "f1_macro")}
    return {**kept, "dosage_r2": found["site_dosage_r2"], "iqs": found["centred_iqs"]}
