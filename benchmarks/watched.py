"""Measure seconds and memory of a command with its child processes.

    python benchmarks/watched.py snpimpute impute target.vcf.gz -o imputed.vcf.gz

Printed are elapsed seconds, processor seconds, and the largest memory (resident, summed over the processes; shared memory
counts for each of them).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import psutil

TICK = 0.1  # seconds between measurements of the memory


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    passed, used, memory_mb = watched(sys.argv[1:])
    print(f"{passed:.0f} s, {used:.0f} s of the processor, {memory_mb:.0f} MB")


def watched(command: list[str]) -> tuple[float, float, float]:
    """Return elapsed seconds, processor seconds and largest memory (MB) of a command with its child processes."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        root, most, seconds_of = psutil.Process(process.pid), 0.0, {}
        while process.poll() is None:
            resident = 0
            with suppress(psutil.NoSuchProcess):
                for one in [root, *root.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        times = one.cpu_times()
                        seconds_of[one.pid, one.create_time()] = times.user + times.system
                        resident += one.memory_info().rss
            most = max(most, resident / 1e6)
            time.sleep(TICK)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)}:\n{output.read().decode()[-2000:]}")
    return time.perf_counter() - started, sum(seconds_of.values()), most


if __name__ == "__main__":
    main()
