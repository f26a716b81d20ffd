"""Scores by contig: they add up to those of all, are what one gets by hand, and stay away where they would say nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.scenarios import at_hidden
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.scoring.sums import MAX_CONTIGS, contigs_of
from snpimpute.scoring.table import score_table
from tests.scoring.test_table import noisy, pick

SIZES = {"1": 30, "X": 18, "7": 22}


def on_contigs(made: PreparedDataset, names: list[str]) -> PreparedDataset:
    """The dataset with its sites on these contigs, a name per site."""
    parts = {
        key: replace(matrix, sites=matrix.sites.assign(contig=names))
        for key in ("train", "test", "true_test")
        if (matrix := getattr(made, key)) is not None
    }
    return replace(made, **parts)


def simulated(repeats: int) -> PreparedDataset:
    data = DataSettings(
        simulation={"n_samples": 120, "n_sites": sum(SIZES.values())},
        scenarios=ScenarioSettings(levels=(30, 60), repeats=repeats, mechanisms=("independent",)),
    )
    made = build_dataset("calves", data, seed=1, headline_level=60)
    return on_contigs(made, [name for name, n in SIZES.items() for _ in range(n)])


@pytest.fixture(scope="module", params=[1, 2], ids=["one mask", "two masks"])
def dataset(request: pytest.FixtureRequest) -> PreparedDataset:
    return simulated(request.param)


@pytest.fixture(scope="module")
def table(dataset: PreparedDataset) -> pd.DataFrame:
    results = [noisy(dataset, "good", 0.9, 1), noisy(dataset, "worse", 0.7, 2)]
    return score_table(dataset, results, n_resamples=300, seed=1)


def test_calls_of_contigs_add_up_to_all(table: pd.DataFrame) -> None:
    for variant in ("good", "worse"):
        for metric in ("wrong", "truth_0", "truth_1", "truth_2", "sites_varied", "sites_constant"):
            parts = [pick(table, variant=variant, level=60.0, metric=metric, subset=f"contig:{name}") for name in SIZES]
            whole = pick(table, variant=variant, level=60.0, metric=metric)
            assert sum(part.value for part in parts) == pytest.approx(whole.value), metric
            assert sum(part.n for part in parts) == whole.n
    assert list(dict.fromkeys(table.subset[table.subset.str.startswith("contig:")])) == [f"contig:{n}" for n in SIZES]


def test_values_are_those_of_scikit_learn_with_intervals_around_them(
    dataset: PreparedDataset, table: pd.DataFrame
) -> None:
    result = noisy(dataset, "good", 0.9, 1)
    on_x = (dataset.test.sites["contig"] == "X").to_numpy()
    truth, calls = [], []
    for scenario in dataset.test_scenarios():
        if scenario.level == 60:
            here = on_x[scenario.hidden]
            truth.append(at_hidden(dataset.test.calls, scenario.hidden)[:, here].ravel())
            calls.append(result.values[scenario.key][:, here].argmax(axis=2).ravel())
    known = np.concatenate(truth) >= 0
    expected = f1_score(np.concatenate(truth)[known], np.concatenate(calls)[known], average="macro", labels=[0, 1, 2])
    row = pick(table, variant="good", level=60.0, metric="f1_macro", subset="contig:X")
    assert row.value == pytest.approx(expected)
    assert row.low < row.value < row.high
    whole = pick(table, variant="good", level=60.0, metric="f1_macro")
    assert row.high - row.low > whole.high - whole.low  # fewer calls say less
    differs = pick(table, variant="worse", level=60.0, metric="f1_macro", subset="contig:X", versus="noisy/good")
    assert differs.value < 0 and differs.high < 0


def test_contigs_are_scored_at_the_headline_alone(table: pd.DataFrame) -> None:
    assert set(table.level[table.subset.str.startswith("contig:")]) == {60.0}


def test_one_contig_scaffolds_and_regions_are_not_scored_apart() -> None:
    made = simulated(1)
    n = made.test.n_sites
    assert list(contigs_of(made)) == list(SIZES)
    assert contigs_of(on_contigs(made, ["1"] * n)) == {}
    assert len(contigs_of(on_contigs(made, [f"s{min(i, MAX_CONTIGS - 1)}" for i in range(n)]))) == MAX_CONTIGS
    assert contigs_of(on_contigs(made, [f"s{min(i, MAX_CONTIGS)}" for i in range(n)])) == {}
    assert contigs_of(replace(made, settings={**made.settings, "regions": {"sites": 3, "count": 9}})) == {}


def test_sites_and_samples_have_accuracy_beside_concordance(dataset: PreparedDataset, table: pd.DataFrame) -> None:
    """Correlation of dosage and truth, both less the site's mean, by hand at one site, and over samples."""
    result = noisy(dataset, "good", 0.9, 1)
    key = dataset.test.site_keys()
    scenarios = [s for s in dataset.test_scenarios() if s.level == 60]
    site = int(np.flatnonzero(scenarios[0].hidden & (dataset.test.maf() > 0.2))[0])
    truth, dosage = [], []
    for scenario in (s for s in scenarios if s.hidden[site]):
        values = result.values[scenario.key][:, int(scenario.hidden[:site].sum())].astype(float)
        values /= values.sum(axis=1, keepdims=True)
        known = dataset.test.calls[:, site] >= 0
        truth.append(dataset.test.calls[known, site])
        dosage.append((values @ [0, 1, 2])[known])
    expected = np.corrcoef(np.concatenate(truth), np.concatenate(dosage))[0, 1]
    row = pick(table, variant="good", level=60.0, metric="correlation", subset=f"site:{key[site]}")
    assert row.value == pytest.approx(expected, abs=1e-3)
    of_samples = table[table.subset.str.startswith("sample:") & (table.metric == "correlation")]
    good, worse = (of_samples.value[of_samples.variant == name].mean() for name in ("good", "worse"))
    assert len(of_samples) == 2 * dataset.test.n_samples and 0 <= worse < good <= 1
