"""VCF Zarr stores (.vcz) as a stream of records, read in place: the chunks of the wanted sites, some records at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.digests import digest, file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package
from snpimpute.io.filters import NoRecords, Region, chosen_rows, parse_regions, require_contig
from snpimpute.io.marks import ImputedMarks
from snpimpute.io.records import Accept, Stream, ends_in_order, in_order
from snpimpute.io.vcf import decoded_records
from snpimpute.io.vcz_records import Block, header_of

SUFFIX = ".vcz"
Stretch = tuple[int, int]  # numbers of the first site and of the first one behind the last
OF_SITES = ("variant_", "call_")  # beginnings of the names of arrays with a value, or calls, per site
# Calls that are in memory at a time; of a chunk with more sites its parts are decoded one after another.
CALLS_AT_A_TIME = 8_000_000
NEEDED = {
    "variant_contig": 1,
    "variant_position": 1,
    "variant_allele": 2,
    "contig_id": 1,
    "sample_id": 1,
}  # array → number of dimensions
WHOLE = ("variant_contig", "variant_position")  # arrays of sites that are read whole
UNFINISHED = "wip"  # folder within a store that bio2zarr has not written to its end
BLOSC_HEADER = struct.Struct("<12xI")  # of a chunk: at its end the number of bytes of all of it
METADATA = (".zgroup", "zarr.json")  # of the root, in Zarr's formats 2 and 3


def is_vcz(path: Path) -> bool:
    """Return whether the name is that of a VCF Zarr store."""
    return path.name.lower().endswith(SUFFIX)


def is_vcz_store(path: Path) -> bool:
    """Return whether a folder is a Zarr store, whatever is in it."""
    return any((path / name).is_file() for name in METADATA)


def vcz_stream(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    accept: Accept | None = None,
    dosages: bool = False,
    lines: bool = False,
    likelihoods: str | None = None,
    observed: bool = False,
    rows: Sequence[Stretch] | None = None,
) -> Stream:
    """Open a VCF Zarr store as a stream.

    Nothing is read but the chunks of the wanted sites, and of FORMAT and INFO only what is asked for; the positions and
    contigs of all sites alone are read whole. What a record holds is decoded as that of a VCF is. A chunk that is not
    there has the array's fill value, as Zarr has it.

    Args:
        path: the store's folder.
        region, samples, accept, dosages, lines, likelihoods, observed: see `stream.streamed`. Lines are made up: INFO and
            FORMAT are in alphabetical order, GT first, and numbers have six digits.
        rows: stretches of sites to read in place of `region`.

    Raises:
        InputError: see `stream.streamed`.
    """
    store = _Store.opened(path)
    names = store.texts("sample_id")
    columns = chosen_rows(names, samples, path.name)
    header = header_of(store.root, store.whole, names)
    blocks = store.blocks(store.spans(region) if rows is None else rows, None if samples is None else columns)
    records = (variant for block in blocks for variant in block)
    notes: set[str] = set()
    marks = ImputedMarks(header) if observed else None
    found = decoded_records(
        records,
        None if samples is None else np.argsort(np.argsort(columns)),
        len(columns),
        accept,
        dosages,
        lines,
        path.name,
        notes,
        {},
        likelihoods,
        marks,
    )
    table = pd.DataFrame({"sample": [names[row] for row in columns]})
    in_place = in_order(found, path.name)
    return Stream(path.name, path, table, store.contig_lengths(), header, in_place, notes, marks=marks)


def vcz_contigs(path: Path) -> list[str]:
    """Return the contigs that a store has sites of, in its order."""
    store = _Store.opened(path)
    return [store.contigs[number] for number in dict.fromkeys(store.contig_numbers.tolist())]


def vcz_ends(path: Path) -> dict[str, int] | None:
    """Return the last position of each contig, in a store's order; None where its sites are not in order."""
    store = _Store.opened(path)
    return ends_in_order([store.contigs[number] for number in store.contig_numbers.tolist()], store.positions)


def vcz_files(path: Path, regions: Sequence[str]) -> list[str]:
    """Return the names of a store's files that reading some regions comes to; a region without records has no chunk."""
    store = _Store.opened(path)
    spans: list[tuple[int, int]] = []
    for region in regions:
        with suppress(NoRecords):
            spans += store.spans(region)
    return [file.relative_to(path).as_posix() for file in store.files(spans, WHOLE)]


def vcz_files_of(path: Path, rows: Sequence[Stretch]) -> list[str]:
    """Return the names of a store's files that reading some stretches of sites comes to."""
    return [file.relative_to(path).as_posix() for file in _Store.opened(path).files(rows, WHOLE)]


def vcz_stretches(path: Path, region: str | None, n_sites: int) -> list[Stretch]:
    """Cut a store, or regions of it, into stretches of some `n_sites` sites, of whole chunks; sites of one position stay together."""
    store = _Store.opened(path)
    size = store.root["call_genotype" if "call_genotype" in store.root else "variant_position"].chunks[0]
    step = size * -(-n_sites // size)
    same = np.flatnonzero((np.diff(store.positions) == 0) & (np.diff(store.contig_numbers) == 0)) + 1
    together = frozenset(same.tolist())  # sites at the position of the one before
    found = []
    for start, end in store.spans(region):
        while start < end:
            stop = min(end, (start // step + 1) * step)
            while stop < end and stop in together:
                stop += 1
            found.append((start, stop))
            start = stop
    return found


def vcz_digest(path: Path, region: str | None = None) -> str:
    """Return a digest of the files that reading a store, or a region of it, comes to; chunks of other sites are not read.

    Raises:
        InputError: the folder holds no store, or not the region.
    """
    store = _Store.opened(path)
    files = store.files(store.spans(region))
    return digest([[file.relative_to(path).as_posix(), file_digest(file)] for file in files])


def _number_of_chunk(parts: Sequence[str]) -> int | None:
    """Return a chunk's number along the first dimension, from its path in the array's folder; None if it is no chunk.

    Chunks are called 3.0.0 or 3/0/0 in Zarr's format 2, and c/3/0/0 in format 3.
    """
    first = (parts[1:] if parts[0] == "c" else parts)[0].split(".")[0]
    return int(first) if first.isdecimal() else None


@dataclass(frozen=True, eq=False)
class _Store:
    """Open store.

    Attributes:
        path: its folder.
        root: the zarr.Group.
    """

    path: Path
    root: Any

    @classmethod
    def opened(cls, path: Path) -> _Store:
        """Open a store; InputError unless it is one, whole as far as can be told, with the arrays that are needed."""
        require_package("zarr", f"reading {path.name}")
        import zarr

        if not path.exists():
            raise InputError(f"cannot read {path}: No such file or directory")
        what = f"{path.name} is no VCF Zarr store"
        if not is_vcz_store(path):
            raise InputError(f"{what}: it is {'a folder without .zgroup' if path.is_dir() else 'no folder'}")
        if (path / UNFINISHED).exists():
            raise InputError(f"{path.name} was not written to its end (it has a folder {UNFINISHED}): make it again")
        try:
            root = zarr.open_group(str(path), mode="r")
            arrays = dict(root.arrays())
        except Exception as error:  # text that is no JSON, unknown codecs
            raise _broken(path, error) from None
        for name, n_dimensions in NEEDED.items():
            if name not in arrays:
                raise InputError(f"{what}, or a part of one: it has no array {name}; bio2zarr vcf2zarr makes one")
            if arrays[name].ndim != n_dimensions:
                raise InputError(
                    f"{path.name} is broken: {name} has {arrays[name].ndim} dimensions, not {n_dimensions}: make it again"
                )
        store = cls(path, root)
        for name, array in arrays.items():
            store._require_shape(name, array, arrays)
        if not len(store.positions):
            raise InputError(f"{path.name} has no records")
        return store

    def _require_shape(self, name: str, array: Any, arrays: dict[str, Any]) -> None:
        """Raise InputError unless an array of sites, or of calls, has as many of them as the others."""
        if not name.startswith(OF_SITES):
            return
        n_sites, n_samples = arrays["variant_position"].shape[0], arrays["sample_id"].shape[0]
        wanted = (n_sites, n_samples) if name.startswith("call_") else (n_sites,)
        what = " × samples" if len(wanted) > 1 else ""
        what += ", each with the alleles of a call" if name == "call_genotype" else ""
        if array.shape[: len(wanted)] != wanted or (name == "call_genotype" and array.ndim != 3):
            raise InputError(
                f"{self.path.name} is broken: {name} is {' × '.join(map(str, array.shape))}, and there are "
                f"{' × '.join(map(str, wanted))} sites{what}: make it again"
            )

    def part(self, name: str, rows: slice, columns: np.ndarray | None = None) -> np.ndarray:
        """Return the rows of an array, and of its second dimension the columns (None = all); InputError if it cannot be decoded."""
        array = self.root[name]
        self._require_whole_chunks(name, array, rows)
        try:
            return np.asarray(array[rows] if columns is None else array.oindex[rows, columns])
        except Exception as error:  # of the codec
            raise _broken(self.path, error) from None

    def _require_whole_chunks(self, name: str, array: Any, rows: slice) -> None:
        """Raise InputError if a chunk's file is shorter than it says itself: Blosc would decode what lies behind it in memory."""
        if array.shards is not None or not any("blosc" in type(each).__name__.lower() for each in array.compressors):
            return
        first, end, _ = rows.indices(array.shape[0])
        size = array.chunks[0]
        for place in product(range(first // size, -(-end // size)), *map(range, array.cdata_shape[1:])):
            key = array.metadata.encode_chunk_key(place)
            file = self.path / name / key
            if not file.is_file():
                continue
            with file.open("rb") as chunk:
                start = chunk.read(BLOSC_HEADER.size)
            if len(start) < BLOSC_HEADER.size or BLOSC_HEADER.unpack(start)[0] != file.stat().st_size:
                raise InputError(f"{self.path.name} is broken: {name}/{key} is cut short: make or fetch it again")

    def whole(self, name: str) -> np.ndarray:
        """Return an array, read whole; errors as `part`."""
        return self.part(name, slice(None))

    def texts(self, name: str) -> list[str]:
        """Return an array of names, read whole; InputError if one is empty, as where its chunk is lost."""
        found = [str(each) for each in self.whole(name).tolist()]
        if "" in found:
            raise InputError(f"{self.path.name} is broken: {name} has an empty name: make or fetch it again")
        return found

    @cached_property
    def positions(self) -> np.ndarray:
        """Positions of all sites, (n_sites,)."""
        return self.whole("variant_position")

    @cached_property
    def contigs(self) -> list[str]:
        """Names of the contigs."""
        return self.texts("contig_id")

    @cached_property
    def contig_numbers(self) -> np.ndarray:
        """Numbers of all sites' contigs, (n_sites,); InputError where one has no name."""
        numbers = self.whole("variant_contig")
        if numbers.min() < 0 or numbers.max() >= len(self.contigs):
            raise InputError(
                f"{self.path.name} is broken: variant_contig has numbers that are not in contig_id: make it again"
            )
        return numbers

    def contig_lengths(self) -> dict[str, int]:
        """Map contigs to their lengths in bases, where the store has these."""
        lengths = self.whole("contig_length").tolist() if "contig_length" in self.root else []
        return {contig: int(n) for contig, n in zip(self.contigs, lengths, strict=False) if n > 0}

    def spans(self, region: str | None) -> list[tuple[int, int]]:
        """Return the stretches of sites in regions (None = all), first and behind the last; InputError if a region has none."""
        if region is None:
            return [(0, len(self.positions))]
        found: list[tuple[int, int]] = []
        for part in parse_regions(region):
            there = [self.contigs[number] for number in dict.fromkeys(self.contig_numbers.tolist())]
            require_contig(part, there, self.path.name)
            found += self._spans_of(part)
        return found

    def _spans_of(self, part: Region) -> list[tuple[int, int]]:
        within = self.contig_numbers == self.contigs.index(part.contig)
        within &= (self.positions >= part.start) & (self.positions <= part.end)
        if not within.any():
            raise NoRecords(f"{self.path.name} has no records in {part.contig}:{part.start}-{part.end}")
        borders = np.flatnonzero(np.diff(np.concatenate([[False], within, [False]]).astype(np.int8)))
        return [(int(start), int(end)) for start, end in borders.reshape(-1, 2)]

    def files(self, spans: Sequence[tuple[int, int]], beside: Sequence[str] = ()) -> list[Path]:
        """Return the store's files, sorted, without the chunks of sites that are in none of the stretches.

        Args:
            spans: see `spans`.
            beside: arrays of which all chunks are wanted.
        """
        arrays = self.root.arrays()
        sizes = {name: array.chunks[0] for name, array in arrays if name.startswith(OF_SITES) and name not in beside}
        found = []
        for file in sorted(each for each in self.path.rglob("*") if each.is_file()):
            array, *rest = file.relative_to(self.path).parts
            number = _number_of_chunk(rest) if array in sizes else None
            if number is not None:
                first, last = number * sizes[array], (number + 1) * sizes[array]
                if not any(start < last and first < end for start, end in spans):
                    continue
            found.append(file)
        return found

    def blocks(self, spans: Sequence[tuple[int, int]], rows: np.ndarray | None) -> Iterator[Block]:
        """Yield the wanted sites, each block within one chunk of the calls.

        Args:
            spans: see `spans`.
            rows: rows of the wanted samples; None = all. They come in the store's order.
        """
        columns = None if rows is None else np.sort(rows)
        n_samples = self.root["sample_id"].shape[0] if columns is None else len(columns)
        size = self.root["call_genotype" if "call_genotype" in self.root else "variant_position"].chunks[0]
        most = max(1, CALLS_AT_A_TIME // n_samples)
        names = frozenset(name for name, _ in self.root.arrays() if name.startswith(OF_SITES))
        filters = self.texts("filter_id") if "filter_id" in self.root else []
        for start, end in spans:
            while start < end:
                stop = min(end, start + most, (start // size + 1) * size)
                yield Block(
                    names,
                    partial(self.part, rows=slice(start, stop)),
                    columns,
                    [self.contigs[number] for number in self.contig_numbers[start:stop].tolist()],
                    self.positions[start:stop].tolist(),
                    filters,
                    n_samples,
                )
                start = stop


def _broken(path: Path, error: Exception) -> InputError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"{path.name} is broken ({said}): make or fetch it again")
