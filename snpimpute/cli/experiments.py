"""Verbs of an experiment: the whole experiment, or single steps."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from snpimpute.base.words import numbered
from snpimpute.cli.options import (
    AsJson,
    BudgetTime,
    Datasets,
    Imputers,
    ImputersFrom,
    Levels,
    MaxSites,
    MinCallRate,
    Name,
    Pedigree,
    Quick,
    Region,
    Registered,
    Retune,
    Runs,
    Samples,
    Seed,
    Source,
    Threads,
    Trials,
    Trust,
    Wait,
    WithConsequence,
    settings_for,
)

if TYPE_CHECKING:
    from snpimpute.experiment.rows import Outcome
    from snpimpute.experiment.settings import ExperimentSettings

app = typer.Typer()


@dataclass(frozen=True)
class Asked:
    """What the options of an experiment ask for: its settings, folder of runs, imputers to run, and form of the output."""

    settings: ExperimentSettings
    runs: Path
    only: list[str] | None
    as_json: bool


def asked(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    region: Region = None,
    max_sites: MaxSites = None,
    samples: Samples = None,
    pedigree: Pedigree = None,
    min_call_rate: MinCallRate = None,
    levels: Levels = None,
    name: Name = None,
    quick: Quick = False,
    trials: Trials = None,
    budget: BudgetTime = None,
    retune: Retune = False,
    data: Datasets = None,
    seed: Seed = None,
    threads: Threads = None,
    wait: Wait = None,
    consequence: WithConsequence = False,
    as_json: AsJson = False,
) -> Asked:
    """Return what these options ask for; all verbs of an experiment take them, so that each can go on with another's work."""
    settings = settings_for(
        source,
        region,
        max_sites,
        samples,
        min_call_rate,
        budget,
        wait,
        name=name,
        pedigree=pedigree,
        levels=levels,
        quick=quick,
        only=imputer,
        seed=seed,
        trials=trials,
        retune=retune,
        only_data=data,
        threads=threads,
        imputers_from=imputers_from,
        consequence=consequence,
    )
    return Asked(settings, runs, imputer, as_json)


def _with_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of `asked` before its own; its first argument receives what they ask for."""
    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        of_verb = {option.name: given.pop(option.name) for option in own}
        verb(asked(**given), **of_verb)

    shared = list(inspect.signature(asked, eval_str=True).parameters.values())
    run.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
    run.__annotations__ = {**asked.__annotations__, **verb.__annotations__}
    return run


@app.command()
@_with_options
def experiment(wanted: Asked) -> None:
    """Run a whole experiment: prepare, tune, train, evaluate, compare. The same command resumes it.

    Examples:

      snpimpute experiment my.vcf.gz --region 28:1-2000000

      snpimpute experiment my.vcf.gz --quick

      snpimpute experiment my.vcf.gz --samples bulls.tsv --trials 10 --imputer beagle --imputer bert

      snpimpute experiment experiments/demo.toml
    """
    run_until("compare", wanted)


@app.command()
def prepare(
    source: Source,
    runs: Runs = Path("runs"),
    region: Region = None,
    max_sites: MaxSites = None,
    samples: Samples = None,
    pedigree: Pedigree = None,
    min_call_rate: MinCallRate = None,
    levels: Levels = None,
    name: Name = None,
    quick: Quick = False,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Make the prepared dataset: read and filter genotypes, split the samples, choose the calls to hide.

    Example:

      snpimpute prepare my.vcf.gz --region 28:1-2000000
    """
    settings = settings_for(
        source,
        region,
        max_sites,
        samples,
        min_call_rate,
        name=name,
        pedigree=pedigree,
        levels=levels,
        quick=quick,
        seed=seed,
    )
    run_until("prepare", Asked(settings, runs, None, as_json))


@app.command()
@_with_options
def tune(wanted: Asked) -> None:
    """Run the studies that look for the imputers' parameters, or resume them.

    Example:

      snpimpute tune experiments/demo.toml --imputer beagle --trials 100
    """
    run_until("tune", wanted)


@app.command()
@_with_options
def train(wanted: Asked) -> None:
    """Fit the imputers on all of train, log and register them; prepare and tune first if necessary.

    Example:

      snpimpute train experiments/demo.toml --imputer dense
    """
    run_until("train", wanted)


@app.command()
@_with_options
def evaluate(wanted: Asked, registered: Registered = False, trust: Trust = False) -> None:
    """Score the imputers on every test scenario, and write the tidy table of scores.

    With --registered nothing is trained: the registered models that were fitted on the dataset are scored and compared.

    Examples:

      snpimpute evaluate experiments/demo.toml

      snpimpute evaluate experiments/demo.toml --registered
    """
    if not registered:
        run_until("evaluate", wanted)
        return
    from snpimpute.base.progress import watch
    from snpimpute.experiment.registered import evaluate_registered

    with watch() as watching:
        outcome = evaluate_registered(wanted.settings, wanted.runs, wanted.only, watching, trust)
    if not wanted.as_json:
        for name, dones in outcome.rows.items():
            labels = ", ".join(done.row.label for done in dones if not done.failed)
            models = numbered(sum(not done.failed for done in dones), "registered model")
            typer.echo(f"scored {models} of {name}, nothing was trained: {labels or 'none'}")
    _finish(outcome, wanted.as_json)


@app.command()
@_with_options
def compare(wanted: Asked) -> None:
    """Write the report from the scores; run the earlier steps first if necessary.

    Example:

      snpimpute compare experiments/demo.toml
    """
    run_until("compare", wanted)


def run_until(step: str, wanted: Asked) -> None:
    """Run an experiment up to a step, and print the results; exit with status 1 if an imputer failed."""
    from snpimpute.base.progress import watch
    from snpimpute.experiment import pipeline

    with watch() as watching:
        outcome = pipeline.run(wanted.settings, wanted.runs, step, wanted.only, watching)
    _finish(outcome, wanted.as_json)


def _finish(outcome: Outcome, as_json: bool) -> None:
    """Print the results; exit with status 1 if an imputer failed."""
    if as_json:
        typer.echo(json.dumps(_as_json(outcome), indent=1))
    else:
        for name, folder in outcome.datasets.items():
            typer.echo(f"dataset {name}: {folder}")
        for name, dones in outcome.rows.items():
            for done in dones:
                if done.tuned is not None and done.tuned.study:
                    counted = f"{numbered(done.tuned.trials, 'trial')}, ended by {done.tuned.ended_by}"
                    typer.echo(f"study {done.row.label} on {name}: {counted}")
        for name, path in outcome.scores.items():
            typer.echo(f"scores {name}: {path}")
        for name, path in outcome.conclusions.items():
            typer.echo(f"conclusions {name}: {path}")
        for name, table in outcome.tables.items():
            typer.echo(f"\n{name}\n{table.to_string(index=False)}\n")
        for failure in outcome.failures:
            typer.echo(f"failed: {failure}")
        if outcome.mlflow_uri:
            typer.echo(f"runs: mlflow ui --backend-store-uri {outcome.mlflow_uri}")
        for name, link in outcome.comparison_links.items():
            typer.echo(f"compare {name}: {link}")
        if outcome.report:
            typer.echo(f"report: {outcome.report}")
    if outcome.failures:
        raise typer.Exit(1)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "datasets": {name: str(folder) for name, folder in outcome.datasets.items()},
        "scores": {name: str(path) for name, path in outcome.scores.items()},
        "conclusions": {name: str(path) for name, path in outcome.conclusions.items()},
        "tables": {name: json.loads(table.to_json(orient="records")) for name, table in outcome.tables.items()},
        "report": outcome.report and str(outcome.report),
        "mlflow_uri": outcome.mlflow_uri,
        "comparison_links": outcome.comparison_links,
        "failures": outcome.failures,
    }
