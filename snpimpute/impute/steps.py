"""Steps on single windows that run in processes of their own: measure an imputer, fit it on all samples, impute."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from snpimpute import imputers
from snpimpute.base.digests import digest
from snpimpute.base.files import save_array, write_text, written_beside
from snpimpute.base.processes import say_progress
from snpimpute.dataset.masks import array_masks
from snpimpute.dataset.splits import split_samples, unit_labels
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.draws import drawn_file, save_drawn
from snpimpute.impute.hidden import calls_to_hide, hidden_file, save_hidden
from snpimpute.impute.likelihoods import likelihoods_at
from snpimpute.impute.phased import phase_file, save_window_phase
from snpimpute.impute.windows import Window, WindowedModel, owned_by, window_posterior
from snpimpute.imputers.contract import Report, Validation, is_late
from snpimpute.io.spool import spooled
from snpimpute.metrics.maf import RARE_MAF, maf_subsets
from snpimpute.metrics.sums import N_SUMS, genotype_shares, site_sums

# Windows per process: a start costs seconds, and Keras never frees a network's memory, most of all that of a fitted one.
WINDOWS_FITTED = 4
WINDOWS_IMPUTED = 40
TYPED, ARRAY = "typed", "array-90"  # patterns in which calls of the held-out samples are hidden
MODEL_LINK = "model"  # in the folder of an imputation: link to the model's folder
VARYING_FILE = "varying.npy"  # beside a target's spool: the sites of it that the windows have
_PROBABILITY_ONE = np.iinfo(np.uint16).max  # the number that stands for probability 1 in a saved posterior
VALIDATION_SHARE = 0.2  # share of the samples that are not held out, for the epochs and the calibration of networks


def measured_file(home: Path, number: int) -> Path:
    """Return the file of a window's sums of scores; a .json beside it has the parameters that its fit found."""
    return home / "measured" / f"{number:05d}.npz"


def imputed_file(work: Path, number: int) -> Path:
    """Return the file of a window's posterior before the blend, see `save_window_posterior`."""
    return work / "probabilities" / f"{number:05d}.npy"


def save_window_posterior(file: Path, posterior: np.ndarray) -> None:
    """Write a posterior, float (n_samples, n_sites, 3), as uint16 (2, n_sites, n_samples).

    The file has the probabilities of genotypes 1 and 2 in 65535ths, site after site.
    """
    scaled = posterior.transpose(2, 1, 0)[1:] * np.float32(_PROBABILITY_ONE) + 0.5
    parts = np.ascontiguousarray(scaled.astype(np.uint16))
    with written_beside(file) as beside, beside.open("wb") as handle:
        save_array(handle, parts)


def load_window_posterior(file: Path) -> np.ndarray:
    """Return float32 (2, n_sites, n_samples): probabilities of genotypes 1 and 2 from `save_window_posterior`."""
    return np.load(file, allow_pickle=False) * np.float32(1 / _PROBABILITY_ONE)


def measure_windows(home: Path, numbers: list[int]) -> None:
    """Fit windows on the samples that are not held out, impute the held-out ones, and save sums of scores."""
    plan = read_plan(home)
    panel = spooled(home / "panel")
    held = np.isin(np.arange(panel.n_samples), plan["held_out"])
    windows = [Window(*window) for window in plan["windows"]]
    cls = imputers.load(plan["imputer"])
    for number in numbers:
        part = panel.take_sites(windows[number].sites)
        imputer = cls(cls.parse_params(plan["params"]), seed=plan["seed"])
        rest, target = part.take_samples(~held), part.take_samples(held)
        mask = training_mask(home, plan, windows[number])
        began = time.monotonic()
        if cls.learns_in_epochs:
            learned_from, validation = _split_validation(home, plan, rest, number)
            imputer.fit(learned_from, validation, mask)
        else:
            imputer.fit(rest, None, mask)
        seconds_fit = time.monotonic() - began
        maf = part.maf()
        sums: dict[str, Any] = {}
        seconds = []
        for name in plan["patterns"]:
            lacking, truth = _measured_calls(home, plan, name, rest, number, target)
            started = time.monotonic()
            posterior = imputer.posterior(target.hide(lacking))
            seconds.append(time.monotonic() - started)
            sums[name] = _sums_by_subset(truth, posterior, maf, genotype_shares(target.calls))
        found = imputer.refit_params().model_dump(mode="json")
        about = {"params": found, "seconds": float(np.mean(seconds)), "seconds_fit": seconds_fit}
        file = measured_file(home, number)
        write_text(file.with_suffix(".json"), json.dumps(about) + "\n")
        with written_beside(file) as beside, beside.open("wb") as handle:
            np.savez_compressed(handle, **sums)
        say_progress(1, 1)


def _measured_calls(
    home: Path, plan: dict[str, Any], pattern: str, rest: GenotypeMatrix, number: int, target: GenotypeMatrix
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a pattern hides of held-out samples in a window, bool, and the truth that is scored, int8, -1 = not scored.

    Both are (n_samples, n_sites). `rest` are the other samples at the window's sites, `target` the held-out ones.
    """
    windows = [Window(*window) for window in plan["windows"]]
    hidden = hidden_calls(home, plan, pattern, rest, number, target.n_samples)
    lacking = np.broadcast_to(hidden, target.calls.shape)
    return lacking, np.where(lacking & owned_by(windows, number), target.calls, np.int8(MISSING))


def measured_content(home: Path, numbers: list[int]) -> dict[str, str]:
    """Return digests of what the windows are measured on: `samples`, `sites` and `hidden` (pattern, truth, rare sites).

    Equal ones make scores comparable sample by sample, whatever the files are called and wherever they lie. Empty if no
    window is measured.
    """
    if not numbers:
        return {}
    plan, panel = read_plan(home), spooled(home / "panel")
    held = np.isin(np.arange(panel.n_samples), plan["held_out"])
    sites: list[Any] = []
    hidden = hashlib.sha256()
    for number in numbers:
        part = panel.take_sites(Window(*plan["windows"][number]).sites)
        rest, target = part.take_samples(~held), part.take_samples(held)
        sites.append(part.site_keys())
        for name in plan["patterns"]:
            _, truth = _measured_calls(home, plan, name, rest, number, target)
            hidden.update(name.encode() + np.ascontiguousarray(truth).tobytes())
        hidden.update(np.packbits(np.stack(list(subsets(part.maf()).values()))).tobytes())
    names = panel.samples[held].reset_index(drop=True)
    of_samples = [names["sample"].tolist(), unit_labels(names, "family").tolist()]
    return {"samples": digest(of_samples), "sites": digest(sites), "hidden": hidden.hexdigest()}


class _Silent:
    """Report that keeps the scores to itself, and is late when another is."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def __call__(self, step: int, score: float) -> None:
        """Tell nobody."""

    @property
    def late(self) -> bool:
        return is_late(self._report)


def score_in_windows(home: Path, numbers: list[int], params: dict[str, Any], report: Report) -> float:
    """Return the mean validation macro-F1 of the imputers of some windows.

    The calls scored are hidden in validation samples, which are neither learned from nor held out.

    Args:
        home: folder of the fit.
        numbers: numbers of the windows.
        params: table of the imputer's parameters.
        report: receives the scores of each epoch in the first of these windows; a study can end a poor trial by it. Once it
            is late, the window at hand is the last one.
    """
    plan = read_plan(home)
    panel = spooled(home / "panel")
    held = np.isin(np.arange(panel.n_samples), plan["held_out"])
    cls = imputers.load(plan["imputer"])
    scores: list[float] = []
    for number in numbers:
        if scores and is_late(report):
            break
        window = Window(*plan["windows"][number])
        learned_from, validation = _split_validation(
            home, plan, panel.take_sites(window.sites).take_samples(~held), number
        )
        imputer = cls(cls.parse_params(params), seed=plan["seed"])
        heard = _Silent(report) if scores else report
        imputer.fit(learned_from, validation, training_mask(home, plan, window), heard)
        scores.append(validation.score(imputer.posterior))
    return float(np.mean(scores))


def _split_validation(
    home: Path, plan: dict[str, Any], rest: GenotypeMatrix, number: int
) -> tuple[GenotypeMatrix, Validation]:
    """Split the samples that are not held out into those to learn from and those for validation."""
    judged = split_samples(rest.samples, round(VALIDATION_SHARE * rest.n_samples), "random", plan["seed"])
    matrix = rest.take_samples(judged)
    hidden = tuple(hidden_calls(home, plan, name, rest, number, matrix.n_samples) for name in plan["patterns"])
    return rest.take_samples(~judged), Validation(matrix, hidden)


def fit_windows(home: Path, numbers: list[int]) -> None:
    """Fit the imputer of each window on all samples and save it."""
    plan = read_plan(home)
    panel = spooled(home / "panel")
    cls = imputers.load(plan["imputer"])
    for number in numbers:
        window = Window(*plan["windows"][number])
        imputer = cls(cls.parse_params(plan["params"]), seed=plan["seed"])
        imputer.fit(panel.take_sites(window.sites), None, training_mask(home, plan, window))
        with written_beside(WindowedModel.place(home / "model", number)) as beside:
            imputer.save(beside)
        say_progress(1, 1)


def read_plan(home: Path) -> dict[str, Any]:
    """Return what the processes are to do, as `fit`, `choose` and `impute` leave it in their folders."""
    return json.loads((home / "plan.json").read_text())


def training_mask(home: Path, plan: dict[str, Any], window: Window) -> TrainingMask:
    """Return the mask for training networks: the sites that targets lack, if these are known, else random calls."""
    if TYPED in plan["patterns"]:
        lacking = np.load(home / "typed.npy", allow_pickle=False)[window.sites] == 1
        if lacking.any() and not lacking.all():
            return TrainingMask("fixed", sites=lacking)
    return TrainingMask("random")


def hidden_calls(
    home: Path, plan: dict[str, Any], pattern: str, panel: GenotypeMatrix, number: int, n_samples: int
) -> np.ndarray:
    """Return bool (n_sites,) or (n_samples, n_sites): the calls that a pattern hides in a window.

    `panel` has the sites of the window.
    """
    seed = plan["seed"] * 100_000 + number
    if pattern == ARRAY:
        return array_masks(panel, [90.0], 1, seed)[90.0, 0]
    share = np.load(home / "typed.npy", allow_pickle=False)[Window(*plan["windows"][number]).sites]
    return np.random.default_rng(seed).random((n_samples, len(share))) < share


def subsets(maf: np.ndarray) -> dict[str, np.ndarray]:
    """Return a mapping of subset → bool (n_sites,), by the panel's MAF float64 (n_sites,)."""
    return {"all": np.ones(len(maf), dtype=bool), "rare": maf < RARE_MAF, **maf_subsets(maf)}


def _sums_by_subset(truth: np.ndarray, posterior: np.ndarray, maf: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return float64 (n_samples, n_subsets, N_SUMS): sums of scores at the calls whose truth is not -1.

    `shares` are the genotypes' at each site among all true calls of these samples (see metrics.sums).
    """
    out = np.zeros((len(truth), len(subsets(maf)), N_SUMS))
    for at in range(0, truth.shape[1], 50):
        part = slice(at, at + 50)
        sums = site_sums(truth[:, part], posterior[:, part].astype(np.float64), shares=shares[part])
        for i, within in enumerate(subsets(maf[part]).values()):
            out[:, i] += sums[:, within].sum(axis=1, dtype=np.float64)
    return out


def impute_windows(home: Path, numbers: list[int]) -> None:
    """Impute a target in windows, by a model or by an imputer that needs no panel, and save the posteriors."""
    plan = read_plan(home)
    target = spooled(home / "target")
    varying = np.load(home / "target" / VARYING_FILE, allow_pickle=False)
    windows = [Window(*window) for window in plan["windows"]]
    model = WindowedModel(home / MODEL_LINK, trust=plan["trust"]) if plan["has_model"] else None
    for number in numbers:
        rows = varying[windows[number].sites]
        part = replace(target.take_sites(rows), likelihoods=likelihoods_at(home / "target", rows, target.n_samples))
        posterior = _posterior_in(plan, model, number, part)
        if plan["phased"]:
            assert model is not None
            calls = np.where(part.calls == MISSING, posterior.argmax(axis=2), part.calls).astype(np.int8)
            save_window_phase(phase_file(home, number), model.imputer(number).haplotypes(part, calls))
        if plan["draws"]:
            assert model is not None
            seed = int(np.random.default_rng([plan["seed"], number]).integers(2**31))
            save_drawn(drawn_file(home, number), model.imputer(number).draw(part, plan["draws"], seed))
        if plan["hide"]:
            hidden = calls_to_hide(part.calls, owned_by(windows, number), plan["hide"], plan["seed"], number)
            without = _posterior_in(plan, model, number, part.hide(hidden)) if hidden.any() else posterior
            save_hidden(hidden_file(home, number), rows, hidden, without)
        save_window_posterior(imputed_file(home, number), posterior)
        say_progress(1, 1)
        gc.collect()  # frees Keras networks, which are reference cycles; freeze spares later collections the rest
        gc.freeze()


def _posterior_in(plan: dict[str, Any], model: WindowedModel | None, number: int, part: GenotypeMatrix) -> np.ndarray:
    """Return the posterior of a window, float32 (n_samples, n_sites, 3), by its model or by an imputer that needs none."""
    if model is not None:
        return window_posterior(model, number, part)
    cls = imputers.load(plan["imputer"])
    alone = cls(cls.parse_params(plan["params"]), seed=plan["seed"])
    return alone.fit(part.take_samples(slice(0))).posterior(part)
