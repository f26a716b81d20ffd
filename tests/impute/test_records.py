"""Records of every kind, from the command line: sites that do not vary, variants with one ALT and with several, next to each other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from snpimpute.impute.fit import FitSettings, fit
from snpimpute.imputers.beagle import Beagle
from tests.impute.test_real_files import Folder
from tests.io.test_vcf import record, vcf_text

N_PANEL, N_TARGET = 60, 8


def haplotypes(n_sites: int, seed: int = 3) -> np.ndarray:
    """Haplotypes of panel and target, int8 (2 × n_samples, n_sites): mosaics of six founders, half of each alleles 1."""
    rng = np.random.default_rng(seed)
    founders = rng.permuted(np.repeat([[0], [1]], [3, 3], axis=0).repeat(n_sites, axis=1), axis=0).astype(np.int8)
    which = rng.integers(0, 6, (2 * (N_PANEL + N_TARGET), n_sites // 20 + 1)).repeat(20, axis=1)[:, :n_sites]
    return founders[which, np.arange(n_sites)]


def spelled(alleles: np.ndarray, mark: str = "|") -> list[str]:
    """GT of one site's alleles, int8 (2 × n_samples,)."""
    return [f"{first}{mark}{second}" for first, second in alleles.reshape(-1, 2)]


def split_samples(alleles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return alleles[: 2 * N_PANEL], alleles[2 * N_PANEL :]


def write(path: Path, records: list[str], n: int, prefix: str) -> None:
    path.write_text(vcf_text(records, [f"{prefix}{i}" for i in range(n)]))


def fields(row: list[str], name: str) -> list[str]:
    place = row[8].split(":").index(name)
    return [sample.split(":")[place] for sample in row[9:]]


def info(row: list[str]) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in row[7].split(";"))


def accepted(path: Path) -> None:
    """bcftools reads the file without a word, and plink2 imports its dosages."""
    for command in (["bcftools", "view", "-Ob", "-o", "/dev/null"], ["bcftools", "norm", "-m-any", "-o", "/dev/null"]):
        done = subprocess.run([*command, path], capture_output=True, text=True)
        assert done.returncode == 0 and "[W::" not in done.stderr and "[E::" not in done.stderr, done.stderr


# ---------------------------------------------------------------------- sites that do not vary in the panel

CONSTANT = {1500: "0|0", 7500: "1|1", 15500: "0|0", 40500: "0|0"}


@pytest.fixture(scope="module")
def with_constant(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A panel of 40 sites and four that do not vary, two of them in the target, where one varies."""
    folder = Folder(tmp_path_factory.mktemp("constant"))
    alleles = haplotypes(40)
    panel, target = split_samples(alleles)
    lines = {1000 * (i + 1): record(1000 * (i + 1), spelled(panel[:, i])) for i in range(40)}
    lines |= {pos: record(pos, [call] * N_PANEL, "G", "T") for pos, call in CONSTANT.items()}
    write(folder.path / "panel.vcf", [lines[pos] for pos in sorted(lines)], N_PANEL, "p")
    typed = {1000 * (i + 1): record(1000 * (i + 1), spelled(target[:, i], "/")) for i in range(0, 40, 2)}
    typed[7500] = record(7500, ["1/1"] * 6 + ["./."] * 2, "G", "T")
    typed[15500] = record(15500, ["0/0"] * 4 + ["0/1"] * 2 + ["./."] * 2, "G", "T")
    write(folder.path / "target.vcf", [typed[pos] for pos in sorted(typed)], N_TARGET, "t")
    fit(FitSettings(folder.path / "panel.vcf", "panel", "mode", holdout=0.0), folder.path / "runs")
    return folder


def test_sites_that_do_not_vary_are_written_as_beagle_writes_them(with_constant: Folder) -> None:
    said = with_constant.impute("target.vcf", "out.vcf")
    assert "44 sites written, 22 of them not in the target, 4 missing calls" in said
    out = {int(row[1]): row for row in with_constant.records("out.vcf")}
    assert list(out) == sorted(out) and len(out) == 44
    for pos, dose in ((1500, "0"), (40500, "0")):
        assert set(fields(out[pos], "GT")) == {"0/0"} and set(fields(out[pos], "DS")) == {dose}
        assert info(out[pos]) == {"AF": "0", "DR2": "0.00", "IMP": ""}
    assert set(fields(out[7500], "GP")) == {"0,0,1"} and fields(out[7500], "IC") == ["0"] * 6 + ["1"] * 2
    # Two alleles of twelve in the target, of 132 with the panel: what is not known there may be the other one.
    assert fields(out[15500], "GT")[:6] == ["0/0"] * 4 + ["0/1"] * 2
    assert fields(out[15500], "DS")[6:] == ["0.03"] * 2
    accepted(with_constant.path / "out.vcf")


def test_beagle_has_the_same_sites(with_constant: Folder) -> None:
    Beagle.require_programs()
    fit(FitSettings(with_constant.path / "panel.vcf", "b", "beagle", holdout=0.0), with_constant.path / "runs")
    model = next((with_constant.path / "runs" / "models").glob("b-beagle-*")) / "model"
    with_constant.ok("impute", "target.vcf", "-o", "beagle.vcf", "--model", str(model), "--threads", "1")
    assert [row[:5] for row in with_constant.records("beagle.vcf")] == [
        row[:5] for row in with_constant.records("panel.vcf")
    ]


def test_check_counts_a_site_that_does_not_vary_as_shared(with_constant: Folder) -> None:
    said = with_constant.ok("check", "target.vcf", "--panel", "panel.vcf")
    assert "22 of its 22 records are sites of the panel, which has 44" in said


# ---------------------------------------------------------------------- variants with one ALT

VARIANTS = {
    5: ("A", "ATTG"),
    6: ("ACGT", "A"),
    7: ("A", "<DUP:me>"),
    8: ("AC", "GT"),
    9: ("A", "*"),
    11: ("G", "G]7:2000]"),
}


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, dict[tuple[str, ...], np.ndarray]]:
    """A panel in which every kind of variant has a site, and an insertion and a deletion one position; the truth by site."""
    folder = Folder(tmp_path_factory.mktemp("variants"))
    alleles = haplotypes(40)
    sites = [(1000 * (i + 1), *VARIANTS.get(i, ("A", "C"))) for i in range(40)]
    order = [*range(21), 20, *range(21, 40)]
    sites[20:21] = [(21000, "AT", "A"), (21000, "A", "AT")]
    turned = [alleles[:, i] ^ (n == 21) for n, i in enumerate(order)]
    for name, part, mark, n, columns in (
        ("panel.vcf", 0, "|", N_PANEL, range(41)),
        ("target.vcf", 1, "/", N_TARGET, [*range(0, 8, 2), 9, *range(12, 41, 2)]),
        ("truth.vcf", 1, "|", N_TARGET, range(41)),
    ):
        lines = [record(sites[c][0], spelled(split_samples(turned[c])[part], mark), *sites[c][1:]) for c in columns]
        write(folder.path / name, lines, n, name[0])
    settings = FitSettings(folder.path / "panel.vcf", "panel", "softmax_regression", holdout=0.0, threads=1)
    fit(settings, folder.path / "runs")
    model = next((folder.path / "runs" / "models").glob("panel-softmax*")) / "model"
    for name in ("out.vcf", "out.bcf", "out.pgen"):
        folder.ok("impute", "target.vcf", "-o", name, "--model", str(model), "--threads", "1")
    return folder, {
        (str(site[0]), *site[1:]): split_samples(column)[1] for site, column in zip(sites, turned, strict=True)
    }


def test_variants_with_one_alt_are_sites(variants: tuple[Folder, dict[tuple[str, ...], np.ndarray]]) -> None:
    folder, truth = variants
    out = {(row[1], *row[3:5]): row for row in folder.records("out.vcf")}
    assert list(out) == [(row[1], *row[3:5]) for row in folder.records("panel.vcf")]
    typed = {(row[1], *row[3:5]) for row in folder.records("target.vcf")}
    assert ("10000", "A", "*") in typed and ("8000", "A", "<DUP:me>") not in typed
    wrong = 0
    for site, row in out.items():
        calls = np.array([call.count("1") for call in fields(row, "GT")])
        differ = int((calls != truth[site].reshape(-1, 2).sum(axis=1)).sum())
        assert not (site in typed and differ)
        wrong += differ
    assert wrong <= 0.25 * N_TARGET * (len(out) - len(typed))
    accepted(folder.path / "out.vcf")
    accepted(folder.path / "out.bcf")
    assert [line.split()[3:5] for line in (folder.path / "out.pvar").read_text().splitlines() if line[0] != "#"] == [
        row[3:5] for row in folder.records("panel.vcf")
    ]


def test_they_are_compared_and_checked_as_sites(variants: tuple[Folder, dict[tuple[str, ...], np.ndarray]]) -> None:
    folder, _ = variants
    found = folder.concordance("truth.vcf", "out.vcf", "--typed", "target.vcf")
    assert found["sites"] == 41 and found["not_scored_several_alts"] == 0 and found["concordance"] > 0.75
    assert "20 of its 20 records are sites" in folder.ok("check", "target.vcf", "--panel", "panel.vcf")
