"""Comparison of an imputed file with the truth, call by call.

Scores are by sample, site, allele frequency and group; the file's own quality (DR2) is compared with the true r².
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.builds import plain_contig
from snpimpute.io.filters import BASES, shortened
from snpimpute.io.records import NO_CALL, Record, Stream
from snpimpute.io.stream import contigs_in_order, streamed
from snpimpute.io.vcf import VCF_SUFFIXES
from snpimpute.metrics.maf import maf_bin, maf_bin_names
from snpimpute.metrics.scores import centred_sums, correlation, non_reference_concordance, scores
from snpimpute.metrics.sums import N_SUMS, confusion, site_sums

CALLS_PER_BLOCK = 50_000
GENOTYPE_SUFFIXES = (*VCF_SUFFIXES, ".bed")
QUALITY_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WANTED_R2 = (0.8, 0.9, 0.95)  # wanted mean true r² of the kept sites; for each the lowest threshold is reported
BESIDE = ("f1_macro", "dosage_r2", "iqs")  # metrics that are reported beside the concordances
GOOD_R2 = 0.8

Place = tuple[int, int]  # number of the contig, position
Alleles = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Concordance:
    """Result of the comparison; scores cover the calls that are not typed and are known in both files.

    The scores: `concordance` (share of right calls), `non_reference_concordance` (without the calls that are 0 in both),
    `f1_macro`, `dosage_r2` (pooled over calls), `iqs`; see metrics.scores. NaN if there is nothing to score.

    Attributes:
        truth, imputed: names of the two files.
        fields: fields of the imputed file that were used: "GT", "GT, DS", …
        counts: records and calls, scored and not scored; see docs/check.md.
        overall: score → value, also `site_dosage_r2` (mean over sites) and `correlation` (mean over samples).
        typed: `calls` and `concordance` of the typed calls; empty without `--typed`.
        samples: a row per sample: `sample`, `group` (if known), `calls`, the scores, `correlation` (of truth and
            dosage, both minus twice the allele frequency in the truth).
        sites: a row per site: contig, pos, id, ref, alt, `maf` (in the truth), `calls`, the scores, `quality` (DR2).
        bins: a row per MAF bin of the truth: `maf`, `sites`, `calls`, the scores, `site_dosage_r2`.
        groups: a row per group of the sample table: `group`, `samples`, `calls`, the scores, `correlation`.
        quality: agreement of DR2 with the true r² per site: `sites` (with both), `correlation`, `bias` (mean of DR2
            minus true r²), `rmse`; empty if the file has no DR2.
        thresholds: a row per lowest accepted DR2: `at_least`, `sites`, `share` (of the sites), `site_dosage_r2` (mean
            true r² of the kept sites), `concordance` (of their calls), `good_lost` (share of the sites with a true r² of
            0.8 or more that are dropped), `poor_kept` (share of the kept sites with a lower true r²).
        filters: wanted mean true r² → the lowest DR2 threshold that gives it, None if none does.
    """

    truth: str
    imputed: str
    fields: str
    counts: dict[str, int]
    overall: dict[str, float]
    typed: dict[str, float]
    samples: pd.DataFrame
    sites: pd.DataFrame
    bins: pd.DataFrame
    groups: pd.DataFrame
    quality: dict[str, float]
    thresholds: pd.DataFrame
    filters: dict[float, float | None]


def compare_files(
    truth: Path, imputed: Path, *, typed: Path | None = None, samples: pd.DataFrame | None = None
) -> Concordance:
    """Compare an imputed file with the truth.

    Two sites are the same if contig (apart from `chr`), position, REF and ALT are equal; two samples if their names are.
    Biallelic SNPs are scored. The hard call is GT, the dosage DS, the posterior GP. Without DS the dosage is the mean of
    GP, or the hard call. Without GP the posterior is on the two genotypes next to the dosage. Memory grows with the
    number of sites plus samples, not with their product.

    Args:
        truth: VCF, BCF or PLINK 1 (.bed).
        imputed: VCF, BCF or PLINK 1 (.bed).
        typed: the calls that were known before imputation, which are not scored: a genotype file (its calls that are not
            missing are typed), or a list of sites that are typed in all samples (one per line: contig:pos:ref:alt,
            contig:pos or id).
        samples: a sample table (io.samples.read_samples); its column group is used.

    Raises:
        InputError: a file cannot be read (see io.stream.streamed), the files share no sample or no site, or their
            contigs come in different orders.
    """
    paths = [truth, imputed]
    known = typed is not None and typed.name.lower().endswith(GENOTYPE_SUFFIXES)
    listed = _listed_sites(typed) if typed is not None and not known else set()
    if typed is not None and known:
        paths.append(typed)
    rank = _contig_ranks(paths)
    with ExitStack() as opened:
        streams = opened.enter_context(streamed(*paths, dosages=True))
        comparison = _Comparison(streams, listed, given=typed is not None)
        for records in _merge_by_position(streams, rank):
            comparison.add(*records)
    return comparison.result(samples)


# ---------------------------------------------------------------------- records by position


def _contig_ranks(paths: Sequence[Path]) -> dict[str, int]:
    """Return a mapping of plain contig → rank in an order that all files follow; InputError if there is none."""
    for path in paths:
        with streamed(path):  # raises the file's own errors before its contigs are compared
            pass
    merged: list[str] = []
    for path in paths:
        own = [plain_contig(contig) for contig in contigs_in_order(path)]
        before = 0
        for contig in own:
            if contig in merged:
                before = merged.index(contig) + 1
            else:
                merged.insert(before, contig)
                before += 1
        places = [merged.index(contig) for contig in own]
        if places != sorted(set(places)):
            raise InputError(
                f"the contigs of {path.name} come in another order than those of {paths[0].name}: bcftools sort both"
            )
    return {contig: i for i, contig in enumerate(merged)}


def _merge_by_position(
    streams: Sequence[Stream], rank: Mapping[str, int]
) -> Iterator[list[dict[Alleles, list[Record]]]]:
    """Yield, for each position that any file has, the records of every file at this position, by alleles."""
    iterators = [_by_position(stream, rank) for stream in streams]
    heads = [next(iterator, None) for iterator in iterators]
    while any(head is not None for head in heads):
        here = min(head[0] for head in heads if head is not None)
        yield [head[1] if head is not None and head[0] == here else {} for head in heads]
        for i, head in enumerate(heads):
            if head is not None and head[0] == here:
                heads[i] = next(iterators[i], None)


def _by_position(stream: Stream, rank: Mapping[str, int]) -> Iterator[tuple[Place, dict[Alleles, list[Record]]]]:
    """Yield each position of a file with its records there, by alleles."""
    place: Place | None = None
    records: dict[Alleles, list[Record]] = {}
    for record in stream.records:
        at = (rank[plain_contig(record.contig)], record.pos)
        if at != place:
            if place is not None:
                yield place, records
            place, records = at, {}
        records.setdefault((record.ref, record.alts), []).append(record)
    if place is not None:
        yield place, records


def _listed_sites(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the typed sites in {path}: {error}") from None


# ---------------------------------------------------------------------- one pass over the files


class _Comparison:
    """Sums over the sites that the truth and the imputed file share."""

    def __init__(self, streams: Sequence[Stream], listed: set[str], given: bool) -> None:
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
        self._listed, self._typed_given = listed, given
        n = len(self.names)
        self._block_size = max(1, CALLS_PER_BLOCK // n)
        self._block: list[tuple[Record, Record, np.ndarray]] = []
        self.counts: Counter[str] = Counter()
        self._by_sample = np.zeros((n, N_SUMS))
        self._centred = np.zeros((n, 6))
        self._by_bin = np.zeros((len(maf_bin_names()), N_SUMS))
        self._typed_confusion = np.zeros((3, 3), dtype=np.int64)
        self._rows: list[tuple[str, str, str, str]] = []
        self._pos = array("q")
        self._numbers: list[np.ndarray] = []
        self._has = {"DS": False, "GP": False}

    def add(
        self,
        truth: dict[Alleles, list[Record]],
        imputed: dict[Alleles, list[Record]],
        typed: dict[Alleles, list[Record]] | None = None,
    ) -> None:
        """Add the records that the files have at one position."""
        both = truth.keys() & imputed.keys()
        only = {"truth": truth.keys() - both, "imputed": imputed.keys() - both}
        for which, there in only.items():
            self.counts[f"records_only_in_{which}"] += len(there)
        self.counts["same_position_other_alleles"] += min(map(len, only.values()))
        self.counts["repeated"] += sum(len(truth[a]) + len(imputed[a]) - 2 for a in both)
        for alleles in sorted(both):
            if not _is_biallelic_snp(alleles):
                self.counts["not_scored_no_biallelic_snp"] += 1
                continue
            record = truth[alleles][0]
            self._block.append((record, imputed[alleles][0], self._is_typed(record, typed or {})))
            if len(self._block) == self._block_size:
                self._add_block()

    def _is_typed(self, record: Record, typed: dict[Alleles, list[Record]]) -> np.ndarray:
        """Return bool (n_samples,): the samples whose call at the site was known before imputation."""
        names = {
            record.id,
            f"{record.contig}:{record.pos}",
            f"{record.contig}:{record.pos}:{record.ref}:{record.alts[0]}",
        }
        if not self._listed.isdisjoint(names):
            return np.ones(len(self.names), dtype=bool)
        pair = {record.ref, record.alts[0]}
        found = [r for (ref, alts), records in typed.items() if {ref, *alts} <= pair for r in records]
        if not found:
            return np.zeros(len(self.names), dtype=bool)
        known = np.append(found[0].kinds != NO_CALL, False)
        return known[self._typed_rows]

    def _add_block(self) -> None:
        """Score the records collected so far, and add them to the sums."""
        if not self._block:
            return
        records, imputed_records, typed = zip(*self._block, strict=True)
        self._block = []
        all_truth = np.stack([record.calls for record in records], axis=1)
        truth = all_truth[self._truth_rows]
        calls = np.stack([record.calls for record in imputed_records], axis=1)[self._imputed_rows]
        is_typed = np.stack(typed, axis=1)
        self.counts["calls_truth_missing"] += int((truth == MISSING).sum())
        self.counts["calls_not_imputed"] += int(((truth != MISSING) & (calls == MISSING)).sum())
        truth[calls == MISSING] = MISSING
        calls[calls == MISSING] = 0
        if self._typed_given:
            self._typed_confusion += confusion(np.where(is_typed, truth, MISSING), calls)
            truth[is_typed] = MISSING
        posterior, dosage = self._posterior(imputed_records, calls)
        sums = site_sums(truth, posterior, calls, dosage)
        by_site = sums.sum(axis=0, dtype=np.float64)
        self._by_sample += sums.sum(axis=1, dtype=np.float64)
        known = all_truth != MISSING
        with np.errstate(invalid="ignore"):
            frequency = np.where(known, all_truth, 0).sum(axis=0) / (2.0 * known.sum(axis=0))
        self._centred += centred_sums(truth, dosage, frequency)
        maf = np.minimum(frequency, 1 - frequency)
        place = maf_bin(maf)
        for b in np.unique(place[place >= 0]):
            self._by_bin[b] += by_site[place == b].sum(axis=0)
        for record in records:
            self._rows.append((record.contig, record.id, record.ref, record.alts[0]))
            self._pos.append(record.pos)
        quality = [record.quality for record in imputed_records]
        numbers = [maf, place, (truth != MISSING).sum(axis=0), *_scores(by_site).values(), quality]
        self._numbers.append(np.array(numbers, dtype=np.float64))

    def _posterior(self, records: Sequence[Record], calls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior float64 (n_samples, n, 3) and dosage float64 (n_samples, n), from GP, DS or GT."""
        posterior = np.eye(3)[calls]
        dosage = calls.astype(np.float64)
        for j, record in enumerate(records):
            if record.posterior is not None:
                given = record.posterior[self._imputed_rows].astype(np.float64)
                total = given.sum(axis=1)
                there = np.isfinite(total) & (total > 0)
                posterior[there, j] = given[there] / total[there, None]
                dosage[there, j] = posterior[there, j] @ np.array([0.0, 1.0, 2.0])
                self._has["GP"] = True
            if record.dosage is not None:
                given = np.clip(record.dosage[self._imputed_rows].astype(np.float64), 0, 2)
                there = np.isfinite(given)
                dosage[there, j] = given[there]
                if record.posterior is None:
                    posterior[there, j] = np.clip(1 - np.abs(given[there, None] - np.arange(3.0)), 0, 1)
                self._has["DS"] = True
        return posterior, dosage

    def result(self, table: pd.DataFrame | None) -> Concordance:
        """Return the scores of all records added; InputError if there are none."""
        self._add_block()
        if not self._rows:
            raise InputError(_why_no_site(self._truth.name, self._imputed.name, self.counts))
        numbers = np.concatenate(self._numbers, axis=1)
        sites = pd.DataFrame(self._rows, columns=["contig", "id", "ref", "alt"])
        sites.insert(1, "pos", np.array(self._pos, dtype=np.int64))
        names = ["maf", "bin", "calls", *_scores(np.zeros(N_SUMS)), "quality"]
        sites = sites.assign(**dict(zip(names, numbers, strict=True)))
        sites["calls"] = sites.calls.astype(np.int64)
        samples = pd.DataFrame({"sample": self.names, "calls": _calls(self._by_sample), **_scores(self._by_sample)})
        samples["correlation"] = correlation(self._centred)
        groups = pd.DataFrame(columns=["group"])
        if table is not None and "group" in table:
            of_sample = samples["sample"].map(table.set_index("sample").group).fillna("")
            samples.insert(1, "group", of_sample)
            groups = self._groups(of_sample)
        total = self._by_sample.sum(axis=0)
        overall = {name: float(value) for name, value in _scores(total).items()}
        overall |= {"site_dosage_r2": _mean(sites.dosage_r2), "correlation": _mean(samples.correlation)}
        quality, thresholds, filters = _judge_quality(sites)
        typed = {}
        if self._typed_given:
            n = int(self._typed_confusion.sum())
            typed = {"calls": n, "concordance": float(np.trace(self._typed_confusion) / n) if n else np.nan}
        counts = {
            "sites": len(sites),
            "sites_scored": int((sites.calls > 0).sum()),
            "samples": len(self.names),
            "samples_only_in_truth": len(self._truth.names) - len(self.names),
            "samples_only_in_imputed": len(self._imputed.names) - len(self.names),
            "calls": int(_calls(total)),
            "calls_typed": int(self._typed_confusion.sum()),
        }
        names = ["calls_not_imputed", "calls_truth_missing", "records_only_in_truth", "records_only_in_imputed"]
        names += ["same_position_other_alleles", "not_scored_no_biallelic_snp", "repeated"]
        return Concordance(
            truth=self._truth.name, imputed=self._imputed.name,
            fields=", ".join(["GT", *(field for field, there in self._has.items() if there)]),
            counts=counts | {name: self.counts[name] for name in names}, overall=overall, typed=typed,
            samples=samples, sites=sites.drop(columns="bin"), bins=self._bins(sites), groups=groups,
            quality=quality, thresholds=thresholds, filters=filters,
        )  # fmt: skip

    def _bins(self, sites: pd.DataFrame) -> pd.DataFrame:
        bins = pd.DataFrame(
            {"maf": maf_bin_names(), "sites": 0, "calls": _calls(self._by_bin), **_scores(self._by_bin)}
        )
        per_site = sites[sites.calls > 0].groupby("bin")
        bins["sites"] = per_site.size().reindex(bins.index, fill_value=0)
        bins["site_dosage_r2"] = per_site.dosage_r2.mean().reindex(bins.index)
        return bins[bins.calls > 0].reset_index(drop=True)

    def _groups(self, of_sample: pd.Series) -> pd.DataFrame:
        rows = []
        for group in sorted(of_sample.unique()):
            members = (of_sample == group).to_numpy()
            sums = self._by_sample[members].sum(axis=0)
            mean = _mean(pd.Series(correlation(self._centred[members])))
            found = {name: float(value) for name, value in _scores(sums).items()}
            rows.append(
                {
                    "group": group,
                    "samples": int(members.sum()),
                    "calls": int(_calls(sums)),
                    **found,
                    "correlation": mean,
                }
            )
        return pd.DataFrame(rows)


def _is_biallelic_snp(alleles: Alleles) -> bool:
    ref, alts = alleles
    return len(alts) == 1 and ref in BASES and alts[0] in BASES


def _scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of `Concordance` from sums of `site_sums`."""
    found = scores(sums)
    return {
        "concordance": found["f1_micro"],
        "non_reference_concordance": non_reference_concordance(sums),
        **{name: found[name] for name in BESIDE},
    }


def _calls(sums: np.ndarray) -> np.ndarray:
    """Return int64 (...): the number of calls in sums of `site_sums`."""
    found = scores(sums)
    return np.nan_to_num(sum(found[f"truth_{g}"] for g in range(3))).astype(np.int64)


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if values.notna().any() else float("nan")


def _why_no_site(truth: str, imputed: str, counts: Mapping[str, int]) -> str:
    return (
        f"{truth} and {imputed} have no biallelic SNP in common ({counts['records_only_in_truth']:,} records are only in the "
        f"first, {counts['records_only_in_imputed']:,} only in the second, {counts['same_position_other_alleles']:,} of them at "
        f"the same position with other alleles): are they of the same region and genome build?"
    )


# ---------------------------------------------------------------------- the file's own quality, DR2


def _judge_quality(sites: pd.DataFrame) -> tuple[dict[str, float], pd.DataFrame, dict[float, float | None]]:
    """Return the agreement of DR2 with the true r², the table of thresholds, and the thresholds for WANTED_R2."""
    both = sites[sites.quality.notna() & sites.dosage_r2.notna()]
    if both.empty:
        return {}, pd.DataFrame(columns=["at_least"]), {}
    stated, true = both.quality.to_numpy(), both.dosage_r2.to_numpy()
    varied = len(both) > 1 and stated.std() > 1e-9 and true.std() > 1e-9
    quality = {
        "sites": len(both),
        "correlation": float(np.corrcoef(stated, true)[0, 1]) if varied else float("nan"),
        "bias": float((stated - true).mean()),
        "rmse": float(np.sqrt(((stated - true) ** 2).mean())),
    }
    good = true >= GOOD_R2
    rows = []
    for at_least in QUALITY_THRESHOLDS:
        kept = stated >= at_least
        part = both[kept]
        rows.append(
            {
                "at_least": at_least,
                "sites": int(kept.sum()),
                "share": float(kept.mean()),
                "site_dosage_r2": _mean(part.dosage_r2),
                "concordance": float(np.average(part.concordance, weights=part.calls)) if len(part) else float("nan"),
                "good_lost": float((good & ~kept).sum() / good.sum()) if good.any() else float("nan"),
                "poor_kept": float((~good & kept).sum() / kept.sum()) if kept.any() else float("nan"),
            }
        )
    return quality, pd.DataFrame(rows), {wanted: _lowest_threshold(stated, true, wanted) for wanted in WANTED_R2}


def _lowest_threshold(stated: np.ndarray, true: np.ndarray, wanted: float) -> float | None:
    """Return the lowest threshold, in hundredths, that gives the wanted mean true r² of kept sites, or None."""
    means: Callable[[float], float] = lambda at_least: true[stated >= at_least].mean()  # noqa: E731
    steps = [i / 100 for i in range(101) if (stated >= i / 100).any()]
    return next((at_least for at_least in steps if means(at_least) >= wanted), None)
