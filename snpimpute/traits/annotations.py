"""What is known of stretches of the genome: prior weights and known loci of BED files, the GWAS Catalog's loci, genes of GFF3."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package
from snpimpute.io.builds import plain_contig
from snpimpute.io.samples import read_table

CATALOG = ("CHR_ID", "CHR_POS", "DISEASE/TRAIT")  # columns of the GWAS Catalog's download of associations
GENE_NAMES = ("Name", "gene_name", "gene", "ID")  # attributes of a gene that may hold its name


@dataclass(frozen=True, eq=False)
class Stretches:
    """Stretches of contigs.

    Attributes:
        table: a row per stretch: `contig` (plain, see builds.plain_contig), `start`, `end` (1-based, both included), `name`,
            `weight` (NaN where none is given).
        source: name of the file.
    """

    table: pd.DataFrame
    source: str

    @classmethod
    def of_bed(cls, path: Path, what: str) -> Stretches:
        """Read a BED: contig, start (from 0), end, then name and weight if they are there; a fourth column may be the weight.

        Args:
            path: the file, plain or .gz.
            what: is read, for messages, as in "the known loci".

        Raises:
            InputError: it cannot be read, or a line is not one of a BED.
        """
        rows = []
        for number, words in _lines(path, what):
            if words[0] in ("track", "browser"):
                continue
            if len(words) < 3 or not words[1].isdecimal() or not words[2].isdecimal() or int(words[1]) >= int(words[2]):
                raise InputError(f"line {number} of {path.name} is not one of a BED: contig, start from 0, end")
            weight = next((value for word in reversed(words[3:5]) if np.isfinite(value := _number(word))), np.nan)
            name = words[3] if len(words) > 3 and not np.isfinite(_number(words[3])) else ""
            rows.append((plain_contig(words[0]), int(words[1]) + 1, int(words[2]), name, weight))
        return cls(_table(rows), path.name)

    @classmethod
    def of_loci(cls, path: Path) -> Stretches:
        """Read known loci: a BED, or the GWAS Catalog's TSV of associations, whose loci are single positions.

        Raises:
            InputError: see `of_bed`; or the TSV lacks the catalog's columns.
        """
        if path.name.lower().endswith((".bed", ".bed.gz")):
            return cls.of_bed(path, "the known loci")
        table = read_table(path)
        if missing := [column for column in CATALOG if column not in table.columns]:
            raise InputError(
                f"{path.name} has no column {missing[0]!r}: known loci are a .bed, or the GWAS Catalog's TSV of associations"
            )
        contig, pos, name = (table[column] for column in CATALOG)
        there = pos.str.fullmatch(r"\d+")
        rows = [
            (plain_contig(c), int(p), int(p), n, np.nan)
            for c, p, n in zip(contig[there], pos[there], name[there], strict=True)
        ]
        return cls(_table(rows), path.name)

    def holds(self, row: int, sites: pd.DataFrame) -> np.ndarray:
        """Tell of each site whether it lies in the stretch of a row, bool (n_sites,)."""
        stretch = self.table.iloc[row]
        plain = sites.contig.map(plain_contig).to_numpy()
        pos = sites.pos.to_numpy()
        return (plain == stretch.contig) & (pos >= stretch.start) & (pos <= stretch.end)

    def weights(self, sites: pd.DataFrame) -> np.ndarray:
        """Return the prior weight of each site, float64 (n_sites,): the largest of the stretches it lies in, 1 outside all.

        Raises:
            InputError: a stretch has no weight, or none above 0; or no site lies in one.
        """
        bad = self.table[~(self.table.weight > 0)]
        if len(bad):
            first = bad.iloc[0]
            raise InputError(
                f"{self.source}: {first.contig}:{first.start}-{first.end} has no weight above 0: a BED of annotations has it in "
                "column 4 or 5"
            )
        found = np.full(len(sites), np.nan)
        for row in range(len(self.table)):
            inside = self.holds(row, sites)
            found[inside] = np.fmax(found[inside], self.table.weight.iloc[row])
        if np.isnan(found).all():
            raise InputError(f"{self.source} has no stretch that holds a site: look at the contigs' names")
        return np.nan_to_num(found, nan=1.0)

    def names_at(self, contig: str, start: int, end: int) -> list[str]:
        """Return the names of the stretches that overlap one, each once, in the file's order."""
        table = self.table
        over = (table.contig == plain_contig(contig)) & (table.start <= end) & (table.end >= start)
        named = table[over].assign(name=lambda t: t.name.where(t.name != "", t.contig + ":" + t.start.astype(str)))
        return list(dict.fromkeys(named.name))


class Genes:
    """Genes of a GFF3, and which of them a site lies in or next to.

    Args:
        path: the GFF3, plain or .gz.

    Raises:
        InputError: it cannot be read, is no GFF3, or has no gene.
    """

    def __init__(self, path: Path) -> None:
        require_package("gffutils", "--genes")
        import gffutils

        if not path.is_file():
            raise InputError(f"cannot read the genes in {path}: no such file")
        try:
            database = gffutils.create_db(str(path), ":memory:", merge_strategy="create_unique", keep_order=False)
            genes = list(database.features_of_type("gene"))
        except Exception as error:  # gffutils raises what its parser and SQLite do
            raise InputError(
                f"{path.name} is not a GFF3: {str(error).splitlines()[0] if str(error) else 'no lines'}"
            ) from None
        if not genes:
            raise InputError(f"{path.name} is not a GFF3, or has no feature of type gene")
        rows = [(plain_contig(gene.seqid), gene.start, gene.end, _gene_name(gene), np.nan) for gene in genes]
        self._table = _table(rows).sort_values(["contig", "start"], kind="stable").reset_index(drop=True)

    def nearest(self, contig: str, pos: int) -> tuple[str, int]:
        """Return the genes at a position, joined by commas, and 0; else the nearest gene and its distance in bases.

        Where the contig has no gene it is an empty name and -1.
        """
        table = self._table[self._table.contig == plain_contig(contig)]
        if table.empty:
            return "", -1
        distance = np.maximum(np.maximum(table.start - pos, pos - table.end), 0)
        nearest = int(distance.min())
        names = table.name[distance == nearest].tolist()
        return ",".join(dict.fromkeys(names if nearest == 0 else names[:1])), nearest

    def within(self, contig: str, start: int, end: int) -> pd.DataFrame:
        """Return the genes that overlap a stretch (1-based, both ends included), by their start; columns start, end, name."""
        table = self._table[self._table.contig == plain_contig(contig)]
        over = table[(table.start <= end) & (table.end >= start)]
        return over[["start", "end", "name"]].reset_index(drop=True)


def _gene_name(gene: Any) -> str:
    return next((gene.attributes[key][0] for key in GENE_NAMES if gene.attributes.get(key)), gene.id)


def _lines(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """Return the numbered lines of a text file in words, without comments and empty ones."""
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.name.endswith(".gz") else data).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {what} in {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"cannot read {what} in {path}: it is no text") from None
    kept = ((number, line) for number, line in enumerate(lines, start=1) if not line.startswith("#"))
    words = ((number, line.split("\t" if "\t" in line else None)) for number, line in kept)
    return [(number, of_line) for number, of_line in words if of_line]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _table(rows: list[tuple[str, int, int, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["contig", "start", "end", "name", "weight"])
