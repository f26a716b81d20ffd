"""Differences over several datasets: their value, and how far shared and separate samples narrow the interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.dataset.splits import unit_names
from snpimpute.scoring.pooling import Counted, confusions, pooled_difference
from snpimpute.scoring.table import score_table
from tests.scoring.test_table import noisy


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    data = DataSettings(
        simulation={"n_samples": 300, "n_sites": 60},
        scenarios=ScenarioSettings(levels=(60,), repeats=3, mechanisms=("independent",)),
    )
    return build_dataset("calves", data, seed=1, headline_level=60)


def counted(dataset: PreparedDataset, rare_minor: bool = False) -> Counted:
    first, second = (
        confusions(dataset, noisy(dataset, "", right, seed), "independent", 60.0, rare_minor)
        for right, seed in ((0.9, 1), (0.85, 2))
    )
    return Counted(unit_names(dataset.test.samples, "family"), first, second)


def width(parts: list[Counted]) -> float:
    found = pooled_difference(parts, n_resamples=2000)
    return found.high - found.low


@pytest.mark.parametrize(
    ("subset", "metric", "genotype"), [("all", "f1_macro", None), ("rare_minor", "f1_1", 1), ("all", "f1_2", 2)]
)
def test_of_one_dataset_it_is_the_difference_of_the_table(
    dataset: PreparedDataset, subset: str, metric: str, genotype: int | None
) -> None:
    results = [noisy(dataset, "good", 0.9, 1), noisy(dataset, "worse", 0.85, 2)]
    table = score_table(dataset, results, n_resamples=2000, seed=5)
    rows = table[(table["repeat"] == "all") & (table["subset"] == subset) & (table["metric"] == metric)]
    scores = rows[rows["versus"] == ""].set_index("variant")["value"]
    found = pooled_difference([counted(dataset, subset == "rare_minor")], genotype, n_resamples=2000)
    assert found.value == pytest.approx(scores["good"] - scores["worse"], abs=1e-9)
    differences = rows[(rows["variant"] == "worse") & (rows["versus"] == "noisy/good")]
    if len(differences):  # the table has none of F1 of genotype 2
        row = differences.iloc[0]
        assert (found.low, found.high) == pytest.approx(
            (-row["high"], -row["low"]), abs=0.15 * (row["high"] - row["low"])
        )


def test_of_two_datasets_it_is_the_mean_difference() -> None:
    """Two calls of each genotype: all right in one, F1 of (2/3, 0, 1) where those of 1 are called 0; no difference beside."""
    right, wrong = np.diag([2, 2, 2])[None, None], np.array([[2, 0, 0], [2, 0, 0], [0, 0, 2]])[None, None]
    unlike, alike = Counted(np.array(["a"]), right, wrong), Counted(np.array(["b"]), right, right)
    for genotype, difference in ((None, 4 / 9), (0, 1 / 3), (1, 1.0), (2, 0.0)):
        assert pooled_difference([unlike], genotype, 10) == pytest.approx([difference] * 3)
        assert pooled_difference([unlike, alike], genotype, 10).value == pytest.approx(difference / 2)


def test_the_same_samples_again_tell_less_than_new_ones(dataset: PreparedDataset) -> None:
    one = counted(dataset)
    sole_mask = replace(one, first=one.first[:, :1], second=one.second[:, :1])
    again = [sole_mask] * 4
    others = [replace(sole_mask, units=np.char.add(sole_mask.units.astype(str), f" {i}")) for i in range(4)]
    assert width(again) == pytest.approx(width([sole_mask]), rel=0.05)
    assert width(others) == pytest.approx(width([sole_mask]) / 2, rel=0.15)


def test_families_are_resampled_as_one(dataset: PreparedDataset) -> None:
    one = counted(dataset)
    doubled = Counted(
        np.concatenate([one.units, one.units]), np.concatenate([one.first] * 2), np.concatenate([one.second] * 2)
    )
    assert width([doubled]) == pytest.approx(width([one]), rel=0.05)


def test_names_of_units_are_families_where_they_are_known(dataset: PreparedDataset) -> None:
    bare = dataset.test.samples.drop(columns="family", errors="ignore")
    families = np.where(np.arange(len(bare)) < 4, "12", "")
    names = unit_names(bare.assign(family=families), "family")
    assert set(names[:4]) == {"family 12"}
    assert names[4:].tolist() == bare["sample"][4:].tolist()
    assert unit_names(bare, "family").tolist() == bare["sample"].tolist()
