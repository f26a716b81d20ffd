"""Seconds and memory of a command with all that it starts.

    python benchmarks/watched.py snpimpute impute target.vcf.gz -o imputed.vcf.gz

Printed are seconds that passed, seconds of the processor, and the largest memory (resident, summed over the processes: what
they share counts for each of them).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import suppress

import psutil

TICK = 0.1  # seconds between looks at the memory


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    passed, used, memory_mb = watched(sys.argv[1:])
    print(f"{passed:.0f} s, {used:.0f} s of the processor, {memory_mb:.0f} MB")


def watched(command: list[str]) -> tuple[float, float, float]:
    """Seconds passed, processor seconds and largest memory (MB) of a command with all that it starts."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
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
            said.seek(0)
            sys.exit(f"{' '.join(command)}:\n{said.read().decode()[-2000:]}")
    return time.perf_counter() - started, sum(seconds_of.values()), most


if __name__ == "__main__":
    main()
