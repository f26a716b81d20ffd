"""Thresholds of drift, and what a breach starts, read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from snpimpute.base.errors import InputError
from snpimpute.dataset.settings import Settings, first_fault
from snpimpute.impute.drift import FIGURES


class RetrainSettings(Settings):
    """Prefect deployment that a breach starts.

    Attributes:
        deployment: FLOW/DEPLOYMENT; None = none.
        parameters: parameters of its run that differ from the deployment's own.
    """

    deployment: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class WatchSettings(Settings):
    """Thresholds of drift.

    Attributes:
        alpha: probability of a false alarm in a batch without drift, all figures together.
        tolerance: figure → difference that is no breach, however sure it is; figures that are not named have their default.
        retrain: what a breach starts.
    """

    alpha: float = Field(0.01, gt=0, lt=1)
    tolerance: dict[str, float] = Field(default_factory=dict)
    retrain: RetrainSettings = RetrainSettings()

    @field_validator("tolerance")
    @classmethod
    def _of_figures(cls, tolerance: dict[str, float]) -> dict[str, float]:
        defaults = {figure.name: figure.tolerance for figure in FIGURES}
        for name, value in tolerance.items():
            if name not in defaults:
                raise ValueError(f"there is no figure {name!r}: give some of {', '.join(defaults)}")
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} = {value} is no difference: give 0 or more")
        return tolerance

    def tolerances(self) -> dict[str, float]:
        """Return the tolerance of every figure."""
        return {figure.name: figure.tolerance for figure in FIGURES} | self.tolerance


def read_thresholds(path: Path) -> WatchSettings:
    """Read thresholds from a TOML file.

    Raises:
        InputError: no such file, not TOML, an unknown key, a wrong value (names the key).
    """
    try:
        return WatchSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"cannot read the thresholds {path}: {error.strerror}") from None
    except ValidationError as error:
        raise first_fault(error, path, "known are alpha, tolerance and retrain") from None
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
