"""The VCF reader against bcftools, on every kind of call, and each way a file can be broken; the writer and its index."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.io.filters import SiteFilter
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf

HEADER = """##fileformat=VCFv4.2
##FILTER=<ID=PASS,Description="All filters passed">
##FILTER=<ID=q10,Description="Low quality">
##contig=<ID=1>
##contig=<ID=2>
##contig=<ID=3>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DS,Number=1,Type=Float,Description="Dosage">
"""
FIXED = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT")
ROOT = Path(__file__).parents[2]
PANELS = os.environ.get("SNPIMPUTE_PANELS")


def record(
    pos: int,
    calls: Sequence[str],
    ref: str = "A",
    alt: str = "C",
    passed: str = "PASS",
    contig: str = "1",
    fmt: str = "GT",
) -> str:
    return "\t".join([contig, str(pos), f"v{pos}", ref, alt, ".", passed, ".", fmt, *calls]) + "\n"


def vcf_text(records: Sequence[str], names: Sequence[str]) -> str:
    return HEADER + "\t".join([*FIXED, *names]) + "\n" + "".join(records)


def write(path: Path, text: str) -> Path:
    """Write a VCF; bgzipped and indexed where the name ends in .gz."""
    if path.suffix != ".gz":
        path.write_text(text)
        return path
    subprocess.run(["bgzip", "-c"], input=text.encode(), stdout=path.open("wb"), check=True)
    subprocess.run(["tabix", "-p", "vcf", path], check=True, capture_output=True)
    return path


def mixed_vcf(path: Path, n_sites: int = 1500, n_samples: int = 30) -> Path:
    """Calls of every spelling that a diploid has: phased, unphased, missing, half, a lone dot."""
    rng = np.random.default_rng(11)
    spelled = ["0/0", "0|0", "0/1", "0|1", "1|0", "1/0", "1/1", "1|1", "./.", ".|.", ".", "0/.", ".|1", "1/."]
    share = np.array([8, 8, 4, 4, 4, 2, 4, 4, 1, 1, 0.3, 0.5, 0.5, 0.5])
    drawn = rng.choice(spelled, p=share / share.sum(), size=(n_sites, n_samples))
    pos = np.sort(rng.choice(np.arange(1, 300_000), n_sites, replace=False))
    records = [record(p, calls) for p, calls in zip(pos.tolist(), drawn.tolist(), strict=True)]
    return write(path, vcf_text(records, [f"s{i}" for i in range(n_samples)]))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_vcf(tmp_path_factory.mktemp("mixed") / "mixed.vcf.gz")


def bcftools_calls(path: Path, *options: str) -> tuple[list[int], list[list[str]]]:
    """Positions and the spelled calls of a file as bcftools reads them."""
    command = ["bcftools", "query", *options, "-f", "%POS[ %GT]\n", str(path)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines], [line.split()[1:] for line in lines]


def counted(spelled: Sequence[Sequence[str]]) -> np.ndarray:
    """Alternate alleles of calls spelled site by site, int8 (n_samples, n_sites), -1 where an allele is missing."""
    return np.array([[-1 if "." in call else call.count("1") for call in site] for site in spelled], dtype=np.int8).T


def test_every_call_equals_bcftools(mixed: Path) -> None:
    pos, spelled = bcftools_calls(mixed)
    matrix, left_out = read_matrix(mixed)
    assert matrix.sites.pos.tolist() == pos
    assert len(pos) == 1500
    np.testing.assert_array_equal(matrix.calls, counted(spelled))
    assert matrix.names == [f"s{i}" for i in range(30)]
    assert matrix.sites.iloc[0].tolist() == ["1", pos[0], f"v{pos[0]}", "A", "C"]
    assert matrix.haplotypes is None
    assert left_out.n.tolist() == [1500, 0, 0, 0, 0, 0, 0, 1500]


def test_bcf_equals_vcf(mixed: Path, tmp_path: Path) -> None:
    bcf = tmp_path / "mixed.bcf"
    subprocess.run(["bcftools", "view", "-Ob", "-o", bcf, mixed], check=True)
    subprocess.run(["bcftools", "index", bcf], check=True)
    assert read_matrix(bcf)[0].digest() == read_matrix(mixed)[0].digest()
    region = "1:100000-200000"
    assert read_matrix(bcf, region=region)[0].digest() == read_matrix(mixed, region=region)[0].digest()


def test_plain_and_gzipped_vcf_equal_bgzipped(mixed: Path, tmp_path: Path) -> None:
    text = gzip.decompress(mixed.read_bytes())
    (tmp_path / "plain.vcf").write_bytes(text)
    (tmp_path / "gzipped.vcf.gz").write_bytes(gzip.compress(text))
    digest = read_matrix(mixed)[0].digest()
    assert read_matrix(tmp_path / "plain.vcf")[0].digest() == digest
    assert read_matrix(tmp_path / "gzipped.vcf.gz")[0].digest() == digest


def test_region_and_samples_in_the_order_wanted(mixed: Path) -> None:
    names = ["s20", "s3", "s11"]
    pos, spelled = bcftools_calls(mixed, "-r", "1:50000-60000", "-s", ",".join(names))
    matrix, left_out = read_matrix(mixed, region="1:50,000-60,000", samples=names)
    assert matrix.sites.pos.tolist() == pos
    assert 20 < len(pos) < 100
    assert matrix.names == names
    np.testing.assert_array_equal(matrix.calls, counted(spelled))
    assert left_out.n.iloc[0] == len(pos)


def test_ends_of_a_region_lie_within(mixed: Path) -> None:
    pos = read_matrix(mixed)[0].sites.pos.tolist()
    assert read_matrix(mixed, region=f"1:{pos[7]}-{pos[12]}")[0].sites.pos.tolist() == pos[7:13]
    assert read_matrix(mixed, region="1")[0].sites.pos.tolist() == pos


def test_blocks_join_without_a_seam(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_matrix(mixed, site_filter=SiteFilter())
    monkeypatch.setattr("snpimpute.io.matrix.CALLS_PER_BLOCK", 30 * 7)
    pieces = read_matrix(mixed, site_filter=SiteFilter())
    assert pieces[0].digest() == whole[0].digest()
    pd.testing.assert_frame_equal(pieces[1], whole[1])


def test_haplotypes_only_where_all_is_phased(tmp_path: Path) -> None:
    phased = [record(10, ["0|1", "1|0"]), record(20, ["1|1", "0|1"])]
    matrix, _ = read_matrix(write(tmp_path / "phased.vcf", vcf_text(phased, "ab")))
    assert matrix.haplotypes is not None
    assert matrix.haplotypes.dtype == np.int8
    assert matrix.haplotypes.tolist() == [[[0, 1], [1, 1]], [[1, 0], [0, 1]]]
    for last in (["0/0", "0|1"], ["0|0", ".|."], ["0|.", "1|1"]):
        more = write(tmp_path / "more.vcf", vcf_text([*phased, record(30, last)], "ab"))
        assert read_matrix(more)[0].haplotypes is None
    gone = write(tmp_path / "gone.vcf", vcf_text([*phased, record(30, ["0/0", "0/0"])], "ab"))
    assert read_matrix(gone, site_filter=SiteFilter())[0].haplotypes is not None


def test_what_is_left_out_is_counted_under_the_first_reason(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(20)]
    varied = ["0/1", "1/1"] + ["0/0"] * 18
    records = [
        record(10, varied),
        record(20, varied, alt="C,G"),
        record(30, varied, alt="CT"),
        record(31, varied, ref="AT"),
        record(32, varied, ref="AC", alt="GT"),
        record(33, varied, alt="<Del:me>"),
        record(34, varied, alt="*"),
        record(40, varied, passed="q10"),
        record(40, varied, alt="G"),
        record(40, varied, alt="T"),
        record(40, varied, alt="G"),
        record(50, varied, passed="."),
        record(60, ["0/0"] * 20),
        record(61, ["1/1"] * 20),
        record(62, ["./."] * 20),
        record(63, ["0/0"] * 20, alt="."),
        record(70, ["./."] * 3 + varied[:17]),
        record(71, ["./."] * 2 + varied[:18]),
        record(80, ["0/1"] + ["0/0"] * 19),
        record(90, varied, ref="g", alt="t"),
    ]
    path = write(tmp_path / "some.vcf", vcf_text(records, names))
    matrix, left_out = read_matrix(path, site_filter=SiteFilter(min_maf=0.05))
    assert matrix.site_keys() == [
        *["1:10:A:C", "1:20:A:C", "1:30:A:CT", "1:31:AT:C", "1:32:AC:GT", "1:33:A:<Del:me>", "1:34:A:*"],
        *["1:40:A:G", "1:40:A:T", "1:50:A:C", "1:71:A:C", "1:90:G:T"],
    ]
    assert dict(zip(left_out.reason, left_out.n, strict=True)) == {
        "read": 21,
        "unknown alleles": 0,
        "FILTER": 1,
        "duplicate": 1,
        "monomorphic": 5,
        "call rate": 1,
        "MAF": 1,
        "kept": 12,
    }
    everything, _ = read_matrix(path, site_filter=SiteFilter(min_call_rate=0.0, pass_only=False))
    assert everything.site_keys() == [
        *["1:10:A:C", "1:20:A:C", "1:30:A:CT", "1:31:AT:C", "1:32:AC:GT", "1:33:A:<Del:me>", "1:34:A:*"],
        *["1:40:A:C", "1:40:A:G", "1:40:A:T", "1:50:A:C", "1:70:A:C", "1:71:A:C", "1:80:A:C", "1:90:G:T"],
    ]
    assert read_matrix(path)[0].sites.pos.tolist() == [
        10,
        20,
        20,
        30,
        31,
        32,
        33,
        34,
        40,
        40,
        40,
        50,
        60,
        61,
        62,
        70,
        71,
        80,
        90,
    ]


def test_filters_look_at_the_samples_wanted(tmp_path: Path) -> None:
    records = [record(10, ["0/1", "0/0", "0/0"]), record(20, ["0/0", "0/1", "0/0"])]
    path = write(tmp_path / "some.vcf", vcf_text(records, "abc"))
    assert read_matrix(path, samples=["b", "c"], site_filter=SiteFilter())[0].sites.pos.tolist() == [20]


def refused(path: Path, match: str, capfd: pytest.CaptureFixture[str], **options: object) -> None:
    """Reading raises InputError in one line that matches, and nothing is printed."""
    with pytest.raises(InputError, match=match) as raised:
        read_matrix(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_missing_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path / "none.vcf.gz", r"none\.vcf\.gz: No such file", capfd)
    refused(tmp_path, "is not a file that can be read", capfd)


@pytest.mark.parametrize(
    "content", [np.random.default_rng(1).bytes(4000), b"dear reader,\nnot a VCF\n", b"\x1f\x8b junk"]
)
def test_not_a_vcf(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("odd.vcf", "odd.vcf.gz", "odd.bcf"):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "odd.* is not a VCF or BCF", capfd)


def test_empty_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.vcf").touch()
    refused(tmp_path / "empty.vcf", "empty.vcf is not a VCF or BCF: it is empty", capfd)
    refused(write(tmp_path / "header.vcf", vcf_text([], "ab")), "header.vcf has no records", capfd)


def block_starts(content: bytes) -> list[int]:
    """Where each block of a bgzipped file begins."""
    starts = [0]
    while starts[-1] < len(content):
        starts.append(starts[-1] + int.from_bytes(content[starts[-1] + 16 : starts[-1] + 18], "little") + 1)
    return starts[:-1]


def test_truncated_bgzip_never_gives_fewer_records(
    mixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = mixed.read_bytes()
    starts = block_starts(content)
    for at in (starts[-1], starts[-2], len(content) // 2, len(content) - 5):
        cut = tmp_path / "cut.vcf.gz"
        cut.write_bytes(content[:at])
        refused(cut, "cut.vcf.gz is truncated", capfd)
        (tmp_path / "cut.vcf.gz.tbi").write_bytes(mixed.with_name("mixed.vcf.gz.tbi").read_bytes())
        refused(cut, "cut.vcf.gz is truncated", capfd, region="1:1-300000")


def test_truncated_gzip_and_text(mixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = gzip.decompress(mixed.read_bytes())
    zipped = gzip.compress(text)
    (tmp_path / "cut.vcf.gz").write_bytes(zipped[: len(zipped) // 2])
    refused(tmp_path / "cut.vcf.gz", "cut.vcf.gz is broken", capfd)
    (tmp_path / "cut.vcf").write_bytes(text[:-50])
    refused(tmp_path / "cut.vcf", r"cut.vcf is broken \(.* at 1:\d+", capfd)


def test_damage_within_is_noticed_by_region_too(mixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(mixed.read_bytes())
    starts = block_starts(bytes(content))
    assert len(starts) > 3
    middle = (starts[1] + starts[2]) // 2
    content[middle : middle + 50] = bytes(50)
    (tmp_path / "hurt.vcf.gz").write_bytes(content)
    (tmp_path / "hurt.vcf.gz.tbi").write_bytes(mixed.with_name("mixed.vcf.gz.tbi").read_bytes())
    refused(tmp_path / "hurt.vcf.gz", "hurt.vcf.gz is broken", capfd)
    refused(tmp_path / "hurt.vcf.gz", "hurt.vcf.gz is broken", capfd, region="1:1-300000")


def test_region_needs_an_index(mixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bare.vcf.gz").write_bytes(mixed.read_bytes())
    refused(tmp_path / "bare.vcf.gz", "has no index, .*tabix -p vcf .*bare.vcf.gz", capfd, region="1:1-500")
    subprocess.run(["bcftools", "view", "-Ob", "-o", tmp_path / "bare.bcf", mixed], check=True)
    refused(tmp_path / "bare.bcf", "has no index, .*bcftools index .*bare.bcf", capfd, region="1:1-500")
    (tmp_path / "plain.vcf").write_bytes(gzip.decompress(mixed.read_bytes()))
    refused(tmp_path / "plain.vcf", "not bgzipped, .*bcftools view -Oz", capfd, region="1:1-500")


@pytest.mark.parametrize("region", ["", "1:5", "1:9-5", "1:0-5", "1:a-b", "1 2", "1:-", "1:5-", "1:1-9999999999"])
def test_malformed_region(region: str, mixed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(mixed, "is malformed", capfd, region=region)


def test_region_without_sites_or_contig(mixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(mixed, "no records in 1:400000-500000", capfd, region="1:400000-500000")
    refused(mixed, "no records in 2:", capfd, region="2")
    refused(mixed, "no contig 'chr1'; it has 1, 2, 3", capfd, region="chr1:1-1000")
    undeclared = "".join(line for line in vcf_text([record(10, ["0/1"])], "a").splitlines(True) if "contig" not in line)
    path = write(tmp_path / "undeclared.vcf.gz", undeclared)
    capfd.readouterr()
    assert read_matrix(path, region="1:1-20")[0].n_sites == 1
    refused(path, "no contig '7'; it has 1", capfd, region="7:1-20")


def test_no_genotypes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sites = HEADER + "\t".join(FIXED[:8]) + "\n1\t10\t.\tA\tC\t.\tPASS\t.\n"
    refused(write(tmp_path / "sites.vcf", sites), "sites.vcf has no genotypes: it names no samples", capfd)
    dosages = vcf_text([record(p, ["0.1", "1.2"], fmt="DS") for p in range(1, 30)], "ab")
    refused(write(tmp_path / "ds.vcf", dosages), "ds.vcf has no genotypes: its records have no GT", capfd)


def test_record_without_gt_among_others_is_missing(tmp_path: Path) -> None:
    records = [
        record(10, ["0/1", "0/0"]),
        record(20, ["0.1", "1.2"], fmt="DS"),
        record(30, ["1:0/1", "2:1/1"], fmt="DS:GT"),
    ]
    matrix, _ = read_matrix(write(tmp_path / "some.vcf", vcf_text(records, "ab")))
    assert matrix.calls.tolist() == [[1, -1, 1], [0, -1, 2]]


def test_other_ploidies_are_refused_by_site_and_sample(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ["cow", "bull"]
    good = record(10, ["0/1", "0/0"])
    one = write(tmp_path / "one.vcf", vcf_text([good, record(20, ["0/1", "1"])], names))
    refused(one, r"one.vcf: sample bull has a haploid call at 1:20", capfd)
    all_one = write(tmp_path / "all.vcf", vcf_text([good, record(20, ["1", "0"])], names))
    refused(all_one, r"sample cow has a haploid call at 1:20", capfd)
    four = write(tmp_path / "four.vcf", vcf_text([good, record(20, ["0/1", "0/0/1/1"])], names))
    refused(four, r"sample bull has a call of more than two alleles at 1:20", capfd)
    refused(four, r"sample bull has a call of more than two alleles at 1:20", capfd, samples=["bull"])
    assert read_matrix(four, samples=["cow"])[0].calls.tolist() == [[1, 1]]
    dots = write(tmp_path / "dots.vcf", vcf_text([good, record(20, [".", "./././."])], names))
    assert read_matrix(dots)[0].calls.tolist() == [[1, -1], [0, -1]]


def test_allele_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "odd.vcf", vcf_text([record(10, ["0/2", "0/0"])], "ab"))
    refused(path, "odd.vcf is broken", capfd)


def test_samples_twice_or_unknown(mixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    twice = write(tmp_path / "twice.vcf", vcf_text([record(10, ["0/1"] * 3)], "aba"))
    refused(twice, "twice.vcf names samples more than once: 'a'", capfd)
    refused(mixed, "no sample named nobody, noone; it has s0, s1", capfd, samples=["s1", "nobody", "noone"])
    refused(mixed, "the choice of samples names samples more than once: s1", capfd, samples=["s1", "s2", "s1"])


def test_unsorted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    back = write(tmp_path / "back.vcf", vcf_text([record(p, ["0/1"]) for p in (10, 30, 20)], "a"))
    refused(back, "back.vcf is not in order of position at 1:20", capfd)
    contigs = [record(10, ["0/1"], contig=contig) for contig in "121"]
    refused(write(tmp_path / "again.vcf", vcf_text(contigs, "a")), "not in order of position at 1:10", capfd)


def test_what_is_no_message_of_htslib_reaches_the_terminal(mixed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from snpimpute.io.vcf import htslib_messages

    with htslib_messages() as messages:
        os.write(2, b"[W::some_function] beware\nsomebody else speaks\n")
        assert messages.lines()[0] == "[W::some_function] beware"
    assert capfd.readouterr().err == "somebody else speaks\n"


def test_index_older_than_its_file_is_warned_of(mixed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for suffix, time in ((".gz", 2_000_000_000), (".gz.tbi", 1_000_000_000)):
        path = tmp_path / f"mixed.vcf{suffix}"
        path.write_bytes(mixed.with_name(path.name).read_bytes())
        os.utime(path, (time, time))
    read_matrix(tmp_path / "mixed.vcf.gz", region="1:1-20000")
    assert [record.levelname for record in caplog.records if "older" in record.message] == ["WARNING"]


def random_matrix(phased: bool, n_samples: int = 40, n_sites: int = 3000) -> GenotypeMatrix:
    rng = np.random.default_rng(2)
    haplotypes = rng.integers(0, 2, (n_samples, n_sites, 2)).astype(np.int8)
    calls = haplotypes.sum(axis=2, dtype=np.int8)
    if not phased:
        calls[rng.random(calls.shape) < 0.1] = -1
    half = n_sites // 2
    sites = pd.DataFrame(
        {
            "contig": ["1"] * half + ["X"] * (n_sites - half),
            "pos": np.sort(rng.choice(900_000_000, n_sites, replace=False) + 1),
            "id": [f"v{i}" if i % 3 else "" for i in range(n_sites)],
            "ref": "A",
            "alt": "G",
        }
    )
    samples = pd.DataFrame({"sample": [f"s{i}" for i in range(n_samples)]})
    return GenotypeMatrix(calls, samples, sites, haplotypes if phased else None)


@pytest.mark.parametrize("phased", [True, False])
def test_written_is_read_back(phased: bool, tmp_path: Path) -> None:
    matrix = random_matrix(phased)
    write_vcf(tmp_path / "out.vcf.gz", matrix)
    assert read_matrix(tmp_path / "out.vcf.gz")[0].digest() == matrix.digest()
    _, spelled = bcftools_calls(tmp_path / "out.vcf.gz")
    np.testing.assert_array_equal(counted(spelled), matrix.calls)
    assert {"|" in call for call in spelled[0]} == {phased}


def test_a_missing_call_among_phased_ones(tmp_path: Path) -> None:
    haplotypes = np.array([[[0, 1], [1, 1]], [[1, 0], [0, 0]]], dtype=np.int8)
    calls = np.array([[1, -1], [1, 0]], dtype=np.int8)
    sites = pd.DataFrame({"contig": "1", "pos": [5, 9], "id": "", "ref": "A", "alt": "C"})
    matrix = GenotypeMatrix(calls, pd.DataFrame({"sample": ["a", "b"]}), sites, haplotypes)
    write_vcf(tmp_path / "m.vcf.gz", matrix)
    with gzip.open(tmp_path / "m.vcf.gz", "rt") as handle:
        lines = [line.split()[9:] for line in handle if not line.startswith("#")]
    assert lines == [["0|1", "1|0"], [".|.", "0|0"]]


def test_sites_left_out_when_written(tmp_path: Path) -> None:
    matrix = random_matrix(phased=True, n_sites=50)
    hidden = np.arange(50) % 3 == 0
    write_vcf(tmp_path / "out.vcf.gz", matrix, leave_out=hidden)
    assert read_matrix(tmp_path / "out.vcf.gz")[0].digest() == matrix.take_sites(~hidden).digest()


def test_index_written_serves_bcftools_and_us(tmp_path: Path) -> None:
    matrix = random_matrix(phased=False)
    path = tmp_path / "out.vcf.gz"
    write_vcf(path, matrix, index=True)
    counts = subprocess.run(["tabix", "-l", path], capture_output=True, text=True, check=True).stdout.split()
    assert counts == ["1", "X"]
    for contig, pos in matrix.sites.groupby("contig").pos:
        for start, end in (
            (1, 2**31 - 1),
            (pos.iloc[3], pos.iloc[3]),
            (pos.iloc[40], pos.iloc[900]),
            (pos.max(), pos.max() + 9),
        ):
            region = f"{contig}:{start}-{end}"
            wanted = pos[(pos >= start) & (pos <= end)].tolist()
            assert bcftools_calls(path, "-r", region)[0] == wanted
            assert read_matrix(path, region=region)[0].sites.pos.tolist() == wanted


def test_full_file_system_is_an_error(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from tests.io.test_vcf import random_matrix, write_vcf
matrix = random_matrix(True)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_vcf(Path(sys.argv[1]), matrix)
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out.vcf.gz"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "File too large\n"
    with pytest.raises(InputError, match="truncated"):
        read_matrix(tmp_path / "out.vcf.gz")


@pytest.mark.panels
@pytest.mark.skipif(not PANELS, reason="SNPIMPUTE_PANELS is not set")
def test_panel_equals_bcftools() -> None:
    path = Path(PANELS or "") / "kg15" / "kg15.vcf.gz"
    region = "15:27379578-27700000"
    matrix, _ = read_matrix(path, region=region)
    pos, spelled = bcftools_calls(path, "-r", region)
    assert matrix.sites.pos.tolist() == pos
    assert matrix.calls.shape == (2504, len(pos)) and len(pos) > 1000
    np.testing.assert_array_equal(matrix.calls, counted(spelled))
    assert matrix.haplotypes is not None
    assert "|".join(map(str, matrix.haplotypes[5, 7])) == spelled[7][5]


def test_newer_versions_are_read_or_what_is_not_understood_is_said(tmp_path: Path) -> None:
    text = vcf_text([record(10, ["0/1", "1|1"]), record(20, ["0/0", "./."])], "ab")
    for version in ("4.4", "4.5"):
        newer = text.replace("VCFv4.2", f"VCFv{version}")
        newer = newer.replace(
            "##FORMAT=<ID=DS", "##FORMAT=<ID=LAD,Number=LR,Type=Integer,Description=x>\n##FORMAT=<ID=DS"
        )
        path = write(tmp_path / "newer.vcf", newer)
        np.testing.assert_array_equal(read_matrix(path)[0].calls, [[1, 0], [2, -1]])
        path = write(tmp_path / "phase.vcf", newer.replace("0/0", "/0/0"))
        with pytest.raises(InputError, match=rf"is a VCF {version}, and a call at 1:20 is not understood: .*\|0\|1"):
            read_matrix(path)
    with pytest.raises(InputError, match=r"phase\.vcf is broken"):
        read_matrix(write(tmp_path / "phase.vcf", text.replace("0/0", "/0/0")))


def test_a_position_that_no_index_holds_is_refused(tmp_path):
    """htslib reads 64 bits of a text; the reader's own number would be cut to another position."""
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=1>", '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">']
    lines += [
        "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT a",
        "1 100 . A C . . . GT 0/1",
        "1 99999999999 . A C . . . GT 0/1",
    ]
    (tmp_path / "far.vcf").write_text(
        "".join("\t".join(line.split(" ")) + "\n" if line[:2] != "##" else line + "\n" for line in lines)
    )
    with pytest.raises(
        InputError, match=r"far.vcf is broken at 1:99999999999: no position is larger than 2,147,483,647"
    ):
        read_matrix(tmp_path / "far.vcf")
