"""Write requirements.lock, with hashes, and the pins of conda.yaml, from the installed packages: `make lock`.

    python scripts/lock.py UV

UV is the program uv, which looks up the hashes. The script pins the packages that the project and its extras need, in the
versions installed in the environment of this Python, and no others. A package that another one requires with extras is
pinned with these extras, because pip before 23.3 does not apply a pin without them.

PyTorch is not pinned to the files that uv finds. For Linux the package index has builds with CUDA, whose further packages
take gigabytes and are not in the lock; given the hash of such a build, pip prefers it to a CPU build whose hash it cannot
see before the download. So those hashes are left out, and the hash of PyTorch's own CPU build is added.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from requirements import ROOT, closure, declared

LOCK = ROOT / "requirements.lock"
CONDA = ROOT / "conda.yaml"
ABOUT = """\
# What `make setup` installs, on Python 3.11: every package that the project and its extras need, and the SHA-256 of its
# files. `make lock` writes this file; for PyTorch on Linux it has the hash of the CPU build alone.
"""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_PLATFORM = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")


def main(uv: str) -> None:
    """Write both files."""
    try:
        needed = closure(text for texts in declared().values() for text in texts)
    except LookupError as error:
        sys.exit(f"lock: {error}: install it into the virtual environment first")
    pins = {name: needed[name].installed.version.removesuffix("+cpu") for name in sorted(needed)}
    packages = resolved(uv, pins)
    entries = []
    for name, version in pins.items():
        hashes = hashes_of(packages[name])
        if name == "torch":
            hashes = sorted([*hashes_of(packages[name], without="-manylinux_"), hash_of_cpu_build(version)])
        for extras in sorted(needed[name].extras) or [()]:
            pin = f"{name}[{','.join(extras)}]=={version}" if extras else f"{name}=={version}"
            entries.append(" \\\n    ".join([pin, *(f"--hash=sha256:{each}" for each in hashes)]) + "\n")
    LOCK.write_text(ABOUT + "".join(entries))
    kept = [line for line in CONDA.read_text().splitlines() if "==" not in line]
    CONDA.write_text("\n".join([*kept, *(f"      - {name}=={version}" for name, version in pins.items())]) + "\n")
    print(f"lock: {len(pins)} packages")


def resolved(uv: str, pins: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return a mapping of name → uv's record of the pinned version: wheels and source archive, with their hashes."""
    command = [uv, "pip", "compile", "--no-config", "--quiet", "--no-deps", "--no-annotate", "--no-header"]
    command += ["--universal", "--python", sys.executable, "--format", "pylock.toml", "-"]
    wanted = "".join(f"{name}=={version}\n" for name, version in pins.items())
    done = subprocess.run(command, input=wanted, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lock: uv: {done.stderr.strip()}")
    return {package["name"]: package for package in tomllib.loads(done.stdout)["packages"]}


def hashes_of(package: dict[str, Any], without: str | None = None) -> list[str]:
    """Return the SHA-256 of a package's files, sorted, except files with `without` in their name."""
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    return sorted(file["hashes"]["sha256"] for file in files if without is None or without not in file["url"])


def hash_of_cpu_build(version: str) -> str:
    """Return the SHA-256 of PyTorch's CPU build, from the index that pip is set to, else from PyTorch itself."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += [*CPU_PLATFORM, "--dest", folder, f"torch=={version}+cpu"]
        for index in ((), ("--index-url", CPU_INDEX)):
            done = subprocess.run([*command, *index], capture_output=True, text=True)
            if done.returncode == 0:
                (file,) = Path(folder).iterdir()
                with file.open("rb") as opened:
                    return hashlib.file_digest(opened, "sha256").hexdigest()
    reason = re.sub(r"(?m)^WARNING:.*\n?", "", done.stderr).strip()
    sys.exit(f"lock: the CPU build of torch {version} cannot be downloaded: {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
