"""Measures of what a genotype file says of traits: their names, what they mean, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass

TRUTH, TYPED = "true genotypes", "typed alone"  # rows beside those of imputed files
ALL = "all"  # the subset of all traits


@dataclass(frozen=True)
class Measure:
    """A measure: what it is called, what it says, and whether more is better."""

    label: str
    meaning: str
    share: bool = True  # between 0 and 1
    more_is_better: bool = True


MEASURES = {
    "chi2": Measure("relative χ² at the causal site", "χ² at causal sites, relative to true genotypes; 0 where a file lacks the site", False),
    "power": Measure("power at 5e-8", "share of traits with a site of p < 5e-8"),
    "power_fdr": Measure("power at 5% FDR", "share of traits with a site that Benjamini and Hochberg's procedure takes at 5%"),
    "lead": Measure("lead site is causal", "share of traits whose smallest p-value is at a causal site"),
    "lead_r2": Measure("r² of lead and causal", "r² of the lead site and the nearest causal one in true genotypes, mean of traits"),
    "recall": Measure("causal sites in sets", "share of the causal sites that are in some credible set; no set holds none"),
    "coverage": Measure("coverage of sets", "share of credible sets that hold a causal site; they claim 95%"),
    "set_size": Measure("size of sets", "sites in a credible set, mean", False, False),
    "sets": Measure("sets per trait", "credible sets per trait", False),
    "correlation": Measure("accuracy of breeding values", "correlation of breeding values with the true ones (real traits: with the trait), mean of traits"),
    "slope": Measure("slope of breeding values", "regression of the true ones on breeding values: 1 = not inflated", False),
    "top": Measure("top 10% kept", "share of the best 10% by true genotypes that are among the best 10% by the file"),
}  # fmt: skip
ASSOCIATION = ("chi2", "power", "power_fdr", "lead", "lead_r2")
FINE_MAPPING = ("recall", "coverage", "set_size", "sets")
PREDICTION = ("correlation", "slope", "top")
