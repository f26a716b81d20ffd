"""Records of every kind, from the command line: sites that do not vary, variants with one ALT and with several, next to each other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from snpimpute.impute.concordance import compare_files
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.imputers.beagle import Beagle
from snpimpute.io.joined import JoinedSite, joined_line, joint_posterior
from snpimpute.io.matrix import read_matrix
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


# ---------------------------------------------------------------------- lines, worked out by hand


def joined_site(posterior: list[list[list[float]]], alleles: list[list[int]], **other: object) -> JoinedSite:
    """A record at X:7 of samples with these probabilities of 0, 1, 2 copies of each ALT, and observed alleles or -1."""
    table = np.array(posterior, dtype=np.float32).transpose(0, 2, 1)
    alts = ["C", "G"][: len(table)]
    given = {"phased": np.zeros(len(alleles), dtype=bool), "line": None, "same_alleles": False} | other
    return JoinedSite("X", 7, "rs1", "A", alts, table, np.array(alleles, dtype=np.int8), **given)  # type: ignore[arg-type]


def test_haploid_calls_have_one_allele_and_a_dosage_of_one_at_most() -> None:
    """AF is 2.65 alleles of 4; DR2 the variance of the doses 0.9, 1.5, 2 over that of genotypes with their mean of squares 2.7."""
    site = joined_site(
        [[[0.2, 0.7, 0.1], [0.25, 0, 0.75], [0, 0, 1]]],
        [[-1, -1], [-1, -1], [1, 1]],
        haploid=np.array([False, True, True]),
    )
    calls = ["0/1:0.9:0.2,0.7,0.1:1", "1:0.75:0.25,0.75:1", "1:1:0,1:0"]
    assert joined_line(site).split("\t") == [
        "X", "7", "rs1", "A", "C", ".", "PASS", "AF=0.6625;DR2=0.37", "GT:DS:GP:IC", *calls,
    ]  # fmt: skip


def test_observed_genotypes_of_several_alts_are_sure_and_a_record_without_any_is_marked() -> None:
    certain = [[1.0, 0, 0]] * 3
    site = joined_site([certain, certain], [[1, 2], [2, 2], [0, 1]])
    cells = joined_line(site).split("\t")
    assert cells[4] == "C,G" and cells[7] == "AF=0.3333,0.5;DR2=1.00,1.00"
    assert cells[9:] == ["1/2:1,1:0,0,0,0,1,0:0", "2/2:0,2:0,0,0,0,0,1:0", "0/1:1,0:0,1,0,0,0,0:0"]
    site = joined_site([certain, [[0.5, 0.5, 0]] * 3], [[-1, -1]] * 3)
    cells = joined_line(site).split("\t")
    assert cells[7] == "AF=0,0.25;DR2=0.00,0.00;IMP"  # all are alike: nothing tells them apart
    assert cells[9:] == ["0/0:0,0.5:0.5,0,0,0.5,0,0:1"] * 3


def test_which_allele_is_first_is_said_by_the_phase_of_the_higher_alt() -> None:
    """Samples: imputed 0/1 twice, imputed 1/2 twice, observed 1|0, observed 0/1, and 1/1; a 2/0 whose phase is not known."""
    het, no, two = [0.0, 1, 0], [1.0, 0, 0], [0.0, 0, 1]
    of_c, of_g = [het, het, het, het, het, het, two, no], [no, no, het, het, no, no, no, het]
    alleles = [[-1, -1]] * 4 + [[1, 0], [0, 1]] + [[-1, -1]] * 2
    first = np.array([[1, 0, 0, 1, 0, 1, -1, -1], [-1, -1, 1, 0, -1, -1, -1, -1]], dtype=np.int8)
    phased = np.array([False] * 4 + [True] + [False] * 3)
    line = joined_line(joined_site([of_c, of_g], alleles, first=first, phased=phased))
    assert [call.split(":")[0] for call in line.split("\t")[9:]] == [
        "1|0", "0|1", "2|1", "1|2", "1|0", "1|0", "1|1", "0|2",
    ]  # fmt: skip
    line = joined_line(joined_site([of_c, of_g], alleles, phased=np.ones(8, dtype=bool)))
    assert [call[1] for call in line.split("\t")[9:]] == list("////||//")  # imputed calls are unphased without `first`


def test_a_dosage_half_way_leans_to_its_genotype_for_plink2() -> None:
    samples = [[0.5, 0.5, 0], [0, 0.5, 0.5], [0.2, 0.1, 0.7], [0.75, 0, 0.25], [0.25, 0, 0.75], [0.5, 0, 0.5]]
    haploid = np.array([False] * 3 + [True] * 3)
    doses = {
        lean: [
            call.split(":")[1]
            for call in joined_line(joined_site([samples], [[-1, -1]] * 6, haploid=haploid), ties_lean=lean).split(
                "\t"
            )[9:]
        ]
        for lean in (False, True)
    }
    assert doses[False] == ["0.5", "1.5", "1.5", "0.25", "0.75", "0.5"]
    assert doses[True] == ["0.4999", "1.4999", "1.5001", "0.2499", "0.7501", "0.5"]
    several = joined_site([[[0.5, 0.5, 0]], [[1, 0, 0]]], [[-1, -1]])
    assert joined_line(several, ties_lean=True).split("\t")[9].split(":")[1] == "0.5,0"


def test_a_record_keeps_what_the_target_says_of_it() -> None:
    given = "X\t7\tmine\tA\tC\t30\tq10\tAC=1;DP=9;AF=0.5;QD=2\tGT:AD:DP\t0/1:1,2:5\t./."
    for line, same, name, other in (
        (given, True, "mine", ["AF=0.375;DR2=0.33;DP=9;QD=2", "GT:DS:GP:IC:AD:DP", "0/1:1:0,1,0:0:1,2:5", ":.:."]),
        (
            given.replace("mine", "."),
            False,
            "rs1",
            ["AF=0.375;DR2=0.33;DP=9", "GT:DS:GP:IC:DP", "0/1:1:0,1,0:0:5", ":."],
        ),
    ):
        site = joined_site([[[0, 1, 0], [0.5, 0.5, 0]]], [[0, 1], [-1, -1]], line=line, same_alleles=same)
        cells = joined_line(site, keep_fields=True, per_allele={"AD", "QD"}).split("\t")
        assert cells[2] == name and cells[5:7] == ["30", "q10"]
        assert cells[7:] == [*other[:3], f"0/0:0.5:0.5,0.5,0:1{other[3]}"]
        assert joined_line(site).split("\t")[7:9] == ["AF=0.375;DR2=0.33", "GT:DS:GP:IC"]
    bare = joined_site([[[0, 1, 0]]], [[0, 1]], line="X\t7\t.\tA\tC\t.\tPASS\t.\tGT\t0/1", same_alleles=True)
    assert joined_line(bare, keep_fields=True).split("\t")[2:] == [
        "rs1", "A", "C", ".", "PASS", "AF=0.5;DR2=0.00", "GT:DS:GP:IC", "0/1:1:0,1,0:0",
    ]  # fmt: skip


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
    for name in ("out.vcf", "out.pgen"):
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
    assert [line.split()[3:5] for line in (folder.path / "out.pvar").read_text().splitlines() if line[0] != "#"] == [
        row[3:5] for row in folder.records("panel.vcf")
    ]


def test_they_are_compared_and_checked_as_sites(variants: tuple[Folder, dict[tuple[str, ...], np.ndarray]]) -> None:
    folder, _ = variants
    found = folder.concordance("truth.vcf", "out.vcf", "--typed", "target.vcf")
    assert found["sites"] == 41 and found["not_scored_no_alt"] == 0 and found["concordance"] > 0.75
    assert "20 of its 20 records are sites" in folder.ok("check", "target.vcf", "--panel", "panel.vcf")


# ---------------------------------------------------------------------- several ALTs


def third_allele(alleles: np.ndarray, seed: int) -> np.ndarray:
    """Alleles 0, 1, 2 of one site: those of founders with allele 1 are split by the site before."""
    return np.where(alleles[:, seed] == 1, 1 + alleles[:, seed - 1], 0).astype(np.int8)


def as_records(pos: int, alleles: np.ndarray, order: str, mark: str) -> list[str]:
    """Records of one site with its bases in the order given, REF first; `C/G` in two records, as bcftools norm splits them."""
    bases = np.array(["A", "C", "G"])[alleles]
    if "/" in order:
        return [record(pos, spelled((bases == alt).astype(int), mark), "A", alt) for alt in order.split("/")]
    place = {base: i for i, base in enumerate(order.split(","))}
    ref, *alts = order.split(",")
    known = np.array([place.get(base, -1) for base in bases])
    calls = spelled(known, mark)
    calls = ["./." if "-1" in call else call for call in calls]
    return [record(pos, calls, ref, ",".join(alts) or ".")]


# position → order of the panel's alleles, of the target's (None = not typed), REF and ALT in the output
JOINED = {
    5000: ("A,C,G", "A,C,G", ["A C,G"]),
    8000: ("A,C,G", None, ["A C,G"]),
    11000: ("A,C,G", "A,G,C", ["A G,C"]),
    14000: ("A,C,G", "A,G", ["A G,C"]),
    17000: ("A,C,G", "C/G", ["A C", "A G"]),
    20000: ("A,C,G", "A,C,G,*", ["A C,G,*"]),
    23000: ("C/G", "A,C,G", ["A C,G"]),
    26000: ("C/G", None, ["A C", "A G"]),
    29000: ("A,C,G", "A", ["A C,G"]),
    32000: ("A,C,G", "C,A", ["A C,G"]),
    35000: ("A,C,G", "C,A,G", ["C A,G"]),
    38000: ("A,C,G,*", None, ["A C,G,*"]),
}


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, dict[int, np.ndarray]]:
    """Panel and target with records of several ALTs; the truth's alleles by position, as numbers in A, C, G."""
    folder = Folder(tmp_path_factory.mktemp("joined"))
    alleles = haplotypes(40)
    lines: dict[str, list[str]] = {"panel.vcf": [], "target.vcf": [], "truth.vcf": []}
    truth = {}
    for i in range(40):
        pos = 1000 * (i + 1)
        of_panel, of_target, _ = JOINED.get(pos, ("A,C", "A,C" if i % 3 else None, []))
        site = third_allele(alleles, i) if pos in JOINED else alleles[:, i]
        panel, truth[pos] = split_samples(site)
        lines["panel.vcf"] += as_records(pos, panel, of_panel, "|")
        lines["target.vcf"] += as_records(pos, truth[pos], of_target, "/") if of_target else []
        lines["truth.vcf"] += as_records(pos, truth[pos], "A,C,G" if pos in JOINED else "A,C", "|")
    for name, records in lines.items():
        write(
            folder.path / name,
            records,
            N_PANEL if name == "panel.vcf" else N_TARGET,
            "p" if name == "panel.vcf" else "t",
        )
    settings = FitSettings(folder.path / "panel.vcf", "panel", "softmax_regression", holdout=0.0, threads=1)
    fit(settings, folder.path / "runs")
    model = next((folder.path / "runs" / "models").glob("panel-softmax*")) / "model"
    for name in ("out.vcf", "out.bcf"):
        folder.ok("impute", "target.vcf", "-o", name, "--model", str(model), "--threads", "1")
    return folder, truth


def test_records_with_several_alts_are_imputed_and_come_back_in_their_form(
    joined: tuple[Folder, dict[int, np.ndarray]],
) -> None:
    folder, truth = joined
    rows = folder.records("out.vcf")
    for pos, (_, of_target, expected) in JOINED.items():
        here = [row for row in rows if row[1] == str(pos)]
        assert [f"{row[3]} {row[4]}" for row in here] == expected, pos
        if len(here) > 1 or pos == 35000:  # REF and ALTs exchanged: passed through
            continue
        bases = np.array([here[0][3], *here[0][4].split(",")])
        calls = [sorted(bases[int(n)] for n in call.replace("|", "/").split("/")) for call in fields(here[0], "GT")]
        known = [sorted(np.array(["A", "C", "G"])[pair]) for pair in truth[pos].reshape(-1, 2)]
        observed = [ic == "0" for ic in fields(here[0], "IC")]
        assert all(call == true for call, true, seen in zip(calls, known, observed, strict=True) if seen), pos
        assert any(observed) == (of_target is not None) and ("IMP" in info(here[0])) == (of_target is None)
    typed = {row[1]: row for row in folder.records("target.vcf")}
    (kept,) = [row for row in rows if row[1] == "35000"]
    assert kept == typed["35000"]


def test_values_per_allele_are_kept_where_the_alleles_are_the_target_s(
    joined: tuple[Folder, dict[int, np.ndarray]],
) -> None:
    """By what the header says of a field: the record at 14000 gets an ALT that the target lacks, and that at 5000 does not."""
    folder, _ = joined
    lines = (folder.path / "target.vcf").read_text().splitlines(keepends=True)
    defined = [
        f'##INFO=<ID={key},Number={n},Type=Integer,Description="{key}">\n' for key, n in (("QX", "A"), ("DP", "1"))
    ]
    rows = [line.replace("PASS\t.\t", f"PASS\tQX={'1,2' if ',' in line else '1'};DP=9\t") for line in lines[1:]]
    (folder.path / "kept.vcf").write_text("".join([lines[0], *defined, *rows]))
    model = next((folder.path / "runs" / "models").glob("panel-softmax*")) / "model"
    folder.ok("impute", "kept.vcf", "-o", "kept-out.vcf", "--model", str(model), "--threads", "1", "--keep-fields")
    kept = {row[1]: info(row) for row in folder.records("kept-out.vcf")}
    assert kept["5000"]["QX"] == "1,2" and "QX" not in kept["14000"]
    assert kept["5000"]["DP"] == kept["14000"]["DP"] == "9"


def test_their_dosages_and_probabilities_fit_together(joined: tuple[Folder, dict[int, np.ndarray]]) -> None:
    folder, _ = joined
    for row in folder.records("out.vcf"):
        if "GP" not in row[8]:
            continue
        n = row[4].count(",") + 1
        order = [(a, b) for b in range(n + 1) for a in range(b + 1)]
        means = np.zeros(n)
        for call, ds, gp in zip(*(fields(row, key) for key in ("GT", "DS", "GP")), strict=True):
            doses, probabilities = (np.array([float(x) for x in text.split(",")]) for text in (ds, gp))
            assert len(doses) == n and len(probabilities) == len(order)
            assert abs(probabilities.sum() - 1) < 0.005 * len(order)
            expected = [
                sum(p * pair.count(a) for p, pair in zip(probabilities, order, strict=True)) for a in range(1, n + 1)
            ]
            np.testing.assert_allclose(doses, expected, atol=0.01 * len(order))
            pair = tuple(sorted(int(x) for x in call.replace("|", "/").split("/")))
            assert probabilities[order.index(pair)] >= probabilities.max() - 0.011
            means += doses / 2 / N_TARGET
        np.testing.assert_allclose([float(x) for x in info(row)["AF"].split(",")], means, atol=0.006)
        assert all(0 <= float(x) <= 1 for x in info(row)["DR2"].split(","))
    for name in ("out.vcf", "out.bcf"):
        accepted(folder.path / name)
    texts = [
        subprocess.run(["bcftools", "view", "-H", folder.path / n], capture_output=True).stdout
        for n in ("out.vcf", "out.bcf")
    ]
    assert texts[0] == texts[1] != b""


def test_each_alt_is_checked_and_compared_as_a_site(joined: tuple[Folder, dict[int, np.ndarray]]) -> None:
    folder, _ = joined
    split = subprocess.run(["bcftools", "norm", "-m-", "panel.vcf"], cwd=folder.path, capture_output=True, text=True)
    (folder.path / "split.vcf").write_text(split.stdout)
    for panel in ("panel.vcf", "split.vcf"):
        told = json.loads(folder.ok("check", "target.vcf", "--panel", panel, "--json"))["counts"]
        assert told["panel_sites"] == 53 and told["other_alleles"] == 0 and told["multi_allelic"] == 1
    found = folder.concordance("truth.vcf", "out.vcf", "--typed", "target.vcf")
    assert found["sites"] == 51 and found["concordance"] > 0.7
    assert found["same_position_other_alleles"] == 1  # where REF is not the truth's


def test_the_joint_posterior_is_a_product_over_what_two_alleles_can_be() -> None:
    alone = np.array([[[0.5], [0.4], [0.1]], [[0.6], [0.3], [0.1]]], dtype=np.float32)
    weights = np.array([0.5 * 0.6, 0.4 * 0.6, 0.1 * 0.6, 0.5 * 0.3, 0.4 * 0.3, 0.5 * 0.1])
    np.testing.assert_allclose(joint_posterior(alone)[0], weights / weights.sum(), rtol=1e-5)
    certain = np.array([[[0], [0], [1]], [[0], [0], [1]]], dtype=np.float32)
    assert np.isfinite(joint_posterior(certain)).all()


# ---------------------------------------------------------------------- phase


def flipped(calls: list[str]) -> list[str]:
    return [f"{call[2]}|{call[0]}" for call in calls]


def test_switches_are_counted_from_one_heterozygote_to_the_next(tmp_path: Path) -> None:
    """Whole chromosomes turned round are no error; a turn in between is one, a call turned by itself two."""
    folder = Folder(tmp_path)
    rng = np.random.default_rng(5)
    truth, other = [], []
    expected = {"pairs": 0, "switches": 0}
    for contig in ("1", "2"):
        for i in range(30):
            calls = ["0|1" if rng.random() < 0.5 else "1|0", "0|1" if i % 3 == 0 else "1|1", "0/1" if i % 2 else "0|1"]
            turned = flipped(calls) if contig == "2" else list(calls)
            turned[2] = calls[2]
            if contig == "1" and i >= 10:
                turned[0] = flipped([calls[0]])[0]
            if contig == "1" and i == 15:
                turned[1] = flipped([calls[1]])[0]
            truth.append(record(100 * (i + 1), calls, contig=contig))
            exchanged = [call.translate(str.maketrans("01", "10")) for call in turned]
            other.append(
                record(100 * (i + 1), exchanged, "C", "A", contig=contig)
                if i % 5 == 0
                else record(100 * (i + 1), turned, contig=contig)
            )
        expected["pairs"] += 29 + 9 + 14
    expected["switches"] = 1 + 2
    write(tmp_path / "truth.vcf", truth, 3, "s")
    write(tmp_path / "other.vcf", other, 3, "s")
    told = json.loads(folder.ok("concordance", "truth.vcf", "other.vcf", "-o", "compared", "--json"))
    assert told["phase"] == {**expected, "switch_error": 3 / expected["pairs"]}
    rows = (tmp_path / "compared" / "samples.tsv").read_text().splitlines()
    assert [float(row.split("\t")[-1]) for row in rows[1:]] == pytest.approx([1 / 58, 2 / 18, 0], abs=1e-5)
    assert "3 switches in 104 pairs" in (tmp_path / "compared" / "concordance.html").read_text()
    unphased = (tmp_path / "other.vcf").read_text().replace("|", "/")
    (tmp_path / "unphased.vcf").write_text(unphased)
    assert compare_files(tmp_path / "truth.vcf", tmp_path / "unphased.vcf").phase == {}


def test_calls_that_are_phased_within_sets_are_taken_as_unphased(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = [
        record(100 * (i + 1), [f"{call}:{1 + i // 7}" for call in ("0|1", "1|0", "1|1")], fmt="GT:PS")
        for i in range(20)
    ]
    write(tmp_path / "panel.vcf", text, 3, "s")
    header = '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set">\n'
    (tmp_path / "panel.vcf").write_text(
        (tmp_path / "panel.vcf").read_text().replace("##FORMAT", header + "##FORMAT", 1)
    )
    matrix, _ = read_matrix(tmp_path / "panel.vcf")
    assert matrix.haplotypes is None and matrix.n_sites == 20
    assert "panel.vcf is phased within sets (PS) alone: its calls are taken as unphased" in caplog.text
    assert compare_files(tmp_path / "panel.vcf", tmp_path / "panel.vcf").phase == {}
