"""Mosaic with other seeds on the development data, today's or an earlier version: what of a difference is chance.

    python benchmarks/mosaic_seeds.py --to docs/results/mosaic-seeds.csv
    git worktree add build/first 05cd4aa
    python benchmarks/mosaic_seeds.py --to docs/results/mosaic-seeds.csv --code build/first --version first

Fits mosaic at its defaults with each seed on the panels kg15-500 and cattle-chr1 that SNPIMPUTE_PANELS names, and scores the calls hidden
by the panels' masks, one a level. The rows of a version take the place of those that the table has of it. Cattle are phased by
Beagle anew with each seed; kg15 is phased.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
PANELS = ("kg15-500", "cattle-chr1")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--to", type=Path, required=True, help="table (.csv)")
    asked.add_argument("--code", type=Path, default=ROOT, help="checkout whose mosaic is run (default: this one)")
    asked.add_argument("--version", default="today", help="name of the version in the table (default: today)")
    asked.add_argument("--seeds", type=int, default=6, help="number of seeds, from 1 (default: 6)")
    # a dataset's folder: score it with the code on the path
    asked.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one:
        score(given.one, given.seeds).to_csv(given.to, index=False)
        return
    kept = pd.read_csv(given.to) if given.to.exists() else pd.DataFrame({"version": []})
    parts = [kept[kept["version"] != given.version]]
    with tempfile.TemporaryDirectory() as folder:
        for name in PANELS:
            here, scored = Path(folder) / name, Path(folder) / f"{name}.csv"
            write_plain(name, here)
            command = [sys.executable, __file__, "--to", scored, "--seeds", str(given.seeds), "--one", here]
            environment = os.environ | {"PYTHONPATH": str(given.code.resolve()), "OMP_NUM_THREADS": "1"}
            subprocess.run(command, env=environment, check=True)
            parts.append(pd.read_csv(scored).assign(version=given.version))
    pd.concat(parts, ignore_index=True).to_csv(given.to, index=False)


def write_plain(name: str, folder: Path) -> None:
    """Write a prepared panel as arrays and tables, which every version of the code can build its matrices from."""
    from snpimpute.base.progress import Watch
    from snpimpute.dataset.prepare import build_dataset
    from snpimpute.experiment.settings import read

    settings = read(ROOT / "experiments" / "mosaic.toml")
    data = settings.data[name]
    dataset = build_dataset(name, data, settings.seed if data.seed is None else data.seed, 60.0, Watch())
    folder.mkdir()
    for part, matrix in (("train", dataset.train), ("test", dataset.test)):
        haplotypes = {} if matrix.haplotypes is None else {"haplotypes": matrix.haplotypes}
        np.savez(folder / f"{part}.npz", calls=matrix.calls, **haplotypes)
        matrix.samples.to_csv(folder / f"{part}-samples.csv", index=False)
    dataset.train.sites.to_csv(folder / "sites.csv", index=False)
    scenarios = dataset.test_scenarios()
    np.savez(folder / "masks.npz", levels=[s.level for s in scenarios], hidden=[s.hidden for s in scenarios])


def score(folder: Path, n_seeds: int) -> pd.DataFrame:
    """Return wrong calls, macro-F1 and log-loss of mosaic by seed and level; `snpimpute` is whichever version is on the path."""
    from snpimpute.imputers.mosaic import MISSING, GenotypeMatrix, Mosaic

    sites = pd.read_csv(folder / "sites.csv", dtype={"contig": str, "ref": str, "alt": str}, keep_default_na=False)

    def matrix(part: str) -> GenotypeMatrix:
        arrays = np.load(folder / f"{part}.npz")
        samples = pd.read_csv(folder / f"{part}-samples.csv", keep_default_na=False)
        samples = samples.astype({name: str for name in samples.columns if name != "birth_order"})
        return GenotypeMatrix(calls=arrays["calls"], samples=samples, sites=sites, haplotypes=arrays.get("haplotypes"))

    train, test, masks = matrix("train"), matrix("test"), np.load(folder / "masks.npz")
    rows = []
    for seed in range(1, n_seeds + 1):
        model = Mosaic(Mosaic.parse_params({}), seed=seed, threads=1).fit(train)
        for level, hidden in zip(masks["levels"], masks["hidden"], strict=True):
            truth = test.calls[:, hidden]
            posterior = model.posterior(test.hide(hidden))[:, hidden][truth != MISSING]
            truth = truth[truth != MISSING].astype(int)
            called = posterior.argmax(axis=1)
            f1 = [
                2 * ((truth == g) & (called == g)).sum() / ((truth == g).sum() + (called == g).sum()) for g in range(3)
            ]
            loss = -np.log(np.maximum(posterior[np.arange(len(truth)), truth], 1e-6)).mean()
            found = {"wrong": (called != truth).sum(), "f1_macro": np.mean(f1), "log_loss": loss}
            rows.append(
                {"version": "", "dataset": folder.name, "seed": seed, "level": level, "switch": model.switch, **found}
            )
    return pd.DataFrame(rows).round(5)


if __name__ == "__main__":
    main()
