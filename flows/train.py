"""Flow `train`, which fits, logs and registers the imputers of an experiment."""

from __future__ import annotations

from prefect import State, flow

from flows._steps import carry_out


@flow(name="train", persist_result=False)
def train(
    config: str,
    runs: str = "runs",
    imputers: list[str] | None = None,
    data: list[str] | None = None,
    cluster: str | None = None,
) -> State[None]:
    """Fit the imputers on all of train, log and register them; prepare and tune first if necessary.

    Args:
        config: path of the experiment's TOML file.
        runs: folder of all results.
        imputers: names of the imputers to run; none = all of the experiment.
        data: names of the datasets to use; none = all of the experiment.
        cluster: Dask cluster whose workers compute (tcp://HOST:PORT); none = that of the experiment, or none.
    """
    return carry_out("train", config, runs, imputers, data, cluster=cluster)
