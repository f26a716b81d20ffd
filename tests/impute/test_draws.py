"""Imputed data sets drawn from the posterior, from the command line: as often as it says, joint where the imputer can, and whole."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.draws import draw_name, drawn_genotypes, drawn_windows, draws_folder, save_drawn
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.windows import Window, owned_by
from snpimpute.io.matrix import read_matrix
from tests.impute.test_real_files import Folder
from tests.impute.test_records import (
    N_PANEL,
    N_TARGET,
    accepted,
    fields,
    haplotypes,
    info,
    spelled,
    split_samples,
    write,
)
from tests.io.test_vcf import record

N_SITES, N_DRAWS = 150, 30
TRI = 80  # a site with two ALTs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Panel, a target of every fifth site, and models of mosaic (80 sites a window) and mode."""
    made = Folder(tmp_path_factory.mktemp("draws"))
    alleles = haplotypes(N_SITES)
    alleles[:, TRI] *= 1 + alleles[:, TRI - 1]
    panel, target = split_samples(alleles)
    rows: dict[str, list[str]] = {"panel": [], "target": []}
    for site in range(N_SITES):
        pos, alt = 1000 + 10 * site, "C,G" if site == TRI else "C"
        rows["panel"].append(record(pos, spelled(panel[:, site]), alt=alt))
        if site % 5 == 1:
            rows["target"].append(record(pos, spelled(np.sort(target[:, site].reshape(-1, 2)).ravel(), "/"), alt=alt))
    write(made.path / "panel.vcf", rows["panel"], N_PANEL, "p")
    write(made.path / "target.vcf", rows["target"], N_TARGET, "t")
    for imputer, params in (("mosaic", {"switch": 0.02, "states": 40}), ("mode", {})):
        asked = {"params": params, "holdout": 0.0, "threads": 1, "window": "80"}
        fit(FitSettings(made.path / "panel.vcf", imputer, imputer, **asked), made.path / "runs")
    return made


def command(folder: Folder, imputer: str, out: str, *options: str) -> list[str]:
    model = next((folder.path / "runs" / "models").glob(f"{imputer}-{imputer}-*")) / "model"
    return ["impute", "target.vcf", "-o", out, "--model", str(model), "--threads", "1", *options]


def drawn_calls(files: list[Path]) -> np.ndarray:
    """Genotypes of draws at sites with one ALT, int8 (n, n_samples, n_sites)."""
    rows = [[line.split("\t") for line in file.read_text().splitlines() if line[0] != "#"] for file in files]
    number = {"0/0": 0, "0/1": 1, "1/1": 2, "1/0": 1}
    return np.array([[[number[gt] for gt in fields(row, "GT")] for row in own if row[4] == "C"] for own in rows], dtype=np.int8).transpose(0, 2, 1)  # fmt: skip


@pytest.mark.parametrize("imputer", ["mosaic", "mode"])
def test_draws_are_as_frequent_as_the_posterior_says_and_keep_what_is_observed(folder: Folder, imputer: str) -> None:
    told = json.loads(folder.ok(*command(folder, imputer, f"{imputer}.vcf", "--draws", str(N_DRAWS), "--json")))
    assert told["draws"] == f"{imputer}.draws" and told["n_draws"] == N_DRAWS
    assert told["drawn_jointly"] is (imputer == "mosaic")
    files = sorted((folder.path / f"{imputer}.draws").iterdir())
    assert [file.name for file in files] == [f"draw-{k:02d}.vcf" for k in range(1, N_DRAWS + 1)]
    first = folder.records(f"{imputer}.draws/draw-01.vcf")
    main = folder.records(f"{imputer}.vcf")
    assert [row[:7] for row in first] == [row[:7] for row in main]
    assert {row[8] for row in first} == {"GT:IC"} and not any("DR2" in info(row) for row in first)
    assert [("IMP" in info(row)) for row in first] == [("IMP" in info(row)) for row in main]
    calls = drawn_calls(files)
    gp = np.array([[[float(p) for p in cell.split(",")] for cell in fields(row, "GP")] for row in main if row[4] == "C"]).transpose(1, 0, 2)  # fmt: skip
    typed = np.array([fields(row, "IC")[0] == "0" for row in main if row[4] == "C"])
    assert (calls[:, :, typed] == gp[:, typed].argmax(axis=2)).all()
    shares = np.stack([(calls == genotype).mean(axis=0) for genotype in range(3)], axis=2)
    # windows are blended in the posterior and not in draws, and GP has two decimals
    np.testing.assert_allclose(shares.mean(axis=0), gp.mean(axis=0), atol=5 * np.sqrt(0.25 / N_DRAWS / N_TARGET) + 0.06)
    if imputer == "mode":  # each call by itself: neighbours of one sample know nothing of each other
        untyped = calls[:, :, ~typed].astype(float)
        off = untyped - untyped.mean(axis=0)
        assert abs((off[:, :, 1:] * off[:, :, :-1]).mean()) < 0.1 * off.var()
    for file in files[:1]:
        accepted(file)


def test_neighbours_of_a_joint_draw_belong_together(folder: Folder) -> None:
    """Founders differ where the posterior is unsure: a site says what the next one is (of single draws .2 of the variance by chance)."""
    folder.ok(*command(folder, "mosaic", "joint.vcf", "--draws", "30"))
    main = [row for row in folder.records("joint.vcf") if row[4] == "C"]
    calls = drawn_calls(sorted((folder.path / "joint.draws").iterdir())).astype(float)
    off = calls - calls.mean(axis=0)
    untyped = np.array([fields(row, "IC")[0] == "1" for row in main])
    both = untyped[1:] & untyped[:-1]
    together = np.abs((off[:, :, 1:] * off[:, :, :-1]).mean(axis=0))[:, both].mean()
    assert together > 0.4 * (off**2).mean(axis=0)[:, untyped].mean() > 0


def test_the_same_seed_draws_the_same_and_a_draw_is_read_by_others(folder: Folder) -> None:
    told = []
    for out, seed in (("a.bcf", "1"), ("b.bcf", "1"), ("c.bcf", "2")):
        said = folder.ok(*command(folder, "mosaic", out, "--draws", "2", "--seed", seed))
        assert "2 draws from the posterior (haplotypes jointly along each window): " in said
        files = [folder.path / f"{out[0]}.draws" / f"draw-0{k}.bcf" for k in (1, 2)]
        told.append([subprocess.run(["bcftools", "query", "-f", "%POS[ %GT %IC]\n", file], check=True, capture_output=True, text=True).stdout for file in files])  # fmt: skip
    assert told[0] == told[1] and told[0][0] != told[0][1] and told[0][0] != told[2][0]
    found, _ = read_matrix(folder.path / "a.draws" / "draw-01.bcf")
    assert found.n_samples == N_TARGET and (found.calls != MISSING).all()
    said = folder.ok(*command(folder, "mode", "single.vcf", "--draws", "1"))
    assert "1 draw from the posterior (each call by itself, as this imputer draws no haplotypes): single.draws" in said


def test_folders_are_not_overwritten_and_misuse_is_one_line(folder: Folder) -> None:
    folder.ok(*command(folder, "mode", "once.vcf", "--draws", "1"))
    (folder.path / "once.vcf").unlink()
    line = folder.refused(*command(folder, "mode", "once.vcf", "--draws", "2"))
    assert "once.draws is there already, and is not overwritten" in line and not (folder.path / "once.vcf").exists()
    folder.ok(*command(folder, "mode", "once.vcf", "--draws", "2", "--force"))
    assert len(list((folder.path / "once.draws").iterdir())) == 2
    assert "--draws writes a folder beside" in folder.refused(*command(folder, "mode", "-", "--draws", "2"))
    assert "in an object store" in folder.refused(*command(folder, "mode", "s3://x/o.vcf", "--draws", "2"))
    assert "--draws 2000: give a number from 1 to 1,000" in folder.refused(
        *command(folder, "mode", "n.vcf", "--draws", "2000")
    )


def test_windows_give_the_sites_that_they_answer_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    windows = [Window("1", 0, 8), Window("1", 5, 14), Window("2", 14, 20)]
    made = []
    (tmp_path / "drawn").mkdir()
    for number, window in enumerate(windows):
        made.append(rng.integers(0, 2, (3, 11, 2, window.stop - window.start)).astype(np.int8))
        save_drawn(tmp_path / "drawn" / f"{number:05d}.npy", made[-1])
    blocks = list(drawn_windows(windows, "1", tmp_path, 2, 11))
    assert [first for first, _ in blocks] == [0, int(5 + np.flatnonzero(owned_by(windows, 1))[0])]
    assert sum(block.shape[1] for _, block in blocks) == 14
    for (first, block), window, drawn in zip(blocks, windows, made, strict=False):
        genotypes = drawn[1].sum(axis=1)[:, first - window.start : first - window.start + block.shape[1]].T
        assert (block[0] + 2 * block[1] == genotypes).all()


def test_single_calls_are_drawn_by_their_probabilities() -> None:
    posterior = np.array([[[0.2], [1.0], [0.0]], [[0.7], [0.0], [0.0]]], dtype=np.float32).repeat(20_000, axis=2)
    drawn = drawn_genotypes(posterior, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(axis=2), posterior.mean(axis=2), atol=0.02)
    assert (drawn.sum(axis=0) <= 1).all() and set(np.unique(drawn)) == {0, 1}


def test_names() -> None:
    assert draws_folder(Path("a/imputed.vcf.gz")) == Path("a/imputed.draws")
    assert draw_name(Path("a/imputed.vcf.gz"), 7) == "draw-07.vcf.gz"
    assert draw_name(Path("x.bed"), 123) == "draw-123.bed"
