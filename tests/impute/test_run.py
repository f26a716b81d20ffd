"""Imputation of a user's file: alignment with the model, blending of windows, observed calls and records that are kept."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.asked import ImputeSettings
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.run import impute_file
from snpimpute.impute.windows import WindowedModel
from snpimpute.imputers.testing import small_panel
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf
from tests.cli.test_app import refused

N_SITES = 90
N_TARGET = 12


@pytest.fixture(scope="module")
def calves() -> GenotypeMatrix:
    kept, _ = apply_filter(small_panel(120 + N_TARGET, n_sites=180, missing=0.0), SiteFilter())
    return kept.take_sites(slice(0, N_SITES))


@pytest.fixture(scope="module")
def model(calves, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_vcf(folder / "calves.vcf.gz", calves.take_samples(slice(0, 120)))
    asked = {"imputer": "softmax_regression", "window": "40", "holdout": 0.0, "threads": 2}
    return fit(FitSettings(panel=folder / "calves.vcf.gz", name="calves", **asked), folder).folder


@pytest.fixture(scope="module")
def truth(calves) -> GenotypeMatrix:
    return calves.take_samples(slice(120, 120 + N_TARGET))


def a_mess(truth: GenotypeMatrix) -> str:
    """The target as geneticists have it: every third site, some calls missing, other contig names, and other records."""
    rng = np.random.default_rng(4)
    lines = [
        "##fileformat=VCFv4.2",
        "##contig=<ID=chr1>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    ]
    lines += ['##INFO=<ID=NS,Number=1,Type=Integer,Description="Samples">']
    lines += ["\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *truth.names])]
    spelled = np.array(["0|0", "0/1", "1|1"])
    for i in range(0, N_SITES, 3):
        site = truth.sites.iloc[i]
        calls = spelled[truth.calls[:, i]]
        calls[rng.random(N_TARGET) < 0.1] = "./."
        ref, alt = site.ref, site.alt
        if i == 9:  # REF and ALT exchanged
            ref, alt = alt, ref
            calls = np.array([{"0|0": "1|1", "1|1": "0|0"}.get(call, call) for call in calls])
        lines.append("\t".join(["chr1", str(site.pos), site.id, ref, alt, "50", "PASS", "NS=12", "GT", *calls]))
        if i == 12:
            lines.append(
                "\t".join(["chr1", str(site.pos + 1), "tri", "A", "C,G", ".", "PASS", ".", "GT", *["1/2"] * N_TARGET])
            )
            lines.append(
                "\t".join(["chr1", str(site.pos + 2), "del", "AT", "A", ".", "PASS", ".", "GT", *["0/1"] * N_TARGET])
            )
            lines.append(
                "\t".join(["chr1", str(site.pos + 3), "own", "G", "T", ".", "PASS", ".", "GT", *["0/1"] * N_TARGET])
            )
    lines.append("\t".join(["chr1", "99999999", "end", "G", "T", ".", "PASS", ".", "GT", *["0/0"] * N_TARGET]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def target(truth, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("target") / "target.vcf"
    path.write_text(a_mess(truth))
    return path


def aligned(target: Path, truth: GenotypeMatrix) -> GenotypeMatrix:
    """The target's calls at the model's sites, -1 where it has none, by a way of its own."""
    calls = np.full(truth.calls.shape, -1, dtype=np.int8)
    place = {int(pos): i for i, pos in enumerate(truth.sites["pos"])}
    for line in target.read_text().splitlines():
        row = line.split("\t")
        if not line.startswith("#") and int(row[1]) in place and len(row[3] + row[4]) == 2:
            i = place[int(row[1])]
            found = [-1 if "." in call else call.count("1") for call in row[9:]]
            calls[:, i] = found if row[3] == truth.sites.ref[i] else [c if c < 0 else 2 - c for c in found]
    return GenotypeMatrix(calls, truth.samples, truth.sites)


def records(path: Path) -> list[list[str]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def imputed(target, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imputed")
    outcome = impute_file(ImputeSettings(target, folder / "out.vcf.gz", model=model, threads=2), folder)
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["out.vcf.gz", "out.vcf.gz.tbi"]
    return outcome, folder / "out.vcf.gz"


def test_every_call_is_the_models_or_the_targets_own(imputed, target, truth, model):
    outcome, path = imputed
    known = aligned(target, truth)
    posterior = WindowedModel(model).posterior(known)
    rows = {row[2]: row for row in records(path)}
    assert outcome.case == "array to sequence" and outcome.n_sites == N_SITES and outcome.n_new_sites == 60
    assert outcome.n_holes == (known.calls[:, ::3] < 0).sum()
    n_right = n_called = 0
    for i, site in enumerate(truth.sites.itertuples()):
        row = rows[site.id]
        assert row[0] == "chr1" and (row[3], row[4]) == (site.ref, site.alt)
        assert ("IMP" in row[7].split(";")) == (i % 3 > 0)
        for s, field in enumerate(row[9:]):
            gt, dose, probabilities, *_ = field.split(":")
            dosage = posterior[s, i] @ [0, 1, 2]
            assert abs(float(dose) - dosage) <= 0.0051
            np.testing.assert_allclose([float(p) for p in probabilities.split(",")], posterior[s, i], atol=0.0051)
            call = gt.count("1")
            if known.calls[s, i] >= 0:
                assert call == known.calls[s, i]
            elif np.sort(posterior[s, i])[-2] < posterior[s, i].max() - 0.01:
                assert call == posterior[s, i].argmax() and "/" in gt
                n_right += call == truth.calls[s, i]
                n_called += 1
    assert n_right / n_called > 0.7


def test_phase_stays_and_other_records_are_untouched(imputed, target):
    _, path = imputed
    before = {row[2]: row for row in records(target)}
    after = {row[2]: row for row in records(path)}
    for name in ("tri", "del", "own", "end"):
        assert after[name][7] == "NOPANEL" and after[name][8:] == before[name][8:]
    phased = [(name, s) for name, row in before.items() for s, call in enumerate(row[9:]) if call == "0|0"]
    kept = [after[name][9 + s].split(":")[0] for name, s in phased]
    assert phased and set(kept) <= {"0|0", "1|1"} and kept.count("1|1") < 10  # 1|1 at the site that was turned round
    positions = [int(row[1]) for row in records(path)]
    assert positions == sorted(positions)


def test_the_header_tells_what_was_done(imputed, model):
    head = gzip.decompress(imputed[1].read_bytes()).decode().split("#CHROM")[0]
    assert (
        f"data_digest={WindowedModel(model).about['panel_digest']}" in head
        and "##snpimpute_engine=own\n" in head
        and "calves (softmax_regression)" in head
    )


def test_the_header_tells_the_version_of_a_registered_model(target, model, tmp_path):
    impute_file(ImputeSettings(target, tmp_path / "o.vcf", model=model, version="7"), tmp_path / "runs")
    assert "##snpimpute_model=calves version 7 (softmax_regression)\n" in (tmp_path / "o.vcf").read_text()


def test_plink_bcf_and_text_give_the_same(target, model, imputed, tmp_path):
    bcf = tmp_path / "t.bcf"
    subprocess.run(["bcftools", "view", "-Ob", "-o", bcf, target], check=True, capture_output=True)
    impute_file(ImputeSettings(bcf, tmp_path / "o.vcf", model=model), tmp_path / "runs")
    assert records(tmp_path / "o.vcf") == records(imputed[1])


def test_killed_and_run_again_it_goes_on(target, model, imputed, tmp_path):
    command = [sys.executable, "-m", "snpimpute", "impute", str(target), "-o", str(tmp_path / "out.vcf.gz")]
    command += ["--model", str(model), "--runs", str(tmp_path / "runs"), "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/impute/*/probabilities/*.npy")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/impute/*/probabilities/*.npy")}
    assert kept and not list(tmp_path.glob("out*"))
    time.sleep(0.5)
    subprocess.run(command, check=True, capture_output=True)
    assert records(tmp_path / "out.vcf.gz") == records(imputed[1])
    assert not list(tmp_path.glob("runs/impute/*")), "nothing is left of it"


@pytest.mark.parametrize("imputer", ["simpute", "ld_knn"])
def test_without_a_panel_the_targets_own_holes_are_filled(truth, calves, imputer, tmp_path):
    """Linked sites tell more than frequencies: judged on calls that were hidden."""
    hidden = np.random.default_rng(3).random(calves.calls.shape) < 0.03
    write_vcf(tmp_path / "t.vcf.gz", calves.hide(hidden))
    done = impute_file(
        ImputeSettings(tmp_path / "t.vcf.gz", tmp_path / "o.vcf.gz", imputer=imputer, window=50), tmp_path / "runs"
    )
    assert done.case == "sporadic" and done.n_new_sites == 0 and done.n_holes == hidden.sum()
    found, _ = read_matrix(tmp_path / "o.vcf.gz")
    assert (found.calls[~hidden] == calves.calls[~hidden]).all()
    common = np.broadcast_to(calves.genotype_frequencies().argmax(axis=1), calves.calls.shape)
    right = (found.calls == calves.calls)[hidden].mean()
    assert right > (common == calves.calls)[hidden].mean() + 0.05


def test_standard_output_and_what_is_told(target, model, tmp_path):
    command = [sys.executable, "-m", "snpimpute", "impute", str(target), "-o", "-", "--model", str(model), "--json"]
    done = subprocess.run([*command, "--runs", str(tmp_path / "runs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("##fileformat=VCF") and len(done.stdout.splitlines()) > N_SITES
    told = json.loads(done.stderr[done.stderr.index("{") :])
    assert told["case"] == "array to sequence" and told["n_passed"] == 4


def test_records_left_out_are_listed(target, model, truth, tmp_path):
    """A site given twice and one of the other strand: in neither case in the output twice, and both told of."""
    lines = target.read_text().splitlines()
    of_site = {line.split("\t")[2]: n for n, line in enumerate(lines) if not line.startswith("#")}
    twice, flipped = truth.sites["id"][30], truth.sites["id"][33]
    row = lines[of_site[flipped]].split("\t")
    lines[of_site[flipped]] = "\t".join([*row[:3], "T", "G", *row[5:]])  # A and C of the other strand
    lines.insert(of_site[twice] + 1, lines[of_site[twice]])
    (tmp_path / "t.vcf").write_text("\n".join(lines) + "\n")
    outcome = impute_file(ImputeSettings(tmp_path / "t.vcf", tmp_path / "o.vcf", model=model), tmp_path / "runs")
    listed = pd.read_csv(tmp_path / "o.vcf.left-out.tsv", sep="\t")
    assert outcome.n_left_out == 2 and outcome.left_out_list == tmp_path / "o.vcf.left-out.tsv"
    assert dict(zip(listed.reason, listed.id, strict=True)) == {"duplicate": twice, "flipped": flipped}
    names = [row[2] for row in records(tmp_path / "o.vcf")]
    assert names.count(twice) == 1 and names.count(flipped) == 1


def test_a_site_with_polyploid_calls_stands_once_as_it_was(target, model, truth, tmp_path):
    """The model has the site too, and gives no second record of it."""
    lines = target.read_text().splitlines()
    of_site = {line.split("\t")[2]: n for n, line in enumerate(lines) if not line.startswith("#")}
    name = truth.sites["id"][30]
    row = lines[of_site[name]].split("\t")
    lines[of_site[name]] = "\t".join([*row[:9], *("1/1/1" if i % 2 else call for i, call in enumerate(row[9:]))])
    (tmp_path / "t.vcf").write_text("\n".join(lines) + "\n")
    outcome = impute_file(ImputeSettings(tmp_path / "t.vcf", tmp_path / "o.vcf", model=model), tmp_path / "runs")
    assert outcome.n_passed == 5 and outcome.n_sites == N_SITES - 1 and outcome.n_new_sites == 60
    assert [row for row in records(tmp_path / "o.vcf") if row[2] == name] == [lines[of_site[name]].split("\t")]
    alone = impute_file(ImputeSettings(tmp_path / "t.vcf", tmp_path / "a.vcf"), tmp_path / "runs")
    assert alone.n_passed == 1 and alone.n_new_sites == 0
    assert [row[2] for row in records(tmp_path / "a.vcf")] == list(of_site)


def test_windows_without_a_site_of_the_target_are_told_of(target, model, truth, tmp_path, capsys):
    last = truth.sites["pos"][20]
    lines = [line for line in target.read_text().splitlines() if line[0] == "#" or int(line.split("\t")[1]) <= last]
    (tmp_path / "t.vcf").write_text("\n".join(lines) + "\n")
    impute_file(ImputeSettings(tmp_path / "t.vcf", tmp_path / "o.vcf", model=model), tmp_path / "runs")
    n = len(WindowedModel(model).windows)
    assert f"no site of the target in {n - 1} of {n} windows" in capsys.readouterr().err
    quality = [float(row[7].split("DR2=")[1].split(";")[0]) for row in records(tmp_path / "o.vcf")[-40:]]
    assert max(quality) <= 0.01


def test_what_would_give_nonsense_is_refused(target, model, tmp_path):
    elsewhere = tmp_path / "elsewhere.vcf"
    elsewhere.write_text(target.read_text().replace("\nchr1\t", "\nchr7\t").replace("ID=chr1", "ID=chr7"))
    with pytest.raises(InputError, match=r"elsewhere\.vcf cannot be imputed with model calves"):
        impute_file(ImputeSettings(elsewhere, tmp_path / "o.vcf.gz", model=model), tmp_path / "runs")
    with pytest.raises(InputError, match="imputer dense learns from a reference panel"):
        impute_file(ImputeSettings(target, tmp_path / "o.vcf.gz", imputer="dense"), tmp_path / "runs")
    assert not list(tmp_path.glob("o.vcf*"))


@pytest.mark.parametrize("kilobytes", [60, 200], ids=["for the calls", "for a window"])
def test_no_room_for_the_work_is_one_line(truth, model, tmp_path, kilobytes):
    """A file system of its own that is too small for what is kept until the output is whole."""
    many = truth.take_samples(np.tile(np.arange(N_TARGET), 100))
    many = GenotypeMatrix(
        many.calls, pd.DataFrame({"sample": [f"many{i}" for i in range(len(many.calls))]}), many.sites
    )
    write_vcf(tmp_path / "t.vcf.gz", many.take_sites(slice(0, N_SITES, 3)))
    mount = f"mkdir {tmp_path}/runs && mount -t tmpfs -o size={kilobytes}k none {tmp_path}/runs"
    apart = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*apart, mount], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    (tmp_path / "runs").rmdir()
    command = f"{sys.executable} -m snpimpute impute {tmp_path}/t.vcf.gz -o {tmp_path}/o.vcf.gz --model {model}"
    done = subprocess.run([*apart, f"{mount} && {command} --runs {tmp_path}/runs"], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert "No space left on device; make room" in line
    assert not list(tmp_path.glob("*o.vcf*"))


def test_the_target_is_not_overwritten(model, target, tmp_path):
    before = target.read_bytes()
    symbolic, hard = tmp_path / "link.vcf.gz", tmp_path / "hard.vcf"
    symbolic.symlink_to(target)
    hard.hardlink_to(target)
    for output in (target, target.parent / ".." / target.parent.name / target.name, symbolic, hard):
        with pytest.raises(InputError, match="is the target itself, which is not overwritten"):
            impute_file(ImputeSettings(target, output, model=model, force=True), tmp_path)
    assert target.read_bytes() == before


def test_an_output_is_overwritten_only_if_that_is_asked(model, target, imputed, tmp_path):
    """Also a file that stands beside a PLINK output, and before any work is done."""
    for output, there in (("o.vcf", "o.vcf"), ("o.bed", "o.fam")):
        (tmp_path / there).write_text("weeks of work")
        with pytest.raises(InputError, match=rf"{there} is there already, and is not overwritten: .* or --force"):
            impute_file(ImputeSettings(target, tmp_path / output, model=model), tmp_path / "runs")
        assert (tmp_path / there).read_text() == "weeks of work" and not (tmp_path / "runs").exists()
    with pytest.raises(InputError, match=r"cannot write into .*o\.vcf is not a folder that can be written"):
        impute_file(ImputeSettings(target, tmp_path / "o.vcf" / "x.vcf", model=model), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    impute_file(ImputeSettings(target, tmp_path / "o.vcf", model=model, force=True), tmp_path / "runs")
    assert records(tmp_path / "o.vcf") == records(imputed[1])


def test_calls_that_the_target_marks_as_imputed_are_imputed_anew(model, imputed, tmp_path, capsys):
    """An output of ours is imputed as its own target was; one of Beagle's has marks for whole sites."""
    first, path = imputed
    again = impute_file(ImputeSettings(path, tmp_path / "o.vcf", model=model), tmp_path / "runs")
    assert records(tmp_path / "o.vcf") == records(path)
    marked = 60 * N_TARGET + first.n_holes
    assert again.n_holes == marked
    assert f"marked as imputed in the target (IC, IMP), taken as missing: {marked} calls" in capsys.readouterr().err

    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    lines = [line for line in lines if not line.startswith(("##snpimpute", "##FORMAT=<ID=IC"))]
    for n, line in enumerate(lines):
        if line[0] != "#" and line.split("\t")[8].endswith(":IC"):
            lines[n] = "\t".join([*line.split("\t")[:8], *(call.rpartition(":")[0] for call in line.split("\t")[8:])])
    beagle = tmp_path / "beagle.vcf"
    beagle.write_text("\n".join(["##fileformat=VCFv4.2", '##source="beagle.22Jul22.46e.jar"', *lines]) + "\n")
    of_beagle = impute_file(ImputeSettings(beagle, tmp_path / "b.vcf", model=model), tmp_path / "runs")
    assert of_beagle.n_holes == 60 * N_TARGET
    said = capsys.readouterr().err
    assert f"(IMP), taken as missing: {60 * N_TARGET} calls" in said
    assert "header says that beagle.22Jul22.46e.jar made it" in said


def test_a_target_that_is_in_the_panel_is_told_of(model, calves, truth, tmp_path, capsys):
    both = calves.take_samples(slice(118, 123)).take_sites(slice(0, N_SITES, 3))
    write_vcf(tmp_path / "t.vcf.gz", both)
    impute_file(ImputeSettings(tmp_path / "t.vcf.gz", tmp_path / "o.vcf", model=model), tmp_path / "runs")
    assert "in the panel too, under the same name: 2 samples (s118, s119): imputed from" in capsys.readouterr().err
    assert not any(name in (model / "model.json").read_text() for name in both.names), "a model has no names"
    impute_file(ImputeSettings(tmp_path / "t.vcf.gz", tmp_path / "a.vcf"), tmp_path / "runs")
    assert "in the panel too" not in capsys.readouterr().err, "without a panel"


def test_it_says_with_which_model_and_what_was_written(imputed):
    outcome, path = imputed
    lines = outcome.summary_lines()
    assert lines[0] == "model: calves (softmax_regression)" and lines[-1] == f"written: {path}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "nothing"], "no fitted model is registered"),
        (["--model", "x", "--no-panel"], "exclude each other"),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, target, tmp_path, options, said):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert said in refused(capsys, monkeypatch, tmp_path, "impute", target, "-o", tmp_path / "o.vcf", *options)
    assert not (tmp_path / "o.vcf").exists()
