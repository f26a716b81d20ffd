"""The commands of the pages run, page by page and in their order, and leave what the text says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_site import ALL, COMMANDS, ROOT

WALK = ROOT / "docs" / "impute.md"
OTHERS = sorted({block.page for block in COMMANDS if block.reason is None and block.page != WALK})


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "SNPIMPUTE_RUNS")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}


def run_blocks(page: Path, folder: Path) -> str:
    """What the blocks of a page print that are not marked as not run."""
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    blocks = [block.text for block in COMMANDS if block.page == page and block.reason is None]
    script = "\n".join(["set -euo pipefail", *blocks])
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


SLOW = {"traits", "predictors", "many-machines", "watch"}  # walks of a minute and more
EACH = [pytest.param(page, id=page.stem, marks=[pytest.mark.panels] * (page.stem in SLOW)) for page in OTHERS]


@pytest.mark.parametrize("page", EACH)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path):
    assert run_blocks(page, tmp_path)


SLOW_WALK = pytest.mark.panels  # two minutes; tests/impute and tests/test_install.py run the same verbs on less


@pytest.fixture(scope="module")
def walked(tmp_path_factory, with_store):
    """The folder that the commands of the page on imputing ran in, and what they printed."""
    folder = tmp_path_factory.mktemp("walk")
    with_store(folder / "runs")
    return folder, run_blocks(WALK, folder)


@SLOW_WALK
def test_it_ends_with_what_it_promises(walked):
    folder, printed = walked
    for name in ("imputed.vcf.gz", "imputed.vcf.gz.tbi", "filled.vcf.gz", "checked/qc.html", "related.rel"):
        assert (folder / name).stat().st_size > 0, name
    assert "array to sequence: 186 samples, 500 sites written" in printed
    assert "sporadic: 186 samples" in printed
    assert re.search(r"registered: snpimpute-panel-panel version 1\n", printed)
    assert re.search(r"typed +all +f1_macro", printed)


@SLOW_WALK
@pytest.mark.parametrize("page", ["mlflow", "check"])
def test_the_python_of_a_page_runs_as_it_stands_there(walked, page):
    """In the folder of the walk, whose files and model it names."""
    folder, _ = walked
    (block,) = (block for block in ALL if block.page.stem == page and block.language == "python")
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == {"mlflow": "186 500 186", "check": "50 50"}[page]


@SLOW_WALK
def test_what_was_measured_is_what_the_truth_says(walked):
    """Macro-F1 of the held-out tenth of the panel, and of the target against its truth: within a few points."""
    folder, printed = walked
    measured = float(re.search(r"typed +all +f1_macro +(0\.\d+)", printed)[1])
    command = [sys.executable, "-m", "snpimpute", "concordance", "truth.vcf.gz", "imputed.vcf.gz", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--typed", "target.vcf.gz"], cwd=folder, capture_output=True, check=True, env=environment
    )
    overall = json.loads(done.stdout)["overall"]
    assert abs(overall["f1_macro"] - measured) < 0.06
    within_sites = float(re.search(r"typed +all +site_dosage_r2 +(0\.\d+)", printed)[1])
    assert abs(overall["site_dosage_r2"] - within_sites) < 0.15  # of 74 samples: one call in 148 at a rare site
    assert re.search(
        r"typed: dosage r² is the mean of \d+ sites \(left out, without variation in the held-out samples: \d+\)",
        printed,
    )
