"""Impute real panels from an array's sites with the commands, and write the results, docs/results/impute.md.

    python scripts/impute_panels.py [--work runs/impute-panels] [--only kg15] [--imputer dense]

A fifth of each panel's samples are the target, which keeps a tenth of the sites, evenly spaced and the most variable ones;
imputers are fitted on the other samples. Panels are those of $SNPIMPUTE_PANELS. Finished results stay in the work folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from snpimpute.base.files import write_text
from snpimpute.dataset.masks import array_masks
from snpimpute.io.matrix import read_genotypes
from snpimpute.report.markdown import table_of
from snpimpute.report.tree import COLOURS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PANELS = {"kg15": "kg15/kg15.vcf.gz", "cattle": "cattle/cattle.vcf.gz"}
KEPT_PERCENT = 10.0
# imputer → its parameters on each panel; those of Beagle were found by its studies on a part of the panel
ROWS: dict[str, dict[str, dict[str, object]]] = {
    "softmax_regression": {"kg15": {}, "cattle": {}},
    "dense": {"kg15": {"epochs": 40, "batch_size": 64}, "cattle": {"epochs": 60}},
    "mosaic": {"kg15": {}, "cattle": {}},
    "beagle": {"kg15": {"cluster": 0.0001}, "cattle": {"ne": 1000.0}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "impute-panels")
    parser.add_argument("--only", choices=PANELS)
    parser.add_argument("--imputer", choices=ROWS)
    arguments = parser.parse_args()
    if "SNPIMPUTE_PANELS" not in os.environ:
        sys.exit("SNPIMPUTE_PANELS is not set: it names the folder of the real panels")
    for name in [arguments.only] if arguments.only else PANELS:
        folder = arguments.work / name
        cut(Path(os.environ["SNPIMPUTE_PANELS"]) / PANELS[name], folder)
        for imputer in [arguments.imputer] if arguments.imputer else ROWS:
            if not (folder / f"{imputer}.json").exists():
                measure(folder, name, imputer)
    write(arguments.work)


def cut(source: Path, folder: Path) -> None:
    """Make panel.vcf.gz, truth.vcf.gz and target.vcf.gz from a file."""
    if (folder / "target.vcf.gz").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    names = output_of("bcftools", "query", "-l", source).split()
    test = np.random.default_rng(1).permutation(len(names)) < len(names) // 5
    for part, chosen in (("truth", test), ("panel", ~test)):
        (folder / f"{part}.txt").write_text("\n".join(np.array(names)[chosen]) + "\n")
        output_of("bcftools", "view", "-S", folder / f"{part}.txt", "-Oz", "-o", folder / f"{part}.vcf.gz", source)
    panel, _ = read_genotypes(folder / "panel.vcf.gz", max_sites=None)
    typed = ~array_masks(panel, [100 - KEPT_PERCENT], 1, seed=1)[100 - KEPT_PERCENT, 0]
    chip = "".join(f"{site.contig}\t{site.pos}\n" for site in panel.sites[typed].itertuples())
    (folder / "chip.tsv").write_text(chip)
    output_of(
        "bcftools", "view", "-T", folder / "chip.tsv", "-Oz", "-o", folder / "part.vcf.gz", folder / "truth.vcf.gz"
    )
    (folder / "part.vcf.gz").rename(folder / "target.vcf.gz")


def measure(folder: Path, name: str, imputer: str) -> None:
    """Fit, impute and compare by the commands, and write IMPUTER.json."""
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in ROWS[imputer][name].items()]
    (folder / f"{imputer}.toml").write_text("".join(lines))
    options = ["--imputer", imputer, "--params", folder / f"{imputer}.toml", "--runs", folder / "runs", "--json"]
    fitted = json.loads(
        run("fit", folder / "panel.vcf.gz", "--name", name, "--typed-sites", folder / "target.vcf.gz", *options)
    )
    before = processor_seconds()
    output = folder / f"{imputer}.vcf.gz"
    imputed = json.loads(
        run(
            "impute",
            folder / "target.vcf.gz",
            "-o",
            output,
            "--force",
            "--model",
            fitted["model"],
            "--runs",
            folder / "runs",
            "--json",
        )
    )
    impute_seconds = processor_seconds() - before
    found = json.loads(
        run("concordance", folder / "truth.vcf.gz", output, "--typed", folder / "target.vcf.gz", "--json")
    )
    about = json.loads((Path(fitted["model"]).parent / "fit.json").read_text())
    kept = {"impute_seconds": impute_seconds, "told": imputed, "fit": about}
    kept |= {"measured": fitted["scores"], "concordance": found, "params": ROWS[imputer][name]}
    (folder / f"{imputer}.json").write_text(json.dumps(kept, indent=1))


def processor_seconds() -> float:
    """Return the processor seconds of all commands that were run so far, with their child processes."""
    times = os.times()
    return times.children_user + times.children_system


def run(*arguments: object) -> str:
    """Run a verb of snpimpute and return its output."""
    return output_of(sys.executable, "-m", "snpimpute", *arguments)


def output_of(*command: object) -> str:
    """Run a command and return its output."""
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def write(work: Path) -> None:
    """Write docs/results/impute.md and its figures from the results in the work folder."""
    found = {
        name: {
            imputer: json.loads(path.read_text())
            for imputer in ROWS
            if (path := work / name / f"{imputer}.json").exists()
        }
        for name in PANELS
    }
    found = {name: rows for name, rows in found.items() if rows}
    text = [
        "# Imputing whole panels from an array's sites\n",
        "> **Withdrawn on 2026-11-26: every comparison with Beagle on human genotypes on this page (kg15).** Beagle had no genetic map here.",
        "> [What is left, until it is measured anew](../evidence.md).\n",
        "`mosaic` on this page is the first one, of 2026-11-22: [what it costs today](../mosaic.md#what-it-costs), a tenth of the time on kg15.\n",
        "Made by `python scripts/impute_panels.py` with `snpimpute fit`, `impute` and `concordance`: a fifth of the samples are",
        "the target, of which a tenth of the sites is kept (evenly spaced, the most variable ones); the others are the panel.",
        "Scores are those of the calls at the other sites; dosage r² is that within sites, the mean over sites. Fitting, in seconds that passed on two processors that had other work, holds the measuring on samples held out, in six",
        "windows (for Beagle it is all there is); imputing is in seconds of the processor.\n",
    ]
    for name, rows in found.items():
        first = next(iter(rows.values()))
        imputed = first["told"]
        text += [
            f"## {name}\n",
            f"{first['fit']['samples_fit']} samples in the panel, {imputed['n_samples']} imputed, {imputed['n_sites']} sites, "
            f"{imputed['n_new_sites']} of them imputed, {first['fit']['windows']} windows.\n",
            overall_table(rows),
            "\nMacro-F1 / dosage r² within sites by the true MAF:\n",
            maf_table(rows),
            f"\n![{name}: dosage r² within sites against MAF](impute-{name}.png)\n",
        ]
        draw(name, rows)
    write_text(RESULTS / "impute.md", "\n".join(text).rstrip() + "\n")


def overall_table(rows: dict[str, dict]) -> str:
    """Return a table of the scores of all imputed calls, a row per imputer."""
    columns = [
        "imputer",
        "macro-F1",
        "dosage r² within sites",
        "concordance",
        "non-reference",
        "held out at fit: macro-F1",
        "fit",
        "impute",
    ]
    lines = []
    for imputer, row in rows.items():
        overall = row["concordance"]["overall"]
        measured = next(m for m in row["measured"] if m["subset"] == "all" and m["metric"] == "f1_macro")
        scores = [overall[key] for key in ("f1_macro", "site_dosage_r2", "concordance", "non_reference_concordance")]
        lines.append(
            [
                _name(imputer, row),
                *map(_score_text, scores),
                f"{measured['value']:.3f} ({measured['low']:.3f} to {measured['high']:.3f})",
                f"{row['fit']['seconds_fit']:.0f} s",
                f"{row['impute_seconds']:.0f} s",
            ]
        )
    return table_of(columns, lines)


def maf_table(rows: dict[str, dict]) -> str:
    """Return a table of macro-F1 and dosage r² within sites by bins of the true MAF, a column per imputer."""
    lines = []
    for same in zip(*(row["concordance"]["bins"] for row in rows.values()), strict=True):
        cells = [f"{_score_text(one['f1_macro'])} / {_score_text(one['site_dosage_r2'])}" for one in same]
        lines.append([same[0]["maf"], f"{same[0]['calls']:,}", *cells])
    return table_of(["MAF", "calls", *(_name(imputer, row) for imputer, row in rows.items())], lines)


def _name(imputer: str, row: dict) -> str:
    """Return an imputer with the parameters that differ from its defaults: `beagle (ne=1000.0)` is not `beagle`."""
    settings = ", ".join(f"{key}={value}" for key, value in row["params"].items())
    return f"{imputer} ({settings})" if settings else imputer


def _score_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def draw(name: str, rows: dict[str, dict]) -> None:
    """Draw dosage r² within sites against MAF, a line per imputer."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (imputer, row), colour, marker in zip(rows.items(), COLOURS, "osD^", strict=False):
        bins = pd.DataFrame(row["concordance"]["bins"])
        axes.plot(
            bins["maf"], bins["site_dosage_r2"].astype(float), color=colour, marker=marker, label=_name(imputer, row)
        )
    axes.set(xlabel="true minor allele frequency", ylabel="dosage r² within sites (mean)", ylim=(0, 1), title=name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(RESULTS / f"impute-{name}.png", dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
