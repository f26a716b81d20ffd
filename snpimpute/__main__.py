"""Command line as `python -m snpimpute`, for where the package's own scripts are not on the path."""

import sys
from importlib.util import find_spec

if find_spec("typer") is None:  # `mlflow run` may start another Python if MLflow's environment is not activated
    sys.exit(f"snpimpute: {sys.executable} lacks what is needed; activate the environment: . .venv/bin/activate")

from snpimpute.cli.app import main

main()
