"""Flow `consequence`, which tells what the imputers of an experiment change in the conclusion."""

from __future__ import annotations

from prefect import State, flow

from flows._steps import carry_out


@flow(name="consequence", persist_result=False)
def consequence(
    config: str,
    runs: str = "runs",
    imputers: list[str] | None = None,
    data: list[str] | None = None,
) -> State[None]:
    """Write the report with what the imputers change in association, fine-mapping and prediction; run the earlier steps first.

    Args:
        config: path of the experiment's TOML file.
        runs: folder of all results.
        imputers: names of the imputers to run; none = all of the experiment.
        data: names of the datasets to use; none = all of the experiment.
    """
    return carry_out("compare", config, runs, imputers, data, consequence=True)
