"""Facts about datasets and imputers that the report shows beside the scores."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True, eq=False)
class DatasetAbout:
    """Facts about a dataset that the report shows beside its scores.

    Attributes:
        name: name in the column `dataset` of the scores.
        digest: digest of the prepared dataset's content.
        description: origin of the genotypes, in a sentence.
        n_train: number of samples to learn from; n_validation: number of them held out in studies; n_test: number of
            samples scored.
        n_sites: number of sites kept.
        published_shape: whether the published numbers may be shown beside these.
        left_out: columns `reason`, `n`: sites read, removed by each filter, kept.
        sites: columns `site` (as in the subsets `site:…`), `contig`, `pos` (1-based), `maf_test`, `maf_panel`.
        genotype_shares: shares of genotypes 0, 1, 2, as text.
        headline: mechanism and percent missing of the dataset's headline tables; None = those of the whole report.
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
    """Facts that the report shows beside the scores.

    Attributes:
        title: title of the page.
        notes: notes shown prominently at the top, such as one about small budgets.
        datasets: the datasets, one chapter each, in this order.
        imputers: a row per dataset, imputer and variant, in the order listed: `dataset, imputer, variant`, `mask` (of a
            network: "fixed" or "random"), `inputs` (of a network: whether the hidden genotypes are "hidden" or
            "visible" in its input while it learns), `framework, parameters, seconds_study, seconds_fit,
            seconds_impute, memory_mb, trials, trials_failed, study_ended_by, samples_fit, val_f1_macro, status` ("ok" or
            the reason of its failure), `params` and, of these, `changed` (those that differ from the defaults), both text.
        primary_mechanism: mechanism of the headline tables, for datasets without a headline of their own.
        headline_level: percent missing in the headline tables.
        versions: program → version.
        conclusions: dataset → what imputers change in the conclusion, at the headline's level; see
            report.conclusions.what_changes.
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
    conclusions: dict[str, pd.DataFrame] = field(default_factory=dict)
