"""What all tests share: the smoke experiment, run once for all of them, and the order that lets all processes end together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from snpimpute.base.errors import InputError
from snpimpute.base.garbage import collect_seldom
from snpimpute.base.programs import beagle_jar, java
from snpimpute.tracking import store
from snpimpute.tracking.database import make_store

pytest.register_assert_rewrite("snpimpute.imputers.testing")

# The same examples in every run, as many as a second or two allow, and no limit of time on one of them.
hypothesis.settings.register_profile("project", derandomize=True, deadline=None, max_examples=30, database=None)
hypothesis.settings.load_profile("project")

# Three processes run the tests on two cores, as tests wait for programs, servers and pages: more threads in each wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Beagle takes a tenth of a second here, of which a better compiled program would save nothing.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

collect_seldom()  # as the command line and the processes of steps do: tests import the same libraries

ROOT = Path(__file__).parents[1]
# The browser of the tests that look at pages: the shell without windows, where it is installed, takes half the processor time.
CHROMIUM = Path(shutil.which("chromium-headless-shell") or "/usr/bin/chromium")
CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM_ARGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
# Files that take long begin; the first one runs the smoke experiment, which others wait for, so that those come after some
# that do not.
LONG = (
    "experiment/test_mlproject.py",
    "flows/test_deployments.py",
    "docs/test_commands.py",
    "impute/test_fit.py",
    "cluster/test_",
    "tuning/test_shared_database.py",
    "imputers/test_beagle.py",
    "experiment/test_registered.py",
    "experiment/test_studies.py",
    "tracking/test_writer.py",
    "imputers/test_cae.py",
    "imputers/test_dense",
    "experiment/test_pipeline.py",
    "dashboards/test_",
    "experiment/test_",
    "report/test_first_look.py",
    "imputers/test_",
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the classes that Beagle loads for all Beagles of a run by several processes: each takes a fifth less time with them."""
    if (
        hasattr(config, "workerinput")
        or not getattr(config.option, "numprocesses", None)
        or "-XX:Shared" in os.environ["JDK_JAVA_OPTIONS"]
    ):
        return
    folder = Path(tempfile.mkdtemp(prefix="snpimpute-tests-"))
    config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    try:
        command = [
            java(),
            "-XX:ArchiveClassesAtExit=beagle.jsa",
            "-XX:+UseSerialGC",
            "-jar",
            str(beagle_jar().absolute()),
        ]
    except InputError:  # whoever needs Beagle will say so
        return
    from tests.damage.files import N_SITES, whole_text

    panel = whole_text(dosages=False).replace("./.", "0|0").replace("/", "|")
    (folder / "panel.vcf").write_text(panel)
    (folder / "target.vcf").write_text("".join(panel.splitlines(keepends=True)[: -N_SITES // 2]))
    given = ["gt=target.vcf", "ref=panel.vcf", "out=imputed", "burnin=1", "iterations=1"]
    subprocess.run([*command, *given], cwd=folder, capture_output=True)
    os.environ["JDK_JAVA_OPTIONS"] += f" -XX:SharedArchiveFile={folder / 'beagle.jsa'}"  # Java goes on without it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((number for number, part in enumerate(LONG) if part in str(item.path)), len(LONG))

    items.sort(key=place)


def shared_by_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this run of the tests have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def store_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Lets this process copy one store without runs where it would make a new one, which takes MLflow a second.

    Gives a function that returns the store's SQLite file. Processes that tests start make theirs themselves.
    """
    make, shared = store._make_without_syncs, shared_by_all(tmp_path_factory)

    @cache
    def made() -> Path:
        with FileLock(shared / "fresh.lock"):
            (shared / "fresh").mkdir(exist_ok=True)
            make_store(shared / "fresh" / "mlflow.db", make)
        return shared / "fresh" / "mlflow.db"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_make_without_syncs", lambda database: shutil.copy(made(), database))
        yield made


@pytest.fixture
def fresh_database(store_once: Callable[[], Path]) -> Path:
    """The database of a store without runs: to be copied, not to be changed."""
    return store_once()


@pytest.fixture(scope="session")
def with_store(store_once: Callable[[], Path]) -> Callable[[Path], Path]:
    """Makes a folder of runs with a store without runs in it, for a command that need not make it; returns the folder."""

    def made(runs: Path) -> Path:
        runs.mkdir(parents=True, exist_ok=True)
        shutil.copy(store_once(), runs)
        return runs

    return made


@pytest.fixture(scope="session")
def smoke_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder in which `mlflow run . -e main` has done the smoke experiment: to be copied, not to be changed.

    `my runs` in it is the folder of runs, `printed.txt` what the command printed; MLflow's own store lies beside them.
    """
    shared = shared_by_all(tmp_path_factory)
    folder = shared / "smoke" / "snp impute"
    with FileLock(shared / "smoke.lock"):
        if not (folder / "printed.txt").exists():
            link_project(folder)
            command = ["mlflow", "run", ".", "-e", "main", "--env-manager", "local"]
            command += ["-P", "config=experiments/smoke.toml", "-P", "runs=my runs"]
            done = subprocess.run(command, cwd=folder, env=project_environment(), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            (folder / "printed.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def smoke_copied(smoke_project: Path, tmp_path: Path) -> Path:
    """A copy of the smoke experiment's folder of runs, to do harm to."""
    return Path(shutil.copytree(smoke_project / "my runs", tmp_path / "my runs"))


def link_project(folder: Path) -> None:
    """Make a folder with the project's files, so that what MLflow leaves in the working directory is left there."""
    folder.mkdir(parents=True)
    for name in ("MLproject", "conda.yaml", "snpimpute", "experiments"):
        (folder / name).symlink_to(ROOT / name)


def project_environment(**changes: str) -> dict[str, str]:
    """Environment of a shell with the project's Python first on its path, and none of the variables that it sets itself."""
    from snpimpute.base.processes import QUIET

    dropped = {*QUIET, "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "SNPIMPUTE_RUNS"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **changes}
