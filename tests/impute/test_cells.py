"""Files that are read cell by cell: what is found is the same, to the last digit, as in one pass over them."""

from __future__ import annotations

import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.base.processes import HERE, Engine
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.check import check_target
from snpimpute.impute.concordance import compare_files
from snpimpute.impute.matching import PanelSites
from snpimpute.io.filters import NoGenotypes
from snpimpute.io.plink import write_bed
from snpimpute.io.write_vcf import write_vcf
from tests.cluster.workers import Told
from tests.io.test_vcf import FIXED, record

APART = Engine()  # processes of this machine, as HERE has them, but asked for: files are read cell by cell
CALLS = ("0|0", "0|1", "1|0", "1|1", "0/1", "./.", "./1")


def indexed(path: Path, index: str = "csi") -> Path:
    """The file, bgzipped or as BCF, with an index."""
    made = path.with_name(f"{path.stem}.bcf" if index == "bcf" else f"{path.stem}.vcf.gz")
    subprocess.run(["bcftools", "view", "-Ob" if index == "bcf" else "-Oz", "-o", made, path], check=True)
    subprocess.run(["bcftools", "index", "-f", *(["-t"] if index == "tbi" else []), made], check=True)
    return made


def some_file(
    path: Path, seed: int, names: list[str], *, contigs: tuple[str, ...] = ("1", "2", "X"), every: int = 1
) -> Path:
    """Calls of every kind on three contigs, in cells with many sites, with one and with none; the last one is haploid in some."""
    rng = np.random.default_rng(seed)
    lines = []
    for contig in contigs:
        places = [*range(4_999_000, 5_001_000, 20), 11_000_000, *range(20_000_000, 20_001_000, 20)]
        for number, pos in enumerate(places[::every]):
            cells = [CALLS[rng.integers(4 if rng.random() < 0.7 else 7)] for _ in names]
            if contig.endswith("X"):
                cells[::2] = [str(rng.integers(2)) for _ in cells[::2]]
            alleles = ("A", "C") if pos % 300 else ("A", "C,G")
            text = record(pos, cells, *alleles, contig=contig)
            lines.append(text)
            if number == 3:
                lines.append(text)  # a record that repeats another
    header = ["##fileformat=VCFv4.2", *(f"##contig=<ID={contig}>" for contig in contigs)]
    header += [f'##FORMAT=<ID={key},Number=1,Type=String,Description="Calls">' for key in ("GT", "XX")]
    path.write_text("\n".join([*header, "\t".join([*FIXED, *names])]) + "\n" + "".join(lines))
    return path


def same(one: Any, other: Any) -> None:
    """Assert that two results have the same content, numbers to the last digit."""
    for each in fields(one):
        found, again = getattr(one, each.name), getattr(other, each.name)
        if isinstance(found, pd.DataFrame):
            pd.testing.assert_frame_equal(found, again, check_exact=True, obj=each.name)
        else:
            np.testing.assert_equal(again, found, err_msg=each.name)


def test_a_comparison_is_the_same(tmp_path: Path) -> None:
    """With phase, typed calls in a file and in a list, contigs of other names, and a contig that one file lacks."""
    names = [f"s{i}" for i in range(7)]
    truth = indexed(some_file(tmp_path / "truth.vcf", 1, names))
    imputed = indexed(some_file(tmp_path / "imputed.vcf", 2, names[::-1], contigs=("chr1", "chrX")), "bcf")
    typed = indexed(some_file(tmp_path / "typed.vcf", 3, names, every=4), "tbi")
    (tmp_path / "typed.txt").write_text("1:4999000\n1:20000100\n")
    for before in (typed, tmp_path / "typed.txt"):
        told = Told()
        whole = compare_files(truth, imputed, typed=before)
        same(whole, compare_files(truth, imputed, typed=before, watch=told, engine=APART))
        assert not told.lines
        assert whole.counts["records_only_in_truth"] > 30 and whole.phase["switches"] > 10


def test_a_check_is_the_same(tmp_path: Path) -> None:
    """With trios, haploid runs that go on from cell to cell, samples with the same calls, and calls marked as imputed."""
    names = [f"s{i}" for i in range(8)]
    panel = indexed(some_file(tmp_path / "panel.vcf", 1, ["p1", "p2", "p3"]))
    text = some_file(tmp_path / "plain.vcf", 2, names[:7]).read_text()
    lines = [
        line if line.startswith("##") else f"{line}\t{line.split()[-1] if line[0] != '#' else 's7'}"
        for line in text.splitlines()
    ]
    marked = '##INFO=<ID=IMP,Number=0,Type=Flag,Description="Imputed marker">'
    for number, line in enumerate(lines):
        if line.startswith("1\t") and number % 9 == 0:
            columns = line.split("\t")
            lines[number] = "\t".join([*columns[:7], "IMP", *columns[8:]])
    (tmp_path / "target.vcf").write_text("\n".join([lines[0], marked, *lines[1:]]) + "\n")
    target = indexed(tmp_path / "target.vcf", "tbi")
    table = pd.DataFrame(
        {"sample": names[:3], "sire": ["", "s0", "s0"], "dam": ["", "s3", "nobody"], "group": ["a", "b", "a"]}
    )
    sites = PanelSites.of_file(panel)
    apart = PanelSites.of_file(panel, engine=APART)
    same(sites, apart)
    whole = check_target(target, sites, samples=table)
    same(whole, check_target(target, apart, samples=table, engine=APART))
    assert whole.trios.sites.sum() > 50 and any("marked as imputed" in line for line in whole.warnings)
    assert any("identical in every call: s6 = s7" in line for line in whole.warnings)
    assert any("X:4999000-20000980" in line for line in whole.warnings), "one run over three cells"


@pytest.mark.panels  # bytes of a bed and chunks of a store are asked for in tests of their readers, too
@pytest.mark.parametrize("kind", ["bed", "vcz"])
def test_other_formats_are_the_same(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(5)
    pos = [*range(4_999_000, 5_001_000, 100), 20_000_000]
    rows = [(contig, each, f"r{each}", "A", "C") for contig in ("1", "2") for each in pos]
    sites = pd.DataFrame(rows, columns=["contig", "pos", "id", "ref", "alt"])
    calls = rng.integers(-1, 3, (6, len(sites))).astype(np.int8)
    matrix = GenotypeMatrix(calls, pd.DataFrame({"sample": [f"s{i}" for i in range(6)]}), sites)
    write_vcf(tmp_path / "truth.vcf.gz", matrix)
    subprocess.run(["bcftools", "index", tmp_path / "truth.vcf.gz"], check=True)
    path = tmp_path / f"imputed.{kind}"
    if kind == "bed":
        write_bed(path, matrix)
    else:
        from bio2zarr import vcf

        vcf.convert([tmp_path / "truth.vcf.gz"], path, variants_chunk_size=7)
    told = Told()
    found = compare_files(tmp_path / "truth.vcf.gz", path, watch=told, engine=APART)
    assert not told.lines and found.overall["concordance"] == 1 and found.counts["sites"] == len(sites)
    same(compare_files(tmp_path / "truth.vcf.gz", path), found)


def test_what_cannot_be_read_apart_is_read_in_one_pass_and_said(tmp_path: Path) -> None:
    path = some_file(tmp_path / "a.vcf", 1, ["a", "b"])
    told = Told()
    same(compare_files(path, path), compare_files(path, path, watch=told, engine=APART))
    assert told.lines == ["a.vcf has no index: it is read here, in one pass, and not on the cluster"]


def test_refusals_are_those_of_one_pass(tmp_path: Path) -> None:
    """Files without genotypes, and with contigs in another order."""
    one = indexed(some_file(tmp_path / "one.vcf", 1, ["a", "b"], contigs=("1", "2")))
    others = {
        "bare": some_file(tmp_path / "bare.vcf", 1, ["a", "b"], contigs=("1", "2"))
        .read_text()
        .replace("\tGT\t", "\tXX\t"),
        "turned": some_file(tmp_path / "turned.vcf", 1, ["a", "b"], contigs=("2", "1")).read_text(),
    }
    for name, text in others.items():
        (tmp_path / f"{name}.vcf").write_text(text)
        path = indexed(tmp_path / f"{name}.vcf", "tbi")
        said = []
        for engine in (HERE, APART):
            with pytest.raises(InputError) as refused:
                compare_files(one, path, engine=engine)
            said.append((type(refused.value), str(refused.value)))
        assert said[0] == said[1]
        assert (said[0][0] is NoGenotypes) == (name == "bare")
