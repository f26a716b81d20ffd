"""Line of the target in an imputed file: what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snpimpute.io.records import UNSTATED, spelled_allele

TAB = ord("\t")
# INFO keys that count the calls of a file, as bcftools writes them: wrong once missing calls are filled.
COUNTED = {"AC", "AN", "AC_Hom", "AC_Het", "AC_Hemi", "MAF", "NS", "HWE", "ExcHet", "F_MISSING"}
# FORMAT keys with one value per allele or genotype, whatever the header says (`Number=.` is common): wrong where REF
# and ALT are exchanged.
PER_ALLELE = {"AD", "ADF", "ADR", "PL", "GL", "PP"}


class TargetLine:
    """VCF line of the target, split only as far as needed."""

    def __init__(self, line: str, n_samples: int) -> None:
        fixed = line.rstrip("\n").split("\t", 9)
        self.contig, self.pos, self.name, self.ref, self.alt, self.quality, self.passed, self.info = fixed[:8]
        self.format, self.samples = fixed[8:] if len(fixed) == 10 else ("", "\t" * (n_samples - 1))
        self.n_samples = n_samples

    @property
    def in_sets(self) -> bool:
        """Whether the record has PS: calls are phased within sets alone."""
        return "PS" in self.format.split(":")

    def require_at(self, contig: str, pos: int, alleles: tuple[str, str]) -> None:
        """ValueError unless the line is of this site."""
        ref, alt = spelled_allele(self.ref), spelled_allele(self.alt)
        stated = (
            ref,
            alleles[1] if {".", *UNSTATED}.issuperset(alt.split(",")) else alt,
        )  # an ALT that is not stated is the site's other allele
        if (self.contig, self.pos) != (contig, str(pos)) or stated != alleles:
            found = f"{self.contig}:{self.pos}:{self.ref}:{self.alt}"
            raise ValueError(f"the record of {contig}:{pos}:{':'.join(alleles)} is that of {found}")

    def words(self) -> np.ndarray:
        """uint32 (n_samples,): the four bytes that each sample's GT begins with, a tab for the colon behind it."""
        keys = self.format.split(":")
        samples = self.samples
        if "GT" in keys[1:]:  # against the specification, but programs read it
            place = keys.index("GT")
            parts = [sample.split(":") for sample in samples.split("\t")]
            samples = "\t".join(part[place] if len(part) > place else "./." for part in parts)
        text = np.frombuffer(f"{samples}\t\t\t\t".encode(), dtype=np.uint8)
        words = text[:-3].view("<u4") if len(text) == 4 * self.n_samples + 3 else None
        if words is not None and (words >> 24 == TAB).all():  # GT alone, diploid
            return words
        starts = np.concatenate([[0], np.flatnonzero(text[:-4] == TAB) + 1])
        if len(starts) != self.n_samples:
            raise ValueError(f"{self.contig}:{self.pos} has calls of {len(starts)} samples, not {self.n_samples}")
        first, mark, second, end = (text[starts + i].astype(np.uint32) for i in range(4))
        return first | mark << 8 | second << 16 | np.where(end == ord(":"), TAB, end) << 24

    def other_info(self, without: set[str]) -> list[str]:
        """Return the INFO entries whose keys are not in `without`."""
        return [part for part in self.info.split(";") if part != "." and part.split("=", 1)[0] not in without]

    def other_fields(self, without: set[str]) -> tuple[str, list[str]]:
        """Return the FORMAT keys not in `without` and each sample's values; "." for values omitted at a sample's end."""
        keys = self.format.split(":")
        kept = [i for i, key in enumerate(keys) if key and key not in without]
        if not kept:
            return "", []
        values = []
        for sample in self.samples.split("\t"):
            parts = sample.split(":")
            parts += ["."] * (len(keys) - len(parts))
            values.append(":".join([parts[i] for i in kept]))
        return ":".join([keys[i] for i in kept]), values


def without_keys(fields: list[str], keys: Mapping[str, set[str]]) -> list[str]:
    """Return the nine fields of a VCF line, the last one with its calls, without INFO and FORMAT keys; GT stays."""
    if keys["INFO"]:
        kept = [part for part in fields[7].split(";") if part.split("=", 1)[0] not in keys["INFO"]]
        fields = [*fields[:7], ";".join(kept) or ".", *fields[8:]]
    if len(fields) > 8 and keys["FORMAT"].intersection(names := fields[8].split("\t", 1)[0].split(":")):
        places = [place for place, key in enumerate(names) if key not in keys["FORMAT"]] or [0]
        cells = [part.split(":") for part in fields[8].split("\t")]  # values may be left out at a sample's end
        kept = [":".join(cell[place] for place in places if place < len(cell)) or "." for cell in cells]
        fields = [*fields[:8], "\t".join(kept)]
    return fields
