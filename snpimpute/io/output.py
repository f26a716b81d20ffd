"""Output files made from VCF text: VCF, BCF, VCF Zarr or PLINK by the suffix, with index; complete or absent."""

from __future__ import annotations

import errno
import fcntl
import glob
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedWriter
from pathlib import Path
from typing import IO

import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package
from snpimpute.base.files import no_room, written_beside
from snpimpute.base.processes import end_group
from snpimpute.base.programs import run_program
from snpimpute.io.bcf import BcfCallMerger, Field
from snpimpute.io.plink import FAM_COLUMNS
from snpimpute.io.vcz import SUFFIX, is_vcz, is_vcz_store

SUFFIXES = (".vcf", ".vcf.gz", ".bcf", SUFFIX, ".bed", ".pgen")
PLINK_FILES = {".bed": (".bed", ".bim", ".fam"), ".pgen": (".pgen", ".pvar", ".psam")}
PACKAGES = {"bgzip": "tabix", "bcftools": "bcftools", "plink2": "plink2"}  # program → Debian's package
# plink2 makes hard calls from the dosages, and by default drops those further than 0.1 from a whole number. The largest
# threshold it accepts is below 0.5, so that dosages of exactly 0.5 and 1.5 must not reach it.
HARD_CALL_THRESHOLD = "0.49999"
PLINK_MEMORY_MB = 2048  # by default plink2 takes half of the machine's memory
# Prefix of contig names on their way through plink2, which takes 28 for a part of the human X and refuses 40. To plink2
# a name that it does not know is an unplaced contig, diploid like the calls.
MARK = b"_"
# bgzip's default level, 6, takes three times as long for files that are 7% (BCF) to 15% (VCF) smaller.
LEVEL = 4
PROBE = bytes(1 << 20)  # written to find out whether the file system has room
PIPE_SIZE = 1 << 20  # bytes; the most that Linux gives without privileges


class Output:
    """Receiver of VCF text, as `vcf_output` gives it.

    Attributes:
        suffix: suffix of the file, one of SUFFIXES; ".vcf" for standard output.
    """

    def __init__(self, file: IO[bytes], suffix: str, merger: BcfCallMerger | None = None) -> None:
        self._file = file
        self.suffix = suffix
        self._merger = merger

    def write_calls(self, fixed: bytes, n_samples: int, fields: Callable[[], Sequence[Field]]) -> None:
        """Write a record of a BCF with its calls as numbers; errors as `write`.

        Args:
            fixed: columns of the record's line up to INFO.
            n_samples: number of samples.
            fields: gives the FORMAT fields of the calls.
        """
        assert self._merger is not None
        self._merger.queue_calls(fields)
        self._write(fixed + b"\t." * (1 + n_samples) + b"\n")

    def write(self, lines: bytes) -> None:
        """Write whole lines of VCF text: the header first, then records.

        Raises:
            OSError: the file or pipe cannot be written; `vcf_output` turns it into an InputError.
        """
        if self.suffix in PLINK_FILES and not lines.startswith(b"#"):
            lines = MARK + lines[:-1].replace(b"\n", b"\n" + MARK) + lines[-1:]
        if self._merger is not None and not lines.startswith(b"#"):
            for _ in range(lines.count(b"\n")):
                self._merger.queue_calls(None)
        self._write(lines)

    def _write(self, lines: bytes) -> None:
        """Write all of the bytes, as a raw pipe may take only a part at a time."""
        rest = memoryview(lines)
        while rest:
            rest = rest[self._file.write(rest) :]


@contextmanager
def vcf_output(path: Path | None, threads: int = 1, fam: pd.DataFrame | None = None) -> Iterator[Output]:
    """Give an Output for VCF text and make the file of it: written beside its path, renamed at the end.

    After an error the part written is removed.

    Args:
        path: the suffix selects a plain VCF, a bgzipped one (with .tbi, or .csi if a position is beyond 2^29), a BCF
            (with .csi), a VCF Zarr store (.vcz), or a file set of PLINK 1 (.bed: GT as hard calls) or PLINK 2 (.pgen: DS as dosages, and hard
            calls that are the dosages rounded). None = standard output, as plain VCF for a pipe.
        threads: threads that compress.
        fam: of PLINK file sets, family, name, parents, sex and phenotype of the samples, in order (columns
            plink.FAM_COLUMNS); None = names alone.

    Raises:
        InputError: another suffix; the file cannot be written, including a full disk; a needed program or package is
            missing or failed, as for records that are not in order, or for BCF with fields that the header does not define.
        SystemExit: the reader of standard output has stopped reading; status 141, as in a shell.
    """
    if path is None:
        with _standard_output() as out:
            yield out
        return
    suffix = suffix_of(path)
    _require_writable(path)
    _remove_leftovers(path)
    plink_files = partial(_plink_files, fam=fam)
    opener = {".vcf": _plain_vcf, ".vcf.gz": _bgzipped_vcf, ".bcf": _bcf, SUFFIX: _vcz}.get(suffix, plink_files)
    with opener(path, threads) as output:
        yield output


def suffix_of(path: Path) -> str:
    """Return the one of SUFFIXES that the file's name ends with; InputError if there is none."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise InputError(f"cannot tell from the name {path.name} what to write: end it in {', '.join(SUFFIXES)}")


def tables_beside(output: Path) -> tuple[Path, Path]:
    """Return the paths of the tables beside an imputed file: of the records left out, and of the samples."""
    return output.with_name(f"{output.name}.left-out.tsv"), output.with_name(f"{output.name}.samples.tsv")


def require_plink_names(path: Path | None, names: Sequence[str]) -> None:
    """Raise InputError if `path` is of a PLINK file set, which cannot hold one of the samples' names."""
    if path is None or suffix_of(path) not in PLINK_FILES:
        return
    for name in names:
        if name == "0" or any(character.isspace() for character in name):
            raise InputError(
                f"PLINK files cannot hold the sample name {name!r} (no blanks, and not 0): write a VCF or BCF, or rename "
                "the sample (bcftools reheader)"
            )


def _remove_leftovers(path: Path) -> None:
    """Remove the parts of this file that killed processes left beside it."""
    import psutil

    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid = part.name.removeprefix(f".{path.name}.").split(".")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)


@contextmanager
def _standard_output() -> Iterator[Output]:
    """Give an Output to standard output."""
    try:
        yield Output(sys.stdout.buffer, ".vcf")
        sys.stdout.buffer.flush()
    except OSError as error:
        why = no_room(error)
        if not why and not isinstance(error, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the buffer is flushed at exit
        raise (InputError(f"cannot write to standard output: {why}") if why else SystemExit(141)) from None


@contextmanager
def _plain_vcf(path: Path, threads: int) -> Iterator[Output]:
    """Give an Output to a plain VCF."""
    with written_beside(path) as beside, beside.open("wb") as file:
        yield Output(file, ".vcf")


@contextmanager
def _bgzipped_vcf(path: Path, threads: int) -> Iterator[Output]:
    """Give an Output through bgzip to an indexed file."""
    with _indexed(path, threads, ("tbi", "csi")) as beside, _piped(_bgzip(threads), beside) as pipe:
        yield Output(pipe, ".vcf.gz")


@contextmanager
def _bcf(path: Path, threads: int) -> Iterator[Output]:
    """Give an Output through bcftools, the merger of calls and bgzip to an indexed file."""
    command = [_program("bcftools"), "view", "--no-version", "-Ou", "-"]
    with _indexed(path, threads, ("csi",)) as beside, _piped(_bgzip(threads), beside) as packed:
        out, into = os.pipe()
        merger = BcfCallMerger(os.fdopen(out, "rb", PIPE_SIZE), BufferedWriter(packed, PIPE_SIZE))
        try:
            with _piped(command, beside, into) as text:
                yield Output(text, ".bcf", merger)
        finally:
            merger.finish()


@contextmanager
def _indexed(path: Path, threads: int, kinds: Sequence[str]) -> Iterator[Path]:
    """Give a path beside `path` for the file; then index it by the first of `kinds` that fits, and rename both."""
    bcftools = _program("bcftools")
    index = path.with_name(f".{path.name}.{os.getpid()}.index.part")
    try:
        with written_beside(path) as beside:
            yield beside
            for kind in kinds:
                indexing = run_program([bcftools, "index", f"--{kind}", "--threads", str(threads), "-o", index, beside])
                if indexing.returncode == 0 or "Try using a csi index" not in indexing.stderr:
                    break
            if indexing.returncode != 0:
                _raise_failure("bcftools index", indexing.stderr, index)
        index.rename(path.with_name(f"{path.name}.{kind}"))
        for other in {"tbi", "csi"} - {kind}:  # an earlier file's index, which readers would take for this one's
            path.with_name(f"{path.name}.{other}").unlink(missing_ok=True)
    finally:
        index.unlink(missing_ok=True)


@contextmanager
def _plink_files(path: Path, threads: int, fam: pd.DataFrame | None) -> Iterator[Output]:
    """Give an Output to a bgzipped VCF with marked contigs, from which plink2 then makes the file set.

    plink2 works in a folder beside `path`.
    """
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
            _raise_failure("plink2", done.stderr, made.with_suffix(".probe"))
        main, table, samples = (made.with_suffix(suffix) for suffix in PLINK_FILES[path.suffix])
        unmarked = made.with_suffix(".unmarked")
        _unmark(table, unmarked)
        unmarked.rename(path.with_suffix(table.suffix))
        if fam is not None:
            samples.write_text(_sample_rows(fam, samples.suffix))
        samples.rename(path.with_suffix(samples.suffix))
        main.rename(beside)


@contextmanager
def _vcz(path: Path, threads: int) -> Iterator[Output]:
    """Give an Output to an indexed file, from which bio2zarr then makes the store; it works in a folder beside `path`."""
    require_package("bio2zarr", f"writing {path.name}")
    folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.", suffix=".part")
    with written_beside(path) as beside, folder as name:
        text = Path(name) / "text.vcf.gz"
        with _bgzipped_vcf(text, threads) as output:
            yield output
        from bio2zarr import vcf

        logging.getLogger("bio2zarr").setLevel(logging.ERROR)  # it warns of how it estimates memory
        try:
            vcf.convert([text], beside, icf_path=Path(name) / "columns", worker_processes=0, zarr_format=2)
        except Exception as error:
            if no_room(error):
                raise OSError(errno.ENOSPC, no_room(error)) from None
            raise InputError(f"bio2zarr failed: {' '.join(str(error).split())[:300]}") from None


def _sample_rows(fam: pd.DataFrame, suffix: str) -> str:
    """Return the text of a .fam, or of a .psam, which has a header."""
    rows = ["\t".join(map(str, row)) for row in fam[list(FAM_COLUMNS)].itertuples(index=False)]
    header = ["#FID\tIID\tPAT\tMAT\tSEX\tPHENO1"] if suffix == ".psam" else []
    return "\n".join([*header, *rows]) + "\n"


def _unmark(marked: Path, unmarked: Path) -> None:
    """Copy a .bim or .pvar without the marks of the contigs' names."""
    with marked.open("rb") as lines, unmarked.open("wb") as out:
        out.writelines(line.removeprefix(MARK) for line in lines)


@contextmanager
def _piped(command: Sequence[str], path: Path, into: int | None = None) -> Iterator[IO[bytes]]:
    """Give the standard input of a program that writes to `path`; InputError in one line if the program fails.

    Args:
        command: the program and its arguments.
        path: file that the output ends in.
        into: file descriptor of a pipe to write to in place of `path`; None = write to `path` directly.
    """
    with path.open("wb") if into is None else os.fdopen(into, "wb") as file, tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=messages, bufsize=0, start_new_session=True
        )
        assert process.stdin is not None
        if into is not None:
            file.close()  # so that the reader sees the end when the program ends
        with suppress(OSError):  # refused if the user's pipes hold too much already
            fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        broken = None
        try:
            try:
                yield process.stdin
            except BrokenPipeError as error:  # the program has ended; its messages are raised below
                broken = error
            process.stdin.close()
            process.wait()
        except BaseException:
            end_group(process)
            raise
        if process.returncode != 0 or broken:
            messages.seek(0)
            _raise_failure(Path(command[0]).name, messages.read().decode(errors="replace"), path)


def _raise_failure(program: str, messages: str, path: Path) -> None:
    """Raise the error of a failed program: OSError if the disk is full at `path`, else InputError with its message.

    Programs do not tell that a disk is full.

    Raises:
        OSError: writing one more MiB to `path` failed.
        InputError: there is room.
    """
    with path.open("ab") as file:
        file.write(PROBE)
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    telling = [line for line in lines if "not defined in the header" in line] or [
        line for line in lines if line.startswith(("[E::", "Error"))
    ]
    cause = (telling or lines or ["it gave no message"])[0]
    if cause in lines and not cause.startswith("["):  # plink2 wraps what it says over several lines
        cause = " ".join(lines[lines.index(cause) :])[:300]
    mend = "; give the target's header that line (bcftools annotate -h), or write a .vcf.gz"
    mend = mend if "not defined in the header" in cause else ""
    raise InputError(f"{program} failed: {cause.split(']', 1)[-1].strip()}{mend}")


def _bgzip(threads: int, level: int = LEVEL) -> list[str]:
    """Return the command that bgzips standard input to standard output."""
    return [_program("bgzip"), "-c", "-@", str(threads), "--compress-level", str(level)]


def _program(name: str) -> str:
    """Return the path of a program; InputError that names its package if it is missing."""
    path = shutil.which(name)
    if path is None:
        raise InputError(
            f"{name} is missing, which this kind of file needs (Debian: apt-get install {PACKAGES[name]}); "
            "a plain .vcf needs no program"
        )
    return path


def _require_writable(path: Path) -> None:
    """Raise InputError unless a file can be made at `path`."""
    try:
        if path.is_dir() and not (is_vcz(path) and is_vcz_store(path)):
            raise IsADirectoryError(0, "it is a folder")
        if is_vcz(path) and path.is_file():
            raise FileExistsError(0, "it is a file, and a VCF Zarr store is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
