"""Baseline of a model: what its panel's held-out samples show, imputed by a model that has not seen them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.files import save_array, write_text, written_beside
from snpimpute.base.folders import Part
from snpimpute.base.processes import HERE, Engine, say_progress
from snpimpute.base.progress import Watch
from snpimpute.base.steps import Pieces, in_shares
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.drift import FEWEST_SAMPLES, Population, sample_figures
from snpimpute.impute.matching import name_digests
from snpimpute.impute.panel import FitSettings, held_out, missing_shares
from snpimpute.impute.pieces import to_impute
from snpimpute.impute.posed import calls_at, lay_out, owned_posterior, owned_sites, sites_in
from snpimpute.impute.steps import (
    ARRAY,
    MODEL_LINK,
    TYPED,
    VARYING_FILE,
    WINDOWS_FITTED,
    imputed_file,
    read_plan,
    save_window_posterior,
    training_mask,
)
from snpimpute.impute.windows import Window, WindowedModel, spread_windows
from snpimpute.io.samples import attach_samples, read_samples
from snpimpute.io.spool import spooled

LEAST_MAF = 0.05  # of a site by which frequencies and components are judged; rarer ones are far from normal
MOST_SITES = 5000  # by which they are judged, evenly spread
FEWEST_SITES = 20
FEWEST_HIDDEN = 5
ABOUT, REFERENCE, ARRAYS = "baseline.json", "reference.tsv", "population.npz"
LACKING = "lacking.npy"  # in the work folder: which calls of the samples held out are not shown, (n_held, n_sites)


@dataclass(frozen=True)
class BaselineSettings:
    """Settings of `snpimpute models baseline`.

    Attributes:
        panel: the panel that the model was fitted to.
        typed: sites that targets have, as for a fit; None = all of the model's.
        samples: sample table (whole families are held out); None = none.
        holdout: share of the panel's samples that stand for a batch without drift.
        hide: share of the typed sites that are hidden on purpose, in all samples.
        windows: number of windows in which is imputed; 0 = all.
        components: number of principal components.
        seed: seed of every random choice.
        threads: processor threads.
    """

    panel: Path
    typed: Path | None = None
    samples: Path | None = None
    holdout: float = 0.2
    hide: float = 0.1
    windows: int = 6
    components: int = 10
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.hide <= 0.5:
            raise InputError(f"cannot hide {self.hide:.0%} of the typed calls: give a share above 0% up to 50%")


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a model's batches are compared with.

    Attributes:
        population: the panel at the judged sites.
        judged: int64, these sites, numbers in the model's sites.
        typed: int64, the sites that targets have.
        reference: a row per held-out sample, the columns drift.OF_REFERENCE.
        hidden: int64, the sites among them that are hidden on purpose: the same ones in all batches, so that they compare.
        missing: share of missing calls at the typed sites of a target that the sites were taken from; 0 for a list.
        windows: numbers of the windows in which is imputed.
    """

    population: Population
    judged: np.ndarray
    typed: np.ndarray
    hidden: np.ndarray
    reference: pd.DataFrame
    missing: float
    windows: list[int]

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write the baseline to a folder, completely or not at all; it holds no genotypes."""
        arrays = {each.name: getattr(self.population, each.name) for each in fields(Population)}
        with written_beside(folder) as beside:
            beside.mkdir()
            with (beside / ARRAYS).open("wb") as handle:
                np.savez_compressed(handle, judged=self.judged, typed=self.typed, hidden=self.hidden, **arrays)
            self.reference.to_csv(beside / REFERENCE, sep="\t", index=False)
            kept = {"missing": self.missing, "windows": self.windows}
            (beside / ABOUT).write_text(json.dumps({**about, **kept}, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Baseline:
        """Read the baseline that `save` wrote.

        Raises:
            InputError: there is none, or a file of it is damaged.
        """
        if not (folder / ABOUT).exists():
            raise InputError(
                "the model has no baseline yet: snpimpute models baseline NAME PANEL makes it, once, from the panel"
            )
        try:
            about = json.loads((folder / ABOUT).read_text())
            with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
                of_panel = {each.name: arrays[each.name] for each in fields(Population)}
                population = Population(**{**of_panel, "n_samples": int(of_panel["n_samples"])})
                sites = {name: arrays[name] for name in ("judged", "typed", "hidden")}
            reference = pd.read_csv(folder / REFERENCE, sep="\t")
            kept = {key: about[key] for key in ("missing", "windows")}
        except (OSError, LookupError, TypeError, ValueError, BadZipFile) as error:
            raise InputError(f"{folder} is damaged ({error}): make the baseline again, with --force") from None
        return cls(population=population, reference=reference, **sites, **kept)


def make_baseline(
    model: WindowedModel, settings: BaselineSettings, watch: Watch | None = None, engine: Engine = HERE
) -> Baseline:
    """Compute what a model's batches are compared with.

    The model has seen all of its panel. So its imputer is fitted again, with its parameters, to the panel without the
    samples held out, in some of its windows, and those samples are imputed from the sites that targets have.

    Raises:
        InputError: the file is not the model's panel, too few samples are held out, or a fit failed.
    """
    watch = watch or Watch()
    watch.stage(f"read {settings.panel.name}")
    with work_folder("baseline") as work:
        _, rows = lay_out(settings.panel, model, work)
        panel = spooled(work / "target")
        if set(name_digests(panel.names)) != set(model.about.get("samples", ())):
            raise InputError(f"{settings.panel} is not the panel that the model {model.about['name']} was fitted to")
        share = np.zeros(len(rows)) if settings.typed is None else missing_shares(settings.typed, model.sites)
        typed = np.flatnonzero(share < 1)
        held = _held_out(settings, model, panel)
        numbers = spread_windows(len(model.windows), settings.windows)
        rng = np.random.default_rng(settings.seed)
        lacking = rng.random((int(held.sum()), len(rows))) < share
        hidden = _hidden(settings, np.intersect1d(typed, sites_in(model.windows, numbers)), rng)
        presented = lacking.copy()
        presented[:, hidden] = True
        _plan(settings, model, work, share, held, presented)
        watch.stage(f"fit {model.about['imputer']} without the samples held out in {numbered(len(numbers), 'window')}")
        pieces = _to_refer(work, model, rows, panel.n_samples)
        in_shares(refer_windows, work, numbers, pieces, settings.threads, watch, engine)
        posterior = owned_posterior(model.windows, numbers, work)
        sites = owned_sites(model.windows, numbers)
        truth = np.where(lacking[:, sites], np.int8(MISSING), calls_at(panel, rows[sites])[held])
        judged = _judged(panel, rows, typed)
        calls = calls_at(panel, rows[judged])
    population = Population.of(calls, ~held, settings.components)
    seen = np.where(lacking[:, judged], np.int8(MISSING), calls[held])
    shown = np.where(presented[:, sites], np.int8(MISSING), truth)
    reference = sample_figures(population, seen, shown, truth, posterior)
    expected = float(share[typed].mean())
    return Baseline(population, judged, typed, hidden, reference, expected, numbers)


def _hidden(settings: BaselineSettings, typed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return int64: the sites to hide, of the typed ones in the windows; InputError if so few are no measure."""
    n = round(settings.hide * len(typed))
    if n < FEWEST_HIDDEN:
        raise InputError(
            f"{settings.hide:.0%} of the {len(typed)} typed sites in the windows are {n} to hide: {FEWEST_HIDDEN} are "
            "needed (--hide, --measure)"
        )
    return np.sort(rng.choice(typed, n, replace=False))


def _held_out(settings: BaselineSettings, model: WindowedModel, panel: GenotypeMatrix) -> np.ndarray:
    """Return bool (n_samples,): the panel's samples that stand for a batch without drift."""
    if settings.samples is not None:
        panel = attach_samples(panel, read_samples(settings.samples))
    wanted = FitSettings(
        settings.panel, model.about["name"], model.about["imputer"], holdout=settings.holdout, seed=settings.seed
    )
    held = held_out(wanted, panel)
    if min(held.sum(), (~held).sum()) < FEWEST_SAMPLES:
        raise InputError(
            f"{int(held.sum())} of {panel.n_samples} samples would stand for a batch: hold out {FEWEST_SAMPLES} at least (--holdout)"
        )
    return held


def _judged(panel: GenotypeMatrix, rows: np.ndarray, typed: np.ndarray) -> np.ndarray:
    """Return int64: the typed sites that are judged, numbers in the model's sites; InputError if there are too few."""
    maf = np.concatenate([panel.take_sites(rows[typed[at : at + 1000]]).maf() for at in range(0, len(typed), 1000)])
    common = typed[maf >= LEAST_MAF]
    if len(common) < FEWEST_SITES:
        raise InputError(
            f"{len(common)} of the {len(typed)} sites that targets have are common enough to judge by "
            f"(MAF {LEAST_MAF:g} and more): {FEWEST_SITES} are needed"
        )
    return common[np.unique(np.round(np.linspace(0, len(common) - 1, MOST_SITES)).astype(int))]


def _plan(
    settings: BaselineSettings,
    model: WindowedModel,
    work: Path,
    share: np.ndarray,
    held: np.ndarray,
    presented: np.ndarray,
) -> None:
    """Write what `refer_windows` reads beside the panel's calls."""
    save_array(work / LACKING, presented)
    save_array(work / "typed.npy", share.astype(np.float32))
    plan = {
        "imputer": model.about["imputer"],
        "params": model.about["params"],
        "seed": settings.seed,
        "windows": [[w.contig, w.start, w.stop] for w in model.windows],
        "held_out": np.flatnonzero(held).tolist(),
        "patterns": [ARRAY if settings.typed is None else TYPED],
        "trust": model.trust,
    }
    write_text(work / "plan.json", json.dumps(plan) + "\n")


def _to_refer(work: Path, model: WindowedModel, rows: np.ndarray, n_samples: int) -> Pieces:
    """Return the pieces of `refer_windows`: as those that impute, with what the fits take."""
    cls = model.imputer_class
    imputing = to_impute(work, cls, model.windows, rows, n_samples)
    beside = [Part(LACKING), Part("typed.npy")]
    return replace(
        imputing,
        reads=lambda numbers: [*beside, *imputing.reads(numbers)],
        most=WINDOWS_FITTED,
        files=cls.files_in(model.about["params"]),
    )


def refer_windows(home: Path, numbers: list[int]) -> None:
    """Fit windows on the samples that are not held out, and save the posteriors of those that are."""
    plan = read_plan(home)
    panel = spooled(home / "target")
    rows = np.load(home / "target" / VARYING_FILE, allow_pickle=False)
    lacking = np.load(home / LACKING, allow_pickle=False)
    held = np.isin(np.arange(panel.n_samples), plan["held_out"])
    cls = WindowedModel(home / MODEL_LINK, trust=plan["trust"]).imputer_class
    for number in numbers:
        window = Window(*plan["windows"][number])
        part = panel.take_sites(rows[window.sites])
        imputer = cls(cls.parse_params(plan["params"]), seed=plan["seed"])
        imputer.fit(part.take_samples(~held), None, training_mask(home, plan, window))
        presented = part.take_samples(held).hide(lacking[:, window.sites])
        save_window_posterior(imputed_file(home, number), imputer.posterior(presented))
        say_progress(1, 1)
