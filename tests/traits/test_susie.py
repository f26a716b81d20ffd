"""Fine-mapping of one region: the published example's sets, susieR's own numbers, and what does not fit is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from snpimpute.traits.susie import correlation_of, from_products, from_samples, from_summary, log_density, mismatch
from tests.traits.data import ld_calls

SUSIER = Path("/usr/lib/R/site-library/susieR")
PANELS = os.environ.get("SNPIMPUTE_PANELS")
needs_susier = pytest.mark.skipif(
    not (SUSIER.is_dir() and shutil.which("Rscript")), reason="Debian's r-cran-susier is missing"
)
needs_panels = pytest.mark.skipif(PANELS is None, reason="SNPIMPUTE_PANELS is not set")

BY_SUSIER = """
library(susieR)
x <- as.matrix(read.table("x.tsv")); y <- scan("y.tsv", quiet = TRUE)
fit <- susie(x, y, L = 10)
write(fit$pip, "pip.tsv", ncolumns = 1)
write(sapply(fit$sets$cs, paste, collapse = ","), "sets.tsv", ncolumns = 1)
xx <- crossprod(x); z <- scan("z.tsv", quiet = TRUE)
write(susie_rss(z, cov2cor(xx), n = length(y))$pip, "rss.tsv", ncolumns = 1)
write(susie_rss(z, cov2cor(xx), n = length(y), refine = TRUE)$pip, "refined.tsv", ncolumns = 1)
write(estimate_s_rss(z, cov2cor(xx), n = length(y)), "s.tsv")
"""


def z_scores(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    r = x.T @ y / np.sqrt((x**2).sum(axis=0) * (y @ y))
    return r * np.sqrt((len(y) - 2) / (1 - r**2))


@pytest.fixture(scope="module")
def region() -> tuple[np.ndarray, np.ndarray]:
    """Centred calls of 400 samples at 150 sites in LD, and a trait of sites 20 and 110, each with a near copy beside it."""
    rng = np.random.default_rng(3)
    calls = ld_calls(400, 150, seed=5).astype(float)
    for causal in (20, 110):
        calls[:, causal + 1] = np.where(rng.random(400) < 0.02, calls[::-1, causal], calls[:, causal])
    x = calls - calls.mean(axis=0)
    y = x[:, [20, 110]] @ (np.array([0.5, -0.5]) / x[:, [20, 110]].std(axis=0)) + rng.normal(size=400)
    return x, y - y.mean()


@pytest.fixture(scope="module")
def trapped() -> tuple[np.ndarray, np.ndarray]:
    """A trait of sites 73, 83 and 127, of which the first optimum has one."""
    rng = np.random.default_rng(26)
    calls = ld_calls(400, 150, seed=5).astype(float)
    x = calls - calls.mean(axis=0)
    causal = rng.choice(150, 3, replace=False)
    y = (x[:, causal] / x[:, causal].std(axis=0)) @ (rng.choice([-1, 1], 3) * 0.3) + rng.normal(size=400)
    return x, y - y.mean()


def test_refining_finds_causal_sites_that_the_first_optimum_has_not(trapped):
    x, y = trapped
    found = [
        {site for credible in fitted.sets for site in credible.members.tolist()} & {73, 83, 127}
        for fitted in (
            from_summary(z_scores(x, y), correlation_of(x), len(y)),
            from_summary(z_scores(x, y), correlation_of(x), len(y), refine=True),
        )
    ]
    assert [len(of) for of in found] == [1, 3]


def test_causal_sites_are_in_sets_by_samples_and_by_summary(region):
    x, y = region
    of_samples = from_samples(x, y)
    of_summary = from_summary(z_scores(x, y), correlation_of(x), len(y))
    for found in (of_samples, of_summary):
        assert found.converged and len(found.sets) == 2
        assert {20, 110} <= {site for credible in found.sets for site in credible.members.tolist()}
        assert all(credible.coverage >= 0.95 and credible.purity >= 0.5 for credible in found.sets)
        numbers = found.set_of()
        assert set(numbers) == {0, 1, 2} and numbers[found.sets[1].members[0]] == 2
    assert np.corrcoef(of_samples.pip, of_summary.pip)[0, 1] > 0.99


def test_a_set_below_the_purity_that_is_asked_for_is_none():
    """Two sites of one z score, which correlate by .4: one effect has a set of both."""
    n, correlation = 1000, np.array([[1.0, 0.4], [0.4, 1.0]])
    z = np.array([8.0, 8.0])
    of_summary = {purity: from_summary(z, correlation, n, effects=1, purity=purity).sets for purity in (0.3, 0.45, 0.5)}
    assert from_summary(z, correlation, n, effects=1).sets == of_summary[0.45] == of_summary[0.5] == []
    xy = z * np.sqrt(n)
    of_products = from_products(n * correlation, xy, float(n), n, effects=1, purity=0.3).sets
    for (only,) in (of_summary[0.3], of_products):
        assert only.members.tolist() == [0, 1] and only.purity == pytest.approx(0.4)


def test_prior_weights_move_the_probability(region):
    x, y = region
    plain = from_samples(x, y)
    credible = max(plain.sets, key=lambda found: len(found.members)).members
    least = credible[np.argmin(plain.pip[credible])]
    weights = np.ones(x.shape[1])
    weights[least] = 100.0
    assert from_samples(x, y, weights).pip[least] > 2 * plain.pip[least]


def test_exchanged_alleles_and_foreign_ld_are_seen(region):
    x, y = region
    z, r = z_scores(x, y), correlation_of(x)
    s, switched = mismatch(z, r, len(y))
    assert s < 0.1 and not switched.any()
    turned = z.copy()
    turned[20] *= -1
    s, switched = mismatch(turned, r, len(y))
    assert switched[20] and switched.sum() < 5
    foreign = ld_calls(400, 150, seed=99).astype(float)
    foreign = foreign - foreign.mean(axis=0)
    assert mismatch(z, correlation_of(foreign), len(y))[0] > 0.1


def by_susier(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    np.savetxt(folder / "x.tsv", x, fmt="%.10g")
    np.savetxt(folder / "y.tsv", y, fmt="%.12g")
    np.savetxt(folder / "z.tsv", z_scores(x, y), fmt="%.12g")
    subprocess.run(["Rscript", "-e", BY_SUSIER], cwd=folder, check=True, capture_output=True)
    return {name: np.loadtxt(folder / f"{name}.tsv") for name in ("pip", "rss", "refined", "s")}


@needs_susier
def test_the_numbers_are_those_of_susier(region, tmp_path: Path):
    x, y = region
    theirs = by_susier(tmp_path, x, y)
    ours = from_samples(x, y)
    assert np.corrcoef(ours.pip, theirs["pip"])[0, 1] > 0.9999
    assert np.corrcoef(from_summary(z_scores(x, y), correlation_of(x), len(y)).pip, theirs["rss"])[0, 1] > 0.9999
    assert mismatch(z_scores(x, y), correlation_of(x), len(y))[0] == pytest.approx(float(theirs["s"]), abs=1e-3)
    sets = [sorted(map(int, line.split(","))) for line in (tmp_path / "sets.tsv").read_text().split()]
    assert sets == [(credible.members + 1).tolist() for credible in ours.sets]


@needs_susier
def test_what_refining_finds_is_what_susier_finds(trapped, tmp_path: Path):
    x, y = trapped
    theirs = by_susier(tmp_path, x, y)["refined"]
    ours = from_summary(z_scores(x, y), correlation_of(x), len(y), refine=True)
    assert np.corrcoef(ours.pip, theirs)[0, 1] > 0.9999


@pytest.mark.panels
@needs_panels
@needs_susier
def test_the_published_example(tmp_path: Path):
    data = np.load(Path(str(PANELS)) / "traits" / "n3" / "n3.npz")
    x, y = data["X"].astype(float), data["Y"][:, 0].astype(float)
    x, y = x - x.mean(axis=0), y - y.mean()
    found = from_samples(x, y)
    sets = [(credible.members + 1).tolist() for credible in found.sets]
    assert sets[:2] == [[653], [773, 777]] and len(sets) == 3 and 403 in sets[2]
    theirs = by_susier(tmp_path, x, y)
    assert np.corrcoef(found.pip, theirs["pip"])[0, 1] > 0.9999


def test_with_log_densities_by_numpy_it_finds_what_pysusie_finds_by_scipy_to_the_last_bit(region, monkeypatch):
    """Where a prior variance is not finite scipy's is minus infinity, and so is ours."""
    from pysusie import ser

    rng = np.random.default_rng(1)
    x, sd = rng.normal(0, 5, 1000), rng.lognormal(0, 3, 1000)
    sd[:10] = np.inf
    np.testing.assert_array_equal(log_density(x, sd), norm.logpdf(x, loc=0.0, scale=sd))
    found = from_samples(*region)
    assert ser._dnorm_log is log_density
    monkeypatch.setattr(ser, "_dnorm_log", lambda x, sd: norm.logpdf(x, loc=0.0, scale=sd))
    by_scipy = from_samples(*region)
    np.testing.assert_array_equal(found.pip, by_scipy.pip)
    assert len(found.sets) == len(by_scipy.sets) == 2
