"""`finemap` from files to files: sets, blocks, annotations, and each format read back by another program."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import gffutils
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.cli.app import app
from snpimpute.io.plink import write_bed
from snpimpute.io.write_vcf import write_vcf
from snpimpute.traits.associate import AssociationSettings, associate
from snpimpute.traits.association_page import write_association
from snpimpute.traits.blocks import haplotype_blocks
from snpimpute.traits.dosages import read_dosages
from snpimpute.traits.finemap import STANDARD, FineMap, FineMapSettings, fine_map, matched
from snpimpute.traits.finemap_files import FILES, outstanding
from snpimpute.traits.finemap_page import write_fine_map
from snpimpute.traits.gwas import read_gwas
from snpimpute.traits.susie import correlation_of
from tests.traits.data import ld_calls, matrix_of, write_traits

N, P, CAUSAL = 400, 200, (40, 150)
GENES = """##gff-version 3
15\ttest\tgene\t30000\t42000\t.\t+\t.\tID=g1;Name=BULL1
15\ttest\tgene\t100000\t110000\t.\t-\t.\tID=g2;gene_name=BULL2
"""
CATALOG = (
    "DATE\tCHR_ID\tCHR_POS\tDISEASE/TRAIT\n2020\t15\t41000\tMilk yield\n2021\t\t\tUnplaced\n2022\t15\t151000\tHorns\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Genotypes in two formats, and association results of a trait of two sites."""
    folder = tmp_path_factory.mktemp("finemap")
    matrix = matrix_of(ld_calls(N, P, seed=5), "15")
    write_vcf(folder / "calls.vcf.gz", matrix, index=True)
    write_bed(folder / "calls.bed", matrix)
    calls = matrix.calls.astype(float)
    values = calls[:, CAUSAL] @ (np.array([0.6, -0.6]) / calls[:, CAUSAL].std(axis=0)) + np.random.default_rng(
        6
    ).normal(size=N)
    write_traits(folder / "traits.tsv", milk=values)
    found = associate(AssociationSettings(folder / "calls.vcf.gz", folder / "traits.tsv", "milk"), Watch())
    write_association(found, folder / "milk")
    (folder / "genes.gff3").write_text(GENES)
    (folder / "catalog.tsv").write_text(CATALOG)
    return folder


def settings(folder: Path, **changes) -> FineMapSettings:
    return FineMapSettings(folder / "milk" / "association.tsv", folder / "calls.vcf.gz", **changes)


@pytest.fixture(scope="module")
def found(folder: Path) -> FineMap:
    return fine_map(settings(folder, genes=folder / "genes.gff3", known=folder / "catalog.tsv"), Watch())


@pytest.fixture(scope="module")
def written(found: FineMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fine_map(found, tmp_path_factory.mktemp("written") / "out").parent


def test_both_causal_sites_are_in_sets(found):
    table = found.table.set_index("position")
    assert found.n_sets == 2 and all(table.set[1000 * (site + 1)] for site in CAUSAL)
    assert tuple(found.table.columns[: len(STANDARD)]) == STANDARD
    assert (found.table.importance_score == found.table.pip).all()
    assert found.loci[0].mismatch < 0.1 and not found.loci[0].switched and not found.notes[1:]


def test_annotations_stand_beside_the_sites(found):
    table = found.table.set_index("position")
    assert table.gene[41000] == "BULL1" and table.gene_distance[41000] == 0
    assert table.gene[98000] == "BULL2" and table.gene_distance[98000] == 2000
    assert table.known[41000] == "Milk yield" and table.known[42000] == ""
    block = found.blocks[(found.blocks.start <= 151000) & (found.blocks.end >= 151000)]
    assert block.empty or block.known.iloc[0] == "Horns"


def test_blocks_are_those_of_plink_and_ranked_by_their_probabilities(found, folder):
    dosages = read_dosages(folder / "calls.vcf.gz")
    blocks, block_of = haplotype_blocks(dosages)
    assert len(blocks) == len(found.blocks) and (found.blocks.pip.diff().dropna() <= 0).all()
    for row, block in enumerate(blocks.itertuples()):
        inside = dosages.sites.pos.between(block.start, block.end)
        assert (block_of[inside] == row).all() and block.sites == inside.sum()
    sums = found.table.groupby("block").pip.sum()
    assert found.blocks.pip.tolist() == pytest.approx(sums[found.blocks.block].tolist())


def test_pruning_leaves_one_of_sites_that_say_the_same_and_every_lead(found, folder):
    pruned = fine_map(settings(folder, prune=0.6), Watch())
    kept, everything = pruned.table.position.tolist(), found.table.position.tolist()
    assert pruned.clumps.equals(found.clumps) and pruned.blocks.block.isin(found.blocks.block).all()
    leads = {int(name.split(":")[1]) if ":" in name else found.table.set_index("rsid").position[name] for name in found.clumps.lead}  # fmt: skip
    assert leads <= set(kept) < set(everything)
    dosages = read_dosages(folder / "calls.vcf.gz")
    assert dosages.sites.pos.tolist() == everything
    r2 = np.corrcoef(dosages.values.T) ** 2
    places = {pos: j for j, pos in enumerate(everything)}
    plain = [places[pos] for pos in kept if pos not in leads]
    assert (r2[np.ix_(plain, plain)] - np.eye(len(plain))).max() <= 0.6 + 1e-6
    gone = [places[pos] for pos in everything if pos not in set(kept)]
    assert (r2[np.ix_(gone, [places[pos] for pos in kept])].max(axis=1) > 0.6).mean() > 0.9
    (said,) = [note for note in pruned.notes if "pruned" in note]
    assert said == f"{len(gone)} sites pruned: r² above 0.6 with one that is kept, which stands for them in sets"
    blocks = dict(zip(found.table.position, found.table.block, strict=True))
    assert [blocks[pos] for pos in kept] == pruned.table.block.tolist()
    with pytest.raises(InputError, match="--prune 1 is no r² between 0 and 1"):
        fine_map(settings(folder, prune=1.0), Watch())


def test_vcf_is_read_back_by_bcftools(found, written):
    chosen = outstanding(found)
    query = "%CHROM\t%POS\t%REF\t%ALT\t%INFO/PIP\t%INFO/BLOCK[\t%GT]\n"
    done = subprocess.run(
        ["bcftools", "query", "-f", query, written / "finemap.vcf.gz"], check=True, capture_output=True, text=True
    )
    assert "[W::" not in done.stderr and "[E::" not in done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [int(row[1]) for row in rows] == chosen.position.tolist()
    assert [float(row[4]) for row in rows] == pytest.approx(chosen.pip.tolist(), rel=1e-4)
    assert [row[5].replace(".", "") for row in rows] == chosen.block.tolist()
    assert all(len(row) == 6 + N for row in rows)


def test_bed_is_read_back_by_bcftools(found, written, folder):
    command = ["bcftools", "query", "-f", "%POS\n", "-R", written / "finemap.bed", folder / "calls.vcf.gz"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert [int(pos) for pos in done.stdout.split()] == outstanding(found).position.tolist()
    rows = [line.split("\t") for line in (written / "finemap.bed").read_text().splitlines()]
    assert all(len(row) == 6 and 0 <= int(row[4]) <= 1000 for row in rows)


def test_gff3_is_read_back_by_gffutils(found, written):
    database = gffutils.create_db(str(written / "finemap.gff3"), ":memory:")
    blocks = list(database.features_of_type("haplotype_block"))
    sites = list(database.features_of_type("sequence_alteration"))
    assert sorted(block.id for block in blocks) == sorted(found.blocks.block)
    assert [site.start for site in sites] == outstanding(found).position.tolist()
    parents = [site.attributes["Parent"][0] if "Parent" in site.attributes else "" for site in sites]
    assert parents == outstanding(found).block.tolist()
    assert any(site.attributes.get("known") == ["Milk yield"] for site in sites)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is missing")
def test_tsv_is_read_back_by_r(found, written):
    script = 't <- read.delim("finemap.tsv"); cat(nrow(t), names(t)[1:8], sum(t$pip), sep = "\\n")'
    done = subprocess.run(["Rscript", "-e", script], cwd=written, check=True, capture_output=True, text=True)
    lines = done.stdout.split()
    assert int(lines[0]) == len(found.table) and tuple(lines[1:9]) == STANDARD
    assert float(lines[9]) == pytest.approx(found.table.pip.sum(), rel=1e-4)


def test_json_and_page_say_the_same(found, written):
    assert sorted(path.name for path in written.iterdir()) == sorted([*FILES, "finemap.vcf.gz.tbi"])
    told = json.loads((written / "finemap.json").read_text())
    assert sum(len(locus["sets"]) for locus in told["loci"]) == found.n_sets
    assert [site["position"] for site in told["sites"]] == outstanding(found).position.tolist()
    page = (written / "finemap.html").read_text()
    assert "Credible sets" in page and found.blocks.lead[0] in page


def test_plink_files_give_the_same(found, folder, tmp_path: Path):
    again = fine_map(
        FineMapSettings(folder / "milk" / "association.tsv", folder / "calls.bed", region="15:1000-200000"), Watch()
    )
    np.testing.assert_allclose(again.table.pip, found.table.pip, atol=1e-6)
    write_fine_map(again, tmp_path / "out")
    count = subprocess.run(
        ["bcftools", "view", "-H", tmp_path / "out" / "finemap.vcf.gz"], check=True, capture_output=True
    )
    assert len(count.stdout.splitlines()) == len(outstanding(again))


def test_other_effect_alleles_are_turned_and_missing_sites_counted(folder):
    gwas, dosages = read_gwas(folder / "milk" / "association.tsv"), read_dosages(folder / "calls.vcf.gz")
    changed = gwas.copy()
    changed.loc[:9, ["effect_allele", "other_allele"]] = gwas.loc[:9, ["other_allele", "effect_allele"]].to_numpy()
    changed.loc[:9, "beta"] *= -1
    changed.loc[20, "base_pair_location"] += 1
    changed["chromosome"] = "chr15"
    shared, results, notes = matched(changed, dosages, "gwas.tsv")
    expected = gwas[gwas.base_pair_location != gwas.base_pair_location[20]]
    np.testing.assert_allclose(results.beta, expected.beta)
    assert shared.sites.pos.tolist() == expected.base_pair_location.tolist()
    assert (
        notes[0].startswith("1 site of gwas.tsv left out") and "10 sites of gwas.tsv have the other allele" in notes[1]
    )


def test_results_outside_the_region_are_not_said_to_lack_genotypes(folder):
    found = fine_map(settings(folder, region="15:1-100000"), Watch())
    assert 0 < len(found.table) < P and not any("left out" in note for note in found.notes)


def test_priors_and_blocks_are_taken_from_bed(folder, tmp_path: Path):
    (tmp_path / "prior.bed").write_text("15\t60999\t61000\tcoding\t1000\n")
    (tmp_path / "blocks.bed").write_text("15\t0\t60000\tleft\n15\t60000\t300000\tright\n")
    plain = fine_map(settings(folder), Watch())
    weighted = fine_map(settings(folder, prior=tmp_path / "prior.bed", blocks=tmp_path / "blocks.bed"), Watch())
    at = plain.table.position == 61000
    assert weighted.table.pip[at].item() > plain.table.pip[at].item()
    assert sorted(weighted.blocks.block) == ["B1", "B2"] and (weighted.table.block != "").all()


REFUSED = {
    "has no site with p < 1e-300: nothing to fine-map; name a --region": ["--p", "1e-300"],
    "no weight above 0: a BED of annotations has it in column 4 or 5": ["--prior", "plain.bed"],
    "line 1 of broken.bed is not one of a BED": ["--prior", "broken.bed"],
    "has no column 'CHR_ID': known loci are a .bed": ["--known", "traits.tsv"],
    "genes.txt is not a GFF3, or has no feature of type gene": ["--genes", "genes.txt"],
    "cannot read the genes in": ["--genes", "absent.gff3"],
    "has no block that holds a site": ["--blocks", "elsewhere.bed"],
    "has no records in 15:300000-400000": ["--region", "15:300000-400000"],
}


@pytest.mark.parametrize("said", REFUSED)
def test_bad_input_is_one_line(folder: Path, tmp_path: Path, said: str):
    (folder / "plain.bed").write_text("15\t0\t1000\n")
    (folder / "broken.bed").write_text("15\tzero\t1000\n")
    (folder / "elsewhere.bed").write_text("16\t0\t1000\n")
    (folder / "genes.txt").write_text("no genes here\n")
    option, value = REFUSED[said]
    value = str(folder / value) if "." in value and option != "--p" else value
    command = ["finemap", str(folder / "milk" / "association.tsv"), str(folder / "calls.vcf.gz"), option, value]
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, InputError) and said in str(done.exception)
    assert "\n" not in str(done.exception) and not (tmp_path / "out").exists()


def test_the_command_says_what_it_found(folder: Path, tmp_path: Path):
    command = [
        "finemap",
        str(folder / "milk" / "association.tsv"),
        str(folder / "calls.vcf.gz"),
        "-o",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "2 credible sets (95%, purity 0.5 or more)" in done.stdout and "first of" in done.stdout
    told = json.loads(CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False).stdout)
    assert pd.DataFrame(told["blocks"])["rank"].tolist() == list(range(1, len(told["blocks"]) + 1))


def test_a_set_of_two_sites_of_little_ld_is_one_where_it_is_asked_for(folder: Path, tmp_path: Path):
    dosages = read_dosages(folder / "calls.vcf.gz")
    r = np.abs(correlation_of(dosages.centred()))
    pair = [int(j) for j in np.argwhere((r > 0.2) & (r < 0.45))[0]]
    gwas = pd.read_csv(folder / "milk" / "association.tsv", sep="\t")
    own = gwas[gwas.base_pair_location.isin(dosages.sites.pos.iloc[pair])].copy()
    assert len(own) == 2
    own["beta"], own["standard_error"] = [0.8, 0.8 * np.sign(np.corrcoef(dosages.centred()[:, pair].T)[0, 1])], 0.1
    own.to_csv(tmp_path / "two.tsv", sep="\t", index=False)
    command = ["finemap", str(tmp_path / "two.tsv"), str(folder / "calls.vcf.gz"), "--region", "15", "--effects", "1"]

    def sets(*options: str) -> list[dict]:
        asked = [*command, *options, "-o", str(tmp_path / "out"), "--json"]
        told = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout)
        return [of for locus in told["loci"] for of in locus["sets"]]

    assert sets("--purity", "0.5") == []
    (only,) = sets("--purity", "0.2")
    assert len(only["sites"]) == 2 and only["purity"] == pytest.approx(r[pair[0], pair[1]], abs=1e-3)
    refused = CliRunner().invoke(app, [*command, "--purity", "1.5"])
    assert refused.exit_code == 2 and "--purity" in refused.stderr
