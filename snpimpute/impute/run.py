"""Imputation of a user's file: check against the model, impute window by window, blend, and write one file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__, imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest, file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import save_array, write_text, written_beside
from snpimpute.base.processes import in_shares
from snpimpute.base.progress import Watch
from snpimpute.base.sources import source_digest
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS
from snpimpute.impute.check import check_target
from snpimpute.impute.findings import TargetCheck
from snpimpute.impute.matching import ALLELES, MULTIALLELIC, NOT_DIPLOID, OUTSIDE, SWAPPED, UNKNOWN, PanelSites
from snpimpute.impute.rows import Rows
from snpimpute.impute.steps import VARYING_FILE, WINDOWS_IMPUTED, impute_windows, imputed_file, load_window_posterior
from snpimpute.impute.windows import Window, WindowedModel, cut_by_sites, weights_in
from snpimpute.io.imputed import ImputedSites, ImputedWriter
from snpimpute.io.output import require_plink_names
from snpimpute.io.spool import empty_spool, spooled
from snpimpute.io.stream import files_of, streamed

NO_PANEL = "NOPANEL"
KEPT = {OUTSIDE: NO_PANEL, ALLELES: NO_PANEL, MULTIALLELIC: "", UNKNOWN: "", NOT_DIPLOID: ""}  # kind → INFO flag
STAND_FOR_THE_SITE = (NOT_DIPLOID, MULTIALLELIC, UNKNOWN)  # kinds of records that are kept in place of the panel's site


@dataclass(frozen=True)
class ImputeSettings:
    """Settings of `snpimpute impute`.

    Attributes:
        target: VCF, BCF or PLINK 1 file.
        output: file to write, its format by its suffix (see io.imputed); None = standard output.
        model: folder of a fitted model; None = impute from the target alone, by `imputer`.
        version: version of a model from the registry, for the header.
        trust: run the commands of a program's description that stands in the model's folder alone.
        imputer, params: without a model: an imputer that needs no panel, and its parameters.
        window: number of sites in a window, without a model.
        keep_fields: whether other INFO and FORMAT fields of the target are kept.
        seed: seed of every random choice.
        threads: processor threads.
        command: command line, for the header.
    """

    target: Path
    output: Path | None
    model: Path | None = None
    version: str = ""
    trust: bool = False
    imputer: str = "simpute"
    params: Mapping[str, Any] = field(default_factory=dict)
    window: int = 500
    keep_fields: bool = False
    seed: int = 1
    threads: int = 1
    command: str = "snpimpute impute"


@dataclass(frozen=True)
class Outcome:
    """Result of an imputation.

    Attributes:
        case: "sporadic" (missing calls at the target's own sites only) or "array to sequence" (sites the target lacks).
        check: check of the target against the model.
        n_samples: number of samples in the target.
        n_sites: number of sites written with GT, DS and GP.
        n_new_sites: number of these that the target lacks.
        n_holes: number of missing calls at the target's own sites, all imputed.
        n_passed: number of records kept unchanged.
        n_left_out: number of records of the target that are not in the output.
        left_out_list: table of these beside the output (contig, pos, id, ref, alt, reason, explanation); None if there
            are none, or if the output is standard output.
    """

    case: str
    check: TargetCheck
    n_samples: int
    n_sites: int
    n_new_sites: int
    n_holes: int
    n_passed: int
    n_left_out: int
    left_out_list: Path | None = None

    def summary_lines(self) -> list[str]:
        """Return the result as lines of text for the user."""
        lines = [
            f"{self.case}: {self.n_samples} samples, {self.n_sites} sites written, {self.n_new_sites} of them not in the "
            f"target, {self.n_holes} missing calls at its own sites imputed"
        ]
        if swapped := self.check.counts.get("swapped", int((self.check.sites.kind == SWAPPED).sum())):
            lines.append(f"{swapped} sites had REF and ALT exchanged: repaired")
        if self.n_passed:
            lines.append(
                f"{self.n_passed} records kept unchanged: not a site of the panel, with several ALTs, or not diploid"
            )
        if self.n_left_out:
            where = f", listed in {self.left_out_list}" if self.left_out_list else ""
            lines.append(f"{self.n_left_out} records left out: on the other strand, or repeating a site{where}")
        return lines


def impute_file(settings: ImputeSettings, runs: Path, watch: Watch | None = None) -> Outcome:
    """Impute a file; a killed run is resumed at the window where it stopped.

    Args:
        settings: see ImputeSettings.
        runs: folder for the posteriors of windows until the output is complete.
        watch: receives the progress and the check's warnings.

    Raises:
        InputError: the target cannot be imputed with the model (gives the reason), the output cannot be written, or the
            imputer failed.
    """
    watch = watch or Watch()
    if settings.output is not None and settings.output.exists() and settings.output.samefile(settings.target):
        raise InputError(f"{settings.output} is the target itself, which is not overwritten: give another name with -o")
    model = None if settings.model is None else WindowedModel.verified(settings.model, trust=settings.trust)
    if model is None:
        _require_no_panel(settings)
        panel = PanelSites.of_file(settings.target)
        varying, n_panel = np.arange(len(panel.sites)), 0
    else:
        of_model, table = f"model {model.about['name']}", model.table
        panel = PanelSites(table[list(SITE_COLUMNS)], table["alt_frequency"].to_numpy(float), of_model)
        varying, n_panel = np.flatnonzero(table["varies"]), int(model.about.get("n_samples", 0))
    rows = Rows(panel.sites, varying, panel.alt_frequency, n_panel)
    watch.stage(f"check {settings.target.name}")
    check = check_target(settings.target, panel)
    check.require_imputable()
    require_plink_names(settings.output, check.samples["sample"].tolist())
    for warning in check.warnings:
        watch.warn(warning)
    windows = cut_by_sites(panel.sites, settings.window) if model is None else model.windows
    work = runs / "impute" / _work_digest(settings, model)[:16]
    with made_alone(work, watch):
        numbers = _lay_out_target(settings, model, check, rows, windows, work)
        typed = np.isin(rows.varying, check.sites["panel_index"])
        if empty := sum(not typed[windows[n].sites].any() for n in numbers):
            watch.warn(
                f"no site of the target in {empty} of {len(numbers)} windows: their sites get the panel's frequencies, with a DR2 near 0"
            )

        watch.stage(f"impute {settings.target.name} in {len(numbers)} windows")
        in_shares(
            impute_windows,
            work,
            numbers,
            lambda n: imputed_file(work, n).exists(),
            settings.threads,
            watch,
            most=WINDOWS_IMPUTED,
        )
        watch.stage("write")
        outcome = _write(settings, model, check, rows, windows, work, watch)
        if outcome.n_left_out and settings.output is not None:
            listed = settings.output.with_name(f"{settings.output.name}.left-out.tsv")
            excluded = check.excluded[~check.excluded["reason"].isin(KEPT)]
            write_text(listed, excluded.to_csv(sep="\t", index=False))
            outcome = replace(outcome, left_out_list=listed)
        shutil.rmtree(work)
    return outcome


def _require_no_panel(settings: ImputeSettings) -> None:
    cls = imputers.load(settings.imputer)
    if cls(cls.parse_params(settings.params)).needs_panel:
        without = [name for name in imputers.names() if not imputers.load(name).needs_panel]
        raise InputError(
            f"imputer {settings.imputer} learns from a reference panel: fit a model, or choose one that needs none "
            f"({', '.join(without)}; beagle with mode=joint)"
        )


def _work_digest(settings: ImputeSettings, model: WindowedModel | None) -> str:
    contents = [file_digest(path) if path.is_file() else "" for path in files_of(settings.target)]
    alone = [settings.imputer, dict(settings.params), settings.window, settings.seed]
    cls = imputers.load(settings.imputer) if model is None else model.imputer_class
    code = source_digest("snpimpute.impute.steps", without=imputers.DISCOVERY)
    return digest([contents, alone if model is None else model.about, code, imputers.decided_by(cls)])


# ---------------------------------------------------------------------- the target's calls at the model's sites


def _lay_out_target(
    settings: ImputeSettings,
    model: WindowedModel | None,
    check: TargetCheck,
    rows: Rows,
    windows: list[Window],
    work: Path,
) -> list[int]:
    """Write the files that the windows' processes read; return the numbers of the windows on the target's contigs."""
    if not (work / "target").exists():
        with written_beside(work / "target") as beside:
            beside.mkdir()
            calls = empty_spool(beside, pd.DataFrame({"sample": check.samples["sample"]}), rows.sites)
            save_array(beside / VARYING_FILE, rows.varying)
            usable = check.sites["panel_index"].to_numpy()
            swapped = (check.sites["kind"] == SWAPPED).to_numpy()
            with streamed(settings.target) as (stream,):
                for number, record in enumerate(stream.records):
                    if usable[number] >= 0:
                        observed = record.calls
                        turned = np.where(observed != MISSING, 2 - observed, observed) if swapped[number] else observed
                        calls[usable[number]] = turned
            calls.flush()
    plan = {
        "model": None if model is None else str(model.folder.absolute()),
        "trust": settings.trust,
        "imputer": settings.imputer,
        "params": dict(settings.params),
        "seed": settings.seed,
        "windows": [[w.contig, w.start, w.stop] for w in windows],
    }
    write_text(work / "plan.json", json.dumps(plan) + "\n")
    there = set(check.contigs.values())
    return [number for number, window in enumerate(windows) if window.contig in there]


def blend_windows(windows: list[Window], contig: str, work: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the blended posterior of a contig in blocks of sites.

    Each block is the number of its first site, and float32 (2, n_sites, n_samples) for genotypes 1 and 2.
    """
    first, held = 0, np.zeros((2, 0, 0), dtype=np.float32)
    for number, window in enumerate(windows):
        if window.contig != contig:
            continue
        posterior = load_window_posterior(imputed_file(work, number))
        posterior *= weights_in(windows, number)[:, None]
        done = window.start - first  # the number of held sites that no later window covers
        if held.shape[1] and done > 0:
            yield first, held[:, :done]
        rest = held[:, done:] if held.shape[1] else held
        if rest.size:
            posterior[:, : rest.shape[1]] += rest
        first, held = window.start, posterior
    if held.shape[1]:
        yield first, held


# ---------------------------------------------------------------------- the output


def _write(
    settings: ImputeSettings,
    model: WindowedModel | None,
    check: TargetCheck,
    rows: Rows,
    windows: list[Window],
    work: Path,
    watch: Watch,
) -> Outcome:
    target = spooled(work / "target")
    contigs = list(dict.fromkeys(check.sites["contig"]))
    wanted = {check.contigs[contig] for contig in contigs if contig in check.contigs}
    on_wanted = target.sites["contig"].isin(wanted).to_numpy()
    n_usable = int((check.sites["panel_index"] >= 0).sum())
    passed_through = _passed_through_sites(check, target.n_sites)
    n_sites = int((on_wanted & ~passed_through).sum())
    case = "array to sequence" if n_sites > n_usable else "sporadic"
    version = f" version {settings.version}" if settings.version else ""
    about = {
        "command": settings.command,
        "version": __version__,
        "model": settings.imputer if model is None else f"{model.about['name']}{version} ({model.about['imputer']})",
        "data_digest": "" if model is None else model.about["panel_digest"],
    }
    n_holes = n_passed = n_left_out = 0
    with streamed(settings.target, lines=True) as (stream,):
        writer = ImputedWriter(
            settings.output,
            stream.header,
            stream.names,
            contigs=contigs,
            flags={NO_PANEL: "The model has no such site: the record is unchanged"},
            about={key: value for key, value in about.items() if value},
            keep_fields=settings.keep_fields,
            flag_imputed=True,
            threads=settings.threads,
            fam=stream.fam,
        )
        with writer:
            found_records = zip(check.sites.itertuples(), stream.records, strict=True)
            waiting = next(found_records, None)
            written = 0
            for contig in contigs:
                there = check.contigs.get(contig)
                blended = () if there is None else blend_windows(windows, there, work)
                parts = () if there is None else rows.parts(there, blended, target.n_samples)
                for part, of_varying in parts:
                    piece = target.take_sites(part)
                    posterior = rows.posterior(part, of_varying, piece.calls.T)
                    last = int(piece.sites["pos"].iloc[-1])
                    lines: dict[int, tuple[str, bool]] = {}
                    passed: list[tuple[int, str, str]] = []
                    while waiting is not None and waiting[0].contig == contig and waiting[0].pos <= last:
                        found, record = waiting
                        if found.panel_index >= 0:
                            lines[found.panel_index - part.start] = (record.line, found.kind == SWAPPED)
                        elif found.kind in KEPT:
                            passed.append((found.pos, record.line, KEPT[found.kind]))
                        else:
                            n_left_out += 1
                        waiting = next(found_records, None)
                    n_passed += len(passed)
                    n_holes += int((piece.calls[:, sorted(lines)] == MISSING).sum())
                    block = _block(piece, contig, posterior, lines)
                    if passed_through[part].any():
                        block = _take_sites(block, np.flatnonzero(~passed_through[part]))
                    _write_merged(writer, block, passed)
                    written += len(block.sites)
                    watch.progress(written, n_sites)
                while waiting is not None and waiting[0].contig == contig:
                    found, record = waiting
                    if found.kind in KEPT:
                        writer.pass_through(record.line, KEPT[found.kind])
                        n_passed += 1
                    else:
                        n_left_out += 1
                    waiting = next(found_records, None)
    return Outcome(case, check, target.n_samples, n_sites, n_sites - n_usable, n_holes, n_passed, n_left_out)


def _passed_through_sites(check: TargetCheck, n_sites: int) -> np.ndarray:
    """Return bool (n_sites,): sites of the model whose record in the target cannot be used (not diploid, several ALTs).

    That record is passed through, so no second record of the site may be written.
    """
    passed_through = np.zeros(n_sites, dtype=bool)
    sites = check.sites
    passed_through[sites["panel_site"][sites["kind"].isin(STAND_FOR_THE_SITE) & (sites["panel_site"] >= 0)]] = True
    passed_through[sites["panel_index"][sites["panel_index"] >= 0]] = False
    return passed_through


def _block(piece: Any, contig: str, posterior: np.ndarray, lines: dict[int, tuple[str, bool]]) -> ImputedSites:
    """Return sites in the form of the writer; observed calls get probability 1, which the blend may have rounded."""
    n = piece.n_sites
    observed = np.asarray(piece.calls).T
    probabilities = np.concatenate([np.maximum(1 - posterior[:1] - posterior[1:], 0), posterior])
    for genotype, plane in enumerate(probabilities):
        np.copyto(plane, observed == genotype, where=observed != MISSING)
    return ImputedSites(
        sites=piece.sites.assign(contig=contig).reset_index(drop=True),
        posterior=probabilities.transpose(2, 1, 0),
        observed=observed.T,
        records=[lines[i][0] if i in lines else None for i in range(n)],
        swapped=np.array([i in lines and lines[i][1] for i in range(n)]),
    )


def _write_merged(writer: ImputedWriter, block: ImputedSites, passed: list[tuple[int, str, str]]) -> None:
    """Write a block's sites and the records that are passed through, in order of position."""
    pos = block.sites["pos"].to_numpy()
    start = 0
    for at, line, flag in passed:
        stop = int(np.searchsorted(pos, at, side="right"))
        if stop > start:
            writer.write(_take_sites(block, slice(start, stop)))
            start = stop
        writer.pass_through(line, flag)
    if start < len(pos):
        writer.write(_take_sites(block, slice(start, len(pos))))


def _take_sites(block: ImputedSites, part: slice | np.ndarray) -> ImputedSites:
    return ImputedSites(
        sites=block.sites.iloc[part].reset_index(drop=True),
        posterior=block.posterior[:, part],
        observed=block.observed[:, part],
        records=np.array(block.records, dtype=object)[part].tolist(),
        swapped=block.swapped[part],
    )
