"""The machine underneath: threads, subprocesses, files, and where a result comes from."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from snpimpute import __version__
from snpimpute.base.errors import InputError

NO_ROOM = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)
GRACE = 3.0  # seconds that a program is given to end by itself before it is killed
BEAGLE_JARS = ("/usr/share/beagle/beagle.jar",)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "NUMEXPR_NUM_THREADS",
)
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "TOKENIZERS_PARALLELISM": "false",
}


def worker_environment(threads: int) -> dict[str, str]:
    """Environment of a process that computes: thread counts set before any framework is imported, usage reports off."""
    return {
        **os.environ,
        **QUIET,
        **{name: str(threads) for name in THREAD_VARIABLES},
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # on a busy machine, threads that spin at every barrier cost more than they gain
    }


def tell(**message: Any) -> None:
    """Say something to the process that runs this step."""
    print(json.dumps(message), flush=True)


def run_program(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output; its whole process group ends with us if we are interrupted."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate()
    except BaseException:
        end_group(process)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def end_group(process: subprocess.Popen[Any], grace: float = GRACE) -> None:
    """End a process started in a session of its own, and all its children: politely, then for good."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(grace)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def end_this_process() -> None:
    """End this process, from one of its threads, with all that it started: unwind the main thread first, then kill.

    The main thread must end on SIGTERM by raising (`signal.signal(SIGTERM, lambda *_: sys.exit(143))`).
    """
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # unwinds the work, which ends its programs and tidies up
    time.sleep(GRACE + 2)
    kill_descendants(os.getpid())
    os._exit(1)


def kill_descendants(pid: int) -> None:
    """Kill all that a process has started, and what these have started."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def program(name: str, needed_by: str, install: str) -> str:
    """Path of a program ($SNPIMPUTE_NAME in capitals, or on the PATH).

    Args:
        name: of the program.
        needed_by: what does not go without it.
        install: how to get it.

    Raises:
        InputError: it is not there (names it, and says how to get it).
    """
    variable = _names_the_place_of(name)
    chosen = os.environ.get(variable)
    if chosen and not os.access(chosen, os.X_OK):
        raise InputError(f"{variable} names {chosen}, which is not a program")
    found = chosen or shutil.which(name)
    if found is None:
        raise InputError(f"{name} is missing: {needed_by} needs it ({install}), or set {variable} to where it is")
    return found


def _names_the_place_of(name: str) -> str:
    """The environment variable that may say where a program is."""
    return f"SNPIMPUTE_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"


def java() -> str:
    """Path of the Java program; InputError if there is none."""
    found = shutil.which("java")
    if found is None:
        raise InputError("Java is missing: Beagle needs it (Debian: apt-get install default-jre-headless)")
    return found


def beagle_jar() -> Path:
    """Path of Beagle's jar ($SNPIMPUTE_BEAGLE_JAR, or where Debian and bioconda put it); InputError if there is none."""
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


def peak_memory_mb() -> float:
    """Largest resident memory so far, of this process or of any child that has ended, in MB (10^6 bytes)."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) * 1024 / 1e6


def versions() -> dict[str, str]:
    """Versions of this package and of what decides its numbers."""
    found = {"snpimpute": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "scikit-learn", "tensorflow", "keras", "torch", "transformers", "optuna", "mlflow"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def installed() -> list[dict[str, Any]]:
    """External programs and frameworks: name, version (empty if missing), required, needed_for."""
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
        ("plink2", "imputed .bed and .pgen, tests"),
        ("tabix", "imputed .vcf.gz, indexing your own files"),
        ("chromium", "tests"),
    ):
        rows.append({"name": name, "version": _program_version(name), "required": False, "needed_for": needed_for})
    found = versions()
    for name in ("tensorflow", "torch", "transformers", "optuna", "mlflow", "cyvcf2", "bed-reader", "msprime"):
        try:
            version = found.get(name) or metadata.version(name)
        except metadata.PackageNotFoundError:
            version = ""
        rows.append({"name": name, "version": version, "required": True, "needed_for": "the platform"})
    return rows


def java_version() -> str:
    """Version of Java; InputError if it is missing."""
    result = run_program([java(), "-version"])
    return (result.stderr or result.stdout).splitlines()[0].split('"')[1]


def beagle_version() -> str:
    """What Beagle calls itself: its release and jar date; InputError if it or Java is missing."""
    result = run_program([java(), "-jar", beagle_jar()])
    first = next((line for line in (result.stdout + result.stderr).splitlines() if "beagle" in line.lower()), "")
    return first.strip()


def _program_version(name: str) -> str:
    place = os.environ.get(_names_the_place_of(name)) or shutil.which(name)
    if place is None or not os.access(place, os.X_OK):
        return ""
    options = ["--noweb"] if name == "plink1" else ["--version"]
    with tempfile.TemporaryDirectory() as folder:  # PLINK 1.07 leaves a log where it is run
        result = run_program([place, *options], cwd=Path(folder))
    said = (result.stdout + result.stderr).strip()
    if name == "plink1":
        return plink1_version(said) or "there"
    return next(iter(said.splitlines()), "there")


def plink1_version(said: str) -> str:
    """Version in the banner that PLINK 1.07 prints at each run; empty if there is none."""
    found = re.search(r"PLINK!\s*\|\s*(v\S+)\s*\|\s*(\S+)", said)
    return f"PLINK {found[1]} ({found[2]})" if found else ""


def git_revision() -> str:
    """Revision of the working tree this package runs from, "-dirty" behind it if changed; empty outside one."""
    here = Path(__file__).parent
    head = subprocess.run(["git", "-C", here, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        return ""
    changed = subprocess.run(["git", "-C", here, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def no_room(error: OSError) -> str:
    """What the system says of a full disk, a full quota or a file too large; empty for any other error."""
    if error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # numpy gives no number
        return os.strerror(errno.ENOSPC)
    return os.strerror(error.errno) if error.errno in NO_ROOM else ""


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it, so that it is whole or not there."""
    with written_beside(path) as beside:
        beside.write_text(text)


def require_writable(folder: Path) -> None:
    """Raise InputError if a folder cannot be made or written: better before hours of work than after."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"cannot write into {folder}: {nearest} is not a folder that can be written")


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or folder to; renamed to `path` if all goes well, removed if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        if path.is_dir():
            shutil.rmtree(path)
        beside.rename(path)
    except OSError as error:
        if why := no_room(error):
            raise InputError(f"cannot write {path}: {why}; make room, or choose another folder") from None
        raise
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
