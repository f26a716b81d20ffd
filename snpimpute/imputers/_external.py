"""Imputers from descriptions of programs: write files for the program, run its commands, read its output."""

from __future__ import annotations

import functools
import gzip
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
from pydantic import Field, create_model, field_validator

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.files import save_array
from snpimpute.base.programs import program, run_program
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix, contig_slices, numbered_samples, site_keys
from snpimpute.imputers._description import Description, filled_in, parse_description
from snpimpute.imputers.beagle import Beagle, smoothed
from snpimpute.imputers.contract import HAPLOTYPE_WINDOW, MIN_SEEN, Imputer, Params, Report, Trial, Validation, Variant
from snpimpute.io.maps import GeneticMap
from snpimpute.io.plink import BED_MISSING, write_bed
from snpimpute.io.write_vcf import write_vcf

DESCRIPTION = "description.toml"  # file in the folder of a saved model
PROBABILITIES = ("HDS", "GP")  # fields that give a posterior without smoothing
ERROR_LINE = re.compile(r"\berror\b|\bfailed\b|\bcannot\b|assertion", re.IGNORECASE)


class ExternalParams(Params):
    """Parameters of every described imputer, beside those of its description.

    Attributes:
        map: genetic map in PLINK format, for Beagle's phasing and commands that take {map}; None = 1 cM per Mb.
        phasing: parameters of Beagle when it phases panel and target for the program.
    """

    map: Path | None = None
    phasing: dict[str, Any] = Field(default_factory=dict)

    @field_validator("phasing")
    @classmethod
    def _of_beagle(cls, table: dict[str, Any]) -> dict[str, Any]:
        """Refuse parameters that Beagle does not have, or that are not for phasing."""
        for name in ("mode", "phasings", "calls_from", "map"):
            if name in table:
                raise ValueError(f"{name} is not for phasing (a map is given to the imputer itself)")
        try:
            Beagle.parse_params(table)
        except InputError as error:
            raise ValueError(str(error)) from None
        return table


class External(Imputer):
    """Base of all described programs; `described` makes the class of one.

    A contig on which the target has no call at all is not given to the program: its posterior is the panel's genotype
    frequencies, as it is wherever the program gives no call. HDS and GP are used as the posterior; DS is shared out to
    the two nearest genotypes, and a GT alone weighs .98: for these two, `gives_posterior` returns False.

    Attributes:
        about: the description.
        recipe: text of the description, which is saved with the model.
        logs: commands with their output, run by run, oldest first; saved with the model as program.log.
    """

    Params = ExternalParams
    about: ClassVar[Description]

    logs: list[str]
    _panel: GenotypeMatrix  # with numbered samples (none without a panel), and haplotypes if the program wants them
    _map: str
    _kept_files: list[dict[str, bytes]]  # for each part, name → content of the files that the commands of the fit made

    @classmethod
    def require_programs(cls) -> None:
        cls._program()
        for name, install in cls.about.program.also.items():
            program(name, f"imputer {cls.name}", install)
        if cls._needs_phasing():
            Beagle.require_programs()

    @classmethod
    def program_files(cls) -> list[Path]:
        files = []
        for name in (cls.about.program.name, *cls.about.program.also):
            with suppress(InputError):
                files.append(Path(program(name, f"imputer {cls.name}", "")))
        return files + (Beagle.program_files() if cls._needs_phasing() else [])

    @classmethod
    def _program(cls) -> str:
        """Return the path of the program; InputError if it is missing."""
        return program(cls.about.program.name, f"imputer {cls.name}", cls.about.program.install)

    @classmethod
    def _needs_phasing(cls) -> bool:
        """Tell whether Beagle phases the panel for the program."""
        return cls.about.panel is not None and cls.about.panel.phased

    def gives_posterior(self, target: GenotypeMatrix) -> bool:
        """Return False if the program gives dosages or calls alone."""
        return self.about.output.field in PROBABILITIES

    @property
    def version(self) -> str:
        """Version that the program prints, from the last log; empty before the first run."""
        found = re.findall(r"^# version: (.*)$", "\n".join(self.logs), re.MULTILINE)
        return found[-1] if found else ""

    # ------------------------------------------------------------------ learning and imputing

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        self.logs, self._kept_files = [], []
        mapped = self.about.uses_map or self.params.map is not None
        self._map = _map_text(self.params.map, self.sites) if mapped else ""
        calls = panel.calls if self.about.panel else panel.calls[:0]
        haplotypes = None
        if self._needs_phasing():
            beagle = self._fitted_beagle(panel)
            haplotypes = beagle.phased_panel()
            calls = haplotypes.sum(axis=2, dtype=np.int8)
            self.logs += beagle.logs
        self._panel = GenotypeMatrix(calls, numbered_samples(p=len(calls)), self.sites, haplotypes)
        for sites in self._parts() if self.about.run.fit else ():
            with work_folder(self.name) as folder:
                self._run(folder, self.about.run.fit, sites)
                self._kept_files.append(
                    {kept: self._require_made(folder / kept).read_bytes() for kept in self.about.run.keep}
                )

    def _fitted_beagle(self, panel: GenotypeMatrix) -> Beagle:
        """Return Beagle fitted on the panel, with the parameters for phasing."""
        with work_folder(self.name) as folder:
            params = dict(self.params.phasing)
            if self.params.map is not None:  # its content when the imputer was fitted
                params["map"] = folder / "genetic.map"
                params["map"].write_text(self._map)
            return Beagle(Beagle.parse_params(params), seed=self.seed, threads=self.threads).fit(panel)

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        holes = target.calls == MISSING
        hidden = holes.all(axis=0)
        if self.about.target.single_holes == "refused" and (holes & ~hidden).any():
            i, j = np.argwhere(holes & ~hidden)[0]
            raise InputError(
                f"imputer {self.name} imputes sites that every sample lacks, and no single calls: sample "
                f"{target.names[i]} lacks {site_keys(target.sites)[j]}, which others have; leave such sites out"
            )
        written = self._prepared_target(target, hidden)
        out = np.broadcast_to(self.frequencies, (*target.calls.shape, 3)).astype(np.float32)
        for number, sites in enumerate(self._parts()):
            if hidden[sites].all() or not holes[:, sites].any():
                continue
            given, there = self._impute(written, number, sites, hidden)
            lacking = hidden[sites] & ~there
            if self.about.panel and lacking.any():
                key = site_keys(self.sites.iloc[sites])[int(lacking.argmax())]
                raise InputError(
                    f"imputer {self.name}: {self.about.program.name} gave no {self.about.output.field} at site {key}"
                )
            out[:, sites] = np.where(np.isnan(given), out[:, sites], given)
        return out

    def _parts(self) -> list[slice]:
        """Return the sites that each run takes: those of one contig, or all."""
        return list(contig_slices(self.sites)) if self.about.run.one_contig else [slice(0, len(self.sites))]

    def _prepared_target(self, target: GenotypeMatrix, hidden: np.ndarray) -> GenotypeMatrix:
        """Return the target with numbered samples, phased if the program wants that; missing calls stay missing."""
        haplotypes = None
        if self.about.target.phased:
            haplotypes = np.stack([target.calls == 2, target.calls >= 1], axis=2).astype(np.int8)
            at = self._to_be_phased(hidden)
            if at.any():
                beagle = self._fitted_beagle(self._panel)
                haplotypes[:, at] = beagle.phase(target.take_sites(at))
                self.logs += beagle.logs
        numbered = GenotypeMatrix(target.calls, numbered_samples(t=target.n_samples), self.sites, haplotypes)
        if not self.about.target.complete_first:
            return numbered
        first = self._panel.take_samples(slice(0, 1))
        return GenotypeMatrix(
            np.concatenate([first.calls, numbered.calls]),
            pd.concat([first.samples, numbered.samples], ignore_index=True),
            self.sites,
            None if haplotypes is None else np.concatenate([cast(np.ndarray, first.haplotypes), haplotypes]),
        )

    def _to_be_phased(self, hidden: np.ndarray) -> np.ndarray:
        """Return the seen sites of contigs with at least two of them, bool (n_sites,): a single site has no phase."""
        contigs = self.sites["contig"]
        seen = pd.Series(~hidden)
        return (seen & (seen.groupby(contigs.to_numpy()).transform("sum") >= MIN_SEEN)).to_numpy()

    def _impute(
        self, target: GenotypeMatrix, number: int, sites: slice, hidden: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior and the sites that one run gives for a part; see READERS."""
        leaves_out = self.about.target.hidden_sites == "left_out"
        part = target.take_sites(sites)
        written = part.take_sites(~hidden[sites]) if leaves_out else part
        with work_folder(self.name) as folder:
            for kept, content in self._kept_files[number].items() if self._kept_files else ():
                (folder / kept).write_bytes(content)
            values = {
                "target": _write(folder, "target", written, self.about.target.form),
                "n_target": written.n_samples,
            }
            self._run(folder, self.about.run.impute, sites, values)
            file = self._require_made(folder / self.about.output.file)
            read = READERS[self.about.output.form]
            try:
                given, there = read(file, self.about.output.field, part)
            except (ValueError, IndexError, KeyError, OSError, UnicodeDecodeError) as error:
                raise InputError(
                    f"imputer {self.name}: cannot read {self.about.output.field} in {file.name}, which "
                    f"{self.about.program.name} wrote: {error}"
                ) from None
        return (given[1:] if self.about.target.complete_first else given), there

    # ------------------------------------------------------------------ the program

    def _run(
        self, folder: Path, commands: tuple[str, ...], sites: slice, values: Mapping[str, Any] | None = None
    ) -> None:
        """Run commands in `folder` and keep their log; InputError in one line if one fails."""
        path = self._program()
        text = "\n".join(commands)
        first, last = self.sites.iloc[sites].iloc[[0, -1]].itertuples()
        values = {
            **self.params.model_dump(exclude={"map", "phasing"}),
            "program": path,
            "threads": self.threads,
            "seed": self.seed,
            "contig": first.contig,
            "start": int(first.pos),
            "end": int(last.pos),
            "map": "genetic.map",
            **(values or {}),
        }
        if "{panel}" in text and self.about.panel:
            values["panel"] = _write(folder, "panel", self._panel.take_sites(sites), self.about.panel.form)
        if "{map}" in text:
            (folder / "genetic.map").write_text(self._map)
        about = self.about.program
        log = [f"# version: {_version(filled_in(about.version, {'program': path}), about.version_pattern)}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        try:
            for command in commands:
                spelled = filled_in(command, values)
                done = run_program(["sh", "-e", "-c", spelled], cwd=folder, env=environment)
                output = done.stdout + done.stderr
                log.append(f"{spelled}\n{output}")
                if done.returncode != 0:
                    raise InputError(
                        f"imputer {self.name}: {self.about.program.name} failed: {_cause(output, done.returncode)}"
                    )
        finally:
            self.logs.append("\n".join(log))

    def _require_made(self, path: Path) -> Path:
        """Return the path of a file that the commands should have made; InputError if it is missing."""
        if not path.is_file():
            raise InputError(
                f"imputer {self.name}: its commands made no file {path.name}; {path.name} is what its description names"
            )
        return path

    # ------------------------------------------------------------------ keeping

    def _save(self, folder: Path) -> None:
        (folder / DESCRIPTION).write_text(self.recipe)
        (folder / "program.log").write_text("\n".join(self.logs))
        (folder / "genetic.map").write_text(self._map)
        whole = self._panel.calls if self._panel.haplotypes is None else self._panel.haplotypes
        save_array(folder / "panel.npy", whole)
        for number, files in enumerate(self._kept_files):
            place = folder / "kept" / str(number)
            place.mkdir(parents=True)
            for name, content in files.items():
                (place / name).write_bytes(content)

    def _load(self, folder: Path) -> None:
        self.logs = [log for log in [(folder / "program.log").read_text()] if log]
        self._map = (folder / "genetic.map").read_text()
        whole = np.load(folder / "panel.npy", allow_pickle=False)
        calls, haplotypes = (whole, None) if whole.ndim == 2 else (whole.sum(axis=2, dtype=np.int8), whole)
        self._panel = GenotypeMatrix(calls, numbered_samples(p=len(calls)), self.sites, haplotypes)
        places = [folder / "kept" / str(number) for number in range(len(self._parts()))]
        self._kept_files = [
            {name: (place / name).read_bytes() for name in self.about.run.keep} for place in places if place.is_dir()
        ]


@functools.lru_cache
def described(name: str, text: str, where: str) -> type[External]:
    """Return the imputer class of a description.

    Args:
        name: name of the imputer.
        text: TOML of the description.
        where: its file, for messages.

    Raises:
        InputError: the description is wrong (says what is wrong and where).
    """
    about = parse_description(text, where)
    fields: dict[str, Any] = {key: (type(value), value) for key, value in about.params.items()}
    namespace: dict[str, Any] = {
        "__module__": __name__,
        "description": f"{'not tried by this project: ' if about.untried else ''}{about.description}",
        "about": about,
        "recipe": text,
        "needs_panel": about.panel is not None,
        "Params": create_model(f"{name}Params", __base__=ExternalParams, **fields),
        "variants": {"default": Variant()},
    }
    if about.panel is not None and about.panel.phased:
        namespace["fit_window"] = HAPLOTYPE_WINDOW
    if about.search:
        namespace["variants"] = {"default": Variant(), "tuned": Variant(tune=True)}
        namespace["search_space"] = classmethod(_search_space)
    cls = cast(type[External], type(name, (External,), namespace))
    cls.name = name
    return cls


def _search_space(cls: type[External], trial: Trial) -> Params:
    """Return parameters of a trial, within the ranges of the description."""
    params: dict[str, Any] = {}
    for name, limits in cls.about.search.items():
        if isinstance(cls.about.params[name], int):
            params[name] = trial.suggest_int(name, int(limits.low), int(limits.high), log=limits.log)
        else:
            params[name] = trial.suggest_float(name, limits.low, limits.high, log=limits.log)
    return cast(Params, cls.parse_params(params))


@functools.lru_cache
def _version(command: str, pattern: str) -> str:
    """Return the version in the output of a command, whatever its exit status; empty if there is none."""
    done = run_program(["sh", "-c", command])
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0].strip() if found else ""


def _cause(output: str, returncode: int) -> str:
    """Return the line that tells why a command failed: the last one that mentions an error, or the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    candidates = [line for line in lines if ERROR_LINE.search(line)] or lines
    return candidates[-1] if candidates else f"exit status {returncode}, no message"


# ---------------------------------------------------------------------- files


def _write(folder: Path, name: str, matrix: GenotypeMatrix, form: str) -> str:
    """Write a matrix in the form that the program wants; return the name that its commands use."""
    if form == "plink":
        write_bed(folder / f"{name}.bed", matrix)
        return name
    write_vcf(folder / f"{name}.vcf.gz", matrix, index=True)
    return f"{name}.vcf.gz"


def _map_text(path: Path | None, sites: pd.DataFrame) -> str:
    """Return a genetic map in PLINK format (contig, id, cM, position), one line for each position of `sites`."""
    genetic_map = GeneticMap() if path is None else GeneticMap.read(path)
    places = sites.drop_duplicates(["contig", "pos"])
    lines = []
    for contig, rows in places.groupby("contig", sort=False):
        cm = genetic_map.centimorgans(str(contig), rows["pos"].to_numpy())
        lines += [f"{contig} . {at:.9f} {pos}\n" for at, pos in zip(cm, rows["pos"], strict=True)]
    return "".join(lines)


def _read_vcf_answer(path: Path, field: str, written: GenotypeMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Read a FORMAT field of a VCF, plain or gzipped; see READERS."""
    place = {key: j for j, key in enumerate(site_keys(written.sites))}
    out = np.full((*written.calls.shape, 3), np.nan, dtype=np.float32)
    there = np.zeros(written.n_sites, dtype=bool)
    rows = np.arange(written.n_samples)
    opened = gzip.open if path.read_bytes()[:2] == b"\x1f\x8b" else open
    with opened(path, "rt") as handle:
        for line in handle:
            if line.startswith("##"):
                continue
            contig, pos, _, ref, alt, _, _, _, keys, *samples = line.rstrip("\n").split("\t")
            if line.startswith("#"):
                known = {name: i for i, name in enumerate(written.names)}
                rows = np.array([known.pop(name) for name in samples])
                if known:
                    raise ValueError(f"sample {next(iter(known))} is missing")
            elif (j := place.get(f"{contig}:{pos}:{ref}:{alt}")) is not None and field in keys.split(":"):
                which = keys.split(":").index(field)
                out[rows, j] = _parsed_posterior(field, [sample.split(":")[which] for sample in samples])
                there[j] = True
    return out, there


def _parsed_posterior(field: str, values: Sequence[str]) -> np.ndarray:
    """Return the posterior of one site from its values in a VCF, float64 (n, 3); NaN where missing."""
    if field == "GT":
        alleles = np.array([[text[0], text[-1]] if len(text) == 3 else [".", "."] for text in values])
        known = np.isin(alleles, ["0", "1"]).sum(axis=1) == 2
        return np.where(known[:, None], smoothed((alleles == "1").sum(axis=1)), np.nan)
    width = {"GP": 3, "HDS": 2, "DS": 1}[field]
    numbers = np.array([[_number(part) for part in _padded(text.split(","), width)] for text in values])
    if field == "GP":
        total = numbers.sum(axis=1, keepdims=True)
        return np.divide(numbers, total, out=np.full_like(numbers, np.nan), where=total > 0)
    if field == "HDS":
        a, b = numbers.T
        return np.stack([(1 - a) * (1 - b), a * (1 - b) + b * (1 - a), a * b], axis=1)
    return np.clip(1 - np.abs(numbers - np.arange(3)), 0, 1)


def _padded(parts: list[str], width: int) -> list[str]:
    """Return the numbers of a value, or as many points for a single point; ValueError for another length."""
    if len(parts) == width:
        return parts
    if parts == ["."]:
        return ["."] * width
    raise ValueError(f"{','.join(parts)!r} has not {width} numbers")


def _number(text: str) -> float:
    """Return a number, NaN for a point."""
    return np.nan if text == "." else float(text)


def _read_plink_answer(path: Path, field: str, written: GenotypeMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Read the calls of a PLINK 1 bed; see READERS."""
    from bed_reader import open_bed

    out = np.full((*written.calls.shape, 3), np.nan, dtype=np.float32)
    there = np.zeros(written.n_sites, dtype=bool)
    with open_bed(path) as bed:
        found = {name: i for i, name in enumerate(bed.iid)}
        rows = [found[name] for name in written.names]
        calls = bed.read(index=(rows, slice(None)), dtype="int8", order="C", num_threads=1)
        a1, a2 = bed.allele_1, bed.allele_2
        at = {f"{contig}:{pos}": j for j, (contig, pos) in enumerate(zip(bed.chromosome, bed.bp_position, strict=True))}
    for j, site in enumerate(written.sites.itertuples(index=False)):
        i = at.get(f"{site.contig}:{site.pos}")
        if i is None or {a1[i], a2[i]} - {site.ref, site.alt, "0"}:
            continue
        column = calls[:, i].astype(int)
        of_alt = column if site.alt == a1[i] or site.ref == a2[i] else 2 - column
        out[:, j] = np.where((column != BED_MISSING)[:, None], smoothed(of_alt), np.nan)
        there[j] = True
    return out, there


# Readers by form. Each takes the file, the field, and the target written for the program. It returns the posterior,
# float32 (n_samples, n_sites, 3), NaN for calls without a value, and the sites that the program gave, bool (n_sites,).
READERS: dict[str, Callable[[Path, str, GenotypeMatrix], tuple[np.ndarray, np.ndarray]]] = {
    "vcf": _read_vcf_answer,
    "plink": _read_plink_answer,
}
