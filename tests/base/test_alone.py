"""Locks, work folders and parts: others wait, what lives is left alone, what killed processes left is cleared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snpimpute.base.alone import WORK, clear_work_folders, made_alone, work_folder
from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.files import no_room, out_of_room, part_of, written_beside
from snpimpute.base.progress import Watch

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from snpimpute.base.alone import made_alone, work_folder
from snpimpute.base.files import written_beside
from snpimpute.base.progress import Watch
path = Path(sys.argv[1])
with made_alone(path, Watch()), work_folder("test") as folder, written_beside(path) as beside:
    beside.mkdir()
    (folder / "big").write_text("x")
    print(folder, beside, flush=True)
    time.sleep(300)
"""


class Notes(Watch):
    """Watch that keeps the warnings."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.first = threading.Event()

    def warn(self, text: str) -> None:
        self.said.append(text)
        self.first.set()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of its own, for this process and those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def holder(tmp_path: Path, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path, Path]]:
    """A process that makes `made`: itself, its work folder, and its part beside `made`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "made")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder, part = map(Path, process.stdout.readline().split())
    yield process, folder, part
    process.kill()
    process.wait()


def test_one_makes_it_and_the_other_waits_and_says_so(tmp_path: Path, holder) -> None:
    process, _, _ = holder
    notes, entered = Notes(), threading.Event()

    def wait_for_it() -> None:
        with made_alone(tmp_path / "made", notes):
            entered.set()

    waiting = threading.Thread(target=wait_for_it)
    waiting.start()
    assert notes.first.wait(30) and not entered.is_set()
    assert notes.said == [f"another process makes {tmp_path / 'made'}: waiting for it"]
    process.kill()  # a lock ends with its process
    waiting.join(30)
    assert entered.is_set() and len(notes.said) == 1


def test_what_a_killed_process_left_is_cleared_and_what_lives_is_not(tmp_path: Path, temporary: Path, holder) -> None:
    process, folder, part = holder
    other = part.with_name(part.name.replace(part.name.rsplit("-", 1)[1], "000000.part"))  # of another machine
    other.touch()
    with work_folder("mine") as mine:
        clear_work_folders()
        assert sorted(temporary.iterdir()) == sorted([folder, mine])
        assert mine.name.startswith(f"{WORK}mine-{os.getpid()}-")
        process.kill()
        process.wait()
        clear_work_folders()
        assert list(temporary.iterdir()) == [mine]
    assert list(temporary.iterdir()) == []
    with written_beside(tmp_path / "made") as beside:
        assert beside == part_of(tmp_path / "made") and not part.exists() and other.exists()
        beside.write_text("whole")
    assert (tmp_path / "made").read_text() == "whole" and not beside.exists()


def test_a_work_folder_that_goes_away_while_it_is_looked_at_stops_nobody(temporary: Path) -> None:
    (temporary / f"{WORK}gone-1-x").symlink_to("nowhere")  # listed, but not there
    clear_work_folders()


def test_a_full_disk_is_told_whoever_finds_it() -> None:
    wrapped = ValueError("cannot save")
    wrapped.__cause__ = OSError(28, "No space left on device")
    full = [OSError(28, ""), wrapped, RuntimeError("(sqlite3.OperationalError) database or disk is full")]
    full += [OSError("512 requested and 0 written"), InputError("Beagle failed: IOException: No space left on device")]
    assert {no_room(error) for error in full} == {"No space left on device"}
    assert no_room(OSError(27, "")) == "File too large"
    assert no_room(OSError(2, "No such file")) == no_room(ValueError("no room in this inn")) == ""
    assert str(out_of_room(OSError(28, "", "/a/b"))) == (
        "cannot write /a/b: No space left on device; make room, and run the same command again to go on"
    )
    assert str(out_of_room(full[-1])).startswith("Beagle failed: ") and str(out_of_room(full[-1])).endswith("to go on")
    told = WorkEnds("told already")
    assert out_of_room(told) is told and out_of_room(KeyError("x")) is None
