"""The page on evidence: it is what its template and the committed tables make, and ten of its numbers are recomputed here."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

from snpimpute.experiment.kept import model_folders

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
EVIDENCE = runpy.run_path(str(ROOT / "scripts" / "evidence.py"))
RACE = runpy.run_path(str(ROOT / "scripts" / "race.py"))
PAGE = re.sub(r"\s+", " ", (ROOT / "docs" / "evidence.md").read_text())


def test_the_page_is_what_template_and_tables_make() -> None:
    assert (ROOT / "docs" / "evidence.md").read_text() == EVIDENCE["page"]()


def test_the_tables_of_the_race_are_those_of_its_scores() -> None:
    assert (RESULTS / "race.md").read_text() == RACE["page"](RACE["read_table"](RESULTS / "race.csv"))


def in_race(dataset: str, row: str, versus: str | None = None, level: int = 60, metric: str = "f1_macro") -> pd.Series:
    """The only row of the table with independent masks that is meant, read without the script."""
    table = pd.read_csv(RESULTS / "race.csv")
    rows = table[(table.dataset == dataset) & (table.row == row) & (table.level == level) & (table.metric == metric)]
    rows = rows[(rows.mechanism == "independent") & (rows.versus.isna() if versus is None else rows.versus == versus)]
    assert len(rows) == 1
    return rows.iloc[0]


def plain(value: float) -> str:
    return f"{value:.3f}".removeprefix("0").replace("-0", "−")


def signed(value: float) -> str:
    return ("+" if value >= 0 else "−") + f"{abs(value):.3f}".removeprefix("0")


@pytest.mark.parametrize("dataset", ["cattle-chr1", "kg15-500"])
def test_what_tuning_is_worth_to_beagle(dataset: str) -> None:
    before, after = (in_race(dataset, row).value for row in ("beagle/default", "beagle/tuned"))
    ahead = in_race(dataset, "beagle/tuned", "beagle/default")
    assert ahead.value == pytest.approx(after - before, abs=2e-5)
    said = f"{plain(before)} to {plain(after)} ({signed(ahead.value)} ({signed(ahead.low)} to {signed(ahead.high)}))"
    assert said in PAGE


@pytest.mark.parametrize("row", ["bert/random", "dense/random", "dense_emb/random", "cae/random"])
def test_networks_beside_tuned_beagle(row: str) -> None:
    cells = []
    for dataset in ("kg15-500", "cattle-chr1"):
        ahead = in_race(dataset, row, "beagle/tuned")
        assert ahead.value == pytest.approx(
            in_race(dataset, row).value - in_race(dataset, "beagle/tuned").value, abs=2e-5
        )
        assert ahead.low < ahead.value < ahead.high < 0, "the answer says: not one that was tuned"
        cells.append(f"{signed(ahead.value)} ({signed(ahead.low)} to {signed(ahead.high)})")
    bulls = in_race("bulls", row, "beagle/tuned")
    cells.append(f"{signed(bulls.value)} ({signed(bulls.low)} to {signed(bulls.high)})")
    assert f"| {' | '.join(cells)} |" in PAGE
    assert bulls.high < 0, "the answer says: nor on the simulated bulls"


def test_bert_at_rare_sites_is_behind_tuned_beagle() -> None:
    table = pd.read_csv(RESULTS / "race.csv")
    for dataset in ("kg15-500", "cattle-chr1"):
        rows = table[(table.dataset == dataset) & (table.row == "bert/random") & (table.subset == "rare_minor")]
        rows = rows[(rows.level == 60) & (rows.mechanism == "independent") & (rows.versus == "beagle/tuned")]
        (value,) = rows["value"]
        assert value < 0 and (f"BERT {signed(value)}" in PAGE or f"on cattle {signed(value)}" in PAGE)


def test_other_seeds_differ_by_little_but_of_one_network() -> None:
    table = pd.read_csv(RESULTS / "race.csv")
    table = table[(table.mechanism == "independent") & (table.level == 60) & table.metric.str.startswith("f1_macro")]
    table = table[(table.subset == "all") & table.versus.isna()]
    values = table.pivot_table(index=["dataset", "row"], columns="metric", values="value").dropna()
    assert len(values) == 6 and values.shape[1] == 3
    spread = values.max(axis=1) - values.min(axis=1)
    assert {row for _, row in spread[spread > 0.005].index} == {"dense_emb/random"}
    for species, dataset in (("cattle", "cattle-chr1"), ("human", "kg15-500")):
        first, second, third = (plain(value) for value in values.loc[(dataset, "dense_emb/random")])
        assert f"{species}: {first}, {second} and {third}" in PAGE


def test_studies_and_arrays() -> None:
    networks = pd.read_csv(RESULTS / "networks.csv").set_index(["dataset", "imputer"])
    bert = networks.loc["cattle-chr1", "bert"]
    assert f"BERT goes from {plain(bert.default)} to {plain(bert.best)} on cattle" in PAGE
    arrays = pd.read_csv(RESULTS / "arrays.csv").set_index(["group", "target", "row"])
    own, other = (arrays.loc["cattle", "array-10", row] for row in ("mosaic", "beagle-tuned"))
    less = 100 * (1 - own.wrong / other.wrong)
    assert (
        f"{less:.0f}% ({100 * (1 - other.ratio_high):.0f} to {100 * (1 - other.ratio_low):.0f}%) fewer wrong calls"
        in PAGE
    )
    assert f"({own.wrong:,.0f} and {other.wrong:,.0f})" in PAGE
    rates = pd.read_csv(RESULTS / "arrays-rates.csv").set_index(["group", "target", "row"]).loc["europeans"]
    for target in ("array-2", "array-5", "array-10"):
        own, other = (rates.loc[target, row] for row in ("mosaic", "beagle-tuned"))
        assert f"({own.wrong:,.0f} and {other.wrong:,.0f})" in PAGE
        assert (other.ratio_high < 1) == (target == "array-2"), "not told apart from tuned Beagle at 5 and 10%"
        assert rates.loc[(target, "beagle")].ratio_high < 1
    readme = (ROOT / "README.md").read_text()
    assert "On simulated bulls +.003 beside tuned Beagle at 60% (on five more +.004, at 90% −.004)" in readme
    ahead = {level: in_race("bulls", "mosaic/default", "beagle/tuned", level=level) for level in (30, 60, 90)}
    assert ahead[60].low > 0 and signed(ahead[60].value) == "+.003"
    assert all(ahead[level].low < 0 < ahead[level].high for level in (30, 90))
    five = [EVIDENCE["five_bulls"]("beagle/bulls", level) for level in (60, 90)]
    assert [signed(found.value) for found in five] == ["+.004", "−.004"]
    assert five[0].low > 0 > five[1].high
    own, better, tuned = (rates.loc["array-2", row].wrong for row in ("mosaic", "beagle", "beagle-tuned"))
    assert better < tuned
    assert (
        f"{100 * (1 - own / better):.0f}% fewer than the better Beagle at 2% typed; at 5 and 10% not told apart"
        in readme
    )


def test_differences_in_the_race_are_those_of_its_scores(smoke_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the smoke experiment: two ways from the same posteriors, and an interval that holds the value."""
    monkeypatch.setitem(RACE["measured"].__globals__, "OPPONENTS", ("beagle/default",))
    runs = smoke_project / "my runs"
    scored = RACE["widest"](runs, "calves")
    made = RACE["measured"](runs, "calves", scored, model_folders(runs, "calves", scored.models))
    made = made[(made["subset"] == "all") & (made["metric"] == "f1_macro")]
    own = made[made["versus"] == ""].set_index(["mechanism", "level", "row"])["value"]
    ahead = made[made["versus"] == "beagle/default"]
    assert len(own) == 6 * 14 and len(ahead) == 6 * 13
    for mechanism, level, row, value, low, high in ahead[["mechanism", "level", "row", "value", "low", "high"]].values:
        assert value == pytest.approx(own[mechanism, level, row] - own[mechanism, level, "beagle/default"], abs=1e-9)
        assert low <= value <= high


def test_the_race_of_one_dataset_is_renewed_and_the_others_stay() -> None:
    table = pd.read_csv(RESULTS / "race.csv")
    found = table[table["dataset"] == "cattle-chr1"].head(7).assign(value=0.5)
    both = RACE["renewed"](table, {"cattle-chr1": found})
    assert list(both["dataset"].unique()) == list(table["dataset"].unique())
    for name in ("kg15-500", "bulls"):
        pd.testing.assert_frame_equal(*(t[t["dataset"] == name].reset_index(drop=True) for t in (both, table)))
    assert both[both["dataset"] == "cattle-chr1"]["value"].tolist() == [0.5] * 7


def test_no_number_is_looked_up_twice_over_or_in_vain() -> None:
    with pytest.raises(LookupError, match="0 rows of a table have"):
        EVIDENCE["race"]("kg15-500", "nobody/default")
    with pytest.raises(LookupError, match="rows of a table have"):
        EVIDENCE["one_of"](EVIDENCE["table"]("race"), dataset="kg15-500")


def test_mosaic_beside_the_best_beagle_in_the_500_site_protocol() -> None:
    rows = pd.read_csv(RESULTS / "mosaic.csv").set_index(["group", "level"])
    said = {
        "Cattle, new splits": (80, 90, 95),
        "Cattle, families apart": (60, 90, 95),
        "Human, new splits": (30, 60, 90),
    }
    behind = {("Cattle, families apart", 60)}
    for group, levels in said.items():
        for level in levels:
            row = rows.loc[(group, level)]
            low, high = row.low_to_beagle, row.high_to_beagle
            assert f"{signed(row.ahead_of_beagle)} ({signed(low)} to {signed(high)})" in PAGE
            assert high < 0 if (group, level) in behind else low > 0
    for level in (10, 30, 60):
        row = rows.loc[("Cattle, new splits", level)]
        assert row.low_to_beagle < 0 < row.high_to_beagle, "the answer says: up to 60% not told apart"
