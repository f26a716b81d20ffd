"""Watch over a registered model: batches of samples are imputed with calls hidden on purpose, judged, and kept in a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.alone import made_alone, work_folder
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.steps import in_shares
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.baseline import Baseline, BaselineSettings, make_baseline
from snpimpute.impute.champions import fetch_model, find_model
from snpimpute.impute.drift import CALL_RATE, FEWEST_SAMPLES, MISSING_RATE, frequency_shift, judge, sample_figures
from snpimpute.impute.pieces import to_impute
from snpimpute.impute.posed import calls_at, lay_out, owned_posterior, owned_sites
from snpimpute.impute.steps import impute_windows
from snpimpute.impute.thresholds import WatchSettings
from snpimpute.impute.windows import WindowedModel
from snpimpute.io.spool import hide_in_spool, spooled
from snpimpute.io.stream import contents_of
from snpimpute.tracking.runs import RegisteredModel
from snpimpute.tracking.writer import Tracker

BATCHES, BASELINE = "batches.tsv", "baseline"
COLUMNS = (
    "batch", "when", "file", "digest", "samples", "figure", "value", "expected", "difference", "p", "p_corrected", "breach",
)  # fmt: skip
SITES_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch that was judged.

    Attributes:
        number: its number among the batches of the model, from 1.
        file: name of the file.
        n_samples: number of samples.
        figures: what `drift.judge` returned.
    """

    number: int
    file: str
    n_samples: int
    figures: pd.DataFrame

    @property
    def breaches(self) -> list[str]:
        """Names of the figures that are beyond their thresholds."""
        return self.figures.loc[self.figures["breach"], "figure"].tolist()


def watch_home(runs: Path, model: RegisteredModel) -> Path:
    """Return the folder of a registered model's baseline and batches."""
    return runs / "watch" / f"{model.name}-{model.version}-{model.run_id[:8]}"


def keep_baseline(
    tracker: Tracker,
    wanted: str,
    settings: BaselineSettings,
    runs: Path,
    force: bool = False,
    watch: Watch | None = None,
    engine: Engine = HERE,
) -> tuple[Path, Baseline]:
    """Compute the baseline of a registered model and keep it beside its batches; return its folder and the baseline.

    Raises:
        InputError: there is another one already (batches were judged by it) and `force` is not given, or see `make_baseline`.
    """
    watch = watch or Watch()
    registered = find_model(tracker, wanted)
    model = fetch_model(tracker, registered, runs)
    folder = watch_home(runs, registered) / BASELINE
    with made_alone(folder, watch):
        if folder.exists() and not force:
            raise InputError(
                f"{registered.name} version {registered.version} has a baseline, which is kept: give --force"
            )
        baseline = make_baseline(model, settings, watch, engine)
        baseline.save(folder, {"panel": settings.panel.name, "when": _now()})
    return folder, baseline


def watch_file(
    tracker: Tracker,
    wanted: str,
    target: Path,
    settings: WatchSettings,
    runs: Path,
    threads: int = 1,
    watch: Watch | None = None,
    engine: Engine = HERE,
) -> Batch:
    """Judge a batch against the baseline of a registered model, and keep its figures in the table and in the model's MLflow run.

    The same file again replaces its own rows.

    Raises:
        InputError: no baseline, too few samples, or the file cannot be imputed with the model.
    """
    registered = find_model(tracker, wanted)
    model = fetch_model(tracker, registered, runs)
    return watch_batch(tracker, registered, model, target, settings, runs, threads, watch, engine)


def watch_batch(
    tracker: Tracker,
    registered: RegisteredModel,
    model: WindowedModel,
    target: Path,
    settings: WatchSettings,
    runs: Path,
    threads: int = 1,
    watch: Watch | None = None,
    engine: Engine = HERE,
) -> Batch:
    """Judge a batch as `watch_file` does, by a model that is at hand: the registered one, or its export."""
    watch = watch or Watch()
    home = watch_home(runs, registered)
    baseline = Baseline.load(home / BASELINE)
    samples, shift = batch_samples(model, baseline, target, threads, watch, engine)
    figures = judge(samples, shift, baseline.reference, baseline.missing, settings.alpha, settings.tolerances())
    batch = _keep(home / BATCHES, target, len(samples), figures, watch)
    points = [(f"watch_{row.figure}", row.value) for row in figures.itertuples()]
    points += [(f"watch_{row.figure}_p", row.p_corrected) for row in figures.itertuples()]
    tracker.log_batch(registered, batch.number, {**dict(points), "watch_breaches": float(len(batch.breaches))})
    return batch


def batch_samples(
    model: WindowedModel, baseline: Baseline, target: Path, threads: int, watch: Watch, engine: Engine = HERE
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Impute a file in the baseline's windows, with a share of its calls hidden; return the figures of its samples.

    Returns:
        A row per sample with the figures that `drift.judge` takes, and what `drift.frequency_shift` returns.

    Raises:
        InputError: too few samples, or the file cannot be imputed with the model.
    """
    watch.stage(f"check {target.name}")
    with work_folder("watch") as work:
        check, rows = lay_out(target, model, work)
        spool, n = spooled(work / "target"), len(check.samples)
        if n < FEWEST_SAMPLES:
            raise InputError(
                f"{target.name} has {numbered(n, 'sample')}: {FEWEST_SAMPLES} make a batch that can be judged; join several files"
            )
        blocks = [rows[baseline.typed[at : at + SITES_AT_ONCE]] for at in range(0, len(baseline.typed), SITES_AT_ONCE)]
        called = np.sum([(calls_at(spool, block) != MISSING).sum(axis=1) for block in blocks], axis=0)
        judged = calls_at(spool, rows[baseline.judged])
        owned = owned_sites(model.windows, baseline.windows)
        truth = calls_at(spool, rows[owned])
        hide_in_spool(work / "target", rows[baseline.hidden])
        watch.stage(f"impute {target.name} in {numbered(len(baseline.windows), 'window')}")
        pieces = to_impute(work, model.imputer_class, model.windows, rows, n)
        in_shares(impute_windows, work, baseline.windows, pieces, threads, watch, engine)
        posterior = owned_posterior(model.windows, baseline.windows, work)
        presented = calls_at(spooled(work / "target"), rows[owned])
    samples = sample_figures(baseline.population, judged, presented, truth, posterior)
    samples.insert(0, MISSING_RATE, 1 - called / len(baseline.typed))
    samples.insert(1, CALL_RATE, check.samples["call_rate"].to_numpy(float))
    return samples, frequency_shift(baseline.population, judged)


def read_batches(path: Path) -> pd.DataFrame:
    """Read the table of a model's batches; empty if there are none yet.

    Returns:
        A row per batch and figure: batch (number, from 1), when (UTC), file, digest (of its content), samples, and the columns
        of `drift.judge`.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.read_csv(path, sep="\t", dtype={"file": str, "digest": str})


def breaches_in(table: pd.DataFrame, batch: int) -> list[str]:
    """Return the names of the figures that are beyond their thresholds in a batch of a table of batches."""
    return table.loc[(table["batch"] == batch) & table["breach"].astype(bool), "figure"].tolist()


def watched_models(runs: Path) -> dict[str, Path]:
    """Return the tables of batches in a folder of runs: the folder's name, NAME-VERSION-RUN → file, the last written first."""
    found = sorted((runs / "watch").glob(f"*/{BATCHES}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return {path.parent.name: path for path in found}


def _keep(path: Path, target: Path, n_samples: int, figures: pd.DataFrame, watch: Watch) -> Batch:
    """Write a batch into the table, in place of rows of the same content, and return it with its number."""
    content = digest(contents_of(target))[:16]
    with made_alone(path, watch):
        table = read_batches(path)
        same = table["digest"] == content
        numbers = table.loc[same, "batch"] if same.any() else table["batch"] + 1
        number = int(numbers.max()) if len(numbers) else 1
        about: dict[str, Any] = {
            "batch": number, "when": _now(), "file": target.name, "digest": content, "samples": n_samples,
        }  # fmt: skip
        rows = figures.assign(**about)[list(COLUMNS)]
        kept = pd.concat([table[~same], rows]) if len(table) else rows
        write_text(path, kept.sort_values("batch", kind="stable").to_csv(sep="\t", index=False))
    return Batch(number, target.name, n_samples, figures)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
