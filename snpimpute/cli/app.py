"""The command line: reads what the user wants, calls the pipeline, shows what came of it. No science, no decisions."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snpimpute.base.errors import InputError
from snpimpute.base.files import no_room
from snpimpute.base.processes import QUIET

if TYPE_CHECKING:
    from snpimpute.experiment.rows import Outcome
    from snpimpute.experiment.settings import ExperimentSettings
    from snpimpute.tracking.writer import Tracker

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
ImputersFrom = Annotated[
    list[Path] | None,
    typer.Option("--imputers-from", help="Folder with descriptions of more imputers; may be given several times."),
]
Region = Annotated[
    str | None, typer.Option(help="CONTIG or CONTIG:START-END, several joined by ';'; needs an index beside the file.")
]
MaxSites = Annotated[int | None, typer.Option(help="Most sites to work on (500 if not given).")]
Samples = Annotated[
    Path | None,
    typer.Option(help="Sample table (TSV: sample, group, family, sex, birth_order; all but sample optional)."),
]
SampleTable = Annotated[
    Path | None,
    typer.Option("--samples", help="Sample table (TSV: sample, group, sire, dam; all but sample optional)."),
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
    imputers_from: ImputersFrom = None,
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
        source,
        region,
        max_sites,
        samples,
        trials,
        budget,
        retune=retune,
        data=data,
        seed=seed,
        threads=threads,
        imputers_from=imputers_from,
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
    imputers_from: ImputersFrom = None,
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
    settings = _settings(source, trials=trials, budget=budget, retune=retune, data=data, imputers_from=imputers_from)
    _finish(_run(settings, runs, "tune", imputer), as_json)


@app.command()
def train(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    data: Datasets = None,
    as_json: AsJson = False,
) -> None:
    """Fit the imputers on all of train, log and register them (prepares and tunes first, where that is not done).

    Example:

      snpimpute train experiments/demo.toml --imputer dense
    """
    _finish(_run(_settings(source, data=data, imputers_from=imputers_from), runs, "train", imputer), as_json)


@app.command()
def evaluate(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
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
    settings = _settings(source, data=data, imputers_from=imputers_from)
    if not registered:
        _finish(_run(settings, runs, "evaluate", imputer), as_json)
        return
    from snpimpute.base.progress import watch
    from snpimpute.experiment.registered import evaluate_registered

    with watch() as watching:
        outcome = evaluate_registered(settings, runs, imputer, watching)
    _finish(outcome, as_json)


@app.command()
def compare(
    source: Source,
    runs: Runs = Path("runs"),
    imputer: Imputers = None,
    imputers_from: ImputersFrom = None,
    data: Datasets = None,
    as_json: AsJson = False,
) -> None:
    """Draw the report from the scores (and do first what it needs).

    Example:

      snpimpute compare experiments/demo.toml
    """
    _finish(_run(_settings(source, data=data, imputers_from=imputers_from), runs, "compare", imputer), as_json)


@app.command()
def check(
    target: Annotated[Path, typer.Argument(help="Genotypes to be imputed: .vcf.gz, .bcf or PLINK 1 .bed.")],
    panel: Annotated[Path, typer.Option(help="Genotypes to learn from, in one of the same formats.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for qc.html (TARGET.check if not given).")
    ] = None,
    samples: SampleTable = None,
    as_json: AsJson = False,
) -> None:
    """Hold a target against a panel before it is imputed: build, contigs, alleles, strands, calls, frequencies, parents.

    Writes qc.html, excluded.tsv (the sites left out, and why) and samples.tsv. Exit status 1 if the target cannot be
    imputed as it is.

    Examples:

      snpimpute check mine.vcf.gz --panel panel.vcf.gz

      snpimpute check mine.vcf.gz --panel panel.bcf --samples bulls.tsv -o checked
    """
    from snpimpute.base.files import require_writable
    from snpimpute.impute.check import PanelSites, check_target
    from snpimpute.io.read import stem
    from snpimpute.io.samples import read_samples
    from snpimpute.report.check import as_dict, verdict, write_check

    folder = output or Path(f"{stem(target)}.check")
    require_writable(folder)
    table = None if samples is None else read_samples(samples)
    found = check_target(target, PanelSites.of_file(panel), samples=table)
    page = write_check(found, folder)
    if as_json:
        typer.echo(json.dumps(as_dict(found) | {"page": str(page)}, indent=1))
    else:
        typer.echo(verdict(found))
        for line in found.problems:
            typer.echo(f"problem: {line}")
        for line in found.warnings:
            typer.echo(f"note: {line}")
        typer.echo(f"page: {page}\nsites left out: {page.with_name('excluded.tsv')}")
    if found.problems:
        raise typer.Exit(1)


@app.command()
def concordance(
    truth: Annotated[Path, typer.Argument(help="The true genotypes: .vcf.gz, .bcf or PLINK 1 .bed.")],
    imputed: Annotated[Path, typer.Argument(help="The imputed ones: GT, and where there are DS and GP.")],
    typed: Annotated[
        Path | None,
        typer.Option(help="What was known before: genotypes, or a list of sites. It is not scored."),
    ] = None,
    samples: SampleTable = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for concordance.html and tables.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare an imputed file with the truth: by sample, site, allele frequency and group, and whether DR2 is right.

    Examples:

      snpimpute concordance truth.bcf imputed.bcf --typed target.bcf -o compared

      snpimpute concordance truth.vcf.gz imputed.vcf.gz --json
    """
    from snpimpute.base.files import require_writable
    from snpimpute.impute.concordance import compare_files
    from snpimpute.io.samples import read_samples
    from snpimpute.report.concordance import as_dict, bins_as_text, summary, write_concordance

    if output is not None:
        require_writable(output)
    table = None if samples is None else read_samples(samples)
    found = compare_files(truth, imputed, typed=typed, samples=table)
    page = None if output is None else write_concordance(found, output)
    if as_json:
        typer.echo(json.dumps(as_dict(found) | {"page": page and str(page)}, indent=1))
        return
    for line in summary(found):
        typer.echo(line)
    typer.echo(f"\n{bins_as_text(found)}")
    if page is not None:
        typer.echo(f"\npage: {page}")


@app.command()
def fit(
    panel: Annotated[
        Path, typer.Argument(help="Reference panel: .vcf.gz, .bcf, or .bed with .bim and .fam beside it.")
    ],
    imputer: Annotated[str, typer.Option(help="What is fitted; see snpimpute imputers.")] = "softmax_regression",
    imputers_from: ImputersFrom = None,
    name: Annotated[str | None, typer.Option(help="Of the model (the panel's file name if not given).")] = None,
    region: Region = None,
    samples: Samples = None,
    params: Annotated[Path | None, typer.Option(help="Parameters (TOML), as a study wrote them.")] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="Genetic map, PLINK format (contig, id, cM, pos).")
    ] = None,
    window: Annotated[str, typer.Option(help="Length of a window: 500 (sites) or 5cM.")] = "500",
    overlap: Annotated[str, typer.Option(help="What windows have in common with the next, at least 25%.")] = "25%",
    holdout: Annotated[
        str, typer.Option(help="Share of the samples to measure the model on; 0% measures nothing.")
    ] = "10%",
    typed_sites: Annotated[
        Path | None,
        typer.Option(
            help="Sites that targets will have: a list (contig:pos or id a line), or a target (VCF, BCF, PLINK 1)."
        ),
    ] = None,
    measure: Annotated[int, typer.Option(help="Windows that are measured; 0 for all.")] = 6,
    trials: Annotated[int, typer.Option(help="Trials of a study that looks for parameters; 0 for no study.")] = 0,
    budget: BudgetTime = None,
    runs: Runs = Path("runs"),
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 1,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Fit an imputer to a whole panel, window by window; measure, log and register it. Run again, it goes on.

    Examples:

      snpimpute fit panel.vcf.gz

      snpimpute fit panel.vcf.gz --imputer beagle --map chr28.map --typed-sites chip.txt --holdout 20%
    """
    from snpimpute import imputers
    from snpimpute.base.progress import watch
    from snpimpute.experiment import settings as config
    from snpimpute.impute.fit import FitSettings
    from snpimpute.impute.fit import fit as fit_panel
    from snpimpute.tuning.parameters import given_params

    imputers.look_in(imputers_from or [])
    settings = FitSettings(
        panel=panel,
        name=name or config.name_of(panel),
        imputer=imputer,
        params={} if params is None else given_params(params),
        region=region,
        samples=samples,
        window=window,
        overlap=_share(overlap, "--overlap"),
        genetic_map=map_file,
        holdout=_share(holdout, "--holdout"),
        typed=typed_sites,
        pilots=measure,
        trials=trials,
        seconds=600.0 if budget is None else config.seconds_of(budget),
        seed=seed,
        threads=threads or len(os.sched_getaffinity(0)),
    )
    with watch() as watching:
        fitted = fit_panel(settings, runs, _tracker(runs), watching)
    if as_json:
        told = {"model": str(fitted.folder), "registered": fitted.registered}
        typer.echo(json.dumps({**told, "scores": json.loads(fitted.scores.to_json(orient="records"))}, indent=1))
        return
    shown = fitted.scores[
        fitted.scores.subset.isin(["all", "rare"]) & fitted.scores.metric.isin(["f1_macro", "dosage_r2"])
    ]
    if len(shown):
        typer.echo(f"on the samples held out (95% intervals)\n{shown.round(4).to_string(index=False)}\n")
    typer.echo(f"model: {fitted.folder}\nregistered: {fitted.registered}")


@app.command()
def impute(
    target: Annotated[Path, typer.Argument(help="Genotypes with holes: .vcf.gz, .bcf, or .bed with .bim and .fam.")],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="File to write: .vcf.gz, .vcf, .bcf, .bed or .pgen; - for standard output."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="A model's folder, or NAME, NAME@ALIAS or NAME/VERSION of the registry.")
    ] = None,
    no_panel: Annotated[bool, typer.Option("--no-panel", help="Learn from the target alone.")] = False,
    imputer: Annotated[
        str, typer.Option(help="With --no-panel: simpute, ld_knn or beagle (phased jointly).")
    ] = "simpute",
    imputers_from: ImputersFrom = None,
    keep_fields: Annotated[bool, typer.Option("--keep-fields", help="Keep other INFO and FORMAT fields.")] = False,
    runs: Runs = Path("runs"),
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Fill the holes of a genotype file, and the sites that it lacks and the model has.

    Examples:

      snpimpute impute target.vcf.gz -o imputed.vcf.gz

      snpimpute impute target.vcf.gz -o imputed.bcf --model panel@champion

      snpimpute impute target.vcf.gz -o imputed.vcf.gz --no-panel
    """
    import shlex

    from snpimpute import imputers
    from snpimpute.base.progress import watch
    from snpimpute.impute.run import ImputeSettings, impute_file

    if model is not None and no_panel:
        raise InputError("--model and --no-panel exclude each other")
    imputers.look_in(imputers_from or [])
    folder, version = (None, "") if no_panel else _model(model, runs)
    settings = ImputeSettings(
        target=target,
        output=None if output == "-" else Path(output),
        model=folder,
        version=version,
        imputer=imputer,
        params={"mode": "joint"} if imputer == "beagle" else {},
        keep_fields=keep_fields,
        threads=threads or len(os.sched_getaffinity(0)),
        command=shlex.join(["snpimpute", *sys.argv[1:]]),
    )
    with watch() as watching:
        outcome = impute_file(settings, runs, watching)
    told = {key: value for key, value in vars(outcome).items() if key != "check"}
    typer.echo(json.dumps(told, indent=1, default=str) if as_json else "\n".join(outcome.told()), err=output == "-")


models = typer.Typer(no_args_is_help=True, help="Registered models of whole panels: list, compare, promote, roll back.")
app.add_typer(models, name="models")
ModelName = Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION; NAME alone is its champion.")]


@models.command("list")
def list_models(runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """List the models that snpimpute fit made.

    Example:

      snpimpute models list
    """
    from snpimpute.impute.champions import listed

    table = listed(_tracker(runs))
    if as_json:
        typer.echo(table.to_json(orient="records", indent=1))
    else:
        typer.echo(table.to_string(index=False) if len(table) else "no model is registered: snpimpute fit makes one")


@models.command("compare")
def compare_models(first: ModelName, second: ModelName, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Hold two models against each other on the samples that both were measured on.

    Example:

      snpimpute models compare panel@champion panel/3
    """
    from snpimpute.impute.champions import compare, fetched, find

    tracker = _tracker(runs)
    one, other = (fetched(tracker, find(tracker, name), runs) for name in (first, second))
    table = compare(one, other)
    typer.echo(table.to_json(orient="records", indent=1) if as_json else table.round(4).to_string(index=False))


@models.command("promote")
def promote_model(name: ModelName, runs: Runs = Path("runs")) -> None:
    """Make a model the champion of its name, if it is better with its whole interval.

    Example:

      snpimpute models promote panel/3
    """
    from snpimpute.impute.champions import promote

    typer.echo(promote(_tracker(runs), name, runs))


@models.command("rollback")
def roll_back(name: ModelName, runs: Runs = Path("runs")) -> None:
    """Give a name the champion back that it had before the last move.

    Example:

      snpimpute models rollback panel
    """
    from snpimpute.impute.champions import rollback

    typer.echo(rollback(_tracker(runs), name))


@app.command("imputers")
def list_imputers(imputers_from: ImputersFrom = None, as_json: AsJson = False) -> None:
    """List the imputers, each with the rows that it has in a report.

    Example:

      snpimpute imputers --json
    """
    from snpimpute import imputers

    imputers.look_in(imputers_from or [])
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
    from snpimpute.base.programs import installed

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
    from snpimpute.base.processes import do_step

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
    imputers_from: list[Path] | None = None,
) -> ExperimentSettings:
    """The experiment that the arguments describe: a TOML file's, or the default one on a genotype file."""
    from snpimpute.experiment import settings as config

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
        settings,
        trials=trials,
        seconds=seconds,
        seed=seed,
        threads=threads,
        retune=retune,
        only_data=data,
        imputers_from=imputers_from,
    )


def _share(text: str, option: str) -> float:
    """A share given as 10% or 0.1."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"{option} {text!r} is no share: give 10% or 0.1") from None


def _tracker(runs: Path) -> Tracker:
    from snpimpute.tracking.connect import tracking_uri
    from snpimpute.tracking.writer import Tracker

    return Tracker(tracking_uri(None, runs), runs)


def _model(model: str | None, runs: Path) -> tuple[Path, str]:
    """A model's folder and its version: a folder that is named, which has no version, or a registered model, fetched."""
    if model is not None and Path(model).is_dir():
        return Path(model), ""
    from snpimpute.impute.champions import fetched, find

    tracker = _tracker(runs)
    found = find(tracker, model)
    return fetched(tracker, found, runs).folder, found.version


def _run(settings: ExperimentSettings, runs: Path, until: str, only: list[str] | None = None) -> Outcome:
    from snpimpute.base.progress import watch
    from snpimpute.experiment import pipeline

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
    except OSError as error:
        if not (why := no_room(error)):
            raise
        where = f"cannot write {error.filename}: " if error.filename else ""
        typer.echo(f"snpimpute: {where}{why}; make room, and run the same command again to go on", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("snpimpute: interrupted; run the same command again to go on", err=True)
        sys.exit(130)
