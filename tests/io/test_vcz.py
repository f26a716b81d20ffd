"""VCF Zarr stores against the VCF that they were made of; what is read of them, and how much memory it takes; each way to be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.experiment.pipeline import prepare
from snpimpute.experiment.settings import ExperimentSettings
from snpimpute.experiment.workspace import Workspace
from snpimpute.impute.check import check_target
from snpimpute.impute.concordance import compare_files
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.matching import PanelSites
from snpimpute.impute.panel import read_panel
from snpimpute.impute.run import ImputeSettings, impute_file
from snpimpute.io import vcz
from snpimpute.io.matrix import read_matrix
from snpimpute.io.output import vcf_output
from snpimpute.io.records import Record, Stream
from snpimpute.io.spool import alt_frequencies
from snpimpute.io.stream import contents_of, contigs_in_order, streamed
from tests.io.test_vcf import vcf_text, write

ROOT = Path(__file__).parents[2]
NAMES = [f"s{i}" for i in range(9)]
CONTIGS = ("1", "2", "3")
N_SITES = 8  # of each contig; a chunk has 5
FIELDS = """##INFO=<ID=DR2,Number=A,Type=Float,Description="Estimated">
##INFO=<ID=NM,Number=1,Type=String,Description="Name">
##INFO=<ID=IMP,Number=0,Type=Flag,Description="Imputed marker">
##FORMAT=<ID=GP,Number=G,Type=Float,Description="Posterior">
##FORMAT=<ID=PL,Number=G,Type=Integer,Description="Likelihoods">
##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Depths">
##FORMAT=<ID=TX,Number=1,Type=String,Description="Text">
"""


def some_lines() -> list[str]:
    """Records with phased, unphased, missing, half and haploid calls, several ALTs, no ALT, filters, and fields of every type."""
    rng = np.random.default_rng(3)
    lines = []
    for contig in CONTIGS:
        for j in range(N_SITES):
            alt = ("C", "CT", "C,G", ".", "T", "<DEL>", "C", "G")[j]
            n_alleles = 1 if alt == "." else 2 + alt.count(",")
            n_genotypes = n_alleles * (n_alleles + 1) // 2
            cells = []
            for i in range(len(NAMES)):
                first, second = rng.integers(0, n_alleles, 2)
                call = f"{first}{'/|'[j % 2]}{second}"
                if contig == "3" and i % 2:
                    call = str(first)
                if rng.random() < 0.15:
                    call = rng.choice(["./.", ".", f"{first}/."]) if contig != "3" else "."
                p = np.round(rng.dirichlet(np.ones(n_genotypes)), 3)
                pl = rng.integers(0, 300, n_genotypes)
                fields = [call, ",".join(map(str, pl)), ",".join(f"{each:g}" for each in p)]
                fields += [",".join(map(str, rng.integers(0, 9, n_alleles))), rng.choice(["a", "bc", "."])]
                cells.append(":".join(fields) if i else f"{call}:.:.:.:.")
            info = ["DR2=0.25" if "," not in alt else "DR2=0.5,0.75", "NM=x"][: j % 3] + (["IMP"] if j == 4 else [])
            fixed = [contig, str(5_000_000 + 100 * j), f"v{j}" if j % 2 else ".", "a" if j == 3 else "A", alt]
            fixed += [(".", "30", "1.5")[j % 3], ("PASS", ".", "q10")[j % 3], ";".join(info) or "."]
            lines.append("\t".join([*fixed, "GT:PL:GP:AD:TX" if contig != "3" else "GT", *cells]) + "\n")
    return [line if not line.startswith("3\t") else _calls_alone(line) for line in lines]


def _calls_alone(line: str) -> str:
    columns = line.rstrip("\n").split("\t")
    return "\t".join([*columns[:9], *(cell.split(":")[0] for cell in columns[9:])]) + "\n"


def converted(source: Path, to: Path, **options: int) -> Path:
    """A store that bio2zarr makes of a VCF."""
    from bio2zarr import vcf

    vcf.convert([source], to, **{"variants_chunk_size": 5, "samples_chunk_size": 4, **options})
    return to


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = vcf_text(some_lines(), NAMES).replace("#CHROM", FIELDS + "#CHROM").replace("ID=1>", "ID=1,length=9000000>")
    return write(tmp_path_factory.mktemp("vcz") / "a.vcf.gz", text)


@pytest.fixture(scope="module")
def store(source: Path) -> Path:
    return converted(source, source.with_name("a.vcz"))


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    """A copy of the store, to do harm to."""
    return Path(shutil.copytree(store, tmp_path / "a.vcz"))


def read(path: Path, **options: Any) -> tuple[Stream, list[Record]]:
    with streamed(path, **options) as (stream,):
        return stream, list(stream.records)


def fields_of(line: str) -> dict[str, Any]:
    """A record's line as what it says: INFO and FORMAT by key, without fields that have no value in any sample."""
    columns = line.split("\t")
    values = [dict(zip_longest(columns[8].split(":"), cell.split(":"), fillvalue=".")) for cell in columns[9:]]
    keys = [key for key in columns[8].split(":") if any(set(each[key]) - {".", ","} for each in values)]
    return {
        "fixed": columns[:7],
        "info": sorted(columns[7].split(";")),
        "calls": [{key: "." if set(each[key]) <= {".", ","} else each[key] for key in keys} for each in values],
    }


def require_same(one: Record, other: Record) -> None:
    """Fail unless two records hold the same."""
    for name in Record.__slots__:
        if name == "line":
            assert bool(one.line) == bool(other.line) and (not one.line or fields_of(one.line) == fields_of(other.line))
        else:
            np.testing.assert_array_equal(
                getattr(one, name), getattr(other, name), err_msg=f"{one.contig}:{one.pos} {name}"
            )


CHOICES: list[dict[str, Any]] = [
    {"lines": True, "dosages": True},
    {"lines": True, "samples": ["s7", "s1", "s4"]},
    {"region": "2:5000100-5000600;3", "samples": ["s8", "s0"], "dosages": True},
    {"likelihoods": "PL", "region": "1;2"},
    {"likelihoods": "GP", "region": "2"},
    {"observed": True},
    {"accept": lambda contig, pos, ref, alts, passed: passed and len(alts) == 1},
]


@pytest.mark.parametrize("options", CHOICES, ids=lambda options: "+".join(options))
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_record_equals_the_vcf(
    source: Path,
    store: Path,
    tmp_path: Path,
    options: dict[str, Any],
    zarr_format: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if zarr_format == 3:
        store = converted(source, tmp_path / "a.vcz", zarr_format=3)
        monkeypatch.setattr(vcz, "CALLS_AT_A_TIME", 20)  # two sites: parts of a chunk
    of_vcf, wanted = read(source, **options)
    of_store, found = read(store, **options)
    assert len(wanted) == len(found) > 0
    for one, other in zip(wanted, found, strict=True):
        require_same(one, other)
    assert of_store.names == of_vcf.names and of_store.contig_lengths == of_vcf.contig_lengths == {"1": 9000000}
    assert of_store.notes == of_vcf.notes
    definitions = {
        line for line in of_vcf.header.splitlines() if line.startswith(("##INFO", "##FORMAT", "##contig", "##FILTER"))
    }
    assert definitions <= {line.replace("Number=.", "Number=G") for line in of_store.header.splitlines()} | {
        line
        for line in definitions
        if "ID=DS," in line  # no record has it
    }
    assert contigs_in_order(store) == list(CONTIGS)


def test_a_region_reads_its_chunks_alone(source: Path, copied: Path) -> None:
    """All chunks of other sites are damaged, which neither the records, nor the digest of the region's content notice."""
    region = "2:5000200-5000600"  # sites 10 to 14 of 24: one chunk
    digests = contents_of(copied, region), contents_of(copied)
    for array in [each for each in copied.iterdir() if each.name.startswith(("variant_", "call_"))]:
        for chunk in array.iterdir():
            whole = array.name in ("variant_position", "variant_contig")
            if not (whole or chunk.name.startswith(".") or chunk.name.split(".")[0] == "2"):
                chunk.write_bytes(b"damaged")
    wanted = read(source, region=region, dosages=True)[1]
    found = read(copied, region=region, dosages=True)[1]
    assert len(wanted) == len(found) == 5
    for one, other in zip(wanted, found, strict=True):
        require_same(one, other)
    assert contents_of(copied, region) == digests[0] and contents_of(copied) != digests[1]
    with pytest.raises(InputError, match=r"a\.vcz is broken"):
        read(copied)


def test_content_is_told_by_where_it_stands(copied: Path) -> None:
    before = contents_of(copied, "3")
    calls = copied / "call_genotype"
    (calls / "4.0.0").rename(calls / "other")
    (calls / "3.0.0").rename(calls / "4.0.0")
    (calls / "other").rename(calls / "3.0.0")
    assert contents_of(copied, "3") != before
    for region, told in (("7", "has no contig '7'; it has 1, 2, 3"), ("2:1-20", "a.vcz has no records in 2:1-20")):
        for function in (contents_of, lambda path, region: read(path, region=region)):
            with pytest.raises(InputError, match=told):
                function(copied, region)


# ---------------------------------------------------------------------- what is broken


def damage(path: Path, kind: str) -> None:
    import zarr

    if kind == "not there":
        shutil.rmtree(path)
    elif kind == "a file":
        shutil.rmtree(path)
        path.write_text("no store")
    elif kind == "a folder":
        (path / ".zgroup").unlink()
    elif kind == "unfinished":
        (path / "wip").mkdir()
    elif kind == "metadata":
        (path / "call_genotype" / ".zarray").write_text("{")
    elif kind == "chunk cut":
        chunk = path / "call_genotype" / "1.0.0"
        chunk.write_bytes(chunk.read_bytes()[:20])
    elif kind == "chunk of positions lost":
        (path / "variant_position" / "1").unlink()
    elif kind == "chunk of alleles lost":
        (path / "variant_allele" / "1.0").unlink()
    elif kind == "chunk of names lost":
        (path / "contig_id" / "0").unlink()
    elif kind == "no samples":
        zarr.open_group(path, mode="a", zarr_format=2).create_array("sample_id", shape=0, dtype=str, overwrite=True)
        for array in path.glob("call_*"):
            shutil.rmtree(array)
    elif kind == "fewer samples":
        zarr.open_group(path, mode="a")["sample_id"].resize(8)
    elif kind == "fewer sites":
        zarr.open_group(path, mode="a")["call_genotype"].resize((20, 9, 2))
    elif kind == "flat":
        zarr.open_group(path, mode="a", zarr_format=2).create_array(
            "call_genotype", shape=(24, 9), chunks=(24, 9), dtype="i1", overwrite=True
        )
    elif kind == "contigs":
        zarr.open_group(path, mode="a")["variant_contig"][:] = 3
    elif kind == "alleles":
        zarr.open_group(path, mode="a")["call_genotype"][0] = 2
    elif kind == "no calls":
        for array in path.glob("call_genotype*"):
            shutil.rmtree(array)
    elif kind == "ploidy":
        group = zarr.open_group(path, mode="a", zarr_format=2)
        group.create_array("call_genotype", shape=(24, 9, 4), chunks=(24, 9, 4), dtype="i1", overwrite=True)
    else:
        shutil.rmtree(path / kind)


BROKEN = {
    "not there": r"cannot read .*a\.vcz: No such file",
    "a file": r"a\.vcz is no VCF Zarr store: it is no folder",
    "a folder": r"a\.vcz is no VCF Zarr store: it is a folder without \.zgroup",
    "unfinished": r"a\.vcz was not written to its end \(it has a folder wip\)",
    "metadata": r"a\.vcz is broken \(.*\): make or fetch it again",
    "chunk cut": r"a\.vcz is broken: call_genotype/1\.0\.0 is cut short: make or fetch it again",
    "chunk of positions lost": r"a\.vcz is broken at 1:0: it has no position there",
    "chunk of alleles lost": r"a\.vcz is broken at 1:5000500: it has no REF there",
    "chunk of names lost": r"a\.vcz is broken: contig_id has an empty name",
    "no samples": r"a\.vcz has no genotypes: it names no samples",
    "fewer samples": r"a\.vcz is broken: call_\w+ is 24 × 9.*, and there are 24 × 8 sites × samples",
    "fewer sites": r"a\.vcz is broken: call_genotype is 20 × 9 × 2, and there are 24 × 9 sites × samples",
    "flat": r"a\.vcz is broken: call_genotype is 24 × 9, and there are 24 × 9 sites × samples, each with the alleles of a call",
    "contigs": r"a\.vcz is broken: variant_contig has numbers that are not in contig_id",
    "alleles": r"a\.vcz is broken: 1:5000000 has calls of alternate allele 2, and 1 in ALT",
    "no calls": r"a\.vcz has no genotypes: its records have no GT",
    "ploidy": r"a\.vcz: sample s0 has a call of more than two alleles at 1:5000000; only haploid and diploid calls",
    **{name: rf"a\.vcz is no VCF Zarr store, or a part of one: it has no array {name}" for name in vcz.NEEDED},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_in_one_line(copied: Path, kind: str) -> None:
    damage(copied, kind)
    with pytest.raises(InputError, match=BROKEN[kind]) as raised:
        read_matrix(copied)
    assert "\n" not in str(raised.value)


def test_without_zarr(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snpimpute.base.extras.is_installed", lambda package: package not in ("zarr", "bio2zarr"))
    with pytest.raises(InputError, match=r"reading a\.vcz needs zarr, .*pip install 'snpimpute\[zarr\]'"):
        read(store)
    with pytest.raises(InputError, match=r"writing out\.vcz needs bio2zarr"), vcf_output(tmp_path / "out.vcz"):
        pass
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- the verbs


@pytest.fixture
def windows_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are taken in this process."""

    def here(function: Callable[..., None], home: Path, numbers: list[int], *_: object, **__: object) -> None:
        function(home, list(numbers))

    monkeypatch.setattr("snpimpute.impute.fit.in_shares", here)
    monkeypatch.setattr("snpimpute.impute.run.in_shares", here)


def panel_and_target(folder: Path) -> tuple[Path, Path]:
    """A panel of 30 sites, and a target with half of them and some calls missing, as bgzipped VCF and as stores beside these."""
    rng = np.random.default_rng(4)
    lines, holes = [], []
    for j in range(30):
        calls = np.array(["0/0", "0|1", "1/1"])[rng.choice(3, len(NAMES), p=[0.4, 0.4, 0.2])].tolist()
        calls[:2] = ["0|1", "0/0"]
        fixed = ["2", str(10 * j + 10), f"v{j}", "A", "C", ".", "PASS", ".", "GT"]
        lines.append("\t".join([*fixed, *calls]) + "\n")
        calls[rng.integers(len(NAMES))] = "./."
        holes.append("\t".join([*fixed, *calls]) + "\n")
    holes[2] = holes[2].replace("\tC\t", "\tC,G\t")
    holes.append("\t".join(["2", "900", ".", "G", "T", "7", "q10", ".", "GT", *["0/1"] * len(NAMES)]) + "\n")
    panel = write(folder / "panel.vcf.gz", vcf_text(lines, NAMES))
    target = write(folder / "target.vcf.gz", vcf_text(holes[::2], NAMES))
    for file in (panel, target):
        converted(file, folder / file.name.replace(".vcf.gz", ".vcz"))
    return panel.with_name("panel.vcz"), target.with_name("target.vcz")


def viewed(path: Path) -> list[dict[str, Any]]:
    """The records of a store as `vcztools view` writes them."""
    done = subprocess.run([sys.executable, "-m", "vcztools", "view", path], capture_output=True, text=True, check=True)
    return [fields_of(line) for line in done.stdout.splitlines() if not line.startswith("#")]


def test_every_verb_takes_and_writes_it(tmp_path: Path, windows_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As panel, target, truth, typed sites and source of a dataset; what is written holds the records of the VCF."""
    panel, target = panel_and_target(tmp_path)
    as_vcf = [path.with_name(path.stem + ".vcf.gz") for path in (panel, target)]
    runs = tmp_path / "runs"
    model = fit(FitSettings(panel, "panel", "mode", holdout=0.2, typed=target), runs).folder
    of_vcf = fit(FitSettings(as_vcf[0], "panel", "mode", holdout=0.2, typed=as_vcf[1]), runs).folder
    assert (model / "sites.tsv").read_text() == (of_vcf / "sites.tsv").read_text()
    checked = check_target(target, PanelSites.of_file(panel))
    assert checked.counts["shared"] == 15 and not checked.problems
    for source, out in ((target, tmp_path / "out.vcz"), (as_vcf[1], tmp_path / "out.vcf.gz")):
        outcome = impute_file(ImputeSettings(source, out, model=model, command="impute"), runs)
        assert outcome.n_sites == 30 and outcome.n_holes > 0 and outcome.n_passed == 1
    wanted = read(tmp_path / "out.vcf.gz", lines=True, dosages=True)[1]
    found = read(tmp_path / "out.vcz", lines=True, dosages=True)[1]
    assert len(wanted) == len(found) == 31
    for one, other in zip(wanted, found, strict=True):
        require_same(one, other)
    by_vcztools = viewed(tmp_path / "out.vcz")
    for record, view in zip(wanted, by_vcztools, strict=True):
        assert view["fixed"] == fields_of(record.line)["fixed"] and view["calls"] == fields_of(record.line)["calls"]
    assert (
        compare_files(panel, tmp_path / "out.vcz", typed=target).counts
        == compare_files(as_vcf[0], tmp_path / "out.vcf.gz", typed=as_vcf[1]).counts
    )
    left = sorted(each.name for each in tmp_path.iterdir())
    assert not [name for name in left if name.endswith(".part")]

    def data(source: Path) -> ExperimentSettings:
        table = {"source": str(source), "scenarios": {"levels": [50.0], "repeats": 1}}
        return ExperimentSettings.model_validate({"name": "x", "data": {"x": table}})

    datasets = [prepare(data(source), "x", Workspace(tmp_path / f"of-{source.name}")) for source in (panel, as_vcf[0])]
    calls = [read_matrix(next(folder.glob("train.*")))[0].calls for folder in datasets]
    np.testing.assert_array_equal(*calls)


def test_what_is_there_is_not_lost(tmp_path: Path, windows_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is there is replaced with --force alone, and when the new one is whole; another folder never is."""
    panel, target = panel_and_target(tmp_path)
    runs, out = tmp_path / "runs", tmp_path / "out.vcz"
    model = fit(FitSettings(panel, "panel", "mode", holdout=0.0), runs).folder
    settings = ImputeSettings(target, out, model=model)
    impute_file(settings, runs)
    (out / "variant_OLD").mkdir()
    with pytest.raises(InputError, match=r"out\.vcz is there already"):
        impute_file(settings, runs)
    with pytest.raises(InputError, match=r"target\.vcz is the target itself"):
        impute_file(ImputeSettings(target, target, model=model, force=True), runs)
    forced = ImputeSettings(target, out, model=model, force=True)
    with monkeypatch.context() as patch:

        def fails(*_: object, **__: object) -> None:
            raise ValueError("some reason\nof two lines")

        patch.setattr("bio2zarr.vcf.encode", fails)
        with pytest.raises(InputError, match=r"^bio2zarr failed: some reason of two lines$"):
            impute_file(forced, runs)
    assert (out / "variant_OLD").exists() and not list(tmp_path.glob(".*"))
    impute_file(forced, runs)
    assert not (out / "variant_OLD").exists() and len(read(out)[1]) == 31
    for kind in ("folder", "file"):
        other = tmp_path / f"{kind}.vcz"
        if kind == "folder":
            other.mkdir()
            (other / "letters.txt").write_text("dear")
        else:
            other.write_text("dear")
        with pytest.raises(InputError, match=rf"cannot write .*{kind}\.vcz: it is a {kind}"):
            impute_file(ImputeSettings(target, other, model=model, force=True), runs)
    assert (tmp_path / "folder.vcz" / "letters.txt").read_text() == (tmp_path / "file.vcz").read_text() == "dear"


# ---------------------------------------------------------------------- beyond memory


def sparse_store(path: Path, n_samples: int, n_sites: int, chunk: tuple[int, int], filled: range) -> None:
    """Make a store of phased calls in which only the chunks `filled` of sites are there; all other calls are 0|0."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.attrs["vcf_zarr_version"] = "0.5"

    def array(name: str, shape: tuple[int, ...], dtype: Any, dims: str, fill: Any, chunks: tuple[int, ...] = ()) -> Any:
        made = group.create_array(name, shape=shape, chunks=chunks or shape, dtype=dtype, fill_value=fill)
        made.attrs["_ARRAY_DIMENSIONS"] = dims.split()
        return made

    array("contig_id", (1,), str, "contigs", "1")
    array("filter_id", (1,), str, "filters", "PASS")
    array("sample_id", (n_samples,), str, "samples", "")[:] = np.array(
        [f"s{i}" for i in range(n_samples)], dtype=object
    )
    array("variant_contig", (n_sites,), "i1", "variants", 0, chunk[:1])
    array("variant_position", (n_sites,), "i4", "variants", 0, chunk[:1])[:] = 100 * np.arange(1, n_sites + 1)
    # outside the filled chunks REF and ALT are both A, by the fill value
    alleles = array("variant_allele", (n_sites, 2), str, "variants alleles", "A", (chunk[0], 2))
    calls = array("call_genotype", (n_sites, n_samples, 2), "i1", "variants samples ploidy", 0, (*chunk, 2))
    array("call_genotype_phased", (n_sites, n_samples), "?", "variants samples", True, chunk)
    rng = np.random.default_rng(1)
    for number in filled:
        sites = slice(number * chunk[0], (number + 1) * chunk[0])
        alleles[sites] = np.array([["A", "C"]] * chunk[0], dtype=object)
        for start in range(0, n_samples, chunk[1]):
            there = min(chunk[1], n_samples - start)
            calls[sites, start : start + there] = rng.random((chunk[0], there, 2)) < 0.2


def peak_of(*command: str | Path) -> tuple[int, str]:
    """Peak memory in MB of a command of ours, or of the largest of its children; and its output."""
    code = "import resource, subprocess, sys\nstatus = subprocess.run(sys.argv[1:]).returncode\n"
    code += "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\nsys.exit(status)"
    full = [sys.executable, "-c", code, sys.executable, "-m", "snpimpute", *map(str, command)]
    done = subprocess.run(full, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rsplit("peak", 1)[1]), done.stdout


def fit_of_a_region(tmp_path: Path, n_samples: int, n_sites: int, chunk: tuple[int, int]) -> tuple[int, int]:
    """Peak memory in MB of a fit of 300 sites in the middle of a sparse store, and the store's size decoded in MB.

    The chunks beside the region's are damaged.
    """
    middle = n_sites // chunk[0] // 2
    store = tmp_path / "sparse.vcz"
    sparse_store(store, n_samples, n_sites, chunk, range(middle, middle + 1))
    for number in (0, middle - 1, middle + 1):
        (store / "call_genotype" / f"{number}.0.0").write_bytes(b"damaged")
    first = 100 * (middle * chunk[0] + 1)
    region = f"1:{first}-{first + 100 * 299}"
    options = ["--imputer", "mode", "--holdout", "0%", "--window", "100", "--threads", "1", "--runs", tmp_path / "runs"]
    peak, said = peak_of("fit", store, "--region", region, *options)
    (folder,) = [Path(line.removeprefix("model: ")) for line in said.splitlines() if line.startswith("model: ")]
    assert len((folder / "sites.tsv").read_text().splitlines()) == 301
    return peak, n_samples * n_sites * 3 // 2**20


def test_a_panel_larger_than_memory_is_not_read_whole(tmp_path: Path) -> None:
    """8,000 haplotypes at 400,000 sites: 4.5 GB of calls and phase, and what a fit of 300 sites needs is below a tenth of it."""
    peak, whole = fit_of_a_region(tmp_path, 4_000, 400_000, (2_000, 4_000))
    assert whole > 4_500 and peak < 450


@pytest.mark.panels
def test_a_hundred_thousand_haplotypes_at_a_million_sites(tmp_path: Path) -> None:
    """140 GB of calls and phase."""
    peak, whole = fit_of_a_region(tmp_path, 50_000, 1_000_000, (1_000, 10_000))
    assert whole > 140_000 and peak < 900


def some_panel(tmp_path: Path) -> tuple[Path, Path]:
    """A VCF and its store: phased, with sites that repeat others, records of several ALTs, and sites that do not vary."""
    rng = np.random.default_rng(2)
    lines = []
    for contig in ("1", "2"):
        for j in range(60):
            several = j % 7 == 3
            calls = [f"{a}|{b}" for a, b in rng.integers(0, 3 if several else 2, (12, 2))]
            if j % 11 == 5:
                calls = ["0|0"] * 12  # does not vary
            for _ in range(2 if j % 9 == 4 else 1):
                lines.append(
                    f"{contig}\t{100 * j + 1}\t.\tA\t{'C,G' if several else 'C'}\t.\tPASS\t.\tGT\t"
                    + "\t".join(calls)
                    + "\n"
                )
    path = tmp_path / "panel.vcf.gz"
    write(path, vcf_text(lines, [f"s{i}" for i in range(12)]))
    return path, converted(path, tmp_path / "panel.vcz")


@pytest.mark.parametrize("kind", ["of every kind", pytest.param("phased", marks=pytest.mark.panels)])
def test_a_store_that_is_used_in_place_is_as_its_vcf_read_whole(
    source: Path, store: Path, tmp_path: Path, kind: str
) -> None:
    """Scanned in several stretches, at whose borders sites repeat each other."""
    panels = some_panel(tmp_path) if kind == "phased" else (source, store)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snpimpute.impute.scan.SITES", 5)
        for panel in panels:
            folder = tmp_path / panel.suffix / "panel"
            settings = FitSettings(panel, "p", "mode", threads=1, min_call_rate=0.1)
            matrix, _ = read_panel(settings, folder, Watch())
            found.append((matrix, folder))
    (of_vcf, there), (of_store, here) = found
    assert of_store.site_keys() == of_vcf.site_keys() and of_store.names == of_vcf.names
    for table in ("sites.tsv", "samples.tsv", "records.tsv", "left_out.tsv"):
        assert (here / table).read_bytes() == (there / table).read_bytes(), table
    assert not (here / "calls.i8").exists() and not (here.parent / "scan").exists()
    np.testing.assert_array_equal(alt_frequencies(here), alt_frequencies(there))
    for part in (slice(0, of_vcf.n_sites), slice(3, of_vcf.n_sites - 2), slice(4, 5)):
        one, other = of_vcf.take_sites(part), of_store.take_sites(part)
        np.testing.assert_array_equal(other.calls, one.calls)
        assert (kind == "phased") == (one.haplotypes is not None) == (other.haplotypes is not None)
        if one.haplotypes is not None:
            np.testing.assert_array_equal(other.haplotypes, one.haplotypes)
        assert other.calls.flags.f_contiguous == one.calls.flags.f_contiguous
    with pytest.raises(TypeError, match="take sites first"):
        of_store.take_samples(slice(3))


@pytest.mark.panels  # a quarter of a minute
def test_a_fit_of_a_whole_store_is_that_of_its_vcf(tmp_path: Path) -> None:
    found = []
    for panel in some_panel(tmp_path):
        fitted = fit(FitSettings(panel, "p", "ld_knn", window="20", pilots=2, threads=2), tmp_path / panel.suffix)
        named = ("model.json", "SHA256SUMS")  # which have the panel's name and digest
        files = [each for each in fitted.folder.rglob("*") if each.is_file() and each.name not in named]
        found.append({each.relative_to(fitted.folder).as_posix(): each.read_bytes() for each in files})
        assert not (fitted.folder.parent / "panel").exists()
    assert found[0] == found[1] and len(found[0]) > 10


def fit_of_a_whole_store(tmp_path: Path, n_samples: int, n_sites: int, chunk: tuple[int, int]) -> tuple[int, int, int]:
    """Peak memory of the largest process of a fit of a sparse store, most bytes that its runs took, and the store's size decoded, in MB.

    Every tenth chunk of sites varies.
    """
    store = tmp_path / "sparse.vcz"
    sparse_store(store, n_samples, n_sites, chunk, range(0, n_sites // chunk[0], 10))
    runs, most, ended = tmp_path / "runs", [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            sizes = []
            for each in runs.rglob("*"):
                with suppress(OSError):
                    sizes.append(each.lstat().st_blocks * 512)
            most[0] = max(most[0], sum(sizes))

    watching = threading.Thread(target=watch)
    watching.start()
    options = ["--imputer", "mode", "--holdout", "0%", "--window", "1000", "--threads", "1", "--runs", runs]
    try:
        peak, _ = peak_of("fit", store, *options)
    finally:
        ended.set()
        watching.join()
    return peak, most[0] // 2**20, n_samples * n_sites * 3 // 2**20


@pytest.mark.panels
def test_a_whole_panel_is_read_by_stretches_and_windows(tmp_path: Path) -> None:
    """8,000 haplotypes at 100,000 sites: 1.1 GB of calls and phase, of which no process holds a third, and the disk nothing."""
    peak, disk, whole = fit_of_a_whole_store(tmp_path, 4_000, 100_000, (1_000, 2_000))
    assert whole > 1_100 and peak < 450 and disk < 100
