"""Registered models, scored again from the registry: which are taken, which are left out, and what is said of them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.experiment import pipeline
from snpimpute.experiment.registered import evaluate_registered
from snpimpute.experiment.rows import Outcome
from snpimpute.experiment.score import read_scores
from snpimpute.experiment.settings import ExperimentSettings, VariantSettings
from snpimpute.tracking.models import CARD
from snpimpute.tracking.writer import Tracker


def settings(seed: int = 1, l2: float | None = None, **changes: object) -> ExperimentSettings:
    """The panel's frequencies and a regression on few simulated samples and sites."""
    data = DataSettings(
        simulation={"n_samples": 60, "n_sites": 30}, scenarios=ScenarioSettings(levels=(60,), repeats=1)
    )
    row = VariantSettings() if l2 is None else VariantSettings(params={"l2": l2})
    table = {
        "name": "little",
        "seed": seed,
        "threads": 1,
        "data": {"calves": data},
        "imputers": ("mode", "softmax_regression"),
        "variants": {"softmax_regression": {"default": row}},
        "only_listed_variants": True,
        "scoring": {"resamples": 100},
    }
    return ExperimentSettings(**{**table, **changes})


@dataclass
class Listening(Watch):
    """Keeps what it is told."""

    stages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stage(self, text: str, at_most: float | None = None) -> None:
        self.stages.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(autouse=True)
def default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The experiment done once, to the end, and a model of another split registered under the same name."""
    runs = tmp_path_factory.mktemp("registered") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        outcome = pipeline.run(settings(), runs)
        pipeline.run(settings(seed=2), runs, until="train", only=["mode"])
    assert outcome.failures == []
    return runs, outcome


@pytest.fixture
def runs(trained: tuple[Path, Outcome], tmp_path: Path) -> Path:
    """A copy of the experiment's folder: stores follow when they are moved."""
    return Path(shutil.copytree(trained[0], tmp_path / "runs"))


def scores(outcome: Outcome) -> pd.DataFrame:
    """The table of scores but for the seconds, which differ from run to run."""
    table = read_scores(outcome.scores["calves"])
    table = table[table["metric"] != "seconds"]
    return table.sort_values(list(table.columns[:12])).reset_index(drop=True)


def headline(outcome: Outcome, metric: str) -> pd.Series:
    """A score of the independent masks by imputer and variant."""
    table = scores(outcome)
    kept = (table.metric == metric) & (table.subset == "all") & (table["repeat"] == "all") & (table.versus == "")
    return table[kept & (table.mechanism == "independent")].set_index(["imputer", "variant"])["value"]


def labels(outcome: Outcome) -> list[str]:
    return sorted(done.row.label for done in outcome.rows["calves"])


@pytest.mark.panels  # half a minute; one whose files are lost stays in the ordinary suite
def test_models_gone_from_the_folder_come_from_the_registry(runs: Path, trained: tuple[Path, Outcome]) -> None:
    shutil.rmtree(runs / "models")
    shutil.rmtree(runs / "scores")
    watch = Listening()
    found = evaluate_registered(settings(), runs, watch=watch)
    assert found.failures == []
    assert labels(found) == ["mode/default", "softmax_regression/default"]
    assert "evaluate mode/default on calves" in watch.stages
    pd.testing.assert_frame_equal(scores(found), scores(trained[1]))
    first = {row["imputer"]: row for row in trained[1].tables["calves"].to_dict("records")}
    for row in found.tables["calves"].to_dict("records"):
        assert {k: v for k, v in row.items() if k != "impute"} == {
            k: v for k, v in first[row["imputer"]].items() if k != "impute"
        }
    assert found.report == runs / "reports" / "little-registered" / "report.html"
    assert found.report.is_file() and (runs / "reports" / "little" / "report.html").is_file()


def test_a_model_of_another_split_is_left_out_and_said_to_be(runs: Path) -> None:
    watch = Listening()
    found = evaluate_registered(settings(), runs, watch=watch)
    assert watch.stages == ["compare"], "models that are there do not impute again"
    assert labels(found) == ["mode/default", "softmax_regression/default"]
    (said,) = watch.warnings
    assert "mode/default (version 3) on calves" in said and "another split" in said
    assert found.report is not None and "mode/default (version 3)" in found.report.read_text()


def test_scores_are_logged_to_the_training_runs(runs: Path) -> None:
    found = evaluate_registered(settings(seed=2), runs, watch=Listening())
    (done,) = found.rows["calves"]
    logged = Tracker(found.mlflow_uri, runs).client.get_run(done.run_id)
    assert logged.data.metrics["f1_macro"] == pytest.approx(headline(found, "f1_macro")["mode", "default"])
    assert logged.data.metrics["seconds_impute"] >= 0
    assert done.run_id in found.comparison_links["calves"]
    assert next(iter(logged.data.metrics)) == "f1_macro_60", "MLflow's page that compares runs opens with the first"
    assert logged.data.metrics["f1_macro_60"] == logged.data.metrics["f1_macro"]


def test_versions_of_one_row_stand_side_by_side(runs: Path) -> None:
    pipeline.run(settings(l2=1000.0), runs, until="train", only=["softmax_regression"])
    found = evaluate_registered(settings(), runs, watch=Listening())
    assert labels(found) == ["mode/default", "softmax_regression/default-v2", "softmax_regression/default-v4"]
    log_loss = headline(found, "log_loss")
    assert log_loss["softmax_regression", "default-v4"] != log_loss["softmax_regression", "default-v2"]
    client = Tracker(found.mlflow_uri, runs).client
    for done in found.rows["calves"]:
        logged = client.get_run(done.run_id).data.metrics["log_loss"]
        assert logged == pytest.approx(log_loss[done.row.imputer, done.row.variant])


def test_a_model_whose_files_are_lost_does_not_take_the_others_down(runs: Path) -> None:
    shutil.rmtree(runs / "models")
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    lost = next(m for m in tracker.registered_models("calves") if m.imputer == "softmax_regression")
    shutil.rmtree(Path(lost.place.removeprefix("file://")))
    found = evaluate_registered(settings(), runs, watch=Listening())
    (failure,) = found.failures
    assert "softmax_regression/default on calves" in failure and "\n" not in failure
    assert set(scores(found).imputer) == {"mode"}
    assert found.report is not None and "softmax_regression" in found.report.read_text()


def test_with_none_registered_one_line_says_what_to_run(runs: Path) -> None:
    watch = Listening()
    with pytest.raises(InputError, match="run snpimpute train") as caught:
        evaluate_registered(settings(seed=3), runs, watch=watch)
    assert "\n" not in str(caught.value) and "3 were, on other splits" in str(caught.value)
    assert watch.warnings == []
    with pytest.raises(InputError, match="no registered model"):
        evaluate_registered(settings(), runs, only=["beagle"])


# ---------------------------------------------------------------------- model cards


def test_each_registered_model_has_its_card(runs: Path) -> None:
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    models = tracker.registered_models("calves")
    assert len(models) == 3
    for model in models:
        card = tracker.client.get_model_version(model.name, model.version).description
        kept = Path(model.place.removeprefix("file://")) / CARD
        assert kept.read_text() == card
        about = json.loads(next(runs.glob("datasets/calves-*/dataset.json")).read_text())
        said = dict(re.findall(r"^\| (\w.*?) \| (.*) \|$", card, re.MULTILINE))
        assert said["variant"] == "default" and said["dataset"] == about["name"]
        assert said["imputer"].startswith(f"{model.imputer}: ")
        assert said["digest of the dataset"] == model.dataset_digest
        assert said["learned from"] == "48 samples" and said["sites"] == "30"
        assert said["hidden while it learned"] == "nothing"
        assert float(said["validation macro-F1"]) == pytest.approx(model.metrics["val_f1_macro"], abs=1e-4)
        assert "may contain the genotypes" in card and "Treat it like the data" in card


def test_what_a_store_says_leads_nowhere_else(runs: Path) -> None:
    """A store that others write to: a variant that is a path, and a model that names files outside itself."""
    shutil.rmtree(runs / "models")
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    mode, softmax, *_ = sorted(tracker.registered_models("calves"), key=lambda model: model.imputer != "mode")[::2]
    assert (mode.imputer, softmax.imputer) == ("mode", "softmax_regression")
    tracker.client.set_tag(mode.run_id, "variant", "../../elsewhere")
    (described,) = (path for path in runs.rglob("MLmodel") if f"run_id: {softmax.run_id}" in path.read_text())
    text = described.read_text()
    described.write_text(text.replace("path: artifacts/", "path: ../../../"))
    assert described.read_text() != text
    before = set(runs.parent.iterdir())
    with pytest.raises(InputError, match="no imputer could be scored") as refused:
        evaluate_registered(settings(), runs, watch=Listening())
    said = str(refused.value)
    assert "the store names a model '../../elsewhere', which cannot be part of a folder's name" in said
    assert "names files outside itself: do not use this model" in said and "\n" not in said
    assert set(runs.parent.iterdir()) == before and not list(runs.rglob("elsewhere*"))


def test_a_model_of_an_experiment_that_was_changed_is_named(runs: Path) -> None:
    (home,) = (home for home in (runs / "models").glob("calves-softmax*"))
    (home / "impute.json").unlink()
    about = home / "model" / "imputer.json"
    about.write_text(about.read_text().replace("softmax_regression", "mode"))
    (said,) = evaluate_registered(settings(), runs, watch=Listening()).failures
    assert "model/imputer.json is not as it was when the model was fitted" in said
