"""Where a result comes from: versions, revision of the code, memory that it took."""

from __future__ import annotations

import platform
import resource
import subprocess
from importlib import metadata
from pathlib import Path

from snpimpute import __version__


def peak_memory_mb() -> float:
    """Largest resident memory so far, of this process or of any child that has ended, in MB (10^6 bytes)."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) * 1024 / 1e6


def versions() -> dict[str, str]:
    """Versions of this package and of what decides its numbers."""
    found = {"snpimpute": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "scikit-learn", "tensorflow", "keras", "torch", "transformers", "optuna", "mlflow"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str:
    """Revision of the working tree this package runs from, "-dirty" behind it if changed; empty outside one."""
    here = Path(__file__).parent
    head = subprocess.run(["git", "-C", here, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        return ""
    changed = subprocess.run(["git", "-C", here, "status", "--porcelain", "-uno"], capture_output=True, text=True)
    return head.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")
