"""Records of a VCF Zarr store in the form in which cyvcf2 gives those of a VCF, so that one decoder reads both; and the header."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from snpimpute.io.vcf import NO_INTEGER

MISSING, FILL = -1, -2  # of integers: no value, and none because the record has fewer
FILL_BITS = {
    2: 0x7C02,
    4: 0x7F800002,
    8: 0x7FF0000000000002,
}  # of the NaN that says the same as FILL, by bytes of a float
# Arrays of sites that are columns of a record, and no INFO; and of calls that are GT.
COLUMNS = frozenset(f"variant_{name}" for name in ("contig", "position", "length", "id", "allele", "quality", "filter"))
GENOTYPE = "call_genotype"
PHASE = "call_genotype_phased"
BESIDE = ("_mask", "_fill")  # ends of the names of arrays that say what another one has there
NUMBERS = {"alt_alleles": "A", "alleles": "R", "genotypes": "G"}  # name of the last dimension → Number in a header


def keys_of(arrays: Iterable[str], prefix: str) -> list[str]:
    """Return the INFO (`variant_`) or FORMAT (`call_`) keys that a store has arrays of, but GT, sorted."""
    own = [name for name in arrays if name.startswith(prefix) and not name.endswith(BESIDE)]
    return sorted(name.removeprefix(prefix) for name in own if name not in (*COLUMNS, GENOTYPE, PHASE))


class Block:
    """Neighbouring sites of a store; each array is read when it is first asked for, and kept for the block.

    Args:
        names: names of the arrays with a value, or calls, per site.
        part: gives the part of an array, by its name, that belongs to the block; and of calls to the `columns` (None = all).
        samples: columns of the wanted samples, sorted; None = all.
        contigs, positions: of the sites.
        filters: names of the filters.
        n_samples: number of wanted samples.
    """

    def __init__(
        self,
        names: frozenset[str],
        part: Callable[..., np.ndarray],
        samples: np.ndarray | None,
        contigs: Sequence[str],
        positions: Sequence[int],
        filters: Sequence[str],
        n_samples: int,
    ) -> None:
        self._names, self._part, self._samples = names, part, samples
        self.contigs, self.positions, self.filters, self.n_samples = contigs, positions, filters, n_samples
        self._read: dict[str, np.ndarray] = {}

    def __iter__(self) -> Iterator[Variant]:
        return (Variant(self, number) for number in range(len(self.positions)))

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def array(self, name: str) -> np.ndarray:
        """Return the part of an array that belongs to the block, and of calls to the wanted samples."""
        if name not in self._read:
            self._read[name] = self._part(name, columns=self._samples if name.startswith("call_") else None)
        return self._read[name]

    @cached_property
    def info_keys(self) -> list[str]:
        """Keys of INFO."""
        return keys_of(self._names, "variant_")

    @cached_property
    def format_keys(self) -> list[str]:
        """Keys of FORMAT, but GT."""
        return keys_of(self._names, "call_")

    @cached_property
    def alleles(self) -> list[list[str]]:
        """REF and ALTs of each site."""
        return [[str(each) for each in row if each not in ("", ".")] for row in self.array("variant_allele").tolist()]

    @cached_property
    def names(self) -> list[str]:
        """ID of each site, `.` where there is none."""
        if "variant_id" not in self:
            return ["."] * len(self.positions)
        return [str(each) or "." for each in self.array("variant_id").tolist()]


class Variant:
    """Record of a store, with those attributes of a cyvcf2.Variant that `vcf.decoded_records` uses, under its names."""

    def __init__(self, block: Block, number: int) -> None:
        self._block, self._number = block, number
        self.CHROM = block.contigs[number]
        self.POS = int(block.positions[number])
        self.start = self.POS - 1

    @property
    def ID(self) -> str | None:
        name = self._block.names[self._number]
        return None if name == "." else name

    @property
    def REF(self) -> str:
        return (self._block.alleles[self._number] or [""])[0]

    @property
    def ALT(self) -> list[str]:
        return self._block.alleles[self._number][1:]

    @property
    def FILTER(self) -> str | None:
        """Names of the filters that the record did not pass; None if it passed all, or none was asked."""
        if "variant_filter" not in self._block:
            return None
        set_here = np.flatnonzero(self._block.array("variant_filter")[self._number]).tolist()
        failed = [name for number in set_here if (name := self._block.filters[number]) != "PASS"]
        return ";".join(failed) or None

    @property
    def FORMAT(self) -> Format:
        return Format(self)

    @property
    def INFO(self) -> Info:
        return Info(self)

    @property
    def genotype(self) -> Genotype:
        return Genotype(self)

    @property
    def has_genotypes(self) -> bool:
        return GENOTYPE in self._block

    @property
    def format_keys(self) -> list[str]:
        """Keys of FORMAT that the store has, but GT."""
        return self._block.format_keys

    def values(self, name: str) -> np.ndarray:
        """Return what an array has here."""
        return np.asarray(self._block.array(name)[self._number])

    def has(self, name: str) -> bool:
        """Return whether there is an array of this name."""
        return name in self._block

    def format(self, key: str) -> np.ndarray | None:
        """Return a FORMAT field as htslib's numbers, (n_samples, n values), or as text (n_samples,); None where it has no value."""
        name = f"call_{key}"
        if name not in self._block:
            return None
        values = self.values(name)
        if not _are_numbers(values):
            texts = _texts(values.reshape(len(values), -1))
            return None if all(text == "." for text in texts) else np.array(texts)
        table = values.reshape(len(values), -1)
        given = ~_is_fill(table)
        if not (given & ~_is_missing(table)).any():
            return None
        table = table[:, : int(np.flatnonzero(given.any(axis=0))[-1]) + 1]
        if table.dtype.kind == "f":
            return table
        numbers = table.astype(np.int32)
        numbers[table == FILL], numbers[table == MISSING] = NO_INTEGER, NO_INTEGER - 1
        return numbers

    def genotypes(self) -> np.ndarray:
        """Return the alleles of GT, -1 = missing, -2 = the call is shorter, and its phase, int (n_samples, ploidy + 1)."""
        alleles = self.values(GENOTYPE)
        phased = self.values(PHASE) if PHASE in self._block else np.zeros(len(alleles), dtype=bool)
        return np.concatenate([alleles, phased[:, None].astype(alleles.dtype)], axis=1)

    def __str__(self) -> str:
        """Return the record as a line of a VCF."""
        quality = float(self.values("variant_quality")) if "variant_quality" in self._block else np.nan
        asked = "variant_filter" not in self._block or self.values("variant_filter").any()
        fixed = [self.CHROM, str(self.POS), self.ID or ".", self.REF, ",".join(self.ALT) or "."]
        fixed += [_number(quality), self.FILTER or ("PASS" if asked else "."), self._info_text()]
        fields = ["GT"] if self.has_genotypes else []
        texts = [_genotype_texts(self.genotypes())] if fields else []
        for key in self.format_keys:
            values = self.values(f"call_{key}")
            spelled = _texts(values.reshape(len(values), -1))
            if any(text != "." for text in spelled):
                fields.append(key)
                texts.append(spelled)
        if not fields:
            return "\t".join(fixed)
        return "\t".join([*fixed, ":".join(fields), *map(":".join, zip(*texts, strict=True))])

    def _info_text(self) -> str:
        parts = []
        for key in self._block.info_keys:
            values = self.values(f"variant_{key}")
            if values.dtype.kind == "b" and values.ndim == 0:
                parts += [key] if values else []
            elif (text := _texts(values.reshape(1, -1))[0]) != ".":
                parts.append(f"{key}={text}")
        return ";".join(parts) or "."


class Format:
    """FORMAT keys of a record; whether a key has a value here is looked up only for a key that is asked for."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant

    def __contains__(self, key: object) -> bool:
        return self._variant.has_genotypes if key == "GT" else self._variant.format(str(key)) is not None

    def __len__(self) -> int:
        return self._variant.has_genotypes + len(self._variant.format_keys)


class Info:
    """INFO of a record."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant

    def get(self, key: str) -> Any:
        """Return a value, several as a tuple, True for a flag; None where the record has none."""
        if not self._variant.has(f"variant_{key}"):
            return None
        values = self._variant.values(f"variant_{key}")
        if values.dtype.kind == "b" and values.ndim == 0:
            return True if values else None
        text = _texts(values.reshape(1, -1))[0]
        if text == ".":
            return None
        if not _are_numbers(values):
            return text
        known = values.reshape(-1)[: text.count(",") + 1]
        numbers = tuple(
            None if absent else each for each, absent in zip(known.tolist(), _is_missing(known), strict=True)
        )
        return numbers[0] if len(numbers) == 1 else numbers


class Genotype:
    """GT of a record."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant

    def array(self) -> np.ndarray:
        """Return alleles and phase, see `Variant.genotypes`."""
        return self._variant.genotypes()


def _are_numbers(values: np.ndarray) -> bool:
    return values.dtype.kind in "iufb"


def _is_fill(values: np.ndarray) -> np.ndarray:
    """Return where numbers are none because the record has fewer."""
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values).view(f"u{values.itemsize}") == FILL_BITS[values.itemsize]
    return values == FILL


def _is_missing(values: np.ndarray) -> np.ndarray:
    """Return where no number is known, those included that `_is_fill` tells."""
    return np.isnan(values) if values.dtype.kind == "f" else np.isin(values, (MISSING, FILL))


def _number(value: Any) -> str:
    """A number as htslib writes it, `.` for NaN."""
    return "." if np.isnan(value) else f"{value:g}" if isinstance(value, float) else str(int(value))


def _texts(table: np.ndarray) -> list[str]:
    """Return each row of values (n_rows, n values) as it stands in a VCF; `.` where no value is known."""
    if not _are_numbers(table):
        texts = [",".join(text for text in row if text) for row in table.tolist()]
        return ["." if set(text) <= {".", ","} else text for text in texts]
    rows = zip(table.tolist(), _is_missing(table).tolist(), _is_fill(table).tolist(), strict=True)
    return [
        "."
        if all(missing)
        else ",".join("." if m else _number(v) for v, m, f in zip(values, missing, fill, strict=True) if not f)
        for values, missing, fill in rows
    ]


def _genotype_texts(table: np.ndarray) -> list[str]:
    """Return the texts of calls as `Variant.genotypes` gives them."""
    base = int(table.max(initial=1)) + 3
    codes = np.zeros(len(table), dtype=np.int64)
    for column in table.T:
        codes = codes * base + column + 2
    kinds, first, which = np.unique(codes, return_index=True, return_inverse=True)
    texts = []
    for row in table[first].tolist():
        alleles = ["." if allele == MISSING else str(allele) for allele in row[:-1] if allele != FILL]
        texts.append(("|" if row[-1] else "/").join(alleles) or ".")
    return np.array(texts, dtype=object)[which.reshape(-1)].tolist() if len(kinds) else []


def header_of(root: Any, whole: Callable[[str], np.ndarray], names: Sequence[str]) -> str:
    """Return a header for the records of a store: what it keeps of the VCF's, with a definition of each field.

    Args:
        root: the zarr.Group.
        whole: gives an array by its name.
        names: names of the samples.
    """
    arrays = dict(root.arrays())

    def column(name: str, n: int, without: Any) -> list[Any]:
        found = whole(name).tolist() if name in arrays else []
        return [*found, *[without] * n][:n]

    kept = [(str(key), str(value)) for key, value in root.attrs.get("vcf_meta_information") or []]
    lines = [f"##fileformat={dict(kept).get('fileformat', 'VCFv4.3')}"]
    lines += [f"##{key}={value}" for key, value in kept if key != "fileformat"]
    filters = whole("filter_id").tolist() if "filter_id" in arrays else []
    for name, text in zip(filters, column("filter_description", len(filters), ""), strict=True):
        lines.append(f'##FILTER=<ID={name},Description="{text}">')
    contigs = whole("contig_id").tolist()
    for name, length in zip(contigs, column("contig_length", len(contigs), -1), strict=True):
        lines.append(f"##contig=<ID={name}{f',length={length}' if length > 0 else ''}>")
    for kind, prefix in (("INFO", "variant_"), ("FORMAT", "call_")):
        if prefix == "call_" and GENOTYPE in arrays:
            lines.append('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">')
        for key in keys_of(arrays, prefix):
            lines.append(_definition(kind, key, arrays[prefix + key]))
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *names]
    return "\n".join([*lines, "\t".join(columns)]) + "\n"


def _definition(kind: str, key: str, array: Any) -> str:
    """Return the header's line of a field."""
    own = 1 if kind == "INFO" else 2  # dimensions of a field with one value
    named = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or [""]
    letter = array.dtype.kind
    number = "1" if array.ndim == own else NUMBERS.get(str(named[-1]), ".")
    number = "0" if letter == "b" and kind == "INFO" else number
    known = {"b": "Flag" if kind == "INFO" else "Integer", "i": "Integer", "u": "Integer", "f": "Float"}
    text = array.attrs.get("description", "")
    return f'##{kind}=<ID={key},Number={number},Type={known.get(letter, "String")},Description="{text}">'
