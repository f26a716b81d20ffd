"""Verbs that show information: imputers, doctor, dashboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from snpimpute.cli.options import AsJson, ImputersFrom, Runs

app = typer.Typer()


@app.command("imputers")
def list_imputers(imputers_from: ImputersFrom = None, as_json: AsJson = False) -> None:
    """List the imputers, each with its rows in a report.

    Example:

      snpimpute imputers --json
    """
    from snpimpute import imputers

    imputers.look_in(imputers_from or [])
    rows: list[dict[str, Any]] = []
    for name in imputers.names():
        cls = imputers.load(name)
        rows.append(
            {
                "name": name,
                "description": cls.description,
                "framework": cls.framework,
                "parameters": cls.n_parameters(cls.Params(), 500),
                "tunable": cls.tunable(),
                "rows": list(cls.variants),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    width = max(map(len, imputers.names()))
    for row in rows:
        typer.echo(f"{row['name']:{width}}  {row['description']} [{', '.join(row['rows'])}]")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show which external programs and frameworks are installed, with their versions.

    Example:

      snpimpute doctor
    """
    from snpimpute.base.programs import installed

    rows = installed()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        for row in rows:
            typer.echo(f"{row['name']:14} {row['version'] or 'missing: ' + row['needed_for']}")
    if any(row["required"] and not row["version"] for row in rows):
        raise typer.Exit(1)


@app.command()
def dashboard(
    runs: Runs = Path("runs"),
    store: Annotated[
        str | None,
        typer.Option(help="Read this MLflow store (default: the one in the folder of runs).", metavar="URI"),
    ] = None,
    studies: Annotated[
        str | None,
        typer.Option(
            help="Read Optuna studies from this database too, beside those in the folder of runs.", metavar="URL"
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Listen at this address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Listen at this port.", min=1, max=65535)] = 8501,
) -> None:
    """Show races, studies, calls and models in a browser, read-only, until Ctrl+C.

    Example:

      snpimpute dashboard --port 8600
    """
    from dashboards.serve import serve

    serve(runs, store, studies, host, port)
