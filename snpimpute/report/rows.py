"""Lookup of the scores of one dataset in the tidy table, and comparison with the best imputer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from snpimpute.dataset.mechanisms import hides_calls
from snpimpute.report.about import ReportContext
from snpimpute.report.text import ABSENT, Score, interval, known

BEST, TIED, WORSE = "best", "not told apart from the best", "worse"
BETTER, ALIKE = "better", "not told apart"
BINNED = ("maf:", "confidence:")  # subsets that are named by the bounds of a bin
F1_METRICS = ("f1_micro", "f1_macro", "f1_0", "f1_1", "f1_2")
Scenario = tuple[str, float]  # mechanism, percent missing
_Key = tuple[Scenario, str, str]  # scenario, subset, metric


class Rows:
    """Test scores of one dataset, pooled over masks.

    Methods take the headline scenario unless another is given. All scores are of one decision about hard calls, by
    default the largest posterior ("argmax").
    """

    def __init__(self, scores: pd.DataFrame, context: ReportContext, dataset: str, decision: str = "argmax") -> None:
        own = next((about.headline for about in context.datasets if about.name == dataset), None)
        self.headline: Scenario = own or (context.primary_mechanism, float(context.headline_level))
        self.missing = f"{self.headline[1]:g}% missing"
        self._values: dict[_Key, dict[str, Score]] = {}
        self._differences: dict[_Key, dict[str, dict[str, Score]]] = {}  # key → the one compared with → the other
        kept = (scores["dataset"] == dataset) & (scores["split"] == "test") & (scores["decision"] == decision)
        table = scores[kept & (scores["repeat"].astype(str) == "all")]
        columns = (
            "imputer",
            "variant",
            "mechanism",
            "level",
            "subset",
            "metric",
            "versus",
            "value",
            "low",
            "high",
            "n",
        )
        for row in zip(*(table[column] for column in columns), strict=True):
            imputer, variant, mechanism, level, subset, metric, versus, *numbers = row
            key, label = ((mechanism, float(level)), subset, metric), label_of(imputer, variant)
            if pd.isna(versus) or versus == "":
                place = self._values.setdefault(key, {})
            else:
                place = self._differences.setdefault(key, {}).setdefault(versus, {})
            if label in place:
                raise ValueError(f"scores hold two rows for {label} on {dataset}: {key}")
            place[label] = Score(*(float(number) for number in numbers))
        chosen = context.imputers[context.imputers["dataset"] == dataset]
        self._about = {label_of(row["imputer"], row["variant"]): row for _, row in chosen.iterrows()}
        self._imputer = {
            label_of(imputer, variant): str(imputer)
            for both in (chosen, table)
            for imputer, variant in zip(both["imputer"], both["variant"], strict=True)
        }
        labels = self.listed = list(self._imputer)
        self.ranked = sorted(labels, key=lambda label: -np.nan_to_num(self.value(label, "all", "f1_macro"), nan=-1.0))

    @property
    def dosage_r2(self) -> str:
        """Key of the dosage r² that tables show: within sites or, where single calls are hidden and a site has few, centred."""
        return "centred_dosage_r2" if hides_calls(self.headline[0]) else "site_dosage_r2"

    def about(self, label: str) -> pd.Series:
        """Return the imputer's row of the context; empty if it has none."""
        return self._about.get(label, pd.Series(dtype=object))

    def failure(self, label: str) -> str:
        """Return the reason why an imputer has no scores; empty if it has scores."""
        status = self.about(label).get("status", "ok")
        return "" if status == "ok" else str(status)

    def get(self, label: str, subset: str, metric: str, scenario: Scenario | None = None) -> Score | None:
        """Return a score of an imputer, or None."""
        return self._values.get((scenario or self.headline, subset, metric), {}).get(label)

    def value(self, label: str, subset: str, metric: str, scenario: Scenario | None = None) -> float:
        """Return the value of a score of an imputer, NaN if there is none."""
        found = self.get(label, subset, metric, scenario)
        return np.nan if found is None else found.value

    def best(self, subset: str, metric: str, scenario: Scenario | None = None) -> str | None:
        """Return the imputer with the highest value; among equals, the one that the others are compared with."""
        key = (scenario or self.headline, subset, metric)
        values = {label: score.value for label, score in self._values.get(key, {}).items() if known(score.value)}
        compared = self._differences.get(key, {})
        return max(values, key=lambda label: (values[label], len(compared.get(label, {}))), default=None)

    def difference(
        self, label: str, versus: str, subset: str, metric: str, scenario: Scenario | None = None
    ) -> Score | None:
        """Return the paired difference `label` minus `versus`, or None; the table may have it in either direction."""
        found = self._differences.get((scenario or self.headline, subset, metric), {})
        if label in found.get(versus, {}):
            return found[versus][label]
        back = found.get(label, {}).get(versus)
        return None if back is None else -back

    def are_compared(self, label: str, versus: str) -> bool:
        """Return whether there is a paired difference of the two in macro-F1 over all sites, in any scenario."""
        scenarios = {
            scenario for scenario, subset, metric in self._differences if (subset, metric) == ("all", "f1_macro")
        }
        return any(self.difference(label, versus, "all", "f1_macro", scenario) for scenario in scenarios)

    def variants(self) -> dict[str, list[str]]:
        """Return a mapping of imputer → its scored variants, in the order listed."""
        found: dict[str, list[str]] = {}
        for label in self.listed:
            if any(label in scores for scores in self._values.values()):
                found.setdefault(self._imputer[label], []).append(label)
        return found

    def ranks(self, subset: str, metric: str) -> dict[str, int]:
        """Return the rank of each scored imputer at the headline scenario, 1 for the highest value."""
        values = {label: self.value(label, subset, metric) for label in self.ranked}
        order = sorted((label for label in values if known(values[label])), key=lambda label: -values[label])
        return {label: place for place, label in enumerate(order, 1)}

    def verdict(
        self, label: str, subset: str, metric: str, scenario: Scenario | None = None
    ) -> tuple[str, Score | None]:
        """Return the verdict from the interval of the difference to the best, and the difference itself."""
        if label == self.best(subset, metric, scenario):
            return BEST, None
        best = self.best(subset, metric, scenario)
        found = None if best is None else self.difference(label, best, subset, metric, scenario)
        word = judge_difference(found)
        return TIED if word in (ALIKE, BETTER) else word, found

    def mechanisms(self) -> list[str]:
        """Return the mechanisms that were scored over all sites, the primary one first."""
        found = dict.fromkeys(scenario[0] for scenario, *rest in self._values if rest == ["all", "f1_macro"])
        return sorted(found, key=lambda mechanism: mechanism != self.headline[0])

    def scenarios(self, mechanism: str, subset: str, metric: str) -> list[Scenario]:
        """Return the scenarios of a mechanism in which a metric was scored, by level."""
        return sorted(key[0] for key in self._values if (key[0][0], *key[1:]) == (mechanism, subset, metric))

    def subsets(self, prefix: str, metric: str) -> list[str]:
        """Return the names, without prefix, of the headline's subsets with a prefix; bins by their lower bound."""
        found = [key[1] for key in self._values if key[0] == self.headline and key[2] == metric]
        names = [subset.removeprefix(prefix) for subset in found if subset.startswith(prefix)]
        return sorted(names, key=lambda name: float(name.split("-")[0])) if prefix.endswith(BINNED) else names


def judge_difference(difference: Score | None) -> str:
    """Return the verdict on the first of two imputers, from the interval of their paired difference."""
    if difference is None or not known(difference.value):
        return ABSENT
    if not interval(difference):
        return "no interval"
    if difference.high < 0:
        return WORSE
    return BETTER if difference.low > 0 else ALIKE


def label_of(imputer: str, variant: str) -> str:
    """Return `imputer/variant`, or the imputer alone if the variant has no name."""
    return f"{imputer}/{variant}" if variant else imputer


def imputer_of(label: str) -> str:
    """Return the imputer that a label of `label_of` names."""
    return label.rpartition("/")[0] or label


def verdict_or_failure(rows: Rows, label: str, verdict: str) -> str:
    """Return the verdict on an imputer, or the reason of its failure."""
    reason = rows.failure(label)
    return f"failed: {reason}" if reason else verdict
