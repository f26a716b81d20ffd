"""The command line as a user meets it: help, lists, and one clear line with exit status 2 for what the user can mend."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from typer.main import get_command

from dashboards import serve
from snpimpute import __version__, imputers
from snpimpute.base import programs
from snpimpute.cli import app as cli
from snpimpute.cli import experiments
from snpimpute.dataset.prepared import dataset_in
from snpimpute.experiment.rows import Done, Outcome, Tuned
from snpimpute.imputers.testing import small_panel
from snpimpute.io.write_vcf import write_vcf
from snpimpute.report.concordance import summary
from snpimpute.tracking.writer import Tracker
from tests.waiting import wait_until

SNPIMPUTE = [sys.executable, "-m", "snpimpute"]


@pytest.fixture
def vcf(tmp_path: Path) -> Path:
    write_vcf(tmp_path / "mine.vcf.gz", small_panel(40, missing=0.0))
    return tmp_path / "mine.vcf.gz"


def said(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `snpimpute ARGUMENTS`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["snpimpute", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def refused(capsys, monkeypatch, tmp_path: Path, *arguments: object) -> str:
    """The one line that a refusal prints; nothing may be left in the runs folder."""
    runs = tmp_path / "runs"
    status, out, err = said(capsys, monkeypatch, *arguments, "--runs", runs)
    assert status == 2, err
    assert out == ""
    assert err.startswith("snpimpute: ") and err.count("\n") == 1, err
    assert not list(runs.glob("datasets/*")) and not list(runs.rglob("*.part"))
    return err


def toml(tmp_path: Path, text: str) -> Path:
    (tmp_path / "x.toml").write_text(text)
    return tmp_path / "x.toml"


def test_no_such_file(capsys, monkeypatch, tmp_path):
    assert "none.vcf.gz" in refused(capsys, monkeypatch, tmp_path, "experiment", tmp_path / "none.vcf.gz")
    assert "none.toml" in refused(capsys, monkeypatch, tmp_path, "experiment", tmp_path / "none.toml")


def test_not_a_vcf(capsys, monkeypatch, tmp_path):
    (tmp_path / "x.vcf.gz").write_bytes(os.urandom(2000))
    assert "x.vcf.gz" in refused(capsys, monkeypatch, tmp_path, "prepare", tmp_path / "x.vcf.gz")


def test_truncated(capsys, monkeypatch, tmp_path, vcf):
    vcf.write_bytes(vcf.read_bytes()[:-100])
    assert "mine.vcf.gz" in refused(capsys, monkeypatch, tmp_path, "prepare", vcf)


def test_region(capsys, monkeypatch, tmp_path, vcf):
    assert "index" in refused(capsys, monkeypatch, tmp_path, "prepare", vcf, "--region", "1:1-50000")
    subprocess.run(["bcftools", "index", vcf], check=True)
    assert "1:900000-" in refused(capsys, monkeypatch, tmp_path, "prepare", vcf, "--region", "1:900000-950000")


def test_more_sites_than_asked_for(capsys, monkeypatch, tmp_path, vcf):
    assert "--region" in refused(capsys, monkeypatch, tmp_path, "prepare", vcf, "--max-sites", 20)


def test_too_little_data(capsys, monkeypatch, tmp_path):
    matrix = small_panel(40, missing=0.0)
    for name, small in (
        ("one-sample", matrix.take_samples(slice(0, 1))),
        ("few-sites", matrix.take_sites(slice(0, 9))),
    ):
        write_vcf(tmp_path / f"{name}.vcf.gz", small)
        assert name in refused(capsys, monkeypatch, tmp_path, "prepare", tmp_path / f"{name}.vcf.gz")
    matrix.calls[:] = 0
    write_vcf(tmp_path / "flat.vcf.gz", matrix)
    assert "monomorphic" in refused(capsys, monkeypatch, tmp_path, "prepare", tmp_path / "flat.vcf.gz")


def test_unknown_samples_in_the_table(capsys, monkeypatch, tmp_path, vcf):
    (tmp_path / "s.tsv").write_text("sample\tgroup\nnobody\tA\n")
    assert "nobody" in refused(capsys, monkeypatch, tmp_path, "prepare", vcf, "--samples", tmp_path / "s.tsv")


def test_a_table_of_the_whole_herd(capsys, monkeypatch, tmp_path, vcf):
    """Rows of other animals are counted; a pedigree names families, and the levels are those asked for."""
    (tmp_path / "herd.tsv").write_text("id\tgroup\ns0\tA\ns1\tB\nabroad\tA\nslaughtered\tB\n")
    (tmp_path / "ped.tsv").write_text("\n".join(["id\tsire\tdam", "old\t0\t0", *(f"s{i}\tbull\t0" for i in range(40))]))
    options = ["--samples", tmp_path / "herd.tsv", "--pedigree", tmp_path / "ped.tsv", "--levels", "30,60"]
    runs = tmp_path / "runs"
    status, out, err = said(capsys, monkeypatch, "prepare", vcf, *options, "--name", "herd", "--runs", runs)
    assert status == 0, err
    stage, told = err.splitlines()
    assert stage.endswith(" prepare herd")
    assert told == (
        "snpimpute: the sample table has 2 samples without genotypes in mine.vcf.gz, left out: abroad, slaughtered"
    )
    dataset = dataset_in(Path(out.split("dataset herd: ")[1].strip()))
    both = pd.concat([dataset.train.samples, dataset.test.samples]).set_index("sample")
    assert both.loc["s0", ["group", "family"]].tolist() == ["A", "bull"] and both.loc["s1", "group"] == "B"
    assert {scenario.level for scenario in dataset.scenarios if scenario.split == "test"} == {30, 60}
    status, out, _ = said(capsys, monkeypatch, "check", vcf, "--panel", vcf, *options[:2], "-o", tmp_path / "checked")
    assert "note: the sample table has 2 samples without genotypes in mine.vcf.gz, left out: abroad" in out


def test_all_verbs_of_an_experiment_take_its_options():
    """So that tune, train, evaluate and compare go on with what another of them has begun."""
    verbs = get_command(cli.app).commands
    whole = {option.name for option in verbs["experiment"].params}
    assert {"region", "max_sites", "samples", "pedigree", "levels", "name", "quick", "seed", "threads"} <= whole
    for verb, more in {
        "tune": {"adopt"},
        "train": set(),
        "evaluate": {"registered", "trust"},
        "compare": set(),
    }.items():
        assert {option.name for option in verbs[verb].params} == whole | more, verb


def test_a_step_takes_up_what_another_verb_has_made_of_a_region(capsys, monkeypatch, tmp_path, vcf, with_store):
    subprocess.run(["bcftools", "index", vcf], check=True)
    runs = with_store(tmp_path / "runs")
    sites = small_panel(40, missing=0.0).sites
    region = f"{sites.contig[0]}:1-{sites.pos[19]}"
    options = ["--region", region, "--levels", "60", "--runs", runs]
    _, prepared, _ = said(capsys, monkeypatch, "prepare", vcf, *options)
    status, out, err = said(capsys, monkeypatch, "train", vcf, *options, "--imputer", "mode")
    assert status == 0 and "prepare" not in err and out.splitlines()[0] == prepared.splitlines()[0]
    (model,) = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs).client.search_registered_models()
    assert model.name == f"snpimpute-mine-{region.replace(':', '-')}"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("unknwon = 1", "unknwon"),
        ("threads = 'many'", "threads"),
        ("[data.a.scenarios]\nlevels = [100]", "level 100"),
        ("[data.a.scenarios]\nlevels = [0.0]", "level 0"),
        ("imputers = ['bagle']", "beagle, "),
        ("[variants.bagle.x]", "beagle, "),
        ("imputers = ['mode']\n[variants.mode.x]\nparams = { nonsense = 1 }", "nonsense"),
    ],
)
def test_wrong_settings(capsys, monkeypatch, tmp_path, text, word):
    assert word in refused(capsys, monkeypatch, tmp_path, "experiment", toml(tmp_path, text))


def test_a_masked_site_that_is_not_there(capsys, monkeypatch, tmp_path, vcf):
    (tmp_path / "masks.tsv").write_text("missing_percent\tsite\n60\t1:77:A:C\n")
    config = toml(
        tmp_path, "[data.a]\nsource = 'mine.vcf.gz'\nscenarios = { mechanisms = ['file'], masks = 'masks.tsv' }"
    )
    assert "1:77:A:C" in refused(capsys, monkeypatch, tmp_path, "prepare", config)


def test_unknown_imputer_names_the_valid_ones(capsys, monkeypatch, tmp_path, vcf):
    line = refused(capsys, monkeypatch, tmp_path, "experiment", vcf, "--imputer", "magic")
    assert all(name in line for name in imputers.names())


def test_beagle_or_java_missing(capsys, monkeypatch, tmp_path, vcf):
    monkeypatch.setenv("SNPIMPUTE_BEAGLE_JAR", str(tmp_path / "no.jar"))
    assert "no.jar" in refused(capsys, monkeypatch, tmp_path, "experiment", vcf, "--imputer", "beagle")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Java is missing" in refused(capsys, monkeypatch, tmp_path, "experiment", vcf, "--imputer", "beagle")


def test_a_store_that_cannot_be_reached(capsys, monkeypatch, tmp_path, vcf):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    status, _, err = said(capsys, monkeypatch, "experiment", vcf, "--imputer", "mode", "--runs", tmp_path / "runs")
    assert status == 2 and "127.0.0.1:9" in err and err.count("\n") == 1


def test_a_run_folder_of_an_older_layout(capsys, monkeypatch, tmp_path, vcf):
    runs = tmp_path / "runs"
    status, _, _ = said(capsys, monkeypatch, "prepare", vcf, "--runs", runs)
    assert status == 0
    about = next(runs.glob("datasets/*/dataset.json"))
    about.write_text(about.read_text().replace('"layout": 1', '"layout": 0'))
    status, _, err = said(capsys, monkeypatch, "prepare", vcf, "--runs", runs)
    assert status == 2 and "layout 0" in err and err.count("\n") == 1


def test_a_full_file_system_leaves_nothing_half_written(tmp_path, vcf):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    command = [*SNPIMPUTE, "prepare", str(vcf), "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("snpimpute: cannot write") and done.stderr.count("\n") == 1
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def test_options_of_a_genotype_file_do_not_go_with_an_experiment(capsys, monkeypatch, tmp_path):
    assert "--region" in refused(capsys, monkeypatch, tmp_path, "prepare", toml(tmp_path, ""), "--region", "1:1-5")


def planted(tmp_path: Path, vcf: Path) -> Path:
    """The file with a contig of another name, and REF and ALT exchanged at its first site."""
    lines = subprocess.run(["bcftools", "view", vcf], check=True, capture_output=True, text=True).stdout.splitlines(
        True
    )
    first = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    cells = lines[first].split("\t")
    cells[3:5] = cells[4:2:-1]
    cells[9:] = [call.translate(str.maketrans("01", "10")) for call in cells[9:]]
    lines[first] = "\t".join(cells)
    text = "".join(line if line.startswith("#") else f"chr{line}" for line in lines).replace(
        "contig=<ID=", "contig=<ID=chr"
    )
    (tmp_path / "planted.vcf").write_text(text)
    return tmp_path / "planted.vcf"


def test_check(capsys, monkeypatch, tmp_path, vcf):
    monkeypatch.chdir(tmp_path)
    status, out, err = said(capsys, monkeypatch, "check", planted(tmp_path, vcf), "--panel", vcf)
    assert status == 0 and err == ""
    lines = out.splitlines()
    assert lines[0].startswith("planted.vcf can be imputed with mine.vcf.gz: 40 of its 40 records")
    assert "note: REF and ALT exchanged, the calls turned round: 1 site" in lines
    assert lines[-2] == "page: planted.check/qc.html"
    assert sorted(path.name for path in Path("planted.check").iterdir()) == ["excluded.tsv", "qc.html", "samples.tsv"]
    status, out, _ = said(capsys, monkeypatch, "check", vcf, "--panel", vcf, "--json", "-o", "there")
    found = json.loads(out)
    assert status == 0 and found["counts"]["usable"] == 40 and found["page"] == "there/qc.html"


def test_check_of_a_target_that_cannot_be_imputed(capsys, monkeypatch, tmp_path, vcf):
    other = vcf.with_name("other.vcf.gz")
    matrix = small_panel(40, missing=0.0)
    write_vcf(other, replace(matrix, sites=matrix.sites.assign(contig="77")))
    status, out, err = said(capsys, monkeypatch, "check", other, "--panel", vcf, "-o", tmp_path / "out")
    assert status == 1 and err == ""
    assert out.splitlines()[1].startswith("problem: no contig in common: the target has 77, the panel ")
    assert (tmp_path / "out" / "qc.html").exists()


def test_concordance(capsys, monkeypatch, tmp_path, vcf):
    status, out, err = said(capsys, monkeypatch, "concordance", vcf, vcf)
    assert status == 0 and err == "" and "concordance 1.000" in out and "0.40-0.50" in out
    assert "without --typed, calls that were known before imputation are scored as well" in out
    status, out, _ = said(capsys, monkeypatch, "concordance", vcf, vcf, "--typed", vcf)
    assert status == 0 and out.startswith("no call is scored: none that is known in both files was imputed\n")
    assert "without --typed" not in out and "Empty" not in out and "–" not in out
    status, out, _ = said(capsys, monkeypatch, "concordance", vcf, vcf, "--json", "-o", tmp_path / "out")
    found = json.loads(out)
    assert status == 0 and found["overall"]["concordance"] == 1.0 and found["typed"] == {}
    assert json.loads((tmp_path / "out" / "concordance.json").read_text())["counts"] == found["counts"]


@pytest.mark.parametrize("verb", ["check", "concordance"])
def test_files_that_cannot_be_compared(capsys, monkeypatch, tmp_path, vcf, verb):
    (tmp_path / "noise.vcf.gz").write_bytes(os.urandom(2000))
    (tmp_path / "empty.vcf").write_text("")
    (tmp_path / "cut.vcf.gz").write_bytes(vcf.read_bytes()[:-100])
    (tmp_path / "text.txt").write_text("1\n")
    (tmp_path / "x.tsv").write_text("name\n1\n")
    pair = ("--panel", vcf) if verb == "check" else (vcf,)
    out = tmp_path / "out"
    for wrong in ("noise.vcf.gz", "empty.vcf", "cut.vcf.gz", "text.txt", "none.vcf.gz", "none.bed"):
        status, printed, err = said(capsys, monkeypatch, verb, tmp_path / wrong, *pair, "-o", out)
        assert status == 2 and printed == "" and err.startswith("snpimpute: ") and err.count("\n") == 1, err
        assert wrong.split(".")[0] in err and not out.exists()
    status, _, err = said(capsys, monkeypatch, verb, vcf, *pair, "--samples", tmp_path / "x.tsv", "-o", out)
    assert status == 2 and "column 'sample'" in err
    status, _, err = said(capsys, monkeypatch, verb, vcf, *pair, "-o", vcf / "out")
    assert status == 2 and "cannot write into" in err and err.count("\n") == 1


def test_imputers_as_json(capsys, monkeypatch):
    status, out, _ = said(capsys, monkeypatch, "imputers", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 0 and list(rows) == imputers.names()
    assert set(rows["bert"]) == {"name", "description", "framework", "parameters", "tunable", "rows"}
    assert (rows["dense"]["parameters"], rows["bert"]["parameters"]) == (3_133_948, 1_779_976)
    assert rows["mode"] | {"description": ""} == {
        "name": "mode",
        "description": "",
        "framework": None,
        "parameters": None,
        "tunable": False,
        "rows": ["default"],
    }


def test_doctor_tells_versions(capsys, monkeypatch):
    status, out, _ = said(capsys, monkeypatch, "doctor", "--json")
    rows = {row["name"]: row["version"] for row in json.loads(out)}
    assert status == 0
    assert rows["torch"].startswith("2.13") and "5.4" in rows["beagle"] and rows["java"]


def test_doctor_says_what_is_missing(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, out, _ = said(capsys, monkeypatch, "doctor")
    assert status == 1 and "java           missing" in out


def test_reports_replace_reports_and_nothing_else(capsys, monkeypatch, tmp_path, vcf):
    """A file of the user's that has the name of one of a report's stays, unless --force is given."""
    ours = tmp_path / "samples.tsv"
    for command in (["check", vcf, "--panel", vcf], ["concordance", vcf, vcf]):
        for _ in range(2):
            assert said(capsys, monkeypatch, *command, "-o", tmp_path / command[0])[0] == 0
        ours.write_text("sample\tgroup\ns0\tA\n")
        status, out, err = said(capsys, monkeypatch, *command, "-o", tmp_path)
        assert status == 2 and out == "" and "samples.tsv is there already, and is not overwritten" in err
        assert err.count("\n") == 1 and ours.read_text().startswith("sample\tgroup\n")
        assert said(capsys, monkeypatch, *command, "-o", tmp_path, "--force")[0] == 0
        assert not ours.read_text().startswith("sample\tgroup\n")


def test_a_dr2_that_is_too_low_is_called_so():
    found = {"correlation": 0.9, "bias": -0.046, "sites": 40}
    counts = defaultdict(int, calls=80, samples=2, sites_scored=40)
    about = SimpleNamespace(
        counts=counts, overall=defaultdict(float), fields="GT", typed={}, phase={}, notes=(), quality=found, filters={}
    )
    assert "DR2 too low by 0.046 on average (40 sites)" in summary(about)[-1]
    about.quality = found | {"bias": 0.046}
    assert "DR2 too high by 0.046 on average (40 sites)" in summary(about)[-1]


def test_version_and_short_help(capsys, monkeypatch):
    status, out, _ = said(capsys, monkeypatch, "--version")
    assert status == 0 and out == f"snpimpute {__version__}\n"
    for words in ([], ["tune"], ["models", "list"]):
        short, long = (said(capsys, monkeypatch, *words, option) for option in ("-h", "--help"))
        assert short == long and short[0] == 0 and "Usage: " in short[1]


@pytest.mark.parametrize("verb", ["experiment", "fit", "impute"])
def test_a_folder_that_cannot_be_written_is_one_line(capsys, monkeypatch, tmp_path, vcf, verb):
    more = {"experiment": ["--imputer", "mode"], "fit": [], "impute": ["-o", tmp_path / "o.vcf", "--no-panel"]}[verb]
    status, out, err = said(capsys, monkeypatch, verb, vcf, *more, "--runs", vcf / "runs")
    assert status == 2 and out == "" and err.startswith("snpimpute: cannot write into ") and err.count("\n") == 1
    told = OSError(errno.EACCES, "Permission denied", str(tmp_path / "runs" / "x"))
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(told))
    status, out, err = said(capsys, monkeypatch, verb, vcf, *more, "--runs", tmp_path / "runs")
    assert status == 2 and out == "" and err.count("\n") == 1, err
    assert "runs" in err and "Permission denied" in err


def test_ended_by_a_signal_it_says_how_to_go_on(capsys, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(programs, "installed", lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        status, out, err = said(capsys, monkeypatch, "doctor")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (status, out) == (130, "")
    assert err == "snpimpute: interrupted; run the same command again to go on\n"


def test_one_trial_is_not_one_trials(capsys):
    row = SimpleNamespace(label="beagle/tuned")
    dones = [Done(row, Tuned(trials=n, ended_by="trials", study="s")) for n in (1, 2)]
    experiments._finish(Outcome(rows={"mine": dones}), as_json=False)
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "1 trial, ended by trials",
        "2 trials, ended by trials",
    ]


def test_a_dashboard_of_nothing_says_so(capsys, monkeypatch, tmp_path):
    """And is served: the folder may come."""
    served = []
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        free = found.getsockname()[1]
    monkeypatch.setattr(serve, "set_places", lambda runs, *_: served.append(runs) or sys.exit(0))
    for folder, lines in ((tmp_path / "nosuch", 1), (tmp_path, 0)):
        status, _, err = said(capsys, monkeypatch, "dashboard", "--runs", folder, "--port", free)
        assert status == 0 and served.pop() == folder and err.count("\n") == lines
        assert not lines or err.startswith(f"snpimpute: there is no folder {folder}: there is nothing to show until")


def test_every_verb_has_help_with_an_example(capsys, monkeypatch):
    for verb in (
        "prepare",
        "tune",
        "train",
        "evaluate",
        "compare",
        "experiment",
        "check",
        "concordance",
        "imputers",
        "doctor",
    ):
        status, out, _ = said(capsys, monkeypatch, verb, "--help")
        assert status == 0 and f"snpimpute {verb}" in out.split("Example", 1)[1], verb


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv = ['snpimpute', '--help']\nfrom snpimpute.cli import app as cli\ntry: cli.main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "pandas", "pydantic", "mlflow", "optuna", "torch", "tensorflow", "rich"}


def test_interrupted_work_ends_its_children(tmp_path, vcf, with_store):
    """A signal in the middle of a study leaves no Java behind, and the same command goes on."""
    runs = with_store(tmp_path / "runs with space")
    command = [*SNPIMPUTE, "tune", str(vcf), "--imputer", "beagle", "--trials", "40", "--runs", str(runs)]
    process = subprocess.Popen(
        command,
        start_new_session=True,
        stderr=subprocess.PIPE,
        # what a background job of a script starts would ignore the signal
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    journal = None
    for _ in range(1800):
        time.sleep(0.1)
        journal = next(runs.glob("studies/*.journal"), None)
        if journal is not None and journal.stat().st_size > 3000:
            break
    assert journal is not None
    process.send_signal(2)
    process.wait(120)
    wait_until(lambda: not subprocess.run(["pgrep", "-f", str(runs)], capture_output=True).stdout, 60)


@pytest.mark.skipif(shutil.which("script") is None, reason="needs the program script for a terminal")
def test_a_bar_on_a_terminal_and_a_line_a_stage_in_a_file(tmp_path, vcf, with_store):
    command = [*SNPIMPUTE, "train", str(vcf), "--imputer", "mode", "--runs"]
    told = subprocess.run([*command, str(with_store(tmp_path / "a"))], capture_output=True, text=True, check=True)
    lines = [re.fullmatch(r"\d\d:\d\d:\d\d (.+)", line)[1] for line in told.stderr.splitlines()]
    assert lines == [
        "prepare mine",
        "1 row on mine; no study to run",
        "train mode/default on mine",
    ]
    line = " ".join([*command, str(with_store(tmp_path / "b"))])
    shown = subprocess.run(["script", "-qec", line, "/dev/null"], capture_output=True, text=True, check=True)
    assert "train mode/default" in shown.stdout
