"""The command line: reads what the user wants, calls the pipeline, shows what came of it. No science, no decisions."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snpimpute.errors import InputError
from snpimpute.runtime import QUIET

if TYPE_CHECKING:
    from snpimpute.config import ExperimentSettings
    from snpimpute.plan import Outcome

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Compare genotype imputers on your own VCF, honestly.",
)

Source = Annotated[
    Path,
    typer.Argument(help="An experiment (.toml), or genotypes: .vcf.gz, .bcf, or .bed with .bim and .fam beside it."),
]
Runs = Annotated[Path, typer.Option(help="Folder that everything is kept in.", envvar="SNPIMPUTE_RUNS")]
Imputers = Annotated[list[str] | None, typer.Option("--imputer", help="Only this imputer; may be given several times.")]
Region = Annotated[str | None, typer.Option(help="CONTIG or CONTIG:START-END; needs an index beside the file.")]
MaxSites = Annotated[int | None, typer.Option(help="Most sites to work on (500 if not given).")]
Samples = Annotated[
    Path | None,
    typer.Option(help="Sample table (TSV: sample, group, family, sex, birth_order; all but sample optional)."),
]
Trials = Annotated[int | None, typer.Option(help="Trials per study (50 if not given).")]
BudgetTime = Annotated[
    str | None, typer.Option("--budget", help="Time per study: 90s, 10m or 2h (10m if not given).", metavar="TIME")
]
Retune = Annotated[bool, typer.Option("--retune", help="Run the studies whose parameters were found before, too.")]
Datasets = Annotated[list[str] | None, typer.Option("--data", help="Only this dataset; may be given several times.")]
Registered = Annotated[bool, typer.Option("--registered", help="Score the registered models; train nothing.")]
Seed = Annotated[int | None, typer.Option(help="Of every random choice (1 if not given).")]
Threads = Annotated[int | None, typer.Option(help="Processor threads (all there are if not given).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def experiment(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    region: Region = None,
    max_sites: MaxSites = None,
    samples: Samples = None,
    trials: Trials = None,
    budget: BudgetTime = None,
    retune: Retune = False,
    data: Datasets = None,
    seed: Seed = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Do everything: prepare, tune, train, evaluate, compare. Run again, it takes up what is done.

    Examples:

      snpimpute experiment my.vcf.gz --region 28:1-2000000

      snpimpute experiment my.vcf.gz --samples bulls.tsv --trials 10 --imputer beagle --imputer bert

      snpimpute experiment experiments/demo.toml
    """
    settings = _settings(
        source, region, max_sites, samples, trials, budget, retune=retune, data=data, seed=seed, threads=threads
    )
    _finish(_run(settings, runs, "compare", imputer), as_json)


@app.command()
def prepare(
    source: Source,
    runs: Runs = Path("runs"),
    region: Region = None,
    max_sites: MaxSites = None,
    samples: Samples = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Read, filter, split by sample and choose what is hidden: makes the prepared dataset.

    Example:

      snpimpute prepare my.vcf.gz --region 28:1-2000000
    """
    _finish(_run(_settings(source, region, max_sites, samples, seed=seed), runs, "prepare"), as_json)


@app.command()
def tune(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    trials: Trials = None,
    budget: BudgetTime = None,
    retune: Retune = False,
    data: Datasets = None,
    as_json: AsJson = False,
) -> None:
    """Run the studies that look for the imputers' parameters, or go on with them where they were.

    Example:

      snpimpute tune experiments/demo.toml --imputer beagle --trials 100
    """
    _finish(
        _run(_settings(source, trials=trials, budget=budget, retune=retune, data=data), runs, "tune", imputer), as_json
    )


@app.command()
def train(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    data: Datasets = None,
    as_json: AsJson = False,
) -> None:
    """Fit the imputers on all of train, log and register them (prepares and tunes first, where that is not done).

    Example:

      snpimpute train experiments/demo.toml --imputer dense
    """
    _finish(_run(_settings(source, data=data), runs, "train", imputer), as_json)


@app.command()
def evaluate(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    data: Datasets = None,
    registered: Registered = False,
    as_json: AsJson = False,
) -> None:
    """Score the imputers on every test scenario: writes the tidy table of scores.

    With --registered nothing is trained: the models in the registry that were fitted on the dataset are scored and
    compared.

    Examples:

      snpimpute evaluate experiments/demo.toml

      snpimpute evaluate experiments/demo.toml --registered
    """
    settings = _settings(source, data=data)
    if not registered:
        _finish(_run(settings, runs, "evaluate", imputer), as_json)
        return
    from snpimpute.registered import evaluate_registered
    from snpimpute.watch import watch

    with watch() as watching:
        outcome = evaluate_registered(settings, runs, imputer, watching)
    _finish(outcome, as_json)


@app.command()
def compare(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    data: Datasets = None,
    as_json: AsJson = False,
) -> None:
    """Draw the report from the scores (and do first what it needs).

    Example:

      snpimpute compare experiments/demo.toml
    """
    _finish(_run(_settings(source, data=data), runs, "compare", imputer), as_json)


@app.command("imputers")
def list_imputers(as_json: AsJson = False) -> None:
    """List the imputers, each with the rows that it has in a report.

    Example:

      snpimpute imputers --json
    """
    from snpimpute import imputers

    rows: list[dict[str, Any]] = []
    for name in imputers.names():
        cls = imputers.load(name)
        rows.append(
            {
                "name": name,
                "description": cls.description,
                "framework": cls.framework,
                "parameters": cls.n_parameters(cls.Params(), 500),
                "tunable": cls.tunable(),
                "rows": list(cls.variants),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    width = max(map(len, imputers.names()))
    for row in rows:
        typer.echo(f"{row['name']:{width}}  {row['description']} [{', '.join(row['rows'])}]")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say which external programs and frameworks are there, with their versions.

    Example:

      snpimpute doctor
    """
    from snpimpute.runtime import installed

    rows = installed()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        for row in rows:
            typer.echo(f"{row['name']:14} {row['version'] or 'missing: ' + row['needed_for']}")
    if any(row["required"] and not row["version"] for row in rows):
        raise typer.Exit(1)


@app.command()
def dashboard(
    runs: Runs = Path("runs"),
    store: Annotated[
        str | None,
        typer.Option(help="MLflow store to read (the one in the folder of runs if not given).", metavar="URI"),
    ] = None,
    studies: Annotated[
        str | None, typer.Option(help="Database of Optuna studies to read beside the journals of runs.", metavar="URL")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8501,
) -> None:
    """Look at races, studies, calls and models in a browser; reads only. Ends with Ctrl+C.

    Example:

      snpimpute dashboard --port 8600
    """
    from dashboards.serve import serve

    serve(runs, store, studies, host, port)


@app.command(hidden=True)
def step(name: str, arguments: Path, attached: bool = False) -> None:
    """One step in a process of its own: what the pipeline starts."""
    from snpimpute.pipeline import do_step

    raise typer.Exit(do_step(name, arguments, attached))


# ---------------------------------------------------------------------- what the verbs share


def _settings(
    source: Path,
    region: str | None = None,
    max_sites: int | None = None,
    samples: Path | None = None,
    trials: int | None = None,
    budget: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
    retune: bool = False,
    data: list[str] | None = None,
) -> ExperimentSettings:
    """The experiment that the arguments describe: a TOML file's, or the default one on a genotype file."""
    from snpimpute import config

    if source.suffix == ".toml":
        given = {"--region": region, "--max-sites": max_sites, "--samples": samples}
        for option, value in given.items():
            if value is not None:
                raise InputError(f"{option} goes with a genotype file; in an experiment, write it into {source}")
        settings = config.read(source)
    else:
        settings = config.for_genotypes(source, region=region, max_sites=max_sites, samples=samples)
    seconds = None if budget is None else config.seconds_of(budget)
    return config.changed(
        settings, trials=trials, seconds=seconds, seed=seed, threads=threads, retune=retune, only_data=data
    )


def _run(settings: ExperimentSettings, runs: Path, until: str, only: list[str] | None = None) -> Outcome:
    from snpimpute import pipeline
    from snpimpute.watch import watch

    with watch() as watching:
        return pipeline.run(settings, runs, until, only, watching)


def _finish(outcome: Outcome, as_json: bool) -> None:
    """Show what came of it; exit status 1 if an imputer failed."""
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


def main() -> None:
    """Entry point: what the user can mend is one line and exit status 2."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except InputError as error:
        typer.echo(f"snpimpute: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("snpimpute: interrupted; run the same command again to go on", err=True)
        sys.exit(130)
