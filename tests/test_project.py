"""The project's own promises: the README's commands exist, the lock holds what is needed, the experiments are valid."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from scripts import requirements
from snpimpute import imputers
from snpimpute.cli import app as cli
from snpimpute.experiment import settings as config
from snpimpute.experiment.rows import plan

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def commands(start: str) -> list[str]:
    """Lines of the README's code blocks, and inline code, that begin with `start`."""
    lines = [line for _, block in BLOCKS for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return [line.split("#")[0].strip() for line in lines + inline if line.startswith(start)]


def test_the_two_commands_stand_first():
    assert BLOCKS[0][1].split()[:2] == ["make", "demo"]
    assert "make test" in BLOCKS[0][1]


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = {command.split()[1] for command in commands("make ") if len(command.split()) > 1}
    assert {"demo", "test", "ui", "clean-runs"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_verbs_and_options_of_the_readme_exist():
    verbs = get_command(cli.app).commands  # type: ignore[attr-defined]
    found = commands(".venv/bin/snpimpute ")
    assert len(found) >= 3
    for command in found:
        _, verb, *rest = command.split()
        options = {name for parameter in verbs[verb].params for name in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, command


def test_ci_runs_the_test_command_of_the_readme():
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.toml")), ids=lambda p: p.stem)
def test_experiments_are_valid(path, monkeypatch):
    monkeypatch.setenv("SNPIMPUTE_PANELS", "/panels")
    compared = {row.imputer for row in plan(config.read(path))}
    assert {"mode", "beagle"} <= compared
    if path.stem == "smoke":
        assert compared == set(imputers.names()), "the smoke experiment has every imputer"


def locked() -> dict[str, list[str]]:
    """Pin of requirements.lock, without extras → its hashes."""
    text = "".join(line for line in LOCK.read_text().splitlines(keepends=True) if not line.startswith("#"))
    entries = [entry.split() for entry in text.replace("\\\n", " ").splitlines()]
    return {
        re.sub(r"\[.*\]", "", pin): [word.removeprefix("--hash=sha256:") for word in rest] for pin, *rest in entries
    }


def test_the_lock_pins_every_dependency():
    pins = dict(pin.split("==") for pin in locked())
    declared = requirements.declared()
    extras = {
        "cluster",
        "export",
        "networks",
        "platform",
        "dashboard",
        "simulate",
        "traits",
        "zarr",
        "all",
        "docs",
        "dev",
    }
    assert {"plain", *extras} == set(declared)
    assert {"tensorflow==2.21.0", "prefect==3.8.8", "msprime"} <= set(declared["all"])
    for wanted in map(Requirement, {text for texts in declared.values() for text in texts}):
        name = canonicalize_name(wanted.name)
        assert name in pins, f"{name} is not in requirements.lock: make lock"
        assert wanted.specifier.contains(pins[name]), f"{wanted}, but {pins[name]} in requirements.lock: make lock"


def test_every_pin_has_hashes():
    for pin, hashes in locked().items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin), pin
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes), pin


def test_the_conda_environment_has_the_pins_of_the_lock():
    text = (ROOT / "conda.yaml").read_text()
    assert re.findall(r"^ +- (\S+==\S+)$", text, re.MULTILINE) == list(locked()), "make lock writes both"


IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
UNIMPORTED = {  # needed without an import: why
    "fastapi": "MLflow brings it; its range is narrowed",
    "s3fs": "fsspec's, for s3://",
    "onnx": "torch.onnx's",
    "onnxscript": "torch.onnx's",
    "psycopg": "SQLAlchemy's, for a shared database",
    "psycopg-binary": "psycopg's",
}


@pytest.mark.parametrize("package", ["snpimpute", "flows", "dashboards"])
def test_what_is_imported_is_declared(package):
    declared = {module_of(text) for text in requirements.declared()["all"]}
    declared |= {module_of(text) for text in requirements.declared()["plain"]}
    assert imported(package) <= declared


def test_what_is_declared_is_imported():
    everywhere = {name for package in ("snpimpute", "flows", "dashboards") for name in imported(package)}
    declared = requirements.declared()
    texts = [text for extra, texts in declared.items() if extra not in ("docs", "dev") for text in texts]
    unimported = {Requirement(text).name for text in texts if module_of(text) not in everywhere}
    assert unimported <= set(UNIMPORTED)


def module_of(text: str) -> str:
    """What is imported of a requirement."""
    name = Requirement(text).name
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def imported(package: str) -> set[str]:
    """What the package's code imports, anywhere, from outside this project and Python's own library."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        if path.name == "testing.py":  # for whoever runs the contract tests: it says that it needs pytest
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"snpimpute", "flows", "dashboards"}


def test_every_imputer_has_its_test():
    for name in imputers.names():
        text = (ROOT / "tests" / "imputers" / f"test_{name}.py").read_text()
        assert re.search(r"class Test\w+\(\w+Contract\):", text), name


def test_each_file_says_why_it_exists():
    for path in (ROOT / "snpimpute").rglob("*.py"):
        if path.stat().st_size:
            assert path.read_text().startswith('"""'), path


FILLED_STEP_BY_STEP = {"experiment/rows.py", "experiment/workspace.py", "io/haploid.py", "io/site_names.py"}


def test_results_stay_as_they_were_made_and_those_of_arrays_are_equal_to_themselves_alone():
    """`==` of two arrays is no yes or no: dataclasses that hold some are compared, and hashed, by which one they are."""
    for path in (ROOT / "snpimpute").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            made = [ast.unparse(d) for d in node.decorator_list if ast.unparse(d).startswith("dataclass")]
            held = [ast.unparse(part.annotation) for part in node.body if isinstance(part, ast.AnnAssign)]
            of_arrays = any(re.fullmatch(r"(np\.ndarray|pd\.DataFrame)( \| None)?", kind) for kind in held)
            for decorator in made:
                filled = str(path.relative_to(ROOT / "snpimpute")) in FILLED_STEP_BY_STEP
                assert filled or "frozen=True" in decorator, f"{path}: {node.name}"
                assert not of_arrays or "eq=False" in decorator, f"{path}: {node.name}"


@pytest.mark.parametrize("status", [0, 3])
def test_setup_says_how_large_it_is_and_how_far_it_is(tmp_path, status):
    """With a python in place of the environment's that answers as pip does, and fails as pip may."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    answers = "seq 1 60 | sed 's/^/Collecting package/'; echo Installing collected packages: a, b; exit " + str(status)
    python.write_text(f'#!/bin/sh\ncase "$*" in *version_info*) echo 3.11;; *pip*install*) {answers};; esac\n')
    python.chmod(0o755)
    command = ["sh", str(ROOT / "scripts" / "install-lock.sh"), str(python)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    )
    assert (done.returncode != 0) == (status != 0)
    lines = done.stdout.splitlines()
    assert re.search(
        rf"^setup: {len(locked())} packages into {tmp_path}/venv: about [\d.]+ GB to download and 5 GB", lines[0]
    )
    assert [line.split(" of ")[0] for line in lines[1:3]] == ["setup: 25", "setup: 50"] and "installing" in lines[3]
    assert bool(re.search(r"^setup: done: \S+ on the disk$", done.stdout, re.MULTILINE)) == (status == 0)
    assert list(tmp_path.iterdir()) == [tmp_path / "venv"], "no temporary file is left"
