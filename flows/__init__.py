"""Prefect flows for the steps of `snpimpute.experiment.pipeline`, with states, logs and results in the Prefect UI."""
