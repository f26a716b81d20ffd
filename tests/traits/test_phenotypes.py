"""Trait tables: what is read, matched and coded, and every table that is refused, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.traits.phenotypes import Trait, read_traits, trait_of

GENOTYPED = [f"s{i}" for i in range(8)]
ROWS = [
    "sample\tyield\tcase\tage\tbreed\ttwice\tconstant",
    "s3\t1.5\t1\t4\tA\t8\t1",
    "s0\t2.5\t2\t3\tB\t6\t1",
    "s1\tNA\t1\t2\tC\t4\t1",
    "s2\t0.5\t2\t7\tA\t14\t1",
    "s4\t3\t1\t1\tB\t2\t1",
    "s5\t2\t1\t9\tC\t18\t1",
    "s6\t1\t2\t5\tA\t10\t1",
    "ghost\t1\t2\t5\tA\t10\t1",
]


def table(path: Path, lines: list[str] = ROWS) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def trait(tmp_path: Path, name: str, lines: list[str] = ROWS, **options) -> Trait:
    path = table(tmp_path / "t.tsv", lines)
    return trait_of(read_traits(path), name, GENOTYPED, source="t.tsv", genotypes="g.vcf.gz", **options)


def test_a_trait_is_matched_in_the_order_of_the_genotypes_and_every_sample_left_out_is_counted(tmp_path: Path):
    found = trait(tmp_path, "yield", covariates=["age"])
    assert found.samples == ["s0", "s2", "s3", "s4", "s5", "s6"] and not found.binary
    np.testing.assert_array_equal(found.rows, [0, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(found.values, [2.5, 0.5, 1.5, 3, 2, 1])
    np.testing.assert_array_equal(found.covariates[:, 0], [3, 7, 4, 1, 9, 5])
    assert found.notes == (
        "t.tsv has 1 sample without genotypes in g.vcf.gz, left out: ghost",
        "g.vcf.gz has 1 sample that t.tsv does not name, left out",
        "1 sample left out, of unknown yield or covariates",
    )


def test_a_binary_trait_says_what_it_takes_for_a_case(tmp_path: Path):
    found = trait(tmp_path, "case")
    assert found.binary
    np.testing.assert_array_equal(found.values, [1, 0, 1, 0, 0, 0, 1])
    assert found.notes[-1] == "case is binary, coded 1/2: 2 is taken for a case (3 cases, 4 controls)"
    zero_one = [line.replace("\t1\t", "\t0\t", 1).replace("\t2\t", "\t1\t", 1) for line in ROWS[:1]]
    lines = zero_one + [f"s{i}\t{i}\t{i % 2}" for i in range(6)]
    assert "coded 0/1: 1 is taken for a case" in trait(tmp_path, "case", ["sample\tyield\tcase", *lines[1:]]).notes[-1]


def test_a_covariate_in_words_becomes_a_column_per_word_but_the_first(tmp_path: Path):
    found = trait(tmp_path, "case", covariates=["breed", "age"])
    assert found.covariate_names == ("breed=B", "breed=C", "age")
    np.testing.assert_array_equal(found.covariates[:, 0], [1, 0, 0, 0, 1, 0, 0])


def test_residuals_are_what_the_covariates_leave(tmp_path: Path):
    found = trait(tmp_path, "yield", covariates=["age"])
    slope, constant = np.polyfit(found.covariates[:, 0], found.values, 1)
    np.testing.assert_allclose(found.residuals(), found.values - constant - slope * found.covariates[:, 0], atol=1e-12)


def test_tables_of_plink_and_of_spreadsheets_are_read(tmp_path: Path):
    plink = table(tmp_path / "p.txt", ["#FID\tIID\tyield", "f\ts0\t-9", "f\ts1\t2"])
    assert read_traits(plink).to_dict("list") == {"sample": ["s0", "s1"], "yield": ["", "2"]}
    commas = table(tmp_path / "t.csv", ['"line","other id","yield"', '"x","s0",1.5', '"y","s1",NA'])
    assert read_traits(commas, "other id").to_dict("list") == {
        "line": ["x", "y"],
        "sample": ["s0", "s1"],
        "yield": ["1.5", ""],
    }
    assert read_traits(table(tmp_path / "m.tsv", ["id\ty", "s0\t-9"])).y.tolist() == ["-9"]


REFUSED = {
    "has no column 'yeild': it has yield, case": ("yeild", {}),
    "has no column 'weight'": ("yield", {"covariates": ["weight"]}),
    "breed of sample s0 is 'B', which is not a number": ("breed", {}),
    "constant is 1 in all 7 samples that have genotypes in g.vcf.gz: a trait must vary": ("constant", {}),
    "covariate constant is the same in all samples": ("yield", {"covariates": ["constant"]}),
    "covariate twice follows from the others": ("yield", {"covariates": ["age", "twice"]}),
    "yield is the trait, and cannot be a covariate too": ("yield", {"covariates": ["yield"]}),
    "6 samples and 4 covariates: too few samples, at least 7 are needed": (
        "yield",
        {"covariates": ["age", "breed", "case"]},
    ),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_refused_says_why(tmp_path: Path, said: str):
    name, options = REFUSED[said]
    with pytest.raises(InputError) as error:
        trait(tmp_path, name, **options)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_tables_that_do_not_fit_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"t.tsv and g.vcf.gz have no sample in common: they have a, b and s0, s1"):
        trait(tmp_path, "y", ["sample\ty", "a\t1", "b\t2"])
    with pytest.raises(InputError, match=r"has no column 'sample' of sample names"):
        read_traits(table(tmp_path / "t.tsv", ["name\ty", "a\t1"]))
    with pytest.raises(InputError, match=r"names samples more than once: a"):
        read_traits(table(tmp_path / "t.tsv", ["sample\ty", "a\t1", "a\t2"]))
    with pytest.raises(InputError, match=r"cannot read"):
        read_traits(tmp_path / "absent.tsv")
    found = trait(tmp_path, "yield", covariates=["age"])
    with pytest.raises(InputError, match=r"trait yield with components: covariate PC1 follows"):
        found.with_covariates(found.covariates * 2 + 1, ["PC1"], "components")
