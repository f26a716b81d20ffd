"""Adding an imputer, a metric or a mechanism is one entry and its test: toys are added to a copy of the package and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from snpimpute import imputers
from snpimpute.base.errors import InputError

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "write-an-imputer.md").read_text()
METRIC = """
    Metric(
        "heterozygotes_found",
        "share of heterozygotes found",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=True,
        of_calls=True,
        compute=lambda sums: sums.hard[..., 1, 1] / sums.hard[..., 1, :].sum(axis=-1),
        meaning="Share of the true heterozygotes that are called so.",
    ),
"""
MECHANISM = """
    Mechanism(
        "every_third",
        "every third site",
        "sites",
        lambda draw: [((33.3, 0), np.arange(draw.panel.n_sites) % 3 == 0)],
    ),
"""
EXPERIMENT = """
name = "toys"
threads = 1
imputers = ["mode", "hardy_weinberg"]
[data.calves]
simulation = { n_samples = 60, n_sites = 30 }
scenarios = { mechanisms = ["every_third"] }
[variants.hardy_weinberg.tuned]
tune = false
"""


def of_the_page(title: str) -> str:
    """A file of the page on writing an imputer."""
    return re.search(rf'```\w+ title="{re.escape(title)}"\n(.*?)```', PAGE, re.DOTALL)[1]


def run(folder: Path, *command: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "SNPIMPUTE_RUNS")}
    environment["PYTHONPATH"] = str(folder)
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory, with_store) -> Path:
    """The package with three toys: one entry each, of which no other file of it is told."""
    folder = tmp_path_factory.mktemp("toys")
    for name in ("snpimpute", "dashboards"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    package = folder / "snpimpute"
    (package / "imputers" / "hardy_weinberg.py").write_text(of_the_page("hardy_weinberg.py"))
    for file, entry in (("metrics/registry.py", METRIC), ("dataset/mechanisms.py", MECHANISM)):
        path = package / file
        before, after = path.read_text().split("_ALL = (\n", 1)
        path.write_text(f"{before}_ALL = ({entry}{after}")
    (folder / "toys.toml").write_text(EXPERIMENT)
    with_store(folder / "runs")
    return folder


def test_the_imputer_of_the_page_passes_the_contract_where_it_stands(tmp_path: Path):
    for name in ("hardy_weinberg.py", "test_hardy_weinberg.py"):
        (tmp_path / name).write_text(of_the_page(name))
    printed = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hardy_weinberg.py")
    assert re.search(r"1[0-9] passed", printed)


def test_an_experiment_reads_all_three(copy: Path):
    told = json.loads(run(copy, "-m", "snpimpute", "experiment", "toys.toml", "--json"))
    scores = pd.read_csv(copy / told["scores"]["calves"])
    assert set(scores.mechanism) == {"every_third"} and set(scores.level) == {33.3}
    rows = scores[(scores.metric == "heterozygotes_found") & (scores.subset == "all")]
    assert {"mode", "hardy_weinberg"} <= set(rows.imputer)
    assert (rows.versus != "").any() and rows[rows.versus.isna()].value.between(0, 1).all()
    report = (copy / told["report"]).with_suffix(".md").read_text()
    assert "every third site" in report and "Share of heterozygotes found" in report
    assert "hardy_weinberg/default" in report
    code = (
        "import sys; from snpimpute.tracking.reader import Store; runs = Store(sys.argv[1]).training_runs()\n"
        "print(*sorted({key for run in runs for key in run.metrics}))"
    )
    logged = run(copy, "-c", code, told["mlflow_uri"]).split()
    assert {"heterozygotes_found_permille", "heterozygotes_found_33.3"} <= set(logged)


def test_dashboard_and_configuration_read_them(copy: Path):
    code = (
        "from dashboards.views import race, compare\n"
        "from snpimpute.experiment.settings import ExperimentSettings\n"
        "print(race.METRICS['heterozygotes_found'].label, bool(compare.CURVE.fullmatch('rare_heterozygotes_found')))\n"
        "print('every_third' in str(ExperimentSettings.model_json_schema()))"
    )
    printed = run(copy, "-W", "ignore", "-c", code).splitlines()
    assert printed[-2:] == ["share of heterozygotes found True", "True"]


def test_an_imputer_of_another_package_is_found_by_its_entry_point(tmp_path: Path):
    package = tmp_path / "my_imputers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "hardy_weinberg.py").write_text(of_the_page("hardy_weinberg.py"))
    installed = tmp_path / "my_imputers-0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-imputers\nVersion: 0.1\n")
    points = re.search(r"\n(hardy_weinberg = .*)\n", of_the_page("pyproject.toml"))[1].replace('"', "")
    (installed / "entry_points.txt").write_text(f"[snpimpute.imputers]\n{points}\n")
    (tmp_path / "snpimpute").symlink_to(ROOT / "snpimpute")
    assert "hardy_weinberg" in run(tmp_path, "-m", "snpimpute", "imputers")
    code = (
        "import json; from snpimpute import imputers; cls = imputers.load('hardy_weinberg')\n"
        "print(cls.name, cls.__module__, json.dumps(imputers.decided_by(cls)))"
    )
    before = run(tmp_path, "-c", code)
    assert before.startswith("hardy_weinberg my_imputers.hardy_weinberg ")
    file = package / "hardy_weinberg.py"
    file.write_text(file.read_text().replace("extra / 2", "extra / 3"))
    assert run(tmp_path, "-c", code) != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "defines no imputer: write a subclass of snpimpute.imputers.contract.Imputer there"),
        (
            "from snpimpute.imputers.contract import Imputer\nclass Odd(Imputer):\n    pass\n",
            "the imputer Odd does not describe itself: give it a `description`",
        ),
    ],
)
def test_a_file_that_is_no_imputer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str):
    (tmp_path / "odd.py").write_text(text)
    monkeypatch.setattr(imputers, "HERE", tmp_path)
    monkeypatch.setattr(imputers, "__path__", [str(tmp_path), *imputers.__path__])
    monkeypatch.delitem(sys.modules, "snpimpute.imputers.odd", raising=False)
    with pytest.raises(InputError) as raised:
        imputers.load("odd")
    assert str(raised.value) == f"{tmp_path / 'odd.py'}: {said}" or str(raised.value) == f"{tmp_path / 'odd.py'} {said}"
