"""Fit of an imputer to a whole panel: measured in some windows on held-out samples, then fitted in all windows."""

from __future__ import annotations

import functools
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from snpimpute import __version__, imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.checksums import write_checksums
from snpimpute.base.extras import require_package
from snpimpute.base.files import require_writable, save_array, write_text
from snpimpute.base.folders import Folder
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.provenance import git_revision, peak_memory_mb, versions
from snpimpute.base.steps import in_shares
from snpimpute.base.words import lasting, numbered
from snpimpute.dataset.splits import unit_labels
from snpimpute.genotypes.matrix import GenotypeMatrix, site_keys
from snpimpute.impute import pieces
from snpimpute.impute.matching import name_digests
from snpimpute.impute.panel import FitSettings, cut_windows, held_out, missing_shares, read_panel
from snpimpute.impute.steps import (
    ARRAY,
    TYPED,
    fit_windows,
    measure_windows,
    measured_content,
    measured_file,
    score_in_windows,
    subsets,
)
from snpimpute.impute.windows import ABOUT, Window, WindowedModel, spread_windows
from snpimpute.imputers.contract import Imputer, Report
from snpimpute.io.spool import alt_frequencies, spooled_records
from snpimpute.metrics.intervals import interval, resample, resampling_weights
from snpimpute.metrics.registry import METRICS
from snpimpute.metrics.scores import SITE_COUNTS, scores
from snpimpute.tracking.runs import PANEL_VARIANT, Training
from snpimpute.tuning.imputers import TRIALS_PER_PROCESS, tune_imputer
from snpimpute.tuning.parameters import read_params, write_params
from snpimpute.tuning.study import NO_TRIAL, StudySettings, TrialOutcome

if TYPE_CHECKING:
    from snpimpute.tracking.writer import Tracker

TUNING_WINDOWS = 2  # windows in which a study judges parameters
RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model: folder, scores on the held-out samples (empty if there are none), and registered version."""

    folder: Path
    scores: pd.DataFrame
    registered: str = ""


def fit(
    settings: FitSettings,
    runs: Path,
    open_tracker: Callable[[], Tracker] | None = None,
    watch: Watch | None = None,
    engine: Engine = HERE,
) -> Fitted:
    """Fit an imputer to a panel, window by window, in parallel processes; a killed fit is resumed.

    Args:
        settings: see FitSettings.
        runs: folder for all results.
        open_tracker: opens the tracking.Tracker that logs and registers the model, once the panel has been read and
            before anything is fitted: bad input leaves no store behind. None registers nothing.
        watch: receives the progress.
        engine: where windows and trials are computed.

    Raises:
        InputError: the panel or another file cannot be used, a parameter is wrong, or a window's fit failed.
    """
    watch = watch or Watch()
    require_writable(runs)
    cls = imputers.load(settings.imputer)
    cls.parse_params(settings.imputer_params())
    cls.require_programs()
    if settings.trials:
        require_package("optuna", "a study (--trials)")
    home = settings.home(runs)
    tracker_once = functools.cache(open_tracker or (lambda: None))
    with made_alone(home, watch):
        if not (home / "fit.json").exists():
            _fit(settings, cls, home, watch, tracker_once, engine)
        model = WindowedModel(home / "model")
        measured = pd.read_csv(
            home / "measured.csv", keep_default_na=False, na_values={key: [""] for key in ("value", "low", "high")}
        )
        tracker = tracker_once()
        registered = "" if tracker is None else _register(settings, home, model, measured, tracker)
    return Fitted(home / "model", measured, registered)


def _fit(
    settings: FitSettings,
    cls: type[Imputer],
    home: Path,
    watch: Watch,
    open_tracker: Callable[[], object],
    engine: Engine,
) -> None:
    started = time.monotonic()
    panel, genetic_map = read_panel(settings, home / "panel", watch, engine)
    windows = cut_windows(settings.window_size(), settings.overlap, panel.sites, genetic_map)
    held = held_out(settings, panel)
    pilots = spread_windows(len(windows), settings.pilots) if held.any() else []
    plan: dict[str, Any] = {
        "imputer": settings.imputer,
        "params": settings.imputer_params(),
        "seed": settings.seed,
        "windows": [[w.contig, w.start, w.stop] for w in windows],
        "held_out": np.flatnonzero(held).tolist(),
        "patterns": [TYPED if settings.typed else ARRAY],
    }
    write_text(home / "plan.json", json.dumps(plan) + "\n")
    if settings.typed is not None:
        save_array(home / "typed.npy", missing_shares(settings.typed, panel.sites))
    open_tracker()

    if settings.trials and cls.tunable():
        judged_in = spread_windows(len(windows), TUNING_WINDOWS)
        watch.stage(f"tune {settings.imputer} in {numbered(len(judged_in), 'window')}, % of its budget")
        cut = [windows[number] for number in judged_in]
        folder = pieces.for_trials(home, cls, plan["params"], cut, panel.n_samples)
        plan["params"] = _tune(settings, cls, plan["params"], folder, judged_in, watch, engine)
        write_text(home / "plan.json", json.dumps(plan) + "\n")
    if pilots:
        watch.stage(f"measure {settings.imputer} in {len(pilots)} of {numbered(len(windows), 'window')}")
    to_measure = pieces.to_measure(home, cls, plan["params"], windows, panel.n_samples)
    in_shares(measure_windows, home, pilots, to_measure, settings.threads, watch, engine)
    found = [json.loads(measured_file(home, number).with_suffix(".json").read_text()) for number in pilots]
    if found:
        agreed = cls.agreed([cls.parse_params(one["params"]) for one in found])
        plan["params"] = agreed.model_dump(mode="json")
    write_text(home / "plan.json", json.dumps(plan) + "\n")
    if found:
        each = float(np.mean([one["seconds_fit"] for one in found]))
        in_all = each * -(
            -len(windows) // engine.at_once(settings.threads)
        )  # the windows of one process come one after another
        watch.note(
            f"a window that was measured took {lasting(each)} to fit: about {lasting(in_all)} for all {len(windows)}"
        )

    watch.stage(f"fit {settings.imputer} in {numbered(len(windows), 'window')}")
    everywhere = list(range(len(windows)))
    to_fit = pieces.to_fit(home, cls, plan["params"], windows, panel.n_samples)
    in_shares(fit_windows, home, everywhere, to_fit, settings.threads, watch, engine)
    about = {
        "name": settings.name,
        "imputer": settings.imputer,
        "params": plan["params"],
        "panel": settings.panel.name,
        "panel_digest": settings.digest(),
        "n_samples": panel.n_samples,
        "samples": name_digests(panel.names),
        "snpimpute": __version__,
        "measured_on": measured_content(home, pilots),
        "families": unit_labels(panel.samples[held].reset_index(drop=True), "family").tolist(),
    }
    table = _scores(home, pilots, panel, held, settings)
    write_text(home / "measured.csv", table.to_csv(index=False))
    sites = spooled_records(home / "panel")
    sites.loc[sites["varies"], "alt_frequency"] = alt_frequencies(home / "panel")
    write_model(home / "model", about, sites, windows)
    write_text(
        home / "fit.json",
        json.dumps(
            {
                "seconds_fit": time.monotonic() - started,
                "seconds_impute_window": float(np.mean([one["seconds"] for one in found])) if found else None,
                "windows": len(windows),
                "windows_measured": len(pilots),
                "samples_fit": panel.n_samples,
                "samples_held_out": int(held.sum()),
                "memory_mb": peak_memory_mb(),
                "versions": versions(),
                "revision": git_revision(),
            },
            indent=1,
        )
        + "\n",
    )
    shutil.rmtree(home / "panel")


def write_model(folder: Path, about: dict[str, Any], sites: pd.DataFrame, windows: Sequence[Window]) -> None:
    """Write the files that join the saved imputers of all windows into one model; their checksums come last.

    Args:
        folder: folder of the model, with an imputer saved for each window at `WindowedModel.place`.
        about: further content of model.json: `name` and `imputer` at least.
        sites: the sites table with the column `alt_frequency`, and `varies`, `record` and `haploid` as `WindowedModel.table` has
            them (without them every site varies, is a record of its own and has no haploid call).
        windows: the windows, in order.
    """
    table = sites if "record" in sites else sites.assign(varies=True, record=range(len(sites)), haploid=False)
    table = table.astype({"varies": int, "haploid": int})
    write_text(folder / "sites.tsv", table.to_csv(sep="\t", index=False, float_format="%.6g"))
    text = {**about, "windows": [astuple(window) for window in windows]}
    write_text(folder / ABOUT, json.dumps(text, indent=1) + "\n")
    write_checksums(folder)


def _tune(
    settings: FitSettings,
    cls: type[Imputer],
    params: dict[str, Any],
    folder: Folder,
    numbers: list[int],
    watch: Watch,
    engine: Engine,
) -> dict[str, Any]:
    """Return the parameters that a study finds in some windows; `params` stay as given, a killed study is resumed."""
    home = folder.path
    in_worker: Any = folder  # a worker gets its path, or that of a copy
    if (home / "study.toml").exists():
        return {**read_params(home / "study.toml"), **params}
    found = tune_imputer(
        "fit",
        cls,
        params,
        evaluate=functools.partial(_evaluate_trial, in_worker, numbers),
        settings=StudySettings(
            n_trials=settings.trials,
            seconds=settings.seconds,
            workers=settings.threads,
            threads=1,
            seed=settings.seed,
            storage=str(home / "study.journal"),
            trials_per_process=TRIALS_PER_PROCESS,
        ),
        on_progress=lambda percent, best: watch.progress(math.floor(percent), 100),
        engine=engine,
    )
    if found.best is None:
        watch.warn(NO_TRIAL)
    about = {
        "found": f"by the study of {settings.name}, {numbered(len(found.trials), 'trial')}, ended by {found.ended_by}"
    }
    write_params(home / "study.toml", found.params, about)
    return {**found.params, **params}


def _evaluate_trial(home: Path, numbers: list[int], params: dict[str, Any], report: Report) -> TrialOutcome:
    return TrialOutcome(score_in_windows(home, numbers, params, report), {})


# ---------------------------------------------------------------------- scores of the measured windows


def _scores(
    home: Path, pilots: list[int], panel: GenotypeMatrix, held: np.ndarray, settings: FitSettings
) -> pd.DataFrame:
    """Return the scores on the held-out samples over all measured windows.

    Columns pattern, subset, metric, value, low, high, n; also the counts of SITE_COUNTS, without interval. The 95% bootstrap intervals resample samples (families, if
    known) and windows together.
    """
    columns = ["pattern", "subset", "metric", "value", "low", "high", "n"]
    if not pilots:
        return pd.DataFrame(columns=columns)
    found = [np.load(measured_file(home, number), allow_pickle=False) for number in pilots]
    samples = panel.samples[held].reset_index(drop=True)
    weights = resampling_weights(unit_labels(samples, "family"), len(pilots), RESAMPLES, settings.seed)
    rows = []
    for pattern in found[0].files:
        sums = np.stack([one[pattern] for one in found], axis=1)  # (n_samples, n_windows, n_subsets, N_SUMS)
        save_array(home / "model" / f"sums-{pattern}.npy", sums.astype(np.float32))
        for i, subset in enumerate(subsets(np.zeros(1))):
            point = scores(sums[:, :, i].sum(axis=(0, 1)))
            drawn = scores(resample(sums[:, :, i], weights))
            n = int(sum(point[f"truth_{g}"] for g in (0, 1, 2) if np.isfinite(point[f"truth_{g}"])))
            for metric in METRICS:
                low, high = interval(drawn[metric])
                rows.append((pattern, subset, metric, float(point[metric]), low, high, n))
            for counted in SITE_COUNTS:
                rows.append((pattern, subset, counted, float(point[counted]), np.nan, np.nan, n))
    return pd.DataFrame(rows, columns=columns)


def panel_model_name(name: str) -> str:
    """Return the registered name of a model of `snpimpute fit`, without its prefix `snpimpute-`."""
    return f"{name}-panel"


def _register(settings: FitSettings, home: Path, model: WindowedModel, measured: pd.DataFrame, tracker: Tracker) -> str:
    """Log and register the model, and return its registered name and version."""
    about = json.loads((home / "fit.json").read_text())
    kept = (
        "seconds_fit",
        "seconds_impute_window",
        "windows",
        "windows_measured",
        "samples_fit",
        "samples_held_out",
        "memory_mb",
    )
    first = measured[(measured.subset == "all") & (measured.metric == "f1_macro")]
    metrics = {"val_f1_macro": float(first["value"].iloc[0])} if len(first) else {}  # MLflow draws the first one
    metrics |= {key: float(about[key]) for key in kept if about[key] is not None}
    for row in measured.itertuples():
        if row.subset in ("all", "rare") and row.metric in METRICS and np.isfinite(row.value):
            metrics[f"{row.pattern}_{'' if row.subset == 'all' else 'rare_'}{row.metric}"] = float(row.value)
    example = pd.DataFrame(np.full((1, len(model.sites)), -1), index=["sample"], columns=site_keys(model.sites))
    run_id = tracker.log_training(
        Training(
            key=home.name,
            dataset=panel_model_name(settings.name),
            dataset_folder=settings.panel.absolute(),
            dataset_digest=settings.digest(),
            imputer=settings.imputer,
            variant=PANEL_VARIANT,
            params={
                **model.about["params"],
                "seed": settings.seed,
                "window": settings.window_size(),
                "overlap": settings.overlap,
            },
            metrics=metrics,
            tags={**{f"version.{k}": v for k, v in about["versions"].items()}, "revision": about["revision"]},
            artifacts=[home / "measured.csv", *sorted((home / "logs").glob("*.txt"))],
            model_folder=home / "model",
            example_target=example,
            champion_moves=False,
        )
    )
    version = next(m for m in tracker.registered_models(panel_model_name(settings.name)) if m.run_id == run_id)
    return f"{version.name} version {version.version}"
