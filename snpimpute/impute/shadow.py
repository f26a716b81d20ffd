"""Shadow of a challenger: champion and challenger impute the same file, and typed calls hidden on purpose decide between them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.steps import in_shares
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import GENOTYPES, MISSING, GenotypeMatrix, site_keys
from snpimpute.impute.baseline import FEWEST_HIDDEN
from snpimpute.impute.champions import RESAMPLES, fetch_model, find_model
from snpimpute.impute.drift import FEWEST_SAMPLES
from snpimpute.impute.pieces import to_impute
from snpimpute.impute.posed import calls_at, lay_out, owned_posterior, owned_sites
from snpimpute.impute.steps import impute_windows
from snpimpute.impute.windows import WindowedModel, spread_windows
from snpimpute.io.spool import hide_in_spool, spooled
from snpimpute.metrics.intervals import interval, resample, resampling_weights
from snpimpute.metrics.scores import scores
from snpimpute.metrics.sums import site_sums
from snpimpute.tracking.runs import CHAMPION, RegisteredModel
from snpimpute.tracking.writer import Tracker

MOST_UNITS = 2000  # that are drawn for an interval


@dataclass(frozen=True)
class ShadowSettings:
    """Settings of `snpimpute models shadow`.

    Attributes:
        hide: share of the typed sites that both models have, hidden in all samples of a file.
        windows: number of the champion's windows whose sites are hidden; 0 = all.
        seed: seed of every random choice.
        threads: processor threads.
    """

    hide: float = 0.1
    windows: int = 6
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.hide <= 0.5:
            raise InputError(f"cannot hide {self.hide:.0%} of the typed sites: give a share above 0% up to 50%")


@dataclass(frozen=True, eq=False)
class Shadowed:
    """What champion and challenger got right of the same hidden calls.

    Attributes:
        champion, challenger: name and version of each.
        n_samples, n_calls: samples, and hidden calls.
        f1_macro: of the champion and of the challenger.
        concordance: share of right calls of each.
        difference, low, high: of the challenger's macro-F1, less the champion's, with its 95% bootstrap interval over samples.
        p: of Wilcoxon's signed ranks, two-sided, of the share that each sample has right by the one and by the other.
        n_requests: number of a server's requests that the samples came with; 0 = they came in files.
    """

    champion: str
    challenger: str
    n_samples: int
    n_calls: int
    f1_macro: tuple[float, float]
    concordance: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    n_requests: int = 0

    @property
    def better(self) -> bool:
        """Whether the whole interval shows that the challenger is better, and the samples are enough for an interval."""
        return self.n_samples >= FEWEST_SAMPLES and self.low > 0

    @property
    def verdict(self) -> str:
        """What the comparison says of the challenger."""
        if self.n_samples < FEWEST_SAMPLES:
            return f"not shown to be better: fewer than {FEWEST_SAMPLES} samples"
        return "better" if self.better else "not better: the interval holds 0, or is below it"

    def told(self) -> dict[str, Any]:
        """Return all of it, JSON-able; None for what cannot be told."""
        said = {key: None if value != value else value for key, value in vars(self).items()}
        return {**said, "better": self.better, "verdict": self.verdict}

    def why(self) -> str:
        """Return the result in a few words, with the champion."""
        return f"{self.how()} against {self.champion}"

    def how(self) -> str:
        """Return the result in a few words."""
        of_requests = f" in {numbered(self.n_requests, 'request')}" if self.n_requests else ""
        few = f" ({FEWEST_SAMPLES} samples are needed to tell)" if self.n_samples < FEWEST_SAMPLES else ""
        return (
            f"macro-F1 {self.difference:+.4f} ({self.low:+.4f} to {self.high:+.4f}) at {self.n_calls} hidden typed calls of "
            f"{numbered(self.n_samples, 'sample')}{of_requests}, Wilcoxon p {self.p:.2g}{few}"
        )


def shadow(
    tracker: Tracker,
    champion: str,
    challenger: str,
    targets: Sequence[Path],
    settings: ShadowSettings,
    runs: Path,
    move: bool = False,
    watch: Watch | None = None,
    engine: Engine = HERE,
) -> Shadowed:
    """Let two registered models impute the same files, and compare them at typed calls hidden on purpose.

    Args:
        tracker: the store.
        champion, challenger: NAME, NAME@ALIAS or NAME/VERSION.
        targets: files of genotypes; a sample is one unit wherever it is.
        settings: see ShadowSettings.
        runs: folder of all results.
        move: whether the challenger becomes the champion of its name if it is better.
        watch: receives the progress.
        engine: where windows are imputed.

    Raises:
        InputError: a file cannot be imputed with one of the models, they have too few typed sites in common, or `move` is given
            and the challenger is not better (gives the difference).
    """
    watch = watch or Watch()
    registered = [find_model(tracker, name) for name in (champion, challenger)]
    require_two(*registered)
    models = [fetch_model(tracker, each, runs) for each in registered]
    sums: list[list[np.ndarray]] = [[], []]
    for target in targets:
        truth, posteriors = hidden_and_imputed(models, target, settings, watch, engine)
        for of_model, posterior in zip(sums, posteriors, strict=True):
            of_model.append(site_sums(truth, posterior).sum(axis=1, dtype=np.float64))
    names = [f"{each.name} version {each.version}" for each in registered]
    found = compared(names, [np.concatenate(of_model) for of_model in sums], settings.seed)
    if move:
        promote_shadowed(tracker, registered[1], found)
    return found


def require_two(champion: RegisteredModel, challenger: RegisteredModel) -> None:
    """Raise InputError if champion and challenger are one version."""
    if champion.run_id == challenger.run_id:
        raise InputError(
            f"{champion.name}/{champion.version} and {challenger.name}/{challenger.version} are the same version: there is "
            "nothing to compare"
        )


def promote_shadowed(tracker: Tracker, challenger: RegisteredModel, found: Shadowed) -> None:
    """Make a challenger the champion of its name; InputError if it is not better, or is the champion already."""
    if not found.better:
        raise InputError(f"{found.challenger} is {found.verdict.partition(':')[0]}: {found.why()}")
    if tracker.aliases(challenger.name).get(CHAMPION) == challenger.version:
        raise InputError(f"{found.challenger} is the champion already")
    tracker.move_champion(challenger.name, challenger.version, f"shadow: {found.why()}")


def hidden_and_imputed(
    models: Sequence[WindowedModel], target: Path, settings: ShadowSettings, watch: Watch, engine: Engine = HERE
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Hide typed sites of a file that all models have, and impute them by each.

    Returns:
        int8 (n_samples, n_hidden), the calls there, -1 = missing, and for each model its posterior float32 (n_samples, n_hidden, 3).

    Raises:
        InputError: the file cannot be imputed with one of the models, or they have too few typed sites in common.
    """
    with ExitStack() as stack:
        works = [stack.enter_context(work_folder("shadow")) for _ in models]
        rows = [lay_out(target, model, work)[1] for model, work in zip(models, works, strict=True)]
        spools = [spooled(work / "target") for work in works]
        keys = [pd.Index(site_keys(model.sites)) for model in models]
        first = models[0]
        owned = owned_sites(first.windows, spread_windows(len(first.windows), settings.windows))
        common = keys[0][owned[_typed(spools[0], rows[0][owned])]]
        for other in keys[1:]:
            common = common[common.isin(other)]
        n = round(settings.hide * len(common))
        if n < FEWEST_HIDDEN:
            raise InputError(
                f"{target.name}: {settings.hide:.0%} of the {len(common)} typed sites that the models share are {n} to hide: "
                f"{FEWEST_HIDDEN} are needed (--hide, --measure)"
            )
        hidden = common[np.sort(np.random.default_rng(settings.seed).choice(len(common), n, replace=False))]
        truth = calls_at(spools[0], rows[0][keys[0].get_indexer(hidden)])
        posteriors = []
        for model, work, at, names in zip(models, works, rows, keys, strict=True):
            sites = names.get_indexer(hidden)
            hide_in_spool(work / "target", at[sites])
            numbers = [
                number
                for number in range(len(model.windows))
                if np.isin(owned_sites(model.windows, [number]), sites).any()
            ]
            watch.stage(f"impute {target.name} by {model.about['name']} ({model.about['imputer']})")
            pieces = to_impute(work, model.imputer_class, model.windows, at, len(truth))
            in_shares(impute_windows, work, numbers, pieces, settings.threads, watch, engine)
            place = pd.Index(owned_sites(model.windows, numbers)).get_indexer(sites)
            posteriors.append(owned_posterior(model.windows, numbers, work)[:, place])
    return truth, posteriors


def _typed(spool: GenotypeMatrix, rows: np.ndarray) -> np.ndarray:
    """Return bool (n_rows,): whether a sample has a call at each row."""
    return (calls_at(spool, rows) != MISSING).any(axis=0)


def compared(names: Sequence[str], sums: Sequence[np.ndarray], seed: int, n_requests: int = 0) -> Shadowed:
    """Compare two models by sums of scores of the same calls.

    Args:
        names: of champion and challenger.
        sums: of each, float64 (n_samples, N_SUMS). Of more samples than MOST_UNITS some are drawn together, so that the
            memory for the intervals does not grow with the number of requests.
        seed: of the intervals.
        n_requests: see Shadowed.
    """
    from scipy.stats import wilcoxon

    n = len(sums[0])
    weights = resampling_weights(np.arange(min(n, MOST_UNITS)), 1, RESAMPLES, seed)
    points = [scores(of_model.sum(axis=0)) for of_model in sums]
    drawn = [scores(resample(_by_unit(of_model)[:, None], weights)) for of_model in sums]
    low, high = interval(drawn[1]["f1_macro"] - drawn[0]["f1_macro"])
    right = [scores(of_model)["f1_micro"] for of_model in sums]
    apart = (right[1] - right[0]).round(9)  # 8/12 - 6/12 and 10/12 - 8/12 are ties
    apart = apart[np.isfinite(apart)]
    f1 = float(points[0]["f1_macro"]), float(points[1]["f1_macro"])
    return Shadowed(
        champion=names[0],
        challenger=names[1],
        n_samples=n,
        n_calls=int(np.nansum([points[0][f"truth_{genotype}"] for genotype in GENOTYPES])),
        f1_macro=f1,
        concordance=(float(points[0]["f1_micro"]), float(points[1]["f1_micro"])),
        difference=f1[1] - f1[0],
        low=low,
        high=high,
        p=float(wilcoxon(apart).pvalue) if apart.any() else 1.0,
        n_requests=n_requests,
    )


def _by_unit(sums: np.ndarray) -> np.ndarray:
    """Return the sums of what is drawn as one, float64 (at most MOST_UNITS, N_SUMS): samples a multiple of it apart are added up."""
    together = np.zeros((min(len(sums), MOST_UNITS), sums.shape[1]))
    np.add.at(together, np.arange(len(sums)) % MOST_UNITS, sums)
    return together
