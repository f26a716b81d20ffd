"""The flow `tune`: run the studies of an experiment."""

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
) -> State[None]:
    """Run the studies that look for the imputers' parameters, or go on with them where they were.

    Args:
        config: path of the experiment's TOML file.
        runs: folder that everything is kept in.
        imputers: names of those to work on; none = all of the experiment.
        data: names of the datasets to work on; none = all of the experiment.
        trials: per study, instead of what the experiment says.
        budget: time per study (90s, 10m, 2h), instead of what the experiment says.
        retune: run the studies whose parameters were found before, too.
    """
    return carry_out("tune", config, runs, imputers, data, trials, budget, retune)
