"""Descriptions of external programs: the tables of a description's TOML file, read and checked."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from snpimpute.base.errors import InputError

PLACEHOLDER = re.compile(r"\{(\w+)\}")
OF_EVERY_RUN = {"program", "threads", "seed"}
OF_THE_PANEL = {"panel"}
OF_A_TARGET = {"target", "n_target"}
OF_A_CONTIG = {"contig", "start", "end"}
OWN_PARAMS = {"map", "phasing"}

Value = bool | int | float | str


class Table(BaseModel):
    """Base of all tables: frozen, unknown keys refused, no value converted from another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Program(Table):
    """The program: its name, version and installation.

    Attributes:
        name: name on the PATH; an environment variable (SNPIMPUTE_MINIMAC4 for minimac4) may give its path.
        install: how to get it, for the message that it is missing.
        version: command that prints its version.
        version_pattern: regular expression that finds the version in the output; by default the first line.
        also: other programs that its commands use, with how to get them.
    """

    name: str
    install: str
    version: str
    version_pattern: str = r"\S.*"
    also: dict[str, str] = {}

    @field_validator("version_pattern")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        """Refuse a pattern that is no regular expression."""
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern


class Panel(Table):
    """Form in which the program wants the panel: bgzipped and indexed VCF, or PLINK 1 bed, bim and fam.

    `phased`: Beagle first phases and completes an unphased or incomplete panel.
    """

    form: Literal["vcf", "plink"] = "vcf"
    phased: bool = False

    @model_validator(mode="after")
    def _phase_has_a_place(self) -> Panel:
        """Refuse a phased PLINK file."""
        if self.phased and self.form == "plink":
            raise ValueError('a PLINK file has no phase: form = "vcf" goes with phased = true')
        return self


class Target(Panel):
    """Form in which the program wants the target.

    Attributes:
        phased: Beagle first phases it, with the panel as reference; missing calls that this fills are set missing
            again.
        hidden_sites: sites without any call are "left_out" of the file, or in it as "missing".
        single_holes: calls that some samples lack at a site are "filled" by the program, or "refused" in one line.
        complete_first: the panel's first sample is put first, for a program that fails where the first sample lacks a
            call. Its output is not read.
    """

    hidden_sites: Literal["left_out", "missing"] = "left_out"
    single_holes: Literal["filled", "refused"] = "filled"
    complete_first: bool = False


class Run(Table):
    """The commands, run by `sh -e` in a folder of their own that is removed afterwards.

    Attributes:
        fit: commands run once when the imputer is fitted.
        keep: files that these make; they are kept with the model and put back for the commands that impute.
        impute: commands run for each target.
        one_contig: the program takes one contig at a time, so that each contig has runs of its own.
    """

    fit: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    impute: tuple[str, ...] = Field(min_length=1)
    one_contig: bool = False

    @field_validator("keep")
    @classmethod
    def _plain(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse file names with a folder."""
        for name in names:
            _require_plain_file(name)
        return names

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, table: Any) -> Any:
        """Turn TOML lists into tuples, as strict tables convert nothing."""
        return {key: tuple(value) if isinstance(value, list) else value for key, value in dict(table).items()}


class Output(Table):
    """The program's output: file, form, and the FORMAT field to read ("GT" alone from PLINK files)."""

    file: str
    form: Literal["vcf", "plink"] = "vcf"
    field: Literal["HDS", "GP", "DS", "GT"]

    @field_validator("file")
    @classmethod
    def _plain(cls, name: str) -> str:
        """Refuse a file name with a folder."""
        _require_plain_file(name)
        return name

    @model_validator(mode="after")
    def _field_is_there(self) -> Output:
        """Refuse a field that the form does not have."""
        if self.form == "plink" and self.field != "GT":
            raise ValueError('a PLINK file has calls only: field = "GT" goes with form = "plink"')
        return self


def _require_plain_file(name: str) -> None:
    """Raise ValueError for a file name that leads out of the folder in which commands run."""
    if "/" in name or ".." in name or name in {"", "."}:
        raise ValueError(f"{name!r} is no plain file name: leave out folders and '..'")


class Range(Table):
    """Range in which a study searches a parameter."""

    low: int | float
    high: int | float
    log: bool = False


class Description(Table):
    """Description of a program that imputes.

    Attributes:
        description: one line for the list of imputers.
        untried: true if no test of this project runs it.
        program, panel, target, run, output: see these tables. Without `panel` the program gets no panel.
        params: parameters of the imputer with their defaults; {NAME} in a command stands for a parameter's value.
        search: parameters that a study searches, with their ranges.
    """

    description: str
    untried: bool = False
    program: Program
    panel: Panel | None = None
    target: Target = Target()
    run: Run
    output: Output
    params: dict[str, Value] = {}
    search: dict[str, Range] = {}

    @field_validator("params")
    @classmethod
    def _free_names(cls, params: dict[str, Value]) -> dict[str, Value]:
        """Refuse names of parameters that are taken or no identifiers."""
        reserved = OF_EVERY_RUN | OF_THE_PANEL | OF_A_TARGET | OF_A_CONTIG | OWN_PARAMS
        for name in params:
            if name in reserved or not name.isidentifier() or name.startswith("_"):
                raise ValueError(f"{name!r} cannot be a parameter's name: {', '.join(sorted(reserved))} are taken")
        return params

    @field_validator("search")
    @classmethod
    def _of_a_number(cls, search: dict[str, Range], info: ValidationInfo) -> dict[str, Range]:
        """Refuse ranges of parameters that are no numbers, or that do not hold the default."""
        params = info.data.get("params", {})
        for name, where in search.items():
            value = params.get(name)
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise ValueError(f"{name!r} is no parameter that is a number")
            if not where.low <= value <= where.high:
                raise ValueError(f"the default of {name!r}, {value}, is not from {where.low} to {where.high}")
        return search

    @model_validator(mode="after")
    def _goes_together(self) -> Description:
        """Refuse keys that do not go together, and unknown placeholders."""
        if self.panel is None and (self.run.fit or self.target.phased or self.target.complete_first):
            raise ValueError("run.fit, target.phased and target.complete_first need a table [panel]")
        if self.target.complete_first and self.target.phased != bool(self.panel and self.panel.phased):
            raise ValueError("target.complete_first needs panel and target both phased, or neither")
        if self.target.phased and not (self.panel and self.panel.phased):
            raise ValueError("target.phased needs panel.phased too: Beagle phases a target with a phased panel")
        if self.run.keep and not self.run.fit:
            raise ValueError("run.keep names files, but no command in run.fit makes any")
        common = OF_EVERY_RUN | {"map"} | set(self.params)
        common |= OF_THE_PANEL if self.panel else set()
        common |= OF_A_CONTIG if self.run.one_contig else set()
        self._require_known("program.version", (self.program.version,), {"program"})
        self._require_known("run.fit", self.run.fit, common)
        self._require_known("run.impute", self.run.impute, common | OF_A_TARGET)
        return self

    @staticmethod
    def _require_known(where: str, commands: tuple[str, ...], known: set[str]) -> None:
        """Refuse placeholders in commands that are not in `known`; `where` is the key, for the message."""
        for command in commands:
            for name in PLACEHOLDER.findall(command):
                if name not in known:
                    raise ValueError(
                        f"{where}: {{{name}}} is no placeholder here; there are {', '.join(sorted(known))}"
                    )
            require_bare_placeholders(where, command)

    @property
    def uses_map(self) -> bool:
        """True if a command takes {map}."""
        return any("{map}" in command for command in (*self.run.fit, *self.run.impute))


def parse_description(text: str, where: str) -> Description:
    """Return a description from TOML.

    Args:
        text: content of the file.
        where: name of the file, for messages.

    Raises:
        InputError: not TOML, or a table, key or value is wrong (names it).
    """
    try:
        return Description.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}: unknown key {key!r}; docs/external.md has those there are") from None
        message = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {key}: {message}" if key else f"{where}: {message}") from None


def require_bare_placeholders(where: str, command: str) -> None:
    """Refuse placeholders whose value the shell would not take as one word of its own.

    `filled_in` quotes every value. Within other quotes, backquotes, a comment or a here-document, or after a backslash or
    a dollar sign, these quotes would end what the author opened, or stand for themselves, and the value would be read as
    commands.

    Args:
        where: key of the command, for the message.
        command: line for `sh`.

    Raises:
        ValueError: a placeholder stands so (names the first, and how to mend it).
    """
    quote = ""  # the character that ends what was opened: a quote, a backquote, or the line of a comment
    at = 0
    here_document = False
    while at < len(command):
        placeholder = PLACEHOLDER.match(command, at)
        before, char = command[at - 1 : at], command[at]
        if placeholder:
            place = {'"': "within double quotes", "'": "within single quotes", "`": "within backquotes"}.get(quote)
            place = place or ("in a comment" if quote else "after << (a here-document)" if here_document else "")
            place = place or ("after a dollar sign" if before == "$" else "")
            if place:
                raise ValueError(
                    f"{where}: {placeholder[0]} stands {place}: its value is quoted when it is filled in, so write "
                    f"{placeholder[0]} bare, without anything around it"
                )
            at = placeholder.end()
        elif char == "\\" and quote != "'" and quote != "\n":
            if PLACEHOLDER.match(command, at + 1):
                raise ValueError(
                    f"{where}: a backslash stands before a placeholder ({command[at:]!r:.40}): leave it out"
                )
            at += 2
        else:
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"`":
                quote = char
            elif char == "#" and (not before or before in " \t\n;&|()"):
                quote = "\n"
            elif command.startswith("<<", at):
                here_document = True
            at += 1


def filled_in(command: str, values: Mapping[str, Any]) -> str:
    """Return a command with its placeholders filled in, each value quoted for the shell."""
    return PLACEHOLDER.sub(lambda found: shlex.quote(_spelled(values[found[1]])), command)


def _spelled(value: Any) -> str:
    """Return a value as the text of an argument; booleans in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)
