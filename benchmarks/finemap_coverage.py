"""Coverage of SuSiE's credible sets on true genotypes, over simulated traits; goes on where it was.

    python benchmarks/finemap_coverage.py GENOTYPES --region 15:27857000-28060000 [--sites 500] [--samples 2000]
        [--traits 1000] [--causal 3] [--variance 0.05] [--equal] [--refine] [--purity 0.5] [--processes 1] [--kept coverage.csv]

A row per trait is added to the file that is kept: its seed, causal sites, those in some set, sets, sets that hold one, sites in
sets. With --causal 0 the traits are noise, and each set is a false one.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.traits.dosages import Dosages, read_dosages
from snpimpute.traits.simulated import TraitModel, simulated_traits
from snpimpute.traits.susie import LEAST_PURITY, from_products

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
    parser.add_argument("--purity", type=float, default=LEAST_PURITY)
    parser.add_argument("--equal", action="store_true", help="effects of one size")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kept", type=Path, default=Path("coverage.csv"))
    asked = parser.parse_args()
    dosages = read_dosages(asked.genotypes, region=asked.region)
    dosages = dosages.take_sites(np.flatnonzero(dosages.maf() > 0.01)[: asked.sites])
    order = np.random.default_rng(1).permutation(dosages.n_samples)
    dosages = dosages.take_samples(np.sort(order[-asked.samples :]))
    parts = [pd.read_csv(asked.kept)] if asked.kept.exists() else []
    left = set(range(1, -(-asked.traits // PER_SEED) + 1)).difference(*(part.seed for part in parts))
    with ProcessPoolExecutor(asked.processes) as pool:
        for done in as_completed([pool.submit(of_seed, dosages, seed, asked) for seed in sorted(left)]):
            parts.append(done.result())
            pd.concat(parts).to_csv(asked.kept, index=False)
    table = pd.concat(parts)
    for name, top, bottom in (("coverage", "right", "sets"), ("recall", "found", "causal")):
        if table[bottom].sum():
            value = table[top].sum() / table[bottom].sum()
            error = np.sqrt(((table[top] - value * table[bottom]) ** 2).sum()) / table[bottom].sum()
            print(f"{name} {value:.4f} (standard error {error:.4f})")
    print(
        f"{len(table)} traits, {table['sets'].sum()} sets, {table['sites'].sum() / max(1, table['sets'].sum()):.2f} sites each"
    )


def of_seed(dosages: Dosages, seed: int, asked: argparse.Namespace) -> pd.DataFrame:
    """Return the rows of PER_SEED traits."""
    centred = dosages.centred()
    products = centred.T @ centred
    if asked.causal:
        traits = simulated_traits(
            dosages, TraitModel(PER_SEED, asked.causal, asked.variance, equal=asked.equal, seed=seed)
        )
        assert traits.causal is not None
        values, causal_of = traits.values, [set(own.tolist()) for own in traits.causal]
    else:
        values, causal_of = np.random.default_rng(seed).normal(size=(len(centred), PER_SEED)), PER_SEED * [set()]
    rows = []
    for own, causal in zip(values.T, causal_of, strict=True):
        y = own - own.mean()
        found = from_products(products, centred.T @ y, float(y @ y), len(y), refine=asked.refine, purity=asked.purity)
        sets = [set(of.members.tolist()) for of in found.sets]
        rows.append(
            {
                "seed": seed,
                "causal": len(causal),
                "found": len(causal & set().union(*sets)),
                "sets": len(sets),
                "right": sum(bool(of & causal) for of in sets),
                "sites": sum(map(len, sets)),
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
