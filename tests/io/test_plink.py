"""The PLINK 1 reader against the VCF that plink2 made the bed from, and each way a file set can be broken."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter
from snpimpute.io.matrix import read_genotypes, read_matrix
from snpimpute.io.plink import write_bed
from snpimpute.io.stream import streamed
from tests.io.test_vcf import mixed_vcf, record, vcf_text, write


def make_bed(vcf: Path, *options: str) -> Path:
    out = vcf.with_name(vcf.name.split(".")[0])
    command = [
        "plink2",
        "--vcf",
        vcf,
        "--vcf-half-call",
        "missing",
        "--make-bed",
        "--threads",
        "1",
        "--out",
        out,
        *options,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return out.with_suffix(".bed")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_vcf(tmp_path_factory.mktemp("plink") / "mixed.vcf.gz")


@pytest.fixture(scope="module")
def bed(mixed: Path) -> Path:
    return make_bed(mixed)


def test_every_call_equals_the_vcf(mixed: Path, bed: Path) -> None:
    from_vcf, from_bed = read_matrix(mixed)[0], read_matrix(bed)[0]
    assert from_bed.calls.shape == (30, 1500)
    np.testing.assert_array_equal(from_bed.calls, from_vcf.calls)
    assert from_bed.calls.min() == -1
    assert from_bed.site_keys() == from_vcf.site_keys()
    assert from_bed.sites.id.tolist() == from_vcf.sites.id.tolist()
    assert from_bed.names == from_vcf.names
    assert from_bed.haplotypes is None


def test_region_samples_and_filters_equal_the_vcf(mixed: Path, bed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snpimpute.io.plink.CALLS_PER_BLOCK", 25)
    monkeypatch.setattr("snpimpute.io.matrix.CALLS_PER_BLOCK", 25)
    wanted = {
        "region": "1:100000-150000",
        "samples": ["s20", "s3", "s11", "s12", "s7"],
        "site_filter": SiteFilter(min_call_rate=0.8, min_maf=0.2),
    }
    from_vcf, vcf_left_out = read_genotypes(mixed, **wanted)  # type: ignore[arg-type]
    from_bed, bed_left_out = read_genotypes(bed, **wanted)  # type: ignore[arg-type]
    np.testing.assert_array_equal(from_bed.calls, from_vcf.calls)
    assert from_bed.site_keys() == from_vcf.site_keys()
    assert from_bed.names == wanted["samples"]
    assert bed_left_out.n.tolist() == vcf_left_out.n.tolist()
    assert bed_left_out.set_index("reason").n[["monomorphic", "call rate", "MAF", "kept"]].min() > 0


def test_left_out_records(tmp_path: Path) -> None:
    varied = ["0/1", "1/1", "0/0"]
    records = [
        record(10, varied),
        record(20, varied, alt="CT"),
        record(30, varied),
        record(30, varied, alt="G"),
        record(40, ["0/0"] * 3, alt="."),
    ]
    bed = make_bed(write(tmp_path / "some.vcf", vcf_text(records, "abc")))
    matrix, left_out = read_matrix(bed, site_filter=SiteFilter())
    assert matrix.site_keys() == ["1:10:A:C", "1:20:A:CT", "1:30:A:C", "1:30:A:G"]
    counts = left_out.set_index("reason").n
    assert counts[["read", "duplicate", "monomorphic", "kept"]].tolist() == [5, 0, 1, 4]


def test_labels_of_the_fam(bed: Path, tmp_path: Path) -> None:
    for suffix in (".bed", ".bim"):
        (tmp_path / f"bulls{suffix}").write_bytes(bed.with_suffix(suffix).read_bytes())
    fam = ["0 b0 sire dam 1 -9", "line b1 sire 0 2 -9", "b2 b2 0 0 0 -9", "b3 b3 sire 0 1 1"]
    fam += [f"0 b{i} 0 0 0 -9" for i in range(4, 30)]
    (tmp_path / "bulls.fam").write_text("\n".join(fam) + "\n")
    samples = read_matrix(tmp_path / "bulls.bed")[0].samples
    assert samples.columns.tolist() == ["sample", "family", "sex"]
    assert samples.iloc[:5].to_numpy().tolist() == [
        ["b0", "sire", "male"],
        ["b1", "line", "female"],
        ["b2", "", ""],
        ["b3", "sire", "male"],
        ["b4", "", ""],
    ]


@pytest.fixture
def copy(bed: Path, tmp_path: Path) -> Path:
    for suffix in (".bed", ".bim", ".fam"):
        (tmp_path / f"copy{suffix}").write_bytes(bed.with_suffix(suffix).read_bytes())
    return tmp_path / "copy.bed"


def test_positions_that_are_none_are_told(copy: Path) -> None:
    rows = [line.split() for line in copy.with_suffix(".bim").read_text().splitlines()]
    rows[0][3], rows[1][3] = "0", "-7"
    copy.with_suffix(".bim").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    with streamed(copy) as (stream,):
        assert stream.notes == {"variants without a place (position 0 or below), not read: 2"}
        assert sum(1 for _ in stream.records) == len(rows) - 2
    rows[2][3] = "1000.7"
    copy.with_suffix(".bim").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    with pytest.raises(InputError, match=r"gives '?1000.7'? as a position, which is not a whole number"):
        read_matrix(copy)


def test_missing_files(copy: Path) -> None:
    for suffix in (".bed", ".bim", ".fam"):
        content = copy.with_suffix(suffix).read_bytes()
        copy.with_suffix(suffix).unlink()
        with pytest.raises(InputError, match=rf"copy\{suffix} is not there"):
            read_matrix(copy)
        copy.with_suffix(suffix).write_bytes(content)


def test_broken_files(copy: Path) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[:-3])
    with pytest.raises(
        InputError, match=r"copy.bed has 12000 bytes where 30 samples × 1500 sites take 12003: .*truncated"
    ):
        read_matrix(copy)
    copy.write_bytes(b"\x6c\x1b\x00" + content[3:])
    with pytest.raises(InputError, match=r"copy.bed is not a PLINK 1 bed"):
        read_matrix(copy)
    copy.write_bytes(content)
    bim = copy.with_suffix(".bim").read_text()
    for broken, said in ((bim + "1 v 0 5 A\n", "line 1501 has 5 columns, not 6"), ("", "copy.bim is empty")):
        copy.with_suffix(".bim").write_text(broken)
        with pytest.raises(InputError, match=said):
            read_matrix(copy)
    first = bim.split("\n", 1)[0].split("\t")
    copy.with_suffix(".bim").write_text("\t".join([*first[:3], "here", *first[4:]]) + "\n" + bim.split("\n", 1)[1])
    with pytest.raises(InputError, match=r"copy.bim gives 'here' as a position"):
        read_matrix(copy)


def test_wrong_wishes(copy: Path) -> None:
    with pytest.raises(InputError, match="no contig 'chr1'; it has 1"):
        read_matrix(copy, region="chr1:1-5")
    with pytest.raises(InputError, match="no records in 1:400000-500000"):
        read_matrix(copy, region="1:400000-500000")
    with pytest.raises(InputError, match="no sample named nobody"):
        read_matrix(copy, samples=["nobody", "s1"])
    with pytest.raises(InputError, match="gives 1 sample"):
        read_genotypes(copy, samples=["s1"])
    with pytest.raises(InputError, match="more than 500 sites"):
        read_genotypes(copy)
    fam = copy.with_suffix(".fam")
    fam.write_text(fam.read_text().replace("s7", "s8"))
    with pytest.raises(InputError, match="names samples more than once: s8"):
        read_matrix(copy)


def test_unsorted_bim(copy: Path) -> None:
    lines = copy.with_suffix(".bim").read_text().splitlines()
    lines[4], lines[5] = lines[5], lines[4]
    copy.with_suffix(".bim").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="not in order of position"):
        read_matrix(copy)


def test_written_is_read_back(tmp_path: Path) -> None:
    matrix = small_panel(11, n_sites=9, missing=0.1)
    write_bed(tmp_path / "m.bed", matrix)
    back, _ = read_matrix(tmp_path / "m.bed")
    assert (back.calls == matrix.calls).all() and back.names == matrix.names
    assert back.sites[["contig", "pos", "id", "ref", "alt"]].equals(matrix.sites[["contig", "pos", "id", "ref", "alt"]])
    names = [f"s{j}" for j in range(9)]
    write_bed(tmp_path / "n.bed", matrix, site_names=names, contigs=["7"] * 9, phenotypes=["2"] * 11)
    back, _ = read_matrix(tmp_path / "n.bed")
    assert back.sites.id.tolist() == names and set(back.sites.contig) == {"7"}
    assert {line.split()[5] for line in (tmp_path / "n.fam").read_text().splitlines()} == {"2"}
