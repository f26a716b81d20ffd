"""Server of a champion and a challenger: one answers a request, by the split of the traffic, and an audit trail says which."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.champions import fetch_model, find_model
from snpimpute.impute.export import engine_of, exported_model, verified_model
from snpimpute.impute.gathering import Gatherer, GatherSettings
from snpimpute.impute.paired import append_line, keep_pair, paired, pairs_file
from snpimpute.impute.request import read_request
from snpimpute.impute.shadow import Shadowed
from snpimpute.tracking.runs import RegisteredModel
from snpimpute.tracking.writer import Tracker

if TYPE_CHECKING:
    from starlette.applications import Starlette

SECONDS_BETWEEN_LOOKS = 10.0  # at the registry, for a champion that was promoted or rolled back
FEWEST_TYPED = 20  # sites of a request, below which none is hidden
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
        gather: how the drift of requests is judged.
    """

    champion: str
    audit: Path
    challenger: str | None = None
    share: float = 0.0
    hide: float = 0.1
    seed: int = 1
    on_engine: str | None = None
    gather: GatherSettings = field(default_factory=GatherSettings)


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
    """A registered model in memory, which answers one request at a time.

    Attributes:
        registered: the model.
        folder: of what imputes: the model's files, or its export.
        engine: see `export.engine_of`.
    """

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
        self.folder = folder
        self.engine = engine_of(verified_model(folder))
        self._lock = threading.Lock()
        self._imputer = ServedImputer()
        context: Any = SimpleNamespace(artifacts={"imputer": str(folder)})
        self._imputer.load_context(context)

    def answer(self, body: bytes, content_type: str | None) -> tuple[int, dict[str, Any]]:
        """Return status and answer; it names the model and its version."""
        with self._lock:
            status, told = self._imputer.answer(body, content_type)
        return status, {**told, "model": self.registered.name, "version": self.registered.version}

    def columns_of(self, sites: list[str]) -> np.ndarray:
        """Return int64 (n_columns,): the numbers of columns' sites among the model's, -1 where it has no such site."""
        return np.array([self._imputer.column.get(name, -1) for name in sites], dtype=np.int64)

    def posterior_at(self, calls: np.ndarray, sites: list[str], hidden: np.ndarray) -> np.ndarray:
        """Return float64 (n_samples, n_hidden, 3): the posterior at columns that are hidden, from the others.

        Args:
            calls: int8 (n_samples, n_columns), -1 = missing.
            sites: names of the columns; those that the model lacks are left out.
            hidden: int64, numbers of columns that it has.

        Raises:
            InputError: too many calls for an answer.
        """
        columns = self.columns_of(sites)
        known = np.flatnonzero(columns >= 0)
        shown = calls.astype(float)
        shown[:, hidden] = np.nan
        with self._lock:
            imputed = self._imputer.imputed(shown[:, known], [sites[i] for i in known])
        return imputed["posterior"][:, columns[hidden]]


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
        self.gatherer = Gatherer(tracker, settings.gather, runs, self.watch)
        self._champion = self._load(settings.champion)
        self._challenger = None if settings.challenger is None else self._load(settings.challenger)
        self._looked = self.clock()
        self._looking = threading.Lock()

    def _load(self, wanted: str) -> Served:
        return self._served(find_model(self.tracker, wanted))

    def _served(self, found: RegisteredModel) -> Served:
        served = Served(self.tracker, found, self.runs, exported=self.settings.on_engine is not None)
        self.gatherer.follow(found, served.folder)
        return served

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

        The answer is a status and JSON; 503 if the trail cannot be written. The split is by the digest of the request: the same
        request goes to the same version.
        """
        began = time.monotonic()
        asked = hashlib.sha256(body).hexdigest()
        chosen = self._chosen(asked)
        status, told = chosen.answer(body, content_type)
        text = json.dumps(told)
        line = {
            "when": _now(),
            "user": user,
            "address": address,
            "model": told["model"],
            "version": told["version"],
            "engine": chosen.engine,
            "status": status,
            "samples": len(told["predictions"]["call"]) if status == 200 else 0,
            "input": asked,
            "output": hashlib.sha256(text.encode()).hexdigest(),
            "milliseconds": round(1000 * (time.monotonic() - began), 1),
        }
        try:
            append_line(self.settings.audit, json.dumps(line))
        except OSError as error:
            why = f"no answer is given without its line in the audit trail, which cannot be written: {error.strerror}"
            self.watch.warn(f"{self.settings.audit}: {why}")
            return 503, json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE", "message": why})
        return status, text

    def _chosen(self, asked: str) -> Served:
        """Return the model that answers the request of this digest."""
        champion = self.champion()
        to_challenger = self._challenger is not None and int(asked[:12], 16) / 16**12 < self.settings.share
        return self._challenger if self._challenger is not None and to_challenger else champion

    def afterwards(self, body: bytes, content_type: str | None) -> None:
        """Do with a request that was answered what the answer need not wait for: gather its samples, and impute it in the shadow."""
        asked = hashlib.sha256(body).hexdigest()
        matrix, sites = read_request(body, content_type)
        calls = np.where(np.isnan(matrix), MISSING, matrix).astype(np.int8)
        try:
            answered = self._chosen(asked)
            columns = answered.columns_of(sites)
            if (columns >= 0).all():  # else the champion has changed since the answer
                self.gatherer.keep(answered.registered, calls, columns, asked)
            self._shadow(asked, calls, sites)
        except (InputError, OSError) as error:
            self.watch.warn(f"a request was answered, and not kept for drift or shadow: {error}")

    def _shadow(self, asked: str, calls: np.ndarray, sites: list[str]) -> None:
        """Let both models impute a request with typed sites hidden, and keep what each makes of them.

        Only where there is a challenger that answers no request, and is not the champion by now.
        """
        champion, challenger = self._champion, self._challenger
        if challenger is None or self.settings.share > 0 or champion.registered.run_id == challenger.registered.run_id:
            return
        models = champion, challenger
        shared = np.all([model.columns_of(sites) >= 0 for model in models], axis=0)
        typed = np.flatnonzero((calls != MISSING).any(axis=0) & shared)
        if len(typed) < FEWEST_TYPED:
            return
        n = round(self.settings.hide * len(typed))
        # others for each request: of one array the same few sites would decide alone
        rng = np.random.default_rng([self.settings.seed, int(asked[:16], 16)])
        hidden = np.sort(rng.choice(typed, n, replace=False))
        posteriors = [model.posterior_at(calls, sites, hidden) for model in models]
        file = pairs_file(self.runs, champion.registered, challenger.registered)
        keep_pair(file, asked, calls[:, hidden], posteriors)

    def paired(self) -> Shadowed:
        """Compare champion and challenger by the requests that both imputed; InputError if there are none."""
        if self._challenger is None:
            raise InputError("there is no challenger: snpimpute models serve NAME --challenger NAME/VERSION")
        return paired(self.runs, self.champion().registered, self._challenger.registered)

    def drift(self) -> dict[str, Any]:
        """Return what is known of the drift of champion and challenger, see `Gatherer.told`."""
        served = [self.champion()] + ([] if self._challenger is None else [self._challenger])
        models = {
            model.registered.run_id: model.registered for model in served
        }  # a challenger may be the champion by now
        return {"models": [self.gatherer.told(model) for model in models.values()]}

    def shadow_in_words(self) -> str:
        """Return a line about the comparison of champion and challenger."""
        told = [
            f"{served.registered.name} version {served.registered.version}"
            for served in (self._champion, self._challenger)
            if served
        ]
        if len(told) < 2 or self.settings.share:
            return f"shadow: none ({'the challenger answers requests' if len(told) > 1 else 'no challenger'})"
        if told[0] == told[1]:
            return f"shadow: none as long as champion and challenger are both {told[0]}"
        return f"shadow: {told[1]}, of requests that {told[0]} answers"

    def drift_in_words(self) -> str:
        """Return a line that tells whose drift is judged, and of whom it is not, and why."""
        found = self.drift()["models"]
        samples = self.settings.gather.samples
        judged = [f"{told['model']} version {told['version']}" for told in found if told["judged"]]
        others = [f"{told['model']} version {told['version']}" for told in found if not told["judged"]]
        if not samples:
            return "drift: not judged (--batch 0)"
        lines = [f"in batches of {samples} samples, of {' and '.join(judged)}"] if judged else []
        if others:
            lines.append(
                f"not judged of {' and '.join(others)}, without a baseline (snpimpute models baseline NAME PANEL)"
            )
        return f"drift: {'; '.join(lines)}"


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address; InputError if that cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        raise InputError(f"cannot listen at {host}, port {port}: {why}; give another --port or --host") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def application(gateway: Gateway) -> Starlette:
    """Return the web application: `POST /invocations`; `GET` `/ping` names the champion, `/shadow` compares the models, `/drift` tells of drift."""
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
        after = BackgroundTask(gateway.afterwards, body, kind) if status == 200 else None
        return Response(text, status, media_type="application/json", background=after)

    async def ping(request: Request) -> JSONResponse:
        champion = await run_in_threadpool(gateway.champion)
        return JSONResponse({"model": champion.registered.name, "version": champion.registered.version})

    async def shadow(request: Request) -> JSONResponse:
        try:
            found = await run_in_threadpool(gateway.paired)
        except InputError as error:
            return JSONResponse({"message": str(error)}, 404)
        return JSONResponse(found.told())

    async def drift(request: Request) -> JSONResponse:
        return JSONResponse(await run_in_threadpool(gateway.drift))

    told = [Route("/ping", ping), Route("/shadow", shadow), Route("/drift", drift)]
    return Starlette(routes=[Route("/invocations", invocations, methods=["POST"]), *told])
