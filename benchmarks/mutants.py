"""Mutation test: a seeded sample of small faults put into the code that decides results, and how many of them the tests notice.

    python benchmarks/mutants.py --sample 300 --seed 1 --into build/mutants
    python benchmarks/mutants.py --sample 100 --seed 1 --into build/mutants --only mosaic
    python benchmarks/mutants.py --sample 20 --seed 1 --into build/mutants --only phased.py io/joined.py

A fault (a comparison turned, a number raised, a condition negated, a statement left out, …) is written into a copy of the
project, and the tests of the file's room run there until the first fails. Each outcome is a line of `outcomes.tsv`; a start
over goes on where the last one ended. Run it on an otherwise idle machine: a test that fails for want of time counts as a kill
(`--seconds`).

Without `--only` the sample is of all rooms but those of mosaic. With it the sample is of the rooms named alone: by the name of
their file, by its end (`phased.py`), or `mosaic` for all of mosaic's: its model, and phase, likelihoods and haploid calls.

Code that numba compiles (see COMPILED) is tried as plain Python first, as compiling takes longer than the tests that notice most
faults; what lives is then compiled. Machine code is kept in a folder by the digest of its source: no fault runs old code.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Code that decides results, and the tests that must notice a fault in it, with options of pytest: quick ones first.
FROZEN = "tests/test_project.py::test_results_stay_as_they_were_made_and_those_of_arrays_are_equal_to_themselves_alone"
ROOMS: dict[str, list[str]] = {
    "metrics/*.py": ["tests/metrics", "tests/scoring", FROZEN],
    "dataset/masks.py": ["tests/dataset/test_scenarios.py", "tests/dataset/test_prepared.py", "tests/scoring"],
    "dataset/mechanisms.py": ["tests/dataset/test_scenarios.py", "tests/dataset/test_prepared.py", FROZEN],
    "dataset/scenarios.py": ["tests/dataset/test_scenarios.py", "tests/dataset/test_prepared.py"],
    "dataset/splits.py": ["tests/dataset/test_scenarios.py", "tests/dataset/test_prepared.py", "tests/scoring"],
    "dataset/training_masks.py": ["tests/dataset/test_scenarios.py", "tests/imputers/test_dense.py", FROZEN],
    "scoring/*.py": [
        "tests/scoring",
        "tests/experiment/test_compare.py",
        "tests/report",
        "tests/genotypes/test_relationship.py",
        FROZEN,
    ],
    "imputers/simpute.py": ["tests/imputers/test_simpute.py", FROZEN],
    "io/output.py": ["tests/io/test_imputed.py", "tests/impute/test_run.py", "tests/impute/test_real_files.py"],
    "io/imputed.py": [
        "tests/io/test_imputed.py",
        "tests/impute/test_run.py",
        "tests/impute/test_real_files.py",
        FROZEN,
    ],
    "impute/windows.py": [
        "tests/impute/test_windows.py",
        "tests/impute/test_run.py",
        "tests/impute/test_fit.py",
        FROZEN,
    ],
    "impute/champions.py": ["tests/impute/test_concordance.py", "tests/cli/test_app.py", "tests/impute/test_fit.py"],
    "tuning/*.py": [
        "tests/tuning/test_parameters.py",
        "tests/tuning/test_reader.py",
        "tests/tuning/test_study.py",
        "tests/tuning/test_shared_database.py",
        FROZEN,
    ],
}
# Rooms of mosaic, see the file's head. The contract's tests come after those by hand, which say what the code promises.
TESTS = "tests/imputers/test_mosaic.py"
CONTRACTS = [f"{TESTS}::TestMosaic", f"{TESTS}::TestPanelPhasedByItself"]
BY_HAND = " ".join([TESTS, *(f"--deselect={test}" for test in (*CONTRACTS, f"{TESTS}::TestUnphasedPanel"))])
MOSAIC: dict[str, list[str]] = {
    "imputers/mosaic.py": [BY_HAND, FROZEN, *CONTRACTS, f"{TESTS}::TestUnphasedPanel", "tests/impute/test_phased.py"],
    "imputers/_copying.py": [BY_HAND, FROZEN, *CONTRACTS, "tests/impute/test_phased.py"],
    "imputers/_drawing.py": ["tests/imputers/test_draws.py", BY_HAND],
    "imputers/_rates.py": ["tests/imputers/test_rates.py"],
    "imputers/_recursions.py": [BY_HAND],
    "impute/layout.py": [
        "tests/impute/test_likelihoods.py",
        "tests/impute/test_haploid.py",
        "tests/impute/test_phased.py",
        "tests/impute/test_records.py",
    ],
    "impute/phased.py": ["tests/impute/test_phased.py"],
    "impute/likelihoods.py": ["tests/impute/test_likelihoods.py"],
    "impute/ploidy.py": ["tests/impute/test_haploid.py", "tests/impute/test_phased.py"],
    "io/haploid.py": ["tests/impute/test_haploid.py", FROZEN],
    "io/likelihoods.py": ["tests/impute/test_likelihoods.py"],
    "io/joined.py": [
        FROZEN,
        "tests/impute/test_records.py",
        "tests/impute/test_haploid.py",
        "tests/impute/test_phased.py",
    ],
    "io/target_line.py": ["tests/io/test_imputed.py", "tests/impute/test_records.py"],
}
COMPILED = "imputers/_recursions.py"  # the file that numba compiles
AS_PYTHON = [  # tests that are quick where nothing is compiled
    " ".join(
        f"{TESTS}::test_{name}"
        for name in (
            "a_pass_over_the_panel_sums_over_all_paths_of_one_copy",
            "blocks_of_a_pass_hold_eight_observed_sites_where_many_are_observed",
            "switches_are_rarer_where_sites_stand_closer",
            "posterior_is_the_sum_over_all_paths",
            "posterior_over_unequal_gaps_is_that_of_all_pairs",
            "a_genotype_is_sure_only_where_no_other_is_possible",
        )
    )
]
PRELOADED = ("numpy", "pandas", "scipy.stats", "pytest", "cyvcf2", "optuna", "mlflow.tracking", "hypothesis")

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SUMS = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
    ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip


def faults_of(tree: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """Node, text that takes its place, and name of every fault that can be put into a module."""
    annotations = {id(part) for node in ast.walk(tree) for part in _annotation(node)}
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISONS:
                turned = COMPARISONS[type(op)]
                yield node, f"({ast.unparse(left)} {turned} {ast.unparse(right)})", f"comparison to {turned}"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in SUMS and not _is_text(left, right):
                turned = SUMS[type(op)]
                yield node, f"(({ast.unparse(left)}) {turned} ({ast.unparse(right)}))", f"operator to {turned}"
            case ast.BoolOp(op=op, values=values):
                turned = "or" if isinstance(op, ast.And) else "and"
                yield node, "(" + f" {turned} ".join(f"({ast.unparse(v)})" for v in values) + ")", f"to {turned}"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield node, f"({ast.unparse(operand)})", "not left out"
            case ast.Constant(value=bool(value)):
                yield node, str(not value), "truth turned"
            case ast.Constant(value=int(value) | float(value)):
                yield node, repr(value + 1), "number raised by 1"
            case ast.If(test=test) | ast.IfExp(test=test):
                yield test, f"(not ({ast.unparse(test)}))", "condition negated"
            case ast.Expr(value=ast.Call()):
                yield node, "pass", "call left out"
            case ast.AugAssign():
                yield node, "pass", "statement left out"
            case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
                yield value, "None", "None returned"
            case ast.Continue() | ast.Break():
                yield node, "pass", "jump left out"


def _annotation(node: ast.AST) -> Iterator[ast.AST]:
    for name in ("annotation", "returns"):
        if (part := getattr(node, name, None)) is not None:
            yield from ast.walk(part)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        yield from ast.walk(node)


def _is_text(*nodes: ast.expr) -> bool:
    return any(
        isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str)) for n in nodes
    )


def put_in(source: str, node: ast.AST, text: str) -> str:
    """Source in which the text stands in the node's place."""
    lines = source.encode().splitlines(keepends=True)  # columns of the syntax tree count bytes
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    first = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
    last = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
    whole = b"".join(lines)
    return (whole[:first] + text.encode() + whole[last:]).decode()


def rooms_named(names: list[str]) -> dict[str, list[str]]:
    """Rooms by the end of their files' names, or of a group; without names all but those of mosaic."""
    if not names:
        return ROOMS
    rooms = {}
    for name in names:
        found = (
            MOSAIC
            if name == "mosaic"
            else {k: v for k, v in {**ROOMS, **MOSAIC}.items() if f"/{k}".endswith(f"/{name}")}
        )
        if not found:
            sys.exit(f"no room is named {name}: {', '.join((*ROOMS, *MOSAIC))}")
        rooms |= found
    return rooms


def all_faults(package: Path, rooms: Iterable[str]) -> list[tuple[Path, str, int, int, str, str]]:
    """Place, pattern, line, column, text and name of every fault that can be put into the files of these rooms."""
    found = []
    for pattern in rooms:
        for path in sorted(package.glob(pattern)):
            for node, text, name in faults_of(ast.parse(path.read_text())):
                found.append((path.relative_to(package), pattern, node.lineno, node.col_offset, text, name))  # type: ignore[attr-defined]
    return found


def notice(copy: Path, tests: list[str], seconds: float, as_python: bool = False) -> str:
    """Run tests in a copy of the project until one fails; "killed", "survived" or "killed by time".

    Args:
        copy: folder of the copy.
        tests: arguments of pytest, one run after the other.
        seconds: time for each run.
        as_python: whether nothing is compiled.
    """
    digest = hashlib.sha256((copy / "snpimpute" / COMPILED).read_bytes()).hexdigest()
    variables = {"NUMBA_CACHE_DIR": str(copy.parent / "compiled" / digest), "NUMBA_DISABLE_JIT": str(int(as_python))}
    for test in tests:
        child = os.fork()  # the libraries are loaded already
        if child == 0:
            os.setsid()
            os.chdir(copy)
            os.environ.update(variables)  # numba, which reads them, is not loaded yet
            sys.path.insert(0, str(copy))
            with (copy / "printed.txt").open("w") as printed:
                os.dup2(printed.fileno(), 1)
                os.dup2(printed.fileno(), 2)
            import pytest

            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not panels"]
            os._exit(int(pytest.main([*options, *test.split()])))
        deadline = time.monotonic() + seconds
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "killed by time"
            time.sleep(0.02)
        if os.waitstatus_to_exitcode(status) != 0:
            return "killed"
    return "survived"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--sample", type=int, default=300, help="number of faults")
    asked.add_argument("--seed", type=int, default=1, help="seed of the sample")
    asked.add_argument(
        "--into", type=Path, default=ROOT / "build" / "mutants", help="folder of the copy and the outcomes"
    )
    asked.add_argument(
        "--seconds", type=float, default=180, help="a fault that makes a run of tests last longer is noticed"
    )
    asked.add_argument("--only", nargs="*", default=[], help="rooms, see the file's head; without it all but mosaic's")
    settings = asked.parse_args()
    copy = settings.into.resolve() / "project"  # each test runs in it
    if copy.exists():
        shutil.rmtree(copy)
    kept = shutil.ignore_patterns(".git", ".venv", "runs", "build", "__pycache__", ".mypy_cache", ".ruff_cache", "site")
    shutil.copytree(ROOT, copy, ignore=kept)
    outcomes = settings.into / "outcomes.tsv"
    outcomes.touch()
    known = {tuple(line.split("\t")[:4]): line.split("\t")[4] for line in outcomes.read_text().splitlines()}
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(copy), OMP_NUM_THREADS="1")
    sys.dont_write_bytecode = True
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() not in (ROOT, ROOT / "benchmarks")]
    for module in PRELOADED:
        __import__(module)
    rooms = rooms_named(settings.only)
    faults = all_faults(copy / "snpimpute", rooms)
    sample = random.Random(settings.seed).sample(faults, min(settings.sample, len(faults)))
    if not known and COMPILED in rooms and notice(copy, AS_PYTHON, settings.seconds, as_python=True) != "survived":
        sys.exit(f"{' '.join(AS_PYTHON)} fails as plain Python: see {copy / 'printed.txt'}")
    for test in dict.fromkeys(test for tests in rooms.values() for test in tests):
        if not known and notice(copy, [test], settings.seconds) != "survived":
            sys.exit(f"{test} fails before a fault is put in: see {copy / 'printed.txt'}")
    counts = {"killed": 0, "killed as Python": 0, "killed by time": 0, "survived": 0}
    for place, pattern, line, column, text, name in sample:
        key = (str(place), f"{line}:{column}", name, text.replace("\n", " ").replace("\t", " "))
        if key not in known:
            source = (copy / "snpimpute" / place).read_text()
            node = next(
                node
                for node, other, called in faults_of(ast.parse(source))
                if (node.lineno, node.col_offset, other, called) == (line, column, text, name)  # type: ignore[attr-defined]
            )
            time_of_change = (copy / "snpimpute" / place).stat().st_mtime_ns
            (copy / "snpimpute" / place).write_text(put_in(source, node, text))
            known[key] = "survived"
            if str(place) == COMPILED:
                known[key] = notice(copy, AS_PYTHON, settings.seconds, as_python=True)
                known[key] = "killed as Python" if known[key] == "killed" else known[key]
            if known[key] == "survived":
                known[key] = notice(copy, rooms[pattern], settings.seconds)
            (copy / "snpimpute" / place).write_text(source)
            os.utime(copy / "snpimpute" / place, ns=(time_of_change, time_of_change))  # numba's cache goes by it
            with outcomes.open("a") as table:
                table.write("\t".join((*key, known[key])) + "\n")
        counts[known[key]] += 1
        if known[key] == "survived":
            print(f"survived: snpimpute/{place}:{line}  {name}: {key[3]}", flush=True)
    total = sum(counts.values())
    dead = total - counts["survived"]
    print(
        f"{dead} of {total} noticed ({dead / total:.1%}; {counts['killed by time']} by time), of {len(faults)} that can be made"
    )


if __name__ == "__main__":
    main()
