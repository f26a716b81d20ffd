"""Blocked gzip (BGZF): a writer, its CSI index, and checks that a file is complete.

Errors of writing are raised, which htslib does not do.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

# The empty block that ends every such file (SAM specification, section 4.1.2).
END_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BLOCK_SIZE = 65280  # bytes before compression, as in bgzip
MIN_SHIFT = 14  # the smallest bins of an index hold 2^14 positions


class BgzfWriter:
    """Bgzipped file to write bytes to; if writing fails it gets no end block, so that it is known to be broken."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._pending = bytearray()

    def __enter__(self) -> BgzfWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if error is None:
                self._write_block(bytes(self._pending))
                self._file.write(END_BLOCK)

    def write(self, data: bytes) -> None:
        """Write bytes, compressed in blocks of BLOCK_SIZE."""
        self._pending += data
        while len(self._pending) >= BLOCK_SIZE:
            self._write_block(bytes(self._pending[:BLOCK_SIZE]))
            del self._pending[:BLOCK_SIZE]

    def tell(self) -> int:
        """Return the virtual offset of the next byte: 2^16 times the start of its block, plus its place within."""
        return self._file.tell() << 16 | len(self._pending)

    def _write_block(self, data: bytes) -> None:
        """Compress and write one block; empty data give none."""
        if not data:
            return
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = deflate.compress(data) + deflate.flush()
        header = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, len(packed) + 25)
        self._file.write(header + packed + struct.pack("<II", zlib.crc32(data), len(data)))


def write_csi(path: Path, contigs: Sequence[str], positions: Sequence[int], offsets: Sequence[int]) -> None:
    """Write the CSI index (CSIv1 specification) of a bgzipped VCF of single-base records in order of position.

    Args:
        path: index file: the VCF's name followed by .csi.
        contigs: contig of each record, records of one contig together.
        positions: 1-based position of each record.
        offsets: virtual offset of each record, and of the end of the last one.
    """
    depth = 5
    while max(positions, default=1) > 1 << (MIN_SHIFT + 3 * depth):
        depth += 1
    first_leaf = ((1 << 3 * depth) - 1) // 7
    bins: dict[str, dict[int, list[int]]] = {}
    for i, (contig, pos) in enumerate(zip(contigs, positions, strict=True)):
        chunk = bins.setdefault(contig, {}).setdefault(first_leaf + ((pos - 1) >> MIN_SHIFT), [offsets[i], 0])
        chunk[1] = offsets[i + 1]
    names = b"".join(contig.encode() + b"\0" for contig in bins)
    vcf_columns = (2, 1, 2, 0, ord("#"), 0)
    with BgzfWriter(path) as index:
        index.write(
            b"CSI\1" + struct.pack("<3i7i", MIN_SHIFT, depth, 28 + len(names), *vcf_columns, len(names)) + names
        )
        index.write(struct.pack("<i", len(bins)))
        for leaves in bins.values():
            index.write(struct.pack("<i", len(leaves)))
            for leaf, (start, end) in leaves.items():
                index.write(struct.pack("<IQiQQ", leaf, start, 1, start, end))


def is_bgzipped(path: Path) -> bool:
    """Tell whether a file begins with a block of a bgzipped file."""
    with path.open("rb") as handle:
        return handle.read(18)[12:16] == END_BLOCK[12:16]


def has_end_block(path: Path) -> bool:
    """Tell whether a file ends with the block that ends every bgzipped file."""
    with path.open("rb") as handle:
        handle.seek(-min(len(END_BLOCK), path.stat().st_size), os.SEEK_END)
        return handle.read() == END_BLOCK
