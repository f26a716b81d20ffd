"""Writer of an experiment's runs, models and reports, from its files into an MLflow store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from snpimpute.base.digests import digest
from snpimpute.tracking.connect import (
    report_store_errors,
)
from snpimpute.tracking.curves import (
    Point,
    confusion_counts,
    confusion_figure,
    curves,
    headline,
    headline_points,
    robustness_figure,
)
from snpimpute.tracking.models import model_card, registered_name, safe_name, save_model_files
from snpimpute.tracking.predictors import PredictorWriter
from snpimpute.tracking.runs import (
    CHAMPION,
    DECIDING_METRIC,
    RegisteredModel,
    Training,
    on_other_data,
    training_tag,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

SCORES_TAG = "snpimpute.scores"  # digest of the scores that a run holds
CONCLUSIONS_TAG = "snpimpute.conclusions"  # digest of the conclusions that a run holds
STATUS = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
}  # state of a trial → status of its run


class Tracker(PredictorWriter):
    """Writer of the results of an experiment's steps to one MLflow store.

    Writing the same thing twice leaves one copy: runs are found again by a tag, so a resumed experiment goes on with its
    runs. Several processes may write to one store.

    Args:
        uri, runs, watch, wait: see `StoreWriter`.

    Raises:
        InputError: the store cannot be reached or written.
    """

    @report_store_errors
    def log_trial(self, *, dataset: str, study: str, imputer: str, variant: str, record: Mapping[str, Any]) -> None:
        """Write one trial of a study as a run below the study's run; repeated calls leave one run per trial number.

        Args:
            dataset: name of the dataset.
            study: name of the study.
            imputer, variant: the imputer and its variant that the study tunes.
            record: `number`, `state` ("complete", "pruned", "failed", "stopped"; any other: not ended), `score` (or
                None), `params`, `intermediate` (step → validation macro-F1), `attributes`, `seconds`, `reason`.
        """
        parent = self._study(dataset, study, imputer, variant)
        number, state, seconds = record["number"], str(record["state"]), record.get("seconds") or 0.0
        run = self._run(
            f"snpimpute/{safe_name(dataset)}/tune",
            digest(["trial", study, number]),
            f"trial {number}",
            {"mlflow.parentRunId": parent.info.run_id, "imputer": imputer, "variant": variant, "study": study},
            seconds_ago=seconds,
        )
        if run.info.status in STATUS.values():
            return
        numbers, texts = _numbers_and_texts(record.get("attributes") or {})
        points: list[Point] = [
            (DECIDING_METRIC, float(v), int(s)) for s, v in (record.get("intermediate") or {}).items()
        ]
        points += [(key, value, 0) for key, value in {**numbers, "seconds": seconds}.items()]
        if record.get("score") is not None:
            points.append(("score", float(record["score"]), 0))
        if record.get("reason"):
            texts["reason"] = str(record["reason"])
        self._log(run, params={**record["params"], "trial": number}, points=points, tags={**texts, "state": state})
        if state in STATUS:
            end = run.info.start_time + round(seconds * 1000)
            self.client.set_terminated(run.info.run_id, STATUS[state], end_time=end)

    @report_store_errors
    def finish_study(
        self, *, dataset: str, study: str, best: Mapping[str, Any], n_trials: int, ended_by: str, n_counted: int
    ) -> str:
        """Write the result of a study to its run and return the run's id.

        The best parameters are tags (`best.NAME`) and an artifact: a resumed study may find better ones, and a run's
        parameters cannot change.

        Args:
            dataset, study: as in `log_trial`.
            best: the best trial: `number`, `score`, `params`.
            n_trials: number of all trials.
            ended_by: "trials", "time" or another reason.
            n_counted: number of trials that were complete or pruned.
        """
        run = self._study(dataset, study)
        self._log(
            run,
            points=[("n_trials", n_trials, n_trials), ("n_counted", n_counted, n_trials)]
            + ([("score", float(best["score"]), n_trials)] if best.get("score") is not None else []),
            tags={
                "ended_by": ended_by,
                "best_trial": str(best.get("number", "")),
                **{f"best.{name}": str(value) for name, value in best.get("params", {}).items()},
            },
        )
        text = json.dumps(dict(best), indent=1, default=str)
        self.client.log_text(run.info.run_id, text, "best.json")
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return run.info.run_id

    def _study(self, dataset: str, study: str, imputer: str = "", variant: str = "") -> Run:
        name = f"{imputer} {variant}" if imputer else study
        tags = {"study": study, "imputer": imputer, "variant": variant}
        return self._run(f"snpimpute/{safe_name(dataset)}/tune", digest(["study", study]), name, tags)

    @report_store_errors
    def log_training(self, trained: Training) -> str:
        """Write a trained imputer as a run, register it as a version of `snpimpute-<dataset>`, and return the run's id.

        The alias with the imputer's name and `champion` move to this version if its `val_f1_macro` is higher than that
        of their present version. Only scores on the same prepared dataset are comparable: if the present version has
        another digest, the imputer's alias moves in any case, and the champion stays, which is said. Moves are recorded
        (`moves`).

        Args:
            trained: the trained imputer. The same key finds the same run; if that is complete, nothing is done.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        run = self._run(
            f"snpimpute/{safe_name(trained.dataset)}/train",
            training_tag(trained.key),
            f"{trained.imputer} {trained.variant}",
            {
                "imputer": trained.imputer,
                "variant": trained.variant,
                "dataset": trained.dataset,
                "dataset_digest": trained.dataset_digest,
            },
        )
        run_id = run.info.run_id
        if run.info.status == "FINISHED":
            return run_id
        if trained.headline and trained.headline not in run.data.metrics:
            self.client.log_metric(run_id, trained.headline, float("nan"), run.info.start_time, 0)
        self._log(
            run,
            params=trained.params,
            points=[(name, value, 0) for name, value in trained.metrics.items()],
            tags=trained.tags,
        )
        source = json.dumps({"uri": str(trained.dataset_folder)})
        data = Dataset(
            safe_name(trained.dataset), trained.dataset_digest[:36], "local", source
        )  # longer digests are refused
        self.client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        self._log_artifacts(run_id, trained.artifacts)
        version_tags = {
            "imputer": trained.imputer,
            "variant": trained.variant,
            "run_id": run_id,
            "dataset_digest": trained.dataset_digest,
            DECIDING_METRIC: repr(float(trained.metrics.get(DECIDING_METRIC, -np.inf))),
        }
        n_sites = trained.example_target.shape[1]
        card = model_card(
            trained.dataset,
            trained.dataset_digest,
            trained.imputer,
            trained.variant,
            n_sites,
            trained.params,
            trained.metrics,
        )
        write = partial(save_model_files, model_folder=trained.model_folder, example=trained.example_target)
        version = self._register(registered_name(trained.dataset), run, write, version_tags, card, "imputer")
        with self._lock():
            self._promote(trained.imputer, version, version_tags)
            champion = self._tags_at_alias(version.name, CHAMPION)
            if not champion or (trained.champion_moves and not on_other_data(champion, version_tags)):
                self._promote(CHAMPION, version, version_tags)
            elif trained.champion_moves and version.name not in self._told_of:
                self._told_of.add(version.name)
                self.watch.warn(
                    f"the champion of {version.name} was fitted on other data, and stays: give these data another name to "
                    "have a champion of their own (--name, or the dataset's name in the experiment file)"
                )
        self.client.set_terminated(run_id, "FINISHED")
        return run_id

    @report_store_errors
    def log_scores(
        self,
        run_id: str,
        scores: pd.DataFrame,
        metrics: Mapping[str, float] | None = None,
        artifacts: Sequence[Path] = (),
    ) -> None:
        """Write the scores of a trained imputer to its run: curves over the levels, headline figures, pictures.

        A curve is a metric whose step is the percentage missing (per mille, with `_permille` in the key, if a mechanism
        has levels that are not whole percentages). Keys of the headline's mechanism have no prefix; keys of other
        mechanisms have its name as a prefix, and keys of rare sites `rare_`. Values at the headline's level (that of
        the confusion matrix, else the nearest to 60) are also written without a step, under keys such as `f1_macro_60`.

        Args:
            run_id: the id that `log_training` returned.
            scores: the tidy table; rows of other imputers or variants, of single masks, of differences and of calls by
                offsets are left out.
            metrics: time and memory that imputing took.
            artifacts: files to keep with the run.
        """
        run = self.client.get_run(run_id)
        mine = scores[
            (scores["imputer"] == run.data.tags["imputer"])
            & (scores["variant"] == run.data.tags["variant"])
            & (scores["split"] == "test")
            & (scores["repeat"].astype(str) == "all")
            & (scores["versus"] == "")
            & (scores["decision"] == "argmax")
        ]
        content = hashlib.sha256(mine.to_csv(index=False).encode()).hexdigest()
        if mine.empty or run.data.tags.get(SCORES_TAG) == content:
            return
        mechanism, level = headline(mine)
        cost = [(name, value, 0) for name, value in (metrics or {}).items()]
        self._log(run, points=curves(mine, mechanism) + headline_points(mine, mechanism, level) + cost, again=True)
        self._log_artifacts(run_id, artifacts)
        self.client.log_figure(run_id, robustness_figure(mine), "figures/robustness.png")
        if (counts := confusion_counts(mine)) is not None:
            self.client.log_figure(run_id, confusion_figure(counts, level), "figures/confusion.png")
        self.client.set_tag(run_id, SCORES_TAG, content)

    @report_store_errors
    def log_conclusions(self, run_id: str, points: Sequence[Point]) -> None:
        """Write what a trained imputer changes in the conclusion to its run, as metrics `consequence_…`; the same again is not written.

        Args:
            run_id: the id that `log_training` returned.
            points: key, value, and step (percent missing).
        """
        run = self.client.get_run(run_id)
        content = digest([[key, repr(value), step] for key, value, step in points])
        if points and run.data.tags.get(CONCLUSIONS_TAG) != content:
            self._log(run, points=list(points), again=True)
            self.client.set_tag(run_id, CONCLUSIONS_TAG, content)

    @report_store_errors
    def log_batch(self, model: RegisteredModel, number: int, metrics: Mapping[str, float]) -> None:
        """Write the figures of a batch that a registered model was watched on, as metrics whose step is the batch's number.

        Args:
            model: the model; all of its batches are in one run.
            number: number of the batch, from 1; the same number again replaces its figures.
            metrics: key → value; NaN is left out.
        """
        tags = {"imputer": model.imputer, "registered": f"{model.name}/{model.version}", "trained": model.run_id}
        run = self._run(
            f"snpimpute/{safe_name(model.dataset)}/watch",
            digest(["watch", model.name, model.version, model.run_id]),
            f"{model.name} version {model.version}",
            tags,
        )
        self._log(run, points=[(key, value, number) for key, value in metrics.items()], again=True)
        self.client.set_terminated(run.info.run_id, "FINISHED")

    @report_store_errors
    def log_comparison(
        self,
        *,
        key: str,
        dataset_names: Sequence[str],
        report_folder: Path,
        table: pd.DataFrame,
        tags: Mapping[str, str],
    ) -> str:
        """Write a report as a run and return the run's id; the same key replaces the report in its run.

        Args:
            key: identifies what was compared.
            dataset_names: names of the report's datasets.
            report_folder: folder of the report, kept as the artifact folder `report`.
            table: the comparison table, kept as `comparison.csv`.
            tags: tags of the run.
        """
        experiment = f"snpimpute/{'+'.join(safe_name(name) for name in dataset_names)}/compare"
        run = self._run(experiment, digest(["comparison", key]), "comparison", {})
        self._log(run, tags={**tags, "datasets": ", ".join(dataset_names)})
        self.client.log_artifacts(run.info.run_id, str(report_folder), "report")
        self.client.log_text(run.info.run_id, table.to_csv(index=False), "comparison.csv")
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return run.info.run_id


def _numbers_and_texts(attributes: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Split attributes into those that are numbers and the others, as text."""
    numbers = {k: float(v) for k, v in attributes.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return numbers, {k: str(v) for k, v in attributes.items() if k not in numbers}
