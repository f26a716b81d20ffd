"""Phased output, from the command line: every call has `|`, phase is right, joined over windows, and turned to the target's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.impute.concordance import compare_files
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.phased import TARGET_FILE, join_windows, phase_file, phase_of_calls, save_window_phase, turned_to
from snpimpute.impute.windows import Window
from snpimpute.imputers._copying import voted_phase
from snpimpute.io.records import HALF, PHASED, UNPHASED, Record
from tests.impute.test_real_files import Folder
from tests.impute.test_records import N_PANEL, N_TARGET, accepted, fields, haplotypes, spelled, split_samples, write
from tests.io.test_vcf import record

N_SITES = 200
TRI, EXCHANGED = 120, 60  # a site with two ALTs; a typed one at which the target has REF and ALT exchanged


def save(work: Path, number: int, first: list[str]) -> None:
    """Write the phase of a window, a text a sample: 0 or 1 = the first allele of a heterozygote, - = homozygous."""
    told = np.array([[-1 if sign == "-" else int(sign) for sign in text] for text in first], dtype=np.int8)
    (work / "phase").mkdir(exist_ok=True)
    save_window_phase(phase_file(work, number), np.stack([told == 1, told == 0], axis=1).astype(np.int8))


def joined(work: Path, windows: list[Window], contigs: str, varying: list[int], n_samples: int) -> list[str]:
    """What windows are joined to, spelled as `save` takes it."""
    found = join_windows(windows, work, pd.DataFrame({"contig": list(contigs)}), np.array(varying), n_samples)
    assert found.shape == (len(contigs), n_samples) and found.dtype == np.int8
    return ["".join("-" if first == -1 else str(first) for first in row) for row in found.T.tolist()]


def test_windows_are_joined_by_the_heterozygotes_that_they_share(tmp_path: Path) -> None:
    """Sites 2 to 5 are in two windows, each has half; row 5 does not vary, and nothing was imputed on contig 3."""
    windows = [Window("1", 0, 6), Window("1", 2, 9), Window("2", 9, 12), Window("2", 11, 14), Window("3", 14, 16)]
    rows = [0, 1, 2, 3, 4, *range(6, 17)]
    save(tmp_path, 0, ["010110", "010110", "110101", "0000--", "001100"])
    #                      they share
    save(tmp_path, 1, ["1001-01", "0110-10", "0011-10", "--11111", "00-0111"])
    save(tmp_path, 2, ["000", "001", "0-1", "11-", "000"])
    save(tmp_path, 3, ["011", "011", "100", "100", "1-0"])
    assert joined(tmp_path, windows, "1" * 10 + "2" * 5 + "3" * 2, rows, 5) == [
        "01011-0-10" + "00011" + "--",  # the second window of contig 1 is turned
        "01011-0-10" + "00100" + "--",  # that of contig 2 is
        "11011-1-10" + "0-100" + "--",  # two of four differ: that turns nothing
        "00001-1111" + "11100" + "--",  # nobody is heterozygous in both
        "0011--1000" + "000-1" + "--",  # of three two differ: turned, and - stays
    ]


def test_the_target_s_own_phase_turns_the_contig_that_it_is_on(tmp_path: Path) -> None:
    windows = [Window("1", 0, 4), Window("2", 4, 8)]
    save(tmp_path, 0, ["01-1", "01-1"])
    save(tmp_path, 1, ["0000", "0011"])
    told = np.full((8, 2), -1, dtype=np.int8)
    told[0, 0], told[2, 0], told[7, 1] = 1, 0, 0
    (tmp_path / "target").mkdir()
    told.tofile(tmp_path / "target" / TARGET_FILE)
    # the target's third call is a phased heterozygote, whatever was imputed
    assert joined(tmp_path, windows, "11112222", list(range(8)), 2) == ["10000000", "01-11100"]


def test_phase_is_kept_of_heterozygotes_alone(tmp_path: Path) -> None:
    haplotypes = np.array([[[0, 1, 1, 0], [0, 0, 1, 1]], [[1, 1, 0, 0], [0, 0, 1, 1]]], dtype=np.int8)
    (tmp_path / "phase").mkdir()
    save_window_phase(phase_file(tmp_path, 7), haplotypes)
    found = np.load(tmp_path / "phase" / "00007.npy", allow_pickle=False)
    assert found.dtype == np.int8 and found.tolist() == [[-1, 1], [1, 1], [-1, 0], [0, 0]]


def test_phase_of_calls_is_told_of_phased_heterozygotes_by_the_panel_s_alleles() -> None:
    alleles = np.array([[0, 1], [1, 0], [0, 1], [1, 1], [0, -1]], dtype=np.int8)
    kinds = np.array([PHASED, PHASED, UNPHASED, PHASED, HALF], dtype=np.int8)
    for sets, swapped, expected in (
        (False, False, [0, 1, -1, -1, -1]), (False, True, [1, 0, -1, -1, -1]), (True, False, [-1] * 5),
    ):  # fmt: skip
        found = phase_of_calls(Record("1", 1, "", "A", ("C",), True, alleles, kinds, phase_sets=sets), swapped)
        assert found.dtype == np.int8 and found.tolist() == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Panel, truth, an unphased target of every third site, the same with every second call phased, and models of 80 sites a window."""
    made = Folder(tmp_path_factory.mktemp("phased"))
    alleles = haplotypes(N_SITES)
    alleles[:, TRI] *= 1 + alleles[:, TRI - 1]
    panel, target = split_samples(alleles)
    rows: dict[str, list[str]] = {"panel": [], "truth": [], "target": [], "half": []}
    for site in range(N_SITES):
        pos, alt = 1000 + 10 * site, "C,G" if site == TRI else "C"
        rows["panel"].append(record(pos, spelled(panel[:, site]), alt=alt))
        rows["truth"].append(record(pos, spelled(target[:, site]), alt=alt))
        if site % 3 == 0:
            exchanged = site == EXCHANGED
            ref_alt = ("C", "A") if exchanged else ("A", alt)
            own = 1 - target[:, site] if exchanged else target[:, site]
            rows["target"].append(record(pos, spelled(np.sort(own.reshape(-1, 2)).ravel(), "/"), *ref_alt))
            unphased, phased = spelled(np.sort(own.reshape(-1, 2)).ravel(), "/"), spelled(own)
            mixed = [phased[i] if (i + site // 3) % 2 else unphased[i] for i in range(N_TARGET)]
            rows["half"].append(record(pos, mixed, *ref_alt))
    for name, lines in rows.items():
        write(
            made.path / f"{name}.vcf", lines, N_PANEL if name == "panel" else N_TARGET, "p" if name == "panel" else "t"
        )
    for imputer, params in (("mosaic", {"switch": 0.01, "states": 40}), ("beagle", {}), ("mode", {})):
        asked = {"params": params, "holdout": 0.0, "threads": 1, "window": "80"}
        fit(FitSettings(made.path / "panel.vcf", imputer, imputer, **asked), made.path / "runs")
    return made


def imputed(folder: Folder, imputer: str, target: str, out: str, *options: str) -> Path:
    model = next((folder.path / "runs" / "models").glob(f"{imputer}-{imputer}-*")) / "model"
    folder.ok("impute", target, "-o", out, "--model", str(model), "--threads", "1", *options)
    return folder.path / out


@pytest.mark.parametrize(("imputer", "at_most"), [("mosaic", 0.06), ("beagle", 0.1)])
def test_every_call_is_phased_and_phase_is_right_over_windows(folder: Folder, imputer: str, at_most: float) -> None:
    path = imputed(folder, imputer, "target.vcf", f"{imputer}.vcf", "--phased")
    plain = imputed(folder, imputer, "target.vcf", f"{imputer}-plain.vcf")
    for row, without in zip(folder.records(path.name), folder.records(plain.name), strict=True):
        genotypes = fields(row, "GT")
        assert all("|" in genotype for genotype in genotypes)
        unordered = ["/".join(sorted(genotype.split("|"))) for genotype in genotypes]
        assert unordered == ["/".join(sorted(genotype.split("/"))) for genotype in fields(without, "GT")]
        assert row[7:9] == without[7:9] and fields(row, "DS") == fields(without, "DS")
    found = compare_files(folder.path / "truth.vcf", path).phase
    assert found["pairs"] > 200 and found["switch_error"] <= at_most, found
    accepted(path)


def test_a_bcf_says_the_same(folder: Folder) -> None:
    told = [
        subprocess.run(
            ["bcftools", "query", "-f", "%POS[ %GT %DS]\n", imputed(folder, "mosaic", "target.vcf", name, "--phased")],
            check=True, capture_output=True, text=True,
        ).stdout
        for name in ("same.vcf", "same.bcf")
    ]  # fmt: skip
    assert told[0] == told[1] and "1|0" in told[0] and "0|1" in told[0] and "/" not in told[0]


def test_phased_calls_of_the_target_stay_and_others_follow_them(folder: Folder) -> None:
    path = imputed(folder, "mosaic", "half.vcf", "half-out.vcf", "--phased")
    typed = {row[1]: fields(row, "GT") for row in folder.records("half.vcf")}
    truth = {row[1]: fields(row, "GT") for row in folder.records("truth.vcf")}
    right = n = 0
    for row in folder.records(path.name):
        for sample, genotype in enumerate(fields(row, "GT")):
            given = typed.get(row[1], ["."] * N_TARGET)[sample]
            if "|" in given and row[1] != str(1000 + 10 * EXCHANGED):
                assert genotype == given
            elif len(set(genotype.split("|"))) == 2 and sorted(genotype) == sorted(truth[row[1]][sample]):
                right, n = right + (genotype == truth[row[1]][sample]), n + 1
    assert n > 200 and right > 0.9 * n  # which haplotype is first is the target's own choice


def test_what_tells_no_phase_is_one_line(folder: Folder) -> None:
    model = str(next((folder.path / "runs" / "models").glob("mode-mode-*")) / "model")
    line = folder.refused("impute", "target.vcf", "-o", "no.vcf", "--model", model, "--phased")
    assert "imputer mode tells no phase: --phased needs a model of beagle or mosaic" in line
    line = folder.refused("impute", "target.vcf", "-o", "no.vcf", "--no-panel", "--imputer", "beagle", "--phased")
    assert "there is no panel: --phased needs a model" in line
    assert not (folder.path / "no.vcf").exists()


def test_draws_vote_from_heterozygote_to_heterozygote() -> None:
    pairs = np.array(
        [
            [[0, 0, 1, 1], [1, 1, 0, 0]],
            [[1, 1, 0, 0], [0, 0, 1, 1]],  # the same, the other haplotype first
            [[0, 1, 1, 0], [1, 0, 1, 1]],  # against both at the second site, homozygous at the third
        ],
        dtype=np.int8,
    )
    assert voted_phase(pairs).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])


def test_calls_are_turned_as_the_nearest_that_is_told() -> None:
    first = np.array([[0], [1], [-1], [1], [0], [1]], dtype=np.int8)
    told = np.array([[-1], [0], [-1], [-1], [-1], [1]], dtype=np.int8)
    assert turned_to(first, told).ravel().tolist() == [1, 0, -1, 0, 0, 1]
    assert turned_to(first, np.full_like(told, -1)).ravel().tolist() == first.ravel().tolist()
