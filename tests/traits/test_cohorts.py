"""Genotypes for predictors: the fields that they come from, tables of markers, other files' sites, and folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.traits.cohorts import read_genotypes
from snpimpute.traits.folds import folds_of

HEADER = """##fileformat=VCFv4.2
##contig=<ID=1>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DS,Number=A,Type=Float,Description="Dosage">
##FORMAT=<ID=GP,Number=G,Type=Float,Description="Posterior">
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO	FORMAT	a	b	c
"""


def write(path: Path, *records: str) -> Path:
    path.write_text(HEADER + "".join(f"{record}\n" for record in records))
    return path


def test_gp_then_ds_then_gt(tmp_path):
    path = write(
        tmp_path / "x.vcf",
        "1\t10\tone\tA\tC\t.\t.\t.\tGT:DS:GP\t0/1:0.9:0.2,0.7,0.1\t0/0:0.25:.\t1/1:.:.",
        "1\t20\ttwo\tA\tC\t.\t.\t.\tGT:DS\t0/1:1.4\t0/0:.\t./.:.",
        "1\t30\tthree\tA\tC\t.\t.\t.\tGT\t0/1\t0/0\t./.",
    )
    read = read_genotypes(path)
    nothing = [np.nan] * 3
    expected = [
        [[0.2, 0.7, 0.1], [0.75, 0.25, 0], [0, 0, 1]],
        [[0, 0.6, 0.4], [1, 0, 0], nothing],
        [[0, 1, 0], [1, 0, 0], nothing],
    ]
    np.testing.assert_allclose(read.posterior, np.array(expected).transpose(1, 0, 2), atol=1e-6)
    assert read.fields == "DS, GP, GT" and read.samples == ["a", "b", "c"]


def test_a_table_of_markers_is_numbered(tmp_path):
    path = tmp_path / "markers.tsv.gz"
    pd.DataFrame({"id": ["a", "b"], "m1": [0, 1], "m2": ["NA", 2]}).to_csv(path, sep="\t", index=False)
    read = read_genotypes(path)
    np.testing.assert_array_equal(read.posterior[:, 0], [[1, 0, 0], [0, 1, 0]])
    assert np.isnan(read.posterior[0, 1]).all() and read.sites.id.tolist() == ["m1", "m2"]
    assert read.sites.pos.tolist() == [1, 2]


@pytest.mark.parametrize("cell", ["3", "-1", "AA"])
def test_a_marker_that_is_no_number_of_alleles_is_refused(tmp_path, cell):
    path = tmp_path / "markers.csv"
    path.write_text(f"sample,m1\na,0\nb,{cell}\n")
    with pytest.raises(InputError, match=f"marker m1 of sample b is '{cell}'"):
        read_genotypes(path)


def test_other_files_are_read_at_the_sites_that_were_learned_from(tmp_path):
    """Exchanged alleles are turned, absent sites are unknown, contigs may be spelled otherwise."""
    path = write(
        tmp_path / "x.vcf", "1\t10\t.\tC\tA\t.\t.\t.\tGT\t0/0\t0/1\t1/1", "1\t20\t.\tG\tT\t.\t.\t.\tGT\t0/0\t0/1\t1/1"
    )
    sites = pd.DataFrame(
        {"contig": ["chr1"] * 3, "pos": [10, 20, 30], "id": "", "ref": ["A", "G", "A"], "alt": ["C", "T", "C"]}
    )
    read = read_genotypes(path).at_sites(sites)
    np.testing.assert_array_equal(read.posterior[:, 0, 2], [1, 0, 0])
    np.testing.assert_array_equal(read.posterior[:, 1, 2], [0, 0, 1])
    assert np.isnan(read.posterior[:, 2]).all() and "lacks 1 site of 3" in read.notes[-1]
    with pytest.raises(InputError, match="none of the 1 site"):
        read_genotypes(path).at_sites(sites[2:])


def samples(**columns) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"sample": [f"s{i}" for i in range(n)], **columns})


def test_random_folds_hold_each_sample_once_per_repeat():
    folds = folds_of(samples(x=[0] * 23), "random", 5, 2, seed=1)
    assert len(folds) == 10 and {len(fold.test) for fold in folds} == {4, 5}
    for repeat in (folds[:5], folds[5:]):
        assert sorted(np.concatenate([fold.test for fold in repeat])) == list(range(23))
    assert all(not set(fold.train) & set(fold.test) for fold in folds)
    assert any(set(a.test) != set(b.test) for a, b in zip(folds[:5], folds[5:], strict=True))


def test_families_are_never_cut():
    family = ["a", "a", "b", "b", "b", "c", "", "", "d", "d"]
    for fold in folds_of(samples(family=family), "family", 3, 1, seed=2):
        named = [{family[i] for i in side} - {""} for side in (fold.train, fold.test)]
        assert not named[0] & named[1]


def test_environments_are_left_out_one_by_one():
    folds = folds_of(samples(environment=["x", "y", "x", "z"]), "environment", 5, 1, seed=1)
    assert [fold.test.tolist() for fold in folds] == [[0, 2], [1], [3]]


def test_the_youngest_are_predicted_from_those_before_them():
    born = ["3", "1", "2", "4", "2", "6", "5", "6", "1"]
    folds = folds_of(samples(birth_order=born), "youngest", 2, 1, seed=1)
    for fold in folds:
        assert max(int(born[i]) for i in fold.train) < min(int(born[i]) for i in fold.test)
    assert {born[i] for i in folds[-1].test} >= {"6"}


@pytest.mark.parametrize(
    ("table", "scheme", "said"),
    [
        ({"x": [0] * 9}, "family", "needs the column 'family'"),
        ({"x": [0] * 9}, "sideways", "unknown scheme"),
        ({"x": [0] * 3}, "random", "5 folds"),
        ({"birth_order": ["1"] * 9}, "youngest", "too few values"),
        ({"birth_order": ["1", "old"] * 5}, "youngest", "not a number"),
        ({"environment": ["x"] * 9}, "environment", "at least two values"),
    ],
)
def test_folds_that_cannot_be_made_are_refused(table, scheme, said):
    with pytest.raises(InputError, match=said):
        folds_of(samples(**table), scheme, 5, 1, seed=1)
