"""Records that files in use have and that tell less than they seem to: phase sets, ALTs without a name, sites told twice, fields defined otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from snpimpute.io.imputed_header import clashing_keys, own_lines
from snpimpute.io.target_line import without_keys
from tests.impute.test_real_files import Folder
from tests.impute.test_records import accepted, fields
from tests.io.test_vcf import record, vcf_text

N_PANEL, N_TARGET, N_SITES = 20, 4, 10
NAMES = [f"t{i}" for i in range(N_TARGET)]
PHASE_SET = '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set">\n'


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A panel of sites 100, 200, …, the third with two ALTs, and a model of it."""
    rng = np.random.default_rng(2)
    lines = []
    for site in range(N_SITES):
        alleles = rng.integers(0, 3 if site == 2 else 2, (N_PANEL, 2))
        alleles[:2] = [[0, 1], [1, 0]]
        lines.append(record(100 * (site + 1), [f"{a}|{b}" for a, b in alleles], alt="C,G" if site == 2 else "C"))
    (tmp_path / "panel.vcf").write_text(vcf_text(lines, [f"p{i}" for i in range(N_PANEL)]))
    made = Folder(tmp_path)
    made.fit()
    return made


def target(folder: Folder, lines: list[str], header: str = "", name: str = "target.vcf") -> str:
    text = vcf_text(lines, NAMES).replace("##FORMAT", f"{header}##FORMAT", 1)
    (folder.path / name).write_text(text)
    return name


def imputed(folder: Folder, name: str, *options: str) -> dict[str, list[str]]:
    """The imputed records by position."""
    folder.impute(name, "out.vcf", *options)
    return {row[1]: row for row in folder.records("out.vcf")}


def test_phase_within_sets_is_not_written_as_that_of_a_chromosome(folder: Folder) -> None:
    calls = ["0|1:100", "1|0:100", "1|1:100", "0/1:."]
    lines = [
        record(100, calls, fmt="GT:PS"),
        record(200, ["1|0", "0|1", "0/0", "1|1"]),
        record(300, ["2|1:9", "0|2:9", "1|1:9", "./.:."], alt="C,G", fmt="GT:PS"),
    ]
    name = target(folder, lines, PHASE_SET)
    done = folder.run("impute", name, "-o", "out.vcf", "--model", folder.model, "--threads", "1")
    assert "phased within sets (PS) alone, written without that phase unless fields are kept: 2 records" in done.stderr
    rows = {row[1]: row for row in folder.records("out.vcf")}
    assert fields(rows["100"], "GT") == ["0/1", "0/1", "1/1", "0/1"] and "PS" not in rows["100"][8]
    assert fields(rows["200"], "GT") == ["1|0", "0|1", "0/0", "1|1"]
    assert fields(rows["300"], "GT")[:3] == ["1/2", "0/2", "1/1"]
    kept = imputed(folder, name, "--keep-fields")
    assert fields(kept["100"], "GT") == ["0|1", "1|0", "1|1", "0/1"] and fields(kept["100"], "PS")[:2] == ["100", "100"]
    assert fields(kept["300"], "GT")[:3] == ["2|1", "0|2", "1|1"] and fields(kept["300"], "PS")[0] == "9"


def test_the_phase_of_sets_does_not_stand_in_the_way_of_phasing(tmp_path: Path) -> None:
    """Sets turned against each other: what is imputed with --phased is that of the same calls without phase."""
    rng = np.random.default_rng(5)
    founders = rng.integers(0, 2, (4, 60))
    haplotypes = founders[rng.integers(0, 4, 2 * (30 + N_TARGET))]
    spelled = np.array([[f"{a}|{b}" for a, b in zip(*pair, strict=True)] for pair in haplotypes.reshape(-1, 2, 60)])
    made = Folder(tmp_path)
    lines = [record(100 * (i + 1), spelled[:30, i].tolist()) for i in range(60)]
    (tmp_path / "panel.vcf").write_text(vcf_text(lines, [f"p{i}" for i in range(30)]))
    made.ok("fit", "panel.vcf", "--imputer", "mosaic", "--holdout", "0%", "--name", "m", "--threads", "1")
    model = str(next((tmp_path / "runs" / "models").glob("m-mosaic-*")) / "model")
    own, genotypes = spelled[30:, ::2], []
    for number, mark in enumerate(("sets", "none")):
        rows = []
        for i in range(30):
            turned = [call[::-1] if (i // 3) % 2 else call for call in own[:, i]]
            calls = (
                [f"{call}:{1 + i // 3}" for call in turned] if number == 0 else [c.replace("|", "/") for c in turned]
            )
            rows.append(record(200 * i + 100, calls, fmt="GT:PS" if number == 0 else "GT"))
        name = target(made, rows, PHASE_SET, f"{mark}.vcf")
        made.ok(
            "impute", name, "-o", f"out-{mark}.vcf", "--model", model, "--phased", "--keep-fields", "--threads", "1"
        )
        found = made.records(f"out-{mark}.vcf")
        assert all("PS" not in row[8].split(":") for row in found)
        genotypes.append([fields(row, "GT") for row in found])
    assert genotypes[0] == genotypes[1] and any("1|0" in row for row in genotypes[0])


@pytest.mark.parametrize("alt", ["<NON_REF>", "<*>", "<NON_REF>,<*>"])
@pytest.mark.parametrize("pos", [100, 300])
def test_a_called_alt_that_names_no_allele_is_a_missing_call(folder: Folder, alt: str, pos: int) -> None:
    calls = ["0/1", "0/0", "1/1", "./."]
    rows = imputed(folder, target(folder, sorted([record(pos, calls, alt=alt), record(200, ["0/1"] * 4)])))
    assert pos == 100 or fields(rows["300"], "IC") == ["1", "0", "1", "1"]
    assert fields(rows[str(pos)], "GT")[1] == "0/0" and rows[str(pos)][4] == ("C,G" if pos == 300 else "C")
    accepted(folder.path / "out.vcf")


def test_of_two_records_of_a_site_the_one_that_tells_more_is_used(folder: Folder) -> None:
    lines = [
        record(100, ["0/0"] * 4, alt="."),
        record(100, ["0/0", "0/1", "1/1", "0/0"]),
        record(200, ["./."] * 4),
        record(200, ["0/1", "./.", "1/1", "0/0"]),
        record(400, ["0/1", "1/1", "0/0", "0/1"]),
        record(400, ["0/0"] * 4),
    ]
    rows = imputed(folder, target(folder, lines))
    assert fields(rows["100"], "GT") == ["0/0", "0/1", "1/1", "0/0"]
    assert [fields(rows["200"], "GT")[i] for i in (0, 2, 3)] == ["0/1", "1/1", "0/0"]
    assert fields(rows["400"], "GT") == ["0/1", "1/1", "0/0", "0/1"]  # of two that tell as much the first
    assert len((folder.path / "out.vcf.left-out.tsv").read_text().splitlines()) == 4


def test_a_record_without_alt_does_not_take_the_partner_of_the_exact_one(folder: Folder) -> None:
    lines = [record(100 * i, ["0/0", "0/1", "1/1", "0/1"]) for i in (1, 2)]
    target(folder, lines, name="truth.vcf")
    target(folder, [record(100, ["0/0"] * 4, alt="."), *lines], name="both.vcf")
    assert folder.concordance("truth.vcf", "both.vcf")["concordance"] == 1


def test_fields_that_the_target_defines_otherwise_are_left_out_of_what_is_passed_through(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    header = '##FORMAT=<ID=IC,Number=1,Type=Float,Description="own">\n'  # DS is defined with one number a call
    lines = [record(100, ["0/1"] * 4), record(150, ["0/1:0.5:0.9"] * 4, alt="T", fmt="GT:IC:DS")]
    rows = imputed(folder, target(folder, lines, header))
    assert "left out of 1 record passed through, as the target defines it otherwise: FORMAT/IC" in caplog.text
    assert fields(rows["300"], "IC") == ["1"] * 4
    assert rows["150"][8:] == ["GT:DS", *["0/1:0.9"] * 4]  # with one ALT a number a call is a number an ALT
    accepted(folder.path / "out.vcf")


def test_what_clashes_is_told_by_type_and_number() -> None:
    own = own_lines({}, True, False, False)
    lines = ["##INFO=<ID=AF,Number=1,Type=Float,Description=x>", "##INFO=<ID=DR2,Number=A,Type=String,Description=x>"]
    lines += [
        "##FORMAT=<ID=GP,Number=3,Type=Float,Description=x>",
        "##FORMAT=<ID=DS,Number=2,Type=Float,Description=x>",
    ]
    lines += ["##FORMAT=<ID=AD,Number=2,Type=Float,Description=x>"]
    clashes = clashing_keys("\n".join(lines), own)
    assert clashes == {"INFO": {"DR2"}, "FORMAT": {"DS"}}
    fixed = ["1", "5", ".", "A", "C", ".", ".", "DR2=x;AC=1", "GT:DS:AD\t0/1:1:7\t0/0"]
    assert without_keys(fixed, clashes)[7:] == ["AC=1", "GT:AD\t0/1:7\t0/0"]
    assert without_keys([*fixed[:7], "DR2=x"], clashes)[7:] == ["."]
    other = [*fixed[:7], "AC=1", "GT:AD\t0/1:7\t0/0"]
    assert without_keys(other, clashes) == other


def test_fields_of_alleles_go_where_the_record_does_not_name_them(folder: Folder) -> None:
    header = '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Depth">\n'
    lines = [record(100, ["0/0:7"] * 4, alt=".", fmt="GT:AD"), record(200, ["0/1:3,4"] * 4, fmt="GT:AD")]
    rows = imputed(folder, target(folder, lines, header), "--keep-fields")
    assert "AD" not in rows["100"][8] and fields(rows["200"], "AD") == ["3,4"] * 4
    accepted(folder.path / "out.vcf")


def test_more_alts_than_can_be_told_apart_are_one_line(folder: Folder) -> None:
    alts = ",".join("C" * (i + 2) for i in range(130))
    name = target(folder, [record(100, ["0/1"] * 4), record(600, ["129/129", "0/1", "0/0", "0/0"], alt=alts)])
    said = folder.refused("impute", name, "-o", "out.vcf", "--model", folder.model, "--threads", "1")
    assert "has 130 ALTs at 1:600, more than the 127 that can be told apart" in said
    assert not (folder.path / "out.vcf").exists()


def test_a_list_of_what_was_left_out_is_that_of_the_file_beside_it(folder: Folder) -> None:
    twice = [record(100, ["0/1"] * 4), record(100, ["0/1"] * 4)]
    imputed(folder, target(folder, twice))
    listed = folder.path / "out.vcf.left-out.tsv"
    assert listed.exists()
    imputed(folder, target(folder, twice[:1]))
    assert not listed.exists()
    listed.write_text("mine\n")
    (folder.path / "out.vcf").unlink()
    said = folder.refused("impute", "target.vcf", "-o", "out.vcf", "--model", folder.model)
    assert "out.vcf.left-out.tsv is there already" in said and listed.read_text() == "mine\n"


def test_a_bcf_whose_header_lacks_a_filter_says_which_and_what_to_do(folder: Folder) -> None:
    name = target(folder, [record(100, ["0/1"] * 4, passed="low")])
    said = folder.run("impute", name, "-o", "out.bcf", "--model", folder.model, "--threads", "1").stderr.splitlines()[
        -1
    ]
    assert said.startswith(
        "snpimpute: bcftools failed: FILTER 'low' is not defined in the header; give the target's header"
    )
    assert len(said) < 180 and not (folder.path / "out.bcf").exists()


def test_typed_sites_are_read_from_a_bed_of_stretches(folder: Folder) -> None:
    (folder.path / "capture.bed").write_text("1\t0\t350\n")
    folder.ok("fit", "panel.vcf", "--imputer", "mode", "--typed-sites", "capture.bed", "--name", "c", "--threads", "1")


@pytest.mark.parametrize("region", ["1:1-400;1:300-1000", "1:500-1000;1:1-450;1:400-600"])
def test_regions_that_overlap_or_fall_are_read_once_and_in_order(folder: Folder, region: str) -> None:
    subprocess.run(["bgzip", "-k", "panel.vcf"], cwd=folder.path, check=True)
    subprocess.run(["tabix", "-p", "vcf", "panel.vcf.gz"], cwd=folder.path, check=True)
    words = ["--imputer", "mode", "--region", region, "--name", "r", "--threads", "1", "--holdout", "0%"]
    folder.ok("fit", "panel.vcf.gz", *words)
    sites = next((folder.path / "runs" / "models").glob("r-mode-*")) / "model" / "sites.tsv"
    assert len(sites.read_text().splitlines()) == 1 + N_SITES + 1  # the header, and one more for the second ALT
