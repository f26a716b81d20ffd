"""Drift of a server's requests: their samples are gathered into batches, which are judged and kept as batches in files are."""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from snpimpute.base.alone import made_alone, work_folder
from snpimpute.base.deployments import start_deployment
from snpimpute.base.errors import InputError
from snpimpute.base.files import remove, written_beside
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.drift import FEWEST_SAMPLES
from snpimpute.impute.thresholds import WatchSettings
from snpimpute.impute.watching import BASELINE, BATCHES, Batch, breaches_in, read_batches, watch_batch, watch_home
from snpimpute.impute.windows import WindowedModel
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.runs import RegisteredModel
from snpimpute.tracking.writer import Tracker

GATHERED = "gathered"  # folder of the requests of a batch that is not full yet
FULL = "requests-"  # begins the folder of a full one, which goes once it was judged
JUDGED = ".judged-"  # begins its name while it goes
REQUEST = re.compile(r"[^.].*-(\d+)\.npz")  # file of one: its digest, and the number of its samples
DEPLOYMENT = re.compile(r"[^/]+/[^/]+")  # FLOW/DEPLOYMENT
SAMPLES = 50  # of a batch


@dataclass(frozen=True)
class GatherSettings:
    """Settings of the drift of a server's requests.

    Attributes:
        samples: samples that make a batch; 0 = drift is not judged.
        thresholds: what is a breach, and the deployment that it starts.
        deployment: FLOW/DEPLOYMENT, in place of that of the thresholds; None = theirs.
    """

    samples: int = SAMPLES
    thresholds: WatchSettings = field(default_factory=WatchSettings)
    deployment: str | None = None

    def __post_init__(self) -> None:
        if self.samples and self.samples < FEWEST_SAMPLES:
            raise InputError(
                f"--batch {self.samples}: {FEWEST_SAMPLES} samples make a batch that can be judged; 0 judges none"
            )
        if not self.samples and self.deployment is not None:
            raise InputError(f"--retrain {self.deployment} needs batches that are judged: leave out --batch 0")
        deployment = self.deployment or self.thresholds.retrain.deployment
        if deployment is not None and not DEPLOYMENT.fullmatch(deployment):
            raise InputError(f"{deployment!r} is no deployment: give its flow and its name, as retrain/local")


class Gatherer:
    """Gathers the samples of requests into batches, by the model that answered, and judges those that are full.

    Each request lies in a file of its own until its batch was judged, so that a server that ends in any way goes on with what it had.

    Args:
        tracker: the store.
        settings: see GatherSettings.
        runs: folder of all results.
        watch: told of breaches, and of what could not be judged.
    """

    def __init__(self, tracker: Tracker, settings: GatherSettings, runs: Path, watch: Watch) -> None:
        self.tracker = tracker
        self.settings = settings
        self.runs = runs
        self.watch = watch
        self._followed: dict[str, tuple[RegisteredModel, Path]] = {}
        self._full = threading.Event()
        self._failed: set[Path] = set()
        self._owed = False  # a deployment that could not be started

    def follow(self, model: RegisteredModel, folder: Path) -> None:
        """Judge the requests of a registered model from now on, and what an earlier server left.

        Args:
            model: the model.
            folder: of what imputes with it: its own files, or its export.
        """
        self._followed = {**self._followed, model.run_id: (model, folder)}
        self._full.set()

    def judges(self, model: RegisteredModel) -> bool:
        """Tell whether a model's requests are gathered: batches are wanted, and it has a baseline, which may be made meanwhile."""
        return bool(self.settings.samples) and (watch_home(self.runs, model) / BASELINE).exists()

    def keep(self, model: RegisteredModel, calls: np.ndarray, columns: np.ndarray, asked: str) -> None:
        """Keep the samples of a request; those that make a batch full await their judgement.

        A request without a single call is left out: nothing can be imputed from a batch of such, as of a probe of the server.

        Args:
            model: that answered.
            calls: int8 (n_samples, n_columns), -1 = missing.
            columns: int64 (n_columns,), numbers of the sites among the model's.
            asked: digest of the request; the same one again in a batch takes the place of the first.

        Raises:
            InputError: no room.
        """
        if not self.judges(model) or not (calls != MISSING).any():
            return
        home = watch_home(self.runs, model)
        gathered = home / GATHERED
        with made_alone(gathered, self.watch):
            gathered.mkdir(mode=0o700, exist_ok=True)
            with written_beside(gathered / f"{asked}-{len(calls)}.npz") as beside, beside.open("wb") as file:
                np.savez_compressed(file, calls=calls, columns=columns)
            if _n_samples(gathered) < self.settings.samples:
                return
            gathered.rename(home / f"{FULL}{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
        self._full.set()

    def start(self) -> None:
        """Judge full batches from now on, in a thread that ends with the process."""

        def judge_when_full() -> None:
            while True:
                self._full.wait()
                self._full.clear()
                self.judge_waiting()

        threading.Thread(target=judge_when_full, name="drift", daemon=True).start()

    def judge_waiting(self) -> None:
        """Judge the batches that are full, and tell of breaches; what cannot be judged is kept, and tried again at the next start."""
        for model, folder in list(self._followed.values()):
            if not self.judges(model):
                continue
            home = watch_home(self.runs, model)
            for left in home.glob(f"{JUDGED}*"):  # of a server that was killed
                remove(left)
            for full in _waiting(home):
                if full in self._failed:
                    continue
                try:
                    with made_alone(full, self.watch):
                        if full.exists():
                            self._judge(model, folder, full)
                except Exception as error:  # whatever it is, the next batch is judged
                    self._failed.add(full)
                    self.watch.warn(
                        f"drift: {full} was not judged, and is tried again when the server starts again ({error})"
                    )

    def _judge(self, registered: RegisteredModel, folder: Path, full: Path) -> None:
        """Judge a full batch, in the way of files, remove it, and tell of a breach; the first of several in a row starts the deployment."""
        table = read_batches(full.parent / BATCHES)
        before = breaches_in(table, int(table["batch"].max())) if len(table) else []
        with work_folder("drift") as work:
            model = WindowedModel(folder)
            target = work / f"{full.name}.vcf.gz"
            write_vcf(target, _matrix(full, model.sites))
            batch = watch_batch(self.tracker, registered, model, target, self.settings.thresholds, self.runs)
        # out of the way at once: of half a batch another one would be made
        judged = full.rename(full.with_name(f"{JUDGED}{full.name}"))
        remove(judged)
        if batch.breaches:
            self.watch.warn(f"drift: {registered.name} version {registered.version}, {_in_words(batch)}")
            if self._owed or not before:
                self._start_deployment()

    def _start_deployment(self) -> None:
        retrain = self.settings.thresholds.retrain
        deployment = self.settings.deployment or retrain.deployment
        if deployment is None:
            return
        try:
            self.watch.warn(f"started {deployment}: run {start_deployment(deployment, retrain.parameters)}")
            self._owed = False
        except InputError as error:
            self._owed = True
            self.watch.warn(f"{error}; the next breach starts it again")

    def told(self, model: RegisteredModel) -> dict[str, Any]:
        """Return what is known of a registered model's drift, JSON-able.

        Returns:
            model, version, whether its requests are judged (`judged`), samples of a batch (`samples`), how many are gathered for the
            next one (`gathered`), full batches that await their judgement (`waiting`), number of batches so far (`batches`), and
            the last one (`last`; None = none): batch, when, file, samples, names of `breaches`, `figures`.
        """
        home = watch_home(self.runs, model)
        table = read_batches(home / BATCHES)
        last = None
        if len(table):
            number = int(table["batch"].max())
            rows = json.loads(table[table["batch"] == number].to_json(orient="records"))
            about = {key: rows[0][key] for key in ("batch", "when", "file", "samples")}
            kept = ("figure", "value", "expected", "difference", "p_corrected", "breach")
            figures = [{key: row[key] for key in kept} for row in rows]
            last = {**about, "breaches": breaches_in(table, number), "figures": figures}
        return {
            "model": model.name,
            "version": model.version,
            "judged": self.judges(model),
            "samples": self.settings.samples,
            "gathered": _n_samples(home / GATHERED),
            "waiting": len(_waiting(home)),
            "batches": int(table["batch"].nunique()),
            "last": last,
        }


def _n_samples(folder: Path) -> int:
    """Return the number of samples of the requests in a folder, which their names tell."""
    return sum(n for _, n in _requests(folder))


def _requests(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files of the requests in a folder, in the order of their names, with the number of samples of each."""
    for file in sorted(folder.glob("*")):
        if named := REQUEST.fullmatch(file.name):
            yield file, int(named[1])


def _waiting(home: Path) -> list[Path]:
    """Return the folders of the full batches of a model, the oldest first."""
    return sorted(home.glob(f"{FULL}*"))


def _matrix(folder: Path, sites: pd.DataFrame) -> GenotypeMatrix:
    """Return the samples of the requests in a folder at all sites that one of them named, in the model's order.

    Raises:
        InputError: a file is broken, or there is none.
    """
    parts = []
    for file, n in _requests(folder):
        try:
            with np.load(file, allow_pickle=False) as kept:
                calls, columns = kept["calls"], kept["columns"]
            if calls.shape != (n, len(columns)) or not np.isin(columns, np.arange(len(sites))).all():
                raise ValueError("not what was kept")
        except (OSError, EOFError, BadZipFile, LookupError, ValueError, zlib.error):
            raise InputError(
                f"{file.name} in it is broken: remove that file, and the other samples are judged"
            ) from None
        parts.append((calls, columns))
    if not parts:
        raise InputError("it has no requests: remove it")
    named = np.unique(np.concatenate([columns for _, columns in parts]))
    calls = np.full((sum(len(own) for own, _ in parts), len(named)), MISSING, dtype=np.int8)
    first = 0
    for own, columns in parts:
        calls[first : first + len(own), np.searchsorted(named, columns)] = own
        first += len(own)
    samples = pd.DataFrame({"sample": [f"sample{i + 1}" for i in range(len(calls))]})
    return GenotypeMatrix(calls, samples, sites.iloc[named].reset_index(drop=True))


def _in_words(batch: Batch) -> str:
    """Return the breaches of a batch in a line."""
    beyond = batch.figures[batch.figures["breach"]].itertuples()
    figures = "; ".join(
        f"{row.figure} {row.value:.4f}, expected {row.expected:.4f}, corrected p {row.p_corrected:.2g}"
        for row in beyond
    )
    return f"batch {batch.number} ({numbered(batch.n_samples, 'sample')}) is beyond its thresholds: {figures}"
