"""Genotype files that are read apart: where their contigs end, and the bytes that reading a stretch of one comes to."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.folders import Part
from snpimpute.io.bgzf import END_BLOCK, is_bgzipped
from snpimpute.io.filters import parse_regions
from snpimpute.io.plink import BED_MAGIC, BIM_COLUMNS, FAM_COLUMNS, plink_table
from snpimpute.io.records import ends_in_order
from snpimpute.io.vcf import VCF_SUFFIXES, htslib_messages, open_vcf, require_whole
from snpimpute.io.vcz import is_vcz, vcz_ends, vcz_files

INDEXES = (".csi", ".tbi")  # in the order in which htslib looks for them
BLOCK = 1 << 16  # most bytes of a block of a bgzipped file


@dataclass(frozen=True)
class _Chunk:
    """Bytes of a bgzipped file, from the start of a block to the start of the last one, that may have records of some positions."""

    first: int
    last: int
    start: int
    stop: int


def contig_ends(path: Path) -> dict[str, int] | str:
    """Return the contigs that a file has records of, in its order, with a position that is not before their last record.

    Returns:
        The mapping; or, where stretches of the file cannot be read apart, why not, in words.

    Raises:
        InputError: a file beside it is missing or broken.
    """
    name = path.name
    if name.lower().endswith(VCF_SUFFIXES):
        require_whole(path)
        index = _index_of(path)
        if index is None:
            return f"{name} has no index"
        if index.stat().st_mtime < path.stat().st_mtime:
            return f"the index of {name} is older than the file"
        try:
            found = {contig: chunks for contig, chunks in _chunks(path, index) if chunks}
        except (OSError, EOFError, LookupError, struct.error, zlib.error):
            return f"the index of {name} is broken"
        if not _reaches_the_end(path, found.values()):
            return f"the index of {name} does not end where the file does, as that of another version of it"
        in_order = sorted(found, key=lambda contig: min(chunk.start for chunk in found[contig]))
        return {contig: max(chunk.last for chunk in found[contig]) for contig in in_order}
    if name.lower().endswith(".bed"):
        bim = _placed(path)
        ends = ends_in_order(bim.contig.tolist(), bim.pos.to_numpy())
        return f"the sites of {name} are not in order" if ends is None else ends
    if is_vcz(path):
        ends = vcz_ends(path)
        return f"the sites of {name} are not in order" if ends is None else ends
    through = " through plink2" if name.lower().endswith(".pgen") else ""
    return f"{name} is read{through} as a whole"


def parts_at(path: Path, regions: Sequence[str]) -> list[Part]:
    """Return what reading some regions of a file comes to, as parts of the file's folder.

    Args:
        path: a file that can be read apart, see `contig_ends`.
        regions: `CONTIG:START-END` each.
    """
    if is_vcz(path):
        return [Part(f"{path.name}/{name}") for name in vcz_files(path, regions)]
    size = path.stat().st_size
    wanted = [region for text in regions for region in parse_regions(text)]
    if path.name.lower().endswith(".bed"):
        bim, n = _placed(path), -(-len(plink_table(path.with_suffix(".fam"), FAM_COLUMNS)) // 4)
        stretches = [(0, len(BED_MAGIC))]
        for part in wanted:
            rows = bim.index[(bim.contig == part.contig) & bim.pos.between(part.start, part.end)].tolist()
            stretches += [(len(BED_MAGIC) + row * n, len(BED_MAGIC) + (row + 1) * n) for row in rows]
        beside = [path.with_suffix(suffix) for suffix in (".bim", ".fam")]
    else:
        index = _index_of(path)
        assert index is not None
        chunks = dict(_chunks(path, index))
        records = min((chunk.start for of_contig in chunks.values() for chunk in of_contig), default=size)
        stretches = [(0, records + BLOCK), (size - len(END_BLOCK), size)]
        for part in wanted:
            of_contig = chunks.get(part.contig, [])
            here = [chunk for chunk in of_contig if chunk.first <= part.end and part.start <= chunk.last]
            stretches += [(chunk.start, chunk.stop + BLOCK) for chunk in here]
        beside = [index]
    joined = _joined(sorted((max(0, start), min(stop, size)) for start, stop in stretches))
    return [Part(path.name, start, stop) for start, stop in joined] + [Part(file.name) for file in beside]


def require_blocks(path: Path, region: str) -> None:
    """Raise InputError unless a file is whole, and the blocks of a bgzipped one with records of a region follow each other, from chunk to chunk.

    By region htslib takes a block without a sound head for the end of the file: its records would be missed without a word.
    """
    require_whole(path)
    index = _index_of(path)
    if index is None:
        return
    try:
        chunks = dict(_chunks(path, index))
    except (OSError, EOFError, LookupError, struct.error, zlib.error):
        return  # htslib says what is wrong with an index
    seen: set[int] = set()
    with path.open("rb", buffering=0) as file:
        for part in parse_regions(region):
            for chunk in chunks.get(part.contig, []):
                if chunk.first > part.end or part.start > chunk.last:
                    continue
                at = chunk.start
                while at <= chunk.stop and at not in seen:
                    seen.add(at)
                    head = os.pread(file.fileno(), 18, at)
                    if head[:4] != END_BLOCK[:4] or head[10:16] != END_BLOCK[10:16]:
                        raise InputError(
                            f"{path.name} is broken (no block begins at its byte {at:,}): make or fetch it again"
                        )
                    at += struct.unpack_from("<H", head, 16)[0] + 1


def _joined(stretches: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield sorted stretches of bytes, those that touch as one."""
    start, stop = stretches[0]
    for first, last in stretches[1:]:
        if first > stop:
            yield start, stop
            start, stop = first, last
        stop = max(stop, last)
    yield start, stop


def _placed(path: Path) -> pd.DataFrame:
    """Return the rows of a .bim that have a place, with pos int64."""
    bim = plink_table(path.with_suffix(".bim"), BIM_COLUMNS)
    bim["pos"] = pd.to_numeric(bim.pos, errors="coerce").fillna(0).astype(np.int64)
    return bim[bim.pos > 0]


def _index_of(path: Path) -> Path | None:
    if not is_bgzipped(path):
        return None
    there = (path.with_name(path.name + suffix) for suffix in INDEXES)
    return next((index for index in there if index.is_file()), None)


def _reaches_the_end(path: Path, chunks: Iterable[Sequence[_Chunk]]) -> bool:
    """Tell whether the last block of an index's chunks is the last of a whole file, or the one before its end block.

    A file that was written anew, cut or appended to may have an index of its earlier version that is not older than it: copies
    do not keep times. Records that such an index lacks would be missed.
    """
    end = path.stat().st_size - len(END_BLOCK)
    last = max((chunk.stop for of_contig in chunks for chunk in of_contig), default=-1)
    if not 0 <= last < end:
        return last == end
    with path.open("rb") as file:
        file.seek(last)
        block = file.read(18)
    return block[:4] == END_BLOCK[:4] and last + struct.unpack_from("<H", block, 16)[0] + 1 == end


def _chunks(path: Path, index: Path) -> Iterator[tuple[str, list[_Chunk]]]:
    """Yield each contig of an index (SAM and CSIv1 specifications) with its chunks; contigs without records have none."""
    data = memoryview(gzip.decompress(index.read_bytes()))
    at = 4

    def take(form: str) -> tuple[int, ...]:
        nonlocal at
        numbers = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return numbers

    is_csi = bytes(data[:4]) == b"CSI\1"
    shift, depth, names = 14, 5, b""
    if is_csi:
        shift, depth, length = take("3i")
        if length:
            *_, n = take("7i")
            names = bytes(data[at : at + n])
            at += length - 28
        (n_contigs,) = take("i")
    else:
        n_contigs, *_, n = take("8i")
        names = bytes(data[at : at + n])
        at += n
    named = [name.decode(errors="replace") for name in names.split(b"\0")[:n_contigs]]
    contigs = named if names else _names_of(path)
    for number in range(n_contigs):
        chunks = []
        (n_bins,) = take("i")
        for _ in range(n_bins):
            name, *_, n = take("IQi" if is_csi else "Ii")
            level = next((level for level in range(depth + 1) if name < _first(level + 1)), None)  # None: of counts
            for _ in range(n):
                start, stop = take("2Q")
                if level is not None:
                    size = shift + 3 * (depth - level)
                    first = ((name - _first(level)) << size) + 1
                    chunks.append(_Chunk(first, first - 1 + (1 << size), start >> 16, stop >> 16))
        if not is_csi:
            (n,) = take("i")
            at += 8 * n
        yield contigs[number], chunks


def _first(level: int) -> int:
    """Return the number of the first bin of a level; level 0 is one bin for all positions."""
    return ((1 << 3 * level) - 1) // 7


def _names_of(path: Path) -> list[str]:
    """Return the contigs of a BCF's header, by whose order its index counts them."""
    with htslib_messages() as messages:
        return list(open_vcf(path, messages).seqnames)
