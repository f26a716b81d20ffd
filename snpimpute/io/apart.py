"""Genotype files that are read apart: where their contigs end, and the bytes that reading a stretch of one comes to."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from struct import Struct

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.folders import Part
from snpimpute.io.bgzf import END_BLOCK, is_bgzipped
from snpimpute.io.filters import Region, parse_regions
from snpimpute.io.plink import BED_MAGIC, BIM_COLUMNS, FAM_COLUMNS, plink_table
from snpimpute.io.records import ends_in_order
from snpimpute.io.vcf import VCF_SUFFIXES, htslib_messages, open_vcf, require_whole
from snpimpute.io.vcz import is_vcz, vcz_ends, vcz_files

INDEXES = (".csi", ".tbi")  # in the order in which htslib looks for them
COUNT = Struct("<i")
NOT_ITS_OWN = "the index of {} does not end where the file does, as that of another version of it"
BLOCK = 1 << 16  # most bytes of a block of a bgzipped file


@dataclass(frozen=True, eq=False)
class _Chunks:
    """Bytes of a bgzipped file, from the start of a block to the start of the last one, that may have records of some positions.

    Attributes:
        first, last: int64 (n_chunks,), positions.
        start, stop: int64 (n_chunks,), bytes.
    """

    first: np.ndarray
    last: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def stretches(self, region: Region) -> list[tuple[int, int]]:
        """Return the bytes of the chunks that may have records of a region, in no order."""
        here = (self.first <= region.end) & (region.start <= self.last)
        return list(zip(self.start[here].tolist(), self.stop[here].tolist(), strict=True))


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
        found = _with_records(path, index)
        if isinstance(found, str):
            return found
        if not found:
            return NOT_ITS_OWN.format(name)
        in_order = sorted(found, key=lambda contig: found[contig].start.min())
        return {contig: int(found[contig].last.max()) for contig in in_order}
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
        chunks = _chunks(path, index)
        records = min(
            (int(of_contig.start.min()) for of_contig in chunks.values() if len(of_contig.start)), default=size
        )
        stretches = [(0, records + BLOCK), (size - len(END_BLOCK), size)]
        for part in wanted:
            here = chunks[part.contig].stretches(part) if part.contig in chunks else []
            stretches += [(start, stop + BLOCK) for start, stop in here]
        beside = [index]
    joined = _joined(sorted((max(0, start), min(stop, size)) for start, stop in stretches))
    return [Part(path.name, start, stop) for start, stop in joined] + [Part(file.name) for file in beside]


def require_blocks(path: Path, region: str) -> None:
    """Raise InputError unless a file is whole, its index is its own, and the blocks with records of a region follow each other.

    By region htslib takes a block without a sound head for the end of the file, and what an index of another version of the
    file lacks for absent: records would be missed without a word.
    """
    require_whole(path)
    index = _index_of(path)
    if index is None:
        return
    chunks = _with_records(path, index)
    if isinstance(chunks, str):
        raise InputError(f"{chunks}: bcftools index -f {path}")
    wanted = [part for part in parse_regions(region) if part.contig in chunks]
    stretches = sorted(stretch for part in wanted for stretch in chunks[part.contig].stretches(part))
    with path.open("rb", buffering=0) as file:
        for start, stop in _joined(stretches):  # neighbours share a block
            at = start
            while at <= stop:
                head = os.pread(file.fileno(), 18, at)
                if head[:4] != END_BLOCK[:4] or head[10:16] != END_BLOCK[10:16]:
                    raise InputError(
                        f"{path.name} is broken (no block begins at its byte {at:,}): make or fetch it again"
                    )
                at += struct.unpack_from("<H", head, 16)[0] + 1


def _joined(stretches: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield sorted stretches of bytes, those that touch as one."""
    if not stretches:
        return
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
    of_bcf = path.name.lower().endswith(".bcf")  # which htslib reads by a .csi alone
    there = (path.with_name(path.name + suffix) for suffix in (INDEXES[:1] if of_bcf else INDEXES))
    return next((index for index in there if index.is_file()), None)


def _with_records(path: Path, index: Path) -> Mapping[str, _Chunks] | str:
    """Return the chunks of the contigs that an index has records of; or, where the index is not that of the file, why not, in words."""
    try:
        found = {contig: chunks for contig, chunks in _chunks(path, index).items() if len(chunks.start)}
    except (OSError, EOFError, LookupError, struct.error, zlib.error):
        return f"the index of {path.name} is broken"
    if found and not _reaches_the_end(path, found.values()):
        return NOT_ITS_OWN.format(path.name)
    return found


def _reaches_the_end(path: Path, chunks: Iterable[_Chunks]) -> bool:
    """Tell whether nothing but empty blocks, of which the end block is one, follows the last block of an index's chunks.

    A file that was written anew, cut or appended to may have an index of its earlier version that is not older than it: copies
    do not keep times. Records that such an index lacks would be missed.
    """
    size = path.stat().st_size
    at = last = max((int(of_contig.stop.max()) for of_contig in chunks), default=size)
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(18)
            if len(head) < 18 or head[:4] != END_BLOCK[:4]:
                return False
            after = at + struct.unpack_from("<H", head, 16)[0] + 1
            file.seek(after - 4)
            if at > last and file.read(4) != bytes(4):  # bytes of the block when it is unpacked
                return False
            at = after
    return at == size > last


def _chunks(path: Path, index: Path) -> Mapping[str, _Chunks]:
    """Return each contig of an index (SAM and CSIv1 specifications) with its chunks; contigs without records have none.

    An index of a genome is read for a second: it is kept for the next region, as long as file and index stay as they are.
    """
    path, index = path.absolute(), index.absolute()
    files = (path.stat(), index.stat())
    return _chunks_of(path, index, *((file.st_ino, file.st_size, file.st_mtime_ns) for file in files))


@lru_cache(maxsize=8)
def _chunks_of(path: Path, index: Path, *versions: tuple[int, int, int]) -> Mapping[str, _Chunks]:
    data = memoryview(gzip.decompress(index.read_bytes()))
    at = 4

    def take(form: Struct) -> tuple[int, ...]:
        nonlocal at
        numbers = form.unpack_from(data, at)
        at += form.size
        return numbers

    is_csi = bytes(data[:4]) == b"CSI\1"
    shift, depth, names = 14, 5, b""
    if is_csi:
        shift, depth, length = take(Struct("<3i"))
        if length:
            *_, n = take(Struct("<7i"))
            names = bytes(data[at : at + n])
            at += length - 28
        (n_contigs,) = take(COUNT)
    else:
        n_contigs, *_, n = take(Struct("<8i"))
        names = bytes(data[at : at + n])
        at += n
    named = [name.decode(errors="replace") for name in names.split(b"\0")[:n_contigs]]
    contigs = named if names else _names_of(path)
    bin_head = Struct("<IQi" if is_csi else "<Ii")
    lowest = np.array([_first(level) for level in range(depth + 2)])
    found = {}
    for number in range(n_contigs):
        bins, counts, pieces = [], [], []
        (n_bins,) = take(COUNT)
        for _ in range(n_bins):
            name, *_, n = take(bin_head)
            if not 0 <= 16 * n <= len(data) - at:
                raise EOFError
            if name < lowest[-1]:  # else of counts
                bins.append(name)
                counts.append(n)
                pieces.append(data[at : at + 16 * n])
            at += 16 * n
        if not is_csi:
            (n,) = take(COUNT)
            at += 8 * n
        level = np.searchsorted(lowest, bins, side="right") - 1
        size = shift + 3 * (depth - level)
        first = ((np.array(bins, dtype=np.int64) - lowest[level]) << size) + 1
        offsets = np.frombuffer(b"".join(pieces), dtype="<u8").reshape(-1, 2) >> 16
        start, stop = offsets.astype(np.int64).T
        found[contigs[number]] = _Chunks(
            np.repeat(first, counts), np.repeat(first - 1 + (1 << size), counts), start, stop
        )
    return found


def _first(level: int) -> int:
    """Return the number of the first bin of a level; level 0 is one bin for all positions."""
    return ((1 << 3 * level) - 1) // 7


def _names_of(path: Path) -> list[str]:
    """Return the contigs of a BCF's header, by whose order its index counts them."""
    with htslib_messages() as messages:
        return list(open_vcf(path, messages).seqnames)
