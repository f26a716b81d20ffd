"""BCF of sites as text and calls as numbers: bcftools makes records of the text, the calls are put into them as they are.

What takes bcftools longest is reading the numbers of the samples from text; here it never sees them.
"""

from __future__ import annotations

import queue
import re
import struct
import threading
from collections.abc import Callable, Sequence
from typing import IO

import numpy as np

from snpimpute.base.errors import InputError

# the type descriptor's low half (VCF 4.3 specification, 6.3.3)
_TYPES = {"int8": 1, "int16": 2, "int32": 3, "float32": 5}
_FIXED = 24  # bytes of a record from CHROM to the numbers of samples and fields
_NUMBERED = re.compile(rb"##(?:FORMAT|INFO|FILTER)=<.*?ID=([^,>]+).*?,IDX=(\d+)>")

Field = tuple[str, np.ndarray]  # a FORMAT key, and values (n_samples,) or (n_samples, n_values): int8 or float32


class CallsPutIn:
    """Reads the uncompressed BCF that bcftools makes of VCF text, and writes it on with the calls that were left out.

    Args:
        source: what bcftools writes.
        sink: BCF with all calls, uncompressed; closed at the end.
    """

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink = source, sink
        # without a bound: bcftools hands nothing back until it has 64 KiB of it, or the end
        self._waiting: queue.SimpleQueue[Callable[[], Sequence[Field]] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, fields: Callable[[], Sequence[Field]] | None) -> None:
        """What gives the calls of the next record; None if its text has them. Before its text is written."""
        self._waiting.put(fields)

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            OSError: as writing gave it.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with self._sink, self._source:
                self._copy()
        except BaseException as error:
            self._error = error

    def _copy(self) -> None:
        start = self._source.read(9)
        if len(start) < 9:
            return
        header = self._source.read(struct.unpack("<I", start[5:])[0])
        self._sink.write(start + header)
        keys = {name.decode(): int(number) for name, number in _NUMBERED.findall(header)}
        while len(lengths := self._source.read(8)) == 8:
            l_shared, l_calls = struct.unpack("<II", lengths)
            shared, calls = self._source.read(l_shared), self._source.read(l_calls)
            fields = self._waiting.get()
            if fields is not None:
                found = fields()
                counts = struct.unpack("<I", shared[_FIXED - 4 : _FIXED])[0] & 0xFFFFFF | len(found) << 24
                shared = shared[: _FIXED - 4] + struct.pack("<I", counts) + shared[_FIXED:]
                calls = b"".join(encoded(keys[name], values) for name, values in found)
                lengths = struct.pack("<II", l_shared, len(calls))
            self._sink.write(lengths + shared + calls)


def encoded(key: int, values: np.ndarray) -> bytes:
    """A FORMAT field of a record: its key's number in the header, the type, the values of all samples."""
    number = next(np.dtype(kind).type(key) for kind in _TYPES if key <= np.iinfo(kind).max)
    per_sample = 1 if values.ndim == 1 else values.shape[1]
    if per_sample > 14:
        raise InputError(f"a FORMAT field of {per_sample} values per sample cannot be written as BCF here")
    kinds = bytes([1 << 4 | _TYPES[number.dtype.name]]), bytes([per_sample << 4 | _TYPES[values.dtype.name]])
    return kinds[0] + number.tobytes() + kinds[1] + np.ascontiguousarray(values).tobytes()


def genotypes(first: np.ndarray, second: np.ndarray, phased: np.ndarray) -> np.ndarray:
    """int8 (…, 2): GT of diploid calls from alleles (0, 1) and whether they are phased, of one shape."""
    return np.stack([(first + 1) << 1, (second + 1) << 1 | phased], axis=-1).astype(np.int8)
