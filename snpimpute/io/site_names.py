"""Lists of sites as people write them, and whether a site is among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.io.builds import plain_contig

SPELLED = re.compile(r"(?P<contig>[^\s:]+):(?P<pos>\d+)(?::(?P<ref>[^\s:]+):(?P<alt>[^\s:]+))?")
STRETCH = re.compile(r"(?P<contig>[^\s:]+):(?P<first>\d+)-(?P<last>\d+)")
ALLELES = re.compile(r"[ACGTNacgtn*.]+|<[^>\s]+>")
Place = tuple[str, int]  # contig without what only fashion decides, position from 1


@dataclass
class SiteList:
    """Sites by position, by position and alleles (whichever is REF), by id, or by stretch.

    Attributes:
        places: contig and position.
        alleles: contig, position and the two alleles.
        ids: names of sites.
        stretches: contig → first and last position, both within.
    """

    places: set[Place] = field(default_factory=set)
    alleles: set[tuple[Place, frozenset[str]]] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    stretches: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, what: str) -> SiteList:
        """Read a list: contig:pos, contig:pos:ref:alt, contig:first-last, `contig pos`, `contig pos ref alt`, `contig pos id ref alt`, BED, or ids.

        A file that ends in .bed, or whose lines have numbers in the second and third column and no alleles behind, lists stretches:
        from 0 and without its end in a .bed, from 1 and with its end elsewhere. Lines that begin with # are passed over.

        Args:
            path: the file.
            what: is read, for messages, as in "the typed sites".

        Raises:
            InputError: it cannot be read, or is no text.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise InputError(f"cannot read {what} in {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(f"cannot read {what} in {path}: it is no text") from None
        found = cls()
        for line in lines:
            if (words := line.split()) and not words[0].startswith("#"):
                found._add(words, zero_based=path.name.lower().endswith(".bed"))
        return found

    def _add(self, words: list[str], zero_based: bool) -> None:
        with_id = not zero_based and len(words) >= 5 and all(ALLELES.fullmatch(word) for word in words[3:5])
        if len(words) >= 3 and words[1].isdecimal() and words[2].isdecimal() and not with_id:
            self._add_stretch(words[0], int(words[1]) + zero_based, int(words[2]))
        elif len(words) >= 2 and words[1].isdecimal():
            place = (plain_contig(words[0]), int(words[1]))
            pairs = [words[i : i + 2] for i in (2, 3) if len(words) >= i + 2]
            named = next((pair for pair in pairs if all(ALLELES.fullmatch(allele) for allele in pair)), None)
            self._add_site(place, named)
        else:
            for word in words:
                if spelled := SPELLED.fullmatch(word):
                    place = (plain_contig(spelled["contig"]), int(spelled["pos"]))
                    self._add_site(place, None if spelled["ref"] is None else [spelled["ref"], spelled["alt"]])
                elif stretch := STRETCH.fullmatch(word):
                    self._add_stretch(stretch["contig"], int(stretch["first"]), int(stretch["last"]))
                self.ids.add(word)

    def _add_stretch(self, contig: str, first: int, last: int) -> None:
        self.stretches.setdefault(plain_contig(contig), []).append((first, last))

    def _add_site(self, place: Place, pair: list[str] | None) -> None:
        if pair is None or "." in pair:
            self.places.add(place)
        else:
            self.alleles.add((place, frozenset(allele.upper() for allele in pair)))

    def holds(self, contig: str, pos: int, name: str, alleles: Iterable[str]) -> bool:
        """Return whether a site is listed.

        Args:
            contig, pos: where it is; pos from 1.
            name: its id, empty if it has none.
            alleles: REF and ALT.
        """
        place = (plain_contig(contig), pos)
        if place in self.places or (place, frozenset(allele.upper() for allele in alleles)) in self.alleles:
            return True
        if name and name in self.ids:
            return True
        return any(first <= pos <= last for first, last in self.stretches.get(place[0], ()))

    def among(self, sites: pd.DataFrame) -> list[bool]:
        """Tell for each row of a sites table whether it is listed."""
        rows = zip(sites["contig"], sites["pos"], sites["id"], sites["ref"], sites["alt"], strict=True)
        return [self.holds(contig, int(pos), name, (ref, alt)) for contig, pos, name, ref, alt in rows]
