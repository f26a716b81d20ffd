"""What users have written into scripts stays: verbs, options and defaults, TOML keys, entry points, flows."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from snpimpute.cli.app import app, narrowed
from snpimpute.experiment.settings import ExperimentSettings

ROOT = Path(__file__).parents[1]
KEPT = json.loads((ROOT / "tests" / "data" / "surface.json").read_text())
FLOWS = {
    "prepare": "(config, runs='runs')",
    "tune": "(config, runs='runs', imputers=None, data=None, trials=None, budget=None, retune=False, cluster=None)",
    "train": "(config, runs='runs', imputers=None, data=None, cluster=None)",
    "consequence": "(config, runs='runs', imputers=None, data=None, cluster=None)",
    "compare": "(config, runs='runs', imputers=None, data=None, cluster=None)",
    "retrain": (
        "(panel, name, imputer='auto', runs='runs', typed_sites=None, samples=None, window=None, holdout=0.1, seed=1, "
        "cluster=None)"
    ),
    "traits": (
        "(genotypes, table, trait, predictors=None, covariates=None, scheme='random', folds=5, repeats=1, runs='runs', "
        "seed=1, pcs=0, params=None)"
    ),
    "experiment": "(config, runs='runs', imputers=None, data=None, trials=None, budget=None, retune=False, cluster=None)",
}


def verbs(command: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, verb in sorted(command.commands.items()):
        if hasattr(verb, "commands"):
            found |= verbs(verb, f"{prefix}{name} ")
        elif not verb.hidden:
            found[prefix + name] = {
                p.name: {
                    "opts": sorted(p.opts + p.secondary_opts),
                    "default": repr(p.default),
                    "required": p.required,
                    "multiple": getattr(p, "multiple", False),
                    "kind": p.param_type_name,
                    "envvar": p.envvar,
                }
                for p in verb.params
                if p.name != "help"
            }
    return found


def without_prose(node: Any) -> Any:
    if isinstance(node, dict):
        prose = {key for key in ("description", "title") if isinstance(node.get(key), str)}
        return {key: without_prose(value) for key, value in node.items() if key not in prose}
    return [without_prose(value) for value in node] if isinstance(node, list) else node


def test_no_verb_option_or_default_has_gone_or_changed():
    now = verbs(get_command(app))
    for verb, options in KEPT["verbs"].items():
        assert {name: now[verb].get(name) for name in options} == options, verb


def test_a_verb_that_is_read_alone_is_as_among_all():
    whole = get_command(app)
    for name, verb in whole.commands.items():
        alone = get_command(narrowed([name, "--help"]))
        assert list(alone.commands) == [name] and type(alone.commands[name]) is type(verb)
        assert alone.commands[name].help == verb.help
        assert [p.name for p in alone.params] == [p.name for p in whole.params]
    of_all = verbs(whole)
    assert {k: v for name in whole.commands for k, v in verbs(get_command(narrowed([name]))).items()} == of_all
    for words in ([], ["--version"], ["no-such-verb"], ["--help", "check"]):
        assert narrowed(words) is app


def test_no_key_of_the_configuration_has_gone_or_changed():
    now = json.loads(json.dumps(without_prose(ExperimentSettings.model_json_schema())))
    tables = {"ExperimentSettings": KEPT["configuration"], **KEPT["configuration"]["$defs"]}
    for table, kept in tables.items():
        current = now if table == "ExperimentSettings" else now["$defs"][table]
        for key, value in kept["properties"].items():
            assert current["properties"][key] == value, f"{table}.{key}"


@pytest.mark.parametrize("name", FLOWS)
def test_flows_and_their_deployments_stay(name: str):
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(flow.fn).parameters.values()]
    assert str(inspect.Signature(parameters)) == FLOWS[name] and flow.name == name
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {"name": "local", "entrypoint": f"flows/{name}.py:{name}"}.items() <= next(
        entry.items() for entry in deployed if entry["entrypoint"].endswith(f":{name}")
    )


def test_entry_points_of_the_project_stay():
    entries = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    assert set(entries) == {"main", "prepare", "tune", "train", "evaluate", "compare", "consequence", "traits"}
    assert set(entries.pop("traits")["parameters"]) == {"genotypes", "traits", "trait", "runs"}
    assert all(set(entry["parameters"]) == {"config", "runs"} for entry in entries.values())
