"""What a worker of a cluster is: its version of snpimpute, its libraries, and whether it has what an imputer needs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snpimpute
from snpimpute.base.digests import digest, file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.processes import Able
from snpimpute.base.provenance import versions

PLENTY = 1e6  # of a resource, so that it limits nothing


@dataclass(frozen=True)
class Identity:
    """Identity of an installation.

    Attributes:
        code: digest of snpimpute's source.
        versions: versions of snpimpute, Python and numerical libraries.
    """

    code: str
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Identity:
        """Return the identity of this process's installation."""
        home = Path(snpimpute.__file__).parent
        files = sorted(path for path in home.rglob("*") if path.suffix in (".py", ".toml"))
        code = digest([(path.relative_to(home).as_posix(), file_digest(path)) for path in files])
        found = versions() | {"snpimpute": snpimpute.__version__}
        found["python"] = ".".join(found["python"].split(".")[:2])
        return cls(code, found)

    @property
    def resource(self) -> str:
        """Name of the Dask resource that workers with this code have."""
        return f"snpimpute-{self.code[:12]}"

    def difference(self, worker: Identity) -> str:
        """Return how a worker differs from this, in a few words that name both; empty if in nothing that decides results."""
        for name in ("snpimpute", *sorted(self.versions)):
            mine, its = self.versions[name], worker.versions.get(name)
            if its is not None and its != mine:
                return f"has {name} {its}, and here is {name} {mine}"
        if self.code != worker.code:
            version = self.versions["snpimpute"]
            return f"has snpimpute {version} of source {worker.code[:8]}, and here is source {self.code[:8]}"
        return ""


async def equip(able: dict[str, Able], dask_worker: Any = None) -> tuple[Identity, dict[str, str]]:
    """Give a worker the resources of what it is and has; this runs on the worker.

    Args:
        able: resource → function that raises InputError where the worker lacks what the resource stands for.
        dask_worker: the worker, which Dask gives.

    Returns:
        Its identity, and a mapping of resource → why it does not have it.
    """
    identity = await asyncio.to_thread(Identity.here)
    lacking = {name: await asyncio.to_thread(_reason, function) for name, function in able.items()}
    given = [identity.resource, *(name for name, reason in lacking.items() if not reason)]
    if set(given) - set(dask_worker.state.total_resources):
        from distributed.core import Status

        await dask_worker.set_resources(**dict.fromkeys(given, PLENTY))
        # The scheduler looks at tasks that no worker could do when one comes or goes on, not when one gets resources.
        dask_worker.status = Status.paused
        dask_worker.status = Status.running
    return identity, {name: reason for name, reason in lacking.items() if reason}


def _reason(able: Able) -> str:
    try:
        able()
    except InputError as error:
        return str(error)
    return ""
