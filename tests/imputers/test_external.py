"""Described programs: what a description may say, what comes back in which form, failures, and where they are found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snpimpute import imputers
from snpimpute.base.errors import InputError
from snpimpute.experiment import pipeline
from snpimpute.experiment import settings as config
from snpimpute.experiment.registered import evaluate_registered
from snpimpute.experiment.rows import plan
from snpimpute.experiment.score import read_scores
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers._description import filled_in, parse_description, require_bare_placeholders
from snpimpute.imputers._external import described
from snpimpute.imputers.testing import ImputerContract, small_panel

MORE = Path(__file__).parents[2] / "experiments" / "external"

# A program that every machine has: what is missing becomes 0/0.
ZERO = """
description = "what is missing is 0/0"

[program]
name = "sed"
install = "Debian: apt-get install sed"
version = "{program} --version"
version_pattern = 'GNU sed. \\S+'

[run]
impute = ["gunzip -c {target} | {program} 's#\\\\./\\\\.#0/0#g' > imputed.vcf"]

[output]
file = "imputed.vcf"
field = "GT"
"""


def imputer(text: str, name: str = "zero", **params: Any) -> Any:
    cls = described(name, text, f"{name}.toml")
    return cls(cls.parse_params(params), seed=5, threads=1)


class TestZero(ImputerContract):
    imputer = described("zero", ZERO, "zero.toml")

    def test_calls_alone_are_smoothed(self, model: Any, target: GenotypeMatrix) -> None:
        hidden = np.zeros(target.calls.shape, dtype=bool)
        hidden[:5, 3] = True
        masked = target.hide(hidden)
        assert not model.gives_posterior(masked)
        np.testing.assert_allclose(model.posterior(masked)[:5, 3], [[0.98, 0.01, 0.01]] * 5, atol=1e-6)

    def test_it_gets_no_panel(self, model: Any) -> None:
        assert not model.needs_panel and model.version.startswith("GNU sed")


def answering(field: str, values: str) -> str:
    """A description whose program gives the same value for every call."""
    return f"""
description = "always the same"
panel = {{}}
target = {{ hidden_sites = "missing" }}
program = {{ name = "awk", install = "", version = "echo 7" }}
output = {{ file = "answer.vcf", field = "{field}" }}

[run]
impute = ['''gunzip -c {{target}} | {{program}} -v OFS='\\t' '
    /^#/ {{ print; next }}
    {{ $9 = "X:{field}"; for (i = 10; i <= NF; i++) $i = "x:{values}"; print }}' > answer.vcf''']
"""


@pytest.mark.parametrize(
    ("field", "values", "expected", "probabilities"),
    [
        ("GP", "0.1,0.6,0.3", [0.1, 0.6, 0.3], True),
        ("HDS", "0.25,0.8", [0.15, 0.65, 0.2], True),
        ("DS", "1.3", [0, 0.7, 0.3], False),
        ("DS", "0.2", [0.8, 0.2, 0], False),
        ("GT", "0|1", [0.01, 0.98, 0.01], False),
        ("GT", "1/1", [0.01, 0.01, 0.98], False),
    ],
)
def test_what_comes_back(field: str, values: str, expected: list[float], probabilities: bool) -> None:
    panel = small_panel(20, n_sites=6, missing=0.0)
    hidden = np.arange(6) == 2
    model = imputer(answering(field, values)).fit(panel)
    posterior = model.posterior(panel.hide(hidden))
    np.testing.assert_allclose(posterior[:, 2], [expected] * 20, atol=1e-6)
    assert model.gives_posterior(panel) == probabilities
    assert model.version == "7"


@pytest.mark.parametrize(
    ("field", "values"), [("GP", "."), ("GP", "0,0,0"), ("HDS", ".,."), ("DS", "."), ("GT", "./.")]
)
def test_where_nothing_comes_back_the_frequencies_stand(field: str, values: str) -> None:
    panel = small_panel(20, n_sites=6, missing=0.0)
    hidden = np.zeros(panel.calls.shape, dtype=bool)
    hidden[3, 2] = True
    model = imputer(answering(field, values)).fit(panel)
    np.testing.assert_allclose(model.posterior(panel.hide(hidden))[3, 2], model.frequencies[2], atol=1e-6)


def test_an_answer_that_is_none_is_said_in_one_line() -> None:
    panel = small_panel(20, n_sites=6, missing=0.0)
    hidden = np.arange(6) == 2
    with pytest.raises(
        InputError, match=r"^imputer zero: cannot read GP in answer.vcf, which awk wrote: '0.1,0.9' has"
    ):
        imputer(answering("GP", "0.1,0.9")).fit(panel).posterior(panel.hide(hidden))
    with pytest.raises(InputError, match=r"^imputer zero: awk gave no GP at site 1:\d+:A:C$"):
        imputer(answering("GP", "1,0,0").replace("print }'", "if (NR % 2) print }'")).fit(panel).posterior(
            panel.hide(np.arange(6) % 2 == 0)
        )
    with pytest.raises(InputError, match=r"^imputer zero: its commands made no file answer.vcf"):
        imputer(answering("GP", "1,0,0").replace("> answer.vcf", "> other.vcf")).fit(panel).posterior(
            panel.hide(hidden)
        )


def test_failure_of_a_command_is_one_line_and_kept() -> None:
    panel = small_panel(20, n_sites=6, missing=0.0)
    text = ZERO.replace("impute = [", 'impute = ["echo Error: no luck >&2; echo later; exit 4", ')
    model = imputer(text).fit(panel)
    with pytest.raises(InputError, match=r"^imputer zero: sed failed: Error: no luck$"):
        model.posterior(panel.hide(np.arange(6 * 20).reshape(20, 6) == 8))
    assert "no luck" in model.logs[-1] and model.logs[-1].startswith("# version: GNU sed")


def test_plink_files_go_in_and_come_back() -> None:
    text = """
description = "plink2 there and back"
panel = { form = "plink" }
target = { form = "plink", hidden_sites = "missing" }
program = { name = "plink2", install = "", version = "{program} --version" }
output = { file = "back.bed", form = "plink", field = "GT" }
[run]
fit = ["test -s {panel}.bed -a -s {panel}.bim -a -s {panel}.fam", "wc -l < {panel}.fam > panel.n"]
keep = ["panel.n"]
impute = ["grep -q 20 panel.n", "{program} --bfile {target} --make-bed --out back"]
"""
    panel = small_panel(20, n_sites=6, missing=0.0)
    hidden = np.zeros(panel.calls.shape, dtype=bool)
    hidden[3, 2] = True
    model = imputer(text).fit(panel)
    np.testing.assert_allclose(model.posterior(panel.hide(hidden))[3, 2], model.frequencies[2], atol=1e-6)
    nowhere = np.zeros(6, dtype=bool)
    seen, _ = model._impute(model._prepared_target(panel, nowhere), 0, slice(0, 6), nowhere)
    assert (seen.argmax(axis=2) == panel.calls).all()


def test_parameters_and_places_reach_the_commands() -> None:
    text = ZERO.replace(
        "impute = [",
        'one_contig = true\nimpute = ["echo {seed} {threads} {n_target} {contig} {start} {end} {word} {share}", ',
    )
    text += '[params]\nword = "two words; $HOME"\nshare = 0.5\nrounds = 3\n[search]\nshare = { low = 0.1, high = 1.0 }\nrounds = { low = 1, high = 9 }\n'
    panel = small_panel(20, n_sites=6, missing=0.0)
    model = imputer(text, rounds=4).fit(panel)
    hidden = np.zeros(panel.calls.shape, dtype=bool)
    hidden[3, 2] = True
    model.posterior(panel.hide(hidden))
    assert "\n5 1 20 1 1000 8500 two words; $HOME 0.5\n" in model.logs[-1]
    assert model.params.rounds == 4
    assert [v.tune for v in model.variants.values()] == [False, True]
    for wrong in ({"rounds": "many"}, {"rates": 1}, {"phasing": {"mode": "joint"}}, {"phasing": {"burning": 1}}):
        with pytest.raises(InputError, match=f"^imputer zero: parameter '{next(iter(wrong))}"):
            model.parse_params(wrong)


def test_a_map_is_written_for_whoever_takes_one(tmp_path: Path) -> None:
    text = ZERO.replace("impute = [", 'impute = ["cat {map}", ')
    panel = small_panel(20, n_sites=6, missing=0.0)
    hidden = np.zeros(panel.calls.shape, dtype=bool)
    hidden[3, 2] = True
    (tmp_path / "a.map").write_text("1 . 0 1000\n1 . 3 8500\n")
    for given, cm in (({}, "0.002500000"), ({"map": tmp_path / "a.map"}, "0.600000000")):
        model = imputer(text, **given).fit(panel)
        model.save(tmp_path / f"model-{cm}")
        loaded = type(model).load(tmp_path / f"model-{cm}")
        loaded.posterior(panel.hide(hidden))
        assert f"1 . {cm} 2500\n" in loaded.logs[-1]


# ---------------------------------------------------------------------- descriptions


def test_descriptions_that_no_test_runs_are_valid_and_say_so() -> None:
    names = sorted(path.stem for path in MORE.glob("*.toml"))
    assert names == ["alphaimpute2", "impute5", "mach", "shapeit4_minimac4"]
    for name in ("impute5", "mach"):
        text = (MORE / f"{name}.toml").read_text()
        assert parse_description(text, name).untried
        assert described(name, text, name).description.startswith("not tried by this project: ")
        assert "NOT RUN HERE" in text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("description =", "description :", r"is not TOML: .*line 2"),
        ('field = "GT"', 'field = "PL"', r"output\.field: Input should be 'HDS', 'GP', 'DS' or 'GT'"),
        ('field = "GT"', "", r"output\.field: is missing"),
        ('name = "sed"', "name = 7", r"program\.name: Input should be a valid string"),
        ("[run]", "[runs]", r"run: is missing"),
        ("[output]", "[outputs]\n[output]", r"unknown key 'outputs'; docs/external.md has those there are"),
        ("{target}", "{targets}", r"run\.impute: \{targets\} is no placeholder here; there are .*target"),
        ("{target}", "{panel}", r"run\.impute: \{panel\} is no placeholder here"),
        ("{target}", "{contig}", r"run\.impute: \{contig\} is no placeholder here"),
        ("[run]", "[target]\nphased = true\n[run]", r"run\.fit, target\.phased .* need a table \[panel\]"),
        ("[run]", "[panel]\n[target]\nphased = true\n[run]", r"target\.phased needs panel\.phased too"),
        ("[run]", '[panel]\nform = "plink"\nphased = true\n[run]', r"panel: a PLINK file has no phase"),
        ("[run]", '[run]\nkeep = ["a"]', r"run\.keep names files, but no command in run\.fit makes any"),
        ("[run]", '[panel]\n[run]\nfit = ["touch a"]\nkeep = ["../a"]', r"run\.keep: '\.\./a' is no plain file name"),
        ('imputed.vcf"\nfield', '../imputed.vcf"\nfield', r"output\.file: '\.\./imputed\.vcf' is no plain file name"),
        ("{target}", "'{target}'", r"run\.impute: \{target\} stands within single quotes: .* write \{target\} bare"),
        ("{program} --version", "'{program}' --version", r"program\.version: \{program\} stands within single quotes"),
        ("[output]", '[output]\nform = "plink"', None),
        ('field = "GT"', 'field = "GP"\nform = "plink"', r"output: a PLINK file has calls only"),
        ("[output]", "[params]\nseed = 2\n[output]", r"params: 'seed' cannot be a parameter's name"),
        (
            "[output]",
            "[search]\nrate = { low = 1, high = 2 }\n[output]",
            r"search: 'rate' is no parameter that is a number",
        ),
        (
            "[output]",
            "[params]\nrate = 3\n[search]\nrate = { low = 1, high = 2 }\n[output]",
            r"search: the default of 'rate', 3, is not from 1 to 2",
        ),
        ("'GNU sed", "'(GNU sed", r"program\.version_pattern: '\(GNU sed.* is no regular expression"),
    ],
)
def test_a_bad_description_is_said_in_one_line(old: str, new: str, reason: str | None) -> None:
    text = ZERO.replace(old, new, 1)
    assert text != ZERO
    if reason is None:
        parse_description(text, "some.toml")
        return
    with pytest.raises(InputError, match=rf"^some\.toml:? {reason}") as caught:
        parse_description(text, "some.toml")
    assert "\n" not in str(caught.value).split("(at line")[0]


NASTY = (
    "a b",
    "a;touch bad",
    "$(touch bad)",
    "`touch bad`",
    "it's",
    '"',
    "\\",
    "a\ntouch bad",
    "*",
    "-n",
    "#x",
    "$HOME",
    "",
)


@pytest.mark.parametrize(
    "command", ["printf %s {x} > said", "printf %s 'a'{x}\"b\" > said", "printf %s $(printf %s {x}) > said"]
)
def test_no_value_gets_to_the_shell_unquoted(command: str, tmp_path: Path) -> None:
    require_bare_placeholders("run.impute", command)
    for value in NASTY:
        done = subprocess.run(["sh", "-e", "-c", filled_in(command, {"x": value})], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0 and not (tmp_path / "bad").exists(), (value, done.stderr)
        if "$(" not in command:
            assert (tmp_path / "said").read_text() == value.join(("a", "b") if "'a'" in command else ("", ""))


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ('cat "{x}"', "within double quotes"),
        ('cat "a b"{x}" {x}"', "within double quotes"),
        ('cat "it\'s {x}"', "within double quotes"),
        ('cat "\\" {x}"', "within double quotes"),
        ("awk '{{ print }} {x}'", "within single quotes"),
        ("cat `echo {x}`", "within backquotes"),
        ("cat <<END\n{x}\nEND", "after <<"),
        ("true # it is {x}", "in a comment"),
        ("echo ${x}", "after a dollar sign"),
        ("echo \\{x}", "a backslash stands before"),
    ],
)
def test_a_placeholder_within_something_is_refused(command: str, place: str) -> None:
    with pytest.raises(ValueError, match=rf"^run\.fit: .*{re.escape(place)}") as refused:
        require_bare_placeholders("run.fit", command)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "command",
    ["cat 'it'\\''s' {x}", 'echo \\"{{ {x}', "a#b {x} # it's", "true \\\n {x}", "# it's\ncat {x}", 'x="a#" {x}'],
)
def test_a_placeholder_after_something_is_not(command: str) -> None:
    require_bare_placeholders("run.fit", command)


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = ZERO.replace('name = "sed"', 'name = "no-such"').replace("apt-get install sed", "apt-get install nsuch")
    with pytest.raises(
        InputError, match=r"^no-such is missing: imputer zero needs it \(Debian: apt-get install nsuch\)"
    ):
        imputer(text).require_programs()
    monkeypatch.setenv("SNPIMPUTE_NO_SUCH", shutil.which("sed") or "")
    imputer(text).require_programs()
    also = ZERO.replace("[run]", '[program.also]\nnothing = "make it"\n[run]')
    with pytest.raises(InputError, match=r"^nothing is missing: imputer zero needs it \(make it\)"):
        imputer(also).require_programs()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"^minimac4 is missing: imputer minimac4 needs it \(Debian: apt-get install minimac4"
    ):
        imputers.load("minimac4").require_programs()


def test_single_holes_are_refused_where_the_program_cannot_fill_them() -> None:
    text = (MORE / "impute5.toml").read_text()
    panel = small_panel(20, n_sites=6, missing=0.0)
    model = imputer(text, "impute5", phasing={"iterations": 1, "burnin": 1}).fit(panel)
    hidden = np.zeros(panel.calls.shape, dtype=bool)
    hidden[:, 1] = True
    hidden[4, 3] = True
    with pytest.raises(InputError, match=r"no single calls: sample s4 lacks 1:5500:A:C, which others have"):
        model.posterior(panel.hide(hidden))


STAND_IN = """#!/usr/bin/env python3
# Answers in MaCH's files: what a sample has, and at other sites the panel's allele frequency.
import sys
options = dict(zip(sys.argv[1::1], sys.argv[2::1]))
print("MaCH 1.0.18")
if "-h" not in options:
    sys.exit(0)
snps = open(options["-s"]).read().split()
haplotypes = [line.split()[2] for line in open(options["-h"])]
typed = [line.split()[1] for line in open(options["-d"])]
first = [max(column) for column in zip(*haplotypes)]
with open("imputed.mlinfo", "w") as info, open("imputed.mlprob", "w") as prob:
    info.write("SNP Al1 Al2 Freq1 MAF Quality Rsq\\n")
    for j, snp in enumerate(snps):
        info.write(f"{snp} {first[j]} - 0 0 1 1\\n")
    for line in open(options["-p"]):
        family, sample, _, _, _, *calls = line.split()
        known = dict(zip(typed, calls))
        row = []
        for j, snp in enumerate(snps):
            p = sum(h[j] == first[j] for h in haplotypes) / len(haplotypes)
            if known.get(snp, "./.") != "./.":
                n = known[snp].count(first[j])
                row += [float(n == 2), float(n == 1)]
            else:
                row += [p * p, 2 * p * (1 - p)]
        prob.write(f"{family}->{sample} ML_PROB " + " ".join(f"{x:.3f}" for x in row) + "\\n")
"""


def test_the_commands_around_mach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The files that go in and the one that comes back, with a stand-in for MaCH, the rarer allele being either."""
    program = tmp_path / "mach1"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("SNPIMPUTE_MACH1", str(program))
    panel = small_panel(20, n_sites=8, missing=0.0)
    target = small_panel(24, n_sites=8, missing=0.0).take_samples(np.arange(20, 24))
    text = (MORE / "mach.toml").read_text()
    model = imputer(text, "mach", phasing={"iterations": 1, "burnin": 1}).fit(panel)
    hidden = np.zeros(target.calls.shape, dtype=bool)
    hidden[:, 2] = True
    hidden[1, 5] = True
    posterior = model.posterior(target.hide(hidden))
    p = panel.alt_frequency()
    expected = np.stack([(1 - p) ** 2, 2 * p * (1 - p), p**2], axis=1)
    np.testing.assert_allclose(posterior[:, 2], np.broadcast_to(expected[2], (4, 3)), atol=2e-3)
    np.testing.assert_allclose(posterior[1, 5], expected[5], atol=2e-3)
    assert model.version == "MaCH 1.0.18" and "--rounds 50" in model.logs[-1]
    nowhere = np.zeros(8, dtype=bool)
    written, _ = model._impute(model._prepared_target(target, nowhere), 0, slice(0, 8), nowhere)
    assert (written.argmax(axis=2) == target.calls).all()


@pytest.mark.parametrize(
    ("name", "params", "missing"),
    [
        ("shapeit4_minimac4", {"phasing": {"iterations": 3}}, not shutil.which("shapeit4")),
        ("alphaimpute2", {}, not os.environ.get("SNPIMPUTE_ALPHAIMPUTE2")),
        ("alphaimpute2", {"pedigree": "pedigree.txt"}, not os.environ.get("SNPIMPUTE_ALPHAIMPUTE2")),
    ],
)
def test_programs_that_can_be_had_are_right_more_often_than_frequencies(
    name: str, params: dict[str, Any], missing: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if missing:
        pytest.skip(f"the program of {name} is not on this machine")
    everybody = small_panel(90, n_sites=60, missing=0.0)
    panel, target = everybody.take_samples(np.arange(70)), everybody.take_samples(np.arange(70, 90))
    if "pedigree" in params:
        (tmp_path / params["pedigree"]).write_text("".join(f"{sample} 0 0\n" for sample in everybody.names))
        params = {"pedigree": str(tmp_path / params["pedigree"])}
    hidden = np.arange(60) % 3 == 1
    posterior = imputer((MORE / f"{name}.toml").read_text(), name, **params).fit(panel).posterior(target.hide(hidden))
    truth = target.calls[:, hidden]
    by_frequency = np.broadcast_to(panel.genotype_frequencies().argmax(axis=1)[hidden], truth.shape)
    assert (posterior[:, hidden].argmax(axis=2) == truth).mean() > (by_frequency == truth).mean() + 0.1


# ---------------------------------------------------------------------- where they are found


@pytest.fixture
def more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "zero.toml").write_text(ZERO)
    monkeypatch.setenv(imputers.OF_THE_SETTINGS, "")
    return folder


def test_folders_that_are_named_are_looked_in(more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "zero" not in imputers.names()
    with pytest.raises(InputError, match=r"^unknown imputer 'zero': give one of beagle, "):
        imputers.load("zero")
    imputers.look_in([more])
    assert "zero" in imputers.names() and imputers.load("zero").description == "what is missing is 0/0"
    imputers.look_in([])
    assert "zero" not in imputers.names()
    monkeypatch.setenv(imputers.OF_THE_USER, str(more))
    assert "zero" in imputers.names()
    (more / "_notes.toml").write_text("")
    (more / "mode.toml").write_text(ZERO)
    with pytest.raises(InputError, match=r"mode\.toml and .*mode\.py are imputers of the same name: rename one"):
        imputers.names()
    (more / "mode.toml").rename(more / "Two words.toml")
    with pytest.raises(InputError, match=r"Two words\.toml: an imputer's name has small letters"):
        imputers.names()
    monkeypatch.delenv(imputers.OF_THE_USER)
    imputers.look_in([more / "nowhere"])
    with pytest.raises(InputError, match="nowhere is not there"):
        imputers.names()


def test_an_experiment_names_a_folder(more: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", str(tmp_path))
    for spelled in ("more", "$HERE/more"):
        (tmp_path / "e.toml").write_text(f'imputers = ["zero"]\nimputers_from = ["{spelled}"]\n')
        (row,) = plan(config.read(tmp_path / "e.toml"))
        assert row.label == "zero/default"
    (more / "zero.toml").write_text(ZERO.replace("[output]", "[outputs]"))
    with pytest.raises(InputError, match=r"more/zero\.toml: output: is missing$"):
        plan(config.read(tmp_path / "e.toml"))


@pytest.mark.panels
def test_a_whole_experiment(more: Path, tmp_path: Path) -> None:
    """Its processes find the description; the model keeps it; another description is another model."""
    (tmp_path / "e.toml").write_text(
        'imputers = ["mode", "zero"]\nimputers_from = ["more"]\nscoring = { resamples = 100 }\n'
        "[data.calves]\nsimulation = { n_samples = 60, n_sites = 30 }\n"
        'scenarios = { levels = [20], repeats = 1, mechanisms = ["entries"] }\n'
    )
    settings = config.read(tmp_path / "e.toml")
    outcome = pipeline.run(settings, tmp_path / "runs", until="evaluate")
    assert not outcome.failures
    scores = read_scores(outcome.scores["calves"])
    assert {"mode", "zero"} <= set(scores.imputer)
    home = next(done.home for done in outcome.rows["calves"] if done.row.imputer == "zero")
    assert home is not None and (home / "impute.log").read_text().startswith("# version: GNU sed")
    (more / "zero.toml").write_text(ZERO.replace("0/0", "1/1"))
    again = pipeline.run(settings, tmp_path / "runs", until="train")
    assert next(done.home for done in again.rows["calves"] if done.row.imputer == "zero") != home

    (home / "impute.json").unlink()  # of the first description, which is another one by now
    untrusted = evaluate_registered(settings, tmp_path / "runs", ["zero"])
    assert [re.search(r"would run commands of its own .*--trust", said) is not None for said in untrusted.failures] == [
        True
    ]
    assert not evaluate_registered(settings, tmp_path / "runs", ["zero"], trust=True).failures
    shutil.rmtree(more)
    imputers.look_in([])
    with pytest.raises(InputError, match=r"would run commands of its own \(of sed, in .*--trust"):
        imputers.class_in(home / "model")
    cls = imputers.class_in(home / "model", trust=True)
    assert cls.name == "zero" and cls.load(home / "model").about.description == "what is missing is 0/0"
    assert json.loads((home / "model" / "imputer.json").read_text())["imputer"] == "zero"


def test_the_example_of_the_documentation_is_valid() -> None:
    text = (MORE.parents[1] / "docs" / "external.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    about = parse_description(example, "rival.toml")
    assert about.program.name == "rival" and about.run.one_contig and not about.untried
