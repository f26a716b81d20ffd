"""Two files compared: perfect against itself, as bcftools counts where both measure the same, every field and misfit as said."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from snpimpute.base.errors import InputError
from snpimpute.base.programs import beagle_jar
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.concordance import Concordance, compare_files
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf
from tests.impute.test_check import population
from tests.io.test_vcf import PANELS, record, vcf_text, write

TRUTH = population(30, 250, 6)
SPELLED = ("0/0", "0/1", "1/1", "./.")
INFO = '##INFO=<ID=DR2,Number=1,Type=Float,Description="r2">\n##INFO=<ID=R2,Number=1,Type=Float,Description="r2">\n'
GP = '##FORMAT=<ID=GP,Number=G,Type=Float,Description="posterior">\n'


def damaged(matrix: GenotypeMatrix, share: float = 0.15, seed: int = 8) -> GenotypeMatrix:
    """A share of the calls drawn anew from the frequencies of their site, and a few lost."""
    rng = np.random.default_rng(seed)
    drawn = rng.binomial(2, matrix.alt_frequency(), matrix.calls.shape)
    calls = np.where(rng.random(matrix.calls.shape) < share, drawn, matrix.calls)
    calls[rng.random(matrix.calls.shape) < 0.02] = MISSING
    return replace(matrix, calls=calls.astype(np.int8))


def stored(path: Path, matrix: GenotypeMatrix) -> Path:
    write_vcf(path, matrix)
    subprocess.run(["bcftools", "index", "-f", path], check=True)
    return path


def soft_file(
    path: Path, matrix: GenotypeMatrix, posterior: np.ndarray, fields: str, quality: np.ndarray | None = None
) -> Path:
    """A VCF of hard calls, dosages and posteriors, as `fields` names them, DR2 in INFO."""
    calls, dosage = posterior.argmax(axis=2), posterior @ np.arange(3)
    lines = []
    for j, site in enumerate(matrix.sites.itertuples(index=False)):
        cells = []
        for i in range(matrix.n_samples):
            of = {
                "GT": SPELLED[calls[i, j]],
                "DS": f"{dosage[i, j]:.4f}",
                "GP": ",".join(f"{p:.4f}" for p in posterior[i, j]),
            }
            cells.append(":".join(of[field] for field in fields.split(":")))
        line = record(site.pos, cells, site.ref, site.alt, contig=site.contig, fmt=fields).split("\t")
        line[7] = "." if quality is None else f"DR2={quality[j]:.3f}"
        lines.append("\t".join(line))
    text = vcf_text(lines, matrix.names).replace("##FORMAT=<ID=DS", INFO + GP + "##FORMAT=<ID=DS")
    return write(path, text)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path, GenotypeMatrix]:
    folder = tmp_path_factory.mktemp("pair")
    bad = damaged(TRUTH)
    return stored(folder / "truth.vcf.gz", TRUTH), stored(folder / "imputed.vcf.gz", bad), bad


@pytest.fixture(scope="module")
def found(pair) -> Concordance:
    return compare_files(pair[0], pair[1])


def bcftools_rows(kind: str, *command: object) -> list[list[str]]:
    done = subprocess.run(["bcftools", *map(str, command)], check=True, capture_output=True, text=True)
    return [row for row in (line.split("\t") for line in done.stdout.splitlines()) if row[0] == kind]


COUNTED = ("sites", "sites_scored", "sites_varied", "sites_constant", "samples", "calls")


def test_a_file_against_itself_is_perfect(pair):
    found = compare_files(pair[0], pair[0])
    assert found.overall == pytest.approx(dict.fromkeys(found.overall, 1.0), rel=1e-6)
    assert (found.counts["sites_varied"], found.counts["sites_constant"]) == (249, 1)
    for table in (found.samples, found.sites, found.bins):
        assert (table.concordance == 1.0).all()
        assert (table.non_reference_concordance.dropna() == 1.0).all()
    np.testing.assert_allclose(found.sites.dosage_r2.dropna(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found.bins.site_dosage_r2.dropna(), 1.0, rtol=1e-6)
    # a site where everybody is 0 has neither
    assert found.sites.maf[found.sites.dosage_r2.isna()].tolist() == [0.0]
    assert found.sites.non_reference_concordance.isna().sum() <= 1
    np.testing.assert_allclose(found.samples.correlation, 1.0)
    assert found.counts["calls"] == TRUTH.calls.size and found.counts["sites"] == 250
    assert not any(n for name, n in found.counts.items() if name not in COUNTED)


def test_per_sample_scores_are_those_of_bcftools_stats(pair, found):
    rows = {row[2]: row for row in bcftools_rows("GCsS", "stats", "-s", "-", *pair[:2])}
    assert len(rows) == 30
    for sample in found.samples.itertuples():
        row = [float(n) for n in rows[sample.sample][3:]]
        right, wrong = sum(row[1:4]), sum(row[4:7])
        assert sample.calls == right + wrong
        assert sample.concordance == pytest.approx(right / (right + wrong))
        assert sample.non_reference_concordance == pytest.approx(1 - row[0] / 100, abs=1e-5)


def test_per_site_scores_are_those_of_bcftools_stats(pair, found):
    rows = {int(row[2]): row for row in bcftools_rows("PSD", "stats", "-v", "-s", "-", *pair[:2])}
    assert len(rows) == 250
    for site in found.sites.itertuples():
        right, wrong, discordance = (float(n) for n in rows[site.pos][3:])
        assert site.calls == right + wrong
        assert site.concordance == pytest.approx(right / (right + wrong))
        if not np.isnan(site.non_reference_concordance):
            assert site.non_reference_concordance == pytest.approx(1 - discordance / 100, abs=1e-5)
    assert found.sites.non_reference_concordance.notna().sum() >= 249
    whole = float(bcftools_rows("NRDs", "stats", "-s", "-", *pair[:2])[0][2])
    assert found.overall["non_reference_concordance"] == pytest.approx(1 - whole / 100, abs=1e-5)


def test_discordances_are_those_of_gtcheck(pair, found):
    pairs = ",".join(f"{name},{name}" for name in TRUTH.names)
    command = ["gtcheck", "-u", "GT,GT", "-e", 0, "-p", pairs, "-g", *pair[:2]]
    rows = {row[1]: row for row in bcftools_rows("DC", *command)}
    for sample in found.samples.itertuples():
        discordant, compared = float(rows[sample.sample][3]), int(rows[sample.sample][5])
        assert sample.calls == compared
        assert sample.concordance == pytest.approx(1 - discordant / compared)


def test_scores_by_their_definitions(pair, found):
    calls = pair[2].calls
    known = calls != MISSING
    true, called = TRUTH.calls[known], calls[known]
    assert found.counts["calls"] == known.sum() and found.counts["calls_not_imputed"] == (~known).sum()
    assert found.overall["f1_macro"] == pytest.approx(f1_score(true, called, average="macro", labels=[0, 1, 2]))
    expected = 2 * TRUTH.alt_frequency()
    less = pearsonr((TRUTH.calls - expected)[known], (calls - expected)[known]).statistic ** 2
    assert found.overall["centred_dosage_r2"] == pytest.approx(less, abs=1e-5)
    by_site = [
        pearsonr(t[k], c[k]).statistic ** 2
        for t, c, k in zip(TRUTH.calls.T, calls.T, known.T, strict=True)
        if np.ptp(t[k])
    ]
    np.testing.assert_allclose(found.sites.dosage_r2.dropna(), np.nan_to_num(by_site), atol=1e-5)
    assert found.overall["site_dosage_r2"] == pytest.approx(np.mean(np.nan_to_num(by_site)), abs=1e-5)
    for i in (0, 17):
        there = known[i]
        centred = pearsonr((TRUTH.calls[i] - expected)[there], (calls[i] - expected)[there]).statistic
        assert found.samples.correlation[i] == pytest.approx(centred)
        assert centred < pearsonr(TRUTH.calls[i][there], calls[i][there]).statistic
    maf = np.minimum(expected, 2 - expected) / 2
    np.testing.assert_allclose(found.sites.maf, maf, atol=1e-12)
    within = (maf >= 0.2) & (maf < 0.3)
    row = found.bins.set_index("maf").loc["0.20-0.30"]
    assert row.sites == within.sum()
    assert row.concordance == pytest.approx((TRUTH.calls == calls)[:, within][known[:, within]].mean())
    assert row.site_dosage_r2 == pytest.approx(found.sites.dosage_r2[within].mean())
    assert found.bins.calls.sum() == found.counts["calls"]


def soft_posterior(seed: int = 3, sharp: float = 0.7) -> np.ndarray:
    """Posteriors that lean to the truth by different degrees, in steps of 0.0001."""
    rng = np.random.default_rng(seed)
    weight = rng.random((*TRUTH.calls.shape, 1)) * sharp
    loose = rng.dirichlet((1, 1, 1), TRUTH.calls.shape)
    return np.round(weight * np.eye(3)[TRUTH.calls] + (1 - weight) * loose, 4)


@pytest.mark.parametrize("fields", ["GT", "GT:DS", "GT:DS:GP", "GT:GP"])
@pytest.mark.parametrize("suffix", ["vcf", "bcf"])
def test_hard_calls_dosages_and_posteriors(tmp_path, pair, fields, suffix):
    posterior = soft_posterior()
    path = soft_file(tmp_path / "soft.vcf", TRUTH, posterior, fields)
    if suffix == "bcf":
        subprocess.run(["bcftools", "view", "-Ob", "-o", tmp_path / "soft.bcf", path], check=True)
        path = tmp_path / "soft.bcf"
    found = compare_files(pair[0], path)
    hard, soft = posterior.argmax(axis=2), posterior @ np.arange(3)
    assert found.fields == fields.replace(":", ", ")
    assert found.overall["concordance"] == pytest.approx((hard == TRUTH.calls).mean())
    dosage = hard if fields == "GT" else soft
    mean = TRUTH.calls.mean(axis=0)
    centred = pearsonr((TRUTH.calls - mean).ravel(), (dosage - mean).ravel()).statistic ** 2
    assert found.overall["centred_dosage_r2"] == pytest.approx(centred, abs=1e-4)
    if "GP" in fields:
        shares = posterior / posterior.sum(axis=2, keepdims=True)
        agree = np.take_along_axis(shares, TRUTH.calls[:, :, None].astype(int), axis=2)[:, :, 0].mean(axis=0)
        chance = sum((TRUTH.calls == g).mean(axis=0) * shares[:, :, g].mean(axis=0) for g in range(3))
        assert found.overall["centred_iqs"] == pytest.approx((agree - chance).sum() / (1 - chance).sum(), abs=1e-4)
        np.testing.assert_allclose(
            found.sites.iqs, np.where(chance < 1, (agree - chance) / (1 - chance), np.nan), atol=1e-3
        )


def test_the_commonest_genotype_of_each_site_has_no_r2(tmp_path, pair):
    """Pooled over sites it has .36: the sites' frequencies differ, and nothing is known of a sample."""
    commonest = np.stack([np.bincount(site, minlength=3) for site in TRUTH.calls.T]).argmax(axis=1)
    guess = replace(TRUTH, calls=np.broadcast_to(commonest, TRUTH.calls.shape).astype(np.int8))
    found = compare_files(pair[0], stored(tmp_path / "mode.vcf.gz", guess))
    assert pearsonr(TRUTH.calls.ravel(), guess.calls.ravel()).statistic ** 2 > 0.35
    for score in ("site_dosage_r2", "centred_dosage_r2", "centred_iqs"):
        assert found.overall[score] == pytest.approx(0, abs=1e-4), score
        assert found.bins[score].dropna().to_numpy() == pytest.approx(0, abs=1e-4), score


def test_samples_by_name_whatever_their_order(tmp_path, pair):
    order = [5, 3, 20, 11]
    part = pair[2].take_samples(order)
    extra = replace(part, samples=pd.DataFrame({"sample": [*part.names[:3], "stranger"]}))
    found = compare_files(pair[0], stored(tmp_path / "part.vcf.gz", extra))
    assert found.samples["sample"].tolist() == [TRUTH.names[i] for i in sorted(order[:3])]
    whole = compare_files(pair[0], pair[1]).samples.set_index("sample")
    for column in ("calls", "concordance", "non_reference_concordance", "correlation"):
        np.testing.assert_allclose(found.samples[column], whole.loc[found.samples["sample"], column])
    assert found.counts["samples_only_in_truth"] == 27 and found.counts["samples_only_in_imputed"] == 1


def test_no_sample_in_common(tmp_path, pair):
    other = replace(TRUTH, samples=pd.DataFrame({"sample": [f"x{i}" for i in range(30)]}))
    with pytest.raises(InputError, match="no sample in common"):
        compare_files(pair[0], stored(tmp_path / "other.vcf.gz", other))


def test_no_site_in_common(tmp_path, pair):
    third = [
        next(base for base in "ACGT" if base not in pair) for pair in zip(TRUTH.sites.ref, TRUTH.sites.alt, strict=True)
    ]
    other = replace(TRUTH, sites=TRUTH.sites.assign(alt=third))
    with pytest.raises(InputError, match=r"no site in common .*250 of them at the same position with other alleles"):
        compare_files(pair[0], stored(tmp_path / "other.vcf.gz", other))


def test_sites_of_one_file_alone_and_what_is_not_scored_are_counted(tmp_path):
    truth = [
        record(1, ["0/0", "0/1"]),
        record(2, ["0/1", "0/1"]),
        record(2, ["0/1", "1/1"], "A", "G"),
        record(3, ["0/1", "0/2"], "A", "C,G"),
        record(4, ["0/1", "0/1"], "AT", "A"),
        record(5, ["0", "0/1"]),
        record(5, ["1/1", "0/0"], contig="2"),
    ]
    imputed = [
        record(1, ["0|0", "0/."], contig="chr1"),
        record(2, ["1/1", "0/1"], "A", "G", contig="chr1"),
        record(2, ["0/1", "0/0"], contig="chr1"),
        record(3, ["0/1", "0/2"], "A", "C,G", contig="chr1"),
        record(4, ["0/1", "0/1"], "AT", "A", contig="chr1"),
        record(5, ["0/1", "0/1"], contig="chr1"),
        record(7, ["0/1", "0/1"], contig="chr1"),
        record(5, ["1/1", "0/0"], "C", "T", contig="chr2"),
        record(9, ["1/1", "0/0"], contig="chr3"),
    ]
    header = "".join(f"##contig=<ID=chr{i}>\n" for i in (1, 2, 3))
    text = vcf_text(imputed, ["a", "b"]).replace("##contig=<ID=1>\n##contig=<ID=2>\n##contig=<ID=3>\n", header)
    found = compare_files(write(tmp_path / "t.vcf", vcf_text(truth, ["a", "b"])), write(tmp_path / "i.vcf", text))
    assert found.sites[["pos", "alt"]].to_numpy().tolist() == [
        [1, "C"],
        [2, "C"],
        [2, "G"],
        [3, "C"],
        [3, "G"],
        [4, "A"],
        [5, "C"],
    ]
    assert found.sites.calls.tolist() == [1, 2, 2, 2, 2, 2, 2]
    # at the last a haploid call is the homozygote of its allele, and 0/1 is not
    assert found.sites.concordance.tolist() == [1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 0.5]
    counts = found.counts
    assert counts["records_only_in_truth"] == 1 and counts["records_only_in_imputed"] == 3
    assert counts["same_position_other_alleles"] == 1 and counts["not_scored_no_alt"] == 0
    assert counts["calls_not_imputed"] == 1 and counts["calls_truth_missing"] == 0


def many_contigs(order: list[str], n: int = 4) -> GenotypeMatrix:
    matrix = population(6, n * len(order), 2)
    sites = matrix.sites.assign(contig=np.repeat(order, n), pos=list(range(1, n + 1)) * len(order))
    return replace(matrix, sites=sites)


def test_contigs_that_one_file_lacks(tmp_path):
    a, b = many_contigs(["2", "10", "1"]), many_contigs(["2", "7", "1", "X"])
    found = compare_files(stored(tmp_path / "a.vcf.gz", a), stored(tmp_path / "b.vcf.gz", b))
    assert found.sites.contig.tolist() == ["2"] * 4 + ["1"] * 4
    assert found.counts["records_only_in_truth"] == 4 and found.counts["records_only_in_imputed"] == 8


def test_contigs_in_other_orders(tmp_path):
    a, b = many_contigs(["1", "2"]), many_contigs(["2", "1"])
    with pytest.raises(InputError, match=r"come in another order .*bcftools view -r"):
        compare_files(stored(tmp_path / "a.vcf.gz", a), stored(tmp_path / "b.vcf.gz", b))
    ordered = tmp_path / "c.vcf.gz"  # as the message says
    subprocess.run(["bcftools", "index", "-f", tmp_path / "b.vcf.gz"], check=True)
    subprocess.run(["bcftools", "view", "-r", "1,2", "-Oz", "-o", ordered, tmp_path / "b.vcf.gz"], check=True)
    assert compare_files(tmp_path / "a.vcf.gz", ordered).counts["sites"] == len(a.sites)


def test_without_contig_lines_in_the_header(tmp_path, pair):
    """Beagle writes none."""
    text = subprocess.run(["bcftools", "view", pair[1]], check=True, capture_output=True, text=True).stdout
    bare = write(
        tmp_path / "bare.vcf", "".join(line for line in text.splitlines(True) if not line.startswith("##contig"))
    )
    assert compare_files(pair[0], bare).overall == compare_files(pair[0], pair[1]).overall


# ---------------------------------------------------------------------- typed calls, groups, DR2


def test_typed_calls_are_not_scored(tmp_path, pair):
    hidden = np.random.default_rng(4).random(TRUTH.calls.shape) < 0.3
    sites = np.arange(250) % 5 != 0  # the array lacks every fifth site
    typed = TRUTH.hide(hidden).take_sites(sites)
    found = compare_files(pair[0], pair[1], typed=stored(tmp_path / "typed.vcf.gz", typed))
    untyped = hidden | ~sites
    known = pair[2].calls != MISSING
    assert found.counts["calls"] == (untyped & known).sum()
    assert found.overall["concordance"] == pytest.approx((TRUTH.calls == pair[2].calls)[untyped & known].mean())
    assert found.typed["calls"] == (~untyped & known).sum() == found.counts["calls_typed"]
    assert found.typed["concordance"] == pytest.approx((TRUTH.calls == pair[2].calls)[~untyped & known].mean())


def test_a_list_of_typed_sites(tmp_path, pair):
    keys = TRUTH.site_keys()
    (tmp_path / "typed.txt").write_text("\n".join([*keys[:100], "1:101000", TRUTH.sites.id[101], "1:1:A:C"]) + "\n")
    found = compare_files(pair[0], pair[1], typed=tmp_path / "typed.txt")
    known = pair[2].calls != MISSING
    assert found.counts["calls"] == known[:, 102:].sum() and found.typed["calls"] == known[:, :102].sum()
    assert found.counts["sites"] == 250 and found.counts["sites_scored"] == 148
    assert found.notes[-1].startswith("102 of the 250 compared sites are in")
    assert (found.sites.calls[:102] == 0).all() and found.sites.concordance[:102].isna().all()
    with pytest.raises(InputError, match=r"cannot read the typed sites in .*none\.txt"):
        compare_files(pair[0], pair[1], typed=tmp_path / "none.txt")


def test_groups(pair):
    table = pd.DataFrame({"sample": TRUTH.names[:20], "group": ["x"] * 12 + ["y"] * 8})
    found = compare_files(pair[0], pair[1], samples=table)
    assert found.groups.group.tolist() == ["", "x", "y"] and found.groups.samples.tolist() == [10, 12, 8]
    known = pair[2].calls != MISSING
    right = (TRUTH.calls == pair[2].calls)[:12][known[:12]].mean()
    assert found.groups.concordance[1] == pytest.approx(right)
    assert found.groups.correlation[1] == pytest.approx(found.samples.correlation[:12].mean())


def test_what_dr2_is_worth(tmp_path, pair):
    rng = np.random.default_rng(5)
    sharp = rng.uniform(0.1, 1, 250)[None, :, None]
    posterior = np.round(sharp * np.eye(3)[TRUTH.calls] + (1 - sharp) * rng.dirichlet((1, 1, 1), TRUTH.calls.shape), 4)
    honest = compare_files(pair[0], soft_file(tmp_path / "a.vcf", TRUTH, posterior, "GT:DS:GP"))
    assert honest.quality == {} and honest.thresholds.empty and honest.filters == {}
    true = honest.sites.dosage_r2.to_numpy()
    said = np.round(np.clip(np.nan_to_num(true) + 0.05, 0, 1), 3)
    found = compare_files(pair[0], soft_file(tmp_path / "b.vcf", TRUTH, posterior, "GT:DS:GP", said))
    np.testing.assert_allclose(found.sites.quality, said, atol=1e-6)
    assert found.quality["sites"] == np.isfinite(true).sum() == 249 and found.quality["correlation"] > 0.99
    assert found.quality["bias"] == pytest.approx(np.nanmean(said - true), abs=1e-5)
    row = found.thresholds.set_index("at_least").loc[0.8]
    mixed_up = rng.permutation(said)
    true, said = true[np.isfinite(true)], said[np.isfinite(true)]
    kept = said >= 0.8
    assert row.sites == kept.sum() and row.site_dosage_r2 == pytest.approx(true[kept].mean())
    assert row.poor_kept == pytest.approx((true[kept] < 0.8).mean()) and row.good_lost == 0
    lowest = found.filters[0.9]
    assert lowest is not None and true[said >= lowest].mean() >= 0.9 > true[said >= lowest - 0.01].mean()
    shuffled = compare_files(pair[0], soft_file(tmp_path / "c.vcf", TRUTH, posterior, "GT:DS", mixed_up))
    assert abs(shuffled.quality["correlation"]) < 0.2 and shuffled.filters[0.95] is None


def test_one_sample(tmp_path, pair):
    found = compare_files(pair[0], stored(tmp_path / "one.vcf.gz", pair[2].take_samples([4])))
    assert found.counts["samples"] == 1 and found.sites.dosage_r2.isna().all()
    assert found.samples.correlation[0] == pytest.approx(compare_files(pair[0], pair[1]).samples.correlation[4])
    alone = compare_files(tmp_path / "one.vcf.gz", tmp_path / "one.vcf.gz")
    assert alone.overall["concordance"] == 1.0 and np.isnan(alone.overall["correlation"])


@pytest.mark.panels
@pytest.mark.skipif(PANELS is None, reason="SNPIMPUTE_PANELS is not set")
def test_what_beagle_wrote(tmp_path):
    assert PANELS is not None
    folder = Path(PANELS) / "kg15-500"
    truth, _ = read_matrix(folder / "test.vcf.gz")
    sites = np.arange(500) % 3 == 0
    typed = stored(tmp_path / "typed.vcf.gz", truth.take_sites(sites))
    command = ["java", "-Xmx1g", "-jar", beagle_jar(), f"gt={typed}", f"ref={folder / 'train.vcf.gz'}", "gp=true"]
    command += ["cluster=0.0001", "seed=1", "nthreads=1", f"out={tmp_path / 'out'}"]
    subprocess.run(command, check=True, capture_output=True)
    found = compare_files(folder / "test.vcf.gz", tmp_path / "out.vcf.gz", typed=typed)
    assert found.fields == "GT, DS, GP, INFO/DR2" and found.counts["calls"] == 186 * (~sites).sum()
    assert found.typed == {"calls": 186 * sites.sum(), "concordance": 1.0}
    assert found.overall["f1_macro"] > 0.94 and found.quality["correlation"] > 0.7
    assert found.thresholds.site_dosage_r2.is_monotonic_increasing


@pytest.mark.panels
@pytest.mark.skipif(PANELS is None, reason="SNPIMPUTE_PANELS is not set")
def test_a_real_panel_with_several_contigs_against_itself():
    assert PANELS is not None
    path = Path(PANELS) / "cattle" / "cattle.vcf.gz"
    found = compare_files(path, path)
    assert found.counts["sites"] == 7250 and found.overall["concordance"] == 1.0
    assert found.counts["calls"] + found.counts["calls_truth_missing"] == 500 * 7250
