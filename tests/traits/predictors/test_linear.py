"""Linear predictors, kernels and trees: the contract, and each against an independent solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snpimpute.traits.predictors.elastic_net import ElasticNet
from snpimpute.traits.predictors.gblup import Gblup
from snpimpute.traits.predictors.lightgbm import Lightgbm
from snpimpute.traits.predictors.ridge import Ridge
from snpimpute.traits.predictors.rkhs import Rkhs
from snpimpute.traits.predictors.testing import PredictorContract, small_cohort


class TestGblup(PredictorContract):
    Predictor = Gblup

    def test_it_equals_a_dense_solution_of_the_mixed_model(self) -> None:
        """Henderson's equations with the variances found, and a likelihood that is highest there, both written out."""
        cohort = small_cohort(150)
        panel, rest = cohort.take_samples(np.arange(110)), cohort.take_samples(np.arange(110, 150))
        predictor = Gblup().fit(panel)
        z = predictor.encoding.encode(cohort.take_sites(predictor.chosen).posterior)[:, :, 0].astype(float)
        k = z @ z.T / z.shape[1]
        x = np.column_stack([np.ones(150), cohort.covariates])
        a = slice(110)

        def restricted(h2: float) -> float:
            v = h2 * k[a, a] + (1 - h2) * np.eye(110)
            inverse = np.linalg.inv(v)
            xvx = x[a].T @ inverse @ x[a]
            p = inverse - inverse @ x[a] @ np.linalg.solve(xvx, x[a].T @ inverse)
            y = panel.values
            return -0.5 * (108 * np.log(y @ p @ y) + np.linalg.slogdet(v)[1] + np.linalg.slogdet(xvx)[1])

        grid = np.linspace(0.01, 0.99, 99)
        best = grid[np.argmax([restricted(h2) for h2 in grid])]
        assert predictor.heritability == pytest.approx(best, abs=0.011)
        h2 = predictor.heritability
        v = h2 * k[a, a] + (1 - h2) * np.eye(110)
        b = np.linalg.solve(x[a].T @ np.linalg.solve(v, x[a]), x[a].T @ np.linalg.solve(v, panel.values))
        expected = x[110:] @ b + h2 * k[110:, a] @ np.linalg.solve(v, panel.values - x[a] @ b)
        assert np.corrcoef(predictor.predict(rest), expected)[0, 1] > 0.9999
        np.testing.assert_allclose(predictor.predict(rest), expected, atol=1e-3)


class TestRkhs(PredictorContract):
    Predictor = Rkhs


class TestRidge(PredictorContract):
    Predictor = Ridge

    def test_covariates_are_not_shrunk(self) -> None:
        cohort = small_cohort(200, heritability=0.01)
        strong = replace(cohort, values=cohort.values + 10 * cohort.covariates[:, 0])
        assert Ridge().fit(strong)._fixed[1] == pytest.approx(10.5, abs=0.3)


class TestElasticNet(PredictorContract):
    Predictor = ElasticNet

    def test_few_sites_have_effects(self) -> None:
        predictor = ElasticNet(ElasticNet.parse_params({"l1_ratio": 1.0})).fit(small_cohort(300))
        assert 1 <= (predictor.effects() != 0).sum() <= 30


class TestLightgbm(PredictorContract):
    Predictor = Lightgbm
    quick = {"trees": 60}

    def test_contributions_add_up_to_the_prediction(self) -> None:
        cohort = replace(small_cohort(), covariates=np.empty((120, 0)))
        predictor = Lightgbm(Lightgbm.parse_params(self.quick)).fit(cohort)
        summed = predictor.contributions(cohort).sum(axis=1)
        offset = predictor.predict(cohort) - summed
        np.testing.assert_allclose(offset, offset[0], atol=1e-4)
