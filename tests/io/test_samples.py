"""The sample table: what is read, what is attached to genotypes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.imputers.testing import small_panel
from snpimpute.io.samples import attach_samples, left_out_of, read_samples


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_reads_and_attaches(tmp_path: Path) -> None:
    path = table(
        tmp_path / "samples.tsv",
        "birth_order\tsample\tfamily\tsex\tgroup",
        "12.5\ts2\t007\tmale\t",
        "\ts0\tNA\tfemale\tJersey",
    )
    labels = read_samples(path)
    assert labels.columns.tolist() == ["sample", "group", "family", "sex", "birth_order"]
    matrix = attach_samples(small_panel(4), labels)
    assert matrix.samples.drop(columns="birth_order").to_numpy().tolist() == [
        ["s0", "Jersey", "NA", "female"],
        ["s1", "", "", ""],
        ["s2", "", "007", "male"],
        ["s3", "", "", ""],
    ]
    np.testing.assert_array_equal(matrix.samples.birth_order, [np.nan, np.nan, 12.5, np.nan])
    assert matrix.samples.birth_order.dtype == float


def test_only_names(tmp_path: Path) -> None:
    labels = read_samples(table(tmp_path / "samples.tsv", "sample", "s1"))
    assert attach_samples(small_panel(3), labels).samples.columns.tolist() == ["sample"]


def test_labels_of_the_file_stay_where_the_table_has_none(tmp_path: Path) -> None:
    panel = small_panel(3)
    had = panel.samples.assign(family=["x", "y", "z"], sex=["male", "", ""])
    matrix = type(panel)(panel.calls, had, panel.sites)
    labels = read_samples(table(tmp_path / "samples.tsv", "sample\tfamily", "s1\tnew"))
    samples = attach_samples(matrix, labels).samples
    assert samples.family.tolist() == ["x", "new", "z"]
    assert samples.sex.tolist() == ["male", "", ""]


def test_rows_of_other_samples_are_counted(tmp_path: Path) -> None:
    """A table of the whole herd: those without genotypes are left out, and said; a table of none of ours is refused."""
    labels = read_samples(table(tmp_path / "samples.tsv", "sample\tsex", "s1\tmale", "ghost\tmale", "wraith\tmale"))
    assert attach_samples(small_panel(3), labels).samples["sex"].tolist() == ["", "male", ""]
    said = left_out_of(labels, small_panel(3).names, "mine.vcf.gz")
    assert said == "the sample table has 2 samples without genotypes in mine.vcf.gz, left out: ghost, wraith"
    assert left_out_of(labels, ["ghost", "s1", "wraith"], "mine.vcf.gz") == ""
    with pytest.raises(
        InputError, match=r"names none of the samples of mine\.vcf\.gz: it has s1, ghost, wraith, .* a, b"
    ):
        left_out_of(labels, ["a", "b"], "mine.vcf.gz")


def test_a_pedigree_is_a_sample_table(tmp_path: Path) -> None:
    labels = read_samples(table(tmp_path / "samples.tsv", "id\tsire\tdam", "s1\t0\ts2", "s2\t.\t"))
    assert labels.to_dict(orient="list") == {"sample": ["s1", "s2"], "sire": ["", ""], "dam": ["s2", ""]}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["sample\tsex", "s1\tmale", "s1\tmale"], "names samples more than once: s1"),
        (["sample\tbirth_order", "s1\t2", "s2\tspring"], "birth_order of sample s2 is 'spring', which is not a number"),
        (["sample\tbirth_order", "s1\tinf"], "birth_order of sample s1 is 'inf'"),
        (["name\tsex", "s1\tmale"], "has no column 'sample'.* name, sex"),
        (["sample,sex", "s1,male"], "has no column 'sample'"),
        (["sample\tbreed", "s1\tJersey"], "unknown columns: breed; known are sample, group"),
        (["sample\tsex", "\tmale"], "row without a sample name: row 1"),
        (
            ["sample\tsex", "s1\tmale", "s2\tmale\t7\t8"],
            "not a tab-separated table: Expected 2 fields in line 3, saw 4",
        ),
        (["sample\tsex", "s1\tmale\t7", "s2\tmale\t8"], "rows have more cells than the header line has names"),
        (
            ["sample\tgroup", 's1\t"A', "s2\tB", 's3\tC"'],
            "a quotation mark that nothing closes: column 'group' of row 1",
        ),
        (["sample\tsex\tsex", "s1\tmale\tmale"], "column"),
    ],
)
def test_refused_tables(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as raised:
        read_samples(table(tmp_path / "samples.tsv", *lines))
    assert "\n" not in str(raised.value)


def test_unreadable_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tsv: No such file"):
        read_samples(tmp_path / "none.tsv")
    for content in (b"", np.random.default_rng(1).bytes(500), b"sample\tsex\ns1\tmale\nx\ty\tz\tmore\n"):
        (tmp_path / "odd.tsv").write_bytes(content)
        with pytest.raises(InputError, match=r"odd\.tsv"):
            read_samples(tmp_path / "odd.tsv")


def test_spreadsheet_habits(tmp_path: Path) -> None:
    """A byte-order mark, Windows line ends, blanks around the cells; a row cut short."""
    (tmp_path / "samples.tsv").write_bytes("\ufeffsample\t sex \r\n s1 \tmale\r\ns2\r\n".encode())
    labels = read_samples(tmp_path / "samples.tsv")
    expected = pd.DataFrame({"sample": ["s1", "s2"], "sex": ["male", ""]})
    pd.testing.assert_frame_equal(labels, expected, check_dtype=False)
