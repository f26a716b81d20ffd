"""Measure how well importances of sites point at causes: spiked-in causal sites, decoys, stability over seeds; goes on where it was.

    SNPIMPUTE_PANELS=… python benchmarks/explanations.py [--replicates 6] [--explained 12] [--kept explanations.csv]

Traits are simulated on true genotypes of 2,000 people at 500 sites: 3 causal sites of equal effects (before they go by frequency)
make 5% of the variance. A row per trait and method is kept: `recall` of causal sites among the 10 most important; `area` under
precision and recall; `real`, the share of the 10 most important that are real sites where each site has a copy with its
samples permuted; `agreement` (Spearman) of importances and `overlap` of the 10 most important with another seed of the
predictor; `correlation` of prediction and trait in the 504 people that were not learned from.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from snpimpute.base.files import write_text
from snpimpute.metrics.prediction import correlation
from snpimpute.report.markdown import table_of as as_markdown
from snpimpute.traits.attributions import attributions, ensemble, methods_of
from snpimpute.traits.dosages import read_dosages
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort, posterior_of_calls
from snpimpute.traits.predictors.selection import expected_alleles
from snpimpute.traits.simulated import TraitModel, simulated_traits
from snpimpute.traits.susie import from_products

REGION, N_SITES, N_SAMPLES = "15:27857000-28060000", 500, 2000
MODEL = TraitModel(n_traits=50, n_causal=3, variance=0.05, equal=True, seed=1)
TOP = 10
PREDICTORS = ("ridge", "lightgbm", "mlp", "cnn")
SETTINGS = {"cnn": {"filters_1": 8, "filters_2": 16}}  # beside the defaults: a quarter of the filters, for its time
LABELS = {
    "z": "size of z",
    "susie": "SuSiE, PIP",
    "ridge:effects": "`ridge`, effects",
    "lightgbm:gain": "`lightgbm`, gain",
    "lightgbm:shap": "`lightgbm`, SHAP",
    "mlp:integrated_gradients": "`mlp`, integrated gradients",
    "mlp:ensemble": "`mlp`, mean rank of its four methods",
    "cnn:integrated_gradients": "`cnn`, integrated gradients",
    "cnn:ensemble": "`cnn`, mean rank of its four methods",
    "all": "mean rank of the four predictors",
}
Scores = dict[str, np.ndarray]


def importances(cohort: Cohort, seed: int, n_explained: int) -> tuple[Scores, dict[str, Any]]:
    """Return the importance of each site by each predictor's methods, float64 (n_sites,), and the fitted predictors."""
    found, fitted_of = {}, {}
    few = cohort.take_samples(np.random.default_rng(seed).permutation(cohort.n_samples)[:n_explained])
    for name in PREDICTORS:
        cls = load(name)
        fitted: Any = cls(cls.parse_params({"min_maf": 0.0, **SETTINGS.get(name, {})}), seed=seed).fit(cohort)
        fitted_of[name] = fitted
        own = {m: np.abs(attributions(fitted, few, m, seed)).mean(axis=0) for m in methods_of(fitted)}
        if name == "lightgbm":
            own["gain"] = fitted._model.feature_importance("gain")[: cohort.n_sites]
        if len(own) > 2:
            own["ensemble"] = ensemble(own)
        found |= {f"{name}:{method}": values for method, values in own.items() if f"{name}:{method}" in LABELS}
    best = ("ridge:effects", "lightgbm:shap", "mlp:integrated_gradients", "cnn:integrated_gradients")
    found["all"] = ensemble({name: found[name] for name in best})
    return found, fitted_of


def by_statistics(cohort: Cohort) -> Scores:
    """Return |z| of each site by itself, and SuSiE's probability."""
    x, y = expected_alleles(cohort.posterior).astype(np.float64), cohort.values - cohort.values.mean()
    x -= x.mean(axis=0)
    xx, xy, yy, n = x.T @ x, x.T @ y, float(y @ y), len(y)
    r = xy / np.sqrt(np.diag(xx) * yy)
    return {"z": np.abs(r) * np.sqrt((n - 2) / (1 - r**2)), "susie": from_products(xx, xy, yy, n).pip}


def with_decoys(cohort: Cohort, seed: int) -> Cohort:
    """Return the samples with a copy of each site, its samples permuted, on a contig of its own behind the real ones."""
    rng = np.random.default_rng(seed)
    copies = np.stack([cohort.posterior[rng.permutation(cohort.n_samples), j] for j in range(cohort.n_sites)], axis=1)
    sites = pd.concat([cohort.sites, cohort.sites.assign(contig="decoys")], ignore_index=True)
    return replace(cohort, posterior=np.concatenate([cohort.posterior, copies], axis=1), sites=sites)


def most_important(scores: np.ndarray) -> np.ndarray:
    """Return the numbers of the TOP most important sites; of equals the first."""
    return np.argsort(-scores, kind="stable")[:TOP]


def measured(cohort: Cohort, others: Cohort, causal: np.ndarray, seed: int, n_explained: int) -> list[dict[str, Any]]:
    """Return a row per method for one trait."""
    found, fitted = importances(cohort, seed, n_explained)
    again, _ = importances(cohort, seed + 1, n_explained)
    both = with_decoys(cohort, seed)
    beside = importances(both, seed, n_explained)[0] | by_statistics(both)
    found = by_statistics(cohort) | found
    reached = {name: correlation(others.values, of.predict(others.without_trait())) for name, of in fitted.items()}
    is_causal = np.isin(np.arange(cohort.n_sites), causal)
    rows = []
    for method in LABELS:
        scores, top = found[method], most_important(found[method])
        row = {"method": method, "recall": np.isin(causal, top).mean()}
        row["area"] = average_precision_score(is_causal, scores)
        row["real"] = (most_important(beside[method]) < cohort.n_sites).mean()
        row["correlation"] = reached.get(method.partition(":")[0], np.nan)
        if method in again and not method.startswith("ridge"):
            row["agreement"] = spearmanr(scores, again[method]).statistic
            row["overlap"] = np.isin(top, most_important(again[method])).mean()
        rows.append(row)
    return rows


def table(rows: pd.DataFrame) -> str:
    """Return means over traits with standard errors, as Markdown."""
    columns = {
        "recall": "recall at 10",
        "area": "area under precision–recall",
        "real": "no decoy, of 10",
        "agreement": "agreement over seeds",
        "overlap": "same of 10 over seeds",
        "correlation": "correlation of prediction",
    }

    def cell(values: pd.Series) -> str:
        return f"{values.mean():.2f} ± {values.sem():.2f}" if values.notna().any() else ""

    lines = []
    for method, label in LABELS.items():
        own = rows[rows.method == method]
        lines.append([label, *(cell(own[column]) for column in columns)])
    return as_markdown(["importance", *columns.values()], lines)


def main() -> None:
    """Measure the traits that are not measured yet, then print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=6)
    parser.add_argument("--explained", type=int, default=12, help="samples whose predictions are explained")
    parser.add_argument("--kept", type=Path, default=Path("explanations.csv"))
    given = parser.parse_args()
    dosages = read_dosages(Path(os.environ["SNPIMPUTE_PANELS"]) / "kg15" / "kg15.vcf.gz", region=REGION)
    dosages = dosages.take_sites(np.flatnonzero(dosages.maf() > 0.01)[:N_SITES])
    order = np.random.default_rng(1).permutation(dosages.n_samples)
    traits = simulated_traits(dosages, MODEL)
    posterior = posterior_of_calls(dosages.values.round().astype(np.int8))
    assert traits.causal is not None
    rows = pd.read_csv(given.kept) if given.kept.exists() else pd.DataFrame({"trait": []})
    for t in range(given.replicates):
        if t in set(rows.trait):
            continue
        start = time.monotonic()
        everyone = Cohort(posterior, dosages.sites, traits.values[:, t], np.empty((dosages.n_samples, 0)))
        cohort, others = (everyone.take_samples(np.sort(part)) for part in (order[:N_SAMPLES], order[N_SAMPLES:]))
        new = pd.DataFrame(measured(cohort, others, traits.causal[t], 1, given.explained)).assign(trait=t)
        rows = pd.concat([rows, new], ignore_index=True)
        write_text(given.kept, rows.to_csv(index=False))
        print(f"trait {t}: {time.monotonic() - start:.0f} s", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
