"""An experiment over several contigs: one model for all, scores on each that add up, and a command that can be run."""

from __future__ import annotations

import html
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snpimpute.dataset.prepared import PreparedDataset, load_dataset
from snpimpute.experiment.pipeline import run
from snpimpute.experiment.rows import Outcome
from snpimpute.experiment.score import read_scores
from snpimpute.experiment.settings import read
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.io.write_vcf import write_vcf
from snpimpute.scoring.posteriors import load_posteriors
from snpimpute.tuning.parameters import read_params
from tests.imputers.test_contigs import side_by_side
from tests.report.test_report import Tables

LITTLE = """
imputers = ["mode", "ld_knn", "softmax_regression", "mosaic"]
only_listed_variants = true
threads = 1
scoring = { resamples = 100 }

[data.genome]
source = "three.vcf.gz"
region = "1;2"
scenarios = { levels = [20, 60], repeats = 2, mechanisms = ["independent"] }

[variants.mode.default]
[variants.ld_knn.default]
[variants.softmax_regression.weak]
params = { l2 = 30.0 }
[variants.mosaic.default]
params = { states = 12, first_states = 8, switch = 0.02 }
"""
CONTIGS = ("1", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole genome")
    panel, _ = side_by_side()
    assert panel.haplotypes is not None
    write_vcf(folder / "three.vcf.gz", panel, index=True)
    (folder / "little.toml").write_text(LITTLE)
    return folder


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    found = run(read(folder / "little.toml"), folder / "my runs")
    assert found.failures == []
    return found


@pytest.fixture(scope="module")
def dataset(outcome: Outcome) -> PreparedDataset:
    return load_dataset(outcome.datasets["genome"])


def test_the_dataset_has_the_contigs_that_were_asked_for_side_by_side(dataset: PreparedDataset) -> None:
    contigs = dataset.test.sites["contig"]
    assert contigs.tolist() == sorted(contigs) and set(contigs) == set(CONTIGS)
    assert dataset.train.haplotypes is not None


def test_one_model_for_all_contigs(outcome: Outcome, folder: Path) -> None:
    assert len(list((folder / "my runs" / "models").iterdir())) == len(outcome.rows["genome"]) == 4
    for done in outcome.rows["genome"]:
        assert done.home is not None
        about = json.loads((done.home / "fit.json").read_text())
        assert about["samples_fit"] == 48


def test_a_haplotype_model_of_both_contigs_is_that_of_each(outcome: Outcome, dataset: PreparedDataset) -> None:
    """What mosaic said of contig 1 in the experiment is what it says when contig 2 is not there."""
    from snpimpute.imputers.mosaic import Mosaic

    done = next(done for done in outcome.rows["genome"] if done.row.imputer == "mosaic")
    assert done.home is not None
    scenario = dataset.headline_scenario
    kept = load_posteriors(done.home / "posteriors.npz", [scenario.key]).values[scenario.key]
    first = (dataset.test.sites["contig"] == "1").to_numpy()

    def on_first(matrix: GenotypeMatrix) -> GenotypeMatrix:
        return matrix.take_sites(first)

    model = Mosaic(Mosaic.parse_params(done.row.params), seed=1, threads=1).fit(on_first(dataset.train))
    alone = model.posterior(on_first(dataset.test.hide(scenario.hidden)))
    # kept with half precision
    np.testing.assert_allclose(kept[:, first[scenario.hidden]], alone[:, scenario.hidden[first]], atol=2e-3)


def test_rows_of_contigs_add_up_in_table_and_report(outcome: Outcome, dataset: PreparedDataset) -> None:
    scores = read_scores(outcome.scores["genome"])
    here = scores[
        (scores.metric == "wrong") & (scores["repeat"] == "all") & (scores.level == 60) & (scores.versus == "")
    ]
    assert outcome.report is not None
    tables = Tables(outcome.report.read_text(encoding="utf-8"))
    shown = tables.table("Wrong calls on each contig, 60% missing")
    by_contig = tables.table("Macro-F1 on each contig, 60% missing")
    assert list(shown) == list(by_contig) == [*CONTIGS, "All"]
    for label in ("mode/default", "ld_knn/default", "softmax_regression/weak", "mosaic/default"):
        mine = here[here.imputer + "/" + here.variant == label].set_index("subset")
        assert mine.value[[f"contig:{name}" for name in CONTIGS]].sum() == mine.value["all"] > 0
        wrong = {name: int(row[label][0].replace(",", "")) for name, row in shown.items()}
        assert wrong["1"] + wrong["2"] == wrong["All"] == mine.value["all"]
    calls = {name: int(row["Calls scored"][0].replace(",", "")) for name, row in by_contig.items()}
    assert calls["1"] + calls["2"] == calls["All"]
    masks = [scenario.hidden for scenario in dataset.test_scenarios() if scenario.level == 60]
    assert calls["All"] == sum(int(mask.sum()) for mask in masks) * dataset.test.n_samples
    assert (outcome.report.parent / "contigs-genome-f1-macro.png").exists()


@pytest.mark.panels  # half a minute
def test_the_command_on_top_fits_what_was_best(outcome: Outcome, folder: Path) -> None:
    """As it stands in the page: the whole file's region, the parameters of the row, and the folder of runs."""
    assert outcome.report is not None
    page = outcome.report.read_text(encoding="utf-8")
    command = html.unescape(re.search(r"<pre>(.*?)</pre>", page[page.index("<body>") :], re.DOTALL)[1])  # type: ignore[index]
    words = shlex.split(command)
    best = outcome.tables["genome"]["imputer"].iloc[0]
    imputer = best.split("/")[0]
    assert words[:2] == ["snpimpute", "fit"] and f"Use {best}, the highest macro-F1" in page
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options["--imputer"] == imputer and options["--region"] == "1;2"
    done = subprocess.run(
        [sys.executable, "-m", "snpimpute", *words[1:], "--json", "--threads", "1"],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    model = Path(json.loads(done.stdout)["model"])
    about = json.loads((model / "model.json").read_text())
    given = read_params(Path(options["--params"]))
    assert about["imputer"] == imputer and given
    assert {key: about["params"][key] for key in given} == given


def test_parameters_are_written_for_rows_that_differ_from_the_defaults(outcome: Outcome) -> None:
    assert outcome.report is not None
    written = {path.name for path in (outcome.report.parent / "parameters").iterdir()}
    assert written == {"genome-softmax_regression-weak.toml", "genome-mosaic-default.toml"}
