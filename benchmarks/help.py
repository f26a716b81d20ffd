"""Measure the processor time of `snpimpute --help` against a bare Typer program.

    python benchmarks/help.py [--rounds 5]

Seconds are the least of the rounds, user and system. The ratio was to stay below 2.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

BARE = """import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def a(): pass
@app.command()
def b(): pass
app()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        programs = {"snpimpute": [sys.executable, "-m", "snpimpute"], "bare": [sys.executable, str(bare)]}
        seconds = {name: processor_seconds([*command, "--help"], rounds) for name, command in programs.items()}
    print(
        f"snpimpute {seconds['snpimpute']:.2f} s, bare {seconds['bare']:.2f} s: {seconds['snpimpute'] / seconds['bare']:.2f} times"
    )


def processor_seconds(command: list[str], rounds: int) -> float:
    """Return the least processor time of a command."""
    found = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


if __name__ == "__main__":
    main()
