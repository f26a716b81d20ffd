"""The imputed file as bcftools, plink2 and our own reader see it; records kept, and each way that writing can fail."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.base.programs import beagle_jar, java
from snpimpute.dataset.simulate import SimulationSettings, simulate_bulls
from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.imputed import ImputedSites, ImputedWriter, _CallTexts, _imputed_codes, _summaries
from snpimpute.io.imputed_header import header_lines, own_lines
from snpimpute.io.matrix import read_matrix
from snpimpute.io.target_line import TargetLine
from snpimpute.io.write_vcf import write_vcf

ROOT = Path(__file__).parents[2]
N_SAMPLES = 60
SAMPLES = [f"cow_{i}" for i in range(N_SAMPLES)]
CONTIGS = ("28", "chr1", "X", "scaffold_7")  # plink2 by itself knows 28 as a part of the human X
HEADER = """##fileformat=VCFv4.3
##source=array
##FILTER=<ID=q10,Description="Low quality">
##contig=<ID=28,length=46000000>
##contig=<ID=chr1>
##INFO=<ID=AC,Number=A,Type=Integer,Description="Count">
##INFO=<ID=AF,Number=1,Type=String,Description="theirs, ID=AF, is replaced">
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">
##INFO=<ID=QD,Number=A,Type=Float,Description="Per allele">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=AD,Number=.,Type=Integer,Description="Reads per allele">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">
##FORMAT=<ID=GP,Number=3,Type=String,Description="theirs">
##snpimpute_model=of an earlier run
"""
ABOUT = {"command": "snpimpute impute a.vcf\n-o b.vcf.gz", "model": "bulls@champion", "data": "0123abcd"}
FLAGS = {"NOPANEL": "Not in the panel"}


def line(
    contig: str,
    pos: int,
    calls: Sequence[str],
    ref: str = "A",
    alt: str = "C",
    name: str = ".",
    info: str = ".",
    fmt: str = "GT",
) -> str:
    return "\t".join([contig, str(pos), name, ref, alt, "30", "q10", info, fmt, *calls]) + "\n"


def some_sites(contig: str, n_sites: int = 40, first: int = 1) -> ImputedSites:
    """A third of the sites with calls, phased or not, a quarter of these missing; posteriors of every kind, ties too."""
    rng = np.random.default_rng([n_sites, first, len(contig)])
    shape = (N_SAMPLES, n_sites)
    posterior = rng.dirichlet((0.3, 0.2, 0.3), shape).astype(np.float32)
    posterior[:4] = [0.5, 0.5, 0.0]
    posterior[4:8] = [0.0, 0.5, 0.5]
    posterior[8:10] = [0.4, 0.35, 0.25]  # the largest is 0, the dosage 0.85
    observed = np.full(shape, MISSING, dtype=np.int8)
    records: list[str | None] = [None] * n_sites
    positions = first + 10 * np.arange(n_sites)
    for j in range(0, n_sites, 3):
        spelled = rng.choice(["0/0", "0/1", "1/0", "1|0", "0|1", "1|1", "./.", ".", "0/."], N_SAMPLES)
        records[j] = line(contig, int(positions[j]), spelled.tolist(), name=f"rs{j}")
        observed[:, j] = [c.count("1") if len(c) == 3 and "." not in c else MISSING for c in spelled]
    seen = observed != MISSING
    posterior[seen] = np.eye(3, dtype=np.float32)[observed[seen]]
    sites = pd.DataFrame({"contig": contig, "pos": positions, "id": "panel", "ref": "A", "alt": "C"})
    return ImputedSites(sites, posterior, observed, records, np.zeros(n_sites, dtype=bool))


BLOCKS = [some_sites("28"), some_sites("28", first=1000), *(some_sites(contig) for contig in CONTIGS[1:])]


def write(path: Path, blocks: Sequence[ImputedSites] = tuple(BLOCKS), **options: Any) -> Path:
    settings: dict[str, Any] = {"contigs": CONTIGS, "about": ABOUT, "flags": FLAGS, "threads": 2, **options}
    header = settings.pop("header", HEADER)
    with ImputedWriter(path, header, SAMPLES, **settings) as writer:
        for block in blocks:
            writer.write(block)
    return path


def query(path: Path, wanted: str, *options: str) -> list[list[str]]:
    command = ["bcftools", "query", *options, "-f", wanted + "\n", str(path)]
    given = subprocess.run(command, check=True, capture_output=True, text=True)
    assert given.stderr == ""
    return [row.split("\t") for row in given.stdout.splitlines()]


def query_calls(path: Path, wanted: str, *options: str) -> list[list[str]]:
    return [row[1:] for row in query(path, f"[\t{wanted}]", *options)]


def values(path: Path, key: str, *options: str) -> np.ndarray:
    """float64 (n_sites, n_samples, …) of a FORMAT field as bcftools reads it."""
    rows = [[[float(n) for n in cell.split(",")] for cell in row] for row in query_calls(path, f"%{key}", *options)]
    return np.squeeze(np.array(rows))


def posteriors() -> np.ndarray:
    """float64 (n_sites, n_samples, 3) of all blocks."""
    return np.concatenate([block.posterior for block in BLOCKS], axis=1).transpose(1, 0, 2).astype(float)


def expected_calls() -> list[list[str]]:
    spelled = []
    for block in BLOCKS:
        for j, record in enumerate(block.records):
            theirs = record.split()[9:] if record else [""] * N_SAMPLES
            given = zip(theirs, block.observed[:, j], block.posterior[:, j].argmax(axis=1), strict=True)
            spelled.append([text if seen >= 0 else ("0/0", "0/1", "1/1")[best] for text, seen, best in given])
    return spelled


@pytest.mark.parametrize(
    ("calls", "fmt", "expected"),
    [
        (["0|1", "1/1", "./."], "GT", ["0|1\t", "1/1\t", "./.\t"]),
        (["0|1:7", "1/1", "./.:."], "GT:DP", ["0|1\t", "1/1\t", "./.\t"]),
        (["5:0|1", "7:1/0:3", "."], "DP:GT:AD", ["0|1\t", "1/0\t", "./.\t"]),  # values omitted at a sample's end
        (["0", "1/1", "1"], "GT", ["0\t1/", "1/1\t", "1\t\t\t"]),  # four bytes, whatever they are
        (["0/10", "1/1", "0/0"], "GT", ["0/10", "1/1\t", "0/0\t"]),
        (["0:111", "1/1", "0/0"], "GT:DP", ["0:1" + "1", "1/1\t", "0/0\t"]),
    ],
)
def test_words_are_what_each_sample_s_gt_begins_with(calls: list[str], fmt: str, expected: list[str]) -> None:
    words = TargetLine(line("chr1", 7, calls, fmt=fmt), 3).words()
    assert words.dtype == np.uint32 and [word.tobytes().decode() for word in words] == expected


def test_a_line_without_calls_has_empty_ones_and_nothing_to_keep() -> None:
    bare = TargetLine("chr1\t7\t.\tA\tC\t.\tPASS\tDP=3;HM;.;AF=1\n", 3)
    assert bare.words().tobytes() == b"\t" * 12
    assert bare.other_info({"AF"}) == ["DP=3", "HM"] and bare.other_fields({"GT"}) == ("", [])
    assert (bare.contig, bare.pos, bare.name, bare.ref, bare.alt) == ("chr1", "7", ".", "A", "C")
    assert (bare.quality, bare.passed, bare.info) == (".", "PASS", "DP=3;HM;.;AF=1")


@pytest.mark.parametrize("alt", [".", "<*>", "<NON_REF>", "c"])
def test_an_alt_that_is_not_stated_is_the_site_s_other_allele(alt: str) -> None:
    TargetLine(line("chr1", 7, ["0/0"], ref="a", alt=alt), 1).require_at("chr1", 7, ("A", "C"))


def test_a_line_of_another_number_of_samples_is_refused() -> None:
    for calls, fmt in ((["0/1", "1/1"], "GT"), (["0/1:3", "1/1:4"], "GT:DP")):
        with pytest.raises(ValueError, match=r"^chr1:7 has calls of 2 samples, not 3$"):
            TargetLine(line("chr1", 7, calls, fmt=fmt), 3).words()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("imputed") / "out.vcf.gz")


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".bcf"])
def test_bcftools_reads_what_was_given(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"out{suffix}")
    assert query_calls(path, "%GT") == expected_calls()
    p = posteriors()
    dosage = p @ [0, 1, 2]
    np.testing.assert_allclose(values(path, "GP"), p, atol=0.00501)
    np.testing.assert_allclose(values(path, "DS"), dosage, atol=0.00501)
    info = query(path, "%INFO/AF\t%INFO/DR2\t%INFO/IMP\t%ID\t%QUAL\t%FILTER")
    np.testing.assert_allclose([float(row[0]) for row in info], dosage.mean(axis=1) / 2, rtol=5.1e-4)
    r2 = dosage.var(axis=1) / ((p @ [0, 1, 4]).mean(axis=1) - dosage.mean(axis=1) ** 2)
    np.testing.assert_allclose([float(row[1]) for row in info], r2, atol=0.00501)
    typed = [record is not None for block in BLOCKS for record in block.records]
    assert [row[2] for row in info] == ["." if is_typed else "1" for is_typed in typed]
    records = [record for block in BLOCKS for record in block.records]
    fixed = [[record.split()[i] for i in (2, 5, 6)] if record else ["panel", ".", "PASS"] for record in records]
    assert [row[3:] for row in info] == fixed
    assert subprocess.check_output(["bcftools", "query", "-l", path], text=True).split() == SAMPLES
    files = {".vcf": [], ".vcf.gz": ["out.vcf.gz.tbi"], ".bcf": ["out.bcf.csi"]}[suffix]
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"out{suffix}", *files]


def test_decimals_are_two_at_most_and_trimmed(written: Path) -> None:
    cells = [cell.split(":") for row in query_calls(written, "%GT:%DS:%GP") for cell in row]
    assert ["0/0", "0.5", "0.5,0.5,0"] in cells
    assert ["0/0", "0.85", "0.4,0.35,0.25"] in cells
    text = gzip.decompress(written.read_bytes()).decode().splitlines()
    numbers = {n for row in text if row[0] != "#" for cell in row.split()[9:] for n in cell.split(":")[2].split(",")}
    assert max(map(len, numbers)) == 4
    assert not any(n.endswith("0") and "." in n for n in numbers)


def test_every_rounding_of_a_posterior_is_spelled_to_the_hundredth() -> None:
    texts = _CallTexts(flag_imputed=True, ties_lean=False)
    rng = np.random.default_rng(4)
    drawn = rng.dirichlet((0.5, 0.5, 0.5), (150, 150)).astype(np.float32)
    halves = rng.multinomial(200, (0.4, 0.3, 0.3), (150, 150)).astype(np.float32) / 200  # every one on an edge
    for posterior in (drawn, halves, np.eye(3, dtype=np.float32)[rng.integers(0, 3, (150, 150))]):
        cells = [cell.split(":") for row in texts.of(_imputed_codes(posterior.transpose(2, 1, 0))) for cell in row]
        p = posterior.transpose(1, 0, 2).reshape(-1, 3)
        np.testing.assert_allclose([float(cell[1]) for cell in cells], p @ [0, 1, 2], atol=0.00501)
        np.testing.assert_allclose([[float(n) for n in cell[2].split(",")] for cell in cells], p, atol=0.00501)
        assert [cell[0] for cell in cells] == [("0/0", "0/1", "1/1")[g] for g in p.argmax(axis=1)]
        assert {cell[3] for cell in cells} == {"1"}


def test_our_reader_gives_the_calls_back_by_region(written: Path) -> None:
    matrix, left_out = read_matrix(written, region="28;chr1")
    given = [np.where(b.observed >= 0, b.observed, b.posterior.argmax(axis=2)) for b in BLOCKS[:3]]
    np.testing.assert_array_equal(matrix.calls, np.concatenate(given, axis=1))
    assert matrix.names == SAMPLES
    assert matrix.sites.contig.unique().tolist() == ["28", "chr1"]
    assert left_out.set_index("reason").n[["read", "kept"]].tolist() == [120, 120]


# ------------------------------------------------------------------ records of the target


def one_site(record: str | None, observed: Sequence[int], swapped: bool = False) -> ImputedSites:
    seen = np.array([observed], dtype=np.int8).T
    posterior = np.where(seen[:, :, None] >= 0, np.eye(3)[seen], [0.2, 0.7, 0.1]).astype(np.float32)
    sites = pd.DataFrame({"contig": ["chr1"], "pos": [7], "id": [""], "ref": ["A"], "alt": ["C"]})
    return ImputedSites(sites, posterior, seen, [record], np.array([swapped]))


def written_line(path: Path, block: ImputedSites, **options: Any) -> list[str]:
    names = [f"s{i}" for i in range(len(block.observed))]
    with ImputedWriter(path, HEADER, names, contigs=["chr1"], about={}, **options) as writer:
        writer.write(block)
    return path.read_text().splitlines()[-1].split("\t")


def test_exchanged_alleles_keep_their_phase(tmp_path: Path) -> None:
    record = line("chr1", 7, ["0|1", "1|0", "0/0", "1|1", "./."], ref="C", alt="A")
    cells = written_line(tmp_path / "x.vcf", one_site(record, [1, 1, 2, 0, -1], swapped=True))
    assert cells[3:5] == ["A", "C"]
    assert cells[9:] == ["1|0:1:0,1,0", "0|1:1:0,1,0", "1/1:2:0,0,1", "0|0:0:1,0,0", "0/1:0.9:0.2,0.7,0.1"]


def test_observed_calls_without_a_record_are_unphased(tmp_path: Path) -> None:
    cells = written_line(tmp_path / "x.vcf", one_site(None, [0, 1, 2, -1]), flag_imputed=True)
    assert cells[8:] == ["GT:DS:GP:IC", "0/0:0:1,0,0:0", "0/1:1:0,1,0:0", "1/1:2:0,0,1:0", "0/1:0.9:0.2,0.7,0.1:1"]


def test_other_fields_are_kept_on_request(tmp_path: Path) -> None:
    info = "AC=3;DP=90;AF=x;QD=1.5;HM"
    calls = ["0|1:2,3:5:.,1,0", "1/1:.:7", "./.", "0/0:4,0:4:1,0,0"]
    block = one_site(line("chr1", 7, calls, info=info, fmt="GT:AD:DP:GP"), [1, 2, -1, 0])
    cells = written_line(tmp_path / "x.vcf", block)
    assert (cells[7], cells[8], cells[9]) == ("AF=0.4875;DR2=0.87", "GT:DS:GP", "0|1:1:0,1,0")
    cells = written_line(tmp_path / "x.vcf", block, keep_fields=True, flag_imputed=True)
    assert cells[7:9] == ["AF=0.4875;DR2=0.87;DP=90;QD=1.5;HM", "GT:DS:GP:IC:AD:DP"]
    assert cells[9:] == [
        "0|1:1:0,1,0:0:2,3:5",
        "1/1:2:0,0,1:0:.:7",
        "0/1:0.9:0.2,0.7,0.1:1:.:.",
        "0/0:0:1,0,0:0:4,0:4",
    ]


def test_fields_per_allele_go_where_alleles_are_exchanged(tmp_path: Path) -> None:
    record = line("chr1", 7, ["0|1:2,3:5", "1/1:.:7"], ref="C", alt="A", info="QD=1.5;DP=9", fmt="GT:AD:DP")
    cells = written_line(tmp_path / "x.vcf", one_site(record, [1, 0], swapped=True), keep_fields=True)
    assert cells[7].endswith(";DP=9")
    assert "QD" not in cells[7]
    assert cells[8:] == ["GT:DS:GP:DP", "1|0:1:0,1,0:5", "0/0:0:1,0,0:7"]


def test_records_pass_through_as_they_are(tmp_path: Path) -> None:
    kept = line("chr1", 3, ["0", "1|2:9", "./1"], ref="AT", alt="A,G", info="DP=3;AC=1", fmt="GT:DP")
    bare = line("chr1", 4, ["0", "1|1", "./1"])
    path = tmp_path / "x.vcf"
    with ImputedWriter(path, HEADER, ["a", "b", "c"], contigs=["chr1"], about={}, flags=FLAGS) as writer:
        writer.pass_through(kept)
        writer.pass_through(kept, "NOPANEL")
        writer.pass_through(bare, "NOPANEL")
        with pytest.raises(ValueError, match="OTHER"):
            writer.pass_through(bare, "OTHER")
        with pytest.raises(ValueError, match="chr9"):
            writer.pass_through(bare.replace("chr1", "chr9"))
    lines = path.read_text().splitlines(keepends=True)[-3:]
    flagged = "DP=3;AC=1;NOPANEL"
    assert lines == [kept, kept.replace("DP=3;AC=1", flagged), bare.replace("\t.\tGT", "\tNOPANEL\tGT")]
    again = tmp_path / "again.vcf"
    with ImputedWriter(again, path.read_text(), ["a", "b", "c"], contigs=["chr1"], about={}, flags=FLAGS) as writer:
        writer.pass_through(lines[1], "NOPANEL")
    assert again.read_text().splitlines(keepends=True)[-1] == lines[1]


@pytest.mark.parametrize(
    ("record", "observed", "message"),
    [
        (line("chr1", 7, ["0/1", "0/0"]), [0, 0], "not those of the record"),
        (line("chr1", 7, [".", "0/0"]), [0, 0], "not those of the record"),
        (line("chr1", 8, ["0/0", "0/0"]), [0, 0], "is that of chr1:8"),
        (line("chr1", 7, ["0/0", "0/0"], ref="C", alt="A"), [0, 0], "is that of chr1:7:C:A"),
        (line("chr1", 7, ["0/0", "0/0", "0/0"]), [0, 0], "calls of 3 samples"),
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path: Path, record: str, observed: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written_line(tmp_path / "x.vcf", one_site(record, observed))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [np.nan, 0.4, -0.5])
def test_a_posterior_that_is_none_is_refused(tmp_path: Path, wrong: float) -> None:
    block = one_site(None, [-1, -1])
    block.posterior[0, 0, 0] = wrong
    with pytest.raises(ValueError, match="sum to 1"):
        written_line(tmp_path / "x.vcf", block)
    observed = one_site(None, [0, -1])
    observed.posterior[0, 0] = [0.9, 0.1, 0]
    with pytest.raises(ValueError, match="all weight"):
        written_line(tmp_path / "x.vcf", observed)


@pytest.mark.parametrize("options", [{}, {"flag_imputed": True}, {"keep_fields": True, "flag_imputed": True}])
def test_a_bcf_is_byte_for_byte_what_bcftools_makes_of_the_text(tmp_path: Path, options: dict) -> None:
    """Also beyond 128 definitions in the header, where a field's number needs two bytes."""
    many = "".join(f'##INFO=<ID=X{i},Number=1,Type=Float,Description="x">\n' for i in range(200))
    header = "".join(f"{line}\n" for line in HEADER.splitlines() if line.startswith("##")) + many
    for theirs in (HEADER, header):
        text, binary = write(tmp_path / "out.vcf", header=theirs, **options), tmp_path / "out.bcf"
        write(binary, header=theirs, **options)
        made = subprocess.check_output(["bcftools", "view", "--no-version", "-Ou", text])
        assert subprocess.check_output(["bgzip", "-dc", binary]) == made


def test_a_bcf_of_many_small_records_comes_out_whole(tmp_path: Path) -> None:
    """bcftools keeps 64 KiB back: what it keeps must not keep us waiting."""
    n_sites = 5_000
    sites = pd.DataFrame({"contig": "28", "pos": np.arange(n_sites) + 1, "id": "", "ref": "A", "alt": "C"})
    posterior = np.random.default_rng(1).dirichlet([1, 1, 1], (1, n_sites)).astype(np.float32)
    block = ImputedSites(
        sites, posterior, np.full((1, n_sites), -1, np.int8), [None] * n_sites, np.zeros(n_sites, bool)
    )
    with ImputedWriter(tmp_path / "out.bcf", "", ["one"], contigs=["28"], about={}) as writer:
        writer.write(block)
    np.testing.assert_allclose(values(tmp_path / "out.bcf", "GP").reshape(n_sites, 3), posterior[0], atol=0.00501)


# ------------------------------------------------------------------ the header


def test_the_header_keeps_theirs_and_says_ours_once(written: Path, tmp_path: Path) -> None:
    def header(path: Path) -> list[str]:
        return subprocess.check_output(["bcftools", "head", path], text=True).splitlines()

    first = header(written)
    again = header(write(tmp_path / "again.vcf.gz", header="\n".join(first) + "\n"))
    assert sorted(again) == sorted(first)
    assert len(set(first)) == len(first)
    assert first[0] == "##fileformat=VCFv4.3"
    assert {"##source=array", "##contig=<ID=28,length=46000000>", "##contig=<ID=scaffold_7>"} <= set(first)
    assert "##snpimpute_command=snpimpute impute a.vcf -o b.vcf.gz" in first
    assert [row for row in first if row.startswith("##snpimpute_model")] == ["##snpimpute_model=bulls@champion"]
    for name in ("INFO=<ID=AF", "INFO=<ID=DR2", "INFO=<ID=IMP", "FORMAT=<ID=GP", "FORMAT=<ID=DS", "FORMAT=<ID=GT"):
        assert sum(row.startswith(f"##{name},") for row in first) == 1
    assert not any("theirs" in row for row in first)


def test_a_target_that_is_no_vcf_has_no_header(tmp_path: Path) -> None:
    matrix, _ = read_matrix(write(tmp_path / "x.bcf", [one_site(None, [0, 1, MISSING] * 20)], header=""))
    assert matrix.names == SAMPLES


# ------------------------------------------------------------------ DR2


def test_dr2_is_the_share_of_variance_that_is_known() -> None:
    certain = np.eye(3, dtype=np.float32)[[[0, 0], [1, 0], [2, 0], [1, 0]]].transpose(2, 1, 0)
    np.testing.assert_allclose(_summaries(certain)[1], [1, 0])  # all known; no variation
    ignorant = np.broadcast_to(np.array([[[0.25]], [[0.5]], [[0.25]]], np.float32), (3, 1, 50))
    np.testing.assert_allclose(_summaries(ignorant)[1], [0], atol=1e-6)
    frequencies, r2 = _summaries(certain[:, :, :1])  # one sample
    np.testing.assert_allclose(frequencies, [0, 0])
    np.testing.assert_allclose(r2, [0, 0])


def test_dr2_agrees_with_beagle(tmp_path: Path) -> None:
    settings = SimulationSettings(n_samples=360, n_sites=300, region_bp=600_000)
    bulls = simulate_bulls(settings, seed=3).true
    panel, target = bulls.take_samples(slice(240)), bulls.take_samples(slice(240, None))
    leave_out = np.arange(bulls.n_sites) % 8 != 0
    write_vcf(tmp_path / "panel.vcf.gz", panel)
    write_vcf(tmp_path / "target.vcf.gz", target, leave_out)
    arguments = ["ref=panel.vcf.gz", "gt=target.vcf.gz", "out=out", "gp=true", "nthreads=1", "seed=1", "iterations=2"]
    subprocess.run([java(), "-Xmx1g", "-jar", beagle_jar(), *arguments], cwd=tmp_path, check=True, capture_output=True)
    path = tmp_path / "out.vcf.gz"
    subprocess.run(
        ["tabix", "-p", "vcf", path], check=True
    )  # Beagle's header has no contigs: bcftools takes the index's
    imputed = ("-i", "IMP=1")
    p = values(path, "GP", *imputed)
    theirs = np.array([float(row[0]) for row in query(path, "%INFO/DR2", *imputed)])
    ours = _summaries((p / p.sum(axis=2, keepdims=True)).transpose(2, 0, 1).astype(np.float32))[1]
    assert len(ours) == leave_out.sum()
    assert theirs.std() > 0.1
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert np.abs(ours - theirs).mean() < 0.05


# ------------------------------------------------------------------ plink2


def plink2(*arguments: str | Path) -> None:
    command = ["plink2", "--threads", "1", "--memory", "1000", "--allow-extra-chr", *arguments]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype={"#CHROM": str})


def test_plink2_computes_on_the_dosages(tmp_path: Path) -> None:
    blocks = [some_sites("chr1", 60), some_sites("chr2", 60)]
    vcf = write(tmp_path / "out.vcf.gz", blocks, contigs=["chr1", "chr2"])
    dosage = values(vcf, "DS")  # as written: two decimals
    phenotype = np.random.default_rng(8).normal(size=N_SAMPLES)
    lines = [f"{name}\t{value:.6f}" for name, value in zip(SAMPLES, phenotype, strict=True)]
    (tmp_path / "trait.txt").write_text("#IID\ttrait\n" + "\n".join(lines) + "\n")
    plink2("--vcf", vcf, "dosage=DS", "--out", tmp_path / "p", "--freq", "--make-rel", "square",
           "--pheno", tmp_path / "trait.txt", "--glm", "allow-no-covars")  # fmt: skip
    frequencies = dosage.mean(axis=1) / 2
    np.testing.assert_allclose(table(tmp_path / "p.afreq").ALT_FREQS, frequencies, atol=1e-5)
    standard = (dosage - 2 * frequencies[:, None]) / np.sqrt(2 * frequencies * (1 - frequencies))[:, None]
    related = np.loadtxt(tmp_path / "p.rel")
    np.testing.assert_allclose(related, standard.T @ standard / len(dosage), atol=1e-3)
    slopes = [np.polyfit(d, phenotype, 1)[0] for d in dosage]
    found = table(tmp_path / "p.trait.glm.linear")
    signs = np.where(found.A1 == found.ALT, 1, -1)
    np.testing.assert_allclose(signs * found.BETA, slopes, rtol=2e-3, atol=1e-4)


def test_bed_has_every_call_of_gt(tmp_path: Path) -> None:
    bed = write(tmp_path / "out.bed")
    matrix, _ = read_matrix(bed)
    calls = np.array([[cell.count("1") for cell in row] for row in expected_calls()], dtype=np.int8)
    np.testing.assert_array_equal(matrix.calls, calls.T)
    assert matrix.sites.contig.unique().tolist() == list(CONTIGS)
    assert matrix.sites.pos.tolist() == [pos for block in BLOCKS for pos in block.sites.pos]
    assert (set(matrix.sites.ref), set(matrix.sites.alt)) == ({"A"}, {"C"})
    assert matrix.names == SAMPLES
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out.bed", "out.bim", "out.fam"]


def test_pgen_has_the_dosages_and_no_missing_hard_call(tmp_path: Path) -> None:
    block = some_sites("chr1", 60)
    multiallelic = line("chr1", 5000, ["1/2"] * N_SAMPLES, alt="C,G")
    with ImputedWriter(tmp_path / "out.pgen", HEADER, SAMPLES, contigs=CONTIGS, about=ABOUT, threads=2) as writer:
        writer.write(block)
        writer.pass_through(multiallelic)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out.pgen", "out.psam", "out.pvar"]
    assert table_of_pvar(tmp_path / "out.pvar")["#CHROM"].unique().tolist() == ["chr1"]
    plink2("--pfile", tmp_path / "out", "--export", "vcf", "vcf-dosage=DS-force", "--out", tmp_path / "back")
    dosage = block.posterior @ np.array([0, 1, 2], np.float32)
    np.testing.assert_allclose(values(tmp_path / "back.vcf", "DS").T, dosage, atol=0.0052)
    calls, _ = read_matrix(tmp_path / "back.vcf")
    assert calls.calls.min() == 0
    best = block.posterior.argmax(axis=2)
    ties = np.isin(np.round(dosage, 2), [0.5, 1.5])
    assert ties.sum() > 200
    np.testing.assert_array_equal(calls.calls[ties], best[ties])
    clear = np.abs(np.round(dosage, 2) % 1 - 0.5) > 0.02
    np.testing.assert_array_equal(calls.calls[clear], np.round(dosage[clear]))


def table_of_pvar(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", comment=None, skiprows=sum(row.startswith("##") for row in path.open()))


# ------------------------------------------------------------------ standard output, and failures

SCRIPT = """
import resource, sys
from pathlib import Path
from snpimpute.base.errors import InputError
from tests.io.test_imputed import some_sites, write

out, limit, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
blocks = [some_sites("28", 50, 1 + 500 * i) for i in range(n)]
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write(None if out == "-" else Path(out), blocks)
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def test_standard_output_is_plain_vcf(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT, "-", "0", "2"], cwd=ROOT, check=True, capture_output=True)
    (tmp_path / "piped.vcf").write_bytes(run.stdout)
    blocks = [some_sites("28", 50, 1 + 500 * i) for i in range(2)]
    assert run.stdout == write(tmp_path / "file.vcf", blocks).read_bytes()


def test_a_reader_that_stops_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "-", "0", "20"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"##fileformat")
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_standard_output_on_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-c", SCRIPT, "-", "0", "2"]
        run = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2, run.stderr
    assert run.stderr == "cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".bcf", ".bed", ".pgen"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / f"out{suffix}"), "15000", "20"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert "cannot write" in run.stderr
    assert "File too large; make room" in run.stderr
    assert run.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".bcf", ".bed", ".pgen"])
def test_what_a_killed_process_left_is_removed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), "0", "300"], cwd=ROOT)
    while not list(tmp_path.glob(f".{path.name}.*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    other = tmp_path / f".{path.name}.{os.getpid()}.of-another-run.part"
    other.touch()  # that goes on
    assert len(list(tmp_path.glob(".*"))) > 1
    write(path, BLOCKS)
    assert list(tmp_path.glob(".*")) == [other]


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".bcf", ".bed", ".pgen"])
def test_an_error_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("of an earlier run")
    wrong = replace(BLOCKS[0], posterior=np.zeros_like(BLOCKS[0].posterior))
    with pytest.raises(ValueError, match="sum to 1"):
        write(path, [BLOCKS[0], wrong])
    assert [f.name for f in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "of an earlier run"


def test_an_index_of_another_kind_does_not_stay_behind(tmp_path: Path) -> None:
    (tmp_path / "out.vcf.gz.csi").write_bytes(b"old")
    write(tmp_path / "out.vcf.gz")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out.vcf.gz", "out.vcf.gz.tbi"]


def test_positions_beyond_a_tbi_have_a_csi(tmp_path: Path) -> None:
    path = write(tmp_path / "out.vcf.gz", [some_sites("28", first=600_000_001)])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["out.vcf.gz", "out.vcf.gz.csi"]
    assert len(query(path, "%POS", "-r", "28:600000001-600000100")) == 10


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.txt", {}, "out.txt what to write: end it in .vcf, .vcf.gz, .bcf, .vcz, .bed, .pgen"),
        ("folder.vcf", {}, "it is a folder"),
        ("file/out.vcf", {}, "cannot write"),
        ("out.vcf.gz", {"blocks": [BLOCKS[1], BLOCKS[0]]}, "bcftools index failed"),
        ("out.bcf", {"blocks": [one_site(line("chr1", 7, ["0/0:1"] * 60, fmt="GT:ZZ"), [0] * 60)],
                     "keep_fields": True}, "FORMAT 'ZZ' at chr1:7 is not defined in the header"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_one_line(tmp_path: Path, name: str, options: dict[str, Any], message: str) -> None:
    (tmp_path / "folder.vcf").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=message) as error:
        write(tmp_path / name, **options)
    assert "\n" not in str(error.value)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "folder.vcf"]


@pytest.mark.parametrize(
    ("name", "package"), [("out.vcf.gz", "bcftools"), ("out.bcf", "bcftools"), ("out.bed", "plink2")]
)
def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=f"apt-get install {package}"):
        write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_plink2_that_fails_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, folder = tmp_path / "programs", tmp_path / "out"
    for made in (programs, folder):
        made.mkdir()
    (programs / "plink2").write_text("#!/bin/sh\necho 'Error: the moon is full,' >&2\necho 'come again.' >&2\nexit 7\n")
    (programs / "plink2").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(InputError, match=r"^plink2 failed: Error: the moon is full, come again\.$"):
        write(folder / "out.bed")
    assert list(folder.iterdir()) == []


def test_records_that_plink_cannot_hold_are_counted_where_a_file_was_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write_one(posterior: float) -> None:
        with ImputedWriter(tmp_path / "out.bed", HEADER, SAMPLES, contigs=CONTIGS, about=ABOUT) as writer:
            writer.pass_through(line("28", 5, ["0/0"] * N_SAMPLES, alt="C,G"))
            writer.write(replace(BLOCKS[0], posterior=posterior * BLOCKS[0].posterior))

    with pytest.raises(ValueError, match="sum to 1"):
        write_one(2)
    assert "exactly one ALT" not in caplog.text
    write_one(1)
    assert f"1 records without exactly one ALT are not in {tmp_path / 'out.bed'}" in caplog.text


@pytest.mark.parametrize("given", ["", '##FILTER=<ID=PASS,Description="All filters passed">\n'])
def test_the_header_defines_pass_once(given):
    header = header_lines(
        f"##fileformat=VCFv4.2\n{given}##contig=<ID=1>\n", ["1"], {}, own_lines({}, True, False, False), False
    )
    assert sum(line.startswith("##FILTER=<ID=PASS") for line in header) == 1
