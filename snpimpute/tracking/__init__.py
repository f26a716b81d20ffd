"""Runs, models and reports in an MLflow store: the only room that knows MLflow, but for the script that serves."""
