"""PLINK 2 file sets against the VCF that they were made of: calls, ploidy, dosages, alleles, samples; and each way to be broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.impute.check import check_target
from snpimpute.impute.concordance import compare_files
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.matching import PanelSites
from snpimpute.impute.run import ImputeSettings, impute_file
from snpimpute.io.matrix import read_genotypes, read_matrix
from snpimpute.io.plink import FAM_COLUMNS
from snpimpute.io.records import PHASED, UNPHASED, Record, Stream
from snpimpute.io.stream import contigs_in_order, files_of, streamed
from tests.io.test_vcf import vcf_text

ROOT = Path(__file__).parents[2]
N_SAMPLES = 9
CONTIGS = (
    "1",
    "28",
    "40",
    "X",
    "Y",
    "MT",
    "scaffold_7",
)  # plink2 by itself knows 28 as a part of the human X, and no 40
PSAM = "#FID\tIID\tPAT\tMAT\tSEX\tQT\tCASE\n" + "".join(
    f"F{i // 3}\ts{i}\t{'s0' if i == 2 else '0'}\t0\t{1 + i % 2}\t{i}.5\t1\n" for i in range(N_SAMPLES)
)


def some_lines(n_sites: int = 12) -> list[str]:
    """Records of every contig: phased and unphased calls, haploid where the sex says so, two ALTs, indels, no ALT, filtered."""
    rng = np.random.default_rng(5)
    lines = []
    for contig in CONTIGS:
        for j in range(n_sites):
            alt = ("C", "C", "C,G", "CT", ".", "T")[j % 6]
            n_alleles = 1 if alt == "." else 2 + alt.count(",")
            calls = []
            for i in range(N_SAMPLES):
                first, second = sorted(rng.integers(0, n_alleles, 2))
                haploid = contig in ("Y", "MT") or (contig == "X" and i % 2 == 0)
                missing = rng.random() < 0.1 or (contig == "Y" and i % 2)
                spelled = str(first) if haploid else f"{first}{'/|'[j % 2]}{second}"
                calls.append(("." if haploid else "./.") if missing else spelled)
            fixed = [contig, str(5_000_000 + 100 * j), f"v{j}" if j % 2 else ".", "a" if j == 3 else "A", alt, "."]
            lines.append("\t".join([*fixed, ("PASS", ".", "q10")[j % 3], ".", "GT", *calls]) + "\n")
    return lines


def made(folder: Path, text: str, *options: str) -> Path:
    """A file set that plink2 makes of a VCF."""
    (folder / "a.vcf").write_text(text)
    (folder / "sex.psam").write_text(PSAM)
    command = ["plink2", "--vcf", "a.vcf", *options, "--psam", "sex.psam", "--chr-set", "95", "--allow-extra-chr"]
    command += ["--output-chr", "MT", "--threads", "1", "--memory", "1000", "--out", "a"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "a.pgen"


@pytest.fixture(scope="module")
def pgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = vcf_text(some_lines(), [f"s{i}" for i in range(N_SAMPLES)])
    return made(tmp_path_factory.mktemp("pgen"), text, "--make-pgen")


@pytest.fixture
def copied(pgen: Path, tmp_path: Path) -> Path:
    """A copy of the file set, to do harm to."""
    for file in files_of(pgen):
        if file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path / pgen.name


def read(path: Path, **options: object) -> tuple[Stream, list[Record]]:
    with streamed(path, **options) as (stream,):  # type: ignore[arg-type]
        return stream, list(stream.records)


def site(record: Record) -> tuple[str, int, str, str, tuple[str, ...], bool]:
    return record.contig, record.pos, record.id, record.ref, record.alts, record.passed


def same_calls(one: Record, other: Record) -> bool:
    """Whether two records' calls are the same; of a heterozygote its phase too, which is all that a pgen keeps.

    The phase of unphased calls in records with several ALTs is not told right by the plink2 of Debian 12.
    """
    diploid = np.isin(one.kinds, (PHASED, UNPHASED))
    alike = diploid if len(one.alts) > 1 else diploid & (one.alleles[:, 0] == one.alleles[:, 1])
    kinds = [np.where(alike & (record.kinds == PHASED), UNPHASED, record.kinds) for record in (one, other)]
    return np.array_equal(one.alleles, other.alleles) and np.array_equal(*kinds)


def test_every_record_equals_the_vcf(pgen: Path) -> None:
    _, from_vcf = read(pgen.with_suffix(".vcf"))
    stream, from_pgen = read(pgen, lines=True)
    assert [site(record) for record in from_pgen] == [site(record) for record in from_vcf]
    for one, other in zip(from_vcf, from_pgen, strict=True):
        assert same_calls(one, other), (other.line, one)
        assert other.line.startswith(f"{other.contig}\t{other.pos}\t")
    assert stream.names == [f"s{i}" for i in range(N_SAMPLES)]
    assert stream.path == pgen and stream.name == "a.pgen"
    assert contigs_in_order(pgen) == list(CONTIGS)
    assert "##contig=<ID=28>" in stream.header and "_28" not in stream.header


def test_contigs_keep_the_names_that_the_pvar_has(pgen: Path, copied: Path) -> None:
    """Also those of the ends of X, which plink2 joins to it where the .pvar keeps them apart."""
    pvar = copied.with_suffix(".pvar")
    pvar.write_text(
        "".join(f"chr{row}" if row[0] != "#" else row for row in pvar.read_text().splitlines(keepends=True))
    )
    assert contigs_in_order(copied) == [f"chr{contig}" for contig in CONTIGS]
    for one, other in zip(read(pgen)[1], read(copied, lines=True)[1], strict=True):
        assert other.contig == f"chr{one.contig}" == other.line.split("\t")[0]
        assert np.array_equal(one.alleles, other.alleles) and np.array_equal(one.kinds, other.kinds)
    pvar.write_text(pvar.read_text().replace("chrX\t5000000", "PAR1\t5000000"))
    assert contigs_in_order(copied) == [f"chr{contig}" for contig in CONTIGS]
    assert [record.contig for record in read(copied)[1]].count("chrX") == 12


def test_family_sex_parents_and_first_phenotype(pgen: Path) -> None:
    stream, _ = read(pgen, samples=["s4", "s2"])
    assert stream.fam is not None and tuple(stream.fam) == FAM_COLUMNS
    assert stream.fam.to_numpy().tolist() == [["F1", "s4", "0", "0", "1", "4.5"], ["F0", "s2", "s0", "0", "1", "2.5"]]
    assert stream.samples.to_dict("list") == {"sample": ["s4", "s2"], "family": ["F1", "F0"], "sex": ["male", "male"]}


def test_regions_and_samples_equal_the_vcf(pgen: Path) -> None:
    _, whole = read(pgen)
    _, found = read(pgen, region="28:5000200-5000500;X:5000000-5000100", samples=["s7", "s1"])
    rows = [7, 1]
    chosen = {"28": range(5000200, 5000501), "X": range(5000000, 5000101)}
    wanted = [record for record in whole if record.pos in chosen.get(record.contig, ())]
    assert len(wanted) == 6
    assert [site(record) for record in found] == [site(record) for record in wanted]
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(other.alleles, one.alleles[rows])
    for region, told in [("7", "has no contig '7'; it has 1, 28"), ("28:1-20", "a.pgen has no records in 28:1-20")]:
        with pytest.raises(InputError, match=told):
            read(pgen, region=region)


@pytest.mark.parametrize("compressed", [True, False])
def test_other_forms_of_the_pvar(pgen: Path, copied: Path, compressed: bool) -> None:
    """Compressed; and without the lines that define its FILTER."""
    pvar = copied.with_suffix(".pvar")
    if compressed:
        command = ["plink2", "--pfile", copied.with_suffix(""), "--allow-extra-chr", "--make-just-pvar", "zs"]
        subprocess.run([*command, "--out", copied.with_name("b")], check=True, capture_output=True)
        copied.with_name("b.pvar.zst").rename(copied.with_name("a.pvar.zst"))
        pvar.unlink()
    else:
        lines = pvar.read_text().splitlines(keepends=True)
        pvar.write_text("".join(line for line in lines if not line.startswith("##")))
    for one, other in zip(read(pgen)[1], read(copied)[1], strict=True):
        assert site(one) == site(other) and np.array_equal(one.alleles, other.alleles)
        assert np.array_equal(one.kinds, other.kinds)


def test_phased_panel_has_haplotypes_and_dosages_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    lines = []
    for j in range(20):
        cells = [f"{a}|{b}:{min(a + b + rng.random() * 0.4, 2):.2f}" for a, b in rng.integers(0, 2, (N_SAMPLES, 2))]
        lines.append("\t".join(["1", str(10 * j + 10), ".", "A", "C", ".", "PASS", ".", "GT:DS", *cells]) + "\n")
    text = vcf_text(lines, [f"s{i}" for i in range(N_SAMPLES)])
    folders = [tmp_path / "plain", tmp_path / "dosage"]
    for folder in folders:
        folder.mkdir()
    plain = made(folders[0], text, "--make-pgen")
    from_vcf, from_pgen = read_matrix(plain.with_suffix(".vcf"))[0], read_matrix(plain)[0]
    assert from_vcf.haplotypes is not None and from_pgen.haplotypes is not None
    np.testing.assert_array_equal(from_pgen.haplotypes, from_vcf.haplotypes)
    kept = made(folders[1], text, "dosage=DS", "--hard-call-threshold", "0.49", "--make-pgen")
    for one, other in zip(read(plain.with_suffix(".vcf"), dosages=True)[1], read(kept, dosages=True)[1], strict=True):
        assert one.dosage is not None and other.dosage is not None
        np.testing.assert_allclose(other.dosage, one.dosage, atol=1e-4)
    assert read(kept)[1][0].dosage is None


def test_no_copy_is_left_while_it_is_read(pgen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with streamed(pgen) as (stream,):
        assert not list(tmp_path.iterdir())
        assert len(list(stream.records)) == 84


# ---------------------------------------------------------------------- what is broken


def damage(path: Path, kind: str) -> None:
    pvar, psam = path.with_suffix(".pvar"), path.with_suffix(".psam")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a text":
        path.write_text("no genotypes at all")
    elif kind == "pvar shorter":
        pvar.write_text("".join(pvar.read_text().splitlines(keepends=True)[:-2]))
    elif kind == "psam shorter":
        psam.write_text("".join(psam.read_text().splitlines(keepends=True)[:-2]))
    elif kind == "position":
        pvar.write_text(pvar.read_text().replace("\t5000100\t", "\t1e+06\t", 1))
    elif kind == "psam of other columns":
        psam.write_text(psam.read_text().replace("s4\t", "s4 b\t", 1))
    elif kind == "psam without IID":
        psam.write_text(psam.read_text().replace("IID", "NAME"))
    elif kind == "haploid autosomes":
        pvar.write_text("##chrSet=<ID=1,haploidAutosomeCt=12>\n" + pvar.read_text())
    else:
        path.with_suffix(kind).unlink()


BROKEN = {
    "cut": "a.pgen is broken, or newer than the plink2 here",
    "empty": "a.pgen is not a PLINK 2 pgen",
    "a text": "a.pgen is not a PLINK 2 pgen",
    "pvar shorter": "a.pgen holds 9 samples × 84 sites, .psam and .pvar beside it 9 × 82",
    "psam shorter": "a.pgen holds 9 samples × 84 sites, .psam and .pvar beside it 7 × 84",
    "position": "a.pvar gives '1e\\+06' as a position, which is not a number",
    "psam of other columns": "a.psam is broken: the line of F1 has 8 columns, not 7",
    "psam without IID": "a.psam is not a PLINK 2 sample table: it has no IID",
    "haploid autosomes": "haploid autosomes; only diploid calls can be used",
    ".pvar": "a.pvar is not there: a PLINK 2 file set is .pgen, .pvar and .psam side by side",
    ".psam": "a.psam is not there: a PLINK 2 file set is .pgen, .pvar and .psam side by side",
    ".pgen": "cannot read .*a.pgen: No such file",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_in_one_line(copied: Path, kind: str) -> None:
    damage(copied, kind)
    with pytest.raises(InputError, match=BROKEN[kind]) as raised:
        read(copied)
    assert "\n" not in str(raised.value)


def test_a_file_that_kills_plink2_is_broken(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = copied.with_name("dies")
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("SNPIMPUTE_PLINK2", str(program))
    with pytest.raises(InputError, match=r"a.pgen is broken, or newer than the plink2 here \(it gave no message\)"):
        read(copied)


def test_no_room_for_our_copy(pgen: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom snpimpute.base.errors import InputError\n"
        "from snpimpute.io.stream import streamed\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n with streamed(Path(sys.argv[1])) as (s,): list(s.records)\nexcept InputError as error:\n print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, pgen], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("no room for a copy of a.pgen in ") and "set TMPDIR" in done.stdout, done
    assert len(done.stdout.splitlines()) == 1


def test_no_room_for_that_of_plink2(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = copied.with_name("full")
    program.write_text("#!/bin/sh\necho 'Failed to finish writing to log: No space left on device.' >&2\nexit 5\n")
    program.chmod(0o755)
    monkeypatch.setenv("SNPIMPUTE_PLINK2", str(program))
    with pytest.raises(InputError, match=r"no room for a copy of a\.pgen in .*: make room, or set TMPDIR"):
        read(copied)


def test_without_plink2(pgen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"plink2 is missing: a .pgen needs it \(Debian: apt-get install plink2\)"):
        read(pgen)


def test_not_in_order_names_the_contig_as_the_file_has_it(copied: Path) -> None:
    pvar = copied.with_suffix(".pvar")
    pvar.write_text(pvar.read_text().replace("28\t5000000\t", "28\t6000000\t", 1))
    with pytest.raises(InputError, match=r"a\.pgen is not in order of position at 28:5000100"):
        read(copied)


# ---------------------------------------------------------------------- the verbs


def test_every_verb_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a panel, target, truth, typed sites and source of a dataset; written as .pgen again with the .psam kept."""

    def here(function: Callable[..., None], home: Path, numbers: list[int], *_: object, **__: object) -> None:
        function(home, list(numbers))

    monkeypatch.setattr("snpimpute.impute.fit.in_shares", here)
    monkeypatch.setattr("snpimpute.impute.run.in_shares", here)
    rng = np.random.default_rng(4)
    names = [f"s{i}" for i in range(N_SAMPLES)]
    lines, holes = [], []
    for j in range(30):
        calls = np.array(["0/0", "0/1", "1/1"])[rng.choice(3, N_SAMPLES, p=[0.4, 0.4, 0.2])].tolist()
        calls[:2] = ["0/1", "0/0"]
        fixed = ["28", str(10 * j + 10), ".", "A", "C", ".", "PASS", ".", "GT"]
        lines.append("\t".join([*fixed, *calls]) + "\n")
        calls[rng.integers(N_SAMPLES)] = "./."
        holes.append("\t".join([*fixed, *calls]) + "\n")
    for folder in ("panel", "target"):
        (tmp_path / folder).mkdir()
    panel = made(tmp_path / "panel", vcf_text(lines, names), "--make-pgen")
    target = made(tmp_path / "target", vcf_text(holes[::2], names), "--make-pgen")
    matrix, _ = read_genotypes(panel)
    assert (matrix.n_samples, matrix.n_sites) == (N_SAMPLES, 30)
    model = fit(FitSettings(panel, "panel", "mode", holdout=0.2, typed=target), tmp_path / "runs").folder
    checked = check_target(target, PanelSites.of_file(panel))
    assert checked.counts["shared"] == 15 and not checked.problems
    out = tmp_path / "out.pgen"
    impute_file(ImputeSettings(target, out, model=model), tmp_path / "runs")
    compared = compare_files(panel, out, typed=target)
    assert compared.counts["calls"] == 15 + 15 * N_SAMPLES
    assert compare_files(target, out).overall["concordance"] == 1
    assert (read_matrix(out)[0].calls >= 0).all()
    rows = [line.split() for line in out.with_suffix(".psam").read_text().splitlines()]
    wanted = [line.split()[:6] for line in PSAM.splitlines()[1:]]
    assert rows[1:] == wanted
