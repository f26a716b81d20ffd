"""Haploid calls (X in males, Y): haploid in, haploid out, in panel and target, from the command line; and those that cannot be right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.impute import ploidy
from snpimpute.impute.check import check_target
from snpimpute.impute.concordance import compare_files
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.matching import PanelSites
from snpimpute.impute.ploidy import (
    PLOIDY_FILE,
    as_haploid,
    closed,
    filled,
    haploid_calls,
    nearest_known,
    ploidy_of_calls,
)
from snpimpute.io.haploid import HaploidCalls
from snpimpute.io.matrix import read_genotypes, read_matrix
from snpimpute.io.records import HALF, HAPLOID, NO_CALL, PHASED, POLYPLOID, UNPHASED, Record
from snpimpute.io.stream import streamed
from snpimpute.report.check import _call_kinds
from tests.impute.test_real_files import Folder
from tests.impute.test_records import N_PANEL, N_TARGET, accepted, fields, haplotypes, info, split_samples
from tests.io.test_vcf import record, vcf_text

N_SITES = 120
PSEUDO_AUTOSOMAL = 30  # sites at the beginning of X, at which males are diploid
TRI = 60  # a site with two ALTs
MALES = slice(1, None, 2)  # samples


def calls(alleles: np.ndarray, site: int, lost: bool = False) -> list[str]:
    """GT of everybody at a site of X, from the alleles of all haplotypes; males have their first one, and lose it as `.`."""
    spelled = [f"{a}|{b}" if not lost else "./." for a, b in alleles.reshape(-1, 2)]
    if site >= PSEUDO_AUTOSOMAL:
        spelled[MALES] = ["." if lost else str(a) for a in alleles[2::4]]
    return spelled


def of_kinds(contig: str, pos: int, kinds: list[int]) -> Record:
    return Record(contig, pos, "", "A", ("C",), True, np.zeros((len(kinds), 2), np.int8), np.array(kinds, np.int8))


def test_a_call_tells_its_ploidy_unless_it_is_missing() -> None:
    found = ploidy_of_calls(of_kinds("X", 1, [NO_CALL, HALF, HAPLOID, POLYPLOID, UNPHASED, PHASED]))
    assert found.dtype == np.int8 and found.tolist() == [-1, -1, 1, -1, 0, 0]


def test_a_haploid_call_has_half_the_copies_expected() -> None:
    """Samples: diploid, haploid, haploid and sure."""
    posterior = np.array([[[0.5, 0.5, 0]], [[0.25, 0.25, 1]]], dtype=np.float32)
    found = as_haploid(posterior, np.array([[False, True, True]]))
    assert found.tolist() == [[[0.5, 0, 0]], [[0.25, 0.5, 1]]]


def test_the_nearest_known_row_is_by_position_and_of_two_the_first() -> None:
    known = np.array([[0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]], dtype=bool)
    found = nearest_known(known, np.array([10, 20, 30, 41, 60]))
    assert found.T.tolist() == [[1, 1, 1, 4, 4], [-1] * 5, [1] * 5]
    assert nearest_known(known, np.array([10, 20, 30, 40, 60]))[3, 0] == 1


def test_ploidy_is_filled_in_contig_by_contig_whatever_samples_are_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last two samples, which are taken apart, tell nothing: the others' haploid calls on contig X say what they are."""
    sites = pd.DataFrame({"contig": ["1", "1", "X", "X"], "pos": [5, 9, 5, 9]})
    assert haploid_calls(tmp_path, (4, 4)) is None
    found = []
    for at_once in (500, 2):
        monkeypatch.setattr(ploidy, "SAMPLES_AT_ONCE", at_once)
        told = np.memmap(tmp_path / PLOIDY_FILE, dtype=np.int8, mode="w+", shape=(4, 4))
        told[:] = -1
        told[0], told[2, :2] = [0, 0, 0, -1], [1, 1]
        ploidy.fill_ploidy(told, sites, np.array([False, False, True, True]))
        kept = haploid_calls(tmp_path, (4, 4))
        assert kept is not None and kept.dtype == np.int8
        found.append(kept.tolist())
    assert found == [[[0] * 4, [0] * 4, [1] * 4, [1] * 4]] * 2


def test_the_first_haploid_call_of_a_diploid_sample_is_named() -> None:
    """Samples a to c: more haploid calls than diploid, as many, none; X may hold both."""
    one, two = HAPLOID, UNPHASED
    rows = [[two, two, two], [one, NO_CALL, two], [one, one, PHASED], [one, two, two], [one, one, two]]
    for contig, expected in (
        ("7", "sample b has a haploid call at 7:30, and is diploid on 7: bcftools +setGT or +fixploidy mends it"),
        ("chrX", ""),
    ):
        calls = HaploidCalls()
        for i, kinds in enumerate([[two] * 3, *rows] if contig == "chrX" else rows, start=1):
            calls.add(of_kinds(contig, 10 * i, kinds))
        assert calls.odd("abc") == expected
    calls = HaploidCalls()
    for i, kinds in enumerate([[one, one], [one, two], [one, one]]):
        calls.add(of_kinds("7", i, kinds))
    assert calls.odd("ab") == ""  # each has more haploid calls than diploid ones
    assert [(run.first, run.last, run.n_sites, run.samples.tolist()) for run in calls.runs] == [(0, 2, 3, [True, True])]


def test_a_run_of_haploid_calls_ends_with_its_contig() -> None:
    calls = HaploidCalls()
    for contig, pos, kinds in (("X", 5, [HAPLOID, PHASED]), ("X", 6, [HAPLOID, HAPLOID]), ("Y", 7, [HAPLOID, NO_CALL])):
        calls.add(of_kinds(contig, pos, kinds))
    assert list(map(str, calls.runs)) == ["X:5-6 (2 sites, 2 samples)", "Y:7-7 (1 site, 1 sample)"]


@pytest.fixture(scope="module")
def x(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Panel, target (each fourth site; a call lost here and there) and its truth on X, imputed by a model of the panel."""
    folder = Folder(tmp_path_factory.mktemp("x"))
    alleles = haplotypes(N_SITES)
    alleles[:, TRI] *= 1 + alleles[:, TRI - 1]  # ALT 2 for some
    panel, target = split_samples(alleles)
    rows: dict[str, list[str]] = {"panel": [], "truth": [], "target": []}
    for site in range(N_SITES):
        pos, what = 1000 + 10 * site, {"contig": "X", "alt": "C,G" if site == TRI else "C"}
        rows["panel"].append(record(pos, calls(panel[:, site], site), **what))
        rows["truth"].append(record(pos, calls(target[:, site], site), **what))
        if site % 4 == 0:
            given, lost = calls(target[:, site], site), (site // 4) % N_TARGET
            given[lost] = calls(target[:, site], site, lost=True)[lost]
            rows["target"].append(record(pos, given, **what))
    for name, n in (("panel", N_PANEL), ("truth", N_TARGET), ("target", N_TARGET)):
        text = vcf_text(rows[name], [f"{name[0]}{i}" for i in range(n)])
        (folder.path / f"{name}.vcf").write_text(text.replace("##contig=<ID=3>", "##contig=<ID=X>"))
    asked = {"params": {"switch": 0.01, "states": 30}, "holdout": 0.0, "threads": 1}
    fit(FitSettings(folder.path / "panel.vcf", "panel", "mosaic", **asked), folder.path / "runs")
    model = next((folder.path / "runs" / "models").glob("panel-mosaic*")) / "model"
    for name in ("out.vcf", "out.bcf", "out.pgen"):
        folder.ok("impute", "target.vcf", "-o", name, "--model", str(model), "--threads", "1")
    return folder


def test_haploid_in_haploid_out(x: Folder) -> None:
    truth, typed = x.records("truth.vcf"), {row[1]: fields(row, "GT") for row in x.records("target.vcf")}
    out = x.records("out.vcf")
    assert [row[1] for row in out] == [row[1] for row in truth] and out[TRI][4] == "C,G"
    wrong = n = 0
    for site, (row, true) in enumerate(zip(out, truth, strict=True)):
        genotypes = fields(row, "GT")
        for sample, (genotype, wanted) in enumerate(zip(genotypes, true[9:], strict=True)):
            haploid = sample % 2 == 1 and site >= PSEUDO_AUTOSOMAL
            assert (len(genotype) == 1) == haploid == (len(wanted) == 1)
            given = typed.get(row[1], ["."] * N_TARGET)[sample]
            if "." not in given:
                assert genotype == given
            elif haploid:
                dose, gp = (
                    fields(row, "DS")[sample].split(","),
                    [float(p) for p in fields(row, "GP")[sample].split(",")],
                )
                assert len(gp) == len(dose) + 1 and abs(sum(gp) - 1) <= 0.02 and genotype == str(int(np.argmax(gp)))
                assert all(abs(float(d) - p) <= 0.011 for d, p in zip(dose, gp[1:], strict=True))
                wrong, n = wrong + (genotype != wanted), n + 1
    assert n > 250 and wrong < 0.15 * n  # the commoner allele alone is wrong in half of them
    copies = [allele for genotype in fields(out[TRI + 1], "DS")[MALES] for allele in [float(genotype)]]
    females = [float(dose) for dose in fields(out[TRI + 1], "DS")[::2]]
    assert float(info(out[TRI + 1])["AF"]) == pytest.approx((sum(copies) + sum(females)) / (1.5 * N_TARGET), abs=0.01)
    accepted(x.path / "out.vcf")


def test_the_other_formats_say_the_same(x: Folder) -> None:
    asked = "%POS %ALT[ %GT %DS %GP]\n"
    told = [
        subprocess.run(
            ["bcftools", "query", "-f", asked, x.path / name], check=True, capture_output=True, text=True
        ).stdout
        for name in ("out.vcf", "out.bcf")
    ]
    assert told[0] == told[1] and "\n" in told[0]
    with streamed(x.path / "out.pgen", dosages=True) as (stream,):
        found = {record.pos: (record.calls, record.dosage) for record in stream.records}
    with streamed(x.path / "out.vcf", dosages=True) as (stream,):
        for whole in stream.records:
            if len(whole.alts) == 1:
                genotypes, dosage = found[whole.pos]
                np.testing.assert_allclose(dosage, whole.dosage, atol=0.001)
                # In a .pgen without sexes GT is twice a male's DS, rounded.
                rounded = np.abs(dosage - whole.calls) < 0.5
                np.testing.assert_array_equal(genotypes[rounded], whole.calls[rounded])
                assert rounded.mean() > 0.5 and (genotypes >= 0).all()


def test_compared_with_the_truth(x: Folder) -> None:
    """A haploid call counts as the homozygote of its allele, and its dosage from 0 to 1 as twice that."""
    found = x.concordance("truth.vcf", "out.vcf", "--typed", "target.vcf")
    assert found["concordance"] > 0.8 and found["site_dosage_r2"] > 0.6 and found["calls_not_imputed"] == 0
    same = compare_files(x.path / "truth.vcf", x.path / "truth.vcf")
    assert same.overall["concordance"] == 1 and same.counts["calls"] == (N_SITES + 1) * N_TARGET


def test_check_says_where(x: Folder) -> None:
    said = x.run("check", "target.vcf", "--panel", "panel.vcf")
    assert "haploid calls, written as haploid again: X:1320-2160 (22 sites, 4 samples)" in said.stdout
    assert "phased and unphased" not in said.stdout
    check = check_target(x.path / "target.vcf", PanelSites.of_file(x.path / "panel.vcf"))
    kinds = {row[0].text: row[1].text for row in _call_kinds(check).rows}
    rows = x.records("target.vcf")
    given = [call for row in [*rows, next(row for row in rows if "," in row[4])] for call in fields(row, "GT")]
    assert kinds["haploid"] == str(sum(len(call) == 1 and call != "." for call in given)) and kinds["unphased"] == "0"
    assert kinds["missing"] == str(sum("." in call for call in given))


def test_a_haploid_call_of_a_diploid_sample_is_one_line(x: Folder, tmp_path: Path) -> None:
    lines = [record(10 * i, ["0/1", "1/1", "0/0"], contig="7") for i in range(1, 40)]
    lines[20] = record(210, ["0/1", "1", "0/0"], contig="7")
    for name in ("panel.vcf", "target.vcf"):
        (tmp_path / name).write_text(vcf_text(lines, "abc").replace("##contig=<ID=3>", "##contig=<ID=7>"))
    reason = "sample b has a haploid call at 7:210, and is diploid on 7"
    with pytest.raises(InputError, match=reason):
        read_matrix(tmp_path / "target.vcf")
    check = check_target(tmp_path / "target.vcf", PanelSites.of_file(x.path / "panel.vcf"))
    assert any(reason in problem for problem in check.problems)
    folder = Folder(tmp_path)
    assert reason in folder.refused("fit", "panel.vcf", "--imputer", "mode")
    assert reason in folder.refused("impute", "target.vcf", "-o", "out.vcf", "--no-panel")
    lines[20] = record(210, ["0/1", "1/1/1", "0/0"], contig="7")
    (tmp_path / "panel.vcf").write_text(vcf_text(lines, "abc"))
    assert "call of more than two alleles at 7:210" in folder.refused("fit", "panel.vcf", "--imputer", "mode")


def test_a_whole_contig_may_be_haploid_whatever_its_name(tmp_path: Path) -> None:
    lines = [record(10 * i, ["0", ".", "1", "0"], contig="NC_1") for i in range(1, 5)]
    (tmp_path / "y.vcf").write_text(vcf_text(lines, "abcd"))
    assert read_matrix(tmp_path / "y.vcf")[0].calls.tolist() == [[0] * 4, [-1] * 4, [2] * 4, [0] * 4]


def test_runs_of_haploid_calls(tmp_path: Path) -> None:
    spelled = [["0/1", "1"], ["0/1", "1"], ["0/1", "1/1"], ["0", "./."]]
    lines = [record(10 * i, given, contig="X") for i, given in enumerate(spelled, start=1)]
    (tmp_path / "x.vcf").write_text(vcf_text(lines, "ab"))
    found = HaploidCalls()
    with streamed(tmp_path / "x.vcf") as (stream,):
        for one in stream.records:
            found.add(one)
    assert list(map(str, found.runs)) == ["X:10-20 (2 sites, 1 sample)", "X:40-40 (1 site, 1 sample)"]


def test_ploidy_where_no_call_tells_it() -> None:
    """Columns: told on both sides of a border, told at one end alone, never told."""
    told = np.full((8, 3), -1, dtype=np.int8)
    told[1, 0], told[6, 0], told[7, 1] = 0, 1, 1
    pos = np.array([10, 20, 30, 40, 50, 60, 70, 80])
    in_panel = pos >= 40
    assert filled(told, pos, in_panel).T.astype(int).tolist() == [
        [0, 0, 0, 1, 1, 1, 1, 1],  # the border is the panel's
        [0, 0, 0, 1, 1, 1, 1, 1],  # diploid where the panel is
        [0, 0, 0, 1, 1, 1, 1, 1],  # somebody is haploid there, and nobody diploid
    ]
    assert not filled(np.where(told == 1, -1, told), pos, in_panel).any()  # nobody says that it is haploid there
    none = np.zeros(8, dtype=bool)
    assert filled(told, pos, none).T.astype(int).tolist() == [
        [0, 0, 0, 0, 1, 1, 1, 1],  # as the nearest; of two as near the first
        [1] * 8,
        [0] * 8,
    ]
    told[3, 2] = 0  # a female: who tells nothing may be one
    assert not filled(np.column_stack([told, np.full(8, -1)]), pos, in_panel)[:, 3].any()


def test_single_sites_without_haploid_calls_do_not_end_a_region() -> None:
    flags = np.zeros(40, dtype=bool)
    flags[[5, 8, 15, 30]] = True
    assert np.flatnonzero(closed(flags)).tolist() == [*range(5, 16), 30]
    flags[[19, 31]] = True
    assert np.flatnonzero(closed(flags[:26])).tolist() == [*range(5, 20)]
    far = np.zeros(24, dtype=bool)
    far[[0, 10, 21]] = True  # nine between the first two, ten between the others
    assert np.flatnonzero(closed(far)).tolist() == [*range(11), 21] and not far[1]


def test_a_contig_of_which_nothing_is_kept_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Y, of which females have no calls."""
    lines = [record(10 * i, ["0/1", "1/1", "0/0", "0/1"]) for i in range(1, 13)]
    lines += [record(10 * i, ["0", ".", ".", "1"], contig="2") for i in range(1, 13)]
    (tmp_path / "y.vcf").write_text(vcf_text(lines, "abcd"))
    kept, _ = read_genotypes(tmp_path / "y.vcf")
    assert set(kept.sites["contig"]) == {"1"}
    assert "no site of these contigs is kept: 2; where samples lack calls, --min-call-rate keeps more" in caplog.text
