"""Beagle 5.4 as an imputer: write files for it, run the program, read its output as a posterior."""

from __future__ import annotations

import gzip
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationInfo, field_validator

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.files import save_array
from snpimpute.base.folders import copy_of
from snpimpute.base.processes import end_group, start_program
from snpimpute.base.programs import beagle_jar, java
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix, numbered_samples, site_keys
from snpimpute.imputers._target import frequencies_in
from snpimpute.imputers.contract import (
    HAPLOTYPE_WINDOW,
    MIN_SEEN,
    PHASE,
    Imputer,
    Params,
    Report,
    Trial,
    Validation,
    Variant,
)
from snpimpute.io.maps import GeneticMap
from snpimpute.io.write_vcf import write_vcf

# Genotypes of panel and target up to which what Java does to run fast (optimising, threads that clear memory) takes longer
# than it saves; phasing costs so many times as much as imputing.
SMALL = 1_000_000
PHASING_COSTS = 20
LEAD = 0.001  # lead of Beagle's call where its probabilities favour another genotype: enough to survive float16
HARD_CALL = 0.98  # weight of a call that Beagle gives without probabilities; the other two genotypes share the rest
ARGUMENTS = {
    "ne": "ne",
    "err": "err",
    "em": "em",
    "cluster": "cluster",
    "phase_states": "phase-states",
    "iterations": "iterations",
    "burnin": "burnin",
    "imp_step": "imp-step",
    "imp_segment": "imp-segment",
    "imp_states": "imp-states",
    "window": "window",
    "overlap": "overlap",
}
IN_BASES = ("window", "overlap")  # given in cM of the map as it is: a scaled map leaves them as long in base pairs
# A window in which the target has no site or one ends Beagle, or leaves the end of a contig out: one window for all of it does not.
NO_SITES = ("RefTargSlidingWindow", "only one position", "Beagle gave no call")
FAILURE = re.compile(r"(?:^ERROR|\b[\w.]+(?:Exception|Error)): (?:ERROR: )?(.+)")
REMEDIES = {
    "OutOfMemoryError": "raise memory_mb",
    "initialization of VM": "change memory_mb",
    "only one position": "raise window, or leave the site out if it is the only one of its contig",
    "No space left on device": "the disk of the folder of temporary files (TMPDIR) is full",
    "PlinkGenMap": "mend the genetic map (PLINK format: contig, id, cM, position)",
}


class BeagleParams(Params):
    """Beagle's parameters with its own defaults; an argument that is None is not passed.

    Attributes:
        mode: "reference" (the panel is Beagle's reference), "joint" (panel and target phased together in one file) or
            "alone" (the target phased by itself, without the panel).
        ne: effective population size; with the map it sets how often haplotypes switch.
        err: probability that an allele differs from the haplotype it copies; None = from the number of haplotypes.
        em: whether phasing estimates `ne` and `err` itself (imputation uses the given ones).
        cluster: sites closer than this (cM) are imputed as one.
        phase_states: number of haplotypes in the model of a sample's phase.
        iterations: phasing iterations.
        burnin: most burn-in iterations before them.
        imp_step: length of the steps at which imputation looks for shared haplotypes (cM).
        imp_segment: shortest shared stretch that imputation takes haplotypes for (cM).
        imp_states: number of haplotypes in the model of imputation.
        window: length of a window (cM).
        overlap: length shared by neighbouring windows (cM).
        map: genetic map in PLINK format with cM; None = 1 cM per Mb.
        map_scale: factor on the map's cM, with which clusters, steps and segments become shorter in base pairs: worth trying where
            sites are dense. Windows and overlaps stay as they are.
        phasings: number of runs, with the seeds seed, seed + 1, …, whose posteriors are averaged.
        calls_from: source of the hard call at a site hidden for all: "haplotypes" (Beagle's own GT, the likelier allele
            of each haplotype) or "probabilities" (the largest GP, which calls more heterozygotes). With "haplotypes",
            where a heterozygote leads the GP and the GT is homozygous, the two share their weight evenly.
        memory_mb: largest heap of Java (MiB).
    """

    mode: Literal["reference", "joint", "alone"] = "reference"
    ne: float | None = Field(100_000, ge=1)
    err: float | None = Field(None, gt=0, lt=0.5)
    em: bool | None = True
    cluster: float | None = Field(0.005, ge=0)
    phase_states: int | None = Field(280, ge=1)
    iterations: int | None = Field(12, ge=1)
    burnin: int | None = Field(3, ge=1)
    imp_step: float | None = Field(0.1, gt=0)
    imp_segment: float | None = Field(6.0, gt=0)
    imp_states: int | None = Field(1600, ge=1)
    window: float | None = Field(40.0, gt=0)
    overlap: float | None = Field(2.0, gt=0, validate_default=True)
    map: Path | None = None
    map_scale: float = Field(1.0, gt=0)
    phasings: int = Field(1, ge=1)
    calls_from: Literal["haplotypes", "probabilities"] = "haplotypes"
    memory_mb: int = Field(4096, ge=8)

    @field_validator("overlap")
    @classmethod
    def _within_window(cls, overlap: float | None, info: ValidationInfo) -> float | None:
        """Refuse an overlap that is too long for the window."""
        window = info.data.get("window") or 40.0
        if window < 1.1 * (overlap or 2.0):
            raise ValueError(f"window ({window:g}) must be at least 1.1 times overlap ({overlap or 2.0:g})")
        return overlap


class Beagle(Imputer):
    """Beagle 5.4 (Browning, Tian, Zhou & Browning 2021; Browning, Zhou & Browning 2018), run as a program.

    In reference mode, sites hidden for every target sample are left out of the target file, and Beagle gives their
    probabilities (two decimals). At sites where some samples have a call, and without a reference, Beagle gives hard
    calls only: there a call weighs .98 and the other genotypes .01 each, averaged over `phasings`, and
    `gives_posterior` returns False. Joint mode needs no panel: without one, the target alone is phased; a sample
    without any call on a contig gets the genotype frequencies there. In reference mode Beagle itself phases an unphased
    or incomplete panel when it is fitted, once for each seed.

    Contigs share nothing but the stream of random numbers. The first is imputed as in a run of its own; without a
    reference each later one is imputed as in a run of its own that starts where the stream is then.

    Attributes:
        logs: command line and output of each run so far, oldest first; saved with the model as beagle.log.
    """

    description = "Beagle 5.4: haplotype model, with the panel as reference or phased jointly"
    framework = "java"
    fit_window = HAPLOTYPE_WINDOW
    handles = frozenset({PHASE})
    Params = BeagleParams
    starts: ClassVar = (
        {"cluster": 1e-4, "phasings": 3},  # dense sites of outbred people
        {"map_scale": 10, "ne": 80_000, "cluster": 1e-3, "phasings": 3},  # the same
        {"ne": 1000, "phasings": 3},  # breeds of few founders
    )
    variants: ClassVar[Mapping[str, Variant]] = {
        "default": Variant(),
        "tuned": Variant(tune=True),
        "tuned-joint": Variant(tune=True, params={"mode": "joint"}),
    }

    logs: list[str]
    _haplotypes: np.ndarray | None  # int8 (1 or phasings, n_samples, n_sites, 2): the reference
    _calls: np.ndarray | None  # int8 (n_samples, n_sites): the panel of joint mode
    _map: str | None

    @classmethod
    def search_space(cls, trial: Trial) -> BeagleParams:
        """Return parameters of a trial: the map's scale, switches, errors, merged sites, steps, phasing and averaged runs."""
        return BeagleParams(
            ne=trial.suggest_float("ne", 100, 1e6, log=True),
            map_scale=trial.suggest_float("map_scale", 0.3, 100, log=True),
            err=trial.suggest_categorical("err", [None, 1e-5, 1e-4, 1e-3, 1e-2]),
            imp_step=trial.suggest_float("imp_step", 0.01, 1.0, log=True),
            imp_segment=trial.suggest_float("imp_segment", 1.0, 20.0, log=True),
            imp_states=trial.suggest_int("imp_states", 200, 6400, log=True),
            cluster=trial.suggest_float("cluster", 1e-5, 0.01, log=True),
            em=trial.suggest_categorical("em", [True, False]),
            phase_states=trial.suggest_int("phase_states", 50, 800, log=True),
            iterations=trial.suggest_int("iterations", 6, 30),
            burnin=trial.suggest_int("burnin", 1, 6),
            phasings=trial.suggest_int("phasings", 1, 3),
            calls_from=trial.suggest_categorical("calls_from", ["haplotypes", "probabilities"]),
        )

    def gives_posterior(self, target: GenotypeMatrix) -> bool:
        """Return False without a reference, and if one of these sites has calls for some samples only."""
        missing = target.calls == MISSING
        return self.params.mode == "reference" and bool((missing.all(axis=0) | ~missing.any(axis=0)).all())

    @property
    def needs_panel(self) -> bool:  # type: ignore[override]
        return self.params.mode == "reference"

    @property
    def version(self) -> str:
        """Version that Beagle prints, from the last log; empty before the first run."""
        found = re.search(r"^beagle\S* \(version .+?\)", self.logs[-1], re.MULTILINE) if self.logs else None
        return found[0] if found else ""

    @classmethod
    def require_programs(cls) -> None:
        java()
        beagle_jar()

    @classmethod
    def program_files(cls) -> list[Path]:
        with suppress(InputError):
            return [beagle_jar()]
        return []

    # ------------------------------------------------------------------ learning and imputing

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        self.logs, self._haplotypes, self._calls = [], None, None
        self._map = _map_text(self.params.map, self.params.map_scale, panel.sites)
        if self.params.mode != "reference":
            self._calls = panel.calls if self.params.mode == "joint" else panel.calls[:0]
        elif panel.haplotypes is not None:
            self._haplotypes = panel.haplotypes[None]
        else:
            unphased = self._matrix(panel.calls, "p")
            self._haplotypes = np.stack([self._run(seed, unphased)[0] for seed in self._seeds()])

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        impute = self._impute_jointly if self._haplotypes is None else self._impute_from_reference
        return np.mean([impute(target, seed) for seed in self._seeds()], axis=0)

    def _impute_from_reference(self, target: GenotypeMatrix, seed: int) -> np.ndarray:
        """Return the posterior of one run with the panel as reference, float32 (n_samples, n_sites, 3).

        Contigs on which the target has fewer than two sites are not given to Beagle, which stops or leaves them out: they
        have the panel's genotype frequencies.
        """
        assert self._haplotypes is not None
        haplotypes = self._haplotypes[(seed - self.seed) % len(self._haplotypes)]
        panel = self._matrix(haplotypes.sum(axis=2, dtype=np.int8), "p", haplotypes)
        hidden = (target.calls == MISSING).all(axis=0)
        given = pd.Series(~hidden).groupby(self.sites["contig"].to_numpy()).transform("sum").to_numpy() >= MIN_SEEN
        if given.all():
            return self._from_reference(seed, self._matrix(target.calls, "t"), panel, hidden)
        posterior = np.broadcast_to(self.frequencies, (*target.calls.shape, 3)).copy()
        if given.any():
            part = self._matrix(target.calls, "t").take_sites(given)
            posterior[:, given] = self._from_reference(seed, part, panel.take_sites(given), hidden[given])
        return posterior

    def _from_reference(
        self, seed: int, target: GenotypeMatrix, panel: GenotypeMatrix, hidden: np.ndarray
    ) -> np.ndarray:
        """Return the posterior of one run over these sites; the target lacks the sites `hidden`, bool (n_sites,)."""
        imputed, probabilities = self._run(seed, target, panel, hidden)
        total = np.clip(probabilities.sum(axis=2, keepdims=True), 0.5, None)  # .99 to 1.01, as each has two decimals
        probabilities = probabilities / total
        if self.params.calls_from == "haplotypes":
            probabilities = _with_calls_leading(probabilities, imputed.sum(axis=2))
        return np.where(hidden[:, None], probabilities, smoothed(imputed.sum(axis=2)))

    def haplotypes(self, target: GenotypeMatrix, calls: np.ndarray) -> np.ndarray:
        if self._haplotypes is None:
            raise InputError('Beagle phases with a panel as reference alone (mode = "reference")')
        panel = self._matrix(self.phased_panel().sum(axis=2, dtype=np.int8), "p", self.phased_panel())
        hidden = (target.calls == MISSING).all(axis=0)
        return self._run(self.seed, self._matrix(target.calls, "t"), panel, hidden)[0].transpose(0, 2, 1)

    def phased_panel(self) -> np.ndarray:
        """Return the panel's haplotypes, int8 (n_samples, n_sites, 2), as given, or phased and completed by Beagle."""
        assert self._haplotypes is not None
        return self._haplotypes[0]

    def phase(self, target: GenotypeMatrix) -> np.ndarray:
        """Phase calls with the panel as reference, for another program.

        Args:
            target: calls at some of the panel's sites, at least two on each contig that has any.

        Returns:
            int8 (n_samples, n_sites, 2): haplotypes at the target's sites, with missing calls filled.
        """
        panel = self._matrix(self.phased_panel().sum(axis=2, dtype=np.int8), "p", self.phased_panel())
        # Beagle takes no others for phasing, but fails where they end a contig that is not the last
        panel = panel.take_sites(np.isin(site_keys(self.sites), site_keys(target.sites)))
        named = GenotypeMatrix(target.calls, numbered_samples(t=target.n_samples), target.sites)
        return self._run(self.seed, named, panel, impute=False)[0]

    def _impute_jointly(self, target: GenotypeMatrix, seed: int) -> np.ndarray:
        """Return the posterior of one run over panel and target in one file, float32 (n_samples, n_sites, 3)."""
        assert self._calls is not None
        samples = numbered_samples(p=len(self._calls), t=target.n_samples)
        calls = np.concatenate([self._calls, target.calls])
        imputed, _ = self._run(seed, GenotypeMatrix(calls, samples, self.sites))
        posterior = smoothed(imputed[len(self._calls) :].sum(axis=2))
        frequencies = frequencies_in(calls, self.frequencies)
        contigs = self.sites["contig"].to_numpy()
        for contig in dict.fromkeys(contigs):
            here = np.flatnonzero(contigs == contig)
            without_calls = np.flatnonzero((target.calls[:, here] == MISSING).all(axis=1))
            posterior[np.ix_(without_calls, here)] = frequencies[here]
        return posterior

    def _seeds(self) -> range:
        """Return the seed of each run."""
        return range(self.seed, self.seed + self.params.phasings)

    def _matrix(self, calls: np.ndarray, prefix: str, haplotypes: np.ndarray | None = None) -> GenotypeMatrix:
        """Return calls with numbered samples, as a sample may be in both the panel and the target."""
        return GenotypeMatrix(calls, numbered_samples(**{prefix: len(calls)}), self.sites, haplotypes)

    # ------------------------------------------------------------------ the program

    def _run(
        self,
        seed: int,
        target: GenotypeMatrix,
        panel: GenotypeMatrix | None = None,
        leave_out: np.ndarray | None = None,
        impute: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run Beagle once in a temporary folder; return alleles and probabilities as `_read_output`."""
        arguments = {"gt": "target.vcf.gz", "out": "imputed", "gp": "true", "seed": seed, "nthreads": self.threads}
        if not impute:
            arguments["impute"] = "false"
        given = self.params.model_dump()
        scales = {name: self.params.map_scale if name in IN_BASES else 1 for name in ARGUMENTS}
        arguments |= {
            key: given[name] * scales[name] if scales[name] != 1 else given[name]
            for name, key in ARGUMENTS.items()
            if given[name] is not None
        }
        with work_folder("beagle") as folder:
            write_vcf(folder / "target.vcf.gz", target, leave_out)
            if panel is not None:
                write_vcf(folder / "panel.vcf.gz", panel)
                arguments["ref"] = "panel.vcf.gz"
            if self._map is not None:
                (folder / "genetic.map").write_text(self._map)
                arguments["map"] = "genetic.map"
            flags = [f"-Xmx{self.params.memory_mb}m", "-XX:+ExitOnOutOfMemoryError"]
            n_genotypes = target.calls.size * PHASING_COSTS if panel is None else target.calls.size + panel.calls.size
            if n_genotypes <= SMALL:
                flags += ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
            for again in (False, True):
                if again:
                    arguments["window"] = self._longest_contig() + 1
                try:
                    self._run_java(flags, [f"{key}={_spelled(value)}" for key, value in arguments.items()], folder)
                    return _read_output(folder / "imputed.vcf.gz", target)
                except InputError as error:
                    if again or panel is None or not any(sign in f"{error}{self.logs[-1]}" for sign in NO_SITES):
                        raise
        raise AssertionError

    def _longest_contig(self) -> float:
        """Return the length of the longest contig by the map that Beagle is given (cM)."""
        place = [(row[0], float(row[2])) for row in map(str.split, (self._map or "").splitlines())]
        place = place or list(zip(self.sites["contig"], self.sites["pos"] / 1e6, strict=True))
        by_contig = pd.DataFrame(place, columns=["contig", "cm"]).groupby("contig")["cm"]
        return float((by_contig.max() - by_contig.min()).max())

    def _run_java(self, flags: list[str], arguments: list[str], folder: Path) -> None:
        """Run Beagle in `folder` and keep its log; InputError in one line if it fails.

        After some failures Beagle prints the Java trace and then waits for ever; it is ended once the trace is printed.
        """
        command = [java(), *flags, "-jar", str(beagle_jar().absolute()), *arguments]
        process, guard = start_program(command, folder, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        output: list[str] = []
        timer = threading.Timer(0.5, end_group, [process])
        try:
            for line in process.stdout:
                output.append(line)
                if line.startswith("Exception in thread") and timer.ident is None:
                    timer.start()
            process.wait()
        except BaseException:
            end_group(process)
            raise
        finally:
            timer.cancel()
            guard.release()
            process.stdout.close()
            self.logs.append(shlex.join(command) + "\n" + "".join(output))
        if process.returncode != 0 or not (folder / "imputed.vcf.gz").exists():
            raise InputError(f"Beagle failed: {_cause(output, process.returncode)}")

    # ------------------------------------------------------------------ keeping

    def _save(self, folder: Path) -> None:
        (folder / "beagle.log").write_text("\n".join(self.logs))
        for name, array in (("haplotypes", self._haplotypes), ("calls", self._calls)):
            if array is not None:
                save_array(folder / f"{name}.npy", array)
        if self._map is not None:
            (folder / "genetic.map").write_text(self._map)

    def _load(self, folder: Path) -> None:
        self.logs = [log for log in [(folder / "beagle.log").read_text()] if log]
        self._haplotypes, self._calls = (
            np.load(path, allow_pickle=False) if (path := folder / f"{name}.npy").exists() else None
            for name in ("haplotypes", "calls")
        )
        path = folder / "genetic.map"
        self._map = path.read_text() if path.exists() else None


def _map_text(path: Path | None, scale: float, sites: pd.DataFrame) -> str | None:
    """Return the genetic map for Beagle with its cM times a factor; None where it is Beagle's own, 1 cM per Mb.

    Raises:
        InputError: the map is one that Beagle refuses for these sites' contigs.
    """
    if path is None and scale == 1:
        return None
    if path is None:
        ends = sites.groupby("contig", sort=False)["pos"].max().clip(lower=2)
        rows = [(contig, pos, pos / 1e6) for contig, end in ends.items() for pos in (1, int(end))]
    else:
        genetic_map = GeneticMap.read(path)
        genetic_map.require_contigs(sites["contig"])
        if scale == 1:
            return copy_of(path).read_text()
        rows = genetic_map.rows()
    return "".join(f"{contig}\t.\t{cm * scale:.9g}\t{pos}\n" for contig, pos, cm in rows)


def _spelled(value: Any) -> str:
    """Return a value as the text of an argument; booleans in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cause(output: list[str], returncode: int) -> str:
    """Return the line that tells why Beagle failed, and the remedy where it is known."""
    text = "".join(output)
    lines = [line.strip() for line in output if line.strip() and not line.lstrip().startswith("at ")]
    if "initialization of VM" in text:
        cause = lines[-1]
    elif failure := next(filter(None, map(FAILURE.search, lines)), None):
        cause = failure[1]
    elif returncode < 0:
        cause = f"it was ended by {signal.Signals(-returncode).name}"
    else:
        cause = lines[-1] if lines else f"exit status {returncode}, no message"
    return "; ".join([cause, *(remedy for sign, remedy in REMEDIES.items() if sign in text)])


def _with_calls_leading(probabilities: np.ndarray, calls: np.ndarray) -> np.ndarray:
    """Return probabilities (n_samples, n_sites, 3) changed as little as makes the calls (n_samples, n_sites) lead."""
    leader = probabilities.argmax(axis=2)
    i, j = np.nonzero(leader != calls)
    leader, called = leader[i, j], calls[i, j]
    shared = (probabilities[i, j, leader] + probabilities[i, j, called]) / 2
    led = probabilities.copy()
    led[i, j, leader], led[i, j, called] = shared - LEAD, shared + LEAD
    return led


def smoothed(calls: np.ndarray) -> np.ndarray:
    """Return hard calls (0, 1, 2) as a posterior with .98 for the call, float32 (..., 3)."""
    rest = (1 - HARD_CALL) / 2
    return np.where(np.arange(3) == calls[..., None], HARD_CALL, rest).astype(np.float32)


def _read_output(path: Path, target: GenotypeMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Read Beagle's output for `target`.

    Returns:
        int8 (n_samples, n_sites, 2) alleles, and float32 (n_samples, n_sites, 3) probabilities (0 at sites without).

    Raises:
        InputError: a site of the target is not in the output.
    """
    column_of = {key: j for j, key in enumerate(site_keys(target.sites))}
    haplotypes = np.full((target.n_samples, target.n_sites, 2), -1, dtype=np.int8)
    probabilities = np.zeros((target.n_samples, target.n_sites, 3), dtype=np.float32)
    with gzip.open(path, "rt") as handle:
        for line in handle:
            if line.startswith("#"):
                continue
            contig, pos, _, ref, alt, _, _, _, keys, *fields = line.rstrip("\n").split("\t")
            j = column_of[f"{contig}:{pos}:{ref}:{alt}"]
            haplotypes[:, j] = [(field[0] == "1", field[2] == "1") for field in fields]
            if "GP" in keys:
                which = keys.split(":").index("GP")
                numbers = chain.from_iterable(field.split(":")[which].split(",") for field in fields)
                probabilities[:, j] = np.fromiter(map(float, numbers), np.float32).reshape(-1, 3)
    if (haplotypes < 0).any():
        j = int((haplotypes < 0).any(axis=(0, 2)).argmax())
        raise InputError(
            f"Beagle gave no call at site {site_keys(target.sites)[j]}: are the sites in order of position?"
        )
    return haplotypes, probabilities
