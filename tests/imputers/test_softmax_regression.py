"""Softmax regression: contract, the optimum it finds, patterns of missing calls, the real panel."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.genotypes.matrix import GenotypeMatrix, site_keys
from snpimpute.imputers import softmax_regression
from snpimpute.imputers.softmax_regression import SoftmaxParams, SoftmaxRegression, fit_ridge
from snpimpute.imputers.testing import ImputerContract, small_panel
from snpimpute.io.matrix import read_matrix
from snpimpute.metrics.scores import f1_macro


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What each fit from now on is given."""
    given: list[tuple] = []
    monkeypatch.setattr(softmax_regression, "fit_ridge", lambda *args: given.append(args) or fit_ridge(*args))
    return given


class TestSoftmaxRegression(ImputerContract):
    imputer = SoftmaxRegression

    @pytest.mark.parametrize("share", [0.1, 0.3])
    def test_order_of_patterns_does_not_matter(
        self, model: SoftmaxRegression, target: GenotypeMatrix, share: float
    ) -> None:
        masked = target.hide(np.random.default_rng(1).random(target.calls.shape) < share)
        alone = model.posterior(masked.take_samples([3]))
        np.testing.assert_allclose(alone[0], model.posterior(masked)[3], atol=1e-5)

    def test_each_pattern_is_fitted_once(
        self, panel: GenotypeMatrix, target: GenotypeMatrix, fits: list[tuple], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = self.make().fit(panel)
        masked = self.masked(target)
        first = model.posterior(masked)
        np.testing.assert_array_equal(model.posterior(masked), first)
        assert len(fits) == 1
        monkeypatch.setattr(softmax_regression, "CACHED_PATTERNS", 2)
        for seen in range(2, 6):
            model.posterior(target.hide(np.arange(target.n_sites) >= seen))
        assert len(fits) == 5

    def test_sites_that_targets_lack_are_fitted_with_the_panel(
        self, panel: GenotypeMatrix, target: GenotypeMatrix, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        masked = self.masked(target)
        later = self.make().fit(panel).posterior(masked)
        self.fitted(panel).save(tmp_path / "model")
        loaded = SoftmaxRegression.load(tmp_path / "model")
        monkeypatch.setattr(softmax_regression, "fit_ridge", None)
        np.testing.assert_array_equal(loaded.posterior(masked), later)
        loaded.save(tmp_path / "again")
        np.testing.assert_array_equal(SoftmaxRegression.load(tmp_path / "again").posterior(masked), later)

    def test_single_holes_at_called_sites_share_a_fit(self, panel: GenotypeMatrix, fits: list[tuple]) -> None:
        """Two of fifty samples lack a call at a seen site: one fit more for each of these sites, and little changes."""
        model = self.make().fit(panel)
        target = small_panel(130, missing=0.0).take_samples(np.arange(80, 130))
        whole = self.masked(target)
        holes = np.zeros(target.calls.shape, dtype=bool)
        holes[3, 11] = holes[3, 13] = holes[40, 11] = True
        posterior = model.posterior(whole.hide(holes))
        assert [truth.shape[1] for _, truth, *_ in fits] == [20, 1, 1]
        assert (posterior[holes].max(axis=1) < 1).all()
        others = np.setdiff1d(np.arange(50), [3, 40])
        np.testing.assert_array_equal(posterior[others], model.posterior(whole)[others])
        alone = model.posterior(whole.hide(holes).take_samples([3]))[0, ::2]
        assert np.abs(posterior[3, ::2] - alone).mean() < 0.1

    def test_samples_that_lack_few_calls_share_one_fit_a_site(
        self, panel: GenotypeMatrix, target: GenotypeMatrix, fits: list[tuple]
    ) -> None:
        """However many patterns: no more fits than sites, and none for a second target."""
        model = self.make().fit(panel)
        for seed in (1, 2):
            masked = target.hide(np.random.default_rng(seed).random(target.calls.shape) < 0.1)
            masked = masked.take_samples((masked.calls < 0).mean(axis=1) <= 0.25)
            assert len(np.unique(masked.calls < 0, axis=0)) > 5
            posterior = model.posterior(masked)
            assert (posterior.argmax(axis=2) == masked.calls)[masked.calls >= 0].all()
        assert len(fits) <= target.n_sites and {truth.shape[1] for _, truth, *_ in fits} == {1}

    @pytest.mark.parametrize("share", [0.1, 0.3])
    def test_threads_do_not_matter(
        self, model: SoftmaxRegression, panel: GenotypeMatrix, target: GenotypeMatrix, share: float
    ) -> None:
        masked = target.hide(np.random.default_rng(2).random(target.calls.shape) < share)
        two = SoftmaxRegression(seed=5, threads=2).fit(panel)
        np.testing.assert_array_equal(two.posterior(masked), model.posterior(masked))

    def test_it_beats_the_frequencies(self, model: SoftmaxRegression, target: GenotypeMatrix) -> None:
        posterior = model.posterior(self.masked(target))
        hidden = np.arange(target.n_sites) % 2 == 0
        blind = np.broadcast_to(model.frequencies, posterior.shape)
        gain = [f1_macro(target.calls[:, hidden], p[:, hidden].argmax(axis=2)) for p in (posterior, blind)]
        assert gain[0] > gain[1] + 0.15


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_optimum_is_that_of_scikit_learn(missing: float) -> None:
    from sklearn.linear_model import LogisticRegression

    calls = small_panel(150, 30, missing=0.0).calls
    truth = np.where(np.random.default_rng(1).random((150, 5)) < missing, np.int8(-1), calls[:, :5])
    x = calls[:, 5:].astype(np.float32)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    frequencies = np.full((5, 3), 1 / 3, dtype=np.float32)
    weights, intercept = fit_ridge(x, truth, frequencies, SoftmaxParams(l2=4.0, iterations=2000))
    logits = (x @ weights + intercept).reshape(150, 3, 5)
    for site in range(5):
        known = truth[:, site] >= 0
        there = LogisticRegression(C=1 / 4.0, tol=1e-8, max_iter=5000).fit(x[known], truth[known, site])
        p = np.exp(logits[:, :, site])
        p /= p.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p[:, there.classes_], there.predict_proba(x), atol=0.01)


def test_holes_at_sites_that_nearly_all_have_called() -> None:
    """Samples with such holes alone, complete ones beside them: each hole from the sites near by, and well."""
    panel = small_panel(300, missing=0.0)
    train, target = panel.take_samples(np.arange(240)), panel.take_samples(np.arange(240, 300))
    hidden = np.random.default_rng(1).random(target.calls.shape) < 0.02
    hidden[:20] = False
    posterior = SoftmaxRegression().fit(train).posterior(target.hide(hidden))
    right = (posterior.argmax(axis=2) == target.calls)[hidden].mean()
    common = np.broadcast_to(train.genotype_frequencies().argmax(axis=1), target.calls.shape)
    assert hidden.mean(axis=0).max() < 0.05 + 1 / 60 and right > (common == target.calls)[hidden].mean() + 0.2
    assert (posterior.argmax(axis=2) == target.calls)[~hidden].all()


@pytest.mark.parametrize("inputs", ["additive", "heterozygote"])
def test_inputs_that_a_sample_lacks_are_those_of_ridge_regression(inputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen through a regression that hands on its inputs: what scikit-learn predicts from the inputs that are there."""
    from sklearn.linear_model import Ridge

    panel, calls = small_panel(200, missing=0.0), small_panel(201, missing=0.0).calls[-1]
    model = SoftmaxRegression(SoftmaxParams(l2=2.0, inputs=inputs)).fit(panel)
    lacking = np.arange(panel.n_sites) % 7 == 3
    x, center, scale = model._standardised(np.ones(panel.n_sites, dtype=bool))
    absent = np.tile(lacking, x.shape[1] // panel.n_sites)
    own = (model._inputs(calls[None])[0] - center) / scale
    there = Ridge(alpha=2.0, fit_intercept=False).fit(x[:, ~absent], x[:, absent]).predict(own[None, ~absent])[0]
    near = np.ones(panel.n_sites, dtype=bool)

    class HandsOn:
        intercept = np.zeros(3)

        def __init__(self, number: int) -> None:
            self.weights = np.zeros((x.shape[1], 3))
            self.weights[number, 1] = 1.0

    monkeypatch.setattr(model, "_regression_of", lambda site: (near, HandsOn(site)))
    found = model._predict_few(np.where(lacking, -1, calls).astype(np.int8), lacking)
    handed_on = np.log(found[1] / found[0])
    np.testing.assert_allclose(handed_on, there[: lacking.sum()], atol=1e-3)


@pytest.mark.parametrize("inputs", ["additive", "heterozygote"])
def test_a_hidden_site_is_regressed_on_the_observed_sites_nearest_to_it(inputs: str) -> None:
    """Hidden sites that share inputs are fitted together; each is what a fit of its own from these inputs alone gives."""
    panel = small_panel(120, missing=0.0)
    params = SoftmaxParams(nearest=6, inputs=inputs)
    hidden = np.arange(panel.n_sites) % 3 == 1
    target = small_panel(121, missing=0.0).take_samples([120])
    p = SoftmaxRegression(params).fit(panel).posterior(target.hide(hidden))[0]
    observed = np.flatnonzero(~hidden)
    for site in np.flatnonzero(hidden)[::4]:
        near = np.sort(observed[np.argsort(np.abs(observed - site), kind="stable")[:6]])
        kept = np.sort(np.append(near, site))
        own = (
            SoftmaxRegression(params).fit(panel.take_sites(kept)).posterior(target.take_sites(kept).hide(kept == site))
        )
        np.testing.assert_allclose(p[site], own[0, np.searchsorted(kept, site)], atol=2e-3)


def test_heterozygote_input_adds_an_indicator() -> None:
    model = SoftmaxRegression(SoftmaxParams(inputs="heterozygote"))
    calls = np.array([[0, 1, 2, -1]], dtype=np.int8)
    np.testing.assert_array_equal(model._inputs(calls), [[0, 1, 2, np.nan, 0, 1, 0, np.nan]])


@pytest.mark.panels
def test_real_panel() -> None:
    if "SNPIMPUTE_PANELS" not in os.environ:
        pytest.skip("SNPIMPUTE_PANELS is not set: it names the folder of the real panels")
    folder = Path(os.environ["SNPIMPUTE_PANELS"]) / "kg15-500"
    train, test = (read_matrix(folder / f"{part}.vcf.gz")[0] for part in ("train", "test"))
    table = pd.read_csv(folder / "masked_sites.tsv", sep="\t")
    hidden = np.isin(site_keys(test.sites), table.site[table.missing_percent == 60])
    posterior = SoftmaxRegression(threads=2).fit(train).posterior(test.hide(hidden))
    assert f1_macro(test.calls[:, hidden], posterior[:, hidden].argmax(axis=2)) == pytest.approx(0.969, abs=0.005)
