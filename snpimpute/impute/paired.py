"""Paired scores of champion and challenger: kept for each request that a server imputes by both, told, and promoted by."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.impute.champions import find_model, move_if_better
from snpimpute.impute.shadow import Shadowed, compared, promote_shadowed, require_two
from snpimpute.impute.watching import watch_home
from snpimpute.metrics.sums import N_SUMS, confusion
from snpimpute.tracking.runs import RegisteredModel
from snpimpute.tracking.writer import Tracker


def pairs_file(runs: Path, champion: RegisteredModel, challenger: RegisteredModel) -> Path:
    """Return the file of the paired scores of two registered models, which is beside the champion's baseline and batches."""
    return watch_home(runs, champion) / f"shadow-{watch_home(runs, challenger).name}.jsonl"


def keep_pair(file: Path, asked: str, truth: np.ndarray, posteriors: Sequence[np.ndarray]) -> None:
    """Append what champion and challenger made of a request's hidden calls: a line of JSON, which only the owner can read.

    It holds numbers of calls by true and called genotype for each sample, and no genotypes.

    Args:
        file: see `pairs_file`.
        asked: digest of the request; the same one again takes the place of the first.
        truth: int8 (n_samples, n_hidden), -1 = missing.
        posteriors: of each model, float (n_samples, n_hidden, 3).
    """
    counts = [
        [confusion(*of_sample).ravel().tolist() for of_sample in zip(truth, posterior.argmax(axis=2), strict=True)]
        for posterior in posteriors
    ]
    when = datetime.now(UTC).isoformat(timespec="seconds")
    append_line(file, json.dumps({"when": when, "input": asked, "champion": counts[0], "challenger": counts[1]}))


def append_line(file: Path, line: str) -> None:
    """Append a line to a file, whole, whoever else appends to it; a new file only its owner can read.

    Raises:
        OSError: the file cannot be written, or has room for a part of the line alone.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    data = f"{line}\n".encode() if line else b""
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def require_appendable(file: Path) -> None:
    """Raise InputError unless lines can be appended to a file, which is made if it is not there."""
    try:
        append_line(file, "")
    except OSError as error:
        raise InputError(f"cannot append to {file}: {error.strerror}") from None


def read_pairs(file: Path) -> tuple[int, list[np.ndarray]]:
    """Return the number of requests in a file of paired scores, and the sums of champion and challenger.

    A line that a server which was killed did not finish is left out.

    Returns:
        The number, and float64 (n_samples, N_SUMS) of each, of which the numbers of calls alone are filled.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        lines = file.read_text().splitlines() if file.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the paired scores {file}: {error}") from None
    found: dict[str, dict[str, list[list[int]]]] = {}
    for line in lines:
        try:
            of_request = json.loads(line)
            found[of_request["input"]] = of_request
        except (ValueError, LookupError, TypeError):
            continue
    sums = []
    for which in ("champion", "challenger"):
        counts = np.array([of_sample for of_request in found.values() for of_sample in of_request[which]], dtype=float)
        sums.append(np.zeros((len(counts), N_SUMS)))
        if len(counts):
            sums[-1][:, : counts.shape[1]] = counts
    return len(found), sums


def paired(runs: Path, champion: RegisteredModel, challenger: RegisteredModel, seed: int = 1) -> Shadowed:
    """Compare two registered models by the requests that a server imputed by both, whichever was the champion then.

    Raises:
        InputError: they are one version, or no request was imputed by both.
    """
    require_two(champion, challenger)
    n_requests, sums = read_pairs(pairs_file(runs, champion, challenger))
    n_before, before = read_pairs(pairs_file(runs, challenger, champion))  # as long as the champion was the other one
    n_requests, sums = n_requests + n_before, [np.concatenate(pair) for pair in zip(sums, before[::-1], strict=True)]
    names = [f"{each.name} version {each.version}" for each in (champion, challenger)]
    if not len(sums[0]):
        raise InputError(
            f"no request was imputed by {names[0]} and {names[1]}: snpimpute models serve {champion.name}/{champion.version} "
            f"--challenger {challenger.name}/{challenger.version} does so, or name files"
        )
    return compared(names, sums, seed, n_requests)


def shadow_of_requests(
    tracker: Tracker, champion: str, challenger: str, runs: Path, seed: int = 1, move: bool = False
) -> Shadowed:
    """Compare two registered models, by their names, as `paired`; with `move` a better challenger becomes the champion.

    Raises:
        InputError: see `paired`, and `shadow.promote_shadowed`.
    """
    registered = [find_model(tracker, name) for name in (champion, challenger)]
    found = paired(runs, registered[0], registered[1], seed)
    if move:
        promote_shadowed(tracker, registered[1], found)
    return found


def promote_by_requests(tracker: Tracker, wanted: str, runs: Path, force: bool = False) -> str:
    """Make a registered model the champion of its name if a server's requests show that it is better; see `champions.promote`.

    Raises:
        InputError: the model is the champion, or, unless forced, the requests do not show it (gives the difference).
    """

    def judged(challenger: RegisteredModel, champion: RegisteredModel) -> tuple[str, bool]:
        found = paired(runs, champion, challenger)
        return f"shadow: {found.how()}", found.better

    return move_if_better(
        tracker, find_model(tracker, wanted), lambda name: find_model(tracker, name), "imputer", judged, force
    )
