"""Shadow of a challenger: both models impute the same files, hidden typed calls decide, and only the better one is promoted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import wilcoxon

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.champions import fetch_model, find_model
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.shadow import ShadowSettings, compared, hidden_and_imputed, shadow
from snpimpute.imputers.testing import small_panel
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.sums import site_sums
from snpimpute.tracking.runs import CHAMPION
from snpimpute.tracking.writer import Tracker
from tests.cli.test_app import said

SETTINGS = ShadowSettings(hide=0.2)


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory, store_once):
    """Two versions of a name, fitted to different samples and windows: `mode`, the champion, and a regression."""
    folder = tmp_path_factory.mktemp("shadowed")
    runs, calves = folder / "runs", small_panel(200, n_sites=120, missing=0.0, switches=0.01)
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    for imputer, n, window in (("mode", 100, "60"), ("softmax_regression", 140, "120")):
        write_vcf(folder / f"panel{n}.vcf.gz", calves.take_samples(slice(0, n)))
        settings = FitSettings(folder / f"panel{n}.vcf.gz", "calves", imputer, window=window, holdout=0.0)
        fit(settings, runs, lambda: tracker)
    typed = calves.take_sites(slice(0, None, 2))
    for number in range(2):
        write_vcf(folder / f"batch{number}.vcf.gz", typed.take_samples(slice(140 + 30 * number, 170 + 30 * number)))
    return tracker, runs, folder


def test_both_models_are_scored_at_the_same_hidden_calls(shadowed):
    tracker, runs, folder = shadowed
    models = [fetch_model(tracker, find_model(tracker, f"calves/{version}"), runs) for version in (1, 2)]
    truth, (by_mode, by_regression) = hidden_and_imputed(models, folder / "batch0.vcf.gz", SETTINGS, Watch())
    assert truth.shape[0] == 30 and truth.shape[1] > 9 and (truth != MISSING).all()
    assert by_mode.shape == by_regression.shape == (*truth.shape, 3)
    np.testing.assert_allclose(by_mode, np.broadcast_to(by_mode[0], by_mode.shape), atol=1e-4)  # it saw none of them
    right = [(posterior.argmax(axis=2) == truth).mean() for posterior in (by_mode, by_regression)]
    assert right[1] > right[0] + 0.1
    found = compared(["a", "b"], [site_sums(truth, p).sum(axis=1, dtype=float) for p in (by_mode, by_regression)], 1)
    assert found.concordance == pytest.approx(right) and found.n_calls == truth.size
    of_samples = [(posterior.argmax(axis=2) == truth).mean(axis=1) for posterior in (by_mode, by_regression)]
    assert found.p == pytest.approx(wilcoxon((of_samples[1] - of_samples[0]).round(9)).pvalue)
    assert 0 < found.low < found.difference < found.high and found.better


def test_only_the_better_one_is_promoted_and_the_move_says_why(shadowed, capsys, monkeypatch):
    tracker, runs, folder = shadowed
    files = [folder / f"batch{number}.vcf.gz" for number in range(2)]
    with pytest.raises(
        InputError, match=r"version 1 is not better: macro-F1 -0\.\d+ \(-0\.\d+ to -0\.\d+\) at \d+ hidden typed"
    ):
        shadow(tracker, "calves/2", "calves/1", files, SETTINGS, runs, move=True)
    assert tracker.aliases("snpimpute-calves-panel")[CHAMPION] == "1"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    verb = ("models", "shadow", "calves@champion", "calves/2", *files, "--hide", "20%", "--runs", runs, "--threads", 1)
    status, out, _ = said(capsys, monkeypatch, *verb, "--json")
    found = json.loads(out)
    assert status == 0 and found["better"] and found["n_samples"] == 60 and found["n_calls"] % 60 == 0
    assert tracker.aliases("snpimpute-calves-panel")[CHAMPION] == "1"  # not asked for
    status, out, _ = said(capsys, monkeypatch, *verb, "--promote")
    assert status == 0 and out.splitlines()[-1].endswith("version 2 is better; it is the champion now")
    assert tracker.aliases("snpimpute-calves-panel")[CHAMPION] == "2"
    assert tracker.moves("snpimpute-calves-panel")[-1].why.startswith("shadow: macro-F1 +")
    status, _, err = said(capsys, monkeypatch, *verb, "--promote")
    assert status == 2 and "are the same version: there is nothing to compare" in err
    status, out, _ = said(capsys, monkeypatch, "models", "rollback", "calves", "--runs", runs)
    assert status == 0 and tracker.aliases("snpimpute-calves-panel")[CHAMPION] == "1"
