"""Measure time and peak memory of `check` and `concordance` on a file against itself, and of `bcftools stats`.

python benchmarks/two_files.py kg15.vcf.gz
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measured(command: list[str]) -> tuple[float, float, float]:
    """Return elapsed seconds, processor seconds, and peak memory in MB (10^6 bytes) of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def main() -> None:
    file = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        snpimpute = [sys.executable, "-m", "snpimpute"]
        commands = {
            "check": [*snpimpute, "check", file, "--panel", file, "-o", f"{folder}/check"],
            "concordance": [*snpimpute, "concordance", file, file, "-o", f"{folder}/concordance"],
            "bcftools stats": ["bcftools", "stats", "-s", "-", file, file],
        }
        for name, command in commands.items():
            seconds, processor, memory = measured(command)
            print(f"{name:15} {seconds:7.1f} s  {processor:7.1f} s of processor  {memory:6.0f} MB")


if __name__ == "__main__":
    main()
