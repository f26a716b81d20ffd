"""Compare imputers on arrays over data that nothing was designed on, by the commands, and write docs/results/arrays.md.

    python scripts/arrays.py freeze                      # writes the digests of the design into docs/results/arrays.toml
    python scripts/arrays.py score [--only eur20-1] [--work runs/arrays]
    python scripts/arrays.py write [--work runs/arrays]

The design stands in docs/results/arrays.toml: datasets, seeds, typed sites, and each opponent's parameters. `--design
docs/results/arrays-rates.toml` takes another one, whose page and table are named after it. `freeze` adds
digests of that file and of the source code of every imputer in it; `score` refuses to run with any other. Each dataset is a
panel and a target of other people or animals; the target has a share of the sites, chosen at random, or all sites with single
calls missing. `snpimpute fit` learns once from the panel, told of the target's sites in the middle of the shares, and
`snpimpute impute` fills each target. Finished results stay in the work folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.base.sources import source_digest
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers import decided_by, load, look_in
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.intervals import interval, resample, resampling_weights
from snpimpute.metrics.maf import RARE_MAF
from snpimpute.metrics.registry import f1_per_genotype
from snpimpute.report.markdown import table_of
from snpimpute.report.text import difference

ROOT = Path(__file__).parents[1]
EXTERNAL = ROOT / "experiments" / "external"
DESIGN = ROOT / "docs" / "results" / "arrays.toml"
RESULTS = ROOT / "docs" / "results"
OWN = "mosaic"
RESAMPLES = 2000
MARGIN = 0.002  # largest loss of macro-F1 that counts as no worse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["freeze", "score", "write"])
    parser.add_argument("--design", type=Path, default=DESIGN)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "arrays")
    parser.add_argument("--only", nargs="+", help="datasets")
    parser.add_argument("--rows", nargs="+", help="rows")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    design = tomllib.loads(arguments.design.read_text())
    if arguments.step == "freeze":
        freeze(design, arguments.design)
        return
    if arguments.step == "write":  # the code may have gone on since: the page names the commit
        require_frozen(design, arguments.design, ["design"])
        write(design, arguments.work, arguments.design.stem)
        return
    require_frozen(design, arguments.design)
    if "SNPIMPUTE_PANELS" not in os.environ:
        sys.exit("SNPIMPUTE_PANELS is not set: it names the folder of the real panels")
    for name in arguments.only or design["data"]:
        folder = arguments.work / name
        if not (folder / "made").exists():
            make(design["data"][name], folder)
        for row in arguments.rows or design["rows"]:
            about = design["rows"][row]
            if design["data"][name]["group"] in about.get("on", [design["data"][name]["group"]]):
                measure(folder, design["data"][name], row, about, arguments.threads)


# ---------------------------------------------------------------------- the design


def digests(design: dict[str, Any]) -> dict[str, str]:
    """Return the digests of the design, of each imputer in it with its program and libraries, and of `fit` and `impute`."""
    look_in([EXTERNAL])
    found = {"design": digest({key: design[key] for key in ("data", "rows")})}
    for imputer in sorted({about["imputer"] for about in design["rows"].values()}):
        found[imputer] = digest(decided_by(load(imputer)))
    found["fit and impute"] = source_digest("snpimpute.impute.steps", "snpimpute.impute.fit", "snpimpute.impute.run")
    return {name: value[:16] for name, value in found.items()}


def freeze(design: dict[str, Any], file: Path) -> None:
    """Write the digests to the end of the design's file, in place of those that stand there."""
    text = file.read_text().partition("\n[frozen]\n")[0].rstrip()
    lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in digests(design).items()]
    write_text(file, "\n".join([text, "", "[frozen]", *lines, ""]))


def require_frozen(design: dict[str, Any], file: Path, only: Collection[str] = ()) -> None:
    """Exit unless design and code (or `only` some of these) are those that were frozen."""
    found, frozen = digests(design), design.get("frozen", {})
    if differ := [name for name in only or found if found[name] != frozen.get(name)]:
        sys.exit(f"not what was frozen in {file.name}: {', '.join(differ)}; check out the commit that froze it")


# ---------------------------------------------------------------------- data


def make(data: dict[str, Any], folder: Path) -> None:
    """Write panel.vcf.gz, truth.vcf.gz and a target for each share of the dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(data["seed"])
    everybody = SOURCES[data["source"]](data)
    is_target = np.zeros(everybody.n_samples, dtype=bool)
    is_target[rng.permutation(everybody.n_samples)[: data["targets"]]] = True
    panel, truth = everybody.take_samples(~is_target), everybody.take_samples(is_target)
    varies = panel.maf() > 0
    panel, truth = panel.take_sites(varies), truth.take_sites(varies)
    truth = replace(truth, haplotypes=None)
    write_vcf(folder / "panel.vcf.gz", panel, index=True)
    write_vcf(folder / "truth.vcf.gz", truth, index=True)
    order = rng.permutation(truth.n_sites)
    for share in data.get("typed", []):
        hidden = np.ones(truth.n_sites, dtype=bool)
        hidden[order[: round(share / 100 * truth.n_sites)]] = False
        write_vcf(folder / f"array-{share:g}.vcf.gz", truth, leave_out=hidden, index=True)
    for share in data.get("missing", []):
        target = truth.hide(rng.random(truth.calls.shape) < share / 100)
        write_vcf(folder / f"missing-{share:g}.vcf.gz", target, index=True)
    (folder / "made").touch()


def targets_of(data: dict[str, Any]) -> list[str]:
    """Return the names of a dataset's targets: arrays first, then those with single calls missing."""
    arrays = [f"array-{share:g}" for share in data.get("typed", [])]
    return arrays + [f"missing-{share:g}" for share in data.get("missing", [])]


def real(data: dict[str, Any]) -> GenotypeMatrix:
    """Return the genotypes of a real panel's region."""
    return read_matrix(Path(os.environ["SNPIMPUTE_PANELS"]) / data["file"], region=data.get("region"))[0]


def simulated_people(data: dict[str, Any]) -> GenotypeMatrix:
    """Return phased people of a simulated population: a growing one, over a chromosome with hot spots of recombination.

    A hot spot of 2 kb stands every 50 kb on average; they take 60% of the recombinations.
    """
    import msprime

    rng = np.random.default_rng(data["seed"])
    length = int(data["megabases"] * 1e6)
    starts = np.sort(rng.choice(np.arange(1, length // 2000 - 1), length // 50_000, replace=False)) * 2000
    edges = np.unique(np.concatenate([[0, length], starts, starts + 2000]))
    hot = np.isin(edges[:-1], starts)
    spans = np.diff(edges)
    strength = np.where(hot, rng.gamma(1.0, 1.0, len(spans)), 0.0)
    rate = 1e-8 * length * (0.6 * strength / (strength * spans).sum() + 0.4 / length)
    history = msprime.Demography()
    history.add_population(name="people", initial_size=200_000, growth_rate=0.01)
    history.add_population_parameters_change(time=300, initial_size=10_000, growth_rate=0, population="people")
    trees = msprime.sim_ancestry(
        {"people": data["people"]}, demography=history, recombination_rate=msprime.RateMap(position=edges, rate=rate),
        random_seed=data["seed"],
    )  # fmt: skip
    trees = msprime.sim_mutations(trees, rate=1.25e-8, model=msprime.BinaryMutationModel(), random_seed=data["seed"])
    common = []
    for variant in trees.variants():
        copies = int(variant.genotypes.sum())
        if min(copies, 2 * data["people"] - copies) >= data["least_copies"]:
            common.append((int(variant.site.position) + 1, variant.genotypes.astype(np.int8)))
    chosen = [common[i] for i in np.sort(rng.permutation(len(common))[: data["sites"]])]
    haplotypes = np.stack([alleles.reshape(-1, 2) for _, alleles in chosen], axis=1)
    sites = pd.DataFrame(
        {"contig": "1", "pos": [position for position, _ in chosen], "id": ".", "ref": "A", "alt": "C"}
    )
    samples = pd.DataFrame({"sample": [f"p{i}" for i in range(data["people"])]})
    return GenotypeMatrix(haplotypes.sum(axis=2, dtype=np.int8), samples, sites, haplotypes)


def simulated_bulls(data: dict[str, Any]) -> GenotypeMatrix:
    """Return the true genotypes of simulated bulls, their phase forgotten."""
    from snpimpute.dataset.simulate import SimulationSettings, simulate_bulls

    bulls = simulate_bulls(SimulationSettings(**data["simulation"]), data["seed"]).true
    return replace(bulls, haplotypes=None)


SOURCES = {"panel": real, "people": simulated_people, "bulls": simulated_bulls}


# ---------------------------------------------------------------------- results


def measure(folder: Path, data: dict[str, Any], row: str, about: dict[str, Any], threads: int) -> None:
    """Fit once and impute every target by the commands, and write the counts of each as ROW-TARGET.npz."""
    names = targets_of(data)
    wanted = [
        name for name in about.get("targets", names) if name in names and not (folder / f"{row}-{name}.npz").exists()
    ]
    if not wanted:
        return
    params = about.get("params", {}) | about.get(f"params_{data['group']}", {})
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in params.items()]
    (folder / f"{row}.toml").write_text("".join(lines))
    shared = ["--runs", folder / "runs", "--threads", threads, "--json"]
    if (EXTERNAL / f"{about['imputer']}.toml").exists():
        shared += ["--imputers-from", EXTERNAL]
    typed = folder / f"array-{data['typed'][len(data['typed']) // 2]:g}.vcf.gz"
    fitted = run(
        "fit", folder / "panel.vcf.gz", "--name", row, "--imputer", about["imputer"], "--params", folder / f"{row}.toml",
        "--typed-sites", typed, "--holdout", "0%", *shared,
    )  # fmt: skip
    truth = read_matrix(folder / "truth.vcf.gz")[0]
    for name in wanted:
        imputed = folder / f"{row}-{name}.vcf.gz"
        try:
            run("impute", folder / f"{name}.vcf.gz", "-o", imputed, "--force", "--model", fitted["model"], *shared)
        except InputError as error:  # what the program cannot do is left out and said; the other targets go on
            print(folder.name, name, row, error, flush=True)
            continue
        counts = counted(truth, read_matrix(folder / f"{name}.vcf.gz")[0], read_matrix(imputed)[0])
        part = folder / f"{row}-{name}.part.npz"
        np.savez_compressed(part, **counts)
        part.rename(folder / f"{row}-{name}.npz")
        print(folder.name, name, row, int(wrong_of(counts["all"].sum(axis=(0, 1)))), flush=True)


def counted(truth: GenotypeMatrix, target: GenotypeMatrix, imputed: GenotypeMatrix) -> dict[str, np.ndarray]:
    """Count the hidden calls by true (row) and called genotype (column), of all sites and of rare ones in minor coding.

    Returns:
        `all` and `rare`, int64 (n_samples, n_blocks, 3, 3); a block is a contig, or half a megabase of a single contig.
    """
    place = {key: j for j, key in enumerate(imputed.site_keys())}
    found = [place.get(key) for key in truth.site_keys()]
    if lacking := found.count(None):
        sys.exit(f"the imputed file lacks {lacking} sites")
    called = imputed.calls[:, np.array(found)]
    hidden = truth.calls != MISSING
    position = {key: j for j, key in enumerate(truth.site_keys())}
    seen = np.array([position[key] for key in target.site_keys()])
    hidden[:, seen] &= target.calls == MISSING
    contigs = truth.sites["contig"]
    block = contigs if contigs.nunique() > 1 else truth.sites["pos"] // 500_000
    block = np.unique(block, return_inverse=True)[1]
    rare, turned = truth.maf() < RARE_MAF, truth.alt_frequency() > 0.5
    n_blocks = block.max() + 1

    def tally(kept: np.ndarray, true: np.ndarray, called: np.ndarray) -> np.ndarray:
        samples, sites = np.nonzero(kept)
        codes = ((samples * n_blocks + block[sites]) * 3 + true[kept]) * 3 + called[kept]
        return np.bincount(codes, minlength=truth.n_samples * n_blocks * 9).reshape(-1, n_blocks, 3, 3)

    minor = [np.where(turned, 2 - calls, calls) for calls in (truth.calls, called)]
    return {"all": tally(hidden, truth.calls, called), "rare": tally(hidden & rare, *minor)}


def wrong_of(counts: np.ndarray) -> np.ndarray:
    """Return the number of wrong calls of confusion counts (..., 3, 3)."""
    return counts.sum(axis=(-2, -1)) - np.trace(counts, axis1=-2, axis2=-1)


def run(*arguments: object) -> dict[str, Any]:
    """Run a verb of snpimpute and return the JSON that it prints."""
    command = [sys.executable, "-m", "snpimpute", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(command[2:])} failed")
    return json.loads(done.stdout)


# ---------------------------------------------------------------------- the page


def write(design: dict[str, Any], work: Path, name_of_page: str) -> None:
    """Write the page and its table from the counts in the work folder; groups that it lacks stay as they were."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, np.ndarray]]]] = {}
    for name, data in design["data"].items():
        names = targets_of(data)
        for target in names:
            for row in design["rows"]:
                if (path := work / name / f"{row}-{target}.npz").exists():
                    with np.load(path) as kept:
                        groups.setdefault((data["group"], target), {}).setdefault(row, []).append(dict(kept))
    rows = []
    for (group, target), found in groups.items():
        own = found[OWN]
        if len(found) == 1:  # nobody is there to compare with yet
            continue
        for row, parts in found.items():
            if len(parts) != len(own):
                continue
            total = [part["all"].sum(axis=(0, 1)) for part in parts]
            about = {
                "group": group, "target": target, "row": row, "datasets": len(parts), "calls": int(sum(t.sum() for t in total)),
                "wrong": int(sum(wrong_of(t) for t in total)),
                "f1_macro": float(np.mean([f1_per_genotype(t).mean() for t in total])),
                "f1_1_rare": float(np.mean([f1_per_genotype(part["rare"].sum(axis=(0, 1)))[1] for part in parts])),
            }  # fmt: skip
            if row != OWN:
                about |= compared(own, parts)
            rows.append(about)
    table = pd.DataFrame(rows).round(8)
    if (file := RESULTS / f"{name_of_page}.csv").exists():
        table = kept_and_new(pd.read_csv(file), table)
    write_text(file, table.to_csv(index=False))
    write_text(RESULTS / f"{name_of_page}.md", page(design, table, unfinished(design, table), name_of_page))


def kept_and_new(kept: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the new rows, and those of earlier runs whose group has no counts in the work folder."""
    return pd.concat([kept[~kept.group.isin(new.get("group", []))], new], ignore_index=True)


def unfinished(design: dict[str, Any], table: pd.DataFrame) -> list[str]:
    """Return the rows of the design that the table lacks, as "row on dataset", with the targets where it has others."""
    finished = set(zip(table.group, table.target, table.row, strict=True))
    lacking = []
    for name, data in design["data"].items():
        group, names = data["group"], targets_of(data)
        for row, about in design["rows"].items():
            if group not in about.get("on", [group]):
                continue
            wanted = [target for target in names if target in about.get("targets", names)]
            missing = [target for target in wanted if (group, target, row) not in finished]
            if missing:
                which = f" ({', '.join(missing)})" if len(missing) < len(wanted) else ""
                lacking.append(f"`{row}` on `{name}`{which}")
    return lacking


def compared(own: list[dict[str, np.ndarray]], other: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Return how far mosaic is ahead in macro-F1, and its wrong calls relative to the other's, with 95% intervals.

    Samples and blocks are drawn together, the same ones for both, and anew for each dataset.
    """
    ahead = np.zeros(RESAMPLES)
    wrong = np.zeros((2, RESAMPLES))
    for number, (first, second) in enumerate(zip(own, other, strict=True)):
        n_samples, n_blocks = first["all"].shape[:2]
        weights = resampling_weights(np.arange(n_samples), n_blocks, RESAMPLES, seed=1 + number)
        for sign, part, sums in ((1, 0, first["all"]), (-1, 1, second["all"])):
            drawn = resample(sums.reshape(n_samples, n_blocks, 9), weights).reshape(-1, 3, 3)
            ahead += sign * f1_per_genotype(drawn).mean(axis=-1) / len(own)
            wrong[part] += wrong_of(drawn)
    low, high = interval(ahead)
    fewest, most = interval(wrong[0] / wrong[1])
    return {"ahead_low": low, "ahead_high": high, "ratio_low": fewest, "ratio_high": most}


def page(design: dict[str, Any], table: pd.DataFrame, lacking: list[str], name: str) -> str:
    """Return the page: what was compared, and a table for each group of datasets and each target."""
    about = design["about"]
    text = [
        f"# {about['title']}\n",
        *about["text"].strip().splitlines(),
        "",
        f"Made by `python scripts/arrays.py write --design docs/results/{name}.toml`. Design, seeds and parameters: [{name}.toml]({name}.toml), which holds the digests of the code",
        f"that it was scored with ({about['scored_with']}).",
        f"The tables as [CSV]({name}.csv). Wrong calls are counted over all hidden calls; macro-F1 is the mean over the datasets of a group.",
        f"In brackets 95% intervals ({RESAMPLES:,} resamples of samples and of blocks: contigs, or half a megabase of a single one).",
        f"“Behind” or “ahead” is said where the interval of the difference in macro-F1 excludes zero; “no worse” where it stays above −{MARGIN}.\n",
    ]
    if lacking:
        text.append(f"Of the design these were not finished, and nothing is claimed of them: {', '.join(lacking)}.\n")
    for (group, target), part in table.groupby(["group", "target"], sort=False):
        kind, share = target.split("-")
        what = f"{share}% of the sites typed" if kind == "array" else f"{share}% of single calls missing"
        own = part[part["row"] == OWN].iloc[0]
        lines = []
        for row in part.sort_values("wrong").itertuples():
            ahead = ratio = verdict = ""
            if row.row != OWN:
                ahead = difference(own.f1_macro - row.f1_macro, row.ahead_low, row.ahead_high, digits=4)
                ratio = f"{own.wrong / row.wrong:.2f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})"
                verdict = judged(row.ahead_low, row.ahead_high)
            scores = [f"{row.wrong:,}", f"{row.f1_macro:.4f}", f"{row.f1_1_rare:.3f}"]
            lines.append([f"`{row.row}`", *scores, ahead, verdict, ratio])
        columns = [
            "",
            "wrong",
            "macro-F1",
            "heterozygotes, rare: F1",
            "mosaic ahead by",
            "so mosaic is",
            "its wrong calls ×",
        ]
        text += [
            f"## {about['groups'][group]}: {what}\n",
            f"{numbered(own.datasets, 'dataset')}, {own.calls:,} calls.\n",
            table_of(columns, lines) + "\n",
        ]
    return "\n".join(text).rstrip() + "\n"


def judged(low: float, high: float) -> str:
    """Return what the interval of mosaic's lead in macro-F1 says."""
    if low > 0:
        return "ahead"
    if high < 0:
        return "behind" if low <= -MARGIN else f"behind by less than {MARGIN}"
    return "no worse" if low > -MARGIN else "undecided"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
