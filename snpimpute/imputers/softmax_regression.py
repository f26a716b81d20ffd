"""Softmax regression of each hidden site on the observed ones nearest to it: the simple baseline that a network has to beat."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from snpimpute.base.files import save_array
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers.contract import MIN_SEEN, Imputer, Params, Report, Trial, Validation, Variant

CACHED_PATTERNS = 64  # most regressions kept in memory
SHARED_CALL_RATE = 0.95  # a site with calls for this share of the target's samples is an input for all of them
LACKS_FEW = 0.25  # largest share of the sites that a sample may lack to be imputed by the regressions of single sites
MOST_INPUTS = 5000  # of which the inverse is made that these need: 200 MB
TOLERANCE = 1e-3  # of the step of a weight, in units in which the curvature is at most 1


class SoftmaxParams(Params):
    """Parameters of softmax regression.

    `nearest` is the number of observed sites, those nearest to the hidden one, that are its inputs. `l2` is the penalty on
    standardised inputs (half the sum of squared weights, times l2, against the summed log-likelihood). `inputs` are the number of alternate alleles of each observed site ("additive"), and with
    "heterozygote" also an indicator of heterozygotes.
    """

    nearest: int = Field(60, ge=1)
    l2: float = Field(3.0, gt=0)
    inputs: Literal["additive", "heterozygote"] = "additive"
    iterations: int = Field(100, ge=1)


@dataclass(frozen=True, eq=False)
class Regression:
    """Fitted regression for one pattern of missing calls.

    Attributes:
        center, scale: float32 (n_inputs,), of the panel's inputs; standardised inputs without variation are 0.
        weights: float32 (n_inputs, 3 * n_hidden), all of genotype 0 first.
        intercept: float32 (3 * n_hidden,).
    """

    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray


class SoftmaxRegression(Imputer):
    """Multinomial logistic regression of every hidden site on the observed ones nearest to it, with a ridge penalty.

    It keeps the panel, and fits a regression for every distinct pattern of missing calls in the target (the last 64 are
    cached), so that missing calls need no substitute value. That is why it has no parameter count. If a fixed training
    mask tells which sites targets lack, the regression for this pattern is fitted, and saved, with the panel.

    The panel's own missing calls are replaced by the site's mean as inputs and left out of the likelihood. Calls that
    single samples lack at a site where 95% of the target have one are replaced by the mean too: else each of these
    samples would need fits of its own. They are themselves imputed by a regression on the nearest of these sites. A
    fit of all hidden sites takes two to four seconds for 742 samples and 500 sites.

    Where calls are missing anywhere, every sample has a pattern of its own. Those that lack at most a quarter of the sites
    share one regression a site, on the sites nearest to it. Inputs that a sample lacks are there predicted from all those that
    it has by linear regression with the same penalty, which for every pattern is a block of one inverse.

    Hidden sites with the same inputs share a fit. The curvature of the likelihood is bounded (Böhning 1992, "Multinomial logistic
    regression algorithm"), one singular value decomposition makes that bound the identity, and Nesterov's accelerated
    gradient, restarted for each site on its own where it overshoots (O'Donoghue and Candès 2015), does the rest.
    """

    description = "multinomial regression of each hidden site on the observed ones nearest to it"
    Params = SoftmaxParams
    variants: ClassVar = {"default": Variant(), "tuned": Variant(tune=True)}

    @staticmethod
    def search_space(trial: Trial) -> SoftmaxParams:
        return SoftmaxParams(
            nearest=trial.suggest_int("nearest", 15, 500, log=True),
            l2=trial.suggest_float("l2", 0.3, 300.0, log=True),
            inputs=trial.suggest_categorical("inputs", ["additive", "heterozygote"]),
        )

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        lacking = mask.sites if mask.policy == "fixed" else None
        if lacking is not None and (not lacking.any() or (~lacking).sum() < MIN_SEEN):
            lacking = None
        if lacking is not None and self._lacks_few(lacking[None]).all():  # another way: nothing to fit for this pattern
            lacking = None
        self._set_panel(panel.calls, lacking)
        if lacking is not None:
            self._regression(~lacking, lacking)

    def _set_panel(self, calls: np.ndarray, lacking: np.ndarray | None) -> None:
        """Set the panel's calls and the pattern fitted with it, with an empty cache."""
        self._panel = calls
        self._lacking = (
            lacking  # bool (n_sites,), the sites missing in the pattern that is fitted with the panel; or None
        )
        self._cache: OrderedDict[bytes, Regression] = OrderedDict()
        for name in ("_inputs_in_panel", "_precision"):  # of a panel before
            self.__dict__.pop(name, None)
        self._of_site: dict[
            int, tuple[np.ndarray, Regression]
        ] = {}  # of a site on those nearest, which are bool (n_sites,)

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        from threadpoolctl import threadpool_limits

        out = np.empty((3, target.n_sites, target.n_samples), dtype=np.float32)
        out[:] = self.frequencies.T[:, :, None]
        seen = target.calls != MISSING
        few = self._lacks_few(~seen)
        inputs = seen | (seen.mean(axis=0) >= SHARED_CALL_RATE)
        patterns = np.packbits(inputs, axis=1)
        rows_of: dict[bytes, list[int]] = {}  # pattern of inputs → rows
        for row in np.flatnonzero(~few).tolist():
            rows_of.setdefault(patterns[row].tobytes(), []).append(row)
        tasks = []  # rows, sites of the inputs and sites to impute, all bool
        for numbers in rows_of.values():
            observed, rows = inputs[numbers[0]], np.zeros(target.n_samples, dtype=bool)
            rows[numbers] = True
            if not observed.all():
                tasks.append((rows, observed, ~observed))
            for site in np.flatnonzero(observed & ~seen[rows].all(axis=0)):
                single = np.arange(target.n_sites) == site
                tasks.append((rows & ~seen[:, site], self._nearest(observed & ~single, int(site)), single))

        def fill(task: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
            rows, observed, hidden = task
            p = self._predict(target.calls[np.ix_(rows, observed)], observed, hidden)
            out[(slice(None), hidden) if rows.all() else np.ix_(np.arange(3), hidden, rows)] = p

        # one thread per pattern: threads within a matrix product wait for each other, which is slow on a busy machine
        with threadpool_limits(1), ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(fill, tasks))
            list(pool.map(self._regression_of, np.flatnonzero((~seen[few]).any(axis=0)).tolist()))
            for row in np.flatnonzero(few).tolist():
                out[:, ~seen[row], row] = self._predict_few(target.calls[row], ~seen[row])
        return out.transpose(2, 1, 0)

    def _lacks_few(self, lacking: np.ndarray) -> np.ndarray:
        """Tell which samples are imputed by the regressions of single sites, bool (n_samples,); lacking is (n_samples, n_sites)."""
        share = lacking.mean(axis=1)
        n_inputs = self._inputs(np.zeros((1, lacking.shape[1]), dtype=np.int8)).shape[1]
        return (share > 0) & (share <= LACKS_FEW) & (n_inputs <= MOST_INPUTS)

    def _predict_few(self, calls: np.ndarray, lacking: np.ndarray) -> np.ndarray:
        """Return the posterior of one sample at the sites that it lacks, float32 (3, n_lacking).

        Args:
            calls: int8 (n_sites,), -1 where it lacks one.
            lacking: bool (n_sites,).
        """
        _, center, scale = self._inputs_in_panel
        x = np.nan_to_num((self._inputs(calls[None])[0] - center) / scale)
        absent = np.tile(lacking, len(x) // len(lacking))
        towards = self._precision[absent][:, ~absent]
        x[absent] = -np.linalg.solve(self._precision[np.ix_(absent, absent)], towards @ x[~absent])
        logits = []
        for site in np.flatnonzero(lacking).tolist():
            near, fitted = self._regression_of(site)
            logits.append(x[np.tile(near, len(x) // len(near))] @ fitted.weights + fitted.intercept)
        return softmax(np.array(logits, dtype=np.float32).T, axis=0)

    def _predict(self, calls: np.ndarray, observed: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """Return the posterior at the hidden sites, float32 (3, n_hidden, n_samples).

        Args:
            calls: int8 (n_samples, n_observed), -1 where a sample lacks one.
            observed, hidden: bool (n_sites,).
        """
        fitted = self._regression(observed, hidden)
        x = np.nan_to_num((self._inputs(calls) - fitted.center) / fitted.scale)
        p = fitted.weights.T @ x.T
        p += fitted.intercept[:, None]
        return softmax(p, axis=0).reshape(3, -1, len(calls))

    def _regression(self, observed: np.ndarray, hidden: np.ndarray) -> Regression:
        """Return the regression of hidden sites on observed ones, bool (n_sites,) each, fitted if it is not cached."""
        key = _cache_key(observed, hidden)
        fitted = self._cache.pop(key, None) or self._fit_pattern(observed, hidden)
        self._cache[key] = fitted
        if len(self._cache) > CACHED_PATTERNS:
            self._cache.popitem(last=False)
        return fitted

    def _regression_of(self, site: int) -> tuple[np.ndarray, Regression]:
        """Return the sites nearest to a site, bool (n_sites,), and its regression on them, fitted if it was not before."""
        if site not in self._of_site:
            single = np.arange(self._panel.shape[1]) == site
            near = self._nearest(~single, site)
            self._of_site[site] = near, self._fit_pattern(near, single)
        return self._of_site[site]

    @cached_property
    def _inputs_in_panel(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs of all sites in the panel, see `_standardised`."""
        return self._standardised(np.ones(self._panel.shape[1], dtype=bool))

    @cached_property
    def _precision(self) -> np.ndarray:
        """Inverse of the covariance of all inputs in the panel, penalised, but for a factor: float64 (n_inputs, n_inputs)."""
        x, _, _ = self._inputs_in_panel
        covariance = (x.T @ x).astype(np.float64)
        covariance[np.diag_indices_from(covariance)] += self.params.l2
        return np.linalg.inv(covariance)

    def _inputs(self, calls: np.ndarray) -> np.ndarray:
        """Return the inputs, float32 (n_samples, n_inputs), of int8 calls; NaN where missing."""
        dosage = np.where(calls == MISSING, np.float32(np.nan), calls.astype(np.float32))
        if self.params.inputs == "additive":
            return dosage
        return np.concatenate([dosage, 1 - np.abs(1 - dosage)], axis=1)

    def _fit_pattern(self, observed: np.ndarray, hidden: np.ndarray) -> Regression:
        """Fit the regression of hidden sites on observed ones, bool (n_sites,) each, in the panel."""
        x, center, scale = self._standardised(observed)
        inputs, outputs = np.flatnonzero(observed), np.flatnonzero(hidden)
        if len(inputs) <= self.params.nearest:
            weights, intercept = fit_ridge(x, self._panel[:, hidden], self.frequencies[hidden], self.params)
            return Regression(center, scale, weights, intercept)
        alike: dict[bytes, list[int]] = {}  # inputs of a hidden site → numbers of the hidden sites that have them
        for number, site in enumerate(outputs.tolist()):
            alike.setdefault(self._nearest(observed, site)[inputs].tobytes(), []).append(number)
        weights = np.zeros((x.shape[1], 3, len(outputs)), dtype=np.float32)
        intercept = np.zeros((3, len(outputs)), dtype=np.float32)
        for near, numbers in alike.items():
            used = np.tile(np.frombuffer(near, dtype=bool), x.shape[1] // len(inputs))
            sites = outputs[numbers]
            found = fit_ridge(x[:, used], self._panel[:, sites], self.frequencies[sites], self.params)
            weights[np.ix_(used, np.arange(3), np.array(numbers))] = found[0].reshape(-1, 3, len(sites))
            intercept[:, numbers] = found[1].reshape(3, -1)
        return Regression(center, scale, weights.reshape(x.shape[1], -1), intercept.ravel())

    def _nearest(self, observed: np.ndarray, site: int) -> np.ndarray:
        """Return the observed sites that are a site's inputs, nearest counted in sites, bool (n_sites,)."""
        sites = np.flatnonzero(observed)
        chosen = np.zeros(len(observed), dtype=bool)
        chosen[sites[np.argsort(np.abs(sites - site), kind="stable")[: self.params.nearest]]] = True
        return chosen

    def _standardised(self, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the panel's inputs at the observed sites, centred and scaled, 0 where missing; and center and scale."""
        x = self._inputs(self._panel[:, observed])
        known = np.isfinite(x)
        center = np.where(known, x, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        x = np.where(known, x - center, 0)
        scale = np.sqrt((x**2).mean(axis=0))
        scale[scale < 1e-6] = np.inf
        return x / scale, center, scale

    def _save(self, folder: Path) -> None:
        save_array(folder / "panel.npy", self._panel)
        if self._lacking is not None:
            fitted = vars(self._regression(~self._lacking, self._lacking))
            np.savez(folder / "regression.npz", lacking=self._lacking, allow_pickle=False, **fitted)

    def _load(self, folder: Path) -> None:
        panel = np.load(folder / "panel.npy", allow_pickle=False)
        if not (folder / "regression.npz").exists():
            self._set_panel(panel, None)
            return
        with np.load(folder / "regression.npz", allow_pickle=False) as saved:
            fitted = {key: saved[key] for key in saved.files}
        lacking = fitted.pop("lacking")
        self._set_panel(panel, lacking)
        self._cache[_cache_key(~lacking, lacking)] = Regression(**fitted)


def _cache_key(observed: np.ndarray, hidden: np.ndarray) -> bytes:
    """Return the key of a regression in the cache."""
    return np.packbits([observed, hidden]).tobytes()


def fit_ridge(
    x: np.ndarray, truth: np.ndarray, frequencies: np.ndarray, params: SoftmaxParams
) -> tuple[np.ndarray, np.ndarray]:
    """Fit softmax regressions of many sites on the same inputs, each penalised by params.l2.

    Args:
        x: float32 (n_samples, n_inputs), centred and scaled.
        truth: int8 (n_samples, n_hidden), -1 = missing, left out of the likelihood.
        frequencies: float32 (n_hidden, 3), start of the intercepts.
        params: penalty and the largest number of iterations.

    Returns:
        weights float32 (n_inputs, 3 * n_hidden) and intercept float32 (3 * n_hidden,), all of genotype 0 first; the
        intercept is not penalised.
    """
    n, n_hidden = truth.shape
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    kept = s > 1e-4 * s[0]
    u, s, vt = u[:, kept], s[kept], vt[kept]
    root = 1 / np.sqrt(s**2 / 2 + np.float32(params.l2))
    z = np.concatenate([u * (s * root), np.full((n, 1), np.sqrt(2 / n), dtype=np.float32)], axis=1)
    penalty = np.append(np.float32(params.l2) * root**2, np.float32(0))[:, None]
    onehot = np.concatenate([truth == g for g in (0, 1, 2)], axis=1).astype(np.float32)
    unknown = np.nonzero(np.tile(truth == MISSING, 3))
    # reused in each iteration: allocating it would take longer than the computation
    p = np.empty((n, 3 * n_hidden), dtype=np.float32)
    now = np.zeros((z.shape[1], 3 * n_hidden), dtype=np.float32)
    now[-1] = np.log(frequencies).T.ravel() * np.sqrt(n / 2)
    ahead, momentum = now, np.ones(n_hidden)
    for _ in range(params.iterations):
        softmax(np.matmul(z, ahead, out=p), axis=1)
        p -= onehot
        p[unknown] = 0
        slope = z.T @ p
        slope += penalty * ahead
        new = ahead - slope
        step = new - now
        overshot = np.einsum("ij,ij->j", slope, step).reshape(3, n_hidden).sum(axis=0) > 0
        momentum[overshot] = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        pull = np.where(overshot, 0, (momentum - 1) / following).astype(np.float32)
        ahead = new + step * np.tile(pull, 3)
        now, momentum = new, following
        if np.abs(slope).max() < TOLERANCE:
            break
    weights = vt.T @ (now[:-1] * root[:, None])
    return weights, now[-1] * np.float32(np.sqrt(2 / n))


def softmax(z: np.ndarray, axis: int) -> np.ndarray:
    """Turn logarithms into probabilities, in place; the axis holds all of genotype 0 first, then those of 1 and 2."""
    parts = np.split(z, 3, axis)  # by genotype: sums over an axis of length 3 are ten times slower
    top = np.maximum(parts[0], parts[1])
    np.maximum(top, parts[2], out=top)
    for part in parts:
        part -= top
    np.exp(z, out=z)
    total = parts[0] + parts[1]
    total += parts[2]
    for part in parts:
        part /= total
    return z
