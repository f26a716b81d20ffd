"""Runs, models and reports in an MLflow store; the only package that imports MLflow, besides the serving script."""
