"""The documentation: commands that exist, links that lead somewhere, a README of one screen, a site without a warning."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.main import get_command

from snpimpute.cli.app import app, narrowed
from snpimpute.experiment.settings import ExperimentSettings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
OURS = sorted((ROOT / "docs").glob("*.md"))  # the other folders hold records and results, which are as they were
PAGES = [README, *OURS]
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
BESIDE = {"bcftools", "cp", "plink2", "vcf2zarr"}  # programs that a block may call between ours


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None  # why no test runs it

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = page.read_text().splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        above = lines[start - 1] if start else ""
        language = lines[start].removeprefix("```").split(" ")[0]
        reason = above if NOT_RUN.fullmatch(above) else None
        yield Block(page, start + 1, language, "\n".join(lines[start + 1 : number]), reason)
        start = None
    assert start is None, f"{page}: a fenced block does not end"


ALL = [block for page in PAGES for block in blocks(page)]
COMMANDS = [block for block in ALL if block.language == "bash"]


def complaint(line: str) -> str | None:
    """What is wrong with a command of a block; None if its verb and options, or its make target, exist."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
        words.pop(0)
    if not words:
        return None
    program, *rest = words
    if program == "make":
        missing = [
            t for t in rest if not re.search(rf"^{re.escape(t)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        ]
        return f"no target {missing[0]}" if missing else None
    if program.removeprefix(".venv/bin/") != "snpimpute":
        return None if program in BESIDE else f"{program} is not a program that a block may call"
    command = get_command(narrowed(rest))
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            return f"no verb {' '.join(rest[:1])!r}"
        command = command.commands[rest.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    unknown = sorted(given - options - {"--help"})
    return f"no option {unknown[0]}" if unknown else None


# ---------------------------------------------------------------------- the README


def test_the_readme_is_short():
    assert len(README.read_bytes()) <= 6000


def test_the_readme_says_what_was_withdrawn():
    for page in (README, ROOT / "docs" / "evidence.md"):
        assert "Withdrawn on 2026-11-26: every comparison with Beagle on human genotypes" in page.read_text(), page


# ---------------------------------------------------------------------- commands


def test_commands_are_fenced_as_bash():
    for block in ALL:
        assert block.language not in ("", "sh", "shell", "console"), f"{block.where}: give the block a language"


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.where)
def test_a_block_can_be_run_or_says_why_not(block: Block):
    """Every `snpimpute` and `make` line exists; a block without a reason holds nothing else but programs beside them."""
    for line in block.text.replace("\\\n", " ").splitlines():
        wrong = complaint(line)
        if wrong and (block.reason is None or "is not a program" not in wrong):
            pytest.fail(f"{block.where}: {line!r}: {wrong}")


def test_what_is_wrong_is_told():
    """The check itself: it would see a verb, an option, a target and a program that are not there."""
    assert complaint("snpimpute imputers --json") is None
    assert complaint(".venv/bin/snpimpute models compare panel/1 panel/2") is None
    assert complaint("make demo  # a comment") is None
    assert complaint("snpimpute inpute target.vcf.gz") == "no verb 'inpute'"
    assert complaint("snpimpute models demote panel/2") == "no verb 'demote'"
    assert complaint("snpimpute impute target.vcf.gz --out imputed.vcf.gz") == "no option --out"
    assert complaint("make dmeo") == "no target dmeo"
    assert complaint("rm -rf runs") == "rm is not a program that a block may call"


# ---------------------------------------------------------------------- what pages hold besides


def test_experiments_of_the_pages_are_valid():
    text = next(block.text for block in blocks(ROOT / "docs" / "compare.md") if block.language == "toml")
    settings = ExperimentSettings.model_validate(tomllib.loads(text))
    assert set(settings.data) == {"my-bulls"}
    assert "inputs-visible" in settings.variants["dense"]


def test_what_pages_import_from_the_package_is_there():
    for block in ALL:
        if block.language != "python":
            continue
        for module, names in re.findall(r"^from (snpimpute[\w.]*) import ([\w, ]+)", block.text, re.MULTILINE):
            found = importlib.import_module(module)
            for name in names.split(","):
                assert hasattr(found, name.strip()), f"{block.where}: {module} has no {name.strip()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_are_there(page: Path):
    """Paths of the repository in `code` and in commands, but those of the example that a reader makes."""
    places = "(?:snpimpute|experiments|benchmarks|scripts|tests|flows)"
    named = re.findall(rf"`({places}/[\w./-]+)`", page.read_text())
    for block in blocks(page):
        if block.language == "bash":
            named += re.findall(rf"(?<![\w./]){places}/[\w./-]+\.\w+", block.text)
    for path in named:
        if "hardy_weinberg" not in path:
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_links_and_pictures_of_the_readme_are_there():
    found = re.findall(r"\]\(([^)\s]+)\)", README.read_text())
    relative = [target.split("#")[0] for target in found if "://" not in target and not target.startswith("#")]
    assert any(target.endswith(".png") for target in relative)
    for target in relative:
        assert (ROOT / target).exists(), target


def test_every_result_is_linked():
    """A file under docs/results that no page names is a left-over."""
    named = set()
    for page in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            named.add((page.parent / target).resolve())
    left = [path for path in (ROOT / "docs" / "results").rglob("*") if path.is_file() and path.resolve() not in named]
    assert not left, left


# ---------------------------------------------------------------------- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` does it."""
    for plugin in ("mkdocs", "material", "mkdocstrings", "mkdocs_gen_files"):
        if importlib.util.find_spec(plugin) is None:
            pytest.skip(f"{plugin} is not installed: the site cannot be built")
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    # no --quiet: it would hide the warnings from --strict too
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_the_site_has_every_page(site: Path):
    for name in ("index", "evidence", "write-an-imputer", "glossary", "traits", "many-machines"):
        assert (site / f"{name}.html").exists(), name
    for record in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        assert (site / "decisions" / f"{record.stem}.html").exists(), record
        assert f'href="{record.stem}.html"' in (site / "decisions" / "index.html").read_text()


def test_the_reference_is_that_of_the_code(site: Path):
    verbs = set(get_command(app).commands)  # type: ignore[attr-defined]
    page = (site / "reference" / "cli.html").read_text()
    for verb in verbs - {"step"}:
        assert f"snpimpute {verb}" in page, verb
    page = (site / "reference" / "configuration.html").read_text()
    for key in ExperimentSettings.model_fields:
        assert f"<code>{key}</code>" in page, key


def test_the_site_needs_no_network(site: Path):
    """No page fetches a font, a script, a style or a picture from elsewhere."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="?(https?:[^"\s>]+)', text)
        fetched += re.findall(
            r'<link[^>]*\srel="?(?:stylesheet|preconnect|icon)"?[^>]*\shref="?(https?:[^"\s>]+)', text
        )
        assert not fetched, f"{page.relative_to(site)}: {fetched[0]}"
