"""Server of a champion and a challenger: one answers a request, by the split of the traffic, and an audit trail says which."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.champions import fetch_model, find_model
from snpimpute.impute.export import exported_model
from snpimpute.impute.request import read_request
from snpimpute.impute.windows import WindowedModel
from snpimpute.tracking.runs import RegisteredModel
from snpimpute.tracking.writer import Tracker

if TYPE_CHECKING:
    from starlette.applications import Starlette

SECONDS_BETWEEN_LOOKS = 10.0  # at the registry, for a champion that was promoted or rolled back
FEWEST_TYPED = 20  # typed calls of a request, below which none is hidden
PAIR = ("champion", "challenger")
USER_HEADER = "X-User"  # who asks, as a proxy that knows the users sets it


@dataclass(frozen=True)
class ServeSettings:
    """Settings of `snpimpute models serve`.

    Attributes:
        champion: NAME, NAME@ALIAS or NAME/VERSION.
        challenger: the same; None = no challenger.
        share: share of the requests that the challenger answers; 0 = it imputes in the shadow, and answers none.
        audit: file that a line is appended to for each request.
        hide: share of a request's typed sites that is hidden from both models in the shadow.
        seed: seed of what is hidden.
        on_engine: engine of exported networks that imputes, see export.ENGINES; None = what the models learned in.
    """

    champion: str
    audit: Path
    challenger: str | None = None
    share: float = 0.0
    hide: float = 0.1
    seed: int = 1
    on_engine: str | None = None


def share_of_split(split: str) -> float:
    """Return the challenger's share of a split such as 90:10; InputError if it is none."""
    try:
        champion, challenger = map(float, split.split(":"))
        if min(champion, challenger) < 0 or not 0 < champion + challenger < float("inf"):
            raise ValueError
    except ValueError:
        raise InputError(
            f"--split {split!r} is no split: give the champion's part and the challenger's, as 90:10"
        ) from None
    return challenger / (champion + challenger)


class Served:
    """A registered model in memory, which answers one request at a time."""

    def __init__(self, tracker: Tracker, registered: RegisteredModel, runs: Path, exported: bool = False) -> None:
        """Fetch and load a model.

        Args:
            tracker: the MLflow store that has it.
            registered: the model.
            runs: folder of all results.
            exported: whether its export imputes in its place.

        Raises:
            InputError: a file of it was changed, it would run commands that are not trusted, or is not exported.
        """
        from snpimpute.impute.serving import ServedImputer

        self.registered = registered
        folder = fetch_model(tracker, registered, runs).folder
        if exported:
            folder = exported_model(folder, f"{registered.name}/{registered.version}")
        WindowedModel.verified(folder)
        self._lock = threading.Lock()
        self._imputer = ServedImputer()
        context: Any = SimpleNamespace(artifacts={"imputer": str(folder)})
        self._imputer.load_context(context)

    def answer(self, body: bytes, content_type: str | None) -> tuple[int, dict[str, Any]]:
        """Return status and answer; it names the model and its version."""
        with self._lock:
            status, told = self._imputer.answer(body, content_type)
        return status, {**told, "model": self.registered.name, "version": self.registered.version}

    def right(self, calls: np.ndarray, sites: list[str], hidden: np.ndarray) -> int:
        """Return how many of the hidden calls the model gets right; InputError if it lacks a site.

        Args:
            calls: int8 (n_samples, n_columns), -1 = missing.
            sites: names of the columns.
            hidden: bool (n_samples, n_columns).
        """
        shown = np.where(hidden, np.nan, calls)
        with self._lock:
            imputed = self._imputer.imputed(shown, sites)
        place = {name: i for i, name in enumerate(imputed["site"])}
        found = imputed["call"][:, [place[name] for name in sites]]
        return int(((found == calls) & hidden & (calls != MISSING)).sum())


class Gateway:
    """Champion and challenger behind one address, with the audit trail of their answers.

    Args:
        tracker: the MLflow store that has the models.
        settings: what is served, and how.
        runs: folder of all results.
        watch: told of what goes wrong meanwhile; None = nobody.
        clock: seconds, from any moment.
    """

    def __init__(
        self,
        tracker: Tracker,
        settings: ServeSettings,
        runs: Path,
        watch: Watch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tracker = tracker
        self.settings = settings
        self.runs = runs
        self.watch = watch or Watch()
        self.clock = clock
        self._champion = self._load(settings.champion)
        self._challenger = None if settings.challenger is None else self._load(settings.challenger)
        self._looked = self.clock()
        self._looking = threading.Lock()

    def _load(self, wanted: str) -> Served:
        return self._served(find_model(self.tracker, wanted))

    def _served(self, found: RegisteredModel) -> Served:
        return Served(self.tracker, found, self.runs, exported=self.settings.on_engine is not None)

    def champion(self) -> Served:
        """Return the champion; one that was promoted or rolled back since is loaded in its place within some seconds."""
        with self._looking:
            if self.clock() - self._looked >= SECONDS_BETWEEN_LOOKS:
                self._looked = self.clock()
                try:
                    found = find_model(self.tracker, self.settings.champion)
                    if found.run_id != self._champion.registered.run_id:
                        self._champion = self._served(found)
                except InputError as error:
                    self.watch.warn(f"the champion stays as it is: {error}")
        return self._champion

    def answer(self, body: bytes, content_type: str | None, user: str, address: str) -> tuple[int, str]:
        """Answer a request by the version that the split gives it, and append a line to the audit trail.

        The answer is a status and JSON. The split is by the digest of the request: the same request goes to the same version.
        """
        began = time.monotonic()
        asked = hashlib.sha256(body).hexdigest()
        champion = self.champion()
        to_challenger = self._challenger is not None and int(asked[:12], 16) / 16**12 < self.settings.share
        chosen = self._challenger if self._challenger is not None and to_challenger else champion
        status, told = chosen.answer(body, content_type)
        text = json.dumps(told)
        line = {
            "when": _now(),
            "user": user,
            "address": address,
            "model": told["model"],
            "version": told["version"],
            "status": status,
            "samples": len(told["predictions"]["call"]) if status == 200 else 0,
            "input": asked,
            "output": hashlib.sha256(text.encode()).hexdigest(),
            "milliseconds": round(1000 * (time.monotonic() - began), 1),
        }
        self._append(line)
        return status, text

    def shadow(self, body: bytes, content_type: str | None) -> None:
        """Let both models impute a request that was answered, with typed sites hidden, and append what each gets right.

        Only where there is a challenger that answers no request.
        """
        if self._challenger is None or self.settings.share > 0:
            return
        models = self._champion, self._challenger
        matrix, sites = read_request(body, content_type)
        calls = np.where(np.isnan(matrix), MISSING, matrix).astype(np.int8)
        typed = np.flatnonzero((calls != MISSING).any(axis=0))
        if len(typed) < FEWEST_TYPED:
            return
        n = round(self.settings.hide * len(typed))
        chosen = np.random.default_rng(self.settings.seed).choice(typed, n, replace=False)
        hidden = np.broadcast_to(np.isin(np.arange(calls.shape[1]), chosen), calls.shape)
        try:
            right = [model.right(calls, sites, hidden) for model in models]
        except InputError as error:
            self.watch.warn(f"a request was not imputed in the shadow: {error}")
            return
        told: dict[str, Any] = dict(zip(PAIR, (model.registered.version for model in models), strict=True))
        told |= {"hidden": int((hidden & (calls != MISSING)).sum()), "right_champion": right[0]}
        asked = hashlib.sha256(body).hexdigest()
        self._append({"when": _now(), "input": asked, "shadow": {**told, "right_challenger": right[1]}})

    def _append(self, line: dict[str, Any]) -> None:
        """Append a line to the audit trail, whole, whoever else appends to it."""
        descriptor = os.open(self.settings.audit, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, (json.dumps(line) + "\n").encode())
        finally:
            os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def application(gateway: Gateway) -> Starlette:
    """Return the web application: `POST /invocations`; `GET /ping` names the champion, `GET /shadow` compares the models."""
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def invocations(request: Request) -> Response:
        body = await request.body()
        address = request.client.host if request.client else ""
        user = request.headers.get(USER_HEADER, "")
        kind = request.headers.get("content-type")
        status, text = await run_in_threadpool(gateway.answer, body, kind, user, address)
        after = BackgroundTask(gateway.shadow, body, kind) if status == 200 else None
        return Response(text, status, media_type="application/json", background=after)

    async def ping(request: Request) -> JSONResponse:
        champion = await run_in_threadpool(gateway.champion)
        return JSONResponse({"model": champion.registered.name, "version": champion.registered.version})

    async def shadow(request: Request) -> JSONResponse:
        try:
            return JSONResponse(await run_in_threadpool(paired, gateway.settings.audit))
        except InputError as error:
            return JSONResponse({"message": str(error)}, 404)

    routes = [Route("/invocations", invocations, methods=["POST"]), Route("/ping", ping), Route("/shadow", shadow)]
    return Starlette(routes=routes)


def paired(audit: Path) -> dict[str, Any]:
    """Return what an audit trail says of the last champion and challenger in it: requests, hidden calls, right ones, p-value.

    Raises:
        InputError: the file cannot be read, or no request was answered in the shadow.
    """
    from scipy.stats import wilcoxon

    try:
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
    except OSError as error:
        raise InputError(f"cannot read the audit trail {audit}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{audit} is no audit trail: {error}") from None
    found = [line["shadow"] for line in lines if line.get("shadow", {}).get("hidden")]
    if not found:
        raise InputError(f"{audit}: no request was imputed in the shadow (models serve NAME --challenger NAME/VERSION)")
    pair = {key: found[-1][key] for key in PAIR}
    found = [one for one in found if all(one[key] == version for key, version in pair.items())]
    hidden, first, second = (
        np.array([one[key] for one in found], dtype=float) for key in ("hidden", "right_champion", "right_challenger")
    )
    apart = (second - first) / hidden
    return {
        **pair,
        "requests": len(found),
        "hidden": int(hidden.sum()),
        "right_champion": float(first.sum() / hidden.sum()),
        "right_challenger": float(second.sum() / hidden.sum()),
        "p": float(wilcoxon(apart).pvalue) if apart.any() else 1.0,
    }
