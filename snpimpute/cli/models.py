"""Verbs on registered models of whole panels: list, compare, promote, rollback."""

from __future__ import annotations

from pathlib import Path

import typer

from snpimpute.cli.options import AsJson, ModelName, Runs, open_store

app = typer.Typer(no_args_is_help=True, help="Registered models of whole panels: list, compare, promote, roll back.")


@app.command("list")
def list_models(runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """List the registered models that snpimpute fit made.

    Example:

      snpimpute models list
    """
    from snpimpute.impute.champions import model_table

    table = model_table(open_store(runs))
    if as_json:
        typer.echo(table.to_json(orient="records", indent=1))
    else:
        typer.echo(table.to_string(index=False) if len(table) else "no model is registered: snpimpute fit makes one")


@app.command("compare")
def compare_models(first: ModelName, second: ModelName, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Compare two models on the held-out samples that both were measured on.

    Example:

      snpimpute models compare panel@champion panel/3
    """
    from snpimpute.impute.champions import compare, fetch_model, find_model

    tracker = open_store(runs)
    one, other = (fetch_model(tracker, find_model(tracker, name), runs) for name in (first, second))
    table = compare(one, other)
    typer.echo(table.to_json(orient="records", indent=1) if as_json else table.round(4).to_string(index=False))


@app.command("promote")
def promote_model(name: ModelName, runs: Runs = Path("runs")) -> None:
    """Make a model the champion of its name, if the whole interval of the difference shows that it is better.

    Example:

      snpimpute models promote panel/3
    """
    from snpimpute.impute.champions import promote

    typer.echo(promote(open_store(runs), name, runs))


@app.command("rollback")
def roll_back(name: ModelName, runs: Runs = Path("runs")) -> None:
    """Give a name back the champion that it had before the last move.

    Example:

      snpimpute models rollback panel
    """
    from snpimpute.impute.champions import rollback

    typer.echo(rollback(open_store(runs), name))
