"""Scan of a panel in a VCF Zarr store for the sites that pass the filter: by stretches, each in a process of an engine."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path

from snpimpute.base.files import remove, write_text, written_beside
from snpimpute.base.folders import Part
from snpimpute.base.processes import Engine, say_progress
from snpimpute.base.progress import Watch
from snpimpute.base.steps import Pieces, in_shares
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.io.filters import SiteFilter
from snpimpute.io.in_place import STORE, SiteScan, link_store, store_in
from snpimpute.io.matrix import require_enough_samples
from snpimpute.io.spool import spooled, write_in_place
from snpimpute.io.vcz import vcz_files_of, vcz_stream, vcz_stretches

SITES = 5_000  # about so many of the store in a stretch
STRETCHES_PER_PROCESS = 8
PLAN = "plan.json"


def scan_panel(
    store: Path, folder: Path, region: str | None, wanted: SiteFilter, threads: int, watch: Watch, engine: Engine
) -> GenotypeMatrix:
    """Find the sites of a store that pass a filter, unless that was done, and return the genotypes, which stay in the store.

    Nobody holds the store whole: a process reads the chunks of its stretches, and keeps of them which sites pass, with their
    frequencies. What a killed scan has done is taken up again.

    Args:
        store: the store.
        folder: spool to make, see `spool.write_in_place`.
        region, wanted: which sites, see `matrix.read_genotypes`.
        threads: processes at a time on this machine.
        watch: receives the number of stretches done.
        engine: where stretches are scanned.

    Raises:
        InputError: see `matrix.read_genotypes`.
    """
    if folder.exists():
        link_store(folder, store)
        return spooled(folder)
    stream = vcz_stream(store, region=region)
    require_enough_samples(stream)
    stretches = vcz_stretches(store, region, SITES)
    home = folder.with_name("scan")
    link_store(home, store)
    write_text(home / PLAN, json.dumps({"stretches": stretches, "filter": asdict(wanted)}) + "\n")
    pieces = Pieces(
        is_done=lambda number: _scanned(home, number).exists(),
        reads=lambda numbers: [
            Part(PLAN),
            *(
                Part(f"{STORE}/{store.name}/{file}")
                for file in vcz_files_of(store, [stretches[number] for number in numbers])
            ),
        ],
        makes=lambda number: [_scanned(Path(), number).as_posix()],
        most=STRETCHES_PER_PROCESS,
    )
    in_shares(scan_stretches, home, range(len(stretches)), pieces, threads, watch, engine)
    with written_beside(folder) as beside:
        beside.mkdir()
        whole = SiteScan(store.name, wanted, beside)
        for number in range(len(stretches)):
            # what a worker made comes with its digest by Dask, which unpickles as well
            whole.join(pickle.loads(_scanned(home, number).read_bytes()))
        write_in_place(beside, store, whole, stream)
    remove(home)
    return spooled(folder)


def scan_stretches(home: Path, numbers: list[int]) -> None:
    """Find the sites of some stretches that pass."""
    plan = json.loads((home / PLAN).read_text())
    store = store_in(home)
    assert store is not None
    for number in numbers:
        start, stop = plan["stretches"][number]
        scan = SiteScan(store.name, SiteFilter(**plan["filter"]), home)
        scan.scan(store, (start, stop))
        with written_beside(_scanned(home, number)) as beside:
            beside.write_bytes(pickle.dumps(scan))
        say_progress(1, 1)


def _scanned(home: Path, number: int) -> Path:
    return home / "scanned" / f"{number:05d}.pickle"
