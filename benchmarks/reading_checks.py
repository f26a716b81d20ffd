"""Time what the checks of a VCF's or BCF's records cost: python benchmarks/reading_checks.py panel.vcf.gz

A file is read by turns with and without them, in one process: htslib's messages looked at before a record is used, records
that it did not read to their end, the order of positions, the block that ends a whole file. Printed is the processor's time of
both, the least of the rounds, and what the checks add in per cent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from snpimpute.io import vcf
from snpimpute.io.stream import streamed

ROUNDS = 7


def unchecked(opened: Any, *_: Any) -> Iterator[Any]:
    """Give the records as cyvcf2 does."""
    return iter(opened)


def seconds(path: Path, checks: bool) -> float:
    """Read all calls of a file; return the seconds of the processor."""
    with ExitStack() as patched:
        if not checks:
            patched.enter_context(mock.patch.object(vcf, "vcf_records", unchecked))
            patched.enter_context(mock.patch.object(vcf, "in_order", lambda records, source: records))
            patched.enter_context(mock.patch.object(vcf, "require_whole", lambda path: None))
        started = time.process_time()
        with streamed(path) as (stream,):
            n_calls = sum(record.alleles.shape[0] for record in stream.records)
        assert n_calls
        return time.process_time() - started


def main() -> None:
    """Print the two times and their ratio."""
    path = Path(sys.argv[1])
    seconds(path, True)  # the imports
    rounds = [(seconds(path, False), seconds(path, True)) for _ in range(ROUNDS)]
    without, with_checks = map(min, zip(*rounds, strict=True))
    print(
        f"{path.name}: {without:.2f} s without checks, {with_checks:.2f} s with them: {with_checks / without - 1:+.1%}"
    )


if __name__ == "__main__":
    main()
