"""Studies of the networks: the committed table is what the committed journals hold, and the text says what the table does."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "network_studies.py"))
TABLE = pd.read_csv(ROOT / "docs" / "results" / "networks.csv")


def test_the_table_is_what_the_journals_hold() -> None:
    made = SCRIPT["studies"]()
    pd.testing.assert_frame_equal(made, TABLE, check_dtype=False)
    page = (ROOT / "docs" / "results" / "networks.md").read_text()
    assert page == SCRIPT["ABOVE"] + "\n" + SCRIPT["_markdown"](made) + "\n"


def test_the_text_says_what_the_table_does() -> None:
    rows = TABLE.set_index(["imputer", "dataset"])
    gain = rows["best"] - rows["default"]
    assert round(gain["bert", "cattle-chr1"], 2) == 0.18
    assert round(gain["bert", "bulls"], 2) == 0.03
    assert round(gain["bert", "kg15-500"], 3) == 0.014
    assert [round(gain["cae"].min(), 2), round(gain["cae"].max(), 2)] == [0.11, 0.14]
    assert [round(gain["dense"].min(), 2), round(gain["dense"].max(), 2)] == [0.04, 0.10]
    assert (rows["best"]["bert"] > rows["best"]["cae"]).all()
    assert round(rows["best"]["dense", "cattle-chr1"] - rows["best"]["bert", "cattle-chr1"], 2) == 0
    assert round(rows["best"]["bert", "kg15-500"] - rows["best"]["dense", "kg15-500"], 2) == 0.06
    assert rows["trials"]["bert"].min() >= 20 and rows["trials"].min() == 19


def test_the_page_on_training_is_what_its_table_holds() -> None:
    training = runpy.run_path(str(ROOT / "scripts" / "network_training.py"))
    table = pd.read_csv(training["RESULTS"] / "network-training.csv")
    assert (training["RESULTS"] / "network-training.md").read_text() == training["page"](table)
    scores = table[table["metric"] == "f1_macro"].set_index(["row", "mechanism", "level"])["value"].sort_index()
    ahead = table[table["metric"] == "f1_macro to random"]
    assert (
        len(ahead) >= 6 * 2 * 6 and (ahead["low"] <= ahead["value"]).all() and (ahead["value"] <= ahead["high"]).all()
    )
    for row, mechanism, level, value in ahead[["row", "mechanism", "level", "value"]].itertuples(index=False):
        own, usual = (scores[name, mechanism] for name in (row, f"{row.split('/')[0]}/random"))
        lead = own - usual
        assert abs(value - (lead.mean() if pd.isna(level) else lead[level])) < 2e-5, (row, mechanism, level)


def test_the_page_on_five_simulations_is_what_its_table_holds() -> None:
    seeds = runpy.run_path(str(ROOT / "scripts" / "bulls_seeds.py"))
    table = pd.read_csv(seeds["RESULTS"] / "bulls-seeds.csv")
    assert (seeds["RESULTS"] / "bulls-seeds.md").read_text() == seeds["page"](table)
    scores = table[(table["metric"] == "f1_macro") & table["versus"].isna()].set_index(["dataset", "level", "row"])[
        "value"
    ]
    ahead = table[table["versus"].notna()].set_index(["dataset", "level", "versus"])
    names = scores.index.unique("dataset")
    assert len(names) == 5 and (ahead["low"] <= ahead["value"]).all() and (ahead["value"] <= ahead["high"]).all()
    for (name, level, versus), value in ahead["value"].items():
        if name != "all":
            assert abs(value - (scores[name, level, "mosaic/default"] - scores[name, level, versus])) < 2e-5
        else:
            assert abs(value - ahead["value"].loc[[(one, level, versus) for one in names]].mean()) < 2e-5
