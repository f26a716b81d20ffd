"""A student predicts as its teacher does, needs no trait, and is a model as any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.cli.app import app
from snpimpute.io.write_vcf import write_vcf
from snpimpute.traits.distilled import taught_by
from snpimpute.traits.learned import Learned
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.testing import small_cohort
from tests.traits.data import ld_calls, matrix_of, write_traits


def test_a_student_of_a_linear_teacher_is_as_good_and_never_sees_the_trait():
    cohort = small_cohort(300, 20)
    teacher = Learned(load("gblup")(seed=1).fit(cohort.take_samples(np.arange(100))), "y", {})
    unseen = cohort.take_samples(np.arange(100, 200))
    shuffled = replace(unseen, values=np.random.default_rng(1).permutation(unseen.values))
    students = [load("ridge")(seed=1).fit(taught_by(teacher, known)) for known in (unseen, shuffled)]
    test = cohort.take_samples(np.arange(200, 300)).without_trait()
    said = [student.predict(test) for student in students]
    np.testing.assert_array_equal(said[0], said[1])
    assert np.corrcoef(said[0], teacher.predictor.predict(test))[0, 1] > 0.98


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    """A folder with a model of a trait, `model`, and genotypes of other samples, others.vcf.gz."""
    everyone = matrix_of(ld_calls(200, 40, seed=1))
    panel, others = everyone.take_samples(np.arange(120)), everyone.take_samples(np.arange(120, 200))
    for name, matrix in (("panel", panel), ("others", others)):
        write_vcf(tmp_path / f"{name}.vcf.gz", matrix)
    noise = np.random.default_rng(1).normal(0, 0.3, 120)
    write_traits(tmp_path / "traits.tsv", y=panel.calls[:, 20] * 2.0 + noise)
    fit = ["traits", "fit", str(tmp_path / "panel.vcf.gz"), "--traits", str(tmp_path / "traits.tsv"), "--trait", "y"]
    done = CliRunner().invoke(app, [*fit, "--predictor", "lightgbm", "--threads", "1", "-o", str(tmp_path / "model")])
    assert done.exit_code == 0, done.output
    return tmp_path


def test_distil_by_the_command_line(taught: Path):
    others, small = str(taught / "others.vcf.gz"), str(taught / "small")
    command = ["traits", "distil", str(taught / "model"), others, "--threads", "1", "-o", small]
    done = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["agreement"] > 0.8 and said["parameters"] < said["parameters_of_teacher"] and said["samples"] == 80
    tables = []
    for model in ("model", "small"):
        predict = ["traits", "predict", str(taught / model), others, "-o", str(taught / f"{model}.tsv")]
        CliRunner().invoke(app, predict, catch_exceptions=False)
        tables.append(pd.read_csv(taught / f"{model}.tsv", sep="\t"))
    assert np.corrcoef(tables[0].y, tables[1].y)[0, 1] > 0.9


def test_a_teacher_that_says_nothing_is_refused(taught: Path):
    blank = matrix_of(np.ones((30, 40), dtype=np.int8))
    write_vcf(taught / "alike.vcf.gz", blank)
    command = ["traits", "distil", str(taught / "model"), str(taught / "alike.vcf.gz"), "-o", str(taught / "none")]
    with pytest.raises(InputError, match=r"alike\.vcf\.gz: the teacher predicts the same for all samples"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (taught / "none").exists()
