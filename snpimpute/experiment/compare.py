"""Report of an experiment, made from tidy tables of scores and facts about datasets, imputers and studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from snpimpute import imputers
from snpimpute.base.errors import InputError
from snpimpute.base.provenance import git_revision, versions
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.dataset.settings import SIMULATED, DataSettings
from snpimpute.experiment.conclude import at_level, read_conclusions
from snpimpute.experiment.rows import Done, Outcome
from snpimpute.experiment.settings import ExperimentSettings
from snpimpute.report import DatasetAbout, ReportContext, comparison_table, write_report

PUBLISHED_SHAPE = (742, 186, 500)  # train samples, test samples, sites of the reference experiment
PUBLISHED_TRIALS = 50
REPORTED = ("parameters", "seconds_fit", "seconds_impute", "samples_fit", "val_f1_macro")


def draw_report(settings: ExperimentSettings, outcome: Outcome, tables: list[pd.DataFrame], folder: Path) -> None:
    """Write the report of an experiment, and add its path and its headline tables to `outcome`.

    Args:
        settings: settings of the experiment.
        outcome: results of each row.
        tables: tidy tables of scores, one per dataset.
        folder: folder of the report.

    Raises:
        InputError: no imputer was scored (gives the reason for each).
    """
    if not tables:
        raise InputError(f"no imputer could be scored: {'; '.join(outcome.failures)}")
    datasets = {name: dataset_in(folder) for name, folder in outcome.datasets.items()}
    headline = next(iter(datasets.values())).headline_scenario
    context = ReportContext(
        title=f"Comparison of imputers: {settings.name}",
        notes=_notes(settings, outcome),
        datasets=[_dataset_about(dataset, settings.data[name]) for name, dataset in datasets.items()],
        imputers=pd.DataFrame([_imputer_row(name, done) for name, dones in outcome.rows.items() for done in dones]),
        primary_mechanism=headline.mechanism,
        headline_level=headline.level,
        versions={**versions(), "revision": git_revision()},
        mlflow_links=outcome.comparison_links,
        conclusions={
            name: at_level(read_conclusions(path), datasets[name].headline_scenario.level)
            for name, path in outcome.conclusions.items()
        },
    )
    scores = pd.concat(tables, ignore_index=True)
    outcome.report = write_report(scores, context, folder)
    outcome.tables = {name: comparison_table(scores, context, name) for name in outcome.scores}


def _notes(settings: ExperimentSettings, outcome: Outcome) -> list[str]:
    """Return the notes at the top of the report: the experiment's own, and one about small budgets."""
    notes = [settings.note] if settings.note else []
    tuned = [d for dones in outcome.rows.values() for d in dones if d.tuned is not None and d.tuned.study]
    short = [d for d in tuned if d.tuned is not None and d.tuned.trials < PUBLISHED_TRIALS]
    if short:
        notes.append(
            f"Small-budget results: {len(short)} of {len(tuned)} studies ended with fewer than {PUBLISHED_TRIALS} trials "
            "(their numbers are in the tables); the ranking may change with a larger budget."
        )
    return notes


def _imputer_row(dataset: str, done: Done) -> dict[str, Any]:
    """Return a row's entry in the report's table of imputers (see `ReportContext.imputers`)."""
    cls = imputers.load(done.row.imputer)
    network = cls.learns_in_epochs
    row: dict[str, Any] = {
        "dataset": dataset,
        "imputer": done.row.imputer,
        "variant": done.row.variant,
        "mask": done.row.mask if network else "",
        "framework": cls.framework or "",
        "status": done.failed or "ok",
    }
    if done.tuned is not None and done.tuned.study:
        row |= {
            "trials": done.tuned.trials,
            "trials_failed": done.tuned.failed,
            "study_ended_by": done.tuned.ended_by,
            "seconds_study": done.tuned.seconds,
        }
    for file in ("fit.json", "impute.json"):
        if done.home is not None and (done.home / file).exists():
            about = json.loads((done.home / file).read_text())
            memory = max(about["memory_mb"], row.get("memory_mb", 0.0))
            row |= {key: value for key, value in about.items() if key in REPORTED} | {"memory_mb": memory}
            if "params" in about:
                params, defaults = about["params"], cls.parse_params({}).model_dump(mode="json")
                row["params"] = _as_text({k: v for k, v in params.items() if v is not None})
                row["changed"] = _as_text({k: v for k, v in params.items() if v != defaults.get(k)}) or "none"
                if network:
                    row["inputs"] = "hidden" if params.get("mask_inputs", True) else "visible"
    return row


def _as_text(params: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in params.items())


def _dataset_about(dataset: PreparedDataset, data: DataSettings) -> DatasetAbout:
    """Return the facts about a dataset that the report shows."""
    calls = dataset.train.calls[:, dataset.headline_scenario.sites]
    shares = [100 * (calls == g).sum() / (calls >= 0).sum() for g in (0, 1, 2)]
    files = [data.train, data.test] if data.train and data.test else [Path(data.source)]
    source = " and ".join(path.name for path in files)
    sites = dataset.test.sites
    return DatasetAbout(
        name=dataset.name,
        digest=dataset.digest,
        description="simulated bulls" if data.source == SIMULATED and not data.train else f"genotypes of {source}",
        n_train=dataset.train.n_samples,
        n_validation=int(dataset.held_out.sum()),
        n_test=dataset.test.n_samples,
        n_sites=dataset.train.n_sites,
        published_shape=(dataset.train.n_samples, dataset.test.n_samples, dataset.train.n_sites) == PUBLISHED_SHAPE,
        left_out=dataset.left_out,
        sites=pd.DataFrame(
            {
                "site": dataset.test.site_keys(),
                "contig": sites.contig,
                "pos": sites.pos,
                "maf_test": dataset.test.maf(),
                "maf_panel": dataset.train.maf(),
            }
        ),
        genotype_shares=" / ".join(f"{share:.1f}%" for share in shares),
        headline=(dataset.headline_scenario.mechanism, dataset.headline_scenario.level),
    )
