"""Tests of sites: effects, errors and p-values are those of statsmodels and of a dense mixed model; families do not inflate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import f as f_distribution

from snpimpute.base.errors import InputError
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.gwas import genomic_inflation
from snpimpute.traits.models import mixed_model, negative_log10, regression
from snpimpute.traits.phenotypes import Trait
from snpimpute.traits.relatedness import parts_to_test, relatedness_of
from tests.traits.data import dosages_of, families, sites_of, trait_with, unrelated

TOLERANCE = 1e-4  # relative


@pytest.fixture(scope="module")
def dosages() -> Dosages:
    return unrelated()


def with_covariates(dosages: Dosages, binary: bool) -> Trait:
    """A trait with an effect of site 3 and of a covariate around 2,000; a covariate of words as 0 and 1."""
    rng = np.random.default_rng(2)
    columns = np.column_stack([rng.normal(2000, 5, dosages.n_samples), rng.random(dosages.n_samples) < 0.4])
    values = (
        0.4 * np.nan_to_num(dosages.values[:, 3]) + 0.1 * (columns[:, 0] - 2000) + rng.normal(size=dosages.n_samples)
    )
    return trait_with(dosages, values > 0.3 if binary else values, columns, binary)


@pytest.mark.parametrize("kind", ["linear", "logistic", "linear of 0 and 1"])
def test_regressions_are_those_of_statsmodels(dosages, kind):
    import statsmodels.api as sm

    trait = with_covariates(dosages, kind != "linear")
    found = regression(dosages, trait, logistic=kind == "logistic")
    for j in range(dosages.n_sites):
        known = np.isfinite(dosages.values[:, j])
        columns = [dosages.values[known, j], trait.covariates[known] - trait.covariates.mean(axis=0)]
        design = sm.add_constant(np.column_stack(columns).astype(float))
        model = sm.Logit if kind == "logistic" else sm.OLS
        fitted = model(trait.values[known], design).fit(disp=0)
        row = found.iloc[j]
        assert row.n == known.sum()
        assert row.beta == pytest.approx(fitted.params[1], rel=TOLERANCE)
        assert row.standard_error == pytest.approx(fitted.bse[1], rel=TOLERANCE)
        assert row.p_value == pytest.approx(fitted.pvalues[1], rel=TOLERANCE)
        assert 10**-row.neg_log_10_p_value == pytest.approx(fitted.pvalues[1], rel=TOLERANCE)
    assert found.neg_log_10_p_value.idxmax() == 3


def dense_mixed_model(x: np.ndarray, trait: Trait, relationship: np.ndarray) -> tuple[float, float, float]:
    """Effect, standard error and p-value of one site, by REML over the ratio of variances with dense matrices."""
    design = np.column_stack([np.ones(len(x)), trait.covariates - trait.covariates.mean(axis=0), x])
    n, k = design.shape

    def solve(log_ratio: float) -> tuple[float, np.ndarray, np.ndarray, float]:
        variance = np.exp(log_ratio) * relationship + np.eye(n)
        inverse = np.linalg.inv(variance)
        information = design.T @ inverse @ design
        effects = np.linalg.solve(information, design.T @ inverse @ trait.values)
        rest = trait.values - design @ effects
        sigma2 = rest @ inverse @ rest / (n - k)
        minus = np.linalg.slogdet(variance)[1] + np.linalg.slogdet(information)[1] + (n - k) * np.log(sigma2)
        return minus / 2, effects, information, sigma2

    grid = np.linspace(-11.5, 11.5, 47)  # GEMMA's bounds are 1e-5 and 1e5
    best = grid[np.argmin([solve(at)[0] for at in grid])]
    at = minimize_scalar(
        lambda v: solve(v)[0], bounds=(best - 0.5, best + 0.5), method="bounded", options={"xatol": 1e-8}
    ).x
    _, effects, information, sigma2 = solve(at)
    error = np.sqrt(sigma2 * np.linalg.inv(information)[-1, -1])
    return effects[-1], error, f_distribution.sf((effects[-1] / error) ** 2, 1, n - k)


def test_the_mixed_model_is_that_of_a_dense_solution():
    rng = np.random.default_rng(4)
    family, breeding = families(rng, 25, 4, 80)
    values = family.values.copy()
    values[rng.random(values.shape) < 0.03] = np.nan
    family = dosages_of(values, family.sites)
    covariates = rng.normal(size=(family.n_samples, 2))
    effect = 0.5 * np.nan_to_num(values[:, 5])
    trait = trait_with(family, breeding + effect + rng.normal(size=family.n_samples), covariates)
    found, parts = mixed_model(family, trait)
    assert parts == ["contig 1", "contig 2", "contig 3", "contig 4"]
    for _, part, relationship in parts_to_test(family, np.ones(family.n_sites, dtype=bool)):
        for j in np.flatnonzero(part)[:6]:
            x = np.where(np.isfinite(values[:, j]), values[:, j], np.nanmean(values[:, j]))
            effect, error, p = dense_mixed_model(x, trait, relationship)
            assert found.beta[j] == pytest.approx(effect, rel=TOLERANCE, abs=TOLERANCE * error)
            assert found.standard_error[j] == pytest.approx(error, rel=TOLERANCE)
            assert found.p_value[j] == pytest.approx(p, rel=TOLERANCE)


def mean_inflation(simulations: int, n_families: int, n_sites: int, n_tested: int) -> dict[str, float]:
    """Mean genomic inflation of traits without effects of the sites tested, in families of four, by model."""
    rng = np.random.default_rng(5)
    inflation: dict[str, list[float]] = {"mixed": [], "linear": []}
    for _ in range(simulations):
        family, breeding = families(rng, n_families, 4, n_sites)
        trait = trait_with(family, breeding + rng.normal(size=family.n_samples))
        tested = np.arange(family.n_sites) < n_tested
        mixed, _ = mixed_model(family, trait, tested)
        linear = regression(family.take_sites(tested), trait)
        for name, results in (("mixed", mixed), ("linear", linear)):
            inflation[name].append(genomic_inflation(results.neg_log_10_p_value.to_numpy()))
    means = {name: float(np.mean(values)) for name, values in inflation.items()}
    print(means, {name: float(np.std(values) / simulations**0.5) for name, values in inflation.items()})
    return means


def test_a_null_trait_in_families_inflates_the_linear_model():
    means = mean_inflation(4, 120, 12_000, 500)
    assert means["mixed"] < 1.1 < means["linear"]


@pytest.mark.panels
def test_a_null_trait_in_families_inflates_the_linear_model_alone():
    """Over 50 simulations, of 1,000 sites beside 15,000 that tell relationship: two minutes."""
    means = mean_inflation(50, 120, 16_000, 1000)
    assert 0.95 <= means["mixed"] <= 1.05
    assert means["linear"] > 1.1


def test_relatives_are_found_where_the_sites_can_tell():
    rng = np.random.default_rng(6)
    family, _ = families(rng)
    found = relatedness_of(family)
    assert found.known and found.many and found.close == family.n_samples
    alone = relatedness_of(unrelated(200, 200, tuple("1234"), seed=7))
    assert alone.known and not alone.many and alone.close == 0
    few = relatedness_of(unrelated(200, 20, ("1",), seed=8))
    assert not few.known and not few.many and "do not tell relatives from others" in few.sentence()


def test_what_is_tested_is_left_out_of_the_relationship():
    few = unrelated(60, 30, ("1",))
    everything = np.ones(few.n_sites, dtype=bool)
    stretches = list(parts_to_test(few, everything))
    assert [what for what, _, _ in stretches] == [f"stretch {i} of 10" for i in range(1, 11)]
    part = stretches[2][1]
    changed = few.values.copy()
    changed[:, part] = 0
    again = list(parts_to_test(dosages_of(changed, few.sites), everything))[2]
    np.testing.assert_allclose(again[2], stretches[2][2], atol=1e-12)
    region = np.arange(few.n_sites) < 7
    ((what, tested, _),) = parts_to_test(few, region)
    assert what == "the region tested" and (tested == region).all()


def test_sites_that_cannot_be_tested_are_none():
    values = unrelated(50, 10).values.copy()
    values[:, 4] = 1.0
    dosages = dosages_of(values, sites_of(["23", "chrUn_1"], 10))
    covariate = np.where(np.isfinite(values[:, 6]), values[:, 6], 0.0)
    values[:, 6] = covariate
    trait = trait_with(dosages, np.random.default_rng(1).normal(size=50), covariate[:, None])
    found = regression(dosages_of(values, dosages.sites), trait)
    assert found.beta.isna().to_numpy().nonzero()[0].tolist() == [4, 6]


def test_p_values_below_what_a_float_holds():
    assert negative_log10("2.5e-400") == pytest.approx(399.60206)
    assert np.isnan(negative_log10("NA")) and np.isnan(negative_log10("0"))
    assert genomic_inflation(np.full(9, -np.log10(0.5))) == pytest.approx(1.0)


def test_a_missing_program_is_named(dosages, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        InputError,
        match=r"plink2 is missing: testing or fine-mapping sites needs it \(Debian: apt-get install plink2\)",
    ):
        regression(dosages, with_covariates(dosages, False))


def test_more_contigs_than_the_programs_take_are_refused():
    many = dosages_of(np.ones((4, 96)), sites_of([f"c{i}" for i in range(96)], 1))
    with pytest.raises(InputError, match="on 96 contigs, and plink2 takes 95"):
        regression(many, trait_with(many, np.arange(4.0)))
