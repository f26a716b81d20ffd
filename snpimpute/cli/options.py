"""Options that several verbs share, and what they make of them: settings, a store, a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snpimpute.base.errors import InputError
from snpimpute.base.extras import is_installed, require_package

if TYPE_CHECKING:
    from snpimpute.experiment.settings import ExperimentSettings
    from snpimpute.tracking.writer import Tracker

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
ModelName = Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION; NAME alone is its champion.")]


def settings_for(
    source: Path,
    region: str | None = None,
    max_sites: int | None = None,
    samples: Path | None = None,
    budget: str | None = None,
    **changes: Any,
) -> ExperimentSettings:
    """Make the experiment that the arguments describe: a TOML file's, or the default one on a genotype file.

    Args:
        source: the file.
        region, max_sites, samples: of a genotype file; refused with a TOML file.
        budget: time per study, as it was typed.
        changes: see `experiment.settings.changed`.
    """
    from snpimpute.experiment import settings as config

    if source.suffix == ".toml":
        given = {"--region": region, "--max-sites": max_sites, "--samples": samples}
        for option, value in given.items():
            if value is not None:
                raise InputError(f"{option} goes with a genotype file; in an experiment, write it into {source}")
        settings = config.read(source)
    else:
        settings = config.for_genotypes(source, region=region, max_sites=max_sites, samples=samples)
    return config.changed(settings, seconds=None if budget is None else config.seconds_of(budget), **changes)


def share_of(text: str, option: str) -> float:
    """A share given as 10% or 0.1."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"{option} {text!r} is no share: give 10% or 0.1") from None


def open_store(runs: Path) -> Tracker:
    """Open the MLflow store of a folder of runs, or the one that the environment names."""
    require_package("mlflow", "the registry of models")
    from snpimpute.tracking.connect import tracking_uri
    from snpimpute.tracking.writer import Tracker

    return Tracker(tracking_uri(None, runs), runs)


def model_folder(model: str | None, runs: Path) -> tuple[Path, str]:
    """Find a model's folder and its version: a folder that is named, which has no version, or a registered model, fetched."""
    if model is not None and Path(model).is_dir():
        return Path(model), ""
    if not is_installed("mlflow"):
        raise InputError(
            "without MLflow a model is a folder: give --model FOLDER, as snpimpute fit printed it, or pip install 'snpimpute[platform]'"
        )
    from snpimpute.impute.champions import fetched, find

    tracker = open_store(runs)
    found = find(tracker, model)
    return fetched(tracker, found, runs).folder, found.version
