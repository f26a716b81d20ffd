"""What the caller gives to be said beside the scores."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class DatasetAbout:
    """What the report says of a dataset beside its scores.

    Attributes:
        name: as in the column `dataset` of the scores.
        digest: of the prepared dataset's content.
        description: where the genotypes come from, in a sentence.
        n_train: samples to learn from; n_validation: those of them held out in studies; n_test: samples scored.
        n_sites: sites kept.
        published_shape: whether the published numbers may stand beside these.
        left_out: columns `reason`, `n`: sites read, removed by each filter, kept.
        sites: columns `site` (as in the subsets `site:…`), `contig`, `pos` (1-based), `maf_test`, `maf_panel`.
        genotype_shares: shares of genotypes 0, 1, 2, as text.
        headline: mechanism and percent missing of its headline tables; None = those of the whole report.
    """

    name: str
    digest: str
    description: str
    n_train: int
    n_validation: int
    n_test: int
    n_sites: int
    published_shape: bool
    left_out: pd.DataFrame
    sites: pd.DataFrame
    genotype_shares: str
    headline: tuple[str, float] | None = None


@dataclass(frozen=True, eq=False)
class ReportContext:
    """What the report says beside the scores.

    Attributes:
        title: of the page.
        notes: shown first, prominently (small budgets belong here).
        datasets: one section each, in this order.
        imputers: a row per dataset, imputer and variant, in the order listed: `dataset, imputer, variant`, `mask` (of a
            network: "fixed" or "random"), `inputs` (of a network: whether the hidden genotypes are "hidden" or
            "visible" in its input while it learns), `framework, parameters, seconds_study, seconds_fit,
            seconds_impute, memory_mb, trials, trials_failed, study_ended_by, samples_fit, val_f1_macro, status` ("ok" or
            why it failed), `params` and, of these, `changed` (those that differ from the defaults), both text.
        primary_mechanism: how the calls of the headline tables were hidden, where a dataset has no headline of its own.
        headline_level: percent missing in the headline tables.
        versions: program → version.
        mlflow_links: dataset → address of the page of the MLflow UI that compares its runs (http or https).
    """

    title: str
    notes: list[str]
    datasets: list[DatasetAbout]
    imputers: pd.DataFrame
    primary_mechanism: str
    headline_level: float
    versions: dict[str, str]
    mlflow_links: dict[str, str]
