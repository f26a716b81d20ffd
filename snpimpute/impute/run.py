"""Imputation of a user's file: check against the model, impute window by window, blend, and write one file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__, imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.files import require_writable, write_text, written_beside
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.sources import source_digest
from snpimpute.base.steps import in_shares
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.asked import ImputeSettings, joint_draws, require_handled, require_no_panel, require_output
from snpimpute.impute.check import check_target
from snpimpute.impute.draws import draw_name, drawn_genotypes, drawn_windows, draws_folder
from snpimpute.impute.export import engine_of, verified_model
from snpimpute.impute.findings import TargetCheck
from snpimpute.impute.hidden import hidden_file, hidden_lines, hidden_quality, sample_rows
from snpimpute.impute.layout import lay_out_target
from snpimpute.impute.matching import ALLELES, MULTIALLELIC, NOT_DIPLOID, OUTSIDE, SWAPPED, UNKNOWN, USABLE, PanelSites
from snpimpute.impute.phased import join_windows
from snpimpute.impute.pieces import to_impute
from snpimpute.impute.ploidy import as_haploid, haploid_calls
from snpimpute.impute.quality import SampleQuality, quality_lines
from snpimpute.impute.rows import Rows
from snpimpute.impute.steps import impute_windows, imputed_file, load_window_posterior
from snpimpute.impute.windows import Window, WindowedModel, cut_by_sites, weights_in
from snpimpute.io.imputed import ImputedSites, ImputedWriter
from snpimpute.io.joined import JoinedSite, joined_line
from snpimpute.io.output import require_plink_names, tables_beside
from snpimpute.io.records import NO_CALL, PHASED, Record
from snpimpute.io.spool import spooled
from snpimpute.io.stream import contents_of, streamed

NO_PANEL = "NOPANEL"
KEPT = {OUTSIDE: NO_PANEL, ALLELES: NO_PANEL, MULTIALLELIC: "", UNKNOWN: "", NOT_DIPLOID: ""}  # kind → INFO flag
STAND_FOR_THE_SITE = (NOT_DIPLOID, MULTIALLELIC)  # kinds of records that are kept in place of the panel's site


@dataclass(frozen=True)
class Outcome:
    """Result of an imputation.

    Attributes:
        case: "sporadic" (missing calls at the target's own sites only) or "array to sequence" (sites the target lacks).
        check: check of the target against the model.
        model: name and version of the model with its imputer, or the imputer alone.
        output: the file that was written; None = standard output.
        n_samples: number of samples in the target.
        n_sites: number of sites written with GT, DS and GP.
        n_new_sites: number of these that the target lacks.
        n_holes: number of missing calls at the target's own sites, all imputed.
        n_passed: number of records kept unchanged.
        n_left_out: number of records of the target that are not in the output.
        left_out_list: table of these beside the output; None if there are none, or the output is standard output.
        use: FORMAT field of the likelihoods that calls were imputed from; None = from calls.
        expected_r2: of each sample's imputed dosages, None where none was imputed; see quality.SampleQuality.
        hidden: how well typed calls came back that were hidden on purpose, see hidden.hidden_quality; None = none were.
        draws: folder of the imputed data sets that were drawn; None = none were.
        n_draws: their number.
        drawn_jointly: whether neighbouring sites of a draw belong together, or each call was drawn by itself.
        samples_table: table of `expected_r2` and `hidden` beside the output; None without `hidden`, or for standard output.
    """

    case: str
    check: TargetCheck
    model: str
    output: Path | None
    n_samples: int
    n_sites: int
    n_new_sites: int
    n_holes: int
    n_passed: int
    n_left_out: int
    left_out_list: Path | None = None
    use: str | None = None
    expected_r2: dict[str, float | None] = field(default_factory=dict)
    hidden: dict[str, Any] | None = None
    samples_table: Path | None = None
    draws: Path | None = None
    n_draws: int = 0
    drawn_jointly: bool = False

    def summary_lines(self) -> list[str]:
        """Return the result as lines of text for the user."""
        lines = [
            f"model: {self.model}",
            f"{self.case}: {self.n_samples} samples, {self.n_sites} sites written, {self.n_new_sites} of them not in the "
            f"target, {self.n_holes} {'calls at its own sites imputed from ' + self.use if self.use else 'missing calls at its own sites imputed'}",
        ]
        if swapped := self.check.counts.get("swapped", int((self.check.sites.kind == SWAPPED).sum())):
            lines.append(f"{swapped} sites had REF and ALT exchanged: repaired")
        if self.n_passed:
            lines.append(
                f"{self.n_passed} records kept unchanged: not a site of the panel, or with calls of more than two alleles"
            )
        if self.n_left_out:
            where = f", listed in {self.left_out_list}" if self.left_out_list else ""
            lines.append(f"{self.n_left_out} records left out: on the other strand, or repeating a site{where}")
        lines += quality_lines(self.expected_r2)
        if self.hidden is not None:
            lines += hidden_lines(self.hidden)
        if self.draws is not None:
            how = (
                "haplotypes jointly along each window"
                if self.drawn_jointly
                else "each call by itself, as this imputer draws no haplotypes"
            )
            lines.append(f"{numbered(self.n_draws, 'draw')} from the posterior ({how}): {self.draws}")
        if self.samples_table is not None:
            lines.append(f"by sample: {self.samples_table}")
        return [*lines, f"written: {self.output or 'standard output'}"]


def impute_file(settings: ImputeSettings, runs: Path, watch: Watch | None = None, engine: Engine = HERE) -> Outcome:
    """Impute a file; a killed run is resumed at the window where it stopped.

    Args:
        settings: see ImputeSettings.
        runs: folder for the posteriors of windows until the output is complete.
        watch: receives the progress and the check's warnings.
        engine: where windows are imputed.

    Raises:
        InputError: the target cannot be imputed with the model (gives the reason), the output cannot be written, or the
            imputer failed.
    """
    watch = watch or Watch()
    require_writable(runs)
    require_output(settings)
    model = None if settings.model is None else verified_model(settings.model, settings.trust)
    require_handled(settings, model)
    if model is None:
        require_no_panel(settings)
        panel = replace(PanelSites.of_file(settings.target), samples=frozenset())  # each is in its own panel
        varying, n_panel = np.arange(len(panel.sites)), 0
    else:
        panel = model.panel_sites()
        varying, n_panel = np.flatnonzero(model.table["varies"]), int(model.about.get("n_samples", 0))
    watch.stage(f"check {settings.target.name}")
    check = check_target(settings.target, panel, use=settings.use)
    check.require_imputable()
    rows = Rows.of(panel, check, varying, n_panel)
    require_plink_names(settings.output, check.samples["sample"].tolist())
    for warning in check.warnings:
        watch.warn(warning)
    if settings.use is not None and (n := check.counts["without_alt"]):
        watch.warn(f"records without an ALT, whose {settings.use} says nothing of the panel's: {n:,} not used")
    jointly = joint_draws(settings, model) > 0
    windows = cut_by_sites(panel.sites, settings.window) if model is None else model.windows
    work = runs / "impute" / _work_digest(settings, model)[:16]
    with made_alone(work, watch):
        numbers = lay_out_target(settings, model, check, rows, windows, work)
        typed = np.isin(rows.varying, rows.of_target)
        if empty := sum(not typed[windows[n].sites].any() for n in numbers):
            watch.warn(
                f"no site of the target in {empty} of {len(numbers)} windows: their sites get the panel's frequencies, with a DR2 near 0"
            )

        watch.stage(f"impute {settings.target.name} in {numbered(len(numbers), 'window')}")
        cls = imputers.load(settings.imputer) if model is None else model.imputer_class
        pieces = to_impute(
            work,
            cls,
            windows,
            rows.varying,
            len(check.samples),
            phased=settings.phased,
            hides=settings.hide > 0,
            draws=jointly,
        )
        in_shares(impute_windows, work, numbers, pieces, settings.threads, watch, engine)
        watch.stage("write")
        phase = None
        if settings.phased:
            phase = join_windows(windows, work, rows.sites, rows.varying, len(check.samples))
        with ExitStack() as stack:
            if settings.draws and settings.output is not None:
                folder = stack.enter_context(written_beside(draws_folder(settings.output)))
                folder.mkdir()
                for draw in range(1, settings.draws + 1):
                    to = folder / draw_name(settings.output, draw)
                    _write(settings, to, model, check, rows, windows, work, None, Watch(), draw)
                    watch.progress(draw, settings.draws)
            outcome = _write(settings, settings.output, model, check, rows, windows, work, phase, watch)
        if settings.output is not None:  # tables beside a file that was there before
            for table in tables_beside(settings.output):
                table.unlink(missing_ok=True)
        if outcome.n_left_out and settings.output is not None:
            listed, _ = tables_beside(settings.output)
            left_out = (rows.of_target < 0) & ~check.sites["kind"].isin(KEPT).to_numpy()
            excluded = check.excluded[left_out[~check.usable]]
            write_text(listed, excluded.to_csv(sep="\t", index=False))
            outcome = replace(outcome, left_out_list=listed)
        if settings.draws and settings.output is not None:
            outcome = replace(
                outcome, draws=draws_folder(settings.output), n_draws=settings.draws, drawn_jointly=jointly
            )
        if settings.hide:
            target = spooled(work / "target")
            ploidy = haploid_calls(work / "target", target.calls.T.shape)
            hidden = hidden_quality((hidden_file(work, number) for number in numbers), target, ploidy)
            outcome = replace(outcome, hidden=hidden)
            if settings.output is not None:
                _, table = tables_beside(settings.output)
                write_text(table, sample_rows(target.names, outcome.expected_r2, hidden))
                outcome = replace(outcome, samples_table=table)
        shutil.rmtree(work)
    return outcome


def _work_digest(settings: ImputeSettings, model: WindowedModel | None) -> str:
    contents = contents_of(settings.target)
    alone = [settings.imputer, dict(settings.params), settings.window, settings.seed]
    use = [settings.use or "GT", settings.phased, [settings.hide, settings.seed] if settings.hide else 0]
    use += [[settings.draws, settings.seed] if joint_draws(settings, model) else 0]
    cls = imputers.load(settings.imputer) if model is None else model.imputer_class
    code = source_digest("snpimpute.impute.steps", without=imputers.DISCOVERY)
    return digest([contents, use, alone if model is None else model.about, code, imputers.decided_by(cls)])


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
    output: Path | None,
    model: WindowedModel | None,
    check: TargetCheck,
    rows: Rows,
    windows: list[Window],
    work: Path,
    phase: np.ndarray | None,
    watch: Watch,
    draw: int = 0,
) -> Outcome:
    """Write the imputed file, or one draw from its posterior.

    Args:
        settings, model, check, rows, windows, work, watch: of the imputation.
        output: the file; None = standard output.
        phase: as `join_windows` gives it; None = calls are written unphased.
        draw: number of the draw; 0 = the posterior itself.
    """
    rng, jointly = np.random.default_rng([settings.seed, draw]), joint_draws(settings, model) > 0
    target = spooled(work / "target")
    ploidy = haploid_calls(work / "target", target.calls.T.shape)
    contigs = list(dict.fromkeys(check.sites["contig"]))
    wanted = {check.contigs[contig] for contig in contigs if contig in check.contigs}
    on_wanted = target.sites["contig"].isin(wanted).to_numpy()
    own = _own_records(check, rows)
    n_usable = int(own["used"].sum())
    passed_through = _passed_through_sites(check, rows)
    written_rows = on_wanted & ~passed_through
    n_groups = sum(bool(written_rows[members[0]]) for members in rows.groups)
    n_sites = int((written_rows & (rows.group < 0)).sum()) + n_groups
    case = "array to sequence" if n_sites > n_usable else "sporadic"
    version = f" version {settings.version}" if settings.version else ""
    about = {
        "command": settings.command,
        "version": __version__,
        "model": settings.imputer if model is None else f"{model.about['name']}{version} ({model.about['imputer']})",
        "engine": "" if model is None else engine_of(model),
        "data_digest": "" if model is None else model.about["panel_digest"],
    }
    n_holes = n_passed = n_left_out = 0
    quality = SampleQuality(target.names)
    with streamed(settings.target, lines=True, likelihoods=settings.use, observed=True) as (stream,):
        writer = ImputedWriter(
            output,
            stream.header,
            stream.names,
            contigs=contigs,
            flags={NO_PANEL: "The model has no such site: the record is unchanged"},
            about={key: value for key, value in about.items() if value},
            keep_fields=settings.keep_fields,
            flag_imputed=True,
            phased=settings.phased and not draw,
            drawn=draw > 0,
            threads=settings.threads,
            fam=stream.fam,
        )
        with writer:
            records = stream.records if settings.use is None else map(_without_calls, stream.records)
            found_records = zip(own.itertuples(), records, strict=True)
            waiting = next(found_records, None)
            written = 0
            for contig in contigs:
                there = check.contigs.get(contig)
                blended: Iterable[tuple[int, np.ndarray]] = ()
                if there is not None and draw and jointly:
                    blended = drawn_windows(windows, there, work, draw, target.n_samples)
                elif there is not None:
                    blended = blend_windows(windows, there, work)
                parts = () if there is None else rows.parts(there, blended, target.n_samples)
                for part, of_varying in parts:
                    piece = target.take_sites(part)
                    posterior = rows.posterior(part, of_varying, piece.calls.T)
                    last = int(piece.sites["pos"].iloc[-1])
                    haploid = rows.haploid_calls(part, ploidy)
                    posterior = posterior if haploid is None else as_haploid(posterior, haploid)
                    if draw:
                        posterior = drawn_genotypes(posterior, rng)
                    else:
                        quality.add(posterior, np.where(passed_through[part][:, None], 0, piece.calls.T))
                    lines: dict[int, tuple[str, bool]] = {}
                    passed: list[tuple[int, str, str]] = []
                    own_groups: dict[int, Record] = {}
                    own_records: dict[int, Record] = {}
                    while waiting is not None and waiting[0].contig == contig and waiting[0].pos <= last:
                        found, record = waiting
                        if found.Index in rows.group_of:
                            own_groups[rows.group_of[found.Index]] = record
                        elif found.used:
                            lines[found.row - part.start] = (record.line, found.kind == SWAPPED)
                            own_records[found.row - part.start] = record
                        elif found.kind in KEPT:
                            passed.append((found.pos, record.line, KEPT[found.kind]))
                        else:
                            n_left_out += 1
                        waiting = next(found_records, None)
                    n_passed += len(passed)
                    typed = [*sorted(lines), *(rows.groups[each][0] - part.start for each in own_groups)]
                    n_holes += int((piece.calls[:, typed] == MISSING).sum())
                    block = _block(piece, contig, posterior, lines, None if phase is None else phase[part].T)
                    others = [(pos, partial(writer.pass_through, line, flag)) for pos, line, flag in passed]
                    joined, alone = rows.joined(part, ~passed_through[part], haploid)
                    for members, group in joined:
                        one = None if haploid is None else haploid[members[0]]
                        own_record = own_groups.get(group) if group >= 0 else own_records.get(int(members[0]))
                        joined_site = join_rows(_take_sites(block, members), own_record, one)
                        line = joined_line(
                            joined_site, settings.keep_fields, writer.ties_lean, writer.per_allele, draw > 0
                        )
                        others.append((joined_site.pos, partial(writer.pass_through, line, own=True)))
                    written += len(joined)
                    block = block if len(alone) == len(block.sites) else _take_sites(block, alone)
                    _write_merged(writer, block, sorted(others, key=itemgetter(0)))
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
    return Outcome(
        case,
        check,
        about["model"],
        output,
        target.n_samples,
        n_sites,
        n_sites - n_usable,
        n_holes,
        n_passed,
        n_left_out,
        use=settings.use,
        expected_r2=quality.by_sample(),
    )


def _without_calls(record: Record) -> Record:
    """Return a record whose calls are all imputed, because its likelihoods were used in their place."""
    return replace(record, alleles=np.full_like(record.alleles, MISSING), kinds=np.full_like(record.kinds, NO_CALL))


def _own_records(check: TargetCheck, rows: Rows) -> pd.DataFrame:
    """Return a row per record of the target: contig, pos, `used`, and of its first site that is used, or else kept, kind and row."""
    sites = check.sites[["contig", "pos", "record", "kind"]].assign(row=rows.of_target)
    preferred = np.select([sites["kind"].isin(USABLE), sites["row"] >= 0, sites["kind"].isin(KEPT)], [0, 1, 2], 3)
    first = sites.iloc[np.lexsort([preferred, sites["record"]])].drop_duplicates("record").set_index("record")
    return first.assign(used=first["row"] >= 0)


def _passed_through_sites(check: TargetCheck, rows: Rows) -> np.ndarray:
    """Return bool (n_rows,): sites of the model whose record in the target cannot be used (not diploid, REF and ALTs exchanged).

    That record is passed through, so no second record of the site may be written.
    """
    passed_through = np.zeros(len(rows.sites), dtype=bool)
    sites = check.sites
    stands = sites["kind"].isin(STAND_FOR_THE_SITE) & (sites["panel_site"] >= 0)
    passed_through[rows.of_panel[sites["panel_site"][stands]]] = True
    passed_through[rows.of_target[rows.of_target >= 0]] = False
    for members in rows.groups:
        passed_through[members] = passed_through[members].any()
    passed_through[np.isin(rows.group, list(rows.group_of.values()))] = False
    return passed_through


def _block(
    piece: Any, contig: str, posterior: np.ndarray, lines: dict[int, tuple[str, bool]], first: np.ndarray | None
) -> ImputedSites:
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
        first=first,
    )


def _write_merged(writer: ImputedWriter, block: ImputedSites, others: list[tuple[int, Callable[[], None]]]) -> None:
    """Write a block's sites and other records, each by its position and what writes it, in order of position."""
    pos = block.sites["pos"].to_numpy()
    start = 0
    for at, write_other in others:
        stop = int(np.searchsorted(pos, at, side="right"))
        if stop > start:
            writer.write(_take_sites(block, slice(start, stop)))
            start = stop
        write_other()
    if start < len(pos):
        writer.write(_take_sites(block, slice(start, len(pos))))


def join_rows(rows: ImputedSites, record: Record | None, haploid: np.ndarray | None = None) -> JoinedSite:
    """Return a record with several ALTs, or with haploid calls.

    Args:
        rows: the sites of its ALTs, in order.
        record: the target's record, None = it has none.
        haploid: bool (n_samples,), calls that are haploid; None = none is.
    """
    ref, alts = str(rows.sites["ref"].iloc[0]), rows.sites["alt"].tolist()
    n_samples = len(rows.observed)
    alleles, phased, same = np.full((n_samples, 2), MISSING, dtype=np.int8), np.zeros(n_samples, dtype=bool), False
    if record is not None:
        own = [record.ref, *record.alts]
        numbers = np.array([[ref, *alts].index(text) if text in (ref, *alts) else MISSING for text in own])
        known = record.calls != MISSING
        alleles[known] = numbers[np.where(record.alleles < 0, record.alleles[:, :1], record.alleles)[known]]
        phased, same = record.kinds == PHASED, own == [ref, *alts]
    first = rows.sites.iloc[0]
    return JoinedSite(
        str(first.contig), int(first.pos), str(first.id), ref, alts, rows.posterior.transpose(1, 2, 0),
        alleles, phased, None if record is None else record.line, same, haploid,
        None if rows.first is None else rows.first.T,
    )  # fmt: skip


def _take_sites(block: ImputedSites, part: slice | np.ndarray) -> ImputedSites:
    return ImputedSites(
        sites=block.sites.iloc[part].reset_index(drop=True),
        posterior=block.posterior[:, part],
        observed=block.observed[:, part],
        records=np.array(block.records, dtype=object)[part].tolist(),
        swapped=block.swapped[part],
        first=None if block.first is None else block.first[:, part],
    )
