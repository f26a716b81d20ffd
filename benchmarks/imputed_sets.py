"""Credible sets on imputed genotypes beside true ones, over many simulated traits; goes on where it was.

    python benchmarks/imputed_sets.py TRUTH IMPUTED... --label A --label B --typed TARGET [--traits 500] [--way draws] [--kept sets.csv]

Traits are simulated in groups of 50, a seed each (from 101 on); a row per seed and file is kept. Standard errors are over groups.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.progress import Watch
from snpimpute.metrics.conclusions import ALL, FINE_MAPPING
from snpimpute.traits.consequence import ConsequenceSettings, compare_conclusions
from snpimpute.traits.simulated import TraitModel
from snpimpute.traits.ways import WAYS

PER_SEED = 50  # traits
FIRST_SEED = 101


def main() -> None:
    """Compare, and print what is known so far."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("truth", type=Path)
    parser.add_argument("imputed", type=Path, nargs="+")
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--typed", type=Path)
    parser.add_argument("--traits", type=int, default=500)
    parser.add_argument("--variance", type=float, default=0.02)
    parser.add_argument("--way", choices=WAYS, action="append", default=[], help="of fine-mapping, beside dosages")
    parser.add_argument("--kept", type=Path, default=Path("sets.csv"))
    asked = parser.parse_args()
    parts = [pd.read_csv(asked.kept)] if asked.kept.exists() else []
    done = set(parts[0].seed) if parts else set()
    for seed in range(FIRST_SEED, FIRST_SEED + asked.traits // PER_SEED):
        if seed in done:
            continue
        settings = ConsequenceSettings(
            asked.truth,
            tuple(asked.imputed),
            tuple(asked.label),
            typed=asked.typed,
            model=TraitModel(PER_SEED, 1, asked.variance, seed=seed),
            finemapped=PER_SEED,
            filters=(0.0,),
            ways=tuple(asked.way),
        )
        table = compare_conclusions(settings, Watch()).table
        plain = table[(table.subset == ALL) & (table.versus == "") & table.measure.isin(FINE_MAPPING)]
        own = plain.pivot_table("value", "file", "measure", sort=False).assign(seed=seed).reset_index()
        parts.append(own)
        pd.concat(parts, ignore_index=True).to_csv(asked.kept, index=False)
    print(pooled(pd.concat(parts, ignore_index=True)).round(4).to_string(index=False))


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per file: traits, sets, coverage, size and recall over all seeds, with standard errors over seeds."""
    found = []
    for file, own in rows.groupby("file", sort=False):
        sets = own.sets * PER_SEED
        sums = {
            "coverage": ((own.coverage.fillna(0) * sets), sets),
            "set_size": ((own.set_size.fillna(0) * sets), sets),
            "recall": (own.recall * PER_SEED, pd.Series(PER_SEED, index=own.index)),
        }
        row: dict[str, object] = {"file": file, "traits": PER_SEED * len(own), "sets": round(sets.sum())}
        for name, (top, bottom) in sums.items():
            value = top.sum() / bottom.sum()
            row[name] = value
            row[f"{name}_se"] = np.sqrt(((top - value * bottom) ** 2).sum()) / bottom.sum()
        found.append(row)
    return pd.DataFrame(found)


if __name__ == "__main__":
    main()
