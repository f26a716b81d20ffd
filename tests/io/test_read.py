"""What is asked of a file before it is compared on: enough samples and sites, and no more than wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.matrix import ADVICE, read_genotypes, read_matrix
from snpimpute.io.write_vcf import write_vcf
from tests.io.test_vcf import record, vcf_text, write

NAMES = ["a", "b", "c"]
VARIED = ["0/1", "0/0", "1/1"]


def records(n: int, contig: str = "1", every_other: list[str] | None = None) -> list[str]:
    """SNPs at 10, 20, …; each second one with the calls `every_other` if these are given."""
    return [
        record(10 * i, every_other if every_other and i % 2 == 0 else VARIED, contig=contig) for i in range(1, n + 1)
    ]


def test_reads_and_filters(tmp_path: Path) -> None:
    path = write(tmp_path / "some.vcf", vcf_text(records(40, every_other=["0/0"] * 3), NAMES))
    matrix, left_out = read_genotypes(path)
    assert matrix.calls.tolist() == [[1] * 20, [0] * 20, [2] * 20]
    assert left_out.set_index("reason").n[["read", "monomorphic", "kept"]].tolist() == [40, 20, 20]


def test_max_sites_counts_what_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "some.vcf", vcf_text(records(40, every_other=["0/0"] * 3), NAMES))
    assert read_genotypes(path, max_sites=20)[0].n_sites == 20
    with pytest.raises(InputError, match=r"more than 19 sites: .*--region .*1:10-370\), or .*--max-sites N"):
        read_genotypes(path, max_sites=19)


def test_the_limit_is_of_all_contigs_and_the_region_that_is_named_can_be_read(tmp_path: Path) -> None:
    plain = write(tmp_path / "two.vcf", vcf_text(records(20) + records(20, "2"), NAMES))
    write_vcf(tmp_path / "two.vcf.gz", read_matrix(plain)[0], index=True)
    with pytest.raises(InputError, match="which counts all contigs together") as refused:
        read_genotypes(tmp_path / "two.vcf.gz", max_sites=30)
    region = str(refused.value).split("'")[1]
    assert region == "1:10-200;2:10-100"
    assert read_genotypes(tmp_path / "two.vcf.gz", region=region, max_sites=30)[0].n_sites == 30


def test_reading_ends_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken line far behind the limit is never reached."""
    monkeypatch.setattr("snpimpute.io.matrix.CALLS_PER_BLOCK", 30)
    path = write(tmp_path / "long.vcf", vcf_text([*records(100), "1\tbroken\n"], NAMES))
    with pytest.raises(InputError, match="more than 50 sites"):
        read_genotypes(path, max_sites=50)
    with pytest.raises(InputError, match="broken"):
        read_genotypes(path, max_sites=500)


def test_several_contigs(tmp_path: Path) -> None:
    path = tmp_path / "three.vcf.gz"
    plain = write(tmp_path / "three.vcf", vcf_text(records(20) + records(20, "2") + records(20, "3"), NAMES))
    write_vcf(path, read_matrix(plain)[0], index=True)
    assert read_genotypes(plain)[0].sites.contig.tolist() == ["1"] * 20 + ["2"] * 20 + ["3"] * 20
    assert set(read_genotypes(path, region="2")[0].sites.contig) == {"2"}
    some, _ = read_genotypes(path, region="1;3:101-150")
    assert some.site_keys()[18:22] == ["1:190:A:C", "1:200:A:C", "3:110:A:C", "3:120:A:C"] and some.n_sites == 25
    with pytest.raises(InputError, match=r"more than 30 sites: .* \(the first 30 are '1:10-200;2:10-100'\)"):
        read_genotypes(path, max_sites=30)
    with pytest.raises(InputError, match="no contig '7'"):
        read_genotypes(path, region="1;7")
    with pytest.raises(InputError, match="region '' is malformed"):
        read_genotypes(path, region="1;")


def test_one_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "some.vcf", vcf_text(records(20), NAMES))
    with pytest.raises(InputError, match=r"some.vcf gives 1 sample: at least 2"):
        read_genotypes(path, samples=["a"])
    assert read_matrix(path, samples=["a"])[0].n_samples == 1


def test_fewer_than_ten_sites(tmp_path: Path) -> None:
    few = [*records(9), record(200, VARIED, alt="."), record(210, ["./.", "0/1", "0/0"])]
    path = write(tmp_path / "few.vcf", vcf_text(few, NAMES))
    with pytest.raises(
        InputError, match=r"leaves 9 sites of 11 read, .*10 .* \(left out: monomorphic 1, call rate 1\)"
    ):
        read_genotypes(path)
    assert read_genotypes(path, site_filter=SiteFilter(min_call_rate=0.5))[0].n_sites == 10


def test_all_monomorphic(tmp_path: Path) -> None:
    path = write(tmp_path / "same.vcf", vcf_text([record(i, ["0/0"] * 3) for i in range(1, 30)], NAMES))
    with pytest.raises(InputError, match=r"same.vcf .* all of its 29 sites are monomorphic among the 3 samples"):
        read_genotypes(path)


@pytest.mark.parametrize("name", ["some.txt", "some.ped", "some"])
def test_unknown_ending(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"\.vcf\.gz, \.bcf, \.vcz .*, \.bed .* or \.pgen"):
        read_genotypes(tmp_path / name)


def test_apply_filter_goes_on_from_a_table(tmp_path: Path) -> None:
    path = write(
        tmp_path / "some.vcf", vcf_text([*records(40, every_other=["0/0"] * 3), record(900, VARIED, alt="CT")], NAMES)
    )
    at_once, at_once_left_out = read_matrix(path, site_filter=SiteFilter())
    unfiltered, left_out = read_matrix(path)
    filtered, filtered_left_out = apply_filter(unfiltered, SiteFilter(), left_out)
    assert filtered.digest() == at_once.digest()
    assert filtered_left_out.n.tolist() == at_once_left_out.n.tolist() == [41, 0, 0, 0, 20, 0, 0, 21]


def test_apply_filter_keeps_exactly_at_the_thresholds() -> None:
    panel = small_panel(missing=0.0)
    calls = np.zeros((60, 4), dtype=np.int8)
    calls[:6, 0] = -1  # call rate 0.9 exactly
    calls[:7, 1] = -1
    calls[10:16, :] = 1  # 6 of 120 alleles at the last two: MAF 0.05 exactly
    calls[10, 3] = 0
    matrix = replace(panel.take_sites(np.arange(4)), calls=calls)
    kept, left_out = apply_filter(matrix, SiteFilter(min_call_rate=0.9, min_maf=0.05))
    assert kept.sites.pos.tolist() == matrix.sites.pos.iloc[[0, 2]].tolist()
    assert left_out.n.tolist() == [4, 0, 0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize(("damage", "advice"), ADVICE.items())
def test_a_filter_that_leaves_too_little_says_what_changes_it(tmp_path: Path, damage: str, advice: str) -> None:
    calls = ["0/1"] * 7 + (["./."] * 3 if damage == "call rate" else ["0/0"] * 30)
    lines = [record(10 * j + 10, calls, passed="q10" if damage == "FILTER" else "PASS") for j in range(30)]
    path = write(tmp_path / "a.vcf", vcf_text(lines, [f"s{i}" for i in range(len(calls))]))
    strict = SiteFilter(min_maf=0.2 if damage == "MAF" else 0.0)
    with pytest.raises(InputError) as raised:
        read_genotypes(path, site_filter=strict)
    assert str(raised.value).endswith(f"(left out: {damage} 30; {advice})")
    kept = read_genotypes(path, site_filter=SiteFilter(min_call_rate=0.7, pass_only=False))[0]
    assert kept.n_sites == 30
