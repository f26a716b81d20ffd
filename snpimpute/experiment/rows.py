"""Rows of an experiment's report, and the progress of each row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from snpimpute import imputers
from snpimpute.base.errors import InputError
from snpimpute.dataset.settings import DataSettings
from snpimpute.experiment.settings import ExperimentSettings, VariantSettings
from snpimpute.scoring.fits import MaskPolicy
from snpimpute.tuning.parameters import given_params


@dataclass(frozen=True)
class Row:
    """One variant of an imputer: a row of the report.

    Attributes:
        imputer, variant: names.
        tune: whether a study looks for the parameters.
        mask: policy of the training masks.
        params: parameters that differ from the defaults; a study does not change them.
        params_file: TOML of parameters found before, or None.
        params_from: the row whose parameters (found by its study or given) this row takes too, or None.
    """

    imputer: str
    variant: str
    tune: bool
    mask: MaskPolicy
    params: dict[str, Any]
    params_file: Path | None = None
    params_from: Row | None = None

    @property
    def label(self) -> str:
        """`imputer/variant`."""
        return f"{self.imputer}/{self.variant}"


@dataclass
class Tuned:
    """Parameters for the fit on all of train, and the study that found them.

    Attributes:
        params: parameters from a study or a file; None if the row has only its own.
        refit_params: the same, with the values that the study's fit found (epochs, calibration), or None.
        levels_score: macro-F1 on the validation masks of all levels, or None.
        trials, failed: number of trials that counted, and of other trials.
        seconds: seconds of all trials.
        ended_by: "trials" or "time"; empty without a study.
        study: name of the study; empty without a study.
    """

    params: dict[str, Any] | None = None
    refit_params: dict[str, Any] | None = None
    levels_score: float | None = None
    trials: int = 0
    failed: int = 0
    seconds: float = 0.0
    ended_by: str = ""
    study: str = ""

    def params_of(self, row: Row) -> dict[str, Any]:
        """Return the row's parameters together with those found."""
        return {**row.params, **(self.params or {})}


@dataclass
class Done:
    """Results of a row on a dataset, up to the last step that succeeded.

    Attributes:
        row: row of the report.
        tuned: parameters, and the study that found them.
        home: folder of the model.
        run_id, run_link: the MLflow run, and its address in the UI.
        run_variant: variant under which the run was logged; None = that of the row.
        failed: the error of a step that failed, else empty.
    """

    row: Row
    tuned: Tuned | None = None
    home: Path | None = None
    run_id: str = ""
    run_link: str = ""
    run_variant: str | None = None
    failed: str = ""

    @property
    def logged_as(self) -> str:
        """Variant under which the run was logged."""
        return self.run_variant or self.row.variant


@dataclass
class Outcome:
    """Results of an experiment by dataset: folders, rows, files of scores and of conclusions, tables, addresses in the MLflow UI."""

    datasets: dict[str, Path] = field(default_factory=dict)
    rows: dict[str, list[Done]] = field(default_factory=dict)
    scores: dict[str, Path] = field(default_factory=dict)
    conclusions: dict[str, Path] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    comparison_links: dict[str, str] = field(default_factory=dict)
    report: Path | None = None
    mlflow_uri: str = ""

    @property
    def failures(self) -> list[str]:
        """Failed rows, each as a line with dataset and error."""
        return [f"{d.row.label} on {name}: {d.failed}" for name, dones in self.rows.items() for d in dones if d.failed]


def plan(settings: ExperimentSettings) -> list[Row]:
    """Return the rows of an experiment's report: those that the imputers declare, changed by the settings.

    Raises:
        InputError: an unknown imputer (names the valid ones), wrong parameters, a missing program that an imputer needs,
            or a dataset that lists an unknown row.
    """
    imputers.look_in(settings.imputers_from)
    chosen = imputers.names() if settings.imputers is None else settings.imputers
    for name in [
        *chosen,
        *settings.variants,
        *settings.budgets,
        *(n for d in settings.data.values() for n in d.params),
    ]:
        imputers.load(name)
    rows: list[Row] = []
    for name in chosen:
        cls = imputers.load(name)
        declared = {
            label: VariantSettings.model_validate({"tune": v.tune, "mask": v.mask, "params": dict(v.params)})
            for label, v in cls.variants.items()
        }
        listed = settings.variants.get(name, {})
        if settings.only_listed_variants and listed:
            declared = {label: row for label, row in declared.items() if label in listed}
        own: dict[str, Row] = {}
        for label in {**declared, **listed}:
            base, change = declared.get(label, VariantSettings()), listed.get(label, VariantSettings())
            tune = base.tune if change.tune is None else change.tune
            row = Row(
                imputer=name,
                variant=label,
                tune=bool(tune) and cls.tunable() and not (change.params_file or change.params_from),
                mask=change.mask or base.mask or "random",
                params={**base.params, **change.params},
                params_file=change.params_file,
            )
            for data in settings.data.values():
                found = given_params(row.params_file) if row.params_file else {}
                cls.parse_params({**on_data(row, data).params, **found})
            own[label] = row
        for label, change in listed.items():
            if change.params_from is not None:
                if change.params_from not in own or change.params_from == label:
                    raise InputError(
                        f"variants.{name}.{label}: params_from names no other variant of {name}: {', '.join(own)}"
                    )
                own[label] = replace(own[label], params_from=own[change.params_from])
        rows += own.values()
        cls.require_programs()
    known = {*(row.imputer for row in rows), *(row.label for row in rows)}
    for name, data in settings.data.items():
        if unknown := set(data.imputers or ()) - known:
            raise InputError(f"data.{name}.imputers names no row of this experiment: {min(unknown)}")
    return rows


def wanted_on(rows: list[Row], data: DataSettings) -> list[Row]:
    """Return those rows of an experiment that are run on a dataset, according to its settings."""
    if data.imputers is None:
        return rows
    return [row for row in rows if row.imputer in data.imputers or row.label in data.imputers]


def on_data(row: Row, data: DataSettings) -> Row:
    """Return the row with the parameters that the dataset's settings have for its imputer."""
    own = data.params.get(row.imputer, {})
    params_from = None if row.params_from is None else on_data(row.params_from, data)
    return replace(row, params={**row.params, **own}, params_from=params_from)
