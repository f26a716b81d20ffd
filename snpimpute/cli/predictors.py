"""Verbs on predictors of traits: traits compare, fit, distil, predict, export, explain."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from snpimpute.cli.options import (
    AsJson,
    Covariates,
    Force,
    Region,
    Runs,
    Threads,
    columns_of,
    has_store,
    open_store,
    report_folder,
    tell,
)
from snpimpute.cli.traits import SampleColumn, TraitTable

app = typer.Typer(no_args_is_help=True, help="Predictors of traits: compare, fit, predict, explain.")

Genotypes = Annotated[
    Path,
    typer.Argument(
        help="Genotypes, imputed or not: .vcf.gz, .bcf, .vcz, .bed, .pgen; or a table of markers, .tsv or .csv."
    ),
]
TraitColumn = Annotated[str, typer.Option(help="Column of the trait; 0/1 or 1/2 is a binary one.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
Components = Annotated[
    int,
    typer.Option(
        min=0, help="Number of principal components of the genotypes to add, found in the samples learned from."
    ),
]
Scheme = Annotated[
    str,
    typer.Option(help="random, family, group, environment or youngest (last); all but random by columns of the table."),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        help="Parameters: PREDICTOR.NAME=VALUE, or a TOML file with a table for each predictor; may be given several times.",
        metavar="PARAMS",
    ),
]
Model = Annotated[Path, typer.Argument(help="Folder that traits fit made.")]
AnyModel = Annotated[
    Path,
    typer.Argument(help="Folder that traits fit made, or a registered model: TRAIT, TRAIT@ALIAS or TRAIT/VERSION."),
]
CovariateTable = Annotated[
    Path | None, typer.Option("--traits", help="Table of the covariates, if the predictor was fitted with any.")
]


@app.command("compare")
def compare_predictors(
    genotypes: Genotypes,
    traits: TraitTable,
    trait: TraitColumn,
    predictor: Annotated[
        list[str] | None,
        typer.Option(
            help="Predictor, or all; may be given several times (all but the networks and bslmm if not given)."
        ),
    ] = None,
    params: Params = None,
    covariates: Covariates = None,
    pcs: Components = 0,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Number of times that folds are drawn.")] = 1,
    scheme: Scheme = "random",
    region: Region = None,
    sample_column: SampleColumn = None,
    seed: Seed = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the table of all measures to this file (TSV), too.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder of the report (default: GENOTYPES.TRAIT.compare).")
    ] = None,
    runs: Runs = Path("runs"),
    force: Force = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Compare predictors of a trait by cross-validation, with paired differences to GBLUP and boosted trees, in a report.

    Where there is an MLflow store, the comparison becomes a run of it, with a run for each predictor.

    Examples:

      snpimpute traits compare imputed.vcf.gz --traits bulls.tsv --trait milk --covariates age

      snpimpute traits compare panel.bcf --traits t.tsv --trait y --predictor cnn --params cnn.dropout=0.3 --scheme family
    """
    from snpimpute.base.extras import require_package
    from snpimpute.base.files import require_new, require_writable, write_text
    from snpimpute.base.progress import watch
    from snpimpute.report.text import slug_of
    from snpimpute.traits.cohorts import stem_of
    from snpimpute.traits.evaluate import EvaluationSettings, as_dict, summary
    from snpimpute.traits.evaluation_page import FILES, as_tsv, verdict
    from snpimpute.traits.given import checked, read_given
    from snpimpute.traits.recorded import compare_predictors as compared

    require_package("matplotlib", "traits compare")
    if output is not None:
        require_new([output], force)
    folder = report or Path(f"{stem_of(genotypes)}.{slug_of(trait)}.compare")
    require_writable(folder)
    require_new([folder / name for name in FILES], force, "--report")  # with networks it took hours
    settings = EvaluationSettings(
        genotypes,
        traits,
        trait,
        predictors=tuple(predictor or ()),
        params=checked(read_given(params or ())),
        covariates=columns_of(covariates),
        components=pcs,
        scheme=scheme,
        folds=folds,
        repeats=repeats,
        region=region,
        sample_column=sample_column,
        seed=seed,
        threads=threads or len(os.sched_getaffinity(0)),
    )
    with watch() as watching:
        tracker = open_store(runs, watching) if has_store(runs) else None
        found = compared(settings, folder, tracker, watching)
    if output is not None:
        write_text(output, as_tsv(found))
    page = folder / FILES[0]
    lines = [*summary(found), verdict(found), f"report: {page}"]
    tell(lines, as_dict(found) | {"recommended": found.recommended(), "report": str(page)}, as_json)


@app.command("fit")
def fit_predictor(
    genotypes: Genotypes,
    traits: TraitTable,
    trait: TraitColumn,
    predictor: Annotated[str, typer.Option(help="Predictor.")] = "gblup",
    params: Params = None,
    covariates: Covariates = None,
    pcs: Components = 0,
    trials: Annotated[
        int, typer.Option(min=0, help="Search for parameters by so many trials, over all starts; 0 = the defaults.")
    ] = 0,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Number of folds by which a model that is registered is measured; 0 = it is not."),
    ] = 5,
    scheme: Scheme = "random",
    region: Region = None,
    sample_column: SampleColumn = None,
    seed: Seed = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the model (default: GENOTYPES.TRAIT.PREDICTOR).")
    ] = None,
    runs: Runs = Path("runs"),
    force: Force = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Fit a predictor of a trait to all samples, into a folder; with --trials after a search for its parameters.

    Studies are kept in runs/traits: the same command goes on with an interrupted one. Where there is an MLflow store, the model
    is measured by cross-validation (with a search in each fold, if there is one) and becomes a version of the trait's registered model.

    Examples:

      snpimpute traits fit imputed.vcf.gz --traits bulls.tsv --trait milk --predictor gblup -o milk

      snpimpute traits fit panel.bcf --traits t.tsv --trait y --predictor lightgbm --params lightgbm.leaves=15 --trials 50
    """
    from snpimpute.base.files import require_new, require_writable
    from snpimpute.base.progress import watch
    from snpimpute.report.text import interval, number, slug_of
    from snpimpute.traits.cohorts import stem_of
    from snpimpute.traits.evaluate import DECIDING, EvaluationSettings
    from snpimpute.traits.given import checked, read_given, require_used
    from snpimpute.traits.recorded import fit_predictor as fit

    folder = output or Path(f"{stem_of(genotypes)}.{slug_of(trait)}.{predictor}")
    require_writable(folder)
    require_new([folder], force)
    given = checked(read_given(params or ()))
    if predictor not in dict(given):  # a file of several predictors serves here, too
        require_used(given, [predictor], "the predictor that is fitted")
    settings = EvaluationSettings(
        genotypes,
        traits,
        trait,
        predictors=(predictor,),
        params=given,
        covariates=columns_of(covariates),
        components=pcs,
        scheme=scheme,
        folds=folds or 5,
        region=region,
        sample_column=sample_column,
        seed=seed,
        threads=threads or len(os.sched_getaffinity(0)),
    )
    with watch() as watching:
        store = partial(open_store, runs, watching) if has_store(runs) else None
        fitted = fit(settings, folder, runs, watching, trials=trials, measure=folds > 0, open_tracker=store)
    cohort, learned, version = fitted.training.cohort, fitted.learned, fitted.registered
    said: dict[str, Any] = {
        "model": str(folder),
        "predictor": predictor,
        "trait": trait,
        "samples": cohort.n_samples,
        "sites": len(learned.predictor.chosen),
        "parameters": learned.predictor.n_parameters(),
        "params": learned.predictor.params.model_dump(mode="json"),
        "notes": list(fitted.training.notes),
    }
    if fitted.study_score is not None:
        said["study_score"] = fitted.study_score
    lines = [f"note: {note}" for note in fitted.training.notes]
    lines.append(f"{predictor} of {trait}: {cohort.n_samples:,} samples, {len(learned.predictor.chosen):,} sites")
    if fitted.measured is not None:
        score = fitted.measured.score(DECIDING)
        said["correlation"] = score.value
        lines.append(f"correlation {number(score.value)} ({interval(score)}) over {fitted.measured.n_folds} folds")
    lines.append(f"model: {folder}")
    if version is not None:
        said["registered"] = f"{version.name}/{version.version}"
        lines.append(f"registered: {version.name} version {version.version}")
        if version.version != "1":
            promote = f"snpimpute models promote {version.name.removeprefix('snpimpute-')}/{version.version}"
            lines.append(f"to make it the champion, if it is better: {promote}")
    tell(lines, said, as_json)


@app.command("distil")
def distil_predictor(
    model: Model,
    genotypes: Genotypes,
    predictor: Annotated[str, typer.Option(help="Predictor that learns from the model.")] = "ridge",
    traits: CovariateTable = None,
    sample_column: SampleColumn = None,
    seed: Seed = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the new model (default: MODEL.PREDICTOR).")
    ] = None,
    force: Force = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Fit a smaller predictor to what a model predicts, for samples whose trait need not be known.

    What is told is how well it stands in for the model in samples that it did not learn from; it is no better at the trait for that.

    Example:

      snpimpute traits distil milk calves.vcf.gz --predictor ridge -o small
    """
    from snpimpute.base.files import require_new, require_writable
    from snpimpute.base.progress import watch
    from snpimpute.report.text import interval, number
    from snpimpute.traits.distilled import FOLDS, distil, size_of
    from snpimpute.traits.learned import read_learned, save

    folder = output or Path(f"{model}.{predictor}")
    require_writable(folder)
    require_new([folder], force)
    with watch() as watching:
        found = distil(
            read_learned(model),
            genotypes,
            predictor,
            watching,
            traits=traits,
            sample_column=sample_column,
            seed=seed,
            threads=threads or len(os.sched_getaffinity(0)),
        )
        save(found.student, folder)
    student, teacher = found.sizes
    said = {
        "model": str(folder),
        "teacher": str(model),
        "predictor": predictor,
        "trait": found.student.trait,
        "samples": found.n_samples,
        "agreement": found.agreement.value,
        "parameters": student,
        "parameters_of_teacher": teacher,
        "notes": list(found.notes),
    }
    lines = [f"note: {note}" for note in found.notes]
    lines.append(f"{predictor} of {found.student.trait}, as {model} predicts it: {found.n_samples:,} samples")
    lines.append(
        f"correlation with it {number(found.agreement.value)} ({interval(found.agreement)}) over {FOLDS} folds"
    )
    lines.append(f"{size_of(student)}; of {model}: {size_of(teacher)}")
    lines.append(f"model: {folder}")
    tell(lines, said, as_json)


@app.command("predict")
def predict_trait(
    model: AnyModel,
    genotypes: Genotypes,
    output: Annotated[Path, typer.Option("--output", "-o", help="Table of predictions (TSV).")],
    traits: CovariateTable = None,
    sample_column: SampleColumn = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Predict by this file that traits export made of the model, with onnxruntime.")
    ] = None,
    runs: Runs = Path("runs"),
    force: Force = False,
) -> None:
    """Predict the trait of a file's samples by a fitted model.

    Examples:

      snpimpute traits predict milk calves.vcf.gz -o predicted.tsv

      snpimpute traits predict milk@champion calves.vcf.gz -o predicted.tsv
    """
    from snpimpute.base.checksums import TABLE
    from snpimpute.base.digests import file_digest
    from snpimpute.base.files import require_new, write_text
    from snpimpute.traits.learned import predict, read_learned

    require_new([output], force)
    folder = model if model.is_dir() or not has_store(runs) else _registered(str(model), runs)
    learned, engine = read_learned(folder), None
    if onnx is not None:
        from snpimpute.traits.onnx import predict_onnx

        digest = file_digest(folder / TABLE)
        engine = lambda cohort: predict_onnx(learned.predictor, onnx, cohort, digest)  # noqa: E731
    table, notes = predict(learned, genotypes, traits, sample_column, engine)
    write_text(output, table.to_csv(sep="\t", index=False, float_format="%.6g"))
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{len(table):,} samples: {output}")


@app.command("export")
def export_predictor(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File of the network (default: MODEL.onnx).")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Export a model's network to ONNX, with all that stands before and after it: probabilities of genotypes in, the trait out.

    It is written only if it predicts what the model does, to a 100,000th of the trait's standard deviation.

    Example:

      snpimpute traits export milk -o milk.onnx
    """
    from snpimpute.base.checksums import TABLE
    from snpimpute.base.digests import file_digest
    from snpimpute.base.files import require_new, require_writable
    from snpimpute.base.progress import watch
    from snpimpute.traits.learned import read_learned
    from snpimpute.traits.onnx import export_onnx

    file = output or Path(f"{model}.onnx")
    require_new([file], force)
    require_writable(file.parent)
    with watch() as watching:
        watching.stage("exporting")
        apart = export_onnx(read_learned(model), file, file_digest(model / TABLE))
    size = file.stat().st_size
    said = {"onnx": str(file), "bytes": size, "largest_difference": apart}
    tell(
        [f"{file}: {size / 1e6:.1f} MB, predictions at most {apart:.1g} standard deviations beside the model's"],
        said,
        as_json,
    )


@app.command("explain")
def explain_predictor(
    model: Model,
    genotypes: Genotypes,
    method: Annotated[
        str | None,
        typer.Option(
            help="Of linear predictors effects, of trees shap; of networks integrated_gradients, saliency, smoothgrad, "
            "gradient_shap, attention, or the ensemble of all (if not given)."
        ),
    ] = None,
    traits: CovariateTable = None,
    sample_column: SampleColumn = None,
    most: Annotated[
        int, typer.Option("--samples", min=2, help="Explain at most so many samples, drawn at random.")
    ] = 200,
    top: Annotated[int, typer.Option(min=1, help="Number of sites in all files but the table.")] = 100,
    blocks: Annotated[
        Path | None, typer.Option(help="Haplotype blocks (BED; found by PLINK 1.9, if it is there, if not given).")
    ] = None,
    genes: Annotated[Path | None, typer.Option(help="Genes (GFF3).")] = None,
    seed: Seed = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results (default: MODEL.explain).")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Tell how much each site moves a model's predictions: a page with a heat map, and formats that other tools read.

    It is not causality.

    Examples:

      snpimpute traits explain milk imputed.vcf.gz -o explained

      snpimpute traits explain milk imputed.vcf.gz --genes genes.gff3 -o explained
    """
    from snpimpute.base.extras import require_package
    from snpimpute.base.progress import watch
    from snpimpute.traits.explain import FILES, as_dict, explain, summary, write_explanation
    from snpimpute.traits.explain_page import write_page
    from snpimpute.traits.learned import read_learned

    require_package("matplotlib", "traits explain")
    folder = report_folder(output or Path(f"{model}.explain"), FILES, force)
    with watch() as watching:
        found = explain(
            read_learned(model),
            genotypes,
            watching,
            method=method,
            traits=traits,
            sample_column=sample_column,
            most=most,
            seed=seed,
            blocks=blocks,
            genes=genes,
        )
        watching.stage("writing")
        files = write_explanation(found, folder, top)
        page = write_page(found, folder)
    beside = ", ".join(file.name for file in files[1:])
    written = [f"page: {page}, and its figure as explain.png", f"table: {files[0]}", f"beside it: {beside}"]
    tell([*summary(found), *written], as_dict(found, top), as_json)


def _registered(name: str, runs: Path) -> Path:
    """Return the folder that a registered model of a trait is fetched to."""
    from snpimpute.base.progress import watch
    from snpimpute.traits.champions import fetch_model, find_model

    with watch() as watching:
        tracker = open_store(runs, watching)
        return fetch_model(tracker, find_model(tracker, name), runs)
