"""Provenance of a result: versions, revision of the code, peak memory."""

from __future__ import annotations

import platform
import resource
import subprocess
from importlib import metadata
from pathlib import Path

from snpimpute import __version__


def peak_memory_mb() -> float:
    """Return the largest resident memory so far, of this process or any ended child, in MB (10^6 bytes)."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) * 1024 / 1e6


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that decide its numbers."""
    by_name = {"snpimpute": __version__, "python": platform.python_version()}
    for name in (
        "numpy",
        "numba",
        "scipy",
        "scikit-learn",
        "tensorflow",
        "keras",
        "torch",
        "transformers",
        "optuna",
        "mlflow",
    ):
        try:
            by_name[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return by_name


def git_revision() -> str:
    """Return the git revision of this package's working tree, with "-dirty" if changed; empty outside one."""
    here = Path(__file__).parent
    head = subprocess.run(["git", "-C", here, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        return ""
    changed = subprocess.run(["git", "-C", here, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")
