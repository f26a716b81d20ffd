"""Coverage of SuSiE's credible sets on true genotypes, over simulated traits; goes on where it was.

    python benchmarks/finemap_coverage.py GENOTYPES --region 15:27857000-28060000 [--sites 500] [--samples 2000]
        [--traits 1000] [--causal 3] [--variance 0.05] [--equal] [--kept coverage.csv]

A row per trait is added to the file that is kept: causal sites, those in some set, sets, sets that hold one, sites in sets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.traits.dosages import read_dosages
from snpimpute.traits.simulated import TraitModel, simulated_traits
from snpimpute.traits.susie import from_products

PER_SEED = 50  # traits


def main() -> None:
    """Simulate, fine-map, and print coverage and recall with their standard errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("genotypes", type=Path)
    parser.add_argument("--region")
    parser.add_argument("--sites", type=int, default=500)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--traits", type=int, default=1000)
    parser.add_argument("--causal", type=int, default=3)
    parser.add_argument("--variance", type=float, default=0.05)
    parser.add_argument("--refine", action="store_true", help="with steps away from local optima, ten times as slow")
    parser.add_argument("--equal", action="store_true", help="effects of one size")
    parser.add_argument("--kept", type=Path, default=Path("coverage.csv"))
    asked = parser.parse_args()
    dosages = read_dosages(asked.genotypes, region=asked.region)
    dosages = dosages.take_sites(np.flatnonzero(dosages.maf() > 0.01)[: asked.sites])
    order = np.random.default_rng(1).permutation(dosages.n_samples)
    dosages = dosages.take_samples(np.sort(order[-asked.samples :]))
    centred = dosages.centred()
    products = centred.T @ centred
    rows = pd.read_csv(asked.kept).to_dict("records") if asked.kept.exists() else []
    for number in range(len(rows), asked.traits):
        seed, t = divmod(number, PER_SEED)
        model = TraitModel(PER_SEED, asked.causal, asked.variance, equal=asked.equal, seed=seed + 1)
        if t == 0 or number == len(rows):
            traits = simulated_traits(dosages, model)
        y = traits.values[:, t] - traits.values[:, t].mean()
        found = from_products(products, centred.T @ y, float(y @ y), len(y), refine=asked.refine)
        assert traits.causal is not None
        causal, sets = set(traits.causal[t].tolist()), [set(of.members.tolist()) for of in found.sets]
        rows.append(
            {
                "causal": len(causal),
                "found": len(causal & set().union(*sets)),
                "sets": len(sets),
                "right": sum(bool(of & causal) for of in sets),
                "sites": sum(map(len, sets)),
            }
        )
        if t == PER_SEED - 1 or number == asked.traits - 1:
            pd.DataFrame(rows).to_csv(asked.kept, index=False)
    table = pd.DataFrame(rows)
    for name, top, bottom in (("coverage", "right", "sets"), ("recall", "found", "causal")):
        value = table[top].sum() / table[bottom].sum()
        error = np.sqrt(((table[top] - value * table[bottom]) ** 2).sum()) / table[bottom].sum()
        print(f"{name} {value:.4f} (standard error {error:.4f})")
    print(
        f"{len(table)} traits, {table['sets'].sum()} sets, {table['sites'].sum() / table['sets'].sum():.2f} sites each"
    )


if __name__ == "__main__":
    main()
