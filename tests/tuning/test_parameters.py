"""Parameter files: plain tables, and results of studies, which keep the parameters in a table of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from snpimpute.base.errors import InputError
from snpimpute.tuning.parameters import given_params, write_params


def test_the_parameters_of_a_study_are_its_table_params(tmp_path: Path) -> None:
    plain, study = {"ne": 1000.0, "map": None}, {"params": {"ne": 2000.0}, "refit_params": {"ne": 3000.0}, "value": 0.9}
    write_params(tmp_path / "plain.toml", plain, {"made": "by hand"})
    write_params(tmp_path / "study.toml", study, {})
    assert given_params(tmp_path / "plain.toml") == {"ne": 1000.0}
    assert given_params(tmp_path / "study.toml") == {"ne": 2000.0}
    assert (tmp_path / "plain.toml").read_text().startswith("# made: by hand")


def test_no_file_and_no_toml_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("ne = = 3")
    for name, reason in (("bad.toml", "are not TOML"), ("nowhere.toml", "cannot read the parameters")):
        with pytest.raises(InputError, match=reason):
            given_params(tmp_path / name)
