"""Records one at a time: every spelling of a call as bcftools reads it, every format alike, and broken files named."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.io.records import HALF, HAPLOID, NO_CALL, PHASED, POLYPLOID, UNPHASED, Record
from snpimpute.io.stream import contigs_in_order, streamed
from tests.io.test_vcf import bcftools_calls, counted, mixed_vcf, record, vcf_text, write

SPELLED = {
    "0/0": (0, UNPHASED),
    "0|1": (1, PHASED),
    "1/1": (2, UNPHASED),
    "./.": (-1, NO_CALL),
    ".": (-1, NO_CALL),
    ".|.": (-1, NO_CALL),
    "0/.": (-1, HALF),
    ".|1": (-1, HALF),
    "0": (0, HAPLOID),
    "1": (2, HAPLOID),
}


def records_of(path: Path, **options: bool) -> list[Record]:
    with streamed(path, **options) as (stream,):
        return list(stream.records)


def as_bcf(path: Path) -> Path:
    subprocess.run(["bcftools", "view", "-Ob", "-o", path.with_suffix(".bcf"), path], check=True)
    return path.with_suffix(".bcf")


@pytest.mark.parametrize("extra", [{}, {"0/0/1": (-1, POLYPLOID), "././.": (-1, NO_CALL)}])
def test_every_spelling_of_a_call(tmp_path, extra):
    spelled = SPELLED | extra
    names = [f"s{i}" for i in range(len(spelled))]
    path = write(tmp_path / "a.vcf", vcf_text([record(1, list(spelled))], names))
    for made in (path, as_bcf(path)):
        (found,) = records_of(made)
        assert list(zip(found.calls.tolist(), found.kinds.tolist(), strict=True)) == list(spelled.values())
        assert found.calls.dtype == found.kinds.dtype == np.int8


def test_haploid_records_and_records_without_gt(tmp_path):
    lines = [record(1, ["0", "1", "."]), record(2, ["0.5", "1", "."], fmt="DS"), record(3, ["0/1"] * 3)]
    found = records_of(write(tmp_path / "a.vcf", vcf_text(lines, ["a", "b", "c"])), dosages=True)
    assert found[0].kinds.tolist() == [HAPLOID, HAPLOID, NO_CALL]
    assert found[1].kinds.tolist() == [NO_CALL] * 3
    np.testing.assert_allclose(found[1].dosage, [0.5, 1, np.nan])
    assert found[0].calls.tolist() == [0, 2, -1]
    assert found[2].dosage is None and found[2].posterior is None and np.isnan(found[2].quality)
    with pytest.raises(InputError, match="no genotypes"):
        records_of(write(tmp_path / "b.vcf", vcf_text(lines[1:2], ["a", "b", "c"])))


def test_every_call_of_a_long_file_equals_bcftools(tmp_path):
    path = mixed_vcf(tmp_path / "mixed.vcf.gz")
    pos, spelled = bcftools_calls(path)
    found = records_of(path)
    assert [r.pos for r in found] == pos and len(pos) == 1500
    np.testing.assert_array_equal(np.stack([r.calls for r in found], axis=1), counted(spelled))


def test_plink_equals_vcf(tmp_path):
    path = write(tmp_path / "a.vcf", vcf_text(plain_records(50, 7), [f"s{i}" for i in range(7)]))
    command = ["plink2", "--vcf", path, "--make-bed", "--double-id", "--out", tmp_path / "a"]
    subprocess.run(command, check=True, capture_output=True)
    for one, other in zip(records_of(path), records_of(tmp_path / "a.bed"), strict=True):
        assert (one.contig, one.pos, one.id, one.ref, one.alts) == (
            other.contig,
            other.pos,
            other.id,
            other.ref,
            other.alts,
        )
        np.testing.assert_array_equal(one.calls, other.calls)
        np.testing.assert_array_equal(one.kinds, other.kinds)
    assert contigs_in_order(tmp_path / "a.bed") == contigs_in_order(path) == ["1"]


def plain_records(n_sites: int, n_samples: int) -> Sequence[str]:
    drawn = np.random.default_rng(3).choice(["0/0", "0/1", "1/1", "./."], (n_sites, n_samples))
    return [record(10 * (j + 1), calls) for j, calls in enumerate(drawn.tolist())]


@pytest.mark.parametrize(("key", "value"), [("DR2", 0.7), ("R2", 0.7), ("INFO", 0.7), ("OTHER", np.nan)])
def test_what_the_file_says_of_its_quality(tmp_path, key, value):
    line = record(1, ["0/1"]).split("\t")
    line[7] = f"AF=0.5;{key}=0.70"
    header = (
        f'##INFO=<ID={key},Number=1,Type=Float,Description="x">\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n'
    )
    text = vcf_text(["\t".join(line)], ["a"]).replace("##FORMAT=<ID=GT", header + "##FORMAT=<ID=GT")
    (found,) = records_of(write(tmp_path / "a.vcf", text), dosages=True)
    assert found.quality == value or np.isnan(value)
    assert np.isnan(found.quality) == np.isnan(value)


def test_header_and_files_side_by_side(tmp_path):
    text = vcf_text([record(1, ["0/1", "1/1"])], ["a", "b"]).replace("ID=1>", "ID=1,assembly=x,length=77>")
    one, other = write(tmp_path / "a.vcf", text), write(tmp_path / "b.vcf", vcf_text([record(2, ["0/1"])], ["c"]))
    with streamed(one, other) as streams:
        assert [stream.name for stream in streams] == ["a.vcf", "b.vcf"]
        assert [stream.names for stream in streams] == [["a", "b"], ["c"]]
        assert [stream.contig_lengths for stream in streams] == [{"1": 77}, {}]
        assert [next(stream.records).pos for stream in streams] == [1, 2]


def test_a_file_broken_in_the_middle_is_named(tmp_path):
    good = mixed_vcf(tmp_path / "good.vcf.gz", n_sites=3000)
    data = bytearray(good.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    (tmp_path / "bad.vcf.gz").write_bytes(data)
    with (
        pytest.raises(InputError, match=r"bad\.vcf\.gz is broken after 1:\d+ \("),
        streamed(good, tmp_path / "bad.vcf.gz") as streams,
    ):
        for _ in zip(*(stream.records for stream in streams), strict=True):
            pass
    with pytest.raises(InputError, match=r"bad\.vcf\.gz is broken"):
        contigs_in_order(tmp_path / "bad.vcf.gz")


@pytest.mark.parametrize("call", ["0/2", "2|0", "2"])
def test_a_call_of_an_allele_that_alt_lacks(tmp_path, call):
    with pytest.raises(InputError, match=r"a\.vcf is broken: 1:7 has calls of alternate allele 2, and 1 in ALT"):
        records_of(write(tmp_path / "a.vcf", vcf_text([record(7, ["0/1", call])], ["a", "b"])))


@pytest.mark.parametrize(
    "lines",
    [
        [record(5, ["0/1"]), record(4, ["0/1"])],
        [record(5, ["0/1"]), record(5, ["0/1"], contig="2"), record(6, ["0/1"])],
    ],
)
def test_out_of_order(tmp_path, lines):
    with pytest.raises(InputError, match=r"a\.vcf is not in order of position at 1:"):
        records_of(write(tmp_path / "a.vcf", vcf_text(lines, ["a"])))


def test_names_twice_no_names_no_records(tmp_path):
    sites_only = vcf_text([], []).replace("\tFORMAT", "") + "1\t1\t.\tA\tC\t.\t.\t.\n"
    for text, words in (
        (vcf_text([record(1, ["0/1", "0/1"])], ["a", "a"]), "more than once"),
        (vcf_text([], ["a"]), "no records"),
        (sites_only, "names no samples"),
    ):
        with pytest.raises(InputError, match=words):
            records_of(write(tmp_path / "a.vcf", text))


def test_a_posterior_that_does_not_add_up_is_not_used_for_its_call_alone(tmp_path):
    calls = ["0/0:0.9,0.1,0", "0/1:0.5,0.5,0.5", "1/1:0,0.1,0.9", "0/1:0,1,0"]
    mostly_wrong = ["0/0:0.9,0.9,0", "0/1:0.5,0.5,0.5", "1/1:0,2,0.9", "0/1:0,1,0"]
    lines = [record(1, calls, fmt="GT:GP"), record(2, mostly_wrong, fmt="GT:GP")]
    text = vcf_text(lines, list("abcd")).replace(
        "#CHROM", '##FORMAT=<ID=GP,Number=G,Type=Float,Description="Posterior">\n#CHROM', 1
    )
    with streamed(write(tmp_path / "a.vcf", text), dosages=True) as (stream,):
        found = list(stream.records)
        notes = set(stream.notes)
    np.testing.assert_allclose(found[0].posterior, [[0.9, 0.1, 0], [np.nan] * 3, [0, 0.1, 0.9], [0, 1, 0]])
    assert found[1].posterior is None
    assert notes == {
        "GP does not add up to 1 in some calls: not used there",
        "GP does not add up to 1 at some sites: not used there",
    }
