"""Verbs on registered models of whole panels and of traits: list, compare, promote, rollback; baseline, watch, export, shadow, serve."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snpimpute.base.errors import InputError
from snpimpute.base.words import numbered
from snpimpute.cli.options import (
    AsJson,
    Force,
    ModelName,
    OnEngine,
    Runs,
    Samples,
    Threads,
    here,
    model_folder,
    open_store,
    share_of,
    tell,
)

if TYPE_CHECKING:
    from snpimpute.impute.watching import Batch
    from snpimpute.tracking.writer import Tracker

app = typer.Typer(
    no_args_is_help=True,
    help="Registered models of whole panels: list, compare, promote, roll back, watch for drift, export, serve.",
)
BREACH = 3  # exit status


@app.command("list")
def list_models(runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """List the registered models that snpimpute fit and snpimpute traits fit made.

    Example:

      snpimpute models list
    """
    from snpimpute.impute.champions import model_table
    from snpimpute.traits import champions as of_traits

    tracker = open_store(runs)
    tables = [table for table in (model_table(tracker), of_traits.model_table(tracker)) if len(table)]
    if as_json:
        typer.echo(
            json.dumps([row for table in tables for row in json.loads(table.to_json(orient="records"))], indent=1)
        )
    elif tables:
        typer.echo("\n\n".join(table.to_string(index=False, na_rep="–") for table in tables))
    else:
        typer.echo("no model is registered: snpimpute fit makes one, and of a trait snpimpute traits fit")


@app.command("compare")
def compare_models(first: ModelName, second: ModelName, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Compare two models on the held-out samples that both were measured on; of a trait, on the folds.

    Examples:

      snpimpute models compare panel@champion panel/3

      snpimpute models compare milk-trait milk-trait/2
    """
    from snpimpute.impute.champions import compare, fetch_model, find_model
    from snpimpute.traits import champions as of_traits

    tracker = open_store(runs)
    if is_of_trait(tracker, first):
        table = of_traits.compare(tracker, first, second, runs)
    else:
        one, other = (fetch_model(tracker, find_model(tracker, name), runs) for name in (first, second))
        table = compare(one, other)
    typer.echo(table.to_json(orient="records", indent=1) if as_json else table.round(4).to_string(index=False))


@app.command("promote")
def promote_model(
    name: ModelName,
    by_shadow: Annotated[
        bool, typer.Option("--by-shadow", help="Judge by the requests that a server imputed by both models.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it even if it is not shown to be better; the record says so.")
    ] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Make a model the champion of its name, if the whole interval of the difference shows that it is better.

    Examples:

      snpimpute models promote panel/3

      snpimpute models promote panel/3 --by-shadow

      snpimpute models promote milk-trait/2
    """
    from snpimpute.impute.champions import promote
    from snpimpute.impute.paired import promote_by_requests
    from snpimpute.traits import champions as of_traits

    tracker = open_store(runs)
    if not is_of_trait(tracker, name):
        typer.echo((promote_by_requests if by_shadow else promote)(tracker, name, runs, force))
        return
    if by_shadow:
        raise InputError(f"{name} predicts a trait, and imputes no requests in the shadow: leave out --by-shadow")
    typer.echo(of_traits.promote(tracker, name, runs, force))


@app.command("rollback")
def roll_back(name: ModelName, runs: Runs = Path("runs")) -> None:
    """Give a name back the champion that it had before the last move.

    Example:

      snpimpute models rollback panel
    """
    from snpimpute.impute.champions import rollback
    from snpimpute.traits import champions as of_traits

    tracker = open_store(runs)
    typer.echo((of_traits.rollback if is_of_trait(tracker, name) else rollback)(tracker, name))


@app.command("baseline")
def make_baseline(
    name: ModelName,
    panel: Annotated[Path, typer.Argument(help="The panel that the model was fitted to.")],
    typed_sites: Annotated[
        Path | None,
        typer.Option(
            help="Sites that targets have: a list, or a target (VCF, BCF, PLINK); all of the model's if not given."
        ),
    ] = None,
    samples: Samples = None,
    holdout: Annotated[
        str, typer.Option(help="Share of the panel's samples that stand for a batch without drift.")
    ] = "20%",
    hide: Annotated[str, typer.Option(help="Share of the typed sites that are hidden on purpose.")] = "10%",
    measure: Annotated[int, typer.Option(help="Number of windows to impute in; 0 for all.")] = 6,
    force: Force = False,
    runs: Runs = Path("runs"),
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 1,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Compute, once, what the batches of a model are compared with: its panel's frequencies, components, held-out samples.

    Example:

      snpimpute models baseline panel panel.vcf.gz --typed-sites chip.txt
    """
    from snpimpute.base.progress import watch
    from snpimpute.impute.baseline import BaselineSettings
    from snpimpute.impute.watching import keep_baseline
    from snpimpute.io.store import fetched

    settings = BaselineSettings(
        panel=fetched(panel, runs),
        typed=here(typed_sites, runs),
        samples=here(samples, runs),
        holdout=share_of(holdout, "--holdout"),
        hide=share_of(hide, "--hide"),
        windows=measure,
        seed=seed,
        threads=threads or len(os.sched_getaffinity(0)),
    )
    with watch() as watching:
        folder, baseline = keep_baseline(open_store(runs, watching), name, settings, runs, force, watching)
    means = baseline.reference.mean().round(4)
    if as_json:
        about = {"baseline": str(folder), "samples": len(baseline.reference), "typed_sites": len(baseline.typed)}
        typer.echo(json.dumps({**about, "judged_sites": len(baseline.judged), "expected": means.to_dict()}, indent=1))
        return
    typer.echo(f"of {len(baseline.reference)} samples held out, {len(baseline.typed)} sites typed\n{means.to_string()}")
    typer.echo(f"baseline: {folder}")


@app.command("watch")
def watch_model(
    name: ModelName,
    targets: Annotated[list[Path], typer.Argument(help="Batches of samples: .vcf.gz, .bcf, or PLINK's .bed or .pgen.")],
    settings: Annotated[Path | None, typer.Option(help="Thresholds (TOML); the defaults if not given.")] = None,
    retrain: Annotated[
        str | None,
        typer.Option(help="Prefect deployment that a breach starts, as retrain/local.", metavar="DEPLOYMENT"),
    ] = None,
    runs: Runs = Path("runs"),
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Test batches for drift: frequencies, calls, components, posteriors, and accuracy at typed calls hidden on purpose.

    Figures are kept in a table beside the model's baseline and in MLflow. The exit status is 3 if a figure is beyond its
    threshold.

    Examples:

      snpimpute models watch panel monday.vcf.gz tuesday.vcf.gz

      snpimpute models watch panel@champion monday.vcf.gz --settings watch.toml --retrain retrain/local
    """
    from snpimpute.base.progress import watch
    from snpimpute.impute.thresholds import WatchSettings, read_thresholds
    from snpimpute.impute.watching import watch_file
    from snpimpute.io.store import fetched

    thresholds = WatchSettings() if settings is None else read_thresholds(settings)
    batches = []
    with watch() as watching:
        tracker = open_store(runs, watching)
        for target in targets:
            n_threads = threads or len(os.sched_getaffinity(0))
            batches.append(watch_file(tracker, name, fetched(target, runs), thresholds, runs, n_threads, watching))
            if not as_json:
                typer.echo("\n".join(_lines(batches[-1])))
    if as_json:
        found = [{"batch": b.number, "file": b.file, "samples": b.n_samples, "breaches": b.breaches} for b in batches]
        figures = [json.loads(batch.figures.to_json(orient="records")) for batch in batches]
        pairs = zip(found, figures, strict=True)
        typer.echo(json.dumps([{**about, "figures": of_batch} for about, of_batch in pairs], indent=1))
    if not any(batch.breaches for batch in batches):
        return
    if deployment := retrain or thresholds.retrain.deployment:
        _start(deployment, thresholds.retrain.parameters)
    raise typer.Exit(BREACH)


@app.command("shadow")
def shadow_model(
    champion: ModelName,
    challenger: ModelName,
    targets: Annotated[
        list[Path] | None,
        typer.Argument(help="Genotypes: .vcf.gz, .bcf, or PLINK's .bed or .pgen; none: a server's requests."),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the challenger the champion of its name, if it is better.")
    ] = False,
    hide: Annotated[str, typer.Option(help="Share of the typed sites that are hidden on purpose.")] = "10%",
    measure: Annotated[int, typer.Option(help="Number of the champion's windows to hide sites in; 0 for all.")] = 6,
    runs: Runs = Path("runs"),
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 1,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Compare two models that imputed the same files, or a server's requests, at typed calls hidden on purpose, by sample.

    Examples:

      snpimpute models shadow panel@champion panel/2

      snpimpute models shadow panel@champion panel/2 monday.vcf.gz tuesday.vcf.gz

      snpimpute models shadow panel@champion panel/2 monday.vcf.gz --promote
    """
    from snpimpute.base.progress import watch
    from snpimpute.impute.paired import shadow_of_requests
    from snpimpute.impute.shadow import ShadowSettings, shadow
    from snpimpute.io.store import fetched

    settings = ShadowSettings(share_of(hide, "--hide"), measure, seed, threads or len(os.sched_getaffinity(0)))
    files = [fetched(target, runs) for target in targets or ()]
    with watch() as watching:
        tracker = open_store(runs, watching)
        if files:
            found = shadow(tracker, champion, challenger, files, settings, runs, promote, watching)
        else:
            found = shadow_of_requests(tracker, champion, challenger, runs, seed, promote)
    if as_json:
        typer.echo(json.dumps({**found.told(), "promoted": promote}, indent=1))
        return
    for name, f1, right in zip((found.champion, found.challenger), found.f1_macro, found.concordance, strict=True):
        typer.echo(f"{name}: macro-F1 {f1:.4f}, {right:.2%} of the hidden calls right")
    typer.echo(f"{found.why()}\n{found.challenger} is {found.verdict}{'; it is the champion now' if promote else ''}")


@app.command("export")
def export_networks(
    name: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION, or a model's folder.")],
    to: Annotated[str, typer.Option(help="Format: onnx.")] = "onnx",
    force: Force = False,
    runs: Runs = Path("runs"),
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Export a model's networks, to impute and serve without the framework that they learned in.

    The exported model lies beside the model's folder, with .onnx at its end. It is written only if it gives each of its networks'
    own probabilities, to a 100,000th.

    Example:

      snpimpute models export panel@champion --to onnx
    """
    from snpimpute.base.progress import watch
    from snpimpute.impute.export import export_model, require_engine

    require_engine(to, "--to")
    folder, _ = model_folder(name, runs)
    with watch() as watching:
        found = export_model(folder, runs, watching, threads or len(os.sched_getaffinity(0)), force)
    said = {"model": str(found.folder), "windows": found.windows, "bytes": found.size}
    tell(
        [
            f"{found.folder}: {numbered(found.windows, 'network')}, {found.size / 1e6:.1f} MB, probabilities at most "
            f"{found.largest_difference:.1g} beside the model's"
        ],
        {**said, "largest_difference": found.largest_difference},
        as_json,
    )


@app.command("serve")
def serve_model(
    name: ModelName,
    challenger: Annotated[
        str | None,
        typer.Option(
            help="A second model; it imputes each request in the shadow of the first, and answers none without --split."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Let the challenger answer its part of the requests, as 90:10.", metavar="PARTS")
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            help="Audit trail, a line of JSON per answer, appended to (default: audit.jsonl in the folder of runs)."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 5001,
    on_engine: OnEngine = None,
    batch: Annotated[
        int,
        typer.Option(min=0, help="Samples of requests that make a batch to be tested for drift; 0 tests none."),
    ] = 50,
    settings: Annotated[
        Path | None, typer.Option(help="Thresholds of drift (TOML); the defaults if not given.")
    ] = None,
    retrain: Annotated[
        str | None,
        typer.Option(help="Prefect deployment that a breach starts, as retrain/local.", metavar="DEPLOYMENT"),
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Serve a champion, and a challenger beside it, over HTTP; each answer names its version, and is in the audit trail.

    Requests are gathered into batches and tested for drift, as by snpimpute models watch, if the model has a baseline.

    Examples:

      snpimpute models serve panel@champion --challenger panel/2

      snpimpute models serve panel@champion --challenger panel/2 --split 90:10

      snpimpute models serve panel@champion --engine onnx
    """
    from snpimpute.base.extras import require_package
    from snpimpute.base.progress import watch
    from snpimpute.impute.export import require_engine
    from snpimpute.impute.gateway import Gateway, ServeSettings, application, listening, share_of_split
    from snpimpute.impute.gathering import GatherSettings
    from snpimpute.impute.paired import require_appendable
    from snpimpute.impute.thresholds import WatchSettings, read_thresholds

    require_engine(on_engine, "--engine")
    require_package("fastapi", "models serve")
    if split is not None and challenger is None:
        raise InputError("--split goes with --challenger: it divides the requests between two models")
    trail = audit or runs / "audit.jsonl"
    require_appendable(trail)
    share = 0.0 if split is None else share_of_split(split)
    thresholds = WatchSettings() if settings is None else read_thresholds(settings)
    gather = GatherSettings(batch, thresholds, retrain)
    served = ServeSettings(name, trail, challenger, share, on_engine=on_engine, gather=gather)
    with watch() as watching:
        gateway = Gateway(open_store(runs, watching), served, runs, watching)
    import uvicorn

    at = listening(host, port)
    typer.echo(f"serving {name} on http://{host}:{port}/invocations; audit trail: {trail}")
    if challenger is not None:
        typer.echo(gateway.shadow_in_words())
    typer.echo(gateway.drift_in_words())
    gateway.gatherer.start()
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(application(gateway), log_level="warning")).run(sockets=[at])


def is_of_trait(tracker: Tracker, name: str) -> bool:
    """Tell whether a name is of a trait's model, by the trait or as the registry has it; where both are there, a panel's model goes first."""
    from snpimpute.impute.champions import named_among
    from snpimpute.tracking.runs import PANEL_VARIANT
    from snpimpute.traits.champions import SUFFIX

    own = name.partition("/")[0].partition("@")[0]
    if named_among([model.name for model in tracker.panel_models()], own, PANEL_VARIANT):
        return False
    of_traits = [model.name for model in tracker.predictor_models()]
    return named_among(of_traits, own, SUFFIX) is not None or own.endswith(f"-{SUFFIX}")


def _lines(batch: Batch) -> list[str]:
    """Return a batch as lines of text: a line per figure, and the breaches."""
    lines = [f"batch {batch.number}: {batch.file}, {batch.n_samples} samples"]
    for row in batch.figures.itertuples():
        mark = "  beyond its threshold" if row.breach else ""
        lines.append(
            f"  {row.figure:<16}{row.value:8.4f}  expected {row.expected:7.4f}  corrected p {row.p_corrected:.2g}{mark}"
        )
    return [*lines, f"breach: {', '.join(batch.breaches)}" if batch.breaches else "no breach"]


def _start(deployment: str, parameters: dict[str, object]) -> None:
    """Start a deployment and say so on standard error; one that cannot be started does not hide the breach."""
    from snpimpute.base.deployments import start_deployment

    try:
        typer.echo(f"started {deployment}: run {start_deployment(deployment, parameters)}", err=True)
    except InputError as error:
        typer.echo(f"snpimpute: {error}", err=True)
