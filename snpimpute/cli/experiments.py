"""Verbs of an experiment: the whole experiment, or single steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from snpimpute.cli.options import (
    AsJson,
    BudgetTime,
    Datasets,
    Imputers,
    ImputersFrom,
    MaxSites,
    MinCallRate,
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
    settings_for,
)

if TYPE_CHECKING:
    from snpimpute.experiment.rows import Outcome
    from snpimpute.experiment.settings import ExperimentSettings

app = typer.Typer()


@app.command()
def experiment(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    region: Region = None,
    max_sites: MaxSites = None,
    samples: Samples = None,
    min_call_rate: MinCallRate = None,
    trials: Trials = None,
    budget: BudgetTime = None,
    retune: Retune = False,
    data: Datasets = None,
    seed: Seed = None,
    threads: Threads = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole experiment: prepare, tune, train, evaluate, compare. The same command resumes it.

    Examples:

      snpimpute experiment my.vcf.gz --region 28:1-2000000

      snpimpute experiment my.vcf.gz --samples bulls.tsv --trials 10 --imputer beagle --imputer bert

      snpimpute experiment experiments/demo.toml
    """
    settings = settings_for(
        source,
        region,
        max_sites,
        samples,
        min_call_rate,
        budget,
        trials=trials,
        retune=retune,
        only_data=data,
        seed=seed,
        threads=threads,
        imputers_from=imputers_from,
        wait=wait,
    )
    _finish(_run(settings, runs, "compare", imputer), as_json)


@app.command()
def prepare(
    source: Source,
    runs: Runs = Path("runs"),
    region: Region = None,
    max_sites: MaxSites = None,
    samples: Samples = None,
    min_call_rate: MinCallRate = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Make the prepared dataset: read and filter genotypes, split the samples, choose the calls to hide.

    Example:

      snpimpute prepare my.vcf.gz --region 28:1-2000000
    """
    settings = settings_for(source, region, max_sites, samples, min_call_rate, seed=seed)
    _finish(_run(settings, runs, "prepare"), as_json)


@app.command()
def tune(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    trials: Trials = None,
    budget: BudgetTime = None,
    retune: Retune = False,
    data: Datasets = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Run the studies that look for the imputers' parameters, or resume them.

    Example:

      snpimpute tune experiments/demo.toml --imputer beagle --trials 100
    """
    settings = settings_for(
        source, trials=trials, budget=budget, retune=retune, only_data=data, imputers_from=imputers_from, wait=wait
    )
    _finish(_run(settings, runs, "tune", imputer), as_json)


@app.command()
def train(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    data: Datasets = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Fit the imputers on all of train, log and register them; prepare and tune first if necessary.

    Example:

      snpimpute train experiments/demo.toml --imputer dense
    """
    _finish(
        _run(settings_for(source, only_data=data, imputers_from=imputers_from, wait=wait), runs, "train", imputer),
        as_json,
    )


@app.command()
def evaluate(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    data: Datasets = None,
    registered: Registered = False,
    trust: Trust = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Score the imputers on every test scenario, and write the tidy table of scores.

    With --registered nothing is trained: the registered models that were fitted on the dataset are scored and compared.

    Examples:

      snpimpute evaluate experiments/demo.toml

      snpimpute evaluate experiments/demo.toml --registered
    """
    settings = settings_for(source, only_data=data, imputers_from=imputers_from, wait=wait)
    if not registered:
        _finish(_run(settings, runs, "evaluate", imputer), as_json)
        return
    from snpimpute.base.progress import watch
    from snpimpute.experiment.registered import evaluate_registered

    with watch() as watching:
        outcome = evaluate_registered(settings, runs, imputer, watching, trust)
    _finish(outcome, as_json)


@app.command()
def compare(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    data: Datasets = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Write the report from the scores; run the earlier steps first if necessary.

    Example:

      snpimpute compare experiments/demo.toml
    """
    _finish(
        _run(settings_for(source, only_data=data, imputers_from=imputers_from, wait=wait), runs, "compare", imputer),
        as_json,
    )


def _run(settings: ExperimentSettings, runs: Path, until: str, only: list[str] | None = None) -> Outcome:
    from snpimpute.base.progress import watch
    from snpimpute.experiment import pipeline

    with watch() as watching:
        return pipeline.run(settings, runs, until, only, watching)


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
                    counted = f"{done.tuned.trials} trials, ended by {done.tuned.ended_by}"
                    typer.echo(f"study {done.row.label} on {name}: {counted}")
        for name, path in outcome.scores.items():
            typer.echo(f"scores {name}: {path}")
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
        "tables": {name: json.loads(table.to_json(orient="records")) for name, table in outcome.tables.items()},
        "report": outcome.report and str(outcome.report),
        "mlflow_uri": outcome.mlflow_uri,
        "comparison_links": outcome.comparison_links,
        "failures": outcome.failures,
    }
