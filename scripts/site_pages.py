"""Pages of the documentation that are made from the code: commands, settings, mechanisms, metrics, decisions, changes.

mkdocs runs this file (plugin gen-files) each time it builds the site, so these pages always agree with the code.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple

import mkdocs_gen_files
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[1]

# ---------------------------------------------------------------------- the command line


def command_line() -> str:
    """Return the page of all verbs with their arguments and options, as typer documents them, with examples as code."""
    import click

    from snpimpute.cli.app import app

    command = get_command(app)
    _tidy(command)
    text = get_docs_for_click(obj=command, ctx=click.Context(command, info_name="snpimpute"), name="snpimpute")
    text = text.replace("# `snpimpute`", "# Command line", 1).replace("```console\n$ ", "```text\n")
    text = re.sub(r"^Examples?:\n((?:\n  \S.*\n)+)", _examples, text, flags=re.MULTILINE)
    return f"{text}\n## Exit status\n\n{EXIT_STATUS}"


def _tidy(group: Any) -> None:
    """Remove hidden commands, and let lists of commands show the whole first paragraph of each command's help."""
    group.commands = {name: command for name, command in group.commands.items() if not command.hidden}
    for command in group.commands.values():
        command.short_help = " ".join((command.help or "").split("\n\n")[0].split())
        if hasattr(command, "commands"):
            _tidy(command)


def _examples(found: re.Match[str]) -> str:
    lines = [line.strip() for line in found[1].splitlines() if line.strip()]
    return "\n```bash\n" + "\n".join(lines) + "\n```\n"


EXIT_STATUS = """| | |
| ---: | --- |
| 0 | done |
| 1 | something failed: an imputer of an experiment, a required program in `doctor`, a *problem* in `check` |
| 2 | input that you can correct: one line says what |
| 130 | interrupted; the same command resumes the work |
"""

# ---------------------------------------------------------------------- the experiment file

WHOLE = ""  # the keys above all tables
TITLES = {
    WHOLE: ("The experiment", "Keys at the top of the file, before any table."),
    "data.NAME": (
        "A dataset",
        "One table for each dataset; NAME has letters, digits, dots, hyphens and underscores. Without any table there is one "
        "dataset, `bulls`: the [simulated bulls](../simulated-bulls.md).",
    ),
    "data.NAME.split": ("Split of the samples", ""),
    "data.NAME.filter": ("Filters of sites", ""),
    "data.NAME.regions": ("Regions cut out of a dataset", "Without this table the whole data is used."),
    "data.NAME.scenarios": ("What is hidden", "The mechanisms in words: [What is hidden](mechanisms.md)."),
    "data.NAME.simulation": (
        "Another simulation",
        'Goes with `source = "simulated"`. What the numbers mean: [The simulated bulls](../simulated-bulls.md).',
    ),
    "variants.IMPUTER.ROW": (
        "A row of the report",
        "Changes or adds a row of an imputer. Keys that are not set keep the value that the imputer declares.",
    ),
    "tuning": ("The studies", ""),
    "budgets.IMPUTER": ("The budget of one imputer's studies", "Without this table those of `tuning` hold."),
    "scoring": ("Scoring of the imputers", ""),
}
MEANINGS = {  # meanings of keys that their models do not describe
    "name": "Name of the experiment: its report is in `runs/reports/NAME`.",
    "seed": "Seed of every random choice.",
    "threads": "Number of processor threads; 0 means all.",
    "note": "A text that the report shows.",
    "data": "The datasets, each a table of its own.",
    "imputers": "Names of the imputers; without it, all imputers.",
    "imputers_from": "Folders with [descriptions of programs](../external.md).",
    "variants": "Rows of the report that differ from those that the imputers declare.",
    "only_listed_variants": "Take only the rows of an imputer that `variants` lists.",
    "tuning": "The studies.",
    "budgets": "Budgets of single imputers.",
    "scoring": "Settings of the scoring.",
    "consequence": "Whether to tell what the imputers change in association, fine-mapping and prediction of simulated traits.",
    "tracking_uri": "MLflow store; without it `MLFLOW_TRACKING_URI`, or the store in the folder of runs.",
    "tracking_wait": "Seconds to wait for an MLflow store that stops answering.",
    "data.NAME.source": 'A VCF, BCF or PLINK file (`.bed`, `.pgen`), or `"simulated"`.',
    "data.NAME.train": "Genotypes of the train samples, where files are split already; goes with `test`.",
    "data.NAME.test": "Genotypes of the test samples; goes with `train`.",
    "data.NAME.samples": "[Sample table](../compare.md#sample-table-and-pedigree).",
    "data.NAME.pedigree": "[Table of animals](../compare.md#sample-table-and-pedigree), genotyped or not, with sire and dam.",
    "data.NAME.region": "`CONTIG` or `CONTIG:START-END`, several joined by `;`. Needs an index beside the file.",
    "data.NAME.max_sites": "Largest number of sites to use.",
    "data.NAME.max_samples": "Largest number of samples; chosen by the seed if `source` has more.",
    "data.NAME.regions": "Regions of neighbouring sites, each made a contig.",
    "data.NAME.filter": "Filters of sites.",
    "data.NAME.simulation": 'Numbers of the [simulation](../simulated-bulls.md), if `source` is `"simulated"`.',
    "data.NAME.split": "Split of the samples.",
    "data.NAME.scenarios": "The calls that are hidden.",
    "data.NAME.params": "Parameters that an imputer's rows take on this dataset; they override those of the variants.",
    "data.NAME.imputers": "Rows that are run on this dataset: `beagle`, or a single row as `beagle/default`.",
    "data.NAME.seed": "Seed of the random choices for this dataset (samples, split, masks), if it is not the experiment's.",
    "data.NAME.offsets": "Score the hard calls of this dataset with offsets too.",
    "data.NAME.split.scheme": "Random samples, whole families, whole groups, or the youngest samples as test.",
    "data.NAME.split.test": "Test samples: a share below 1, or a count.",
    "data.NAME.split.validation": "Validation samples, as a share of train.",
    "data.NAME.filter.min_call_rate": "Share of the samples that must have a call at a site.",
    "data.NAME.filter.min_maf": "Lowest frequency of the rarer allele (MAF).",
    "data.NAME.filter.pass_only": "Keep only sites that pass FILTER.",
    "variants.IMPUTER.ROW.tune": "Whether a study looks for the parameters.",
    "variants.IMPUTER.ROW.mask": "Policy of the training masks of a network.",
    "variants.IMPUTER.ROW.params": "Parameters of the imputer; a study does not change them.",
    "variants.IMPUTER.ROW.params_file": "A TOML file of parameters, or the result of an earlier study.",
    "variants.IMPUTER.ROW.params_from": "Another row of the imputer, whose parameters this row takes.",
    "tuning.trials": "Trials of a study.",
    "tuning.seconds": "Longest time of a study, in seconds.",
    "budgets.IMPUTER.trials": "Trials of each study.",
    "budgets.IMPUTER.seconds": "Longest time of each study, in seconds.",
}


DEFAULTS = {  # defaults that differ from that of the model, or are too long to show
    "name": "the file's name",
    "data.NAME.simulation.breeds": "five breeds",
}


class Table(NamedTuple):
    """A table of the experiment file: its path and the model that reads it."""

    path: str
    model: type[BaseModel]


def configuration() -> str:
    """Return the page of all tables of an experiment file with their keys."""
    from snpimpute.dataset.simulate import SimulationSettings
    from snpimpute.experiment.settings import ExperimentSettings

    parts = [CONFIGURATION]
    for table in [*_tables(ExperimentSettings, WHOLE), Table("data.NAME.simulation", SimulationSettings)]:
        title, text = TITLES.get(table.path, (f"`{table.path}`", ""))
        head = f"## {title}" if table.path == WHOLE else f"## `[{table.path}]`: {title[0].lower()}{title[1:]}"
        known = _attributes(table.model)
        rows = [
            (
                f"`{key}`",
                _type(field.annotation, field),
                DEFAULTS.get(".".join(filter(None, [table.path, key]))) or _default(field),
                _meaning(table.path, key, field, known),
            )
            for key, field in table.model.model_fields.items()
        ]
        parts += [head, text, _markdown(("key", "type", "default", "meaning"), rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


CONFIGURATION = """# Configuration

An experiment is a TOML file: `snpimpute experiment my.toml`. Every key with a default is optional. An unknown key is refused,
in one line that names it. Paths are relative to the file's folder; `~` and `$VARIABLES` are expanded.
`experiments/demo.toml` is a short example, `experiments/simpute.toml` uses nearly all keys. A table may be a section of its
own or one line: `split = { scheme = "family" }`."""


def _tables(model: type[BaseModel], path: str) -> Iterator[Table]:
    """Yield the model's table and the tables inside it."""
    yield Table(path, model)
    for key, field in model.model_fields.items():
        for inner, depth in _models(field.annotation):
            names = {"data": ["NAME"], "variants": ["IMPUTER", "ROW"], "budgets": ["IMPUTER"]}.get(
                key, ["NAME"] * depth
            )
            yield from _tables(inner, ".".join(filter(None, [path, key, *names[:depth]])))


def _models(annotation: Any, depth: int = 0) -> Iterator[tuple[type[BaseModel], int]]:
    """Yield the models in an annotation, each with the number of tables by name around it."""
    if _is_model(annotation):
        yield annotation, depth
    elif typing.get_origin(annotation) is dict:
        yield from _models(typing.get_args(annotation)[1], depth + 1)
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _models(part, depth)


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    """Return a type in words, with the bounds of the field."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        words = " or ".join(_type(part) for part in inside if part is not type(None))
    elif origin is Literal:
        words = ", ".join(f'`"{value}"`' for value in inside)
    elif origin in (tuple, list):
        inner = inside[0]
        words = f"list of {'tables with ' + _keys(inner) if _is_model(inner) else PLURALS.get(inner) or _type(inner)}"
    elif origin is dict or _is_model(annotation):
        words = "table"
    else:
        plain: dict[Any, str] = {
            str: "text",
            int: "whole number",
            float: "number",
            bool: "true or false",
            Path: "path",
            Any: "any",
        }
        words = plain.get(annotation, f"`{getattr(annotation, '__name__', annotation)}`")
    bounds = []
    for rule in field.metadata if field is not None else ():
        signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
        bounds += [f"{sign} {getattr(rule, name):g}" for name, sign in signs.items() if hasattr(rule, name)]
    return ", ".join([words, *bounds])


PLURALS = {str: "texts", int: "whole numbers", float: "numbers", Path: "paths"}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys(model: type[BaseModel]) -> str:
    return " and ".join(f"`{key}`" for key in model.model_fields)


def _default(field: FieldInfo) -> str:
    """Return a default in TOML, "–" if it is None or a table."""
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    return "–" if value is None or isinstance(value, BaseModel | dict) else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:g}" if isinstance(value, int | float) else f'"{value}"'


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """Return a mapping of key → its description under `Attributes:` in the model's docstring."""
    _, _, section = (model.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for keys, text in re.findall(r"^ {8}([\w, ]+): (.*(?:\n {12}.*)*)", section, flags=re.MULTILINE):
        text = " ".join(text.split())
        found |= {key.strip(): text[:1].upper() + text[1:] for key in keys.split(",")}
    return found


def _meaning(path: str, key: str, field: FieldInfo, known: dict[str, str]) -> str:
    """Return the meaning of a key, from its field, the table above or its model's docstring; exit if there is none."""
    where = f"{path}.{key}" if path else key
    text = field.description or MEANINGS.get(where) or known.get(key)
    if text is None:
        raise SystemExit(f"configuration page: the key {where!r} has no meaning; describe its field")
    return text


# ---------------------------------------------------------------------- the registries


def mechanisms() -> str:
    """Return the page of mechanisms, from their registry."""
    from snpimpute.dataset.mechanisms import MECHANISMS

    rows = [(f"`{name}`", _cell(entry.label), _cell(entry.hides)) for name, entry in MECHANISMS.items()]
    return f"{MECHANISMS_PAGE}\n\n{_markdown(('`mechanisms`', 'in a report', 'hides'), rows)}\n"


MECHANISMS_PAGE = """# What is hidden

To score an imputer, known calls are hidden from it. The *mechanism* is the rule by which they are chosen, the *level* their
percentage. A mechanism hides whole sites, like those that an array lacks in every sample, or single calls, like failed
genotypes. In an experiment file: `scenarios = { mechanisms = ["array"], levels = [50, 90] }`
([keys](configuration.md)); [the purpose of each](../compare.md#what-is-hidden)."""


def metrics() -> str:
    """Return the page of metrics, from their registry."""
    from snpimpute.metrics.registry import METRICS

    rows = [
        (
            f"`{key}`",
            _cell(entry.label),
            _cell(entry.range),
            "higher" if entry.higher_is_better else "lower",
            "yes" if entry.needs_posterior else "–",
            "yes" if entry.compared else "–",
            _cell(entry.meaning),
        )
        for key, entry in METRICS.items()
    ]
    columns = ("key", "name", "range", "better", "needs a posterior", "differences with intervals", "meaning")
    return f"{METRICS_PAGE}\n\n{_markdown(columns, rows)}\n"


METRICS_PAGE = """# Metrics

Scores are computed at the hidden calls only. A metric that needs a posterior is not given for a row of hard calls. For
metrics with compared differences, the table of scores has each paired difference between two rows with its 95% interval
([how](../decisions/0004-intervals.md)). The words are explained in the [Glossary](../glossary.md)."""


# ---------------------------------------------------------------------- decisions and changes


def decisions() -> str:
    """Return the page of the design records in their order, with their status."""
    rows = []
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title, _, status = path.read_text().split("\n")[:3]
        number, _, name = title.removeprefix("# ").partition(". ")
        found = re.fullmatch(r"Status: (.+) · Date: (\d{4}-\d{2}-\d{2})", status)
        if found is None:
            raise SystemExit(f"{path.name}: the third line must be `Status: … · Date: YYYY-MM-DD`")
        rows.append((number, f"[{name}]({path.name})", found[1], found[2]))
    return f"{DECISIONS_PAGE}\n\n{_markdown(('', 'decision', 'status', 'date'), rows)}\n"


DECISIONS_PAGE = """# Decisions

Reasons for the design: one short record for each choice that might be questioned later. A record has the decision, the
alternatives that were tried, and the measurements. Dates are those of the first version of the record."""


def _cell(value: Any) -> str:
    """Return a value as the cell of a table."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "yes" if value else "–"
    if value is None:
        return "–"
    if isinstance(value, tuple | list) and len(value) == 2:
        low, high = ("" if end is None or abs(end) == float("inf") else f"{end:g}" for end in value)
        return f"{low} to {high}" if high else f"from {low}"
    return str(value)


def _markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; bars in cells are escaped."""
    lines = [list(columns)]
    lines += [["---"] * len(lines[0])]
    lines += [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PAGES = {
    "reference/cli.md": command_line,
    "reference/configuration.md": configuration,
    "reference/mechanisms.md": mechanisms,
    "reference/metrics.md": metrics,
    "decisions/index.md": decisions,
    "changes.md": lambda: (ROOT / "CHANGELOG.md").read_text().replace("](docs/", "]("),
}

if __name__ in ("__main__", "<run_path>"):
    for name, make in PAGES.items():
        with mkdocs_gen_files.open(PurePath(name).as_posix(), "w") as file:
            file.write(make())
