"""Typed calls hidden on purpose: which of a target are imputed a second time without themselves, and how often that was right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snpimpute.base.files import save_array, written_beside
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.ploidy import as_haploid

LOWEST, ENOUGH = 3, 20  # samples that are named; hidden calls of a sample whose concordance says something
_KEPT = [("row", np.int64), ("sample", np.int32), ("one", np.float32), ("two", np.float32)]


def hidden_file(work: Path, number: int) -> Path:
    """Return the file of what a window imputed where calls were hidden; see `save_hidden`."""
    return work / "hidden" / f"{number:05d}.npy"


def calls_to_hide(calls: np.ndarray, owned: np.ndarray, share: float, seed: int, number: int) -> np.ndarray:
    """Return the calls that a window hides, bool (n_samples, n_sites): each observed one with the same probability.

    Args:
        calls: int8 (n_samples, n_sites), -1 = missing.
        owned: bool (n_sites,), sites that this window answers for (see `windows.owned_by`): no call is hidden twice.
        share: the probability.
        seed: of the draw.
        number: the window's.
    """
    drawn = np.random.default_rng([seed, number]).random(calls.shape) < share
    return drawn & (calls != MISSING) & owned


def save_hidden(file: Path, rows: np.ndarray, hidden: np.ndarray, posterior: np.ndarray) -> None:
    """Write the posterior at hidden calls.

    Args:
        file: to write.
        rows: int64 (n_sites,), rows of the window's sites in the target's spool.
        hidden: bool (n_samples, n_sites).
        posterior: float32 (n_samples, n_sites, 3), imputed without them.
    """
    samples, sites = np.nonzero(hidden)
    kept = np.empty(len(samples), dtype=_KEPT)
    kept["row"], kept["sample"] = rows[sites], samples
    kept["one"], kept["two"] = posterior[samples, sites, 1], posterior[samples, sites, 2]
    with written_beside(file) as beside, beside.open("wb") as handle:
        save_array(handle, kept)


def hidden_quality(files: Iterable[Path], target: GenotypeMatrix, ploidy: np.ndarray | None) -> dict[str, Any]:
    """Return how well hidden calls came back: over all, under `all`, and of each sample that had some, under `samples`.

    Each has `calls` (number hidden), `concordance` (share whose most probable genotype is the call), `stated` (the mean probability
    of that genotype: equal to concordance if posteriors are calibrated) and `r2` (squared correlation of dosages with calls, both
    less the site's mean over the target's calls; None where one of them does not vary), with four decimals.

    Args:
        files: of the windows, as `save_hidden` writes them.
        target: the target.
        ploidy: int8 (n_sites, n_samples), 1 = haploid (see `ploidy.haploid_calls`); None = all are diploid.
    """
    sums = np.zeros((target.n_samples, len(_SUMS)))
    for file in files:
        kept = np.load(file, allow_pickle=False)
        posterior = np.stack([kept["one"], kept["two"]])
        if ploidy is not None:
            posterior = as_haploid(posterior, ploidy[kept["row"], kept["sample"]] == 1)
        rows, at = np.unique(kept["row"], return_inverse=True)
        calls = target.calls[:, rows]
        observed = calls != MISSING
        mean = np.where(observed, calls, 0).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
        truth = calls[kept["sample"], at]
        probabilities = np.stack([1 - posterior.sum(axis=0), *posterior])
        dosage, true = posterior[0] + 2 * posterior[1] - mean[at], truth - mean[at]
        right = probabilities.argmax(axis=0) == truth
        values = [right, probabilities.max(axis=0), dosage, true, dosage**2, true**2, dosage * true]
        for place, of_calls in enumerate([np.ones(len(kept)), *values]):
            sums[:, place] += np.bincount(kept["sample"], of_calls, minlength=target.n_samples)
    by_sample = {name: _scores(own) for name, own in zip(target.names, sums, strict=True) if own[0]}
    return {"all": _scores(sums.sum(axis=0)), "samples": by_sample}


_SUMS = ("calls", "right", "stated", "dosage", "true", "dosage2", "true2", "product")


def _scores(sums: np.ndarray) -> dict[str, float | int | None]:
    """Return the scores of sums over hidden calls, float64 (len(_SUMS),)."""
    n, right, stated, dosage, true, dosage2, true2, product = sums.tolist()
    if not n:
        return {"calls": 0, "concordance": None, "stated": None, "r2": None}
    spread = (dosage2 - dosage**2 / n) * (true2 - true**2 / n)
    r2 = round((product - dosage * true / n) ** 2 / spread, 4) if spread > 1e-9 else None
    return {"calls": int(n), "concordance": round(right / n, 4), "stated": round(stated / n, 4), "r2": r2}


def hidden_lines(found: dict[str, Any]) -> list[str]:
    """Return what is said of `hidden_quality`: over all, and the samples of the lowest concordance that have ENOUGH."""
    over_all = found["all"]
    if not over_all["calls"]:
        return ["typed calls hidden on purpose: none; hide a larger share"]
    ordered = sorted((own["concordance"], name) for name, own in found["samples"].items() if own["calls"] >= ENOUGH)
    lowest = ", ".join(f"{name} {concordance:.3f}" for concordance, name in ordered[:LOWEST])
    worst = f"; lowest: {lowest}" if lowest else f" (fewer than {ENOUGH} of each sample: too few to compare samples)"
    r2 = "" if over_all["r2"] is None else f"; r² {over_all['r2']:.3f}"
    return [
        f"typed calls hidden on purpose: {over_all['calls']:,}, of which {over_all['concordance']:.1%} came back as they were "
        f"({over_all['stated']:.1%} by their posterior){r2}{worst}"
    ]


def sample_rows(samples: Sequence[str], expected_r2: dict[str, float | None], found: dict[str, Any]) -> str:
    """Return the table of samples, TSV: sample, expected_r2, and the scores of `hidden_quality`; empty where not known."""
    keys = ("calls", "concordance", "stated", "r2")
    lines = ["\t".join(["sample", "expected_r2", "hidden_calls", "concordance", "stated", "r2"])]
    for name in samples:
        own = found["samples"].get(name, {"calls": 0})
        values = [expected_r2[name], *(own.get(key) for key in keys)]
        lines.append("\t".join([name, *("" if value is None else f"{value}" for value in values)]))
    return "\n".join(lines) + "\n"
