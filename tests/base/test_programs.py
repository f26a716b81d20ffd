"""Programs and files: children end with us, output is whole or not there."""

from __future__ import annotations

import re
import subprocess
import sys

import psutil
import pytest

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text, written_beside
from snpimpute.base.processes import end_group, worker_environment
from snpimpute.base.programs import beagle_jar, beagle_version, installed, java_version, run_program
from tests.waiting import alive, wait_until


def test_output_of_a_program():
    done = run_program([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_a_group_ends_with_its_children(tmp_path):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(987)']); time.sleep(987)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    wait_until(psutil.Process(process.pid).children)
    end_group(process)
    process.wait(60)

    def left() -> list[str]:
        found = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True).stdout.split()
        return [pid for pid in found if alive(int(pid))]

    wait_until(lambda: not left())


def test_a_file_is_whole_or_not_there(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with pytest.raises(RuntimeError), written_beside(target) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    write_text(target, "whole")
    write_text(target, "another")
    assert target.read_text() == "another" and len(list(target.parent.iterdir())) == 1


def test_a_folder_is_whole_or_not_there(tmp_path):
    with written_beside(tmp_path / "folder") as beside:
        beside.mkdir()
        (beside / "a").write_text("1")
    with pytest.raises(KeyError), written_beside(tmp_path / "other") as beside:
        beside.mkdir()
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_threads_are_set_for_every_library():
    environment = worker_environment(3)
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")} == {
        "3"
    }
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_wrong_jar_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SNPIMPUTE_BEAGLE_JAR", str(tmp_path / "beagle.jar"))
    with pytest.raises(InputError, match=r"beagle\.jar, which is not a file"):
        beagle_jar()


def test_versions_of_programs_that_only_some_need():
    found = {row["name"]: row for row in installed()}
    assert found["minimac4"]["version"].startswith("minimac v4") and not found["minimac4"]["required"]
    assert found["plink1"]["version"] == "PLINK v1.07 (10/Aug/2009)"


def test_versions_of_java_and_beagle_are_found_where_java_names_its_options_first(monkeypatch):
    monkeypatch.delenv("JDK_JAVA_OPTIONS", raising=False)
    plain = java_version(), beagle_version()
    assert re.match(r"\d+\.", plain[0]) and "beagle" in plain[1]
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xshare:auto")
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    assert (java_version(), beagle_version()) == plain
