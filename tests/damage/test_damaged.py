"""Damaged files through check, prepare, concordance and impute: an answer or one line, no crash, traceback or hang."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import pytest

from snpimpute.base.errors import InputError
from tests.damage.files import damaged, damaged_store, whole_text

N_FILES = int(os.environ.get("SNPIMPUTE_DAMAGED_FILES", "100"))
SECONDS = 30  # for one file and verb: a hang


def check(path: Path, folder: Path) -> None:
    from snpimpute.impute.check import check_target
    from snpimpute.impute.matching import PanelSites

    check_target(path, PanelSites.of_file(folder / "sound.vcf"))


def prepare(path: Path, folder: Path) -> None:
    from snpimpute.io.matrix import read_genotypes

    read_genotypes(path)


def concordance(path: Path, folder: Path) -> None:
    from snpimpute.impute.concordance import compare_files

    compare_files(folder / "sound.vcf", path)


def impute(path: Path, folder: Path) -> None:
    """As `impute --no-panel` does it, the window's step carried out here."""
    from snpimpute.impute import run
    from snpimpute.impute.asked import ImputeSettings

    def here(function: Callable[..., None], home: Path, numbers: list[int], *_: object, **__: object) -> None:
        function(home, list(numbers))

    settings = ImputeSettings(path, folder / "out.vcf", imputer="random_draw", force=True)
    with mock.patch.object(run, "in_shares", here):
        run.impute_file(settings, folder / "runs")


VERBS = (check, prepare, concordance, impute)


def outcome(verb: Callable[[Path, Path], None], path: Path, folder: Path) -> str:
    """What comes of it in a process of its own: "ok", "refused: line", or what went wrong."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(SECONDS)
        try:
            verb(path, folder)
            told = "ok"
        except InputError as error:
            told = f"refused: {error}" if "\n" not in str(error) else f"more than one line: {error}"
        except BaseException:
            told = f"traceback: {traceback.format_exc()}"
        os.write(writing, told.encode(errors="replace")[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return told


def wrongs(numbers: range, folder: Path, make: Callable[[int, Path], Path] = damaged) -> tuple[list[str], Counter[str]]:
    """What went wrong with the damaged files of these numbers, and how often each kind of outcome came."""
    (folder / "sound.vcf").write_text(whole_text())
    if make is damaged_store:
        _make_sound_store(folder)
    for verb in VERBS:
        assert outcome(verb, folder / "sound.vcf", folder) == "ok"
    import bed_reader  # noqa: F401

    for verb in VERBS:  # what they need is imported once, before the forks
        verb(folder / "sound.vcf", folder)
    found, counted = [], Counter[str]()
    for number in numbers:
        home = folder / str(number)
        home.mkdir()
        (home / "sound.vcf").symlink_to(folder / "sound.vcf")
        path = make(number, home)
        for verb in VERBS if N_FILES <= 200 and number % 4 == 0 else (VERBS[number % 4], VERBS[(number + 1) % 4]):
            told = outcome(verb, path, home)
            counted[told.split(":")[0]] += 1
            if told != "ok" and not told.startswith("refused: "):
                found.append(f"{number} {path.name} {verb.__name__}: {told}")
    return found, counted


def _make_sound_store(folder: Path) -> None:
    """A store of the sound VCF in several chunks; and what stores need is imported before the forks."""
    from bio2zarr import vcf

    packed = folder / "sound.vcf.gz"
    subprocess.run(["bcftools", "view", "-Oz", "-o", packed, folder / "sound.vcf"], check=True)
    subprocess.run(["bcftools", "index", packed], check=True)
    vcf.convert([packed], folder / "sound.vcz", variants_chunk_size=10, samples_chunk_size=4)
    check(folder / "sound.vcz", folder)


def test_damaged_files_are_answered_or_refused_in_one_line(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:  # this process has frameworks loaded: a fork costs .2 s
        found, counted = fresh.submit(wrongs, range(N_FILES), tmp_path).result()
    print(counted, file=sys.stderr)
    assert not found, f"{len(found)} of {counted.total()}:\n" + "\n".join(found)[:20_000]
    assert counted["ok"] > 10 and counted["refused"] > 100


def test_damaged_stores_are_answered_or_refused_in_one_line(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        found, counted = fresh.submit(wrongs, range(N_FILES // 5), tmp_path, damaged_store).result()
    assert not found, f"{len(found)} of {counted.total()}:\n" + "\n".join(found)[:20_000]
    assert counted["ok"] > 3 and counted["refused"] > 10, counted


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_the_harness_sees_what_goes_wrong(verb: Callable[[Path, Path], None], tmp_path: Path) -> None:
    def crash(path: Path, folder: Path) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def raises(path: Path, folder: Path) -> None:
        raise ValueError("no InputError")

    assert outcome(crash, tmp_path, tmp_path) == "killed by SIGSEGV"
    assert outcome(raises, tmp_path, tmp_path).startswith("traceback")
    assert outcome(verb, tmp_path / "none.vcf", tmp_path).startswith(("refused", "traceback"))
