"""Studies of the networks: the committed table is what the committed journals hold, and the text says what the table does."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "network_studies.py"))
TABLE = pd.read_csv(ROOT / "docs" / "results" / "networks.csv")


def test_the_table_is_what_the_journals_hold() -> None:
    made = pd.DataFrame([SCRIPT["_row"](journal) for journal in sorted(SCRIPT["JOURNALS"].glob("*.journal.gz"))])
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
