"""Comparison of an imputed file with the truth, call by call.

Scores are by sample, site, allele frequency and group; the file's own quality (DR2) is compared with the true r².
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.impute.cells import counted, cut
from snpimpute.impute.compared import TYPED_SITES, Comparison, Sums, compare_cells, concordances, site_scores
from snpimpute.impute.pairing import contig_ranks
from snpimpute.io.records import Stream
from snpimpute.io.samples import left_out_of
from snpimpute.io.site_names import SiteList
from snpimpute.io.stream import holds_genotypes, streamed
from snpimpute.io.vcf import QUALITY_KEYS
from snpimpute.metrics.maf import maf_bin_names
from snpimpute.metrics.scores import correlation, scores
from snpimpute.metrics.sums import N_SUMS

QUALITY_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WANTED_R2 = (0.8, 0.9, 0.95)  # wanted mean true r² of the kept sites; for each the lowest threshold is reported
FIELDS = ["GT", "DS", "GP", *(f"INFO/{key}" for key in QUALITY_KEYS)]
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
    truth: Path,
    imputed: Path,
    *,
    typed: Path | None = None,
    samples: pd.DataFrame | None = None,
    watch: Watch | None = None,
    engine: Engine = HERE,
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
        watch: receives the progress on an engine.
        engine: where the files are compared, cell by cell; HERE = in one pass of this process. The sums are those of cells
            either way, so that they are the same to the last digit.

    Raises:
        InputError: a file cannot be read (see io.stream.streamed), the files share no sample or no site, or their
            contigs come in different orders.
    """
    watch = watch or Watch()
    paths = [truth, imputed]
    genotypes = typed is not None and holds_genotypes(typed)
    listed = None if typed is None or genotypes else SiteList.read(typed, TYPED_SITES)
    if typed is not None and genotypes:
        paths.append(typed)
    cells = [] if engine is HERE else cut(paths, watch)
    rank = {} if cells else contig_ranks(paths)
    with streamed(*paths, dosages=True) as streams:
        comparison = Comparison(streams, typed is not None, listed)
        sums = comparison.empty()
        for _, of_cell in () if cells else comparison.cells(rank):
            sums.join(of_cell)
    if cells:
        watch.stage(f"compare {imputed.name} with {truth.name}")
        asked = {"typed": typed is not None, "listed": listed is not None}
        beside = [typed] if typed is not None and listed is not None else []
        for of_cell in counted(compare_cells, streams, cells, asked, watch, engine, beside):
            sums.join(of_cell)
    return _result(sums, comparison.names, streams, typed, listed, samples)


def _result(
    sums: Sums,
    names: Sequence[str],
    streams: Sequence[Stream],
    typed_file: Path | None,
    listed: SiteList | None,
    table: pd.DataFrame | None,
) -> Concordance:
    """Return the scores of all records; InputError if there are none.

    Args:
        sums: over all sites.
        names: the samples compared.
        streams: truth, imputed file, and perhaps a file of typed calls.
        typed_file, listed: typed calls, and the list of typed sites.
        table: a sample table.
    """
    truth, imputed = streams[:2]
    if not sums.rows:
        raise InputError(_why_no_site(truth.name, imputed.name, sums.counts))
    if typed_file is not None and not sums.n_typed:
        raise InputError(
            f"nothing in {typed_file} is among the sites of {truth.name} and {imputed.name}: with it no call would be "
            f"known before imputation, and all would be scored; is it of the same region, and spelled contig:pos or contig pos?"
        )
    numbers = np.concatenate(sums.numbers, axis=1)
    sites = pd.DataFrame(sums.rows, columns=["contig", "id", "ref", "alt"])
    sites.insert(1, "pos", np.array(sums.pos, dtype=np.int64))
    columns = ["maf", "bin", "calls", "scored", *site_scores(np.zeros(N_SUMS)), "quality"]
    sites = sites.assign(**dict(zip(columns, numbers, strict=True)))
    sites = sites.astype({"calls": np.int64, "scored": np.int64})
    samples = pd.DataFrame({"sample": names, "calls": _calls(sums.by_sample)})
    samples = samples.assign(**concordances(sums.by_sample, OF_SAMPLE))
    samples["correlation"] = correlation(sums.centred)
    if phase := sums.switches.total():
        samples["switch_error"] = sums.switches.rates()
    groups = pd.DataFrame(columns=["group"])
    others = "" if table is None else left_out_of(table, names, "both files")
    if table is not None and "group" in table:
        of_sample = samples["sample"].map(table.set_index("sample").group).fillna("")
        samples.insert(1, "group", of_sample)
        groups = _groups(sums, of_sample)
    total = sums.by_sample.sum(axis=0)
    overall = {name: float(value) for name, value in concordances(total).items()}
    overall["correlation"] = _mean(samples.correlation)
    quality, thresholds, filters = _judge_quality(sites)
    typed = {}
    if typed_file is not None:
        n = int(sums.typed_confusion.sum())
        typed = {"calls": n, "concordance": float(np.trace(sums.typed_confusion) / n) if n else np.nan}
    counts = {
        "sites": len(sites),
        "sites_scored": int((sites.scored > 0).sum()),
        "sites_varied": int(np.nan_to_num(scores(total)["sites_varied"])),
        "sites_constant": int(np.nan_to_num(scores(total)["sites_constant"])),
        "samples": len(names),
        "samples_only_in_truth": len(truth.names) - len(names),
        "samples_only_in_imputed": len(imputed.names) - len(names),
        "calls": int(_calls(total)),
        "calls_typed": int(sums.typed_confusion.sum()),
    }
    more = [
        "calls_not_imputed",
        "calls_without_hard_call",
        "calls_typed_by_half",
        "calls_truth_missing",
        "records_only_in_truth",
        "records_only_in_imputed",
    ]
    more += ["same_position_other_alleles", "not_scored_no_alt", "repeated"]
    return Concordance(
        truth=truth.name, imputed=imputed.name,
        fields=", ".join(sorted(sums.fields, key=FIELDS.index)),
        counts=counts | {name: sums.counts[name] for name in more}, overall=overall, typed=typed,
        samples=samples, sites=sites.drop(columns=["bin", "scored"]), bins=_bins(sums, sites), groups=groups,
        quality=quality, thresholds=thresholds, filters=filters,
        phase=phase,
        notes=(
            *(f"{stream.name}: {note}" for stream in streams for note in sorted(stream.notes)),
            *([others] if others else []),
            *([NOT_TYPED] if typed_file is None else []),
            *([] if listed is None else [f"{sums.n_typed:,} of the {len(sites):,} compared sites are in {typed_file}"]),
        ),
    )  # fmt: skip


def _bins(sums: Sums, sites: pd.DataFrame) -> pd.DataFrame:
    bins = pd.DataFrame({"maf": maf_bin_names(), "sites": 0, "calls": _calls(sums.by_bin), **concordances(sums.by_bin)})
    per_site = sites[sites.scored > 0].groupby("bin")
    bins["sites"] = per_site.size().reindex(bins.index, fill_value=0)
    return bins[bins.sites > 0].reset_index(drop=True)


def _groups(sums: Sums, of_sample: pd.Series) -> pd.DataFrame:
    rows = []
    for group in sorted(of_sample.unique()):
        members = (of_sample == group).to_numpy()
        of_group = sums.by_sample[members].sum(axis=0)
        mean = _mean(pd.Series(correlation(sums.centred[members])))
        found = {name: float(value) for name, value in concordances(of_group, OF_GROUP).items()}
        rows.append(
            {
                "group": group,
                "samples": int(members.sum()),
                "calls": int(_calls(of_group)),
                **found,
                "correlation": mean,
            }
        )
    return pd.DataFrame(rows)


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
