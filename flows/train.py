"""The flow `train`: fit, log and register the imputers of an experiment."""

from __future__ import annotations

from prefect import State, flow

from flows._steps import carry_out


@flow(name="train", persist_result=False)
def train(
    config: str,
    runs: str = "runs",
    imputers: list[str] | None = None,
    data: list[str] | None = None,
) -> State[None]:
    """Fit the imputers on all of train, log and register them (prepares and tunes first, where that is not done).

    Args:
        config: path of the experiment's TOML file.
        runs: folder that everything is kept in.
        imputers: names of those to work on; none = all of the experiment.
        data: names of the datasets to work on; none = all of the experiment.
    """
    return carry_out("train", config, runs, imputers, data)
