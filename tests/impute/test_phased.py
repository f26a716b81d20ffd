"""Phased output, from the command line: every call has `|`, phase is right, joined over windows, and turned to the target's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from snpimpute.impute.concordance import compare_files
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.phased import turned_to
from snpimpute.imputers._copying import voted_phase
from tests.impute.test_real_files import Folder
from tests.impute.test_records import N_PANEL, N_TARGET, accepted, fields, haplotypes, spelled, split_samples, write
from tests.io.test_vcf import record

N_SITES = 200
TRI, EXCHANGED = 120, 60  # a site with two ALTs; a typed one at which the target has REF and ALT exchanged


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
