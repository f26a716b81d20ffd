"""Layout of a target for the processes that impute its windows: calls, likelihoods and ploidy at the rows to write, and a plan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.files import save_array, write_text, written_beside
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.asked import ImputeSettings, joint_draws
from snpimpute.impute.findings import TargetCheck
from snpimpute.impute.likelihoods import LIKELIHOODS_FILE, logarithms
from snpimpute.impute.matching import SWAPPED
from snpimpute.impute.phased import TARGET_FILE, phase_of_calls
from snpimpute.impute.ploidy import NOT_TOLD, PLOIDY_FILE, fill_ploidy, ploidy_of_calls
from snpimpute.impute.rows import Rows
from snpimpute.impute.steps import MODEL_LINK, VARYING_FILE
from snpimpute.impute.windows import Window, WindowedModel
from snpimpute.io.records import split
from snpimpute.io.spool import empty_spool, filled_file
from snpimpute.io.stream import streamed


def lay_out_target(
    settings: ImputeSettings,
    model: WindowedModel | None,
    check: TargetCheck,
    rows: Rows,
    windows: list[Window],
    work: Path,
) -> list[int]:
    """Write the files that the windows' processes read; return the numbers of the windows on the target's contigs."""
    if not (work / "target").exists():
        with written_beside(work / "target") as beside:
            beside.mkdir()
            _write_calls(settings, check, rows, beside)
    plan = {
        "has_model": model is not None,
        "trust": settings.trust,
        "imputer": settings.imputer,
        "params": dict(settings.params),
        "seed": settings.seed,
        "phased": settings.phased,
        "hide": settings.hide,
        "draws": joint_draws(settings, model),
        "windows": [[w.contig, w.start, w.stop] for w in windows],
    }
    if model is not None:
        (work / MODEL_LINK).unlink(missing_ok=True)
        (work / MODEL_LINK).symlink_to(model.folder.absolute(), target_is_directory=True)
    write_text(work / "plan.json", json.dumps(plan) + "\n")
    there = set(check.contigs.values())
    return [number for number, window in enumerate(windows) if window.contig in there]


def _write_calls(settings: ImputeSettings, check: TargetCheck, rows: Rows, folder: Path) -> None:
    """Write calls, or likelihoods in their place, and ploidy of the target at each row; the folder is empty."""
    calls = empty_spool(folder, pd.DataFrame({"sample": check.samples["sample"]}), rows.sites)
    save_array(folder / VARYING_FILE, rows.varying)
    swapped = (check.sites["kind"] == SWAPPED).to_numpy()
    told = filled_file(folder / PLOIDY_FILE, calls.shape, np.int8, NOT_TOLD) if check.counts["haploid_calls"] else None
    likelihoods = (
        None if settings.use is None else filled_file(folder / LIKELIHOODS_FILE, (*calls.shape, 3), np.float16, 0)
    )
    has_phase = settings.phased and settings.use is None and check.counts["phased_calls"]
    phase = filled_file(folder / TARGET_FILE, calls.shape, np.int8, NOT_TOLD) if has_phase else None
    site = 0
    with streamed(settings.target, likelihoods=settings.use, observed=True) as (stream,):
        for number, record in enumerate(stream.records):
            for row in rows.groups[rows.group_of[number]] if number in rows.group_of else ():
                if likelihoods is None:
                    calls[row] = np.where(record.calls != MISSING, 0, MISSING)  # ALTs that the record lacks
                if told is not None:
                    told[row] = ploidy_of_calls(record)
            for part in split(record):
                if rows.of_target[site] >= 0:
                    observed = part.calls
                    turned = np.where(observed != MISSING, 2 - observed, observed)
                    if likelihoods is None:
                        calls[rows.of_target[site]] = turned if swapped[site] else observed
                    elif part.likelihoods is not None and part.alts:
                        of_alt = part.likelihoods[:, ::-1] if swapped[site] else part.likelihoods
                        likelihoods[rows.of_target[site]] = logarithms(of_alt)
                    if told is not None:
                        told[rows.of_target[site]] = ploidy_of_calls(part)
                    if phase is not None:
                        phase[rows.of_target[site]] = phase_of_calls(part, bool(swapped[site]))
                site += 1
    calls.flush()
    for written in (likelihoods, phase):
        if written is not None:
            written.flush()
    if told is not None:
        fill_ploidy(told, rows.sites, rows.haploid)
