"""Flow `prepare`, which makes the prepared datasets of an experiment."""

from __future__ import annotations

from prefect import State, flow

from flows._steps import carry_out


@flow(name="prepare", persist_result=False)
def prepare(config: str, runs: str = "runs") -> State[None]:
    """Make the prepared datasets: read and filter genotypes, split the samples, choose the calls to hide.

    Args:
        config: path of the experiment's TOML file.
        runs: folder of all results.
    """
    return carry_out("prepare", config, runs)
