"""Where VCF text goes: the file that was asked for (VCF, BCF or PLINK by its suffix, with its index), whole or not there."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from typing import IO

from snpimpute.base.errors import InputError
from snpimpute.base.files import no_room, written_beside
from snpimpute.base.processes import end_group
from snpimpute.base.programs import run_program
from snpimpute.io.bcf import CallsPutIn, Field

SUFFIXES = (".vcf", ".vcf.gz", ".bcf", ".bed", ".pgen")
PLINK_FILES = {".bed": (".bed", ".bim", ".fam"), ".pgen": (".pgen", ".pvar", ".psam")}
PACKAGES = {"bgzip": "tabix", "bcftools": "bcftools", "plink2": "plink2"}  # Debian's names
# plink2 takes hard calls anew from the dosages, and by default drops those further than 0.1 from a whole number. The
# largest threshold it takes is below 0.5, so that dosages of exactly 0.5 and 1.5 must not reach it.
HARD_CALL_THRESHOLD = "0.49999"
PLINK_MEMORY_MB = 2048  # of itself plink2 takes half of the machine's
# Before contig names on their way through plink2: it would take 28 for a part of the human X, and refuse 40. A name
# it does not know is an unplaced contig, diploid like the calls.
MARK = b"_"
# bgzip's own level, 6, takes three times as long to make files that are 7% (BCF) to 15% (VCF) smaller.
LEVEL = 4
PROBE = bytes(1 << 20)
PIPE_SIZE = 1 << 20  # bytes: the most that Linux gives without privileges


class Output:
    """What `vcf_output` gives to write to.

    Attributes:
        suffix: of the file, one of SUFFIXES; ".vcf" for standard output.
    """

    def __init__(self, file: IO[bytes], suffix: str, put_in: CallsPutIn | None = None) -> None:
        self._file = file
        self.suffix = suffix
        self._put_in = put_in

    def write_calls(self, fixed: bytes, n_samples: int, fields: Callable[[], Sequence[Field]]) -> None:
        """Write a record: the columns of its line up to INFO, and what gives the calls as numbers; errors as `write`."""
        assert self._put_in is not None
        self._put_in.put(fields)
        self._write(fixed + b"\t." * (1 + n_samples) + b"\n")

    def write(self, lines: bytes) -> None:
        """Write whole lines of VCF text: the header first, then records.

        Raises:
            OSError: as writing to the file or the pipe gives it; `vcf_output` makes it one line on its way out.
        """
        if self.suffix in PLINK_FILES and not lines.startswith(b"#"):
            lines = MARK + lines[:-1].replace(b"\n", b"\n" + MARK) + lines[-1:]
        if self._put_in is not None and not lines.startswith(b"#"):
            for _ in range(lines.count(b"\n")):
                self._put_in.put(None)
        self._write(lines)

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            rest = rest[self._file.write(rest) :]


@contextmanager
def vcf_output(path: Path | None, threads: int = 1) -> Iterator[Output]:
    """Take VCF text and make the file of it; beside its place, renamed when the text has ended, removed if not.

    Args:
        path: by its suffix a plain VCF, a bgzipped one (with .tbi, or .csi where a position is beyond 2^29), a BCF (with
            .csi), or a file set of PLINK 1 (.bed: GT as hard calls) or PLINK 2 (.pgen: dosages of DS, and hard calls
            that are the dosages rounded). None = standard output, as plain VCF, which is what a pipe expects.
        threads: that compress.

    Raises:
        InputError: another suffix; the file cannot be written, a full disk included; a program that is needed is missing
            or failed, as for records that are not in order, or for BCF with fields that the header does not define.
        SystemExit: who reads standard output has stopped reading: status 141, as a shell says it.
    """
    if path is None:
        with _standard_output() as out:
            yield out
        return
    suffix = suffix_of(path)
    _require_writable(path)
    _clear(path)
    make = {".vcf": _plain, ".vcf.gz": _bgzipped, ".bcf": _bcf}.get(suffix, _plink)
    with make(path, threads) as output:
        yield output


def suffix_of(path: Path) -> str:
    """Which of SUFFIXES the file has; InputError if none."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise InputError(f"cannot tell from the name {path.name} what to write: end it in {', '.join(SUFFIXES)}")


def _clear(path: Path) -> None:
    """Remove what processes that were killed while they wrote the file left beside it."""
    import psutil

    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid = left.name.removeprefix(f".{path.name}.").split(".")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


@contextmanager
def _standard_output() -> Iterator[Output]:
    try:
        yield Output(sys.stdout.buffer, ".vcf")
        sys.stdout.buffer.flush()
    except OSError as error:
        why = no_room(error)
        if not why and not isinstance(error, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered is flushed at exit
        raise (InputError(f"cannot write to standard output: {why}") if why else SystemExit(141)) from None


@contextmanager
def _plain(path: Path, threads: int) -> Iterator[Output]:
    with written_beside(path) as beside, beside.open("wb") as file:
        yield Output(file, ".vcf")


@contextmanager
def _bgzipped(path: Path, threads: int) -> Iterator[Output]:
    with _indexed(path, threads, ("tbi", "csi")) as beside, _piped(_bgzip(threads), beside) as pipe:
        yield Output(pipe, ".vcf.gz")


@contextmanager
def _bcf(path: Path, threads: int) -> Iterator[Output]:
    """A pipe for VCF text to bcftools, and what puts calls into what comes out of it, on its way to bgzip."""
    command = [_program("bcftools"), "view", "--no-version", "-Ou", "-"]
    with _indexed(path, threads, ("csi",)) as beside, _piped(_bgzip(threads), beside) as packed:
        out, into = os.pipe()
        put_in = CallsPutIn(os.fdopen(out, "rb", PIPE_SIZE), BufferedWriter(packed, PIPE_SIZE))
        try:
            with _piped(command, beside, into) as text:
                yield Output(text, ".bcf", put_in)
        finally:
            put_in.finish()


@contextmanager
def _indexed(path: Path, threads: int, kinds: Sequence[str]) -> Iterator[Path]:
    """A path beside `path` to write the file to; then it and its index, of the first kind that will do, are renamed."""
    bcftools = _program("bcftools")
    index = path.with_name(f".{path.name}.{os.getpid()}.index.part")
    try:
        with written_beside(path) as beside:
            yield beside
            for kind in kinds:
                made = run_program([bcftools, "index", f"--{kind}", "--threads", str(threads), "-o", index, beside])
                if made.returncode == 0 or "Try using a csi index" not in made.stderr:
                    break
            if made.returncode != 0:
                _fail("bcftools index", made.stderr, index)
        index.rename(path.with_name(f"{path.name}.{kind}"))
        for other in {"tbi", "csi"} - {kind}:  # of a file that was here before; readers would take it for this one's
            path.with_name(f"{path.name}.{other}").unlink(missing_ok=True)
    finally:
        index.unlink(missing_ok=True)


@contextmanager
def _plink(path: Path, threads: int) -> Iterator[Output]:
    """A pipe for VCF text with marked contigs; plink2 makes the file set of it, in a folder beside its place."""
    plink2 = _program("plink2")
    folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.", suffix=".part")
    with written_beside(path) as beside, folder as name:
        text, made = Path(name) / "text.vcf.gz", Path(name) / "made"
        with _piped(_bgzip(threads, level=1), text) as pipe:
            yield Output(pipe, path.suffix)
        command: list[str | Path] = [
            plink2,
            "--vcf",
            text,
            "--vcf-half-call",
            "missing",
            "--allow-extra-chr",
            "--out",
            made,
        ]
        command += ["--threads", str(threads), "--memory", str(PLINK_MEMORY_MB)]
        if path.suffix == ".bed":
            command += ["--make-bed"]
        else:
            command[3:3] = ["dosage=DS", "--hard-call-threshold", HARD_CALL_THRESHOLD]
            command += ["--make-pgen"]
        done = run_program(command)
        if done.returncode != 0:
            _fail("plink2", done.stderr, made.with_suffix(".probe"))
        main, table, samples = (made.with_suffix(suffix) for suffix in PLINK_FILES[path.suffix])
        unmarked = made.with_suffix(".unmarked")
        _unmark(table, unmarked)
        unmarked.rename(path.with_suffix(table.suffix))
        samples.rename(path.with_suffix(samples.suffix))
        main.rename(beside)


def _unmark(marked: Path, unmarked: Path) -> None:
    """Copy a .bim or .pvar with the contigs under their own names."""
    with marked.open("rb") as lines, unmarked.open("wb") as out:
        out.writelines(line.removeprefix(MARK) for line in lines)


@contextmanager
def _piped(command: Sequence[str], path: Path, into: int | None = None) -> Iterator[IO[bytes]]:
    """The standard input of a program that writes to `path`, at once or by the pipe `into`; InputError in one line if it fails."""
    with path.open("wb") if into is None else os.fdopen(into, "wb") as file, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=said, bufsize=0, start_new_session=True
        )
        assert process.stdin is not None
        if into is not None:
            file.close()  # the other end is to see when the program has ended
        with suppress(OSError):  # refused where a user's pipes hold too much already
            fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        broken = None
        try:
            try:
                yield process.stdin
            except BrokenPipeError as error:  # the program has ended; below it is said why
                broken = error
            process.stdin.close()
            process.wait()
        except BaseException:
            end_group(process)
            raise
        if process.returncode != 0 or broken:
            said.seek(0)
            _fail(" ".join(map(os.path.basename, command[:1])), said.read().decode(errors="replace"), path)


def _fail(program: str, said: str, path: Path) -> None:
    """Raise OSError if the file system has no room at `path`, which programs do not tell; else InputError with what was said.

    Raises:
        OSError: as writing one more MiB to `path` gives it.
        InputError: there is room.
    """
    with path.open("ab") as file:
        file.write(PROBE)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "not defined in the header" in line] or [
        line for line in lines if line.startswith(("[E::", "Error"))
    ]
    cause = (telling or lines or ["it gave no message"])[0]
    raise InputError(f"{program} failed: {cause.split(']', 1)[-1].strip()}")


def _bgzip(threads: int, level: int = LEVEL) -> list[str]:
    return [_program("bgzip"), "-c", "-@", str(threads), "--compress-level", str(level)]


def _program(name: str) -> str:
    """Path of a program; InputError that names its package if it is missing."""
    found = shutil.which(name)
    if found is None:
        raise InputError(
            f"{name} is missing, which this kind of file needs (Debian: apt-get install {PACKAGES[name]}); "
            "a plain .vcf needs no program"
        )
    return found


def _require_writable(path: Path) -> None:
    """Raise InputError unless a file can be made where `path` is to be."""
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
