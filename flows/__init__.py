"""Prefect flows: the steps of `snpimpute.experiment.pipeline` with their states, logs and results in the Prefect UI."""
