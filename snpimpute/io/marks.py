"""Marks of imputed calls in a VCF or BCF, by which those are told from observed ones: ours, Beagle's, Minimac's, IMPUTE's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.records import NO_CALL

# A key alone says little (others use IC and IMP for other things): the header has to describe it so.
OF_CALLS = re.compile(r'##FORMAT=<ID=IC,[^>\n]*Description="Imputed call')
OF_SITES = re.compile(
    r'##INFO=<ID=(IMP|IMPUTED),Number=0,Type=Flag,Description="(?:Imputed (?:site|marker)|Marker was imputed)'
)
MAKER = re.compile(r'##source="?((?:beagle|minimac|impute)[\w.]*)', re.IGNORECASE)


class ImputedMarks:
    """Marks by which a header tells imputed calls, and what they said of the records looked at so far.

    Attributes:
        n: number of calls that were marked.
    """

    def __init__(self, header: str) -> None:
        self._calls = OF_CALLS.search(header) is not None
        self._sites = sorted({found[1] for found in OF_SITES.finditer(header)})
        made_by = MAKER.search(header)
        self._maker = made_by[1] if made_by else ""
        self.n = 0

    def clear(self, record: Any, alleles: np.ndarray, kinds: np.ndarray) -> None:
        """Make the calls that a record of htslib marks as imputed missing, in place.

        Args:
            record: the cyvcf2.Variant.
            alleles, kinds: of its calls, as in io.records.Record.
        """
        if not (self._calls or self._sites):
            return
        imputed = np.zeros(len(kinds), dtype=bool)
        if any(record.INFO.get(key) is not None for key in self._sites):
            imputed[:] = True
        elif self._calls and (told := record.format("IC")) is not None:
            imputed[:] = np.asarray(told).reshape(len(kinds), -1)[:, 0] == 1
        imputed &= kinds != NO_CALL
        alleles[imputed], kinds[imputed] = MISSING, NO_CALL
        self.n += int(imputed.sum())

    def notes(self) -> set[str]:
        """Return what a user should know of these calls, once all records were looked at."""
        found = set()
        if self.n:
            keys = ", ".join([*(["IC"] if self._calls else []), *self._sites])
            found.add(f"marked as imputed in the target ({keys}), taken as missing: {numbered(self.n, 'call')}")
        if self._maker and not self._calls:
            found.add(
                f"the target's header says that {self._maker} made it: calls that it filled in at typed sites cannot be told "
                "from observed ones, and are taken as observed"
            )
        return found
