"""Retraining: a model is fitted to a panel as it is now, registered, and made the champion of its name if it is better."""

from __future__ import annotations

from pathlib import Path

from snpimpute.base.errors import InputError
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.impute.champions import promote
from snpimpute.impute.choice import AUTO, choose
from snpimpute.impute.fit import fit
from snpimpute.impute.panel import FitSettings
from snpimpute.tracking.writer import Tracker


def retrain(
    settings: FitSettings, runs: Path, tracker: Tracker, watch: Watch | None = None, engine: Engine = HERE
) -> str:
    """Fit and register a model, and promote it if it is better than the champion on the same held-out samples.

    The same panel and settings give the version that is there already.

    Returns:
        A line that reports the version, and the move or why there was none.

    Raises:
        InputError: see `fit`.
    """
    if settings.imputer == AUTO:
        settings, _ = choose(settings, runs, watch, engine)
    version = fit(settings, runs, lambda: tracker, watch, engine).registered
    try:
        moved = promote(tracker, version.replace(" version ", "/"), runs)
    except InputError as error:
        moved = f"not promoted: {error}"
    return f"registered: {version}; {moved}"
