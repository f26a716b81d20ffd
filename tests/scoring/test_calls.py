"""Where an imputer is right and wrong: counts by site and by sample agree with counting by hand, windows with the posteriors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.scoring.calls import (
    by_sample,
    by_site,
    calibration_of,
    confusion_of,
    cutout,
    hidden_calls,
    nearest_observed,
    right_and_wrong,
)
from snpimpute.scoring.posteriors import Posteriors
from snpimpute.scoring.table import score_table
from tests.scoring.test_table import noisy


@pytest.fixture(scope="module")
def dataset():
    data = DataSettings(
        simulation={"n_samples": 120, "n_sites": 40},
        scenarios=ScenarioSettings(levels=(60,), repeats=3, mechanisms=("independent",)),
    )
    made = build_dataset("calves", data, seed=1, headline_level=60)
    calls = made.test.calls.copy()
    calls[np.random.default_rng(1).random(calls.shape) < 0.05] = -1
    return replace(made, test=replace(made.test, calls=calls, haplotypes=None))


@pytest.fixture(scope="module")
def posteriors(dataset) -> Posteriors:
    return noisy(dataset, "good", 0.8, 1)


@pytest.fixture(scope="module")
def masks(dataset, posteriors):
    return hidden_calls(dataset, posteriors)


def panel(calls: list[list[int]], pos: list[int], contig: list[str] | None = None) -> GenotypeMatrix:
    """A matrix with a row per site in `calls`."""
    matrix = np.array(calls, dtype=np.int8).T
    n = len(pos)
    sites = pd.DataFrame({"contig": contig or ["1"] * n, "pos": pos, "id": ".", "ref": "A", "alt": "G"})
    return GenotypeMatrix(matrix, pd.DataFrame({"sample": [f"s{i}" for i in range(len(matrix))]}), sites)


def test_single_calls_that_were_hidden_are_counted_and_no_others():
    data = DataSettings(
        simulation={"n_samples": 60, "n_sites": 30},
        scenarios=ScenarioSettings(levels=(10,), repeats=2, mechanisms=("entries",)),
    )
    dataset = build_dataset("calves", data, seed=1, headline_level=60)
    masks = hidden_calls(dataset, noisy(dataset, "good", 0.8, 1))
    known = [s.hidden & (dataset.test.calls >= 0) for s in dataset.test_scenarios()]
    assert by_site(dataset, masks)["n"].tolist() == sum(k.sum(axis=0) for k in known).tolist()
    samples = by_sample(dataset, masks).set_index("sample")["n"].reindex(dataset.test.names, fill_value=0)
    assert samples.tolist() == sum(k.sum(axis=1) for k in known).tolist()
    first = dataset.test_scenarios()[0]
    right = (masks[0].right).sum() / masks[0].scored.sum()
    assert masks[0].scored.sum() == known[0].sum() and 0.6 < right < 1
    assert masks[0].truth.shape == (dataset.test.n_samples, int(first.sites.sum()))


def test_counts_by_site_and_by_sample_are_those_of_the_calls(dataset, masks, posteriors):
    sites, samples = by_site(dataset, masks), by_sample(dataset, masks)
    site = int(np.flatnonzero(sum(m.scenario.hidden.astype(int) for m in masks) == 2)[0])
    right = n = 0
    for scenario in dataset.test_scenarios():
        if scenario.hidden[site]:
            truth = dataset.test.calls[:, site]
            calls = posteriors.values[scenario.key][:, int(scenario.hidden[:site].sum())].argmax(axis=1)
            n += (truth >= 0).sum()
            right += ((calls == truth) & (truth >= 0)).sum()
    row = sites.iloc[site]
    assert (row["masks"], row["n"], row["right"]) == (2, n, pytest.approx(right / n))
    assert row["n"] < 2 * dataset.test.n_samples, "some truth is missing, and not scored"
    assert sites["n"].sum() == samples["n"].sum() == confusion_of(masks).sum()
    assert samples["wrong"].sum() == confusion_of(masks).sum() - np.trace(confusion_of(masks))
    assert samples["right"].is_monotonic_increasing
    assert [dataset.test.names[i] for i in samples["row"]] == samples["sample"].tolist()


def test_it_agrees_with_the_table_of_scores(dataset, masks, posteriors):
    table = score_table(dataset, [posteriors], n_resamples=20, seed=1)
    here = table[table["repeat"] == "all"].set_index(["subset", "metric"])["value"]
    sites, samples = by_site(dataset, masks).set_index("site"), by_sample(dataset, masks).set_index("sample")
    for name, right in sites["right"].dropna().items():
        assert here[f"site:{name}", "f1_micro"] == pytest.approx(right)
    for name, row in samples.iterrows():
        assert here[f"sample:{name}", "f1_macro"] == pytest.approx(row["f1_macro"])
    for bounds in calibration_of(masks).itertuples():
        subset = f"confidence:{bounds.low:.1f}-{bounds.high:.1f}"
        assert here[subset, "accuracy"] == pytest.approx(bounds.right)


def test_observed_sites_have_no_score_and_no_neighbour(dataset, masks):
    sites = by_site(dataset, masks[:1])
    observed = ~masks[0].scenario.hidden
    assert sites.loc[observed, ["right", "distance", "r2"]].isna().all(axis=None)
    assert (sites.loc[observed, "nearest"] == "").all()
    keys = np.array(dataset.test.site_keys())
    assert set(sites.loc[~observed, "nearest"]) <= set(keys[observed])
    assert sites.loc[~observed, "r2"].dropna().between(0, 1).all()
    assert (by_site(dataset, masks)["nearest"] == "").all(), "several masks have no one nearest site"


@np.errstate(invalid="raise", divide="raise")  # warnings may be off: cyvcf2 turns them off
def test_the_nearest_observed_site_and_its_correlation_by_hand():
    found = nearest_observed(
        panel(
            [[0, 1, 2, 0, 1, -1], [0, 1, 2, 0, 2, 1], [2, 1, 0, 2, 1, 0], [1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1]],
            [100, 130, 190, 200, 5],
            ["1", "1", "1", "1", "2"],
        ),
        np.array([False, True, True, True, True]),
    )
    assert found["nearest"].tolist() == ["", "1:100:A:G", "1:100:A:G", "1:100:A:G", ""]
    assert found["distance"].tolist()[1:4] == [30.0, 90.0, 100.0]
    expected = np.corrcoef([0, 1, 2, 0, 1], [0, 1, 2, 0, 2])[0, 1] ** 2  # the sample that is missing is left out
    assert found["r2"].tolist()[1:3] == pytest.approx([expected, 1.0])
    assert found["r2"].isna().tolist() == [True, False, False, True, True]


def test_two_samples_with_both_calls_have_a_correlation_and_one_has_none():
    near = nearest_observed(panel([[0, 2, -1], [0, 2, 1]], [100, 150]), np.array([True, False]))
    assert near["r2"][0] == pytest.approx(1)
    near = nearest_observed(panel([[0, -1, -1], [0, 2, 1]], [100, 150]), np.array([True, False]))
    assert np.isnan(near["r2"][0])


def test_the_nearest_observed_site_may_come_after():
    found = nearest_observed(panel([[0, 1, 2], [2, 1, 0], [0, 0, 1]], [10, 25, 30]), np.array([False, True, False]))
    assert found["nearest"][1] == "1:30:A:G" and found["distance"][1] == 5.0


def test_samples_have_their_group_and_none_without_the_column(dataset, masks):
    groups = dataset.test.samples["group"].astype(str)
    table = by_sample(dataset, masks)
    assert table["group"].tolist() == groups.iloc[table["row"]].tolist() and (groups != "").any()
    without = replace(dataset, test=replace(dataset.test, samples=dataset.test.samples.drop(columns="group")))
    assert (by_sample(without, masks)["group"] == "").all()


def test_of_two_equally_near_sites_the_first_is_taken():
    found = nearest_observed(panel([[0, 1, 2], [2, 1, 0], [0, 0, 1]], [10, 20, 30]), np.array([False, True, False]))
    assert found["nearest"][1] == "1:10:A:G"


def test_a_window_holds_the_posteriors_of_its_cells(dataset, masks, posteriors):
    mask, rows, columns = masks[0], [5, 0, 3], list(range(10, 20))
    seen = cutout(dataset, mask, rows, columns)
    assert seen.samples == [dataset.test.names[i] for i in rows]
    for i, row in enumerate(rows):
        for j, site in enumerate(columns):
            truth = dataset.test.calls[row, site]
            assert (np.isnan(seen.truth[i, j]) and truth == -1) or seen.truth[i, j] == truth
            if not mask.scenario.hidden[site]:
                assert np.isnan(seen.calls[i, j]) and np.isnan(seen.confidence[i, j])
                continue
            place = int(mask.scenario.hidden[:site].sum())
            given = posteriors.values[mask.scenario.key][row, place].astype(float)
            assert seen.calls[i, j] == given.argmax()
            assert seen.confidence[i, j] == pytest.approx(given.max() / given.sum())


def test_right_and_wrong_add_up_and_turn_around(dataset, masks):
    other = hidden_calls(dataset, noisy(dataset, "other", 0.6, 2))
    table, turned = right_and_wrong(dataset, masks, other), right_and_wrong(dataset, other, masks)
    parts = table[["both_right", "only_first", "only_second", "both_wrong"]]
    assert (parts.sum(axis=1) == table["n"]).all() and (parts.sum() > 0).all()
    assert table["only_first"].tolist() == turned["only_second"].tolist()
    right = (table["both_right"] + table["only_first"]) / table["n"]
    assert right.tolist() == pytest.approx(by_site(dataset, masks)["right"].dropna().tolist())
    with pytest.raises(InputError, match="same masks"):
        right_and_wrong(dataset, masks, other[:1])


def test_smoothed_hard_calls_have_no_calibration(dataset, posteriors):
    smoothed = replace(posteriors, smoothed=frozenset(posteriors.values))
    assert calibration_of(hidden_calls(dataset, smoothed)).empty


def test_posteriors_of_other_data_are_refused(dataset, posteriors):
    key = next(iter(posteriors.values))
    other = replace(posteriors, values={key: posteriors.values[key][:-1]})
    with pytest.raises(InputError, match="another preparation of calves"):
        hidden_calls(dataset, other)
