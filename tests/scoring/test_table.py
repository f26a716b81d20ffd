"""The tidy table: its key is unique, its values are what one gets by hand, its differences are paired."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.scenarios import Scenario, at_hidden
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.imputers.mode import Mode
from snpimpute.metrics.offsets import with_offsets
from snpimpute.scoring.posteriors import Posteriors, impute_scenarios, load_posteriors, save_posteriors
from snpimpute.scoring.table import KEY, score_table


@pytest.fixture(scope="module")
def dataset():
    data = DataSettings(
        simulation={"n_samples": 150, "n_sites": 50},
        scenarios=ScenarioSettings(levels=(30, 60), repeats=2, mechanisms=("independent",)),
    )
    return build_dataset("calves", data, seed=1, headline_level=60)


def noisy(dataset, variant: str, right: float, seed: int) -> Posteriors:
    """An imputer that gives the truth with probability `right`, else a random genotype."""
    rng = np.random.default_rng(seed)
    values = {}
    for scenario in dataset.test_scenarios():
        truth = at_hidden(dataset.test.calls, scenario.hidden)
        calls = np.where(rng.random(truth.shape) < right, truth, rng.integers(0, 3, truth.shape))
        values[scenario.key] = (0.8 * np.eye(3)[calls] + 0.2 / 3).astype(np.float16)
    return Posteriors("noisy", variant, 1, values, frozenset(), dict.fromkeys(values, 0.1))


@pytest.fixture(scope="module")
def results(dataset):
    mode = impute_scenarios(Mode().fit(dataset.train), "default", dataset)
    return [mode, noisy(dataset, "good", 0.9, 1), noisy(dataset, "worse", 0.8, 2), noisy(dataset, "twin", 0.9, 3)]


@pytest.fixture(scope="module")
def table(dataset, results):
    return score_table(dataset, results, n_resamples=300, seed=1)


def pick(table, **wanted):
    rows = table
    for column, value in {"versus": "", "repeat": "all", "subset": "all", **wanted}.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_the_key_is_unique(table):
    assert not table.duplicated(KEY).any()


def test_values_are_those_of_scikit_learn(dataset, results, table):
    scenarios = [s for s in dataset.test_scenarios() if s.level == 60]
    truth = np.concatenate([dataset.test.calls[:, s.hidden].ravel() for s in scenarios])
    calls = np.concatenate([results[1].values[s.key].argmax(axis=2).ravel() for s in scenarios])
    row = pick(table, variant="good", level=60.0, metric="f1_macro")
    assert row.value == pytest.approx(f1_score(truth, calls, average="macro", labels=[0, 1, 2]))
    assert row.n == len(truth)
    assert row.low < row.value < row.high


def test_rare_sites_go_by_the_maf_of_the_test_samples(dataset, table):
    rare = dataset.test.maf() < 0.05
    n = sum(int((s.hidden & rare).sum()) for s in dataset.test_scenarios() if s.level == 60) * dataset.test.n_samples
    assert pick(table, variant="good", level=60.0, metric="f1_macro", subset="rare").n == n
    minor = pick(table, variant="good", level=60.0, metric="truth_2", subset="rare_minor")
    assert minor.value <= pick(table, variant="good", level=60.0, metric="truth_0", subset="rare_minor").value


def test_maf_bins_and_groups_divide_all_calls(dataset, table):
    whole = pick(table, variant="good", level=60.0, metric="f1_macro").n
    for kind in ("maf:", "group:"):
        rows = table[
            (table.variant == "good")
            & (table.level == 60)
            & (table.metric == "f1_macro")
            & table.subset.str.startswith(kind)
            & (table["repeat"] == "all")
            & (table.versus == "")
        ]
        assert rows.n.sum() == whole, kind


def differences(table, subset="all", metric="f1_macro", level=60.0):
    """(variant, versus) → the row of that difference."""
    rows = table[(table.level == level) & (table.metric == metric) & (table.subset == subset) & (table.versus != "")]
    return {(row.variant, row.versus): row for row in rows.itertuples()}


def test_differences_are_to_the_best_and_paired(table):
    good, twin = (pick(table, variant=v, level=60.0, metric="f1_macro").value for v in ("good", "twin"))
    best, other = ("good", "twin") if good > twin else ("twin", "good")
    found = differences(table)
    assert {variant for variant, versus in found if versus == f"noisy/{best}"} == {"default", "worse", other}
    assert found["worse", f"noisy/{best}"].high < 0
    tied = found[other, f"noisy/{best}"]
    assert tied.value == pytest.approx(-abs(good - twin)) and tied.low < 0 < tied.high


def test_variants_are_compared_with_the_first_of_their_imputer_at_every_level(table):
    for subset, metric in (
        ("all", "f1_macro"),
        ("rare", "f1_macro"),
        ("rare_minor", "f1_1"),
        ("rare_minor", "site_dosage_r2"),
    ):
        found = differences(table, subset, metric, level=30.0)
        first, worse = (
            pick(table, variant=v, level=30.0, subset=subset, metric=metric).value for v in ("good", "worse")
        )
        row = found["worse", "noisy/good"]
        assert row.value == pytest.approx(worse - first), (subset, metric)
        assert row.low < row.value < row.high, (subset, metric)
        assert ("twin", "noisy/good") in found


def test_every_pair_is_compared_at_the_headline_and_there_alone(table):
    order = ["mode/default", "noisy/good", "noisy/worse", "noisy/twin"]
    later = {(b.split("/")[1], a) for i, a in enumerate(order) for b in order[i + 1 :]}
    assert later <= set(differences(table))
    assert later <= set(differences(table, "rare_minor", "f1_1"))
    assert not any(versus == "mode/default" for _, versus in differences(table, level=30.0))
    assert not any(versus == "mode/default" for _, versus in differences(table, "rare", "f1_1"))
    pair = differences(table)["twin", "noisy/worse"]
    twin, worse = (pick(table, variant=v, level=60.0, metric="f1_macro").value for v in ("twin", "worse"))
    assert pair.value == pytest.approx(twin - worse) and 0 < pair.low < pair.high


def test_seconds_are_the_mean_over_masks_and_their_range(dataset, results):
    times = {"test-independent-60-0": 1.0, "test-independent-60-1": 4.0}
    timed = replace(results[1], seconds={**results[1].seconds, **times})
    row = pick(score_table(dataset, [timed], n_resamples=100), level=60.0, metric="seconds")
    assert (row.value, row.low, row.high, row.n) == (2.5, 1.0, 4.0, 2)
    told = []
    found = score_table(dataset, [timed], n_resamples=100, progress=lambda *step: told.append(step))
    row = pick(found, level=60.0, metric="seconds")
    assert (row.value, row.low, row.high, row.n) == (2.5, 1.0, 4.0, 2)
    n = found["level"].nunique()
    assert told == [(done, n) for done in range(1, n + 1)], "each level is told of as it is done"


def test_each_mask_by_itself_has_its_scores_and_no_interval(dataset, results, table):
    for scenario in (s for s in dataset.test_scenarios() if s.level == 60):
        truth = dataset.test.calls[:, scenario.hidden].ravel()
        calls = results[1].values[scenario.key].argmax(axis=2).ravel()
        row = pick(table, variant="good", level=60.0, metric="f1_macro", repeat=str(scenario.repeat))
        assert row.value == pytest.approx(f1_score(truth, calls, average="macro", labels=[0, 1, 2]))
        assert row.n == len(truth) and np.isnan([row.low, row.high]).all()


def test_a_difference_to_oneself_would_be_zero(dataset, results):
    copy = Posteriors("noisy", "copy", 1, results[1].values, frozenset(), results[1].seconds)
    rows = score_table(dataset, [results[1], copy], n_resamples=100, seed=1)
    rows = rows[rows.versus != ""]
    assert len(rows) and (rows[["value", "low", "high"]].abs().to_numpy() < 1e-12).all()


OFFSETS = {30.0: np.array([0, 0.8, -0.2]), 90.0: np.array([0, -1.5, 1.0])}


def test_offsets_give_further_rows_and_leave_the_others_as_they_are(dataset, results, table):
    random = replace(results[1], variant="random", values={})
    rng = np.random.default_rng(1)
    for key, values in results[1].values.items():
        random.values[key] = rng.dirichlet(np.ones(3), values.shape[:2]).astype(np.float16)
    mode, good = results[0], results[1]
    given = {"mode/default": {60.0: np.zeros(3)}, "noisy/random": OFFSETS}
    rows = score_table(dataset, [mode, good, random], n_resamples=100, seed=1, offsets=given)
    assert not rows.duplicated(KEY).any()
    without = score_table(dataset, [mode, good, random], n_resamples=100, seed=1)
    by_offsets = rows.decision == "offsets"
    pd.testing.assert_frame_equal(rows[~by_offsets].reset_index(drop=True), without)
    rows = rows[by_offsets]
    assert set(rows.variant) == {"default", "random"} and set(rows.subset) == {"all", "rare", "rare_minor"}
    rare, flipped = dataset.test.maf() < 0.05, dataset.test.alt_frequency() > 0.5
    for level, chosen in ((30.0, 30.0), (60.0, 30.0)):  # 60 is as near to 30 as to 90
        truth, calls, minor = [], [], []
        for scenario in (s for s in dataset.test_scenarios() if s.level == level):
            found = with_offsets(random.values[scenario.key].astype(float), OFFSETS[chosen])
            true = dataset.test.calls[:, scenario.hidden]
            truth.append(true.ravel())
            calls.append(found.ravel())
            here, turned = rare[scenario.hidden], flipped[scenario.hidden]
            minor.append([np.where(turned, 2 - some, some)[:, here].ravel() for some in (true, found)])
        truth, calls, minor = np.concatenate(truth), np.concatenate(calls), np.concatenate(minor, axis=1)
        row = pick(rows, variant="random", level=level, metric="f1_macro")
        assert row.value == pytest.approx(f1_score(truth, calls, average="macro", labels=[0, 1, 2]))
        assert row.low < row.value < row.high and row.n == len(truth)
        heterozygous = f1_score(*minor, average=None, labels=[0, 1, 2], zero_division=0)[1]
        assert pick(rows, variant="random", level=level, metric="f1_1", subset="rare_minor").value == pytest.approx(
            heterozygous
        )
        assert pick(rows, variant="random", level=level, metric="wrong").value == (truth != calls).sum()
        argmax = pick(without, variant="random", level=level, metric="f1_macro").value
        change = pick(rows, variant="random", level=level, metric="f1_macro", versus="argmax")
        assert change.value == pytest.approx(row.value - argmax) and change.low < change.value < change.high
        best = pick(rows, variant="default", level=level, metric="f1_macro").value  # of those with offsets
        to_best = pick(rows, variant="random", level=level, metric="f1_macro", versus="mode/default")
        assert to_best.value == pytest.approx(row.value - best)
        unmoved = rows[(rows.variant == "default") & (rows.versus == "argmax")]
        assert len(unmoved) and (unmoved[["value", "low", "high"]] == 0).all(axis=None)


def test_smoothed_calls_have_no_log_loss(dataset, results):
    smoothed = Posteriors("hard", "x", 1, results[1].values, frozenset(results[1].values), results[1].seconds)
    rows = score_table(dataset, [smoothed], n_resamples=100, seed=1)
    assert not rows.metric.isin(["log_loss", "ece", "confidence", "accuracy"]).any()
    assert rows.metric.isin(["f1_macro", "site_dosage_r2"]).any()


def test_a_hole_at_an_observed_site_does_not_take_the_posterior_of_hidden_ones(dataset):
    """What an imputer says of its posterior is asked of the hidden sites alone."""

    class OfWholeSites(Mode):
        def gives_posterior(self, target):
            missing = target.calls == -1
            return bool((missing.all(axis=0) | ~missing.any(axis=0)).all())

    scenario = dataset.test_scenarios()[0]
    observed = np.flatnonzero(~scenario.hidden)[0]
    known = dataset.test.calls[0, observed]
    dataset.test.calls[0, observed] = -1
    fitted = OfWholeSites().fit(dataset.train)
    found = impute_scenarios(fitted, "default", dataset)
    dataset.test.calls[0, observed] = known
    assert scenario.key not in found.smoothed


def test_true_genotypes_are_scored_beside_the_called_ones(dataset, table):
    called = pick(table, variant="good", level=60.0, metric="f1_micro")
    true = pick(table, variant="good", level=60.0, metric="f1_micro", subset="true:all")
    assert true.n == called.n and true.value < called.value


def test_posteriors_read_back(results, tmp_path):
    save_posteriors(results[0], tmp_path / "p.npz")
    again = load_posteriors(tmp_path / "p.npz")
    assert again.label == "mode/default" and again.seconds == results[0].seconds
    for key, values in results[0].values.items():
        np.testing.assert_array_equal(again.values[key], values)


def with_scenarios(dataset, scenarios):
    return replace(dataset, scenarios=tuple(scenarios), headline=scenarios[-1].key)


@pytest.mark.parametrize("repeats", [1, 2])
def test_whole_sites_given_as_single_calls_score_the_same(dataset, repeats, monkeypatch):
    """The scores, intervals and details of single calls are those of whole sites where the calls are the same."""
    sites = [s for s in dataset.test_scenarios() if s.repeat < repeats]
    everyone = np.ones((dataset.test.n_samples, 1), dtype=bool)
    calls = [Scenario(s.split, s.mechanism, s.level, s.repeat, everyone & s.hidden) for s in sites]
    missing = np.random.default_rng(1).random(dataset.test.calls.shape) < 0.05
    dataset = replace(dataset, test=dataset.test.hide(missing))
    given = noisy(dataset, "good", 0.9, 1)
    flat = {key: values.reshape(-1, 3) for key, values in given.values.items()}
    whole = score_table(with_scenarios(dataset, sites), [given], 100)
    single = score_table(with_scenarios(dataset, calls), [replace(given, values=flat)], 100)
    in_sites = whole.metric.isin(["site_dosage_r2", "sites_varied", "sites_constant"])  # not said of single calls
    assert not (single.value[in_sites] > 0).any() and (whole.value[in_sites] > 0).any()
    pd.testing.assert_frame_equal(single[~in_sites], whole[~in_sites], rtol=1e-6, atol=1e-6)
    monkeypatch.setattr("snpimpute.scoring.sums.CALLS_AT_A_TIME", 97)
    for scenarios, values in ((sites, given.values), (calls, flat)):
        in_pieces = score_table(with_scenarios(dataset, scenarios), [replace(given, values=values)], 100)
        pd.testing.assert_frame_equal(in_pieces[~in_sites], whole[~in_sites], rtol=1e-6, atol=1e-6)


def test_sites_are_resampled_where_there_is_one_mask(dataset):
    """An imputer that is right at every second hidden site, of every sample: the samples alone would tell of no spread."""
    scenario = next(s for s in dataset.test_scenarios() if s.level == 60 and s.repeat == 0)
    truth = at_hidden(dataset.test.calls, scenario.hidden)
    calls = np.where(np.arange(truth.shape[-1]) % 2 == 0, truth, (truth + 1) % 3)
    values = {scenario.key: np.eye(3)[calls].astype(np.float16)}
    given = Posteriors("half", "x", 1, values, frozenset(), {scenario.key: 1.0})
    row = pick(score_table(with_scenarios(dataset, [scenario]), [given], n_resamples=400), metric="f1_micro")
    assert row.value == pytest.approx(0.5, abs=0.02)
    assert row.high - row.low > 0.01


@pytest.fixture(scope="module")
def calls_dataset():
    data = DataSettings(
        simulation={"n_samples": 150, "n_sites": 50},
        scenarios=ScenarioSettings(levels=(0.5, 5, 20), repeats=2, mechanisms=("entries", "blocks")),
    )
    return build_dataset("calves", data, seed=1, headline_level=20)


def test_single_calls_are_kept_and_scored_alone(calls_dataset):
    mode = impute_scenarios(Mode().fit(calls_dataset.train), "default", calls_dataset)
    n_calls = calls_dataset.test.calls.size
    assert {key: values.shape for key, values in mode.values.items()} == {
        f"test-{mechanism}-{level:g}-{repeat}": (round(n_calls * level / 100), 3)
        for mechanism in ("entries", "blocks")
        for level in (0.5, 5.0, 20.0)
        for repeat in (0, 1)
    }
    table = score_table(calls_dataset, [mode], n_resamples=100)
    assert not table.duplicated(KEY).any()
    scenarios = [s for s in calls_dataset.test_scenarios() if (s.mechanism, s.level) == ("blocks", 5.0)]
    truth = np.concatenate([at_hidden(calls_dataset.test.calls, s.hidden) for s in scenarios])
    calls = np.concatenate([mode.values[s.key].argmax(axis=1) for s in scenarios])
    row = pick(table[table.mechanism == "blocks"], level=5.0, metric="f1_macro")
    assert row.value == pytest.approx(f1_score(truth, calls, average="macro", labels=[0, 1, 2], zero_division=0))
    assert row.n == len(truth) and row.low < row.value < row.high
    at_headline = table[(table.mechanism == "entries") & (table.level == 20)]
    hidden = [s.hidden for s in calls_dataset.test_scenarios() if (s.mechanism, s.level) == ("entries", 20.0)]
    for kind, axis, names in (
        ("site", 0, calls_dataset.test.site_keys()),
        ("sample", 1, calls_dataset.test.names),
    ):
        n = dict(zip(names, sum(h.sum(axis=axis) for h in hidden), strict=True))
        rows = at_headline[at_headline.subset.str.startswith(f"{kind}:") & (at_headline.metric == "f1_micro")]
        assert dict(zip(rows.subset.str.removeprefix(f"{kind}:"), rows.n, strict=True)) == {
            k: v for k, v in n.items() if v
        }
    assert pick(at_headline, metric="f1_micro", subset="true:all").n == sum(h.sum() for h in hidden)


def test_every_pair_is_compared_at_every_level_of_single_calls(calls_dataset):
    results = [
        noisy(calls_dataset, name, right, i) for i, (name, right) in enumerate((("a", 0.7), ("b", 0.8), ("c", 0.9)))
    ]
    table = score_table(calls_dataset, results, n_resamples=100)
    for mechanism in ("entries", "blocks"):
        found = differences(table[table.mechanism == mechanism], metric="f1_micro", level=5.0)
        assert {("b", "noisy/a"), ("c", "noisy/a"), ("c", "noisy/b")} <= set(found)


def test_contigs_are_resampled_whole_where_there_are_many(calls_dataset):
    """An imputer that is right on one half of the regions and wrong on the other: with regions alike the spread is less."""
    sites = calls_dataset.test.sites.assign(contig=np.repeat(np.arange(25), 2).astype(str))
    scenario = next(s for s in calls_dataset.test_scenarios() if s.key == "test-entries-20-0")
    within = replace(calls_dataset, test=replace(calls_dataset.test, sites=sites), true_test=None)
    within = with_scenarios(within, [scenario])
    truth = at_hidden(within.test.calls, scenario.hidden)
    place = np.nonzero(scenario.hidden)[1]

    def spread(wrong):
        calls = np.where(wrong, (truth + 1) % 3, truth)
        given = Posteriors(
            "half", "x", 1, {scenario.key: np.eye(3)[calls].astype(np.float16)}, frozenset(), {scenario.key: 1.0}
        )
        row = pick(score_table(within, [given], n_resamples=400), metric="f1_micro")
        return row.high - row.low

    by_region, mixed = spread(place // 2 % 2 == 0), spread(place % 2 == 0)
    assert by_region > 2 * mixed


def test_each_mask_has_rows_of_its_own(table):
    rows = table[
        (table.variant == "good") & (table.level == 60) & (table.metric == "f1_macro") & (table.subset == "all")
    ]
    assert set(rows["repeat"]) == {"all", "0", "1"}
    single = rows[rows["repeat"] != "all"].value
    pooled = rows[(rows["repeat"] == "all") & (rows.versus == "")].value.iloc[0]
    assert single.min() <= pooled <= single.max()


def test_mode_knows_nothing_of_a_sample_and_a_group_s_frequency_is_no_merit(dataset, results, table):
    """Of the most frequent genotype r² and IQS are 0, over all sites, rare ones, bins and groups."""
    rows = table[(table.imputer == "mode") & (table.versus == "") & (table["repeat"] == "all")]
    for metric in ("site_dosage_r2", "centred_dosage_r2", "centred_iqs"):
        values = rows[rows.metric == metric].dropna(subset=["value"])
        assert {"all", "rare"} < set(values.subset) and values.subset.str.startswith("group:").any()
        np.testing.assert_allclose(values.value, 0, atol=1e-4, err_msg=metric)
    correlation = rows[rows.metric == "correlation"]
    of_sites, of_samples = (correlation.value[correlation.subset.str.startswith(kind)] for kind in ("site:", "sample:"))
    np.testing.assert_allclose(of_sites, 0, atol=1e-3)  # the root of rounding errors
    assert abs(of_samples.mean()) < 0.1 and (of_samples**2).mean() > 0.2  # over few linked sites r² would say much
    good = pick(table, variant="good", level=60.0, metric="site_dosage_r2")
    dosages = [(s, results[1].values[s.key] @ np.arange(3)) for s in dataset.test_scenarios() if s.level == 60]
    by_hand = [
        np.corrcoef(t, d)[0, 1] ** 2
        for s, of_mask in dosages
        for t, d in zip(dataset.test.calls[:, s.hidden].T, of_mask.T, strict=True)
        if np.ptp(t)
    ]
    assert good.value == pytest.approx(np.mean(by_hand), rel=1e-3) and good.low < good.value < good.high
    assert pick(table, variant="good", level=60.0, metric="sites_varied").value == len(by_hand)


def test_rare_sites_are_scored_by_group_too(table):
    whole = pick(table, variant="good", level=60.0, metric="f1_macro", subset="rare").n
    rows = table[(table.variant == "good") & (table.level == 60) & (table.metric == "f1_micro") & (table.versus == "")]
    for subset in ("rare", "rare_minor"):
        assert rows[rows.subset.str.startswith(f"{subset}/group:")].n.sum() == whole
