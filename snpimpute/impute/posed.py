"""A file at a model's sites, to be imputed in some of the windows: its calls, and the posteriors at the sites that these own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.check import check_target
from snpimpute.impute.findings import TargetCheck
from snpimpute.impute.layout import lay_out_target
from snpimpute.impute.rows import Rows
from snpimpute.impute.run import ImputeSettings
from snpimpute.impute.steps import imputed_file, load_window_posterior
from snpimpute.impute.windows import Window, WindowedModel, owned_by


def lay_out(target: Path, model: WindowedModel, work: Path) -> tuple[TargetCheck, np.ndarray]:
    """Write the calls of a file at a model's sites into the spool `target` of a folder; return its check and the spool's rows.

    Returns:
        The check, and int64 (n_sites,): the row of each site of `model.sites` in the spool.

    Raises:
        InputError: the file cannot be imputed with the model (gives the reason).
    """
    panel = model.panel_sites()
    check = check_target(target, panel)
    check.require_imputable()
    varying = np.flatnonzero(model.table["varies"])
    rows = Rows.of(panel, check, varying, int(model.about.get("n_samples", 0)))
    settings = ImputeSettings(target=target, output=None, model=model.folder, trust=model.trust)
    lay_out_target(settings, model, check, rows, model.windows, work)
    return check, rows.varying


def calls_at(spool: GenotypeMatrix, rows: np.ndarray) -> np.ndarray:
    """Return int8 (n_samples, n_rows): a spool's calls at some rows, in memory."""
    return np.array(spool.take_sites(rows).calls)


def sites_in(windows: Sequence[Window], numbers: Sequence[int]) -> np.ndarray:
    """Return int64: the numbers of the sites of some windows, each once."""
    return np.unique(np.concatenate([np.arange(windows[number].start, windows[number].stop) for number in numbers]))


def owned_sites(windows: Sequence[Window], numbers: Sequence[int]) -> np.ndarray:
    """Return int64: the numbers of the sites that some windows own (see `windows.owned_by`), window after window."""
    return np.concatenate([windows[number].start + np.flatnonzero(owned_by(windows, number)) for number in numbers])


def owned_posterior(windows: Sequence[Window], numbers: Sequence[int], work: Path) -> np.ndarray:
    """Return float32 (n_samples, n_owned, 3): the saved posteriors of some windows at the sites that `owned_sites` gives."""
    parts = [load_window_posterior(imputed_file(work, number))[:, owned_by(windows, number)] for number in numbers]
    of_two = np.concatenate(parts, axis=1)
    return np.stack([1 - of_two.sum(axis=0), *of_two], axis=-1).transpose(1, 0, 2)
