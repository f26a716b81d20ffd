"""The script of the final comparison: what it counts, and that it scores nothing but the frozen design."""

from __future__ import annotations

import copy
import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.testing import small_panel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def arrays() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arrays", ROOT / "scripts" / "arrays.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def design(arrays: ModuleType) -> dict[str, Any]:
    return tomllib.loads(arrays.DESIGN.read_text())


def test_another_seed_or_parameter_is_not_what_was_frozen(arrays: ModuleType, design: dict[str, Any]) -> None:
    frozen = {**design, "frozen": arrays.digests(design)}
    arrays.require_frozen(frozen, arrays.DESIGN)
    for table, key, value in (("data", "cattle-1", {"seed": 1}), ("rows", "beagle", {"params": {"ne": 1000}})):
        changed = copy.deepcopy(frozen)
        changed[table][key] |= value
        with pytest.raises(SystemExit, match=r"not what was frozen in arrays\.toml: design;"):
            arrays.require_frozen(changed, arrays.DESIGN)
    changed = copy.deepcopy(frozen)
    changed["frozen"]["mosaic"] = "0"
    with pytest.raises(SystemExit, match=r"not what was frozen in arrays\.toml: mosaic;"):
        arrays.require_frozen(changed, arrays.DESIGN)


def test_hidden_calls_are_counted_by_block_and_truth(arrays: ModuleType) -> None:
    truth = small_panel(6, n_sites=8, missing=0.0)
    sites = truth.sites.assign(contig=["1"] * 5 + ["2"] * 3)
    truth = GenotypeMatrix(truth.calls, truth.samples, sites)
    typed = np.array([0, 3, 6])
    target = truth.take_sites(typed).hide(
        np.arange(18).reshape(6, 3) == 4
    )  # one call of a typed site: sample 1, site 3
    wrong = truth.calls.copy()
    wrong[2, 1] = (wrong[2, 1] + 1) % 3
    wrong[0, 0] = (wrong[0, 0] + 1) % 3  # typed: not counted
    found = arrays.counted(truth, target, GenotypeMatrix(wrong, truth.samples, sites))["all"]
    assert found.shape == (6, 2, 3, 3)
    assert found.sum() == 6 * 5 + 1 and found[1].sum() == 6
    assert found[:, 0].sum() == 6 * 3 + 1 and found[:, 1].sum() == 6 * 2
    assert arrays.wrong_of(found).sum() == 1 and arrays.wrong_of(found)[2, 0] == 1
    assert found[2, 0, truth.calls[2, 1], wrong[2, 1]] == 1


def test_the_interval_of_the_lead_is_of_paired_draws(arrays: ModuleType) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(5, 20, (40, 6, 3, 3)) + 60 * np.eye(3, dtype=int)
    alike = arrays.compared([{"all": counts}], [{"all": counts}])
    assert alike == {"ahead_low": 0, "ahead_high": 0, "ratio_low": 1, "ratio_high": 1}
    worse = counts.copy()
    worse[..., 0, 1] += 10
    found = arrays.compared([{"all": counts}], [{"all": worse}])
    assert found["ahead_low"] > 0 and found["ratio_high"] < 1
    assert arrays.judged(found["ahead_low"], found["ahead_high"]) == "ahead"
    assert [arrays.judged(*pair) for pair in ((-0.001, 0.003), (-0.003, 0.001), (-0.004, -0.001), (-0.0015, -0.0001))] == [
        "no worse", "undecided", "behind", "behind by less than 0.002",
    ]  # fmt: skip


def test_rows_of_an_earlier_run_stay_where_their_group_is_not_made_anew(
    arrays: ModuleType, design: dict[str, Any]
) -> None:
    kept = pd.DataFrame({"group": ["people", "cattle"], "target": "array-10", "row": "mosaic", "wrong": [5, 7]})
    new = pd.DataFrame({"group": ["cattle"] * 2, "target": "array-10", "row": ["mosaic", "beagle"], "wrong": [6, 8]})
    table = arrays.kept_and_new(kept, new)
    assert table[["group", "row", "wrong"]].values.tolist() == [
        ["people", "mosaic", 5], ["cattle", "mosaic", 6], ["cattle", "beagle", 8],
    ]  # fmt: skip
    lacking = arrays.unfinished(design, table)
    assert "`alphaimpute2` on `cattle-1`" in lacking
    assert "`beagle` on `cattle-1` (array-5, array-20, missing-5)" in lacking
    more = table.assign(row="alphaimpute2")
    assert "`alphaimpute2` on `cattle-1`" not in arrays.unfinished(design, more)
