"""`associate` from files to files: the planted site leads, the table is GWAS-SSF, figures are drawn, bad input is one line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.cli.app import app
from snpimpute.io.maps import GeneticMap
from snpimpute.io.plink import write_bed
from snpimpute.io.write_vcf import write_vcf
from snpimpute.traits.associate import Association, AssociationSettings, associate
from snpimpute.traits.association_page import FILES, write_association
from snpimpute.traits.dosages import read_dosages
from snpimpute.traits.gwas import MANDATORY, read_gwas, spelled_p
from tests.impute.test_concordance import soft_file
from tests.traits.data import ld_calls, matrix_of, write_traits

N, P, CAUSAL = 300, 120, 70


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imputed genotypes (DS and DR2), the calls that they are from, a trait of one site, and a binary one."""
    folder = tmp_path_factory.mktemp("associate")
    matrix = matrix_of(ld_calls(N, P, seed=3), "15")
    rng = np.random.default_rng(4)
    posterior = np.eye(3)[matrix.calls] * 0.8 + rng.dirichlet(np.ones(3), matrix.calls.shape) * 0.2
    soft_file(folder / "imputed.vcf", matrix, posterior, "GT:DS:GP", rng.uniform(0.3, 1, P))
    write_vcf(folder / "calls.vcf.gz", matrix, index=True)
    write_bed(folder / "calls.bed", matrix)
    values = 0.9 * matrix.calls[:, CAUSAL] + rng.normal(size=N)
    age = rng.normal(5, 1, N)
    write_traits(
        folder / "traits.tsv", milk=values + age, case=(values > 0.8).astype(int) + 1, age=age, same=np.ones(N)
    )
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Association:
    settings = AssociationSettings(folder / "imputed.vcf", folder / "traits.tsv", "milk", ("age",))
    return associate(settings, Watch())


def test_the_planted_site_leads_and_dosages_are_used(found):
    assert found.model == "linear" and "do not tell relatives" in found.why
    assert found.dosages.fields == "DS"
    r = np.corrcoef(found.dosages.values[:, found.lead], found.dosages.values[:, CAUSAL])[0, 1]
    assert r**2 > 0.8 and found.significant > 0
    assert found.table.beta[CAUSAL] == pytest.approx(1.0, abs=0.35)


def test_the_table_is_that_of_the_catalog_and_is_read_again(found, tmp_path: Path):
    page = write_association(found, tmp_path / "out", GeneticMap())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    written = pd.read_csv(tmp_path / "out" / "association.tsv", sep="\t")
    assert tuple(written.columns[: len(MANDATORY)]) == MANDATORY
    again = read_gwas(tmp_path / "out" / "association.tsv")
    for column in ("beta", "standard_error", "p_value", "effect_allele_frequency", "info"):
        np.testing.assert_allclose(again[column], found.table[column], rtol=1e-5)
    assert again.n.eq(N).all() and again.rsid.tolist() == found.table.rsid.tolist()
    text = page.read_text()
    assert "Around the lead site" in text and "recombination-figure" in text
    told = json.loads((tmp_path / "out" / "association.json").read_text())
    assert told["samples"] == N and told["model"] == "linear" and told["genomic_inflation"] > 0
    for name in ("manhattan.png", "qq.png", "region.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_vcf_and_plink_give_the_same(folder: Path):
    tables = []
    for name in ("calls.vcf.gz", "calls.bed"):
        settings = AssociationSettings(folder / name, folder / "traits.tsv", "case", model="logistic")
        found = associate(settings, Watch())
        assert found.dosages.fields == "GT" and found.trait.binary
        tables.append(found.table)
    np.testing.assert_allclose(tables[0].beta, tables[1].beta)
    region = AssociationSettings(
        folder / "calls.vcf.gz", folder / "traits.tsv", "case", model="linear", region="15:5000-20000"
    )
    part = associate(region, Watch())
    assert part.table.base_pair_location.between(5000, 20000).all() and len(part.table) + part.not_tested == 16
    assert any("differences of risk" in note for note in part.notes)


def test_dosages_of_a_pgen_are_tested(folder: Path, tmp_path: Path, found):
    command = ["plink2", "--vcf", folder / "imputed.vcf", "dosage=DS", "--make-pgen", "--out", tmp_path / "imputed"]
    subprocess.run([*command, "--allow-extra-chr"], check=True, capture_output=True)
    settings = AssociationSettings(tmp_path / "imputed.pgen", folder / "traits.tsv", "milk", ("age",))
    again = associate(settings, Watch())
    assert again.dosages.fields == "DS"
    np.testing.assert_allclose(again.table.beta, found.table.beta, atol=1e-3)


def test_components_are_covariates_and_the_mixed_model_leaves_the_region_out(folder: Path):
    settings = AssociationSettings(
        folder / "calls.vcf.gz", folder / "traits.tsv", "milk", components=2, model="mixed", region="15:60000-80000"
    )
    found = associate(settings, Watch())
    assert found.trait.covariate_names == ("PC1", "PC2")
    assert "the relationship leaves out the region tested" in found.notes
    assert len(found.table) + found.not_tested == 21


def test_dosages_are_ds_else_gp_else_calls(tmp_path: Path):
    matrix = matrix_of(ld_calls(6, 12, seed=1))
    posterior = np.eye(3)[matrix.calls] * 0.6 + 0.4 / 3
    for fields, used in (("GT:DS:GP", "DS"), ("GT:GP", "GP"), ("GT", "GT")):
        read = read_dosages(soft_file(tmp_path / f"{used}.vcf", matrix, posterior, fields))
        assert read.fields == used and np.isnan(read.quality).all()
        expected = matrix.calls if used == "GT" else posterior @ np.arange(3)
        np.testing.assert_allclose(read.values, expected, atol=2e-4)


def test_tiny_p_values_are_spelled():
    assert spelled_p(0.0123456789, 1.9) == "0.0123457"
    assert spelled_p(0.0, 399.60206) == "2.500000e-400"


REFUSED = {
    "traits.tsv has no column 'yeild': it has milk, case, age, same": ["--trait", "yeild"],
    "same is 1 in all 300 samples": ["--trait", "same"],
    "--model logistic needs a binary trait": ["--trait", "milk", "--model", "logistic"],
    "--model square is not known": ["--trait", "milk", "--model", "square"],
    "imputed.vcf has no site in 15:1-2": ["--trait", "milk", "--region", "15:1-2"],
    "--pcs 300 is too many for 300 samples": ["--trait", "milk", "--pcs", "300"],
}


@pytest.mark.parametrize("said", REFUSED)
def test_bad_input_is_one_line(folder: Path, tmp_path: Path, said: str):
    command = ["associate", str(folder / "imputed.vcf"), "--traits", str(folder / "traits.tsv"), *REFUSED[said]]
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, InputError) and said in str(done.exception)
    assert "\n" not in str(done.exception) and not (tmp_path / "out").exists()


def test_the_command_says_what_it_did(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = ["associate", str(folder / "imputed.vcf"), "--traits", str(folder / "traits.tsv"), "--trait", "milk"]
    command += ["--covariates", "age", "-o", str(out)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "milk: 120 sites tested in 300 samples by linear regression (DS)" in done.stdout
    assert "lead site 15:" in done.stdout and "covariates: age" in done.stdout
    told = json.loads(CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False).stdout)
    assert told["page"] == str(out / "association.html")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "association.tsv").write_text("mine")
    refused = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "other")])
    assert "is there already, and is not overwritten" in str(refused.exception)


def test_tables_of_others_are_read_or_refused(tmp_path: Path):
    head = "chromosome\tbase_pair_location\teffect_allele\tother_allele\todds_ratio\tstandard_error\teffect_allele_frequency\tneg_log_10_p_value"
    path = tmp_path / "others.tsv"
    path.write_text(f"{head}\n1\t5\tA\tC\t2.718281828\t0.1\t0.3\t12\n1\t6\tA\tC\t#NA\t#NA\t0.3\t1\n")
    read = read_gwas(path)
    assert len(read) == 1 and read.beta[0] == pytest.approx(1.0) and read.p_value[0] == pytest.approx(1e-12)
    path.write_text(f"{head}\n1\t5\tA\tC\tlarge\t0.1\t0.3\t12\n")
    with pytest.raises(InputError, match=r"odds_ratio in row 1 is 'large', which is not a number"):
        read_gwas(path)
    path.write_text("chromosome\tp_value\n1\t.1\n")
    with pytest.raises(InputError, match=r"has no column 'base_pair_location'"):
        read_gwas(path)
