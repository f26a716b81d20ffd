"""Entry point of the command line: all verbs, and the messages and exit statuses of errors."""

from __future__ import annotations

import copy
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command_name

from snpimpute import __version__
from snpimpute.base.errors import InputError
from snpimpute.base.extras import not_installed
from snpimpute.base.files import out_of_room
from snpimpute.base.garbage import collect_seldom
from snpimpute.base.processes import QUIET
from snpimpute.cli import about, experiments, files, models, predictors, traits

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


class Verbs(TyperGroup):
    """The verbs; work that is interrupted says how to go on (Click itself would say "Aborted!" alone)."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; an interruption gives one line and exit status 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("snpimpute: interrupted; run the same command again to go on", err=True)
            sys.exit(130)


app = typer.Typer(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (experiments, files, traits):
    app.add_typer(group.app)
app.add_typer(models.app, name="models")
app.add_typer(predictors.app, name="traits")
app.add_typer(about.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"snpimpute {__version__}")
        raise typer.Exit


@app.callback()
def snpimpute(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Compare genotype imputers on your own VCF, and impute with the best one."""


def narrowed(words: Sequence[str]) -> typer.Typer:
    """Return the command line with only the verb that begins `words`; the whole one where they begin otherwise.

    Typer reads the signatures of all verbs it holds, which takes as long as all the rest of a command's start.
    """
    alone = copy.copy(app)
    groups = app.registered_groups
    alone.registered_groups = [group for group in groups if group.name in words[:1]]
    alone.registered_commands = [
        command
        for group in groups
        if group.typer_instance is not None and not isinstance(group.name, str)
        for command in group.typer_instance.registered_commands
        if command.callback is not None and get_command_name(command.name or command.callback.__name__) in words[:1]
    ]
    return alone if alone.registered_groups or alone.registered_commands else app


def main() -> None:
    """Run the command line; an error that the user can correct gives one line and exit status 2."""
    collect_seldom()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        narrowed(sys.argv[1:])()
    except InputError as error:
        typer.echo(f"snpimpute: {out_of_room(error) or error}", err=True)
        sys.exit(2)
    except Exception as error:
        missing = not_installed(error) if isinstance(error, ModuleNotFoundError) else None
        if (told := out_of_room(error) or missing or _not_writable(error)) is None:
            raise
        typer.echo(f"snpimpute: {told}", err=True)
        sys.exit(2)


def _not_writable(error: Exception) -> str | None:
    """Return the line for a file or folder that the system does not let us make or write; None for any other error."""
    if not (isinstance(error, OSError) and error.errno in NOT_WRITABLE and error.filename):
        return None
    return f"cannot use {error.filename}: {os.strerror(error.errno)}; give a folder that can be written (--runs, -o)"
