"""Prefect flows: the steps of `snpimpute.pipeline` with their states, logs and results in the Prefect UI."""
