"""Regions cut out of the data: disjoint, linked as asked, each a contig of its own; samples drawn by the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.regions import cut_regions
from snpimpute.dataset.settings import DataSettings, RegionSettings, ScenarioSettings
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.testing import small_panel


def two_contigs() -> GenotypeMatrix:
    matrix = small_panel(100, 80, missing=0.02)
    return replace(matrix, sites=matrix.sites.assign(contig=["7"] * 37 + ["X"] * 43))


def test_regions_are_neighbours_of_one_contig_and_share_nothing() -> None:
    matrix = two_contigs()
    table = cut_regions(matrix, sites=3, count=20, min_r2=None, seed=1)
    assert len(table) == 60 and table.index.is_unique
    for number, (contig, region) in enumerate(table.groupby("contig", sort=False), start=1):
        assert np.diff(region.index).tolist() == [1, 1]
        assert set(matrix.sites["contig"].iloc[region.index]) == {contig.split(".")[0]}
        assert contig.endswith(f".{number:04d}")
    assert table["pos"].tolist() == matrix.sites["pos"].iloc[table.index].tolist()
    assert table.equals(cut_regions(matrix, sites=3, count=20, min_r2=None, seed=1))
    assert not table.index.equals(cut_regions(matrix, sites=3, count=20, min_r2=None, seed=2).index)


def test_all_regions_there_are_can_be_had_and_no_more() -> None:
    matrix = two_contigs()  # 37 sites hold twelve regions of three, 43 hold fourteen
    assert len(cut_regions(matrix, sites=3, count=26, min_r2=None, seed=1)) == 78
    with pytest.raises(InputError, match="hold 26 regions of 3 sites, and 27 are wanted"):
        cut_regions(matrix, sites=3, count=27, min_r2=None, seed=1)


def test_neighbours_in_a_region_are_linked() -> None:
    matrix = two_contigs()
    calls = matrix.calls.copy()
    unlike = np.random.default_rng(1).random(calls[:, 1:].shape) < np.tile([0.05, 0.05, 0.9], 27)[:79]
    for site in range(1, 80):
        calls[:, site] = np.where(unlike[:, site - 1], calls[:, site], calls[:, site - 1])
    matrix = replace(matrix, calls=calls)
    r2 = matrix.r2_to_next()
    x, y = matrix.calls[:, 4], matrix.calls[:, 5]
    both = (x >= 0) & (y >= 0)
    assert r2[4] == pytest.approx(np.corrcoef(x[both], y[both])[0, 1] ** 2)
    assert np.isnan(r2[36]) and np.isfinite(np.delete(r2, 36)).all()
    table = cut_regions(matrix, sites=3, count=4, min_r2=0.3, seed=1)
    starts = table.index[::3]
    assert (r2[starts] > 0.3).all() and (r2[starts + 1] > 0.3).all()
    with pytest.raises(InputError, match=r"regions of 3 sites with r² above 0\.999 between neighbours"):
        cut_regions(matrix, sites=3, count=4, min_r2=0.999, seed=1)


def test_a_dataset_of_regions_and_of_some_samples() -> None:
    data = DataSettings(
        simulation={"n_samples": 120, "n_sites": 60},
        max_samples=80,
        regions=RegionSettings(sites=3, count=10),
        scenarios=ScenarioSettings(levels=(5, 60), repeats=2, mechanisms=("entries",), max_missing=2),
    )
    made = build_dataset("short", data, seed=1, headline_level=5)
    assert made.train.n_samples + made.test.n_samples == 80
    assert made.train.sites.contig.nunique() == 10 and made.train.n_sites == 30
    assert made.true_test is not None and made.true_test.sites.equals(made.test.sites)
    assert (made.true_test.calls == made.test.calls).mean() > 0.9
    counts = made.left_out.set_index("reason")["n"]
    assert (counts["outside the regions"], counts["kept"]) == (30, 30) and made.left_out["reason"].iloc[-1] == "kept"
    for scenario in made.test_scenarios():
        lacking = (made.test.hide(scenario.hidden).calls < 0).reshape(made.test.n_samples, 10, 3).sum(axis=2)
        assert lacking.max() <= 2
    other = build_dataset("short", data, seed=2, headline_level=5)
    assert set(other.train.names + other.test.names) != set(made.train.names + made.test.names)
