"""The project's own promises: the README's commands exist, the lock holds what is needed, the experiments are valid."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from snpimpute import imputers
from snpimpute.cli import app as cli
from snpimpute.experiment import settings as config
from snpimpute.experiment.rows import plan

ROOT = Path(__file__).parents[1]
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


def test_the_experiment_of_the_readme_is_valid():
    (text,) = [block for kind, block in BLOCKS if kind == "toml"]
    settings = config.parse(tomllib.loads(text), "README")
    assert "dense/inputs-visible" in [row.label for row in plan(settings)]


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.toml")), ids=lambda p: p.stem)
def test_experiments_are_valid(path, monkeypatch):
    monkeypatch.setenv("SNPIMPUTE_PANELS", "/panels")
    compared = {row.imputer for row in plan(config.read(path))}
    assert {"mode", "beagle"} <= compared
    if path.stem == "smoke":
        assert compared == set(imputers.names()), "the smoke experiment has every imputer"


def test_the_lock_pins_every_dependency():
    pins = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name, version = re.match(r"([A-Za-z0-9._-]+?)(?:==(.*)|[<>].*)?$", wanted).groups()
        assert name in pins, f"{name} is not in requirements.lock: make lock"
        assert version is None or pins[name] == version


def test_every_imputer_has_its_test():
    for name in imputers.names():
        text = (ROOT / "tests" / "imputers" / f"test_{name}.py").read_text()
        assert re.search(r"class Test\w+\(\w+Contract\):", text), name


def test_each_file_says_why_it_exists():
    for path in (ROOT / "snpimpute").rglob("*.py"):
        if path.stat().st_size:
            assert path.read_text().startswith('"""'), path
