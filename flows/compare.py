"""The flow `compare`: draw the report of an experiment."""

from __future__ import annotations

from prefect import State, flow

from flows._steps import carry_out


@flow(name="compare", persist_result=False)
def compare(
    config: str,
    runs: str = "runs",
    imputers: list[str] | None = None,
    data: list[str] | None = None,
) -> State[None]:
    """Draw the report from the scores (and do first what it needs).

    Args:
        config: path of the experiment's TOML file.
        runs: folder that everything is kept in.
        imputers: names of those to work on; none = all of the experiment.
        data: names of the datasets to work on; none = all of the experiment.
    """
    return carry_out("compare", config, runs, imputers, data)
