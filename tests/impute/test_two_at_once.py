"""Two of one command at once on one folder of runs: one works, the other waits for it, and both have the right result."""

# ruff: noqa: F401, F811 (fixtures that come from another module)
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.impute.test_run import calves, model, target, truth

ROOT = Path(__file__).parents[2]


def both(folder: Path, *commands: list[str]) -> list[str]:
    """Run commands at once in a folder; return what they print."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "snpimpute", *command, "--runs", "runs", "--threads", "1"],
            cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for command in commands
    ]  # fmt: skip
    ended = [(*process.communicate(timeout=240), process.returncode) for process in started]
    assert [status for _, _, status in ended] == [0] * len(commands), ended
    return [printed for printed, _, _ in ended]


@pytest.mark.panels  # two fits, a quarter of a minute
def test_two_fits_register_one_model(model: Path, tmp_path: Path) -> None:
    panel = str(model.parents[2] / "calves.vcf.gz")
    command = ["fit", panel, "--imputer", "mode", "--window", "40", "--json"]
    one, other = map(json.loads, both(tmp_path, command, command))
    assert one == other and one["registered"].endswith("version 1")
    assert len(list(tmp_path.glob("runs/models/*"))) == 1


def test_two_imputations_of_one_target_are_both_whole(target: Path, model: Path, tmp_path: Path) -> None:
    command = ["impute", str(target), "--model", str(model), "-o"]
    both(tmp_path, [*command, "one.vcf"], [*command, "other.vcf"], [*command, "one.vcf"])
    one, other = (
        [line for line in (tmp_path / name).read_text().splitlines() if not line.startswith("##")]
        for name in ("one.vcf", "other.vcf")
    )
    assert one == other and len(one) > 30
    assert [path.name for path in (tmp_path / "runs" / "impute").iterdir()] == []
