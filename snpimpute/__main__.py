"""`python -m snpimpute`: the command line, where the package's own scripts are not on the path."""

import sys
from importlib.util import find_spec

if find_spec("typer") is None:  # as under `mlflow run` when the environment that MLflow is in was not activated
    sys.exit(f"snpimpute: {sys.executable} lacks what is needed; activate the environment: . .venv/bin/activate")

from snpimpute.cli.app import main

main()
