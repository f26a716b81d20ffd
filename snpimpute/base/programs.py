"""External programs: finding them, their versions, and running one to its end."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from snpimpute.base.errors import InputError
from snpimpute.base.extras import EXTRAS
from snpimpute.base.processes import end_group, start_program
from snpimpute.base.provenance import versions

BEAGLE_JARS = ("/usr/share/beagle/beagle.jar",)


def run_program(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output; its whole process group ends if this process does."""
    process, guard = start_program([str(part) for part in command], cwd, env, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate()
    except BaseException:
        end_group(process)
        raise
    finally:
        guard.release()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def program(name: str, needed_by: str, install: str) -> str:
    """Return the path of a program, from $SNPIMPUTE_NAME (name in capitals) or the PATH.

    Args:
        name: name of the program.
        needed_by: what needs the program, for the message.
        install: how to get it, for the message.

    Raises:
        InputError: the program is missing (says how to get it).
    """
    variable = _path_variable(name)
    chosen = os.environ.get(variable)
    if chosen and not os.access(chosen, os.X_OK):
        raise InputError(f"{variable} names {chosen}, which is not a program")
    path = chosen or shutil.which(name)
    if path is None:
        raise InputError(f"{name} is missing: {needed_by} needs it ({install}), or set {variable} to where it is")
    return path


def _path_variable(name: str) -> str:
    """Return the environment variable that may hold a program's path."""
    return f"SNPIMPUTE_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"


def java() -> str:
    """Return the path of the Java program; InputError if there is none."""
    path = shutil.which("java")
    if path is None:
        raise InputError("Java is missing: Beagle needs it (Debian: apt-get install default-jre-headless)")
    return path


def beagle_jar() -> Path:
    """Return the path of Beagle's jar; InputError if there is none.

    Looks at $SNPIMPUTE_BEAGLE_JAR, then where Debian and bioconda put the jar.
    """
    chosen = os.environ.get("SNPIMPUTE_BEAGLE_JAR")
    if chosen:
        if not Path(chosen).is_file():
            raise InputError(f"SNPIMPUTE_BEAGLE_JAR names {chosen}, which is not a file")
        return Path(chosen)
    for candidate in BEAGLE_JARS:
        if Path(candidate).is_file():
            return Path(candidate)
    program = shutil.which("beagle")
    if program is not None:
        for jar in sorted(Path(program).resolve().parent.glob("**/beagle*.jar")):
            return jar
    raise InputError(
        "Beagle is missing: install it (Debian: apt-get install beagle; conda: bioconda beagle) or set SNPIMPUTE_BEAGLE_JAR to its jar"
    )


def installed() -> list[dict[str, Any]]:
    """List external programs and frameworks: name, version (empty if missing), required, needed_for."""
    rows = []
    for name, needed_for in (("java", "Beagle"), ("beagle", "the imputer beagle")):
        try:
            version = java_version() if name == "java" else beagle_version()
        except InputError:
            version = ""
        rows.append({"name": name, "version": version, "required": True, "needed_for": needed_for})
    for name, needed_for in (
        ("minimac4", "the imputer minimac4"),
        ("plink1", "the imputer plink_proxy"),
        ("bcftools", "imputed .vcf.gz and .bcf, tests"),
        ("plink2", "imputed .bed, .pgen in and out, associations, tests"),
        ("gemma", "associations in relatives"),
        ("plink1.9", "haplotype blocks"),
        ("tabix", "imputed .vcf.gz, indexing your own files"),
        ("chromium", "tests"),
    ):
        rows.append({"name": name, "version": _program_version(name), "required": False, "needed_for": needed_for})
    known_versions = versions()
    for extra, packages in EXTRAS.items():
        for name in packages:
            version = known_versions.get(name) or _package_version(name)
            rows.append({"name": name, "version": version, "required": False, "needed_for": f"snpimpute[{extra}]"})
    for name in ("cyvcf2", "bed-reader"):
        rows.append({"name": name, "version": _package_version(name), "required": True, "needed_for": "genotype files"})
    return rows


def _package_version(name: str) -> str:
    """Return the version of an installed distribution; empty if it is missing."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""


def java_version() -> str:
    """Return the version of Java, "there" if it prints none; InputError if it is missing."""
    result = run_program([java(), "-version"])
    # Before it Java names options that it takes from the environment, as clusters set them.
    found = re.search(r'version "([^"]+)"', result.stderr + result.stdout)
    return found[1] if found else "there"


def beagle_version() -> str:
    """Return Beagle's first line, with its release and jar date; InputError if Beagle or Java is missing."""
    result = run_program([java(), "-jar", beagle_jar()])
    first = next((line for line in (result.stdout + result.stderr).splitlines() if "beagle" in line.lower()), "")
    return first.strip()


def _program_version(name: str) -> str:
    """Return the version that a program prints: empty if it is missing, "there" if it prints none."""
    path = os.environ.get(_path_variable(name)) or shutil.which(name)
    if path is None or not os.access(path, os.X_OK):
        return ""
    options = {"plink1": ["--noweb"], "gemma": []}.get(name, ["--version"])
    with tempfile.TemporaryDirectory() as folder:  # PLINK 1.07 leaves a log where it is run
        result = run_program([path, *options], cwd=Path(folder))
    output = (result.stdout + result.stderr).strip()
    if name == "plink1":
        return plink1_version(output) or "there"
    return next(iter(output.splitlines()), "there")


def plink1_version(output: str) -> str:
    """Return the version in the banner that PLINK 1.07 prints at each run; empty if there is none."""
    banner = re.search(r"PLINK!\s*\|\s*(v\S+)\s*\|\s*(\S+)", output)
    return f"PLINK {banner[1]} ({banner[2]})" if banner else ""
