"""Pieces of work on windows: which parts of its folder each reads and what it makes, so that any engine can carry it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snpimpute.base.folders import Folder, Part
from snpimpute.base.steps import Pieces
from snpimpute.impute.draws import drawn_file
from snpimpute.impute.hidden import hidden_file
from snpimpute.impute.likelihoods import likelihoods_part
from snpimpute.impute.phased import phase_file
from snpimpute.impute.steps import (
    MODEL_LINK,
    VARYING_FILE,
    WINDOWS_FITTED,
    WINDOWS_IMPUTED,
    imputed_file,
    measured_file,
)
from snpimpute.impute.windows import ABOUT, Window, WindowedModel
from snpimpute.imputers import needs_of
from snpimpute.imputers.contract import Imputer
from snpimpute.io.spool import SITES_FILE, parts_of

_HERE = Path()  # names within a folder are those of the same file in no folder


def to_fit(home: Path, cls: type[Imputer], params: dict[str, Any], windows: Sequence[Window], n_samples: int) -> Pieces:
    """Return the pieces of `fit_windows`: each saves the imputer of its window."""
    return Pieces(
        is_done=lambda number: WindowedModel.place(home / "model", number).exists(),
        reads=lambda numbers: panel_parts(home, [windows[number] for number in numbers], n_samples),
        makes=lambda number: [WindowedModel.place(_HERE / "model", number).as_posix()],
        most=WINDOWS_FITTED,
        files=cls.files_in(params),
        able=needs_of(cls),
    )


def to_measure(
    home: Path, cls: type[Imputer], params: dict[str, Any], windows: Sequence[Window], n_samples: int
) -> Pieces:
    """Return the pieces of `measure_windows`: each saves the sums of scores of its window."""
    return Pieces(
        is_done=lambda number: measured_file(home, number).exists(),
        reads=lambda numbers: panel_parts(home, [windows[number] for number in numbers], n_samples),
        makes=lambda number: [measured_file(_HERE, number).with_suffix(s).as_posix() for s in (".json", ".npz")],
        most=WINDOWS_FITTED,
        files=cls.files_in(params),
        able=needs_of(cls),
    )


def for_trials(
    home: Path, cls: type[Imputer], params: dict[str, Any], windows: Sequence[Window], n_samples: int
) -> Folder:
    """Return the folder of a fit as the trials of its study read it, which score these windows."""
    return Folder(home, tuple(panel_parts(home, windows, n_samples)), files=cls.files_in(params))


def panel_parts(home: Path, windows: Sequence[Window], n_samples: int) -> list[Part]:
    """Return what fits of some windows read in the folder of a fit."""
    stretches = [(window.start, window.stop) for window in windows]
    return [Part("plan.json"), Part("typed.npy"), *parts_of(home, "panel", n_samples, stretches)]


def to_impute(
    work: Path,
    cls: type[Imputer],
    windows: Sequence[Window],
    varying: np.ndarray,
    n_samples: int,
    *,
    phased: bool = False,
    hides: bool = False,
    draws: bool = False,
) -> Pieces:
    """Return the pieces of `impute_windows`: each saves the posterior of its window, and what else is asked for.

    Args:
        work: folder of the imputation.
        cls: class of the imputers.
        windows: the windows.
        varying: int64, the rows of the target's spool that windows impute.
        n_samples: number of samples of the target.
        phased: whether the phase is asked for.
        hides: whether typed calls are hidden and imputed, too.
        draws: whether haplotypes are drawn.
    """

    def reads(numbers: list[int]) -> list[Part]:
        rows = [varying[windows[number].sites] for number in numbers]
        stretches = [(int(of_window[0]), int(of_window[-1]) + 1) for of_window in rows]
        parts = [Part("plan.json"), Part(f"target/{VARYING_FILE}"), *parts_of(work, "target", n_samples, stretches)]
        parts += [likelihoods_part("target", n_samples, *stretch) for stretch in stretches]
        parts += [Part(f"{MODEL_LINK}/{name}") for name in (ABOUT, SITES_FILE)]
        return parts + [Part(WindowedModel.place(_HERE / MODEL_LINK, number).as_posix()) for number in numbers]

    def makes(number: int) -> list[str]:
        made = [phase_file(_HERE, number)] if phased else []
        made += [hidden_file(_HERE, number)] if hides else []
        made += [drawn_file(_HERE, number)] if draws else []
        return [file.as_posix() for file in (*made, imputed_file(_HERE, number))]

    return Pieces(
        is_done=lambda number: imputed_file(work, number).exists(),
        reads=reads,
        makes=makes,
        most=WINDOWS_IMPUTED,
        able=needs_of(cls),
    )
