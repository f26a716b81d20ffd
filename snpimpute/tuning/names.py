"""Names of studies: dataset, digest of its content, imputer, variant, and digest of all else that decides a score."""

from __future__ import annotations

import re
from dataclasses import dataclass

PARTS = re.compile(
    r"(?P<dataset>.+)-(?P<digest>[0-9a-f]{12})-(?P<imputer>[^-]+)-(?P<variant>.+)-(?P<decides>[0-9a-f]{8})"
)


@dataclass(frozen=True)
class StudyName:
    """Parts of a study's name; all are empty if a name has other parts, as that of a study by others.

    Attributes:
        dataset: name of the dataset.
        digest: first 12 digits of the digest of its content.
        imputer, variant: row of the experiment.
        decides: first 8 digits of the digest of code, libraries, given parameters, masks, seed and threads.
    """

    dataset: str = ""
    digest: str = ""
    imputer: str = ""
    variant: str = ""
    decides: str = ""

    @classmethod
    def parse(cls, name: str) -> StudyName:
        """Return the parts of a name."""
        found = PARTS.fullmatch(name)
        return cls(**found.groupdict()) if found else cls()

    def __str__(self) -> str:
        return f"{self.dataset}-{self.digest}-{self.imputer}-{self.variant}-{self.decides}"

    def asks_the_same(self, other: StudyName) -> bool:
        """Tell whether both studies look for parameters of one imputer and variant on the same data."""
        mine = (self.digest, self.imputer, self.variant)
        return bool(self.digest) and mine == (other.digest, other.imputer, other.variant)
