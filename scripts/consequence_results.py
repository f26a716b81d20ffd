"""Measure what imputing changes in the conclusion, on real panels, and write docs/results/consequence.md.

    SNPIMPUTE_PANELS=… python scripts/consequence_results.py [--only kg15] [--work runs/consequence] [--to docs/results]

Each dataset is split at random (seed 1) into a panel and samples whose traits are looked at; some sites stay typed, Beagle 5.4 and
mosaic, both at their defaults, and a Beagle that is scaled to the population impute the others by `snpimpute fit` and `impute`, and
`snpimpute consequence` compares. What is made already in the folder of work is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.files import write_text
from snpimpute.genotypes.matrix import GenotypeMatrix, site_keys
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.conclusions import ALL, MEASURES, TRUTH, TYPED
from snpimpute.report.conclusions import forest_plot
from snpimpute.report.figures import draw_png
from snpimpute.report.markdown import table_of
from snpimpute.report.text import Score, interval, number, slug_of
from snpimpute.traits.consequence import FILTERS
from snpimpute.traits.dosages import read_dosages

ROOT = Path(__file__).parents[1]
SCALED = "Beagle, ne 1000"  # breeds and inbred lines descend from few; by default it is 100,000


@dataclass(frozen=True)
class Data:
    """A dataset: where it is below the folder of panels, what is kept and typed, the options of `consequence`, the imputed files.

    `params` is a TOML of Beagle's parameters by the labels of further files.
    """

    title: str
    path: str
    region: str | None
    max_sites: int | None
    min_maf: float
    panel: int
    typed: int  # number of sites, evenly spaced among common ones
    options: tuple[str, ...]
    params: tuple[tuple[str, str], ...] = ()

    def files(self) -> dict[str, tuple[str, str]]:
        """Return imputer and parameters (TOML) by the label of the imputed file."""
        return {
            "Beagle": ("beagle", ""),
            **{label: ("beagle", given) for label, given in self.params},
            "mosaic": ("mosaic", ""),
        }


DATA = {
    "kg15": Data(
        "Human, chromosome 15, one causal site of 2% of the variance",
        "kg15/kg15.vcf.gz",
        "15:27857000-28060000",
        500,
        0.01,
        504,
        50,
        (),
        (("Beagle, longer map", "map_scale = 10\nne = 80000\ncluster = 0.001\n"),),
    ),
    "cattle": Data(
        "Cattle, 29 chromosomes, ten causal sites of half of the variance",
        "cattle/cattle.vcf.gz",
        None,
        None,
        0.01,
        250,
        1450,
        ("--causal", "10", "--variance", "50%", "--finemapped", "20"),
        ((SCALED, "ne = 1000\n"),),
    ),
    "maize": Data(
        "Maize inbreds, ten causal sites of half of the variance",
        "traits/maize/maize.vcf.gz",
        None,
        None,
        0.01,
        94,
        620,
        ("--causal", "10", "--variance", "50%", "--finemapped", "20"),
        ((SCALED, "ne = 1000\n"),),
    ),
    "rice": Data(
        "Rice inbreds, chromosome 1, one causal site of a fifth of the variance",
        "traits/rice/rice.bed",
        "1",
        2000,
        0.05,
        124,
        200,
        ("--variance", "20%", "--finemapped", "20"),
        ((SCALED, "ne = 1000\n"),),
    ),
}


def prepare(data: Data, panels: Path, folder: Path) -> None:
    """Write panel, truth and target."""
    matrix, _ = read_matrix(panels / data.path, region=data.region)
    matrix = matrix.take_sites(np.flatnonzero(matrix.maf() > data.min_maf)[: data.max_sites])
    order = np.random.default_rng(1).permutation(matrix.n_samples)
    panel, rest = (matrix.take_samples(np.sort(part)) for part in (order[: data.panel], order[data.panel :]))
    common = np.flatnonzero(matrix.maf() > 0.05)
    typed = common[np.linspace(0, len(common) - 1, data.typed).round().astype(int)]
    written: dict[str, GenotypeMatrix] = {
        "panel": panel,
        "truth": rest,
        "target": replace(rest, haplotypes=None).take_sites(typed),
    }
    for name, part in written.items():
        write_vcf(folder / f"{name}.vcf.gz", part, index=True)


def run(folder: Path, *words: object) -> str:
    """Run snpimpute in a folder and return what it prints; the script ends where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "snpimpute", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(f"snpimpute {words[0]} failed in {folder}")
    return done.stdout


def measure(name: str, data: Data, panels: Path, folder: Path, threads: int) -> None:
    """Make the files of a dataset that are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "target.vcf.gz").exists():
        prepare(data, panels, folder)
    for label, (imputer, params) in data.files().items():
        output = imputed_file(folder, label)
        if not output.exists():
            options: tuple[object, ...] = ("--typed-sites", "target.vcf.gz", "--holdout", "0%", "--threads", threads)
            if params:
                write_text(folder / "params.toml", params)
                options += ("--params", "params.toml")
            model = f"{name}-{output.name.partition('.')[0]}"
            fitted = run(folder, "fit", "panel.vcf.gz", "--imputer", imputer, "--name", model, *options, "--json")
            home = json.loads(fitted)["model"]
            run(folder, "impute", "target.vcf.gz", "-o", output.name, "--model", home, "--threads", threads)
    if not (folder / "found" / "consequence.tsv").exists():
        files = [imputed_file(folder, label).name for label in data.files()]
        labels = [word for label in data.files() for word in ("--label", label)]
        run(
            folder,
            "consequence",
            "truth.vcf.gz",
            *files,
            *labels,
            "--typed",
            "target.vcf.gz",
            *data.options,
            "-o",
            "found",
        )


def imputed_file(folder: Path, label: str) -> Path:
    """Return the file of a label."""
    return folder / f"{slug_of(label)}.vcf.gz"


def written(work: Path, to: Path) -> str:
    """Return the page of the datasets that are there, and draw their figures."""
    parts = []
    for name, data in DATA.items():
        folder = work / name / "found"
        if not (folder / "consequence.tsv").exists():
            continue
        told = json.loads((folder / "consequence.json").read_text())
        table = pd.read_csv(folder / "consequence.tsv", sep="\t", keep_default_na=True).assign(
            versus=lambda t: t.versus.fillna("")
        )
        figure = f"consequence-{name}.png"
        draw_png(forest_plot(table, told["files"], "forest", figure), to / figure)
        panel, _ = data.panel, data.typed
        parts += [
            f"## {data.title}",
            f"{told['samples']:,} samples, {told['sites']:,} sites of which {data.typed:,} typed, panel of {panel:,}; "
            f"{told['traits']:,} simulated traits.",
            measures_table(table, told["files"]),
            "Dosages at the sites that are not typed, means over sites:",
            calibration_table(work / name, data),
            f"![{data.title}: what each file says of the traits]({figure})",
            "DR2 threshold (no filter, .3, .5, .8):",
            filter_table(table),
        ]
        parts += [f"- {line}" for line in told["guidance"]]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def measures_table(table: pd.DataFrame, files: list[str]) -> str:
    """Return the measures by file as Markdown, with intervals."""
    plain = table[(table["filter"] == 0) & (table.subset == ALL) & (table.versus == "")].set_index(["measure", "file"])
    rows = []
    for key, about in MEASURES.items():
        cells = [plain.loc[(key, label)] for label in files]
        rows.append([about.label, *(with_interval(cell) for cell in cells)])
    return table_of(["", *files], rows)


def calibration_table(folder: Path, data: Data) -> str:
    """Return how far dosages are to be trusted at sites that are not typed: true r², DR2, slope of the truth on dosages."""
    truth = read_dosages(folder / "truth.vcf.gz")
    typed = set(site_keys(read_dosages(folder / "target.vcf.gz").sites))
    untyped = [key for key in site_keys(truth.sites) if key not in typed]
    at = {key: j for j, key in enumerate(site_keys(truth.sites))}
    rows = []
    for label in data.files():
        imputed = read_dosages(imputed_file(folder, label))
        own = {key: j for j, key in enumerate(site_keys(imputed.sites))}
        kept = [key for key in untyped if key in own]
        g = truth.take_sites([at[key] for key in kept]).centred()
        found = imputed.take_sites([own[key] for key in kept])
        d = found.centred()
        cross, square, true = (d * g).sum(axis=0), (d**2).sum(axis=0), (g**2).sum(axis=0)
        varies = (square > 0) & (true > 0)
        r2 = cross[varies] ** 2 / (square * true)[varies]
        slope = float(np.median(cross[varies] / square[varies]))
        rows.append([label, number(float(r2.mean())), number(float(np.nanmean(found.quality[varies]))), number(slope)])
    return table_of(["", "true r²", "DR2", "slope of true genotypes on dosages (median)"], rows)


def with_interval(row: pd.Series) -> str:
    """Return a value with its interval."""
    said = interval(Score(row.value, row.low, row.high, row.n))
    return f"{number(row.value)} ({said})" if said and row.low != row.high else number(row.value)


def filter_table(table: pd.DataFrame) -> str:
    """Return power, recall and accuracy of breeding values by DR2 threshold as Markdown."""
    plain = table[(table.subset == ALL) & (table.versus == "") & ~table.file.isin([TRUTH, TYPED])]
    rows = []
    for label in dict.fromkeys(plain.file):
        for key in ("power", "recall", "coverage", "correlation"):
            own = plain[(plain.file == label) & (plain.measure == key)].set_index("filter").value
            rows.append([f"{label}: {MEASURES[key].label}", *(number(own.get(least)) for least in FILTERS)])
    return table_of(["", *(f"DR2 ≥ {least:g}" if least else "no filter" for least in FILTERS)], rows)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=DATA, action="append")
    parser.add_argument("--work", type=Path, default=Path("runs/consequence"))
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    if "SNPIMPUTE_PANELS" not in os.environ:
        sys.exit("set SNPIMPUTE_PANELS to the folder of the real panels")
    for name, data in DATA.items():
        if asked.only is None or name in asked.only:
            measure(name, data, Path(os.environ["SNPIMPUTE_PANELS"]), (asked.work / name).absolute(), asked.threads)
    page = asked.to / "consequence.md"
    head, mark, _ = page.read_text().partition("<!-- tables: scripts/consequence_results.py -->\n")
    write_text(page, f"{head}{mark}\n{written(asked.work, asked.to)}")


if __name__ == "__main__":
    main()
