"""Builds told by contig lengths, and contig names without their fashion."""

from __future__ import annotations

import pytest

from snpimpute.io.builds import LENGTHS, build_of, plain_contig


@pytest.mark.parametrize(
    ("name", "plain"),
    [("chr1", "1"), ("Chr12", "12"), ("X", "X"), ("chrM", "MT"), ("MT", "MT"), ("chr", "CHR"), ("c", "C")],
)
def test_plain_names(name, plain):
    assert plain_contig(name) == plain


def test_each_build_is_told_by_any_of_its_chromosomes():
    for build, lengths in LENGTHS.items():
        for i, length in enumerate(lengths[:-1]):
            assert build_of({f"chr{i + 1}": length, "unplaced": 7}) == build
        assert build_of({"X": lengths[-1]}) == build
    assert len({length for lengths in LENGTHS.values() for length in lengths}) == sum(map(len, LENGTHS.values()))


def test_no_build_or_several():
    assert build_of({}) == build_of({"1": 5_000_000}) == ""
    assert build_of({"2": LENGTHS["GRCh37"][0]}) == ""
    assert build_of({"1": LENGTHS["GRCh37"][0], "2": LENGTHS["GRCh38"][1]}) == ""
