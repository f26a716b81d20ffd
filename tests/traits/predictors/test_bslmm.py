"""BSLMM by GEMMA: the contract, its effects beside GEMMA's own predictions, and what is said where GEMMA is missing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.traits import evaluate
from snpimpute.traits.attributions import attributions, methods_of
from snpimpute.traits.exchange import run_tool
from snpimpute.traits.predictors import bslmm, decided_by
from snpimpute.traits.predictors.bslmm import Bslmm
from snpimpute.traits.predictors.ridge import Ridge
from snpimpute.traits.predictors.testing import PredictorContract, small_cohort

needs_gemma = pytest.mark.skipif(shutil.which("gemma") is None, reason="GEMMA is not installed")
QUICK = {"burn_in": 100, "steps": 1000}


@needs_gemma
class TestBslmm(PredictorContract):
    Predictor = Bslmm
    quick = QUICK

    def test_it_predicts_as_gemma_does(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """GEMMA's -predict, from the files of the same chain, differs by a constant alone: it centres anew."""
        cohort = replace(small_cohort(100), covariates=np.empty((100, 0)))
        panel, rest = cohort.take_samples(np.arange(70)), cohort.take_samples(np.arange(70, 100))

        def kept(name: str, arguments: list[str], folder: Path, env: dict[str, str]) -> str:
            said = run_tool(name, arguments, folder, env)
            shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
            return said

        monkeypatch.setattr(bslmm, "run_tool", kept)
        predictor = Bslmm(Bslmm.parse_params(QUICK)).fit(panel)
        x = predictor.encoding.encode(cohort.take_sites(predictor.chosen).posterior)[:, :, 0]
        lines = ["\t".join([f"s{j}", "A", "B", *(f"{v:.7g}" for v in column)]) for j, column in enumerate(x.T)]
        (tmp_path / "all.txt").write_text("\n".join(lines) + "\n")
        values = [f"{value:.9g}" for value in panel.values] + ["NA"] * 30
        (tmp_path / "known.txt").write_text("\n".join(values) + "\n")
        command = "-g all.txt -p known.txt -predict 1 -epm found.param.txt -emu found.log.txt -outdir . -o their"
        run_tool("gemma", [*command.split(), *["-miss", "1", "-maf", "0", "-r2", "1", "-notsnp"]], tmp_path)
        theirs = np.loadtxt(tmp_path / "their.prdt.txt", dtype=str)[70:].astype(float)
        apart = predictor.predict(rest) - theirs
        np.testing.assert_allclose(apart, apart.mean(), atol=1e-4)
        assert theirs.std() > 0.1

    def test_its_results_are_kept_by_the_version_of_gemma(self) -> None:
        source, version = decided_by(Bslmm)
        assert version.startswith("GEMMA 0.") and [source] != decided_by(Ridge)

    def test_a_large_effect_is_found_and_explained(self) -> None:
        cohort = small_cohort(200)
        alone = cohort.posterior[:, 17] @ np.arange(3)
        values = np.where(np.isfinite(alone), alone, 1.0) * 2 + np.random.default_rng(1).normal(0, 0.5, 200)
        predictor = Bslmm(Bslmm.parse_params(QUICK)).fit(replace(cohort, values=values))
        assert methods_of(predictor) == ("effects",)
        assert np.abs(attributions(predictor, cohort, "effects")).mean(axis=0).argmax() == 17

    def test_one_site_and_more_sites_than_samples(self) -> None:
        for cohort in (small_cohort(40).take_sites([3]), small_cohort(40, 200)):
            assert np.isfinite(Bslmm(Bslmm.parse_params(QUICK)).fit(cohort).predict(cohort)).all()


def test_without_gemma_it_is_left_out_of_all_and_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNPIMPUTE_GEMMA", "/no/such/program")
    monkeypatch.setattr(evaluate, "names", lambda: ["bslmm", "gblup"])
    classes, notes = evaluate._classes(("all",))
    assert list(classes) == ["gblup", "lightgbm"] and "bslmm left out: SNPIMPUTE_GEMMA names" in notes[0]
    with pytest.raises(InputError, match="SNPIMPUTE_GEMMA"):
        evaluate._classes(("bslmm",))
    monkeypatch.delenv("SNPIMPUTE_GEMMA")
    monkeypatch.setenv("PATH", "/no/such/folder")
    with pytest.raises(InputError, match="gemma is missing: the predictor bslmm needs it"):
        Bslmm().fit(small_cohort(40))
    assert "bslmm" not in evaluate.plain_predictors()
