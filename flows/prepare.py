"""The flow `prepare`: make the prepared datasets of an experiment."""

from __future__ import annotations

from prefect import State, flow

from flows._steps import carry_out


@flow(name="prepare", persist_result=False)
def prepare(config: str, runs: str = "runs") -> State[None]:
    """Read, filter, split by sample and choose what is hidden: makes the prepared datasets.

    Args:
        config: path of the experiment's TOML file.
        runs: folder that everything is kept in.
    """
    return carry_out("prepare", config, runs)
