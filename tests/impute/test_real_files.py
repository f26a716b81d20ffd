"""Files as other programs write them: read right, as bcftools reads them, or refused in one line; never lost without a word.

Each folder of tests/data/cases holds one situation that users of such programs have reported, with made-up genotypes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from snpimpute.cli import app as cli
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.io.matrix import read_matrix

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "cases"


@contextmanager
def printed_into() -> Iterator[list[str]]:
    """What is printed to standard output and standard error, by C libraries too: two texts, once the block has ended."""
    texts: list[str] = []
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with ExitStack() as stack, pytest.MonkeyPatch.context() as here:
        files = [stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in kept]
        try:
            for descriptor, name, file in zip((1, 2), ("stdout", "stderr"), files, strict=True):
                os.dup2(file.fileno(), descriptor)
                here.setattr(sys, name, stack.enter_context(os.fdopen(os.dup(descriptor), "w")))
            yield texts
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for descriptor, own in zip((1, 2), kept, strict=True):
                os.dup2(own, descriptor)
                os.close(own)
            for file in files:
                file.seek(0)
                texts.append(file.read())


class Folder:
    """A copy of a case's files, and the command line run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a command does and prints, C libraries too, in this process."""
        with pytest.MonkeyPatch.context() as here, pytest.raises(SystemExit) as ended, printed_into() as printed:
            here.chdir(self.path)
            here.setattr(sys, "argv", ["snpimpute", *words])
            for variable in ("MLFLOW_TRACKING_URI", "SNPIMPUTE_RUNS"):
                here.delenv(variable, raising=False)
            cli.main()
        return subprocess.CompletedProcess(words, int(ended.value.code or 0), *printed)

    def run_apart(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same in a process of its own, which a reader of files may crash."""
        environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "SNPIMPUTE_RUNS")}
        command = [sys.executable, "-m", "snpimpute", *words]
        environment["PYTHONPATH"] = str(ROOT)
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words: str, apart: bool = False) -> str:
        """The one line of a command that ends with exit status 2."""
        done = self.run_apart(*words) if apart else self.run(*words)
        assert done.returncode == 2 and done.stdout == "", (done.returncode, done.stdout, done.stderr)
        (line,) = done.stderr.splitlines()
        return line

    def fit(self) -> None:
        fit(FitSettings(self.path / "panel.vcf", "panel", "mode", holdout=0.0), self.path / "runs")

    @property
    def model(self) -> str:
        """The folder of the model that `fit` has made."""
        return str(next((self.path / "runs" / "models").glob("panel-mode-*")) / "model")

    def impute(self, target: str, output: str, *options: str) -> str:
        return self.ok("impute", target, "-o", output, "--model", self.model, "--threads", "1", "--force", *options)

    def concordance(self, *words: str) -> dict:
        """The scores and counts of a comparison."""
        told = json.loads(self.ok("concordance", *words, "--json"))
        return told["overall"] | told["counts"]

    def records(self, name: str) -> list[list[str]]:
        lines = (self.path / name).read_text().splitlines()
        return [line.split("\t") for line in lines if not line.startswith("#")]


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(Path(shutil.copytree(CASES / request.param, tmp_path / "case")))


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [name], indirect=True)


@of("01-alt-dot-monomorphic-target")
def test_an_unstated_alternate_allele_fits_where_ref_or_alt_does(case: Folder) -> None:
    assert "can be imputed" in case.ok("check", "target.vcf", "--panel", "panel.vcf")
    case.fit()
    case.impute("target.vcf", "out.vcf")
    panel = {(r[0], r[1]): r[3:5] for r in case.records("panel.vcf")}
    out = case.records("out.vcf")
    assert len(out) == 20
    for record in out:
        assert record[3:5] == panel[record[0], record[1]]
        calls = {sample.split(":")[0].replace("|", "/") for sample in record[9:]}
        if record[1] == "3000":
            assert calls == {"0/0"}
        if record[1] == "7000":
            assert calls == {"1/1"}


@of("02-plink2-chrset-header")
@pytest.mark.parametrize("target", ["target.vcf", "comment.vcf"])
def test_header_lines_that_htslib_does_not_know_are_passed_over(case: Folder, target: str) -> None:
    told = json.loads(case.ok("check", target, "--panel", "panel.vcf", "--json"))
    assert told["counts"]["records"] == 10


@of("03-typed-list-matches-nothing")
@pytest.mark.parametrize("listed", ["typed.txt", "typed-chr.txt", "typed.tsv", "typed-swapped.txt"])
def test_a_list_of_typed_sites_is_understood_however_it_is_spelled(case: Folder, listed: str) -> None:
    found = case.concordance("truth.vcf", "imputed.vcf", "--typed", listed)
    assert found["calls"] == 100 and found["concordance"] == pytest.approx(0.8)


@of("03-typed-list-matches-nothing")
def test_a_list_of_typed_sites_that_matches_nothing_stops(case: Folder) -> None:
    (case.path / "none.txt").write_text("7:1\n7:2\n")
    assert "none.txt" in case.refused("concordance", "truth.vcf", "imputed.vcf", "--typed", "none.txt")


@of("04-gt-missing-ds-there")
def test_dosages_are_scored_where_gt_is_missing(case: Folder) -> None:
    whole = case.concordance("truth.vcf", "imputed-gt.vcf")
    partly = case.concordance("truth.vcf", "imputed-plink2.vcf")
    assert partly["site_dosage_r2"] == pytest.approx(whole["site_dosage_r2"]) == pytest.approx(0.744, abs=0.001)
    assert partly["correlation"] == pytest.approx(whole["correlation"])
    assert partly["calls"] == 133 and whole["calls"] == 200


@of("04-gt-missing-ds-there")
@pytest.mark.parametrize("field", ["DS"])
def test_a_file_of_dosages_alone_is_scored(case: Folder, field: str) -> None:
    lines = (case.path / "imputed-gt.vcf").read_text().splitlines()
    kept = []
    for line in lines:
        if not line.startswith("#"):
            columns = line.split("\t")
            place = columns[8].split(":").index(field)
            line = "\t".join([*columns[:8], field, *(sample.split(":")[place] for sample in columns[9:])])
        kept.append(line)
    (case.path / "alone.vcf").write_text("\n".join(kept) + "\n")
    whole, alone = (case.concordance("truth.vcf", name) for name in ("imputed-gt.vcf", "alone.vcf"))
    assert alone["site_dosage_r2"] == pytest.approx(whole["site_dosage_r2"])


@of("05-truth-swapped-or-without-alt")
@pytest.mark.parametrize(
    ("one", "other", "concordance"),
    [("truth.vcf", "truth-swapped.vcf", 0.85), ("truth3.vcf", "truth3-without-alt.vcf", 0.517)],
)
def test_truth_of_exchanged_or_unstated_alleles_is_the_same_truth(
    case: Folder, one: str, other: str, concordance: float
) -> None:
    first, second = (case.concordance(truth, "imputed.vcf") for truth in (one, other))
    assert first["sites_scored"] == second["sites_scored"] == 20
    assert first["concordance"] == pytest.approx(second["concordance"]) == pytest.approx(concordance, abs=0.001)
    assert first["site_dosage_r2"] == pytest.approx(second["site_dosage_r2"])


@of("06-panel-split-multiallelic")
def test_of_split_records_all_are_written_and_none_twice(case: Folder) -> None:
    split, _ = read_matrix(case.path / "panel.vcf")
    without, _ = read_matrix(case.path / "panel-without-sisters.vcf")
    case.fit()
    case.impute("target.vcf", "out.vcf")
    out = case.records("out.vcf")
    assert [r[:5] for r in out] == [r[:5] for r in case.records("panel.vcf")] and len(out) == 25
    sisters = [r for r in out if r[2].endswith("b")]
    assert {sample.split(":IC")[0] for r in sisters for sample in r[9:]} == {"0/0:0:1,0,0:1"}
    told = json.loads(case.ok("check", "target.vcf", "--panel", "panel.vcf", "--json"))
    assert told["counts"]["usable"] == told["counts"]["records"]
    assert without.n_sites == 20 and split.n_sites == 25


@of("07-gt-not-first")
def test_gt_is_found_by_its_name(case: Folder) -> None:
    case.fit()
    case.impute("target.vcf", "out.vcf")
    assert len(case.records("out.vcf")) == 20
    target, _ = read_matrix(case.path / "target.vcf")
    out, _ = read_matrix(case.path / "out.vcf")
    columns = np.isin(out.site_keys(), target.site_keys())
    seen = target.calls != -1
    assert (out.calls[:, columns][seen] == target.calls[seen]).all()


@of("08-ds-gp-not-defined")
def test_undefined_ds_and_gp_are_read_or_named(case: Folder) -> None:
    defined = case.concordance("truth.vcf", "imputed-defined.vcf")
    done = case.run("concordance", "truth.vcf", "imputed.vcf", "--json")
    if done.returncode == 0:
        assert json.loads(done.stdout)["overall"]["site_dosage_r2"] == pytest.approx(defined["site_dosage_r2"])
    else:
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2 and "DS" in line and "##FORMAT" in line


@of("12-gp-phred")
def test_phred_scaled_posteriors_are_understood(case: Folder) -> None:
    linear, phred = (case.concordance("truth.vcf", f"imputed-{kind}.vcf") for kind in ("linear", "phred"))
    assert phred["centred_iqs"] == pytest.approx(linear["centred_iqs"], abs=0.02)
    assert phred["correlation"] == pytest.approx(linear["correlation"], abs=0.02)


@of("13-multiallelic-record-kept-and-imputed")
def test_a_site_is_written_once(case: Folder) -> None:
    case.fit()
    case.impute("target.vcf", "out.vcf")
    out = case.records("out.vcf")
    assert len({(r[0], r[1]) for r in out}) == len(out)
    target = {(r[0], r[1]): r for r in case.records("target.vcf")}
    for record in out:
        if (record[0], record[1]) in target and "," in target[record[0], record[1]][4]:
            known = [sample.split(":")[0] for sample in target[record[0], record[1]][9:]]
            written = [sample.split(":")[0] for sample in record[9:]]
            for was, now in zip(known, written, strict=True):
                if set(was) <= set("01/|"):
                    assert sorted(was.replace("|", "/")) == sorted(now.replace("|", "/"))


@of("15-sample-name-with-space-to-plink")
def test_a_sample_name_with_a_space_is_refused_for_plink(case: Folder) -> None:
    case.fit()
    model = next((case.path / "runs" / "models").glob("panel-mode-*")) / "model"
    line = case.refused("impute", "target.vcf", "-o", "out.bed", "--model", str(model))
    assert "bull 1" in line and not (case.path / "out.fam").exists()


@of("16-record-not-parsed-segfault")
@pytest.mark.parametrize("target", ["target.vcf", "target-no-contig-line.vcf", "target-1e04.vcf"])
@pytest.mark.parametrize("verb", ["check", "concordance", "prepare"])
def test_a_record_that_cannot_be_read_is_one_line(case: Folder, target: str, verb: str) -> None:
    words = {
        "check": ["check", target, "--panel", "panel.vcf"],
        "concordance": ["concordance", "panel.vcf", target],
        "prepare": ["prepare", target],
    }
    line = case.refused(*words[verb], apart=True)
    assert target in line and "broken" in line


@of("17-fam-columns-lost")
def test_family_sex_parents_and_phenotype_stay(case: Folder) -> None:
    case.fit()
    case.impute("target.bed", "out.bed")
    fam = [line.split() for line in (case.path / "target.fam").read_text().splitlines()]
    assert [line.split() for line in (case.path / "out.fam").read_text().splitlines()] == fam
