"""Genotype files that are damaged in the ways that transfers, editors and scripts damage them; seeded, one a number."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

KINDS = ("vcf", "vcf.gz", "bcf", "bed", "pgen")
N_SITES, N_SAMPLES = 24, 6
HEADER = """##fileformat=VCFv4.2
##FILTER=<ID=PASS,Description="All filters passed">
##contig=<ID=1,length=100000>
##INFO=<ID=DR2,Number=A,Type=Float,Description="r2">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DS,Number=A,Type=Float,Description="Dosage">
##FORMAT=<ID=GP,Number=G,Type=Float,Description="Posterior">
"""


def whole_text(seed: int = 1, dosages: bool = True) -> str:
    """A sound VCF: 24 SNPs of one contig, six samples, some missing calls."""
    rng = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(N_SAMPLES)]
    lines = [HEADER + "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *names])]
    for j in range(N_SITES):
        calls = rng.choice([-1, 0, 1, 2], N_SAMPLES, p=[0.1, 0.4, 0.3, 0.2])
        spelled = [{-1: "./.", 0: "0/0", 1: "0|1", 2: "1/1"}[int(call)] for call in calls]
        if dosages:
            gp = np.eye(3)[np.maximum(calls, 0)]
            spelled = [
                f"{gt}:{max(int(c), 0)}:{','.join(f'{p:g}' for p in row)}"
                for gt, c, row in zip(spelled, calls, gp, strict=True)
            ]
        fixed = ["1", str(1000 * (j + 1)), f"v{j}", "A", "C", ".", "PASS", "DR2=0.9" if dosages else "."]
        lines.append("\t".join([*fixed, "GT:DS:GP" if dosages else "GT", *spelled]))
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------- damage to text


def _on_line(change: Callable[[str, np.random.Generator], str]) -> Callable[[str, np.random.Generator], str]:
    """Damage to one record."""

    def damage(text: str, rng: np.random.Generator) -> str:
        lines = text.split("\n")
        records = [i for i, line in enumerate(lines) if line and not line.startswith("#")]
        at = int(rng.choice(records))
        lines[at] = change(lines[at], rng)
        return "\n".join(lines)

    return damage


def _column(place: int, *values: str) -> Callable[[str, np.random.Generator], str]:
    """Another value in a column of one record."""

    def change(line: str, rng: np.random.Generator) -> str:
        columns = line.split("\t")
        columns[place if place >= 0 else int(rng.integers(9, len(columns)))] = str(rng.choice(values))
        return "\t".join(columns)

    return _on_line(change)


def _in_header(*lines: str) -> Callable[[str, np.random.Generator], str]:
    def damage(text: str, rng: np.random.Generator) -> str:
        rows = text.split("\n")
        end = next(i for i, row in enumerate(rows) if row.startswith("#CHROM"))
        rows.insert(int(rng.integers(1, end + 1)), str(rng.choice(lines)))
        return "\n".join(rows)

    return damage


def _header_again(text: str, rng: np.random.Generator) -> str:
    header, records = text.split("\n1\t", 1)
    lines = ("1\t" + records).split("\n")
    at = int(rng.integers(1, len(lines) - 1))
    return "\n".join([header, *lines[:at], header, *lines[at:]])


def _line_moved(text: str, rng: np.random.Generator) -> str:
    lines = text.rstrip("\n").split("\n")
    first = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    a, b = rng.integers(first, len(lines), 2)
    lines.insert(int(b), lines.pop(int(a)))
    return "\n".join(lines) + "\n"


def _without_header_line(text: str, rng: np.random.Generator) -> str:
    rows = text.split("\n")
    header = [i for i, row in enumerate(rows) if row.startswith("#")]
    del rows[int(rng.choice(header))]
    return "\n".join(rows)


def _bytes_changed(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, len(data), int(rng.integers(1, 6))):
        changed[int(at)] = int(rng.integers(0, 256))
    return bytes(changed)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


TEXT = (
    _on_line(lambda line, rng: ""),
    _on_line(lambda line, rng: f"#{line}"),
    _on_line(lambda line, rng: f"\n{line}"),
    _on_line(lambda line, rng: line.replace("\t", " ")),
    _on_line(lambda line, rng: line.replace("\t", "\t\t", 1)),
    _on_line(lambda line, rng: "\t".join(line.split("\t")[: int(rng.integers(1, 14))])),
    _on_line(lambda line, rng: "\t".join(line.split("\t")[:8])),
    _on_line(lambda line, rng: f"{line}\t0/1"),
    _on_line(lambda line, rng: line.rsplit("\t", 1)[0]),
    _on_line(lambda line, rng: line[: int(rng.integers(1, len(line)))]),
    _on_line(lambda line, rng: f"{line}\r"),
    _on_line(lambda line, rng: f"{line}\t"),
    _column(0, "chr1", "7", "", ".", "1 ", "1\x00"),
    _column(1, "1e+05", "0", "-5", "x", "", "99999999999", "1.5", "3000000000"),
    _column(2, "", "a;b", "\udcff", "ü", "v" * 5000),
    _column(3, "", ".", "N", "<DEL>", "a", "ACGT", "1", "*"),
    _column(4, "", ".", "C,G", "C,<NON_REF>", "*", "<CN0>", "A", "c", "C,", "N]7:1]"),
    _column(5, "", "x", "-1"),
    _column(6, "", "q10", "PASS;q10", "0"),
    _column(7, "", "DR2", "DR2=x", "DR2=", "=", ";", "NEW=1", "DR2=0.9;;"),
    _column(8, "", ".", "DP:GT", "DS", "GP", "XX", "GT:GT", ":GT", "gt"),
    _column(
        -1, "", ".", "0", "1", "0/2", "0/256", "0/1/1", "./1", "1|.", "-1/0", "0/x", "0//1", "/", "0/0:x:y", "0/1:1e400"
    ),
    _in_header(
        "## no equals sign", "##source=<x>", "##chrSet=<ID=1,autosomePairCt=29,X,Y,M>", "", "##=", "##contig=<ID=1>"
    ),
    _in_header(
        "##FORMAT=<ID=DS,Number=1,Type=String,Description=x>", "##INFO=<ID=", "##contig=<>", "# comment", "\udcff"
    ),
    _header_again,
    _line_moved,
    _without_header_line,
    lambda text, rng: text.replace("##contig=<ID=1,length=100000>\n", ""),
    lambda text, rng: text.replace("\ts1\t", "\ts0\t"),
    lambda text, rng: text.replace("\ts1\t", "\t s 1 \t"),
    lambda text, rng: text.replace("\n", "\r\n"),
    lambda text, rng: text.rstrip("\n"),
)
PLINK = {"bed": ("bed", "bim", "fam"), "pgen": ("pgen", "pvar", "psam")}
TABLE = (
    lambda text, rng: "\n".join(text.split("\n")[:-2]),
    lambda text, rng: text.replace(" ", "\t").replace("\t", " ", 3),
    lambda text, rng: text.replace("1", "x", int(rng.integers(1, 5))),
    lambda text, rng: text + "junk\n",
    lambda text, rng: text.replace("C", "0").replace("A", "0", 2),
    lambda text, rng: text.replace("1000", "-1000", 1),
    lambda text, rng: "",
    lambda text, rng: "\udcff" + text,
)


def damaged(number: int, folder: Path) -> Path:
    """Write the damaged file of that number into a folder; returns it (of PLINK, the .bed or .pgen)."""
    rng = np.random.default_rng([7, number])
    kind = KINDS[number % len(KINDS)] if number % 3 else "vcf"
    path = folder / f"damaged.{kind}"
    text = whole_text(dosages=bool(number % 2))
    if kind in PLINK:
        return _damaged_plink(number, kind, folder, text, rng)
    if kind == "vcf":
        damage = TEXT[(number // 2) % len(TEXT)] if number % 8 else None
        data = damage(text, rng).encode(errors="surrogateescape") if damage else _bytes_changed(text.encode(), rng)
        path.write_bytes(data)
        return path
    (folder / "whole.vcf").write_text(text)
    if kind == "vcf.gz":
        packed = subprocess.run(["bgzip", "-c", folder / "whole.vcf"], capture_output=True, check=True).stdout
        if number % 4 == 1:
            packed = gzip.compress(_bytes_changed(text.encode(), rng))
    else:
        packed = subprocess.run(
            ["bcftools", "view", "-Ob", folder / "whole.vcf"], capture_output=True, check=True
        ).stdout
        if number % 2:  # damage within what is compressed
            packed = gzip.compress(_bytes_changed(gzip.decompress(packed), rng))
    damage_bytes = (_bytes_changed, _cut, lambda data, rng: data + data)[number % 3]
    path.write_bytes(damage_bytes(packed, rng) if number % 5 else packed)
    return path


def damaged_store(number: int, folder: Path) -> Path:
    """Copy the VCF Zarr store sound.vcz beside a folder into it, with the damage of that number to one of its files."""
    rng = np.random.default_rng([9, number])
    path = Path(shutil.copytree(folder.parent / "sound.vcz", folder / "damaged.vcz"))
    files = sorted(each for each in path.rglob("*") if each.is_file())
    file = files[int(rng.integers(len(files)))]
    kind = number % 6
    if kind == 0:
        file.unlink()
    else:
        data = file.read_bytes()
        file.write_bytes(b"" if kind == 1 else _cut(data, rng) if kind == 2 else _bytes_changed(data, rng))
    return path


def _damaged_plink(number: int, kind: str, folder: Path, text: str, rng: np.random.Generator) -> Path:
    (folder / "whole.vcf").write_text(text)
    command = ["plink2", "--vcf", folder / "whole.vcf", f"--make-{kind}", "--out", folder / "damaged", "--silent"]
    subprocess.run([*command, "--vcf-half-call", "missing", "--threads", "1"], capture_output=True, check=True)
    which = number // 4 % 3
    path = folder / f"damaged.{PLINK[kind][which]}"
    if which == 0:
        path.write_bytes((_bytes_changed, _cut)[number % 2](path.read_bytes(), rng))
    else:
        changed = TABLE[int(rng.integers(len(TABLE)))](path.read_text(), rng)
        path.write_bytes(changed.encode(errors="surrogateescape"))
    return folder / f"damaged.{kind}"
