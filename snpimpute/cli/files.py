"""Verbs on a user's genotype files: check, concordance, fit, impute."""

from __future__ import annotations

import functools
import json
import os
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from snpimpute.base.errors import InputError
from snpimpute.base.extras import is_installed
from snpimpute.cli.options import (
    RUNS,
    AsJson,
    BudgetTime,
    ByExchange,
    Force,
    ImputersFrom,
    MinCallRate,
    OnCluster,
    OnEngine,
    Region,
    Runs,
    Samples,
    SampleTable,
    Threads,
    Timeout,
    Trust,
    Use,
    Wait,
    call_rate_of,
    engine_for,
    engine_of_pass,
    here,
    model_folder,
    open_store,
    require_likelihoods,
    share_of,
)

app = typer.Typer()


@app.command()
def check(
    target: Annotated[Path, typer.Argument(help="Genotypes to impute: .vcf.gz, .bcf, .vcz, or PLINK's .bed or .pgen.")],
    panel: Annotated[Path, typer.Option(help="Genotypes of the panel, in one of the same formats.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write qc.html and its tables to this folder (default: TARGET.check)."),
    ] = None,
    samples: SampleTable = None,
    use: Use = None,
    force: Force = False,
    cluster: OnCluster = None,
    exchange: ByExchange = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Check a target against a panel before imputation: build, contigs, alleles, strands, calls, frequencies, parents.

    Writes qc.html, excluded.tsv (the sites left out, with reasons) and samples.tsv. The exit status is 1 if the target
    cannot be imputed in its present state.

    Examples:

      snpimpute check mine.vcf.gz --panel panel.vcf.gz

      snpimpute check mine.vcf.gz --panel panel.bcf --samples bulls.tsv -o checked

      snpimpute check mine.vcf.gz --panel panel.bcf --cluster tcp://login:8786
    """
    from snpimpute.base.progress import watch
    from snpimpute.impute.check import check_target
    from snpimpute.impute.matching import PanelSites
    from snpimpute.io.samples import read_samples
    from snpimpute.io.store import fetched, sent_report, url_of
    from snpimpute.io.stream import stem
    from snpimpute.report.check import FILES, as_dict, verdict, write_check

    require_likelihoods(use)
    folder = output or Path(f"{stem(target)}.check")
    with sent_report(folder, FILES, force) as written:
        table = None if samples is None else read_samples(fetched(samples, RUNS))
        read = [fetched(path, RUNS) for path in (panel, target)]
        with watch() as watching, engine_of_pass(cluster, exchange, timeout, watching) as engine:
            sites = PanelSites.of_file(read[0], watch=watching, engine=engine)
            found = check_target(read[1], sites, samples=table, use=use, watch=watching, engine=engine)
        page = folder / write_check(found, written).name
    shown, left_out = (url_of(path) or str(path) for path in (page, page.with_name("excluded.tsv")))
    if as_json:
        typer.echo(json.dumps(as_dict(found) | {"page": shown}, indent=1))
    else:
        typer.echo(verdict(found))
        for line in found.problems:
            typer.echo(f"problem: {line}")
        for line in found.warnings:
            typer.echo(f"note: {line}")
        typer.echo(f"page: {shown}\nsites left out: {left_out}")
    if found.problems:
        raise typer.Exit(1)


@app.command()
def concordance(
    truth: Annotated[Path, typer.Argument(help="True genotypes: .vcf.gz, .bcf, .vcz, or PLINK's .bed or .pgen.")],
    imputed: Annotated[Path, typer.Argument(help="Imputed genotypes: GT, with DS and GP if present.")],
    typed: Annotated[
        Path | None,
        typer.Option(help="Do not score these calls, known before imputation: genotypes, or a list of sites."),
    ] = None,
    samples: SampleTable = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write concordance.html and tables to this folder.")
    ] = None,
    force: Force = False,
    cluster: OnCluster = None,
    exchange: ByExchange = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Compare an imputed file with the truth, by sample, site, allele frequency and group, and test its DR2.

    Examples:

      snpimpute concordance truth.bcf imputed.bcf --typed target.bcf -o compared

      snpimpute concordance truth.vcf.gz imputed.vcf.gz --json
    """
    from snpimpute.base.progress import watch
    from snpimpute.impute.concordance import compare_files
    from snpimpute.io.samples import read_samples
    from snpimpute.io.store import fetched, sent_report, url_of
    from snpimpute.report.concordance import FILES, as_dict, bins_as_text, summary, write_concordance

    page = None
    with nullcontext() if output is None else sent_report(output, FILES, force) as written:
        table = None if samples is None else read_samples(fetched(samples, RUNS))
        read = [fetched(path, RUNS) for path in (truth, imputed)]
        known = here(typed, RUNS)
        with watch() as watching, engine_of_pass(cluster, exchange, timeout, watching) as engine:
            found = compare_files(*read, typed=known, samples=table, watch=watching, engine=engine)
        if output is not None and written is not None:
            path = output / write_concordance(found, written).name
            page = url_of(path) or str(path)
    if as_json:
        typer.echo(json.dumps(as_dict(found) | {"page": page}, indent=1))
        return
    for line in summary(found):
        typer.echo(line)
    if len(found.bins):
        typer.echo(f"\n{bins_as_text(found)}")
    if page is not None:
        typer.echo(f"\npage: {page}")


@app.command()
def fit(
    panel: Annotated[Path, typer.Argument(help="Reference panel: .vcf.gz, .bcf, .vcz, or PLINK's .bed or .pgen.")],
    imputer: Annotated[
        str,
        typer.Option(help="Fit this imputer; see snpimpute imputers. auto: the better one of two in a short trial."),
    ] = "auto",
    imputers_from: ImputersFrom = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model (default: from the panel's name and the region).")
    ] = None,
    region: Region = None,
    samples: Samples = None,
    params: Annotated[
        Path | None, typer.Option(help="Parameters of the imputer (TOML), from a study or your own.")
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="Genetic map in PLINK format (contig, id, cM, pos).")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="Size of a window: 500 (sites) or 5cM (default: 5000 for models of haplotypes, else 500)."),
    ] = None,
    overlap: Annotated[str, typer.Option(help="Share of a window that overlaps the next, at least 25%.")] = "25%",
    holdout: Annotated[
        str, typer.Option(help="Share of the samples held out to measure the model; 0% measures nothing.")
    ] = "10%",
    typed_sites: Annotated[
        Path | None,
        typer.Option(
            help="Sites that targets will have: a list (contig:pos or id per line), or a target (VCF, BCF, VCF Zarr, PLINK)."
        ),
    ] = None,
    min_call_rate: MinCallRate = None,
    measure: Annotated[int, typer.Option(help="Number of windows to measure the model in; 0 for all.")] = 6,
    trials: Annotated[int, typer.Option(help="Trials of a study that looks for parameters; 0 for no study.")] = 0,
    budget: BudgetTime = None,
    runs: Runs = Path("runs"),
    wait: Wait = None,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 1,
    threads: Threads = None,
    cluster: OnCluster = None,
    exchange: ByExchange = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Fit an imputer to a whole panel, window by window; measure, log and register it. The same command resumes it.

    Examples:

      snpimpute fit panel.vcf.gz

      snpimpute fit panel.vcf.gz --imputer beagle --map chr28.map --typed-sites chip.txt --holdout 20%
    """
    from snpimpute import imputers
    from snpimpute.base.progress import watch
    from snpimpute.experiment import settings as config
    from snpimpute.impute.choice import AUTO, choose
    from snpimpute.impute.fit import fit as fit_panel
    from snpimpute.impute.panel import FitSettings
    from snpimpute.io.store import fetched
    from snpimpute.tuning.parameters import given_params

    imputers.look_in(imputers_from or [])
    panel = fetched(panel, runs)
    settings = FitSettings(
        panel=panel,
        name=name or config.name_of(panel, region),
        imputer=imputer,
        params={} if params is None else given_params(fetched(params, runs)),
        region=region,
        samples=here(samples, runs),
        window=window,
        overlap=share_of(overlap, "--overlap"),
        genetic_map=here(map_file, runs),
        holdout=share_of(holdout, "--holdout"),
        typed=here(typed_sites, runs),
        pilots=measure,
        trials=trials,
        seconds=600.0 if budget is None else config.seconds_of(budget),
        seed=seed,
        threads=threads or len(os.sched_getaffinity(0)),
        min_call_rate=FitSettings.min_call_rate if min_call_rate is None else call_rate_of(min_call_rate),
    )
    choice = None
    with watch() as watching, engine_for(cluster, exchange, timeout, runs, watching) as engine:
        if imputer == AUTO:
            settings, choice = choose(settings, runs, watching, engine)
        opened = functools.partial(open_store, runs, watching, wait) if is_installed("mlflow") else None
        fitted = fit_panel(settings, runs, opened, watching, engine)
    if as_json:
        result = {"model": str(fitted.folder), "registered": fitted.registered, "imputer": settings.imputer}
        if choice is not None:
            result["chosen"] = choice.reason
        typer.echo(json.dumps({**result, "scores": json.loads(fitted.scores.to_json(orient="records"))}, indent=1))
        return
    if choice is not None:
        typer.echo(choice.lines()[0])
    main_scores = fitted.scores[
        fitted.scores.subset.isin(["all", "rare"]) & fitted.scores.metric.isin(["f1_macro", "site_dosage_r2"])
    ]
    if len(main_scores):
        typer.echo(f"on the held-out samples (95% intervals)\n{main_scores.round(4).to_string(index=False)}")
        found = fitted.scores[fitted.scores.subset == "all"].pivot_table("value", "pattern", "metric")
        for pattern, row in found.iterrows():
            typer.echo(
                f"{pattern}: dosage r² is the mean of {row.sites_varied:.0f} sites (left out, without variation in the held-out "
                f"samples: {row.sites_constant:.0f})"
            )
        typer.echo("")
    typer.echo(f"model: {fitted.folder}")
    typer.echo(f"registered: {fitted.registered or 'no, because MLflow is not installed: impute with --model FOLDER'}")


@app.command()
def impute(
    target: Annotated[Path, typer.Argument(help="Genotypes to impute: .vcf.gz, .bcf, .vcz, or PLINK's .bed or .pgen.")],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="File to write: .vcf.gz, .vcf, .bcf, .vcz, .bed or .pgen; - for standard output."
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="A model's folder, or NAME, NAME@ALIAS or NAME/VERSION in the registry.")
    ] = None,
    no_panel: Annotated[
        bool, typer.Option("--no-panel", help="Impute from the target alone, without a model.")
    ] = False,
    imputer: Annotated[
        str | None,
        typer.Option(
            help="Imputer to use with --no-panel: simpute (if not given), ld_knn or beagle (phased jointly).",
        ),
    ] = None,
    imputers_from: ImputersFrom = None,
    on_engine: OnEngine = None,
    trust: Trust = False,
    use: Use = None,
    phased: Annotated[bool, typer.Option("--phased", help="Write every call phased (0|1).")] = False,
    draws: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Draw this many data sets from the posterior, too, and write them to a folder beside the output.",
        ),
    ] = None,
    hide: Annotated[
        str | None,
        typer.Option(
            help="Hide this share of the typed calls (2%), impute them as well, and tell by sample how many come back; doubles the time."
        ),
    ] = None,
    keep_fields: Annotated[
        bool, typer.Option("--keep-fields", help="Keep the target's other INFO and FORMAT fields.")
    ] = False,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 1,
    runs: Runs = Path("runs"),
    threads: Threads = None,
    cluster: OnCluster = None,
    exchange: ByExchange = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Impute the missing calls of a genotype file, and the sites of the model that it lacks.

    Examples:

      snpimpute impute target.vcf.gz -o imputed.vcf.gz

      snpimpute impute target.vcf.gz -o imputed.bcf --model panel@champion

      snpimpute impute target.vcf.gz -o imputed.vcf.gz --no-panel

      snpimpute impute target.vcf.gz -o imputed.vcf.gz --draws 20 --hide 2%

      snpimpute impute lowcoverage.vcf.gz -o imputed.vcf.gz --use PL
    """
    import shlex

    from snpimpute import imputers
    from snpimpute.base.progress import watch
    from snpimpute.impute.asked import ImputeSettings
    from snpimpute.impute.export import exported_model, require_engine
    from snpimpute.impute.run import impute_file
    from snpimpute.io.store import fetched, sent, url_of

    if model is not None and no_panel:
        raise InputError("--model and --no-panel exclude each other")
    if imputer is not None and not no_panel:
        raise InputError(
            f"--imputer {imputer} goes with --no-panel; here a model imputes, by the imputer that it was fitted with "
            f"(snpimpute fit PANEL --imputer {imputer} fits another)"
        )
    if on_engine is not None and no_panel:
        raise InputError(
            f"--engine {on_engine} imputes by a model that was exported, and --no-panel by none: leave out one"
        )
    require_engine(on_engine, "--engine")
    require_likelihoods(use)
    if draws and url_of(output):
        raise InputError(
            f"--draws writes a folder beside the imputed file, and {output} is in an object store: name a file here"
        )
    imputers.look_in(imputers_from or [])
    folder, version = (None, "") if no_panel else model_folder(model, runs)
    if folder is not None and on_engine is not None:
        folder = exported_model(folder, model or str(folder))
    settings = ImputeSettings(
        target=fetched(target, runs),
        output=None if output == "-" else Path(output),
        model=folder,
        version=version,
        trust=trust,
        use=use,
        phased=phased,
        draws=draws or 0,
        hide=0.0 if hide is None else share_of(hide, "--hide"),
        seed=seed,
        imputer=imputer or ImputeSettings.imputer,
        params={"mode": "joint"} if imputer == "beagle" else {},
        keep_fields=keep_fields,
        threads=threads or len(os.sched_getaffinity(0)),
        command=shlex.join(["snpimpute", *sys.argv[1:]]),
        force=force,
    )
    with ExitStack() as stack:
        watching = stack.enter_context(watch())
        engine = stack.enter_context(engine_for(cluster, exchange, timeout, runs, watching))
        written = stack.enter_context(sent(settings.output, force))
        outcome = impute_file(replace(settings, output=written), runs, watching, engine)
    result = {key: value for key, value in vars(outcome).items() if key != "check"}
    text = json.dumps(result, indent=1, default=str) if as_json else "\n".join(outcome.summary_lines())
    if (url := url_of(output)) and outcome.output is not None:
        text = text.replace(str(outcome.output), url)
    typer.echo(text, err=output == "-")
