"""Properties of reading and writing, on drawn examples: round trips, spellings of sites and calls, positions of PLINK."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from snpimpute.imputers.testing import small_panel
from snpimpute.io.matrix import read_matrix
from snpimpute.io.plink import BED_MAGIC, write_bed
from snpimpute.io.records import HALF, NO_CALL
from snpimpute.io.site_names import SiteList
from snpimpute.io.stream import streamed
from snpimpute.io.write_vcf import write_vcf
from tests.io.test_vcf import record, vcf_text

# Spelling of a call → alternate alleles, -1 where it is missing; a half call is.
WHOLE = {"0/0": 0, "0|0": 0, "0/1": 1, "0|1": 1, "1|0": 1, "1/0": 1, "1/1": 2, "1|1": 2}
HALVES = {"0/.": -1, "./0": -1, ".|1": -1, "1|.": -1}
LACKING = {"./.": -1, ".|.": -1, ".": -1}
CALLS = st.sampled_from([*WHOLE, *HALVES, *LACKING])
ALLELES = st.sampled_from([("A", "C"), ("g", "t"), ("C", "A"), ("T", "G")])
CONTIGS = st.sampled_from(["1", "chr1", "X", "chrM", "28", "scaffold_7"])


@st.composite
def tables(
    draw: st.DrawFn, calls: st.SearchStrategy[str] = CALLS
) -> tuple[list[list[str]], list[int], list[tuple[str, str]]]:
    """Calls of a few samples at a few sites, their positions and alleles."""
    n_samples, n_sites = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    pos = sorted(draw(st.sets(st.integers(1, 2**29), min_size=n_sites, max_size=n_sites)))
    rows = draw(st.lists(st.lists(calls, min_size=n_samples, max_size=n_samples), min_size=n_sites, max_size=n_sites))
    return rows, pos, draw(st.lists(ALLELES, min_size=n_sites, max_size=n_sites))


def text_of(rows: list[list[str]], pos: list[int], alleles: list[tuple[str, str]]) -> str:
    lines = [record(at, calls, ref, alt) for calls, at, (ref, alt) in zip(rows, pos, alleles, strict=True)]
    return vcf_text(lines, [f"s{i}" for i in range(len(rows[0]))])


@given(tables())
def test_records_to_matrix_to_vcf_and_back(table: tuple[list[list[str]], list[int], list[tuple[str, str]]]) -> None:
    rows, pos, alleles = table
    meant = WHOLE | HALVES | LACKING
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.vcf").write_text(text_of(*table))
        matrix, _ = read_matrix(Path(folder) / "a.vcf")
        write_vcf(Path(folder) / "b.vcf.gz", matrix, index=True)
        again, _ = read_matrix(Path(folder) / "b.vcf.gz")
    np.testing.assert_array_equal(matrix.calls.T, [[meant[call] for call in calls] for calls in rows])
    assert matrix.sites.pos.tolist() == pos
    assert list(zip(matrix.sites.ref, matrix.sites.alt, strict=True)) == [(a.upper(), b.upper()) for a, b in alleles]
    assert again.digest() == matrix.digest() and again.site_keys() == matrix.site_keys()
    phased = all("|" in call and "." not in call for calls in rows for call in calls)
    assert (matrix.haplotypes is not None) == phased
    if phased:
        wanted = [[[int(allele) for allele in call.split("|")] for call in calls] for calls in rows]
        np.testing.assert_array_equal(again.haplotypes.swapaxes(0, 1), wanted)  # type: ignore[union-attr]


@given(tables(st.sampled_from(["0|0", "0|1", "1|0", "1|1"])))
def test_phased_calls_keep_their_haplotypes(table: tuple[list[list[str]], list[int], list[tuple[str, str]]]) -> None:
    test_records_to_matrix_to_vcf_and_back.hypothesis.inner_test(table)  # type: ignore[attr-defined]


@given(tables(st.sampled_from([*HALVES, *LACKING])))
def test_of_a_half_call_what_is_known_is_kept(table: tuple[list[list[str]], list[int], list[tuple[str, str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.vcf").write_text(text_of(*table))
        with streamed(Path(folder) / "a.vcf") as (stream,):
            for found, calls in zip(stream.records, table[0], strict=True):
                assert found.kinds.tolist() == [HALF if call in HALVES else NO_CALL for call in calls]
                known = [sorted(int(c) for c in call if c.isdigit()) for call in calls]
                assert [sorted(row[row >= 0].tolist()) for row in found.alleles] == known


@given(
    CONTIGS,
    st.integers(2, 2**29),
    ALLELES,
    st.booleans(),
    st.booleans(),
    st.sampled_from(["bed", ":", "::", "tab", "id", "number as id"]),
)
def test_every_spelling_of_a_site_is_found(
    contig: str, pos: int, alleles: tuple[str, str], with_chr: bool, turned: bool, spelling: str
) -> None:
    """With and without chr, alleles in either order and case; not the positions beside it, nor other alleles."""
    plain = contig.removeprefix("chr")
    asked = f"chr{plain}" if with_chr else plain
    first, second = alleles[::-1] if turned else alleles
    line, name = {
        "bed": (f"{contig}\t{pos - 1}\t{pos}", "sites.bed"),
        ":": (f"{contig}:{pos}", "sites.txt"),
        "::": (f"{contig}:{pos}:{alleles[0]}:{alleles[1]}", "sites.txt"),
        "tab": (f"{contig}\t{pos}\t{alleles[0]}\t{alleles[1]}", "sites.tsv"),
        "id": ("rs7", "sites.txt"),
        "number as id": (f"{contig}\t{pos}\t{pos + 40}\t{alleles[0]}\t{alleles[1]}", "sites.txt"),
    }[spelling]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(f"# sites\n{line}\n")
        listed = SiteList.read(Path(folder) / name, "the sites")
    assert listed.holds(asked, pos, "rs7", (first.upper(), second.upper()))
    assert not listed.holds(asked, pos + 1, "rs8", (first, second))
    assert not listed.holds(asked, pos - 1, "rs8", (first, second))
    assert not listed.holds("another", pos, "rs8", (first, second))
    assert listed.holds(asked, pos, "rs8", ("A", "N")) == (spelling in ("bed", ":"))


@given(st.lists(st.integers(-(2**29), 2**29), min_size=1, max_size=8).filter(lambda pos: max(pos) > 0))
def test_negative_positions_of_plink_and_0_are_left_out(pos: list[int]) -> None:
    placed = sorted(at for at in pos if at > 0)
    pos = [at for at in pos if at <= 0] + placed  # those left out may stand anywhere
    matrix = small_panel(3, len(pos), missing=0.0)
    with tempfile.TemporaryDirectory() as folder:
        write_bed(Path(folder) / "a.bed", matrix)
        assert (Path(folder) / "a.bed").read_bytes().startswith(BED_MAGIC)
        lines = (Path(folder) / "a.bim").read_text().splitlines()
        columns = [line.split() for line in lines]
        for row, at in zip(columns, pos, strict=True):
            row[3] = str(at)
        (Path(folder) / "a.bim").write_text("".join("\t".join(row) + "\n" for row in columns))
        with streamed(Path(folder) / "a.bed") as (stream,):
            found = list(stream.records)
    assert [each.pos for each in found] == placed
    assert stream.names == matrix.names
    for number, each in enumerate(found, start=len(pos) - len(placed)):
        np.testing.assert_array_equal(each.calls, matrix.calls[:, number])
