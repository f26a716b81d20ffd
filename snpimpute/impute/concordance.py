"""Comparison of an imputed file with the truth, call by call.

Scores are by sample, site, allele frequency and group; the file's own quality (DR2) is compared with the true r².
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.pairing import Alleles, Pair, contig_ranks, merge_by_position, paired
from snpimpute.impute.phase import Switches
from snpimpute.io.filters import shortened
from snpimpute.io.plink import BED_MAGIC
from snpimpute.io.records import HALF, NO_CALL, Record, Stream
from snpimpute.io.samples import left_out_of
from snpimpute.io.site_names import SiteList
from snpimpute.io.stream import GENOTYPE_SUFFIXES, streamed
from snpimpute.io.vcf import QUALITY_KEYS
from snpimpute.metrics.maf import maf_bin, maf_bin_names
from snpimpute.metrics.scores import centred_sums, correlation, non_reference_concordance, scores
from snpimpute.metrics.sums import N_SUMS, confusion, genotype_shares, site_sums, with_hard_calls_of

CALLS_PER_BLOCK = 50_000
QUALITY_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WANTED_R2 = (0.8, 0.9, 0.95)  # wanted mean true r² of the kept sites; for each the lowest threshold is reported
FIELDS = ["GT", "DS", "GP", *(f"INFO/{key}" for key in QUALITY_KEYS)]
BESIDE = ("f1_macro", "site_dosage_r2", "centred_dosage_r2", "centred_iqs")  # metrics beside the concordances
OF_GROUP = ("f1_macro", "centred_dosage_r2", "centred_iqs")  # those that are known of a group of samples
OF_SAMPLE = ("f1_macro", "centred_iqs")
GOOD_R2 = 0.8
NOT_TYPED = (
    "without --typed, calls that were known before imputation are scored as well: every score looks better than it is"
)


@dataclass(frozen=True, eq=False)
class Concordance:
    """Result of the comparison; scores cover the calls that are not typed and are known in both files.

    The scores: `concordance` (share of right calls), `non_reference_concordance` (without the calls that are 0 in both),
    `f1_macro`, `site_dosage_r2` (mean over sites of r² within the site), `centred_dosage_r2` (pooled over calls, less the site's
    mean), `centred_iqs`; see metrics.registry. NaN if there is nothing to score.

    Attributes:
        truth, imputed: names of the two files.
        fields: fields of the imputed file that were used: "GT", "GT, DS", …
        counts: records and calls, scored and not scored; see docs/check.md.
        overall: score → value, also `correlation` (mean over samples).
        typed: `calls` and `concordance` of the typed calls; empty without `--typed`.
        samples: a row per sample: `sample`, `group` (if known), `calls`, the scores without dosage r², `correlation` (of truth
            and dosage, both minus twice the allele frequency in the truth).
        sites: a row per site: contig, pos, id, ref, alt, `maf` (in the truth), `calls`, the concordances, `f1_macro`,
            `dosage_r2` and `iqs` (within the site), `quality` (DR2).
        bins: a row per MAF bin of the truth: `maf`, `sites`, `calls`, the scores.
        groups: a row per group of the sample table: `group`, `samples`, `calls`, the scores without `site_dosage_r2`,
            `correlation`.
        quality: agreement of DR2 with the true r² per site: `sites` (with both), `correlation`, `bias` (mean of DR2
            minus true r²), `rmse`; empty if the file has no DR2.
        thresholds: a row per lowest accepted DR2: `at_least`, `sites`, `share` (of the sites), `site_dosage_r2` (mean
            true r² of the kept sites), `concordance` (of their calls), `good_lost` (share of the sites with a true r² of
            0.8 or more that are dropped), `poor_kept` (share of the kept sites with a lower true r²).
        filters: wanted mean true r² → the lowest DR2 threshold that gives it, None if none does.
        phase: where both files are phased, of all samples `pairs` (of heterozygous calls that follow each other), `switches` and
            `switch_error`; samples have `switch_error` too. Empty elsewhere. See phase.Switches.
        notes: what was noticed of the files, as a GP that is phred-scaled.
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
    notes: tuple[str, ...] = ()
    phase: dict[str, float] = field(default_factory=dict)


def compare_files(
    truth: Path, imputed: Path, *, typed: Path | None = None, samples: pd.DataFrame | None = None
) -> Concordance:
    """Compare an imputed file with the truth; memory grows with the number of sites and samples, not their product.

    Sites are the same where contig (but for `chr`), position and alleles are, whichever of these is REF; a record without ALT
    fits where its REF is one of the two. Samples are the same where their names are. A record with several ALTs is a site for each. The hard call is
    GT, or the genotype of the largest posterior in a record that has no GT; the dosage is DS, else the mean of GP, else the hard
    call; the posterior is GP, else it lies on the two genotypes next to the dosage. A call whose GT is missing and whose DS or GP is
    there counts for dosage r², IQS and the correlation, and not for the scores of hard calls.

    Args:
        truth: VCF, BCF or PLINK (.bed, .pgen).
        imputed: VCF, BCF or PLINK (.bed, .pgen).
        typed: the calls that were known before imputation, which are not scored: a genotype file (its calls that are not
            missing are typed), or a list of sites that are typed in all samples (one per line: contig:pos:ref:alt,
            contig:pos or id).
        samples: a sample table (io.samples.read_samples); its column group is used.

    Raises:
        InputError: a file cannot be read (see io.stream.streamed), the files share no sample or no site, or their
            contigs come in different orders.
    """
    paths = [truth, imputed]
    genotypes = typed is not None and holds_genotypes(typed)
    listed = None if typed is None or genotypes else SiteList.read(typed, "the typed sites")
    if typed is not None and genotypes:
        paths.append(typed)
    rank = contig_ranks(paths)
    with ExitStack() as opened:
        streams = opened.enter_context(streamed(*paths, dosages=True))
        comparison = _Comparison(streams, typed, listed)
        for records in merge_by_position(streams, rank):
            comparison.add(*records)
    return comparison.result(samples)


def holds_genotypes(path: Path) -> bool:
    """Return whether a file is one of genotypes: by its name, but a PLINK 1 .bed (and not one of stretches) by its start."""
    if path.name.lower().endswith(".bed"):
        with suppress(OSError), path.open("rb") as file:
            return file.read(len(BED_MAGIC)) == BED_MAGIC
    return path.name.lower().endswith(GENOTYPE_SUFFIXES)


# ---------------------------------------------------------------------- one pass over the files


class _Comparison:
    """Sums over the sites that the truth and the imputed file share."""

    def __init__(self, streams: Sequence[Stream], typed: Path | None, listed: SiteList | None) -> None:
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
        self._n_typed = 0  # compared sites that the list or the file of typed calls has
        n = len(self.names)
        self._switches = Switches(self._truth_rows, self._imputed_rows)
        self._block_size = max(1, CALLS_PER_BLOCK // n)
        self._block: list[tuple[Pair, np.ndarray, np.ndarray]] = []
        self.counts: Counter[str] = Counter()
        self._by_sample = np.zeros((n, N_SUMS))
        self._centred = np.zeros((n, 6))
        self._by_bin = np.zeros((len(maf_bin_names()), N_SUMS))
        self._typed_confusion = np.zeros((3, 3), dtype=np.int64)
        self._rows: list[tuple[str, str, str, str]] = []
        self._pos = array("q")
        self._numbers: list[np.ndarray] = []
        self._fields: set[str] = set()

    def add(
        self,
        truth: dict[Alleles, list[Record]],
        imputed: dict[Alleles, list[Record]],
        typed: dict[Alleles, list[Record]] | None = None,
    ) -> None:
        """Add the records that the files have at one position."""
        pairs, others = paired(truth, imputed)
        n_both = len(pairs) + len(others)
        only = {"truth": len(truth) - n_both, "imputed": len(imputed) - n_both}
        for which, n in only.items():
            self.counts[f"records_only_in_{which}"] += n
        self.counts["same_position_other_alleles"] += min(only.values())
        self.counts["repeated"] += sum(map(len, truth.values())) + sum(map(len, imputed.values()))
        self.counts["repeated"] -= len(truth) + len(imputed)
        self.counts["not_scored_no_alt"] += len(others)
        for pair in pairs:
            self._switches.add(pair)
            self._block.append((pair, *self._known_before(pair, typed or {})))
            if len(self._block) == self._block_size:
                self._add_block()

    def _known_before(self, pair: Pair, typed: dict[Alleles, list[Record]]) -> tuple[np.ndarray, np.ndarray]:
        """Return two bool (n_samples,): whose call at the site was known before imputation, and whose was known by half."""
        everyone, nobody = np.ones(len(self.names), dtype=bool), np.zeros(len(self.names), dtype=bool)
        truth, imputed = pair.truth, pair.imputed
        if self._listed is not None:
            alleles = (pair.ref, pair.alt)
            if any(self._listed.holds(r.contig, r.pos, r.id, alleles) for r in (truth, imputed)):
                self._n_typed += 1
                return everyone, nobody
            return nobody, nobody
        of_site = [r for (ref, alts), records in typed.items() if {ref, *alts} <= {pair.ref, pair.alt} for r in records]
        if not of_site:
            return nobody, nobody
        self._n_typed += 1
        kinds = np.append(of_site[0].kinds, NO_CALL)[self._typed_rows]
        return (kinds != NO_CALL) & (kinds != HALF), kinds == HALF

    def _add_block(self) -> None:
        """Score the pairs collected so far, and add them to the sums."""
        if not self._block:
            return
        pairs, known_before, half_known = zip(*self._block, strict=True)
        self._block = []
        all_truth = np.stack([_turned(pair.truth.calls, pair.truth_turned) for pair in pairs], axis=1)
        truth = all_truth[self._truth_rows]
        calls = np.stack([_turned(pair.imputed.calls, pair.imputed_turned) for pair in pairs], axis=1)
        calls, posterior, dosage, given = self._imputed_values(pairs, calls[self._imputed_rows])
        is_typed, is_half = np.stack(known_before, axis=1), np.stack(half_known, axis=1)
        known = truth != MISSING
        self.counts["calls_truth_missing"] += int((~known).sum())
        self.counts["calls_not_imputed"] += int((known & ~given).sum())
        self.counts["calls_without_hard_call"] += int((known & given & (calls == MISSING) & ~is_typed & ~is_half).sum())
        self.counts["calls_typed_by_half"] += int((known & is_half).sum())
        hard = np.where(calls == MISSING, np.int8(MISSING), truth)
        calls = np.where(calls == MISSING, np.int8(0), calls)
        soft = np.where(given, truth, np.int8(MISSING))
        if self._typed is not None:
            self._typed_confusion += confusion(np.where(is_typed, hard, np.int8(MISSING)), calls)
            hard[is_typed | is_half] = MISSING
            soft[is_typed | is_half] = MISSING
        shares = genotype_shares(all_truth)
        sums = site_sums(soft, posterior, calls, dosage, shares=shares)
        if not np.array_equal(hard, soft):
            sums = with_hard_calls_of(sums, site_sums(hard, posterior, calls, dosage, shares=shares))
        by_site = sums.sum(axis=0, dtype=np.float64)
        self._by_sample += sums.sum(axis=1, dtype=np.float64)
        known = all_truth != MISSING
        with np.errstate(invalid="ignore"):
            frequency = np.where(known, all_truth, 0).sum(axis=0) / (2.0 * known.sum(axis=0))
        self._centred += centred_sums(soft, dosage, frequency)
        maf = np.minimum(frequency, 1 - frequency)
        place = maf_bin(maf)
        for b in np.unique(place[place >= 0]):
            self._by_bin[b] += by_site[place == b].sum(axis=0)
        for pair in pairs:
            self._rows.append((pair.truth.contig, pair.truth.id or pair.imputed.id, pair.ref, pair.alt))
            self._pos.append(pair.truth.pos)
        quality = [pair.imputed.quality for pair in pairs]
        self._fields |= {f"INFO/{pair.imputed.quality_key}" for pair in pairs if pair.imputed.quality_key}
        n_scored = (np.maximum(hard, soft) != MISSING).sum(axis=0)
        numbers = [maf, place, (hard != MISSING).sum(axis=0), n_scored, *_site_scores(by_site).values(), quality]
        self._numbers.append(np.array(numbers, dtype=np.float64))

    def _imputed_values(
        self, pairs: Sequence[Pair], calls: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return what the imputed file says of a block.

        Args:
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
                self._fields.add("GT")
            if record.posterior is not None:
                values = record.posterior[self._imputed_rows].astype(np.float64)
                values = values[:, ::-1] if pair.imputed_turned else values
                total = values.sum(axis=1)
                there = np.isfinite(total) & (total > 0)
                posterior[there, j] = values[there] / total[there, None]
                dosage[there, j] = posterior[there, j] @ np.array([0.0, 1.0, 2.0])
                given[:, j] |= there
                self._fields.add("GP")
            if record.dosage is not None:
                dose = np.clip(record.dosage[self._imputed_rows].astype(np.float64), 0, 2)
                dose = 2 - dose if pair.imputed_turned else dose
                there = np.isfinite(dose)
                dosage[there, j] = dose[there]
                if record.posterior is None:
                    posterior[there, j] = np.clip(1 - np.abs(dose[there, None] - np.arange(3.0)), 0, 1)
                given[:, j] |= there
                self._fields.add("DS")
            if not record.has_calls:
                calls[:, j] = np.where(given[:, j], posterior[:, j].argmax(axis=1), MISSING)
        return calls, posterior, dosage, given

    def result(self, table: pd.DataFrame | None) -> Concordance:
        """Return the scores of all records added; InputError if there are none."""
        self._add_block()
        if not self._rows:
            raise InputError(_why_no_site(self._truth.name, self._imputed.name, self.counts))
        if self._typed is not None and not self._n_typed:
            raise InputError(
                f"nothing in {self._typed} is among the sites of {self._truth.name} and {self._imputed.name}: with it no call would be "
                f"known before imputation, and all would be scored; is it of the same region, and spelled contig:pos or contig pos?"
            )
        numbers = np.concatenate(self._numbers, axis=1)
        sites = pd.DataFrame(self._rows, columns=["contig", "id", "ref", "alt"])
        sites.insert(1, "pos", np.array(self._pos, dtype=np.int64))
        names = ["maf", "bin", "calls", "scored", *_site_scores(np.zeros(N_SUMS)), "quality"]
        sites = sites.assign(**dict(zip(names, numbers, strict=True)))
        sites = sites.astype({"calls": np.int64, "scored": np.int64})
        samples = pd.DataFrame({"sample": self.names, "calls": _calls(self._by_sample)})
        samples = samples.assign(**_scores(self._by_sample, OF_SAMPLE))
        samples["correlation"] = correlation(self._centred)
        if phase := self._switches.total():
            samples["switch_error"] = self._switches.rates()
        groups = pd.DataFrame(columns=["group"])
        others = "" if table is None else left_out_of(table, self.names, "both files")
        if table is not None and "group" in table:
            of_sample = samples["sample"].map(table.set_index("sample").group).fillna("")
            samples.insert(1, "group", of_sample)
            groups = self._groups(of_sample)
        total = self._by_sample.sum(axis=0)
        overall = {name: float(value) for name, value in _scores(total).items()}
        overall["correlation"] = _mean(samples.correlation)
        quality, thresholds, filters = _judge_quality(sites)
        typed = {}
        if self._typed is not None:
            n = int(self._typed_confusion.sum())
            typed = {"calls": n, "concordance": float(np.trace(self._typed_confusion) / n) if n else np.nan}
        counts = {
            "sites": len(sites),
            "sites_scored": int((sites.scored > 0).sum()),
            "sites_varied": int(np.nan_to_num(scores(total)["sites_varied"])),
            "sites_constant": int(np.nan_to_num(scores(total)["sites_constant"])),
            "samples": len(self.names),
            "samples_only_in_truth": len(self._truth.names) - len(self.names),
            "samples_only_in_imputed": len(self._imputed.names) - len(self.names),
            "calls": int(_calls(total)),
            "calls_typed": int(self._typed_confusion.sum()),
        }
        names = [
            "calls_not_imputed",
            "calls_without_hard_call",
            "calls_typed_by_half",
            "calls_truth_missing",
            "records_only_in_truth",
            "records_only_in_imputed",
        ]
        names += ["same_position_other_alleles", "not_scored_no_alt", "repeated"]
        return Concordance(
            truth=self._truth.name, imputed=self._imputed.name,
            fields=", ".join(sorted(self._fields, key=FIELDS.index)),
            counts=counts | {name: self.counts[name] for name in names}, overall=overall, typed=typed,
            samples=samples, sites=sites.drop(columns=["bin", "scored"]), bins=self._bins(sites), groups=groups,
            quality=quality, thresholds=thresholds, filters=filters,
            phase=phase,
            notes=(
                *(f"{stream.name}: {note}" for stream in self._streams for note in sorted(stream.notes)),
                *([others] if others else []),
                *([NOT_TYPED] if self._typed is None else []),
                *([] if self._listed is None else [f"{self._n_typed:,} of the {len(sites):,} compared sites are in {self._typed}"]),
            ),
        )  # fmt: skip

    def _bins(self, sites: pd.DataFrame) -> pd.DataFrame:
        bins = pd.DataFrame(
            {"maf": maf_bin_names(), "sites": 0, "calls": _calls(self._by_bin), **_scores(self._by_bin)}
        )
        per_site = sites[sites.scored > 0].groupby("bin")
        bins["sites"] = per_site.size().reindex(bins.index, fill_value=0)
        return bins[bins.sites > 0].reset_index(drop=True)

    def _groups(self, of_sample: pd.Series) -> pd.DataFrame:
        rows = []
        for group in sorted(of_sample.unique()):
            members = (of_sample == group).to_numpy()
            sums = self._by_sample[members].sum(axis=0)
            mean = _mean(pd.Series(correlation(self._centred[members])))
            found = {name: float(value) for name, value in _scores(sums, OF_GROUP).items()}
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


def _turned(calls: np.ndarray, turn: bool) -> np.ndarray:
    """Return calls as copies of the other allele where they are to be turned round; -1 = missing stays."""
    return np.where(calls != MISSING, 2 - calls, calls).astype(np.int8) if turn else calls


def _scores(sums: np.ndarray, beside: Sequence[str] = BESIDE) -> dict[str, np.ndarray]:
    """Return the concordances and the metrics `beside` them from sums of `site_sums`."""
    found = scores(sums)
    return {
        "concordance": found["f1_micro"],
        "non_reference_concordance": non_reference_concordance(sums),
        **{name: found[name] for name in beside},
    }


def _site_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of `Concordance.sites` from sums by site."""
    found = _scores(sums)
    kept = {name: found[name] for name in ("concordance", "non_reference_concordance", "f1_macro")}
    return {**kept, "dosage_r2": found["site_dosage_r2"], "iqs": found["centred_iqs"]}


def _calls(sums: np.ndarray) -> np.ndarray:
    """Return int64 (...): the number of calls in sums of `site_sums`."""
    found = scores(sums)
    return np.nan_to_num(sum(found[f"truth_{g}"] for g in range(3))).astype(np.int64)


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if values.notna().any() else float("nan")


def _why_no_site(truth: str, imputed: str, counts: Mapping[str, int]) -> str:
    return (
        f"{truth} and {imputed} have no site in common ({counts['records_only_in_truth']:,} records are only in the "
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
