"""Entry point of the command line: all verbs, and the messages and exit statuses of errors."""

from __future__ import annotations

import os
import signal
import sys

import typer

from snpimpute.base.errors import InputError
from snpimpute.base.extras import not_installed
from snpimpute.base.files import out_of_room
from snpimpute.base.processes import QUIET
from snpimpute.cli import about, experiments, files, models

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Compare genotype imputers on your own VCF, and impute with the best one.",
)
for group in (experiments, files):
    app.add_typer(group.app)
app.add_typer(models.app, name="models")
app.add_typer(about.app)


def main() -> None:
    """Run the command line; an error that the user can correct gives one line and exit status 2."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except InputError as error:
        typer.echo(f"snpimpute: {out_of_room(error) or error}", err=True)
        sys.exit(2)
    except Exception as error:
        missing = not_installed(error) if isinstance(error, ModuleNotFoundError) else None
        if (told := out_of_room(error) or missing) is None:
            raise
        typer.echo(f"snpimpute: {told}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("snpimpute: interrupted; run the same command again to go on", err=True)
        sys.exit(130)
