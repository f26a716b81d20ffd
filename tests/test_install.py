"""The package as `pip install` leaves it without extras: it imputes, and says which extra has what it lacks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FRAMEWORKS = (
    "distributed",
    "keras",
    "mlflow",
    "msprime",
    "optuna",
    "prefect",
    "streamlit",
    "tensorflow",
    "torch",
    "transformers",
)
SITES = 60
TYPED = range(0, SITES, 3)  # sites that the target has


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy: what is built leaves nothing in the checkout, and takes nothing old."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("snpimpute", "flows", "dashboards"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    )
    (found,) = folder.glob("snpimpute-*.whl")
    return found


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of an environment that has the wheel and what it declares without extras, and nothing else.

    The distributions are links to those that the tests run with, so that nothing is downloaded or copied.
    """
    home = tmp_path_factory.mktemp("plain") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    paths = {"base": str(home), "platbase": str(home)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    (own,) = metadata.distributions(name="snpimpute", path=[str(packages)])
    for distribution in needed(own.requires or []):
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            link = packages / top
            assert not link.exists(), f"{top} is of two distributions: link what is in it, one by one"
            link.symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return home / "bin"


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with panel.vcf, of 40 samples, and target.vcf, of five others at every third of its sites."""
    folder = tmp_path_factory.mktemp("panel")
    rng = np.random.default_rng(1)
    founders = np.array(
        [rng.permutation(6) < rng.integers(2, 5) for _ in range(SITES)]
    ).T  # no site has one allele alone
    haplotypes = founders[rng.integers(6, size=(90, SITES // 20))[:, np.arange(SITES) // 20], np.arange(SITES)]
    write_vcf(folder / "panel.vcf", haplotypes[:80], range(SITES))
    write_vcf(folder / "target.vcf", haplotypes[80:], TYPED)
    return folder


def write_vcf(path: Path, haplotypes: np.ndarray, sites: range) -> None:
    """Haplotypes, two rows a sample, at some of the sites."""
    samples = [f"{path.stem}{i}" for i in range(len(haplotypes) // 2)]
    lines = [
        "##fileformat=VCFv4.2",
        "##contig=<ID=1,length=100000>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples]),
    ]
    for site in sites:
        calls = [f"{int(a)}|{int(b)}" for a, b in haplotypes[:, site].reshape(-1, 2)]
        lines.append("\t".join(["1", str(1000 * (site + 1)), f"s{site}", "A", "C", ".", "PASS", ".", "GT", *calls]))
    path.write_text("\n".join(lines) + "\n")


def needed(wanted: list[str]) -> list[metadata.Distribution]:
    """The installed distributions that these requirements, without extras, ask for, and those that they ask for."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(text), frozenset({""})) for text in wanted]
    done = set()
    while waiting:
        requirement, extras = waiting.pop()
        if (str(requirement), extras) in done:
            continue
        done.add((str(requirement), extras))
        if requirement.marker is not None and not any(requirement.marker.evaluate({"extra": e}) for e in extras):
            continue
        distribution = metadata.distribution(requirement.name)
        found[distribution.metadata["Name"]] = distribution
        further = frozenset({"", *requirement.extras})
        waiting += [(Requirement(text), further) for text in distribution.requires or []]
    return list(found.values())


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command that must succeed."""
    done = attempt(*command, cwd=cwd)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done


def attempt(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command, with none of this environment's packages on its path."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd or ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)


def test_the_wheel_has_the_packages_and_their_data(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for name in ("snpimpute", "flows", "dashboards")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == there


def test_no_framework_is_there(plain: Path, tmp_path: Path) -> None:
    code = f"from importlib.util import find_spec; print([name for name in {FRAMEWORKS} if find_spec(name)])"
    assert run(plain / "python", "-c", code, cwd=tmp_path).stdout == "[]\n"


def test_the_program_is_installed(plain: Path, tmp_path: Path) -> None:
    assert "impute" in run(plain / "snpimpute", "--help", cwd=tmp_path).stdout
    assert "impute" in run(plain / "python", "-m", "snpimpute", "--help", cwd=tmp_path).stdout


def test_it_checks_a_target(plain: Path, panel: Path, tmp_path: Path) -> None:
    program = (plain / "python", "-m", "snpimpute")
    run(*program, "check", panel / "target.vcf", "--panel", panel / "panel.vcf", "-o", "checked", cwd=tmp_path)
    assert (tmp_path / "checked" / "qc.html").is_file()


def test_it_fits_and_imputes(plain: Path, panel: Path, tmp_path: Path) -> None:
    program = (plain / "python", "-m", "snpimpute")
    fit = ("fit", panel / "panel.vcf", "--imputer", "softmax_regression", "--typed-sites", panel / "target.vcf")
    run(*program, *fit, "--threads", 1, cwd=tmp_path)
    (model,) = (tmp_path / "runs" / "models").glob("*/model")
    run(*program, "impute", panel / "target.vcf", "-o", "imputed.vcf", "--model", model, "--threads", 1, cwd=tmp_path)
    rows = [line.split("\t") for line in (tmp_path / "imputed.vcf").read_text().splitlines() if line[0] != "#"]
    assert [int(row[1]) for row in rows] == [1000 * (site + 1) for site in range(SITES)]
    assert all("." not in call.split(":")[0] for row in rows for call in row[9:])


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["fit", "panel.vcf", "--imputer", "dense"], "networks"),
        (["fit", "panel.vcf", "--imputer", "bert"], "networks"),
        (["experiment", "panel.vcf"], "platform"),
        (["fit", "panel.vcf", "--imputer", "mode", "--cluster", "local:1"], "cluster"),
        (["fit", "s3://bucket/panel.vcf", "--imputer", "mode"], "cluster"),
        (["dashboard"], "dashboard"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_is_not_there_is_named_with_its_extra(
    command: list[str], extra: str, plain: Path, panel: Path, tmp_path: Path
) -> None:
    shutil.copy(panel / "panel.vcf", tmp_path)
    done = attempt(plain / "python", "-m", "snpimpute", *command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("snpimpute: ") and line.endswith(f"pip install 'snpimpute[{extra}]'")
