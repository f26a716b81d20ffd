"""Flow `tune`, which runs the studies of an experiment."""

from __future__ import annotations

from prefect import State, flow

from flows._steps import carry_out


@flow(name="tune", persist_result=False)
def tune(
    config: str,
    runs: str = "runs",
    imputers: list[str] | None = None,
    data: list[str] | None = None,
    trials: int | None = None,
    budget: str | float | None = None,
    retune: bool = False,
    cluster: str | None = None,
) -> State[None]:
    """Run the studies that look for the imputers' parameters, or resume them.

    Args:
        config: path of the experiment's TOML file.
        runs: folder of all results.
        imputers: names of the imputers to run; none = all of the experiment.
        data: names of the datasets to use; none = all of the experiment.
        trials: trials per study, instead of those of the experiment.
        budget: time per study (90s, 10m, 2h), instead of that of the experiment.
        retune: run studies again whose parameters were found before.
        cluster: Dask cluster whose workers compute (tcp://HOST:PORT); none = that of the experiment, or none.
    """
    return carry_out("tune", config, runs, imputers, data, trials, budget, retune, cluster=cluster)
