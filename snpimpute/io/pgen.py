"""PLINK 2 file sets: pgen, pvar and psam as a stream of records, through the BCF that plink2 makes of them."""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.files import no_room
from snpimpute.base.programs import program, run_program
from snpimpute.io.builds import plain_contig
from snpimpute.io.filters import chosen_rows, parse_regions, require_contig
from snpimpute.io.plink import FAM_COLUMNS, sample_table, unique_names
from snpimpute.io.records import Accept, Stream
from snpimpute.io.vcf import Messages, vcf_stream

MAGIC = b"\x6c\x1b"
COUNTED = range(0x02, 0x20)  # storage modes whose header has the numbers of sites and samples
# Contigs whose ploidy plink2 decides by the samples' sex. All others get the mark: plink2 takes 28 for a part of the human
# X and refuses 40, and what it does not know it leaves diploid.
BY_SEX = ("X", "Y", "MT", "PAR1", "PAR2")
MARK = "_"
CONTIG_LINE = re.compile(rb"(##contig=<ID=)([^,>\s]+)")
NO_ROOM = ("write failure", "No space left", "File too large", "Disk quota")  # in what plink2 says of a full disk
MEMORY_MB = 2048  # by default plink2 takes half of the machine's memory
SEX_CODES = {"1": "1", "M": "1", "2": "2", "F": "2"}
PARENT_COLUMNS = {"FID": "family", "IID": "sample", "PAT": "father", "MAT": "mother", "SEX": "sex"}


def pgen_stream(
    path: Path,
    messages: Messages,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    accept: Accept | None = None,
    dosages: bool = False,
    lines: bool = False,
) -> Stream:
    """Open a PLINK 2 file set as a stream.

    The BCF is removed as soon as it is open, so that a killed process leaves no genotypes behind.

    REF and ALT are those of the .pvar. Calls of X, Y and MT are haploid where plink2 has them so: by the samples' sex. Contigs
    keep the names that the .pvar has; numbers are autosomes.

    The stream's samples have `sample`, `sex` and `family`, as those of `plink.plink_stream`.

    Args:
        path: the .pgen file; .pvar (or .pvar.zst) and .psam stand beside it.
        messages: returns what htslib has printed so far.
        region, samples, accept, dosages, lines: see `stream.streamed`.

    Raises:
        InputError: a file is missing or broken, or lacks what is asked of it; plink2 is missing or cannot read the file set.
    """
    psam = read_psam(path.with_suffix(".psam"))
    names = unique_names(psam)
    own = psam.iloc[chosen_rows(names, samples, path.name)].reset_index(drop=True)
    regions = [] if region is None else parse_regions(region)
    with _working_folder(path) as folder:
        marked = folder / "marked.pvar"
        contigs, n_sites = _mark_contigs(path, marked, folder)
        _require_counts(path, len(names), n_sites)
        for part in regions:
            require_contig(part, list(contigs), path.name)
        people = [f"{name}\t{sex}" for name, sex in zip(names, psam.sex, strict=True)]
        (folder / "people.psam").write_text("\n".join(["#IID\tSEX", *people]) + "\n")
        ranges = "".join(f"{contigs[part.contig]}\t{part.start}\t{part.end}\n" for part in regions)
        (folder / "ranges.txt").write_text(ranges)
        made = _export(path, folder, dosages, region)
        renamed = {there: contig for contig, there in contigs.items()}
        stream = vcf_stream(
            made, messages, samples=samples, accept=accept, dosages=dosages, lines=lines, contigs=renamed
        )
    table = sample_table(own).assign(sample=stream.names)
    return replace(stream, path=path, samples=table, fam=own)


def pvar_of(path: Path) -> Path:
    """Return the .pvar of a .pgen, or its .pvar.zst; InputError if neither is there."""
    for candidate in (path.with_suffix(".pvar"), path.with_suffix(".pvar.zst")):
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{path.with_suffix('.pvar')} is not there: a PLINK 2 file set is .pgen, .pvar and .psam side by side"
    )


def pgen_contigs(path: Path) -> list[str]:
    """Return the contigs of the records of a .pgen, in their order."""
    with _working_folder(path) as folder:
        contigs, _ = _mark_contigs(path, folder / "marked.pvar", folder)
    of_x = next((own for own, there in contigs.items() if there == "X"), "X")  # plink2 joins X's ends to it
    return list(dict.fromkeys(of_x if there in ("PAR1", "PAR2") else own for own, there in contigs.items()))


@contextmanager
def _working_folder(path: Path) -> Iterator[Path]:
    """Give a folder for the copies of a file set; InputError that names TMPDIR if there is no room for them."""
    try:
        with tempfile.TemporaryDirectory(prefix="snpimpute-pgen-") as folder:
            yield Path(folder)
    except OSError as error:
        if no_room(error):
            raise _full(path) from None
        raise


def _full(path: Path) -> InputError:
    where = tempfile.gettempdir()
    return InputError(f"no room for a copy of {path.name} in {where}: make room, or set TMPDIR to another folder")


def read_psam(path: Path) -> pd.DataFrame:
    """Return a .psam with the columns of a .fam (plink.FAM_COLUMNS): sex as 1, 2 or 0, the first phenotype, -9 where there is none.

    Raises:
        InputError: it is missing or empty, or a line has other columns than its header.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there: a PLINK 2 file set is .pgen, .pvar and .psam side by side")
    rows = [line.split() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    rows = [row for row in rows if not row[0].startswith("##")]
    titles = list(FAM_COLUMNS)
    if rows and rows[0][0] in ("#FID", "#IID"):
        titles = [PARENT_COLUMNS.get(title, title) for title in (rows[0][0][1:], *rows[0][1:])]
        rows = rows[1:]
    if not rows:
        raise InputError(f"{path.name} names no samples")
    if "sample" not in titles:
        raise InputError(f"{path.name} is not a PLINK 2 sample table: it has no IID")
    for row in rows:
        if len(row) != len(titles):
            raise InputError(f"{path.name} is broken: the line of {row[0]} has {len(row)} columns, not {len(titles)}")
    read = pd.DataFrame(rows, columns=titles)
    phenotypes = [title for title in titles if title not in (*PARENT_COLUMNS.values(), "SID")]
    table = pd.DataFrame({column: read.get(column, "0") for column in FAM_COLUMNS[:4]}, index=read.index)
    sex = read["sex"].str.upper().map(SEX_CODES).fillna("0") if "sex" in read else "0"
    phenotype = read[phenotypes[0]].replace({"NA": "-9", "nan": "-9"}) if phenotypes else "-9"
    return table.assign(sex=sex, phenotype=phenotype)


def _mark_contigs(path: Path, marked: Path, folder: Path) -> tuple[dict[str, str], int]:
    """Copy a .pvar with the contigs' names on their way through plink2; return contig → that name, and the number of sites.

    The line that tells plink2 of another organism's chromosomes is left out: under their marks, their names say nothing.
    """
    pvar = pvar_of(path)
    if pvar.suffix == ".zst":
        plain = folder / "plain.pvar"
        _run([_plink2(), "--zst-decompress", pvar, plain], pvar)
        pvar = plain
    contigs: dict[bytes, bytes] = {}
    n_sites, titled = 0, False
    with pvar.open("rb") as rows, marked.open("wb") as out:
        for row in rows:
            if row.startswith(b"##chrSet="):
                if b"haploidAutosomeCt" in row:
                    raise InputError(
                        f"{path.name} is of an organism with haploid autosomes; only diploid calls can be used"
                    )
            elif row.startswith(b"#"):
                out.write(CONTIG_LINE.sub(lambda found: found[1] + _through(found[2], contigs), row))
                titled = titled or row.startswith(b"#CHROM")
            elif columns := row.split(maxsplit=2):
                n_sites += 1
                contig, pos = columns[0], columns[1] if len(columns) > 1 else b""
                if titled and not pos.lstrip(b"-").isdigit():  # plink2 reads 1e+06 as 1
                    raise InputError(
                        f"{path.stem}.pvar gives {pos.decode(errors='replace')!r} as a position, which is not a number"
                    )
                there = contigs.get(contig) or contigs.setdefault(contig, _through(contig, contigs))
                out.write(b"\t".join([there, *columns[1:]]))
    decoded = {contig.decode(errors="replace"): there.decode(errors="replace") for contig, there in contigs.items()}
    return decoded, n_sites


def _through(contig: bytes, taken: Mapping[bytes, bytes]) -> bytes:
    """Return a contig's name on its way through plink2: its own name for it, if ploidy depends on it, else a marked one."""
    plain = plain_contig(contig.decode(errors="replace")).encode()
    others = {there for own, there in taken.items() if own != contig}
    return plain if plain.decode(errors="replace") in BY_SEX and plain not in others else MARK.encode() + contig


def _require_counts(path: Path, n_samples: int, n_sites: int) -> None:
    """Raise InputError unless the file is a .pgen of so many samples and sites, as far as its header tells."""
    try:
        with path.open("rb") as file:
            start = file.read(11)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if start[:2] != MAGIC or len(start) < 11:
        raise InputError(f"{path.name} is not a PLINK 2 pgen: plink2 --make-pgen makes one")
    counts = struct.unpack("<II", start[3:])
    if start[2] in COUNTED and counts != (n_sites, n_samples):
        raise InputError(
            f"{path.name} holds {counts[1]} samples × {counts[0]} sites, .psam and .pvar beside it {n_samples} × {n_sites}: "
            "they are of another file set, or cut short"
        )


def _export(path: Path, folder: Path, dosages: bool, region: str | None) -> Path:
    """Have plink2 write the file set with the marked contigs as a file that htslib reads, and return that.

    It is a BCF, which takes half the time of a VCF to write and read again; but one whose header must define what FILTER and
    INFO hold, and a .pvar may lack that.
    """
    command: list[str | Path] = [
        _plink2(),
        "--pgen",
        path,
        "--pvar",
        folder / "marked.pvar",
        "--psam",
        folder / "people.psam",
    ]
    command += ["--allow-extra-chr", "--threads", "1", "--memory", str(MEMORY_MB), "--out", folder / "made"]
    if region is not None:
        command += ["--extract", "bed1", folder / "ranges.txt"]
    written = ["id-paste=iid", *(["vcf-dosage=DS-force"] if dosages else [])]
    undefined = _run([*command, "--export", "bcf", *written], path, region, unless="no corresponding header")
    kind = ".bcf"
    if undefined:
        kind = ".vcf"
        _run([*command, "--export", "vcf", *written], path, region)
    made = folder / path.name  # messages name the file by it
    (folder / f"made{kind}").rename(made)
    return made


def _run(command: Sequence[str | Path], path: Path, region: str | None = None, unless: str | None = None) -> bool:
    """Run plink2; InputError in one line where it fails, but True where it fails by saying `unless`."""
    done = run_program(command)
    if done.returncode == 0:
        return False
    said = " ".join(done.stderr.split("Error: ", 1)[-1].split())
    if unless is not None and unless in said:
        return True
    if "No variants remaining" in said and region is not None:
        raise InputError(f"{path.name} has no records in {region}")
    if any(sign in said for sign in NO_ROOM):
        raise _full(path)
    if "Error: " not in done.stderr:
        said = "it gave no message"
    raise InputError(f"{path.name} is broken, or newer than the plink2 here ({said[:300]}): make or fetch it again")


def _plink2() -> str:
    return program("plink2", "a .pgen", "Debian: apt-get install plink2")
