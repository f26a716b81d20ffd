"""Prefect deployments, started by Prefect's own command, so that no package is imported that only flows need."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package
from snpimpute.base.programs import run_program

RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def start_deployment(deployment: str, parameters: Mapping[str, Any]) -> str:
    """Start a run of a Prefect deployment, which a worker carries out later, and return the run's id.

    Args:
        deployment: FLOW/DEPLOYMENT, as in retrain/local.
        parameters: those that differ from the deployment's own, of JSON's types.

    Raises:
        InputError: Prefect is not installed, its server does not answer or has no such deployment, or a parameter is refused.
    """
    require_package("prefect", f"the deployment {deployment}")
    given = [word for name, value in parameters.items() for word in ("--param", f"{name}={json.dumps(value)}")]
    done = run_program([sys.executable, "-m", "prefect", "deployment", "run", deployment, *given])
    found = RUN_ID.search(done.stdout)
    if done.returncode or found is None:
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        raise InputError(f"the deployment {deployment} was not started: {said[-300:]}")
    return found[0]
