"""Results follow the code: digests change with what the code does, and with nothing else; exactly its results are made anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from snpimpute import imputers
from snpimpute.base.sources import library_versions, modules_behind, source_digest, versions_of
from snpimpute.imputers.contract import typical

ROOT = Path(__file__).parents[2]
MODULE = '''"""Doc."""
from pkg.helper import twice


def run(x):
    """Say it."""
    return twice(x)  # comment
'''
LITTLE = """
name = "little"
threads = 1
imputers = ["mode", "ld_knn", "random_draw"]
only_listed_variants = true
[data.calves]
simulation = { n_samples = 40, n_sites = 30 }
scenarios = { levels = [60], repeats = 1, mechanisms = ["entries"] }
[variants.mode.default]
[variants.ld_knn.default]
[variants.random_draw.default]
"""


def digest_in(folder: Path, module: str) -> str:
    """The digest as a fresh process finds it in a folder of packages."""
    code = f"from snpimpute.base.sources import source_digest; print(source_digest({module!r}))"
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "pkg"
    folder.mkdir()
    (folder / "__init__.py").write_text('__version__ = "1"\n')
    (folder / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (folder / "other.py").write_text("VALUE = 1\n")
    (folder / "module.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("module.py", "# comment", "# another comment", False),
        ("module.py", "Say it.", "Say it again.", False),
        ("module.py", "\n\n\ndef", "\n\n\n\n\ndef", False),
        ("__init__.py", '"1"', '"2"', False),
        ("other.py", "VALUE = 1", "VALUE = 2", False),
        ("module.py", "return twice(x)", "return twice(x) + 1", True),
        ("helper.py", "2 * x", "3 * x", True),
    ],
)
def test_what_changes_a_digest(packages: Path, file: str, old: str, new: str, changes: bool) -> None:
    before = digest_in(packages, "pkg.module")
    path = packages / "pkg" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (digest_in(packages, "pkg.module") != before) == changes


def test_what_stands_behind_an_imputer() -> None:
    behind = modules_behind("snpimpute.imputers.mosaic", without=imputers.DISCOVERY)
    assert {"snpimpute.imputers.beagle", "snpimpute.imputers._copying", "snpimpute.imputers.contract"} <= set(behind)
    assert not {"snpimpute", "snpimpute.imputers", "snpimpute.imputers.dense", "snpimpute.cli.app"} & set(behind)
    assert {"torch", "transformers", "numpy"} <= set(library_versions("snpimpute.imputers.bert"))
    assert "torch" not in library_versions("snpimpute.imputers.mode")


def test_a_package_is_named_by_its_distribution() -> None:
    found = versions_of({"sklearn", "bed_reader", "numpy", "json", "no_such_package"})
    assert list(found) == ["bed-reader", "numpy", "scikit-learn"] and found["numpy"] == np.__version__


def test_every_imputer_has_a_key_of_its_own() -> None:
    keys = {name: json.dumps(imputers.decided_by(imputers.load(name))) for name in imputers.names()}
    assert len(set(keys.values())) == len(keys)


@pytest.mark.panels  # half a minute; the digests themselves are tested above
def test_an_edited_imputer_is_fitted_anew_and_no_other(tmp_path: Path, with_store: Callable[[Path], Path]) -> None:
    """A copy of the package, in which one imputer's file is changed between two starts of the same experiment."""
    shutil.copytree(ROOT / "snpimpute", tmp_path / "snpimpute", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "little.toml").write_text(LITTLE)
    with_store(tmp_path / "runs")

    def train() -> dict[str, set[str]]:
        command = [sys.executable, "-m", "snpimpute", "evaluate", "little.toml", "--json"]
        environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "SNPIMPUTE_RUNS")}
        done = subprocess.run(
            command, cwd=tmp_path, env={**environment, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        runs = tmp_path / "runs"
        return {
            "datasets": {path.name for path in (runs / "datasets").iterdir()},
            **{
                name: {p.name for p in (runs / "models").glob(f"calves-{name}-*")}
                for name in ("mode", "ld_knn", "random_draw")
            },
            "scores": {path.name for path in (runs / "scores").glob("*.csv")},
        }

    def edit(file: str, old: str, new: str) -> None:
        path = tmp_path / "snpimpute" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    first = train()
    edit("imputers/ld_knn.py", '"""', '"""Changed. ')  # decides nothing
    edit("imputers/mode.py", "return ", "return 1 * ")
    second = train()
    assert all(first[name] <= second[name] for name in first)
    assert {name: len(kept) for name, kept in second.items()} == {
        "datasets": 1,
        "mode": 2,
        "ld_knn": 1,
        "random_draw": 1,
        "scores": 2,
    }
    edit("scoring/table.py", "COMPARED = tuple(", "COMPARED = (*(),) + tuple(")
    third = train()
    assert len(third["scores"]) == 3 and {**third, "scores": second["scores"]} == second


def test_windows_agree_by_median_and_majority() -> None:
    assert typical([0.001, 0.03, 0.03]) == 0.03 and typical([1, 2, 4, 9]) == 3 and typical([1.0, 2.0]) == 1.5
    assert typical(["a", "b", "b"]) == "b" and typical([True, False, False]) is False
    assert typical([None, None, 3]) is None and typical([None, 3, 5]) == 4
    mosaic = imputers.load("mosaic")
    found = [mosaic.parse_params({"switch": switch}) for switch in (0.001, 0.03, 0.03)]
    assert mosaic.agreed(found) == mosaic.parse_params({"switch": 0.03})
    dense = imputers.load("dense")
    networks = [
        dense.parse_params({"stop_after": epochs, "calibration": [1.0, 0.0, shift, -shift]})
        for epochs, shift in ((3, 0.0), (9, 0.3), (4, 0.6))
    ]
    agreed = dense.agreed(networks)
    assert agreed.stop_after == 4 and agreed.calibration == pytest.approx((1.0, 0.0, 0.3, -0.3))


def test_a_digest_is_the_same_in_another_process_which_loads_no_library_for_it() -> None:
    code = (
        "import sys; from snpimpute.base.sources import source_digest; print(source_digest('snpimpute.imputers.mosaic'))\n"
        "print(*{'numba', 'pandas', 'scipy'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found, loaded = told.split("\n")[:2]
    assert found == source_digest("snpimpute.imputers.mosaic")
    assert loaded == ""
