"""Posteriors of a fitted imputer at the hidden calls of test scenarios: computed, saved and loaded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snpimpute.base.files import written_beside
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.scenarios import at_hidden
from snpimpute.imputers.contract import Imputer


@dataclass(frozen=True, eq=False)
class Posteriors:
    """An imputer's posteriors at the hidden calls of each test scenario.

    Attributes:
        imputer, variant, seed: the imputer, its variant and its seed.
        values: scenario key → float16 (n_test, n_hidden_sites, 3), or (n_hidden_calls, 3); see `at_hidden`.
        smoothed: keys of the scenarios whose posteriors are smoothed hard calls.
        seconds: scenario key → seconds to impute.
    """

    imputer: str
    variant: str
    seed: int
    values: Mapping[str, np.ndarray]
    smoothed: frozenset[str]
    seconds: Mapping[str, float]

    @property
    def label(self) -> str:
        """Name of imputer and variant, as `beagle/default`."""
        return f"{self.imputer}/{self.variant}"


def impute_scenarios(
    imputer: Imputer,
    variant: str,
    dataset: PreparedDataset,
    progress: Callable[[int, int], None] | None = None,
) -> Posteriors:
    """Impute every test scenario of a dataset.

    Args:
        imputer: fitted on the dataset's train samples.
        variant: name of its variant.
        dataset: the prepared dataset.
        progress: called as progress(scenarios done, scenarios in all).
    """
    scenarios = dataset.test_scenarios()
    values, smoothed, seconds = {}, set(), {}
    for done, scenario in enumerate(scenarios, start=1):
        hidden = scenario.hidden
        target = dataset.test.hide(hidden)
        started = time.monotonic()
        posterior = imputer.posterior(target)
        seconds[scenario.key] = time.monotonic() - started
        values[scenario.key] = at_hidden(posterior, hidden).astype(np.float16)
        if not imputer.gives_posterior(target.take_sites(hidden if hidden.ndim == 1 else hidden.any(axis=0))):
            smoothed.add(scenario.key)
        if progress is not None:
            progress(done, len(scenarios))
    return Posteriors(imputer.name, variant, imputer.seed, values, frozenset(smoothed), seconds)


def save_posteriors(posteriors: Posteriors, path: Path) -> None:
    """Write posteriors as a compressed .npz, complete or not at all."""
    about = {
        "imputer": posteriors.imputer,
        "variant": posteriors.variant,
        "seed": posteriors.seed,
        "smoothed": sorted(posteriors.smoothed),
        "seconds": dict(posteriors.seconds),
    }
    with written_beside(path) as beside, beside.open("wb") as handle:
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about)), **posteriors.values}
        np.savez_compressed(handle, **arrays)


def load_posteriors(path: Path, only: Collection[str] | None = None) -> Posteriors:
    """Read what `save_posteriors` wrote; with `only`, just the scenarios with these keys."""
    with np.load(path, allow_pickle=False) as archive:
        about = json.loads(str(archive["about"]))
        wanted = (key for key in archive.files if key != "about" and (only is None or key in only))
        values = {key: archive[key] for key in wanted}
    return Posteriors(
        about["imputer"], about["variant"], about["seed"], values, frozenset(about["smoothed"]), about["seconds"]
    )
