"""BCF written from sites as text and calls as numbers.

bcftools turns text without calls into records, and the calls are merged into these as numbers. Reading the samples'
numbers from text is what takes bcftools longest; this way it never sees them.
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

# Lower four bits of a type descriptor (VCF 4.3 specification, 6.3.3).
_TYPES = {"int8": 1, "int16": 2, "int32": 3, "float32": 5}
_FIXED = 24  # bytes of a record from CHROM to its numbers of samples and fields
_NUMBERED = re.compile(rb"##(?:FORMAT|INFO|FILTER)=<.*?ID=([^,>]+).*?,IDX=(\d+)>")

Field = tuple[str, np.ndarray]  # a FORMAT key, and values (n_samples,) or (n_samples, n_values): int8 or float32


class BcfCallMerger:
    """Merges calls into the uncompressed BCF that bcftools makes of VCF text without calls, in a thread of its own.

    Args:
        source: output of bcftools.
        sink: receives the BCF with all calls, uncompressed; closed at the end.
    """

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink = source, sink
        # Unbounded, because bcftools holds its output back up to 64 KiB or the end.
        self._waiting: queue.SimpleQueue[Callable[[], Sequence[Field]] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def queue_calls(self, fields: Callable[[], Sequence[Field]] | None) -> None:
        """Queue the calls of the next record, before its text is written to bcftools.

        Args:
            fields: gives the FORMAT fields; None if the record's text has them.
        """
        self._waiting.put(fields)

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            OSError: writing failed.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        """Merge all records and close both ends; keep an error for `finish`."""
        try:
            with self._sink, self._source:
                self._merge_records()
        except BaseException as error:
            self._error = error

    def _merge_records(self) -> None:
        """Copy header and records from source to sink, with the queued calls."""
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
                call_fields = fields()
                counts = struct.unpack("<I", shared[_FIXED - 4 : _FIXED])[0] & 0xFFFFFF | len(call_fields) << 24
                shared = shared[: _FIXED - 4] + struct.pack("<I", counts) + shared[_FIXED:]
                calls = b"".join(encoded_field(keys[name], values) for name, values in call_fields)
                lengths = struct.pack("<II", l_shared, len(calls))
            self._sink.write(lengths + shared + calls)


def encoded_field(key: int, values: np.ndarray) -> bytes:
    """Return a FORMAT field of a record as bytes: its key's number in the header, the type, the values of all samples.

    Raises:
        InputError: more than 14 values per sample.
    """
    number = next(np.dtype(kind).type(key) for kind in _TYPES if key <= np.iinfo(kind).max)
    per_sample = 1 if values.ndim == 1 else values.shape[1]
    if per_sample > 14:
        raise InputError(f"a FORMAT field of {per_sample} values per sample cannot be written as BCF here")
    key_type, value_type = (
        bytes([1 << 4 | _TYPES[number.dtype.name]]),
        bytes([per_sample << 4 | _TYPES[values.dtype.name]]),
    )
    return key_type + number.tobytes() + value_type + np.ascontiguousarray(values).tobytes()


def encoded_genotypes(first: np.ndarray, second: np.ndarray, phased: np.ndarray) -> np.ndarray:
    """Return the GT of diploid calls, int8 (…, 2), from first and second alleles (0, 1) and phase, all of one shape."""
    return np.stack([(first + 1) << 1, (second + 1) << 1 | phased], axis=-1).astype(np.int8)
