"""Scores against scikit-learn and against cases worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from snpimpute.metrics.intervals import interval, resample, resampling_weights
from snpimpute.metrics.maf import maf_bin, maf_bin_names
from snpimpute.metrics.registry import METRICS
from snpimpute.metrics.scores import centred_sums, correlation, f1_macro, non_reference_concordance, scores
from snpimpute.metrics.sums import calibration_bins, confusion, genotype_shares, minor_coding, site_sums


@pytest.fixture
def truth_and_posterior():
    rng = np.random.default_rng(5)
    truth = rng.choice([-1, 0, 1, 2], p=[0.05, 0.6, 0.25, 0.1], size=(40, 30)).astype(np.int8)
    posterior = rng.dirichlet([1, 1, 1], size=truth.shape)
    posterior[np.arange(3) == np.where(truth < 0, 0, truth)[:, :, None]] += 0.7
    return truth, posterior / posterior.sum(axis=2, keepdims=True)


def test_f1_is_that_of_scikit_learn(truth_and_posterior):
    truth, posterior = truth_and_posterior
    calls = posterior.argmax(axis=2)
    known = truth >= 0
    result = scores(site_sums(truth, posterior).sum(axis=(0, 1)))
    each = f1_score(truth[known], calls[known], labels=[0, 1, 2], average=None, zero_division=0)
    np.testing.assert_allclose([result["f1_0"], result["f1_1"], result["f1_2"]], each)
    assert result["f1_macro"] == pytest.approx(f1_score(truth[known], calls[known], labels=[0, 1, 2], average="macro"))
    assert result["f1_micro"] == pytest.approx((truth == calls)[known].mean())
    assert f1_macro(truth, calls) == pytest.approx(float(result["f1_macro"]))
    assert result["wrong"] == (truth != calls)[known].sum()
    assert [result[f"truth_{g}"] for g in (0, 1, 2)] == [(truth == g).sum() for g in (0, 1, 2)]


def test_an_absent_genotype_counts_as_zero():
    assert f1_macro(np.array([0, 0, 1]), np.array([0, 0, 1])) == pytest.approx(2 / 3)


def test_missing_truth_is_not_scored():
    assert confusion(np.array([-1, 0, 2]), np.array([2, 0, 2])).sum() == 2


def r2_by_site(truth, dosage):
    """r² within each site by numpy; NaN where the truth does not vary, 0 where the dosages do not."""
    found = []
    for t, d in zip(truth.T, dosage.T, strict=True):
        t, d = t[t >= 0], d[t >= 0]
        found.append(np.nan if np.ptp(t) == 0 else np.corrcoef(t, d)[0, 1] ** 2 if np.ptp(d) > 0 else 0.0)
    return np.array(found)


def centred_r2(truth, dosage, shares=None):
    known = truth >= 0
    mean = np.where(known, truth, 0).sum(axis=0) / known.sum(axis=0) if shares is None else shares @ [0, 1, 2]
    return np.corrcoef((dosage - mean)[known], (truth - mean)[known])[0, 1] ** 2


def test_dosage_r2_is_within_sites(truth_and_posterior):
    truth, posterior = truth_and_posterior
    truth[:, 3], truth[:, 7] = 0, np.where(truth[:, 7] < 0, -1, 2)  # sites that do not vary in the truth
    posterior[:, 5] = posterior[0, 5]  # a site where all dosages are alike
    dosage = posterior @ [0, 1, 2]
    sums = site_sums(truth, posterior)
    result, by_hand = scores(sums.sum(axis=(0, 1))), r2_by_site(truth, dosage)
    assert result["site_dosage_r2"] == pytest.approx(np.nanmean(by_hand), rel=1e-5)
    assert (result["sites_varied"], result["sites_constant"]) == (28, 2)
    np.testing.assert_allclose(scores(sums.sum(axis=0))["site_dosage_r2"], by_hand, atol=1e-5)
    assert by_hand[5] == 0 and np.isnan(by_hand[[3, 7]]).all()
    assert result["centred_dosage_r2"] == pytest.approx(centred_r2(truth, dosage), rel=1e-4)


def test_what_knows_nothing_of_a_sample_scores_nothing():
    """Sites of very unlike frequency: pooled over calls, the most frequent genotype of each has an r² of .75."""
    rng = np.random.default_rng(3)
    frequency = np.repeat([0.02, 0.5, 0.97], 40)
    truth = rng.binomial(2, frequency, (200, 120)).astype(np.int8)
    shares = genotype_shares(truth)
    for guess in (np.eye(3)[shares.argmax(axis=1)], shares):
        posterior = np.broadcast_to(guess, (200, 120, 3))
        pooled = np.corrcoef(truth.ravel(), (posterior @ [0, 1, 2]).ravel())[0, 1] ** 2
        for some in (slice(None), slice(0, 40), slice(80, 120)):
            result = scores(site_sums(truth[:, some], posterior[:, some]).sum(axis=(0, 1), dtype=float))
            for metric in ("site_dosage_r2", "centred_dosage_r2", "centred_iqs"):
                assert result[metric] == pytest.approx(0, abs=1e-3), metric
        assert pooled > 0.7


def test_sites_of_few_calls_are_left_out_of_r2_within_sites():
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, (40, 3)).astype(np.int8)
    truth[9:, 0] = -1  # nine calls of forty samples are left
    posterior = rng.dirichlet([1, 1, 1], truth.shape)
    result = scores(site_sums(truth, posterior).sum(axis=(0, 1)))
    assert result["sites_varied"] == 2 and result["sites_constant"] == 0
    assert result["site_dosage_r2"] == pytest.approx(r2_by_site(truth, posterior @ [0, 1, 2])[1:].mean(), rel=1e-5)
    few = scores(site_sums(truth[:6], posterior[:6]).sum(axis=(0, 1)))  # no more samples are there
    assert few["sites_varied"] == 3
    parts = scores(site_sums(truth, posterior, shares=genotype_shares(truth), whole=False).sum(axis=(0, 1)))
    assert np.isnan(parts["site_dosage_r2"]) and parts["centred_dosage_r2"] == pytest.approx(
        result["centred_dosage_r2"]
    )


def test_resampled_r2_within_sites_is_near_that_of_the_samples_drawn():
    """Sums add up to first order: the interval is that of r² worked out anew from the drawn samples."""
    rng = np.random.default_rng(6)
    truth = rng.binomial(2, rng.uniform(0.1, 0.9, 60), (150, 60)).astype(np.int8)
    posterior = 0.5 * np.eye(3)[truth] + 0.5 * rng.dirichlet([1, 1, 1], truth.shape)
    dosage = posterior @ [0, 1, 2]
    weights, _ = resampling_weights(np.arange(150), 1, 100, 1)
    sums = site_sums(truth, posterior).astype(float).sum(axis=1)
    found = scores(weights @ sums)["site_dosage_r2"]
    drawn = [np.repeat(np.arange(150), times.astype(int)) for times in weights]
    anew = np.array([r2_by_site(truth[rows], dosage[rows]).mean() for rows in drawn])
    assert np.corrcoef(found, anew)[0, 1] > 0.95
    assert np.std(found) == pytest.approx(np.std(anew), rel=0.15)


def test_log_loss_and_calibration(truth_and_posterior):
    truth, posterior = truth_and_posterior
    known = truth >= 0
    result = scores(site_sums(truth, posterior).sum(axis=(0, 1)))
    right = np.take_along_axis(posterior[known], truth[known][:, None].astype(int), axis=1)
    assert result["log_loss"] == pytest.approx(-np.log(np.clip(right, 1e-4, 1)).mean(), rel=1e-5)
    confidence, correct = posterior.max(axis=2)[known], (posterior.argmax(axis=2) == truth)[known]
    bins = np.minimum((confidence * 10).astype(int), 9)
    ece = sum(abs(confidence[bins == b].sum() - correct[bins == b].sum()) for b in range(10)) / known.sum()
    assert result["ece"] == pytest.approx(ece, rel=1e-4)


def test_bins_of_confidence_do_not_make_up_for_each_other():
    """Ten calls at confidence .95 of which half are right, ten at .45 of which all are: .45 and .55 away, not −.05."""
    truth = np.array([[0] * 5 + [1] * 5 + [0] * 10], dtype=np.int8)
    posterior = np.array([[0.95, 0.03, 0.02]] * 10 + [[0.45, 0.30, 0.25]] * 10)[None]
    result = scores(site_sums(truth, posterior).sum(axis=(0, 1)))
    assert result["ece"] == pytest.approx((0.45 + 0.55) / 2, abs=1e-6)


def test_a_true_genotype_that_was_ruled_out_costs_as_much_as_one_in_ten_thousand():
    truth = np.array([[2, 0]], dtype=np.int8)
    result = scores(site_sums(truth, np.array([[[1.0, 0, 0], [1.0, 0, 0]]])).sum(axis=(0, 1)))
    assert result["log_loss"] == pytest.approx(-np.log(1e-4) / 2, rel=1e-5)


def test_iqs_by_hand():
    """Lin et al. 2010: 10 calls, 8 agree; chance agreement from the margins (6·6 + 4·4)/100 = .52. Of two sites chance is by site."""
    truth = np.array([[0] * 6 + [1] * 4], dtype=np.int8).T
    calls = np.array([[0] * 5 + [1] + [1] * 3 + [0]]).T
    result = scores(site_sums(truth, np.eye(3)[calls]).sum(axis=(0, 1)))
    assert result["centred_iqs"] == pytest.approx((0.8 - 0.52) / (1 - 0.52))
    both = np.hstack([truth, np.full((10, 1), 2)]).astype(np.int8), np.hstack([calls, np.full((10, 1), 2)])
    result = scores(site_sums(both[0], np.eye(3)[both[1]]).sum(axis=(0, 1)))
    assert result["centred_iqs"] == pytest.approx((0.9 - 0.76) / (1 - 0.76))


def test_without_variation_there_is_no_r2():
    truth = np.zeros((3, 4), dtype=np.int8)
    result = scores(site_sums(truth, np.eye(3)[truth]).sum(axis=(0, 1)))
    assert all(np.isnan(result[metric]) for metric in ("site_dosage_r2", "centred_dosage_r2", "centred_iqs"))


def test_two_calls_are_enough_for_an_r2():
    truth = np.array([[0], [1]], dtype=np.int8)
    result = scores(site_sums(truth, np.array([[[1.0, 0, 0]], [[0.9, 0.1, 0]]])).sum(axis=(0, 1)))
    assert result["centred_dosage_r2"] == pytest.approx(1, rel=1e-4)


def test_iqs_is_unknown_where_all_but_rounding_is_of_one_genotype():
    """What float32 leaves of 1e-10 is no disagreement: 0/0, not 1."""
    truth = np.zeros((1, 3), dtype=np.int8)
    posterior = np.broadcast_to([1 - 2e-10, 1e-10, 1e-10], (1, 3, 3))
    assert np.isnan(scores(site_sums(truth, posterior).sum(axis=(0, 1)))["centred_iqs"])


def test_bins_of_confidence_hold_each_call_once_and_none_is_below_a_third(truth_and_posterior):
    truth, posterior = truth_and_posterior
    bins = calibration_bins(site_sums(truth, posterior).sum(axis=(0, 1)))
    confidence = posterior.max(axis=2)[truth >= 0]
    assert bins[:, 0].tolist() == np.histogram(confidence, np.linspace(0, 1, 11))[0].tolist()
    assert bins[:3, 0].tolist() == [0, 0, 0] and np.isnan(bins[:3, 1:]).all()


def test_minor_coding_turns_alt_major_sites_round():
    truth = np.array([[2, 0], [1, -1]], dtype=np.int8)
    posterior = np.eye(3)[np.array([[2, 0], [1, 1]])]
    flipped, turned = minor_coding(truth, posterior, np.array([True, False]))
    assert flipped.tolist() == [[0, 0], [1, -1]]
    assert turned.argmax(axis=2).tolist() == [[0, 0], [1, 1]]


def test_resampling_keeps_families_together_and_is_paired():
    units = np.array([0, 0, 1, 1, 1, 2])
    samples, cells = resampling_weights(units, 4, 500, seed=2)
    assert (samples[:, 0] == samples[:, 1]).all() and (samples[:, 2] == samples[:, 4]).all()
    assert (cells.sum(axis=1) == 4).all()
    again, _ = resampling_weights(units, 4, 500, seed=2)
    assert (samples == again).all()


def test_resample_sums_what_was_drawn():
    sums = np.arange(3 * 2 * 2, dtype=float).reshape(3, 2, 2)
    weights = (np.array([[2.0, 0.0, 1.0]]), np.array([[1.0, 1.0]]))
    expected = 2 * sums[0].sum(axis=0) + sums[2].sum(axis=0)
    np.testing.assert_allclose(resample(sums, weights)[0], expected)


def test_an_interval_leaves_out_a_fortieth_on_each_side():
    assert interval(np.append(np.arange(1001.0), np.nan)) == pytest.approx((25, 975))


def test_an_interval_covers_the_truth_as_often_as_it_says():
    """Accuracy .8 of 60 samples × 20 sites in four masks: the 95% interval covers .8 in 92–98% of 300 repeats."""
    covered = 0
    rng = np.random.default_rng(3)
    for repeat in range(300):
        truth = np.zeros((60, 80), dtype=np.int8)
        calls = (rng.random(truth.shape) > 0.8).astype(int)
        sums = site_sums(truth, np.eye(3)[calls]).reshape(60, 4, 20, -1).sum(axis=2)
        drawn = scores(resample(sums, (*resampling_weights(np.arange(60), 1, 200, repeat)[:1], np.ones((200, 4)))))
        low, high = interval(drawn["f1_micro"])
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 300 <= 0.985


def test_hard_calls_and_dosages_given_beside_the_posterior(truth_and_posterior):
    truth, posterior = truth_and_posterior
    rng = np.random.default_rng(1)
    calls, dosage = rng.integers(0, 3, truth.shape), rng.uniform(0, 2, truth.shape)
    calls[truth < 0] = -1
    known = truth >= 0
    sums = site_sums(truth, posterior, calls, dosage).sum(axis=(0, 1))
    result = scores(sums)
    assert result["f1_micro"] == pytest.approx((truth == calls)[known].mean())
    assert result["centred_dosage_r2"] == pytest.approx(centred_r2(truth, dosage), rel=1e-3, abs=1e-6)
    without = scores(site_sums(truth, posterior).sum(axis=(0, 1)))
    assert result["centred_iqs"] == pytest.approx(without["centred_iqs"], rel=1e-5)
    seen = known & ~((truth == 0) & (calls == 0))
    assert non_reference_concordance(sums) == pytest.approx((truth == calls)[seen].mean())


def test_non_reference_concordance_of_references_alone_is_unknown():
    truth = np.zeros((1, 4), dtype=np.int8)
    assert np.isnan(non_reference_concordance(site_sums(truth, np.eye(3)[truth]).sum(axis=(0, 1))))


def test_a_guess_by_frequency_alone_has_no_centred_correlation(truth_and_posterior):
    rng = np.random.default_rng(2)
    frequency = rng.uniform(0.05, 0.95, 4000)
    truth = rng.binomial(2, frequency, (3, 4000)).astype(np.int8)
    truth[:, ::7] = -1
    guess = rng.binomial(2, frequency, (3, 4000))
    assert np.corrcoef(truth[0][truth[0] >= 0], guess[0][truth[0] >= 0])[0, 1] > 0.3
    assert np.abs(correlation(centred_sums(truth, guess, frequency))).max() < 0.07
    part = [centred_sums(truth[:, half], guess[:, half], frequency[half]) for half in (slice(0, 999), slice(999, None))]
    np.testing.assert_allclose(sum(part), centred_sums(truth, guess, frequency))
    np.testing.assert_allclose(correlation(centred_sums(truth, truth, frequency)), 1.0)
    assert np.isnan(correlation(centred_sums(truth, guess, np.full(4000, np.nan)))).all()


def test_maf_bins_hold_their_lower_bound():
    names = maf_bin_names()
    found = maf_bin(np.array([0.0, 0.0099, 0.01, 0.05, 0.25, 0.5, np.nan]))
    assert [names[b] for b in found[:-1]] == [
        "0.00-0.01",
        "0.00-0.01",
        "0.01-0.05",
        "0.05-0.10",
        "0.20-0.30",
        "0.40-0.50",
    ]
    assert found[-1] == -1


def test_differences_are_shown_for_the_metrics_that_readers_compare() -> None:
    assert {metric.key for metric in METRICS.values() if metric.compared} == {
        "f1_macro",
        "f1_micro",
        "f1_1",
        "site_dosage_r2",
        "centred_dosage_r2",
    }


def test_metrics_of_calls_are_those_that_other_probabilities_of_the_same_calls_leave_as_they_are(truth_and_posterior):
    truth, posterior = truth_and_posterior
    calls = posterior.argmax(axis=2)
    other = 0.6 * np.eye(3)[calls] + 0.4 * posterior
    before, after = (scores(site_sums(truth, one).sum(axis=(0, 1))) for one in (posterior, other))
    unchanged = {key for key in METRICS if before[key] == pytest.approx(after[key], abs=1e-12)}
    assert {key for key, metric in METRICS.items() if metric.of_calls} == unchanged


def test_metrics_of_calls_need_no_posterior():
    assert not [key for key, metric in METRICS.items() if metric.of_calls and metric.needs_posterior]
    assert {"log_loss", "ece"} == {key for key, metric in METRICS.items() if metric.needs_posterior}
