"""Options that several verbs share, and the settings, store and model that they select."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snpimpute.base.errors import InputError
from snpimpute.base.extras import is_installed, require_package

if TYPE_CHECKING:
    from snpimpute.base.processes import Engine
    from snpimpute.base.progress import Watch
    from snpimpute.experiment.settings import ExperimentSettings
    from snpimpute.tracking.writer import Tracker

Source = Annotated[
    Path,
    typer.Argument(help="An experiment (.toml), or genotypes: .vcf.gz, .bcf, .vcz, or PLINK's .bed or .pgen."),
]
Runs = Annotated[Path, typer.Option(help="Folder of all results.", envvar="SNPIMPUTE_RUNS")]
Imputers = Annotated[
    list[str] | None, typer.Option("--imputer", help="Run only this imputer; may be given several times.")
]
ImputersFrom = Annotated[
    list[Path] | None,
    typer.Option("--imputers-from", help="Add the imputers described in this folder; may be given several times."),
]
Region = Annotated[
    str | None,
    typer.Option(help="Read only CONTIG or CONTIG:START-END, several joined by ';'; needs an index beside the file."),
]
MaxSites = Annotated[
    int | None, typer.Option(help="Most sites, of all contigs together; more are refused (500 if not given).")
]
MinCallRate = Annotated[
    str | None, typer.Option(help="Leave out sites where fewer of the samples have a call (90% if not given).")
]
Samples = Annotated[
    Path | None,
    typer.Option(
        help="Sample table (TSV: sample or id, group, family, sex, birth_order, sire, dam; all but the first optional)."
    ),
]
SampleTable = Annotated[
    Path | None,
    typer.Option("--samples", help="Sample table (TSV: sample or id, group, sire, dam; all but the first optional)."),
]
Pedigree = Annotated[
    Path | None,
    typer.Option(help="Pedigree (TSV: sample or id, sire, dam; a row per animal, genotyped or not)."),
]
Levels = Annotated[
    str | None, typer.Option(help="Percent of the sites missing, as 20,60,90 (ten levels if not given).")
]
Name = Annotated[
    str | None,
    typer.Option(help="Name of dataset, report and registered model (default: from the file's name, region and seed)."),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="A first look in minutes: 3 levels, studies of 30 s at most, no networks.")
]
Trials = Annotated[int | None, typer.Option(help="Trials per study (50 if not given).")]
BudgetTime = Annotated[
    str | None, typer.Option("--budget", help="Time per study: 90s, 10m or 2h (10m if not given).", metavar="TIME")
]
Wait = Annotated[
    str | None,
    typer.Option(
        help="Time to wait for an MLflow store that stops answering: 90s, 10m or 2h (2m if not given).", metavar="TIME"
    ),
]
Retune = Annotated[bool, typer.Option("--retune", help="Run studies again whose parameters were found before.")]
Adopt = Annotated[
    Path | None,
    typer.Option(
        "--adopt",
        metavar="JOURNAL",
        help="Take up the studies in this journal (.journal or .journal.gz) of another machine, or of earlier code.",
    ),
]
WithConsequence = Annotated[
    bool,
    typer.Option("--consequence", help="Add what imputing changes in association, fine-mapping and prediction."),
]
Datasets = Annotated[
    list[str] | None, typer.Option("--data", help="Use only this dataset; may be given several times.")
]
Registered = Annotated[bool, typer.Option("--registered", help="Score the registered models, and train nothing.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random choice (1 if not given).")]
Threads = Annotated[int | None, typer.Option(min=1, help="Number of processor threads (all if not given).")]
Covariates = Annotated[
    str | None, typer.Option(help="Columns of covariates, as age,breed; one in words becomes one per word.")
]
OnCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Compute on a Dask cluster: tcp://HOST:8786, or local:N for N workers here (default: $DASK_SCHEDULER_ADDRESS).",
    ),
]
ByExchange = Annotated[
    str | None,
    typer.Option(
        "--exchange",
        help="Folder or s3://BUCKET/PREFIX that all machines of the cluster reach (default: exchange in the folder of runs).",
        envvar="SNPIMPUTE_EXCHANGE",
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        help="Time to wait for a worker of the cluster where none is there: 90s, 10m or 2h (10m if not given).",
        metavar="TIME",
    ),
]
OnEngine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="onnx: impute by the networks that snpimpute models export wrote, without their framework.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run the commands of the program's description that a model from elsewhere brings."),
]
Use = Annotated[
    str | None,
    typer.Option(help="Take genotype likelihoods, PL, GL or GP, in place of GT: for low-coverage sequencing."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there already.")]
RUNS = Path("runs")  # of verbs that have no option --runs: what is exchanged, or fetched from an object store
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ModelName = Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION; NAME alone means its champion.")]


def require_likelihoods(use: str | None) -> None:
    """Raise InputError unless this is a FORMAT field of likelihoods, or None."""
    from snpimpute.io.likelihoods import FIELDS

    if use is not None and use not in FIELDS:
        raise InputError(f"--use {use} is not known: give one of {', '.join(FIELDS)}")


def settings_for(
    source: Path,
    region: str | None = None,
    max_sites: int | None = None,
    samples: Path | None = None,
    min_call_rate: str | None = None,
    budget: str | None = None,
    wait: str | None = None,
    *,
    name: str | None = None,
    pedigree: Path | None = None,
    levels: str | None = None,
    quick: bool = False,
    only: list[str] | None = None,
    seed: int | None = None,
    **changes: Any,
) -> ExperimentSettings:
    """Return the settings of the experiment: those of a TOML file, or the default ones for a genotype file.

    Args:
        source: TOML file or genotype file.
        region, max_sites, samples, min_call_rate, name, pedigree, levels, quick: options for a genotype file, as the user
            typed them; refused with a TOML file.
        budget: time per study, as the user typed it.
        only: imputers that the user named, which `quick` does not narrow.
        seed: seed of every random choice.
        wait: time to wait for an MLflow store that stops answering, as the user typed it.
        changes: see `experiment.settings.changed`.

    Raises:
        InputError: an option does not go with a TOML file, or the settings are wrong.
    """
    from snpimpute.experiment import settings as config

    if source.suffix == ".toml":
        given = {"--region": region, "--max-sites": max_sites, "--samples": samples, "--pedigree": pedigree}
        given |= {"--min-call-rate": min_call_rate, "--levels": levels, "--name": name, "--quick": quick or None}
        for option, value in given.items():
            if value is not None:
                raise InputError(f"{option} goes with a genotype file; in an experiment, write it into {source}")
        settings = config.read(source)
    else:
        rate = None if min_call_rate is None else call_rate_of(min_call_rate)
        percent = None if levels is None else config.levels_of(levels)
        settings = config.for_genotypes(
            source,
            region,
            max_sites,
            samples,
            rate,
            name=name,
            pedigree=pedigree,
            levels=percent,
            quick=quick,
            only=only,
            seed=seed,
        )
    seconds, tracking_wait = (None if text is None else config.seconds_of(text) for text in (budget, wait))
    return config.changed(settings, seconds=seconds, tracking_wait=tracking_wait, seed=seed, **changes)


def share_of(text: str, option: str) -> float:
    """Return the share that is given as 10% or 0.1; InputError if it is not a share, or more than all without a %."""
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise InputError(f"{option} {text!r} is no share: give 10% or 0.1") from None
    if text.endswith("%"):
        return number / 100
    if number > 1:
        raise InputError(f"{option} {text} is more than all: give {text}%, or {number / 100:g}")
    return number


def call_rate_of(text: str) -> float:
    """Return the least call rate that is given; InputError if it is not between 0 and 1."""
    rate = share_of(text, "--min-call-rate")
    if not 0 <= rate <= 1:
        raise InputError(f"--min-call-rate {text!r} is not between 0% and 100%")
    return rate


def open_store(runs: Path, watch: Watch | None = None, wait: str | None = None) -> Tracker:
    """Open the MLflow store of a folder of runs, or the one that the environment names.

    Args:
        runs: folder of all results.
        watch: receives the notice that the store does not answer any more.
        wait: time to wait for it then, as the user typed it.
    """
    require_package("mlflow", "the registry of models")
    from snpimpute.experiment.settings import seconds_of
    from snpimpute.tracking.connect import WAIT, tracking_uri
    from snpimpute.tracking.writer import Tracker

    return Tracker(tracking_uri(None, runs), runs, watch, WAIT if wait is None else seconds_of(wait))


def engine_for(
    cluster: str | None, exchange: str | None, timeout: str | None, runs: Path, watch: Watch
) -> AbstractContextManager[Engine]:
    """Return the engine that the options ask for: of a cluster, else that of this machine.

    Args:
        cluster, exchange: as the user named them, or the settings.
        timeout: time to wait for a worker, as the user typed it.
        runs: folder of all results, in which contents are exchanged if nothing else is named.
        watch: receives what happens to the workers.
    """
    from snpimpute.cluster.connect import SECONDS, opened
    from snpimpute.experiment.settings import seconds_of

    return opened(cluster, exchange, runs, watch, SECONDS if timeout is None else seconds_of(timeout))


@contextmanager
def engine_of_pass(cluster: str | None, exchange: str | None, timeout: str | None, watch: Watch) -> Iterator[Engine]:
    """Give the engine that the options ask for, to a verb that keeps nothing: RUNS holds the exchange, and goes with it.

    Args:
        cluster, exchange, timeout, watch: see `engine_for`.
    """
    with engine_for(cluster, exchange, timeout, RUNS, watch) as engine:
        yield engine
    with suppress(OSError):  # there is no such folder, or it is in use
        RUNS.rmdir()


def here(path: Path | None, runs: Path) -> Path | None:
    """Return the path of a file that the user names; one in an object store is fetched into the folder of runs."""
    from snpimpute.io.store import fetched

    return None if path is None else fetched(path, runs)


def columns_of(text: str | None) -> tuple[str, ...]:
    """Return the column names of an option that joins them by commas; none if it was not given."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def report_folder(folder: Path, files: Sequence[str], force: bool) -> Path:
    """Return the folder of a report; InputError if it cannot be written, or holds other files and `force` is not given.

    Args:
        folder: as the user named it, or the default.
        files: names of the report's own files, which are replaced.
        force: whether the folder may hold others too.
    """
    from snpimpute.base.files import require_report_folder, require_writable

    require_writable(folder)
    require_report_folder(folder, files, force)
    return folder


def tell(lines: Iterable[str], as_dict: Mapping[str, Any], as_json: bool) -> None:
    """Print results: as JSON, or in lines."""
    typer.echo(json.dumps(as_dict, indent=1) if as_json else "\n".join(lines))


def has_store(runs: Path) -> bool:
    """Return whether to write to an MLflow store: the environment names one, the folder of runs has one, or `mlflow run` asks for it."""
    if not is_installed("mlflow"):
        return False
    from snpimpute.tracking.connect import tracking_uri
    from snpimpute.tracking.database import sqlite_file

    database = sqlite_file(tracking_uri(None, runs))
    return database is None or database.exists() or "MLFLOW_RUN_ID" in os.environ


def model_folder(model: str | None, runs: Path) -> tuple[Path, str]:
    """Return a model's folder and version.

    Args:
        model: a folder, which has no version (empty), or the name of a registered model, which is fetched.
        runs: folder of all results.
    """
    from snpimpute.io.store import fetched, url_of

    if model is not None and url_of(model):
        return fetched(Path(model), runs), ""
    if model is not None and Path(model).is_dir():
        return Path(model), ""
    if not is_installed("mlflow"):
        raise InputError(
            "without MLflow a model is a folder: give --model FOLDER, as snpimpute fit printed it, or pip install 'snpimpute[platform]'"
        )
    from snpimpute.impute.champions import fetch_model, find_model

    tracker = open_store(runs)
    found = find_model(tracker, model)
    return fetch_model(tracker, found, runs).folder, found.version
