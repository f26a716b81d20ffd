"""Choice of the imputer of a panel: a short trial on some of its samples and sites, where none is named."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import remove, require_writable, save_array, write_text
from snpimpute.base.processes import HERE, Engine, say_progress
from snpimpute.base.progress import Watch
from snpimpute.base.sources import source_digest
from snpimpute.base.steps import Pieces, in_shares
from snpimpute.base.words import lasting, numbered
from snpimpute.dataset.splits import split_samples
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.panel import FitSettings, cut_windows, held_out, missing_shares, read_panel
from snpimpute.impute.pieces import panel_parts
from snpimpute.impute.steps import ARRAY, TYPED, VALIDATION_SHARE, hidden_calls, read_plan, training_mask
from snpimpute.impute.windows import Window, owned_by
from snpimpute.imputers.beagle import Beagle
from snpimpute.io.maps import GeneticMap
from snpimpute.io.spool import spooled
from snpimpute.metrics.scores import f1_macro

AUTO = "auto"  # in place of an imputer's name
TRIED = ("mosaic", "softmax_regression")  # of two that do equally well the first is taken
TRIAL_SITES = 1000  # most sites, from the middle of the contig that has most of them
TRIAL_PANEL = 2000  # most samples that are learned from
TRIAL_TARGETS = 40  # most samples that are imputed
LEAST_PANEL = 30  # samples that are not held out; of fewer a handful would be judged
# Most calls of a panel that mosaic phases itself, where it is not phased and there is no Beagle: a quarter of an hour or so.
ITSELF_CALLS = 5_000_000


@dataclass(frozen=True)
class Tried:
    """What an imputer did in the trial.

    Attributes:
        imputer: its name.
        right: share of the hidden calls that were imputed right.
        f1_macro: their macro-F1, which decides.
        seconds_fit, seconds_impute: processor time.
    """

    imputer: str
    right: float
    f1_macro: float
    seconds_fit: float
    seconds_impute: float

    def said(self) -> str:
        """Return what it did as a part of a sentence."""
        cost = f"fitted in {lasting(self.seconds_fit)} of the processor, imputed in {lasting(self.seconds_impute)}"
        return f"{self.imputer} {self.right:.1%} of the hidden calls right, macro-F1 {self.f1_macro:.3f} ({cost})"


@dataclass(frozen=True)
class Choice:
    """The imputer that was chosen for a panel.

    Attributes:
        imputer: its name.
        reason: why, in a few words.
        tried: the trial of each imputer; empty if there was none.
        params: parameters that it is to be fitted with, beside its defaults.
    """

    imputer: str
    reason: str
    tried: tuple[Tried, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the choice, its reason and the alternatives as lines for the user."""
        others = [name for name in TRIED if name != self.imputer]
        given = "".join(f" ({name} = {value})" for name, value in self.params.items())
        return [
            f"imputer: {self.imputer}{given}, {self.reason}",
            *(f"tried: {one.said()}" for one in self.tried),
            f"another one: --imputer {' or '.join(others)} (snpimpute imputers lists all)",
        ]


def choose(
    settings: FitSettings, runs: Path, watch: Watch | None = None, engine: Engine = HERE
) -> tuple[FitSettings, Choice]:
    """Choose the imputer of a panel by a trial, and return the settings with its name; the same input gives the same choice.

    The imputers of TRIED learn from samples of the panel and impute others, at the same sites and with calls hidden as targets
    lack them. Samples that `fit` holds out take no part, so that what it measures on them afterwards is of no choice. The
    macro-F1 of the hidden calls decides; the time is told and decides nothing. What is read of the panel is left to `fit`.

    Args:
        settings: see FitSettings; its `imputer` is AUTO.
        runs: folder for all results.
        watch: receives the progress.
        engine: where the imputers are tried.

    Raises:
        InputError: the panel or another file cannot be used, or a trial failed.
    """
    watch = watch or Watch()
    require_writable(runs)
    if settings.params:
        raise InputError(f"parameters are those of one imputer: give its name, as in --imputer {TRIED[0]}")
    each = [replace(settings, imputer=name) for name in TRIED]
    code = source_digest("snpimpute.impute.choice", without=imputers.DISCOVERY)
    home = runs / "models" / f"{settings.name}-{AUTO}-panel-{digest([code, [one.digest() for one in each]])[:10]}"
    kept = home / "choice.json"
    with made_alone(home, watch):
        if not kept.exists():
            panel, genetic_map = read_panel(each[0], home / "panel", watch, engine)
            choice = _tried(settings, home, panel, genetic_map, watch, engine)
            write_text(kept, json.dumps(asdict(choice), indent=1) + "\n")
        found = json.loads(kept.read_text())
        choice = Choice(**{**found, "tried": tuple(Tried(**one) for one in found["tried"])})
        chosen = replace(settings, imputer=choice.imputer, params=choice.params)
        if (home / "panel").exists():
            _leave_panel(home / "panel", chosen.home(runs), watch)
    for line in choice.lines():
        watch.note(line)
    return chosen, choice


def _leave_panel(spool: Path, fitted: Path, watch: Watch) -> None:
    """Move the panel that was read to the folder of the fit, which would read it again."""
    with made_alone(fitted, watch):
        if not (fitted / "fit.json").exists() and not (fitted / "panel").exists():
            fitted.mkdir(parents=True, exist_ok=True)
            spool.replace(fitted / "panel")
    remove(spool)


def _tried(
    settings: FitSettings,
    home: Path,
    panel: GenotypeMatrix,
    genetic_map: GeneticMap | None,
    watch: Watch,
    engine: Engine,
) -> Choice:
    """Try the imputers on a panel and return the choice."""
    own: dict[str, dict[str, Any]] = {name: {} for name in TRIED}
    if panel.haplotypes is None and (missing := _no_beagle()):
        own["mosaic"] = {"phased_by": "itself"}
        if panel.calls.size > ITSELF_CALLS:
            why = f"as mosaic takes long to phase {panel.calls.size:,} calls without Beagle ({missing})"
            return Choice("softmax_regression", why)
    rest = np.flatnonzero(~held_out(settings, panel))
    if len(rest) < LEAST_PANEL:
        why = f"as {numbered(len(rest), 'sample')} of the panel are too few for a trial"
        return Choice(TRIED[0], why, params=own[TRIED[0]])
    judged, learned = _samples(panel, rest, settings.seed)
    stretch = _stretch(panel.sites)
    plan: dict[str, Any] = {
        "seed": settings.seed,
        "windows": [[stretch.contig, stretch.start, stretch.stop]],
        "tried": {},
        "judged": judged.tolist(),
        "learned_from": learned.tolist(),
        "patterns": [TYPED if settings.typed else ARRAY],
    }
    sites = panel.sites.iloc[stretch.sites].reset_index(drop=True)
    for name in TRIED:
        one = replace(settings, imputer=name, params=own[name])
        windows = cut_windows(one.window_size(), one.overlap, sites, genetic_map)
        cut = [[w.contig, w.start, w.stop] for w in windows]
        plan["tried"][name] = {"params": one.imputer_params(), "windows": cut}
    if settings.typed is not None:
        save_array(home / "typed.npy", missing_shares(settings.typed, panel.sites))
    write_text(home / "plan.json", json.dumps(plan) + "\n")
    watch.stage(f"try {' and '.join(TRIED)} on {len(judged)} samples and {stretch.stop - stretch.start} sites")
    numbers = list(range(len(TRIED)))
    pieces = Pieces(
        is_done=lambda n: _trial_file(home, n).exists(),
        reads=lambda _: panel_parts(home, [stretch], panel.n_samples),
        makes=lambda n: [_trial_file(Path(), n).as_posix()],
        most=1,
        files=() if settings.genetic_map is None else (settings.genetic_map.absolute(),),
    )
    in_shares(try_imputers, home, numbers, pieces, settings.threads, watch, engine)
    tried = [Tried(**json.loads(_trial_file(home, number).read_text())) for number in numbers]
    if not all(np.isfinite(one.f1_macro) for one in tried):
        return Choice(TRIED[0], "as no call was hidden in the trial", params=own[TRIED[0]])
    best = max(tried, key=lambda one: one.f1_macro)
    where = f"{len(judged)} samples, {stretch.stop - stretch.start} sites of contig {stretch.contig}"
    return Choice(best.imputer, f"as it did best in a trial ({where})", tuple(tried), own[best.imputer])


def _no_beagle() -> str:
    """Return what is missing for Beagle; empty if it is there."""
    try:
        Beagle.require_programs()
    except InputError as error:
        return str(error)
    return ""


def _samples(panel: GenotypeMatrix, rest: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples that are imputed and those that are learned from, as numbers in the panel, of those in `rest`."""
    table = panel.samples.iloc[rest].reset_index(drop=True)
    n_judged = min(TRIAL_TARGETS, round(VALIDATION_SHARE * len(rest)))
    judged = split_samples(table, n_judged, "random", seed)
    others = np.random.default_rng(seed).permutation(rest[~judged])[:TRIAL_PANEL]
    return rest[judged], np.sort(others)


def _stretch(sites: pd.DataFrame) -> Window:
    """Return the sites of the trial: TRIAL_SITES at most, from the middle of the contig that has most."""
    contig = str(sites["contig"].value_counts(sort=False).idxmax())
    here = np.flatnonzero(sites["contig"].to_numpy() == contig)
    n = min(TRIAL_SITES, len(here))
    first = int(here[0]) + (len(here) - n) // 2
    return Window(contig, first, first + n)


def _trial_file(home: Path, number: int) -> Path:
    return home / "tried" / f"{TRIED[number]}.json"


def try_imputers(home: Path, numbers: list[int]) -> None:
    """Fit the imputers of TRIED with these numbers on some samples, impute others, and save what came of it."""
    plan = read_plan(home)
    stretch = Window(*plan["windows"][0])
    part = spooled(home / "panel").take_sites(stretch.sites)
    panel = part.take_samples(np.array(plan["learned_from"]))
    truth = part.take_samples(np.array(plan["judged"]))
    hidden = np.broadcast_to(
        hidden_calls(home, plan, plan["patterns"][0], panel, 0, truth.n_samples), truth.calls.shape
    )
    target = truth.hide(hidden)
    for number in numbers:
        cls, of_it = imputers.load(TRIED[number]), plan["tried"][TRIED[number]]
        windows = [Window(*window) for window in of_it["windows"]]
        called = np.full_like(truth.calls, MISSING)
        seconds = np.zeros(2)
        for at, window in enumerate(windows):
            whole = Window(stretch.contig, stretch.start + window.start, stretch.start + window.stop)
            began = _processor_seconds()
            imputer = cls(cls.parse_params(of_it["params"]), seed=plan["seed"])
            imputer.fit(panel.take_sites(window.sites), None, training_mask(home, plan, whole))
            fitted = _processor_seconds()
            posterior = imputer.posterior(target.take_sites(window.sites))
            seconds += fitted - began, _processor_seconds() - fitted
            own = owned_by(windows, at)
            called[:, np.arange(window.start, window.stop)[own]] = posterior.argmax(axis=2)[:, own]
        scored = hidden & (truth.calls != MISSING)
        right = float((called == truth.calls)[scored].mean()) if scored.any() else float("nan")
        f1 = f1_macro(truth.calls[scored], called[scored]) if scored.any() else float("nan")
        found = Tried(TRIED[number], right, float(f1), float(seconds[0]), float(seconds[1]))
        write_text(_trial_file(home, number), json.dumps(asdict(found)) + "\n")
        say_progress(1, 1)


def _processor_seconds() -> float:
    """Return the processor time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])
