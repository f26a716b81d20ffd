"""Passes over whole files, cell by cell: cells are stretches of a contig, counted on the workers of a cluster and joined in order."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text, written_beside
from snpimpute.base.folders import Part
from snpimpute.base.processes import Engine, say_progress
from snpimpute.base.progress import Watch
from snpimpute.base.steps import Pieces, in_shares
from snpimpute.impute.pairing import ranks_of
from snpimpute.io.apart import INDEXES, contig_ends, parts_at
from snpimpute.io.builds import plain_contig
from snpimpute.io.filters import NoGenotypes
from snpimpute.io.records import Record, Stream
from snpimpute.io.stream import files_of, streamed

CELL = 5_000_000  # positions
CELLS_PER_PROCESS = 20
PLAN = "plan.json"


@dataclass(frozen=True)
class Cell:
    """Stretch of a contig.

    Attributes:
        contigs: what each file calls the contig; None where it has no record of it.
        number: number of the cell on the contig, from 0.
    """

    contigs: tuple[str | None, ...]
    number: int

    def regions(self, last: Cell) -> list[str | None]:
        """Return, for each file, the region from this cell to a later one of the same contig; None where it has no record."""
        first, end = self.number * CELL + 1, (last.number + 1) * CELL
        return [None if contig is None else f"{contig}:{first}-{end}" for contig in self.contigs]


def cell_of(pos: int) -> int:
    """Return the number of the cell on its contig that a position lies in."""
    return (pos - 1) // CELL


def cut(paths: Sequence[Path], watch: Watch) -> list[Cell]:
    """Return the cells of all contigs of some files, in an order that all follow; none where a file cannot be read apart.

    Args:
        paths: the files.
        watch: is told which file is in the way.

    Raises:
        InputError: the files' contigs come in different orders, or see `apart.contig_ends`.
    """
    found = []
    for path in paths:
        ends = contig_ends(path)
        if isinstance(ends, str):
            watch.note(f"{ends}: it is read here, in one pass, and not on the cluster")
            return []
        found.append(ends)
    ranks = ranks_of([(path.name, list(ends)) for path, ends in zip(paths, found, strict=True)])
    own = [{plain_contig(contig): contig for contig in ends} for ends in found]
    cells = []
    for contig in sorted(ranks, key=ranks.__getitem__):
        names = tuple(of_file.get(contig) for of_file in own)
        last = max(ends[name] for ends, name in zip(found, names, strict=True) if name is not None)
        cells += [Cell(names, number) for number in range(cell_of(last) + 1)]
    return cells


@dataclass(frozen=True)
class Heard:
    """What was noticed of a file while some of its cells were read.

    Attributes:
        lacking: what its records lack; empty if nothing, None if there were none.
        notes: notes of the stream.
        marked: number of calls marked as imputed.
    """

    lacking: str | None
    notes: frozenset[str]
    marked: int


def counted(
    function: Callable[[Path, list[int]], None],
    streams: Sequence[Stream],
    cells: Sequence[Cell],
    asked: dict[str, Any],
    watch: Watch,
    engine: Engine,
    beside: Sequence[Path] = (),
) -> Iterator[Any]:
    """Count all cells on an engine, and yield what was counted of each that has records, in order.

    Args:
        function: called as function(home=…, numbers=…), which calls `count_cells`.
        streams: the files, opened and not read; their notes are those of all cells in the end.
        cells: the cells, from `cut`.
        asked: what the function is to know, which JSON can hold.
        watch: receives the number of cells done.
        engine: where they are counted.
        beside: further files, whose paths the function gets after those of the streams.

    Raises:
        InputError: a file cannot be read, or has no genotypes.
    """
    paths = [*(stream.path for stream in streams), *beside]
    with work_folder("cells") as home:
        for number, path in enumerate(paths):
            (home / str(number)).mkdir()
            indexes = [path.with_name(path.name + suffix) for suffix in INDEXES]
            for each in [*files_of(path), *indexes]:
                if each.exists():
                    (home / str(number) / each.name).symlink_to(each.absolute())
        plan = {"names": [path.name for path in paths], "cells": [asdict(cell) for cell in cells], **asked}
        write_text(home / PLAN, json.dumps(plan) + "\n")

        def reads(numbers: list[int]) -> list[Part]:
            parts = [Part(PLAN), *(Part(f"{n}/{path.name}") for n, path in enumerate(beside, start=len(streams)))]
            runs = list(runs_of([cells[number] for number in numbers]))
            for n, path in enumerate(paths[: len(streams)]):
                regions = [region for run in runs if (region := run[0].regions(run[-1])[n]) is not None]
                parts += [Part(f"{n}/{part.name}", part.start, part.stop) for part in parts_at(path, regions)]
            return parts

        pieces = Pieces(
            is_done=lambda number: _left(home, number).exists(),
            reads=reads,
            makes=lambda number: [_left(Path(), number).as_posix()],
            most=CELLS_PER_PROCESS,
            kept=False,
        )
        before = _marks(paths)
        in_shares(function, home, range(len(cells)), pieces, 1, watch, engine)
        changed = [path.name for path, mark in _marks(paths).items() if mark != before[path]]
        if changed:
            raise InputError(f"{changed[0]} was changed while it was read: run the command again once it is written")
        lacking: list[set[str]] = [set() for _ in streams]
        for number in range(len(cells)):
            # what a worker made comes with its digest by Dask, which unpickles as well
            found, heard = pickle.loads(_left(home, number).read_bytes())
            for stream, lacks, of_file in zip(streams, lacking, heard, strict=True):
                lacks |= set() if of_file.lacking is None else {of_file.lacking}
                stream.notes.update(of_file.notes)
                if stream.marks is not None:
                    stream.marks.n += of_file.marked
            if found is not None:
                yield found
    for stream, lacks in zip(streams, lacking, strict=True):
        if lacks and "" not in lacks:
            raise NoGenotypes(min(lacks))
        if stream.marks is not None:
            stream.notes.update(stream.marks.notes())


def _marks(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return the length and time of change of each file; a store's folder has neither, and is left out."""
    return {path: (about.st_size, about.st_mtime_ns) for path in paths if path.is_file() for about in (path.stat(),)}


def runs_of(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Yield cells that follow each other on one contig together."""
    run: list[Cell] = []
    for cell in cells:
        if run and (cell.contigs, cell.number) != (run[-1].contigs, run[-1].number + 1):
            yield run
            run = []
        run.append(cell)
    if run:
        yield run


def count_cells(
    home: Path,
    numbers: list[int],
    count: Callable[[tuple[Stream, ...], Sequence[Path], dict[str, Any]], dict[int, Any]],
    options: Callable[[dict[str, Any]], dict[str, Any]] = lambda _: {},
) -> None:
    """Count cells that follow each other, and leave what was counted of each for `counted`.

    Args:
        home: folder of the work.
        numbers: numbers of the cells.
        count: returns what it counts by the cell's number on its contig, of the streams, the paths of all files, and the plan.
        options: returns those of `streamed`, of the plan.
    """
    plan = json.loads((home / PLAN).read_text())
    cells = [Cell(tuple(plan["cells"][number]["contigs"]), plan["cells"][number]["number"]) for number in numbers]
    paths = [home / str(number) / name for number, name in enumerate(plan["names"])]
    numbers_left = iter(numbers)
    for run in runs_of(cells):
        lacking: dict[str, str] = {}
        at = run[0].regions(run[-1])
        with streamed(*paths[: len(at)], at=at, **options(plan)) as streams:
            heard_of = tuple(replace(each, records=_with_calls(each, lacking)) for each in streams)
            found = count(heard_of, paths, plan)
        for cell in run:
            heard = [_heard(stream, lacking) if cell is run[-1] else UNHEARD for stream in streams]
            with written_beside(_left(home, next(numbers_left))) as beside:
                beside.write_bytes(pickle.dumps((found.get(cell.number), heard)))
            say_progress(1, 1)


UNHEARD = Heard(None, frozenset(), 0)


def _with_calls(stream: Stream, lacking: dict[str, str]) -> Iterator[Record]:
    """Pass records on, and keep by the file's name what they lack, empty if nothing."""
    for record in _until_refused(stream, lacking):
        lacking.setdefault(str(stream.path), "")
        yield record


def _until_refused(stream: Stream, lacking: dict[str, str]) -> Iterator[Record]:
    try:
        yield from stream.records
    except NoGenotypes as error:
        lacking[str(stream.path)] = str(error)


def _heard(stream: Stream, lacking: dict[str, str]) -> Heard:
    of_marks = set() if stream.marks is None else stream.marks.notes()
    marked = 0 if stream.marks is None else stream.marks.n
    return Heard(lacking.get(str(stream.path)), frozenset(stream.notes - of_marks), marked)


def _left(home: Path, number: int) -> Path:
    return home / "counted" / f"{number:05d}.pickle"
