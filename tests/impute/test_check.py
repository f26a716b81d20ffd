"""The check of a target against a panel: every kind of record is planted and must be told, and the calls counted as bcftools counts them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.check import check_target
from snpimpute.impute.findings import TargetCheck
from snpimpute.impute.matching import PanelSites
from snpimpute.io.samples import read_samples
from snpimpute.io.write_vcf import write_vcf
from tests.io.test_vcf import PANELS, record, vcf_text, write

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
PAIRS = ("AC", "AG", "CT", "GT", "CA", "GA", "TC", "TG")  # no palindromic one


def population(n_samples: int, n_sites: int, seed: int, pairs: Sequence[str] = PAIRS) -> GenotypeMatrix:
    """Independent sites with frequencies from 0.05 to 0.95, the same ones whatever the seed of the samples."""
    frequency = np.random.default_rng(1).uniform(0.05, 0.95, n_sites)
    calls = np.random.default_rng(seed).binomial(2, frequency, (n_samples, n_sites)).astype(np.int8)
    alleles = [pairs[i % len(pairs)] for i in range(n_sites)]
    sites = pd.DataFrame(
        {
            "contig": "1",
            "pos": 1000 * np.arange(1, n_sites + 1),
            "id": [f"rs{i}" for i in range(n_sites)],
            "ref": [pair[0] for pair in alleles],
            "alt": [pair[1] for pair in alleles],
        }
    )
    return GenotypeMatrix(calls, pd.DataFrame({"sample": [f"s{seed}_{i}" for i in range(n_samples)]}), sites)


PANEL = population(200, 400, 1)


def checked(tmp_path: Path, target: GenotypeMatrix, panel: GenotypeMatrix = PANEL, **options: object) -> TargetCheck:
    write_vcf(tmp_path / "target.vcf.gz", target)
    return check_target(tmp_path / "target.vcf.gz", PanelSites.of_matrix(panel), **options)  # type: ignore[arg-type]


def with_sites(matrix: GenotypeMatrix, rows: np.ndarray, **columns: Sequence[str]) -> GenotypeMatrix:
    sites = matrix.sites.copy()
    for column, values in columns.items():
        sites.loc[rows, column] = list(values)
    return replace(matrix, sites=sites)


def exchanged(matrix: GenotypeMatrix, rows: np.ndarray) -> GenotypeMatrix:
    """REF and ALT exchanged, and with them the calls: the same genotypes in other words."""
    calls = matrix.calls.copy()
    calls[:, rows] = 2 - calls[:, rows]
    old = matrix.sites.loc[rows]
    return with_sites(replace(matrix, calls=calls), rows, ref=old.alt, alt=old.ref)


def on_other_strand(matrix: GenotypeMatrix, rows: np.ndarray) -> GenotypeMatrix:
    old = matrix.sites.loc[rows]
    return with_sites(matrix, rows, ref=old.ref.map(COMPLEMENT), alt=old.alt.map(COMPLEMENT))


def test_a_target_like_its_panel_has_nothing_to_complain_of(tmp_path):
    target = population(50, 400, 2)
    found = checked(tmp_path, target)
    assert found.problems == () and found.warnings == ()
    assert found.counts["shared"] == found.counts["usable"] == 400
    assert found.sites.panel_index.tolist() == list(range(400))
    np.testing.assert_allclose(found.sites.alt_frequency, target.alt_frequency())
    np.testing.assert_allclose(found.sites.panel_frequency, PANEL.alt_frequency())
    assert found.frequency_correlation > 0.95
    assert found.excluded.empty and list(found.excluded.columns)[-2:] == ["reason", "explanation"]
    found.require_imputable()


def test_swaps_are_repaired_flips_left_out_and_each_counted(tmp_path):
    target = population(50, 400, 2)
    swapped, flipped, both = np.arange(0, 40), np.arange(50, 60), np.arange(60, 65)
    changed = on_other_strand(on_other_strand(exchanged(exchanged(target, swapped), both), both), flipped)
    found = checked(tmp_path, changed)
    kinds = found.sites.kind
    assert set(kinds[swapped]) == {"swapped"} and set(kinds[flipped]) == set(kinds[both]) == {"flipped"}
    assert found.counts["swapped"] == 40 and found.counts["flipped"] == 15 and found.counts["shared"] == 345
    np.testing.assert_allclose(found.sites.alt_frequency[swapped], target.alt_frequency()[swapped])
    assert (found.sites.panel_index[flipped] == -1).all()
    assert found.excluded.reason.tolist() == ["flipped"] * 15
    assert any(line == "REF and ALT exchanged, the calls turned round: 40 sites" for line in found.warnings)
    assert any(line.startswith("on the other strand") and line.endswith("15 sites") for line in found.warnings)
    assert not found.problems


def test_palindromic_sites_are_used_only_where_the_strand_is_sure(tmp_path):
    panel, target = (population(200, 400, seed, ("AT", "AC", "CG", "AG")) for seed in (1, 2))
    straight = checked(tmp_path, target, panel)
    assert straight.counts["usable"] == 400 and straight.counts["usable_palindromic"] == 200
    # Exchanged as the others are exchanged: a swap, since nothing in this file is flipped.
    turned = checked(tmp_path, exchanged(target, np.arange(0, 40)), panel)
    assert turned.counts["swapped"] == 40 and turned.counts["palindromic"] == 0
    # Where others are flipped, nobody can tell.
    mixed = checked(tmp_path, on_other_strand(target, np.array([1, 3, 5, 7, 9])), panel)
    assert mixed.counts["flipped"] == 5 and mixed.counts["palindromic"] == 200 and mixed.counts["usable"] == 195
    # A flipped palindromic site looks the same and has another frequency.
    rows = np.flatnonzero((np.arange(400) % 2 == 0) & (np.abs(panel.alt_frequency() - 0.5) > 0.3))
    calls = target.calls.copy()
    calls[:, rows] = 2 - calls[:, rows]
    hidden = checked(tmp_path, replace(target, calls=calls), panel)
    assert set(np.flatnonzero(hidden.sites.kind == "palindromic")) == set(rows)


def test_an_insertion_exchanged_is_told_from_a_deletion_by_its_frequency(tmp_path):
    rows = np.arange(0, 400, 8)
    panel = with_sites(PANEL, rows, ref=["A"] * 50, alt=["AT"] * 50)
    target = with_sites(population(50, 400, 2), rows, ref=["A"] * 50, alt=["AT"] * 50)
    sure = rows[np.abs(panel.alt_frequency()[rows] - 0.5) > 0.2]
    found = checked(tmp_path, exchanged(target, rows), panel)
    assert set(found.sites.kind[sure]) == {"swapped"} and found.counts["swapped"] < len(rows)
    np.testing.assert_allclose(found.sites.alt_frequency[sure], target.alt_frequency()[sure])
    deletions = with_sites(target, rows, ref=["AT"] * 50, alt=["A"] * 50)
    assert set(checked(tmp_path, deletions, panel).sites.kind[rows]) == {"outside"}


ODD = [
    record(500, ["0/0", "0/1"], "A", "C"),  # outside
    record(1000, ["0/1", "1/1"], "A", "C"),  # shared
    record(1000, ["0/1", "1/1"], "A", "C"),  # duplicate
    record(2000, ["1/2", "0/0"], "A", "G,T"),  # shared, and an ALT that the panel has not
    record(3000, ["0/1", "0/0"], "CA", "C"),  # an indel that the panel has not
    record(3000, ["0/1", "0/0"], "C", "<DEL>"),  # the same
    record(3000, ["0/.", "./."], "C", "T"),  # shared, a half call
    record(4000, ["0/0", "0/0"], "G", "."),  # shared, no ALT
    record(5000, ["0/0", "0/0"], "A", "."),  # swapped, no ALT: REF is the panel's ALT
    record(6000, ["0/0", "0/0"], "C", "."),  # flipped: the panel has G and A
    record(7000, ["0", "0/1"], "T", "C"),  # shared, with a haploid call
    record(8000, ["0/1/1", "0/1/1"], "T", "G"),  # more than two alleles
    record(9000, ["0|1", "0/1"], "A", "T"),  # other alleles
    record(10000, [".", "./."], "a", "g"),  # shared, in lower case, without calls
    record(10000, ["0/1", "0/1"], "A", "C", contig="3"),  # no such contig
]
EXPECTED = [
    "outside",
    "shared",
    "duplicate",
    "shared",
    "outside",
    "outside",
    "outside",
    "shared",
    "shared",
    "swapped",
    "flipped",
]
EXPECTED += ["shared", "not diploid", "other alleles", "shared", "outside"]


@pytest.mark.parametrize("suffix", ["vcf", "vcf.gz", "bcf"])
def test_every_kind_of_record(tmp_path, suffix):
    path = write(tmp_path / "odd.vcf", vcf_text(ODD, ["a", "b"]))
    if suffix != "vcf":
        made = tmp_path / f"odd.{suffix}"
        subprocess.run(["bcftools", "view", "-o", made, "-O", "b" if suffix == "bcf" else "z", path], check=True)
        path = made
    found = check_target(path, PanelSites.of_matrix(PANEL))
    assert found.sites.kind.tolist() == EXPECTED
    assert found.sites.panel_index.tolist() == [-1, 0, -1, 1, -1, -1, -1, 2, 3, 4, -1, 6, -1, -1, 9, -1]
    assert found.counts["half_calls"] == 1 and found.counts["haploid_calls"] == 1
    assert found.counts["polyploid_calls"] == 2 and found.counts["without_alt"] == 2
    assert found.sites.call_rate.tolist()[6:9] == [1.0, 0.0, 1.0]
    assert found.sites.alt_frequency.tolist()[8:10] == [0.0, 1.0]
    assert len(found.excluded) == 9 and "no such site" in found.excluded.explanation[0]
    lines = " ".join(found.warnings)
    for words in (
        "missing: 1",
        "phased and unphased",
        "passed through: 3 (1 record)",
        "repeating a site of another record, left out: 1 record",
        "calls of more than two alleles, passed through: 1 site",
        "haploid calls, written as haploid again: 1:7000-7000 (1 site, 1 sample)",
    ):
        assert words in lines, words
    (problem,) = found.problems
    assert "sample a has a haploid call at 1:7000, and is diploid on 1" in problem


def test_calls_and_heterozygosity_are_those_of_bcftools(tmp_path):
    target = population(20, 400, 3)
    hole = np.random.default_rng(5).random(target.calls.shape) < np.linspace(0, 0.4, 20)[:, None]
    found = checked(tmp_path, target.hide(hole))
    command = ["bcftools", "stats", "-s", "-", str(tmp_path / "target.vcf.gz")]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = {row[2]: row for row in (line.split("\t") for line in lines) if row[0] == "PSC"}
    for sample in found.samples.itertuples():
        reference, alternate, heterozygous = (int(n) for n in rows[sample.sample][3:6])
        called = reference + alternate + heterozygous
        assert sample.call_rate == pytest.approx(called / 400)
        assert sample.heterozygosity == pytest.approx(heterozygous / called)
    low = [f"s3_{i}" for i in np.flatnonzero(hole.mean(axis=1) > 0.1)]
    assert any(
        line.startswith(f"less than 90% of the calls: {len(low)} sample") and low[0] in line for line in found.warnings
    )


def test_contigs_with_and_without_chr(tmp_path):
    target = population(20, 400, 3)
    prefixed = with_sites(target, np.arange(400), contig=["chr1"] * 400)
    found = checked(tmp_path, prefixed)
    assert found.contigs == {"chr1": "1"} and found.counts["usable"] == 400
    assert any("chr1 is 1" in line for line in found.warnings)
    back = checked(tmp_path, target, replace(PANEL, sites=PANEL.sites.assign(contig="chr1")))
    assert back.contigs == {"1": "chr1"} and back.counts["usable"] == 400


def test_no_contig_in_common(tmp_path):
    found = checked(tmp_path, with_sites(population(20, 400, 3), np.arange(400), contig=["7"] * 400))
    assert found.problems[0] == "no contig in common: the target has 7, the panel 1"
    with pytest.raises(InputError, match="cannot be imputed with the panel: no contig in common"):
        found.require_imputable()


def test_no_site_in_common(tmp_path):
    target = population(20, 400, 3)
    found = checked(tmp_path, replace(target, sites=target.sites.assign(pos=target.sites.pos + 1)))
    assert found.problems == ("no site in common: of 400 records 400 outside",)


def test_sites_that_meet_by_chance_stop(tmp_path):
    target = population(20, 400, 3)
    pos = np.where(np.arange(400) < 3, target.sites.pos, target.sites.pos + 1)
    found = checked(tmp_path, replace(target, sites=target.sites.assign(pos=pos)))
    assert found.counts["usable"] == 3
    assert found.problems == (
        "only 3 sites in common, of 400 SNPs of the target and 400 sites of the panel: another genome build or region",
    )
    few = checked(tmp_path, target.take_sites(slice(0, 3)))
    array = checked(tmp_path, target, PANEL.take_sites(slice(0, 3)))
    assert not few.problems and not array.problems


def test_alleles_that_the_panel_does_not_know_stop(tmp_path):
    target = population(20, 400, 3)
    rows = np.arange(0, 120)
    alike = with_sites(
        target, rows, alt=[{"A": "T", "C": "G", "G": "C", "T": "A"}[ref] for ref in target.sites.ref[rows]]
    )
    found = checked(tmp_path, alike)
    assert found.counts["other_alleles"] == 120
    assert len(found.problems) == 1 and "120 of the 400 SNPs" in found.problems[0]


def test_calls_in_the_wrong_sense_stop(tmp_path):
    target = population(20, 400, 3)
    found = checked(tmp_path, replace(target, calls=(2 - target.calls).astype(np.int8)))
    assert found.frequency_correlation < -0.9
    assert len(found.problems) == 1 and "correlation -0.9" in found.problems[0]


def test_a_target_without_a_call_stops(tmp_path):
    target = population(5, 400, 3)
    found = checked(tmp_path, target.hide(np.ones(400, dtype=bool)))
    assert any("not one call at the 400 sites" in line for line in found.problems)


def test_one_sample_and_few_sites_will_do(tmp_path):
    found = checked(tmp_path, population(1, 400, 3).take_sites(slice(0, 5)))
    assert not found.problems and found.counts["usable"] == 5 and len(found.samples) == 1


@pytest.mark.parametrize(("length", "stopped"), [(248956422, True), (249250621, False), (5_000_000, False)])
def test_genome_builds_told_by_the_headers(tmp_path, length, stopped):
    text = vcf_text([record(1000, ["0/1"], "A", "C")], ["a"]).replace(
        "##contig=<ID=1>", f"##contig=<ID=1,length={length}>"
    )
    panel = PanelSites(PANEL.sites, PANEL.alt_frequency(), "panel.vcf.gz", {"1": 249250621})
    found = check_target(write(tmp_path / "t.vcf", text), panel)
    assert found.builds[1] == "GRCh37"
    assert any("GRCh38, the panel's those of GRCh37" in line for line in found.problems) == stopped
    assert any("contig lengths differ" in line for line in found.warnings) == (length == 5_000_000)


def test_the_panel_from_a_file_is_that_of_the_matrix(tmp_path):
    holey = PANEL.hide(np.random.default_rng(3).random(PANEL.calls.shape) < 0.1)
    write_vcf(tmp_path / "panel.vcf.gz", holey)
    subprocess.run(
        ["plink2", "--vcf", tmp_path / "panel.vcf.gz", "--make-bed", "--out", tmp_path / "panel", "--double-id"],
        check=True, capture_output=True,
    )  # fmt: skip
    for name in ("panel.vcf.gz", "panel.bed"):
        panel = PanelSites.of_file(tmp_path / name)
        pd.testing.assert_frame_equal(panel.sites, holey.sites, check_dtype=False)
        np.testing.assert_allclose(panel.alt_frequency, holey.alt_frequency())
        assert panel.name == name
    found = check_target(tmp_path / "panel.bed", PanelSites.of_matrix(holey))
    assert found.counts["shared"] == 400 and found.frequency_correlation == pytest.approx(1)


def test_a_panel_without_sites(tmp_path):
    write(tmp_path / "p.vcf", vcf_text([record(1, ["0/0"], "AC", "."), record(2, ["0/1"], "A", "<*>")], ["a"]))
    with pytest.raises(InputError, match="no site with an ALT"):
        PanelSites.of_file(tmp_path / "p.vcf")


def test_records_out_of_order(tmp_path):
    write(tmp_path / "p.vcf", vcf_text([record(5, ["0/1"]), record(4, ["0/1"])], ["a"]))
    with pytest.raises(InputError, match="not in order of position at 1:4"):
        check_target(tmp_path / "p.vcf", PanelSites.of_matrix(PANEL))


def test_identical_samples(tmp_path):
    target = population(20, 400, 3)
    calls = target.calls.copy()
    calls[7] = calls[4]
    found = checked(tmp_path, replace(target, calls=calls))
    assert found.warnings == ("identical in every call: s3_4 = s3_7",)


# ---------------------------------------------------------------------- parents


def family(n_children: int, n_sites: int = 400) -> GenotypeMatrix:
    """A sire, a dam, and their children; the last one is of another sire."""
    rng = np.random.default_rng(9)
    founders = population(3, n_sites, 4)
    gamete = lambda parent: rng.random(n_sites) < founders.calls[parent] / 2  # noqa: E731
    born = [gamete(0).astype(np.int8) + gamete(1) for _ in range(n_children - 1)]
    born.append(gamete(2).astype(np.int8) + gamete(1))
    calls = np.concatenate([founders.calls[:2], np.stack(born).astype(np.int8)])
    names = ["sire", "dam", *(f"c{i}" for i in range(n_children))]
    return GenotypeMatrix(calls, pd.DataFrame({"sample": names}), founders.sites)


def test_conflicts_with_parents_are_those_of_bcftools(tmp_path):
    matrix = family(6)
    children = [f"c{i}" for i in range(6)]
    table = (
        "sample\tsire\tdam\tgroup\n" + "".join(f"{c}\tsire\tdam\tx\n" for c in children) + "elsewhere\tsire\tdam\ty\n"
    )
    (tmp_path / "s.tsv").write_text(table)
    hole = np.random.default_rng(2).random(matrix.calls.shape) < 0.05
    found = checked(tmp_path, matrix.hide(hole), samples=read_samples(tmp_path / "s.tsv"))
    trios = found.trios.set_index("sample")
    assert trios.index.tolist() == children and set(found.samples.group) == {"x", ""}
    assert (trios.conflicts[:5] == 0).all()
    assert trios.conflicts["c5"] > 30 and trios.sire_conflicts["c5"] > 10 and trios.dam_conflicts["c5"] == 0
    assert found.sites.conflicts.sum() == trios.conflicts.sum() and found.sites.trios.max() == 6
    assert any(line.startswith("contradicting their parents: 1 sample: c5") for line in found.warnings)
    command = ["bcftools", "+mendelian", str(tmp_path / "target.vcf.gz"), "-t", "dam,sire,c5", "-m", "c"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"bcftools +mendelian does not run here: {done.stderr.splitlines()[0]}")
    counted = next(line for line in done.stdout.splitlines() if line.endswith("dam,sire,c5")).split()
    assert int(counted[1]) == trios.conflicts["c5"]


def test_a_sample_table_of_other_samples(tmp_path):
    (tmp_path / "s.tsv").write_text("sample\tsire\nnobody\tnobody2\n")
    with pytest.raises(InputError, match="none of the samples of target"):
        checked(tmp_path, family(2), samples=read_samples(tmp_path / "s.tsv"))


# ---------------------------------------------------------------------- real panels


@pytest.mark.panels
@pytest.mark.skipif(PANELS is None, reason="SNPIMPUTE_PANELS is not set")
@pytest.mark.parametrize("name", ["kg15-500", "cattle-chr1"])
def test_real_test_sets_pass_against_their_panels(tmp_path, name):
    assert PANELS is not None
    folder = Path(PANELS) / name
    panel = PanelSites.of_file(folder / "train.vcf.gz")
    found = check_target(folder / "test.vcf.gz", panel)
    assert found.problems == () and found.counts["usable"] == found.counts["records"] == len(panel.sites)
    assert found.frequency_correlation > 0.95
