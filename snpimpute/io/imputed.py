"""Imputed genotypes as a VCF in Beagle's form, so that tools which read Beagle's files read these."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS
from snpimpute.io.bcf import Field, encoded_genotypes
from snpimpute.io.imputed_header import DEFINED, FORMAT_LINES, INFO_LINES, clashing_keys, header_lines, own_lines
from snpimpute.io.output import PLINK_FILES, Output, require_plink_names, suffix_of, vcf_output
from snpimpute.io.records import spelled_allele
from snpimpute.io.target_line import COUNTED, PER_ALLELE, TargetLine, without_keys

logger = logging.getLogger(__name__)

CALLS_AT_A_TIME = 50_000  # made text together: their text fits into a pipe (output.PIPE_SIZE)
OWN_FORMAT = {*FORMAT_LINES, "IC"}
NUMBER = re.compile(r"[<,]Number=([^,>]+)")

# Each imputed call has a code, a number in mixed radix of these digits: GP1 and GP2 (hundredths), the sum of the three
# GP less 99, DS (hundredths) less GP1 + 2 GP2 plus 2, and GT (0, 1, 2, or ALTERNATE_FIRST). Rounding leaves the last three digits few values. The codes
# of observed calls follow from OBSERVED on, in the order of CALLS.
_N_SUMS, _N_DOSES, _N_GENOTYPES = 3, 5, 4  # values of the last three digits
ALTERNATE_FIRST = 3  # the last one of a phased heterozygote 1|0
_GP2_STEP = _N_SUMS * _N_DOSES * _N_GENOTYPES
_GP1_STEP = 101 * _GP2_STEP
OBSERVED = 101 * _GP1_STEP
_SUM_STEP, _DOSE_STEP = _N_DOSES * _N_GENOTYPES, _N_GENOTYPES
# A code is _WEIGHTS · (hundredths of the three GP) + _DOSE_STEP · (hundredths of DS) + GT + _SHIFT.
_WEIGHTS = np.array(
    [_SUM_STEP, _GP1_STEP + _SUM_STEP - _DOSE_STEP, _GP2_STEP + _SUM_STEP - 2 * _DOSE_STEP], dtype=np.float32
)
_SHIFT = -99 * _SUM_STEP + 2 * _DOSE_STEP
# Code of an imputed call with all weight on genotype 0, 1, 2.
_CERTAIN = np.array([100 * w + _DOSE_STEP * 100 * g + g + _SHIFT for g, w in enumerate(_WEIGHTS.astype(int))], np.int32)
# GT of observed calls, at index 4 × first allele + 2 × second + 1 if phased.
CALLS = tuple(f"{first}{mark}{second}" for first in "01" for second in "01" for mark in "/|")
_WORDS = np.frombuffer("".join(f"{text}\t" for text in CALLS).encode(), dtype="<u4")
_UNPHASED = np.array([CALLS.index(text) for text in ("0/0", "0/1", "1/1", "1/0")], dtype=np.uint8)
_PHASED = _UNPHASED + 1
_COUNTS = np.array([text.count("1") for text in CALLS], dtype=np.int8)
_WITHOUT_PHASE = _UNPHASED[_COUNTS].astype(np.int32)
_HUNDREDTHS = [f"{i / 100:.2f}".rstrip("0").rstrip(".") for i in range(201)]


@dataclass(frozen=True, eq=False)
class ImputedSites:
    """Imputed neighbouring sites of one contig, in the order of the file to write.

    Attributes:
        sites: as in GenotypeMatrix (genotypes.SITE_COLUMNS), with the contig's name in the target.
        posterior: float32 (n_samples, n_sites, 3), rows sum to 1; an observed call has all weight on itself.
        observed: int8 (n_samples, n_sites), number of ALT alleles of `sites` in observed calls; -1 = imputed.
        records: the target's VCF line of each site, as str(cyvcf2.Variant) gives it; None where the target has none.
            Observed calls without a line are written unphased.
        swapped: bool (n_sites,), true where the line has REF and ALT exchanged.
        first: int8 (n_samples, n_sites), the first allele, 1 or 0, of heterozygotes, -1 = not known; for a writer of phased calls.
    """

    sites: pd.DataFrame
    posterior: np.ndarray
    observed: np.ndarray
    records: Sequence[str | None]
    swapped: np.ndarray
    first: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.observed.shape
        if self.posterior.shape != (*shape, 3) or not len(self.sites) == shape[1] == len(self.records) == len(
            self.swapped
        ):
            raise ValueError(
                f"sites, posterior, observed, records and swapped do not fit together: {len(self.sites)}, "
                f"{self.posterior.shape}, {shape}, {len(self.records)}, {len(self.swapped)}"
            )


class ImputedWriter:
    """Context manager that writes imputed sites, and records left as they are, to a file.

    See io.output for the files.

    Every site gets INFO AF, DR2 and, where no sample was typed, IMP, and FORMAT GT:DS:GP. DS and GP have at most two
    decimals. An imputed GT is that of the largest posterior, unphased; an observed one keeps its phase, and its alleles
    are exchanged where the record has REF and ALT the other way round. A record's ID, QUAL and FILTER stay; sites that
    the target lacks have the ID of `sites`, "." and "PASS".

    The phase of a record with PS holds within its sets alone: calls are written without phase unless the sets are kept too.

    The header keeps the target's lines, except definitions of the fields above and the ##snpimpute_ lines of earlier
    runs.

    PLINK: records that are passed through are in the file set only if they have one ALT. In a .pgen, GT is DS rounded,
    which now and then is not the genotype of the largest GP; a DS half way between two genotypes is moved by 0.0001
    towards GT.

    Args:
        path: file to write (its suffix decides, see `output.vcf_output`); None = standard output.
        target_header: the target's header; "" if it is no VCF. To write a BCF, it must define every field that is kept
            or passed through.
        samples: sample names, in the target's order.
        contigs: every contig that will be written; those without a line in the target's header get one.
        about: written to the header as ##snpimpute_KEY=VALUE: command, model, version, data digest.
        flags: INFO flags that `pass_through` may add, with their descriptions.
        keep_fields: whether a record's other INFO and FORMAT fields are kept. Always left out are INFO keys that count
            the file's calls (AC, AN, MAF, NS, HWE and the like) and, where REF and ALT are exchanged, fields with a
            value per allele or genotype.
        drawn: whether the sites hold one draw from a posterior: then FORMAT has neither DS nor GP, and INFO no DR2.
        phased: whether every call is written phased, by `ImputedSites.first` where it is not observed so.
        flag_imputed: whether FORMAT has IC after GP: 1 imputed, 0 observed.
        threads: threads that compress.
        fam: see `output.vcf_output`.
    """

    def __init__(
        self,
        path: Path | None,
        target_header: str,
        samples: Sequence[str],
        *,
        contigs: Sequence[str],
        about: Mapping[str, str],
        flags: Mapping[str, str] | None = None,
        keep_fields: bool = False,
        flag_imputed: bool = False,
        phased: bool = False,
        drawn: bool = False,
        threads: int = 1,
        fam: pd.DataFrame | None = None,
    ) -> None:
        require_plink_names(path, samples)
        self._path = path
        self._fam = fam
        self._threads = threads
        self._samples = list(samples)
        self._flags = dict(flags or {})
        self._keep_fields = keep_fields
        self._format = ":".join(["GT", *([] if drawn else ["DS", "GP"]), *(["IC"] if flag_imputed else [])])
        self._drawn = drawn
        suffix = ".vcf" if path is None else suffix_of(path)
        self._plink = suffix in PLINK_FILES
        self.ties_lean = suffix == ".pgen"
        self._phased = phased
        self._texts = _CallTexts(flag_imputed, self.ties_lean, phased, drawn)
        self._bcf_fields = _BcfFields(flag_imputed, phased, drawn) if suffix == ".bcf" else None
        own = own_lines(self._flags, flag_imputed, phased, drawn)
        header = header_lines(target_header, contigs, about, own, drawn)
        self._clashes = clashing_keys(target_header, own)
        self._n_cut = 0  # records that were passed through without what clashes
        self._contigs = {defined[2] for line in header if (defined := DEFINED.match(line)) and defined[1] == "contig"}
        self.per_allele = PER_ALLELE | {
            defined[2]
            for line in header
            if (defined := DEFINED.match(line)) and (number := NUMBER.search(line)) and number[1] in {"A", "R", "G"}
        }
        columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *self._samples]
        self._header = "\n".join([*header, "\t".join(columns)]) + "\n"
        self._stack = ExitStack()
        self._out: Output
        self._left_out = 0

    def __enter__(self) -> ImputedWriter:
        with ExitStack() as stack:
            self._out = stack.enter_context(vcf_output(self._path, self._threads, self._fam))
            self._out.write(self._header.encode())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._left_out and error is None:
            logger.warning("%d records without exactly one ALT are not in %s", self._left_out, self._path)
        if self._n_cut and error is None:
            keys = ", ".join(f"{kind}/{key}" for kind, found in self._clashes.items() for key in sorted(found))
            logger.warning(
                "left out of %s passed through, as the target defines it otherwise: %s",
                numbered(self._n_cut, "record"),
                keys,
            )
        return self._stack.__exit__(kind, error, trace)

    def write(self, block: ImputedSites) -> None:
        """Write imputed sites.

        Raises:
            ValueError: the block contradicts itself, its records or the header.
            OSError: the file cannot be written; at the end of the `with` block it becomes an InputError.
        """
        n_samples, n_sites = block.observed.shape
        if n_samples != len(self._samples):
            raise ValueError(f"{n_samples} samples, and {len(self._samples)} in the header")
        self._require_contigs(block.sites.contig.unique().tolist())
        sites = list(zip(*(block.sites[name].tolist() for name in SITE_COLUMNS), strict=True))
        step = max(CALLS_AT_A_TIME // n_samples, 1)
        for start in range(0, n_sites, step):
            part = slice(start, start + step)
            self._write(
                sites[part],
                np.ascontiguousarray(block.posterior[:, part].transpose(2, 1, 0)),
                np.ascontiguousarray(block.observed[:, part].T),
                block.records[part],
                block.swapped[part],
                None if block.first is None else np.ascontiguousarray(block.first[:, part].T),
            )

    def pass_through(self, record: str, flag: str = "", *, own: bool = False) -> None:
        """Write a record of the target as it is, without fields that it defines otherwise; `flag`, one of the `flags`, is added to its INFO.

        Args:
            record: the line.
            flag: INFO flag, empty = none.
            own: whether the line is no record of the target, but made in the form of this file, see `joined.joined_line`.

        Raises:
            ValueError: a contig or flag is not in the header.
            OSError: as `write`.
        """
        fields = record.rstrip("\n").split("\t", 8)
        self._require_contigs([fields[0]])
        if flag and flag not in self._flags:
            raise ValueError(f"flag {flag} is not among {sorted(self._flags)}")
        if self._plink and (
            fields[4] == "." or "," in fields[4]
        ):  # PLINK 1 cannot hold these records, and plink2 stops at their dosages
            self._left_out += 1
            return
        if flag and flag not in fields[7].split(";"):
            fields[7] = flag if fields[7] == "." else f"{fields[7]};{flag}"
        kept = fields if own else without_keys(fields, self._clashes)
        self._n_cut += kept != fields
        self._out.write(("\t".join(kept) + "\n").encode())

    def _require_contigs(self, contigs: Sequence[str]) -> None:
        """Raise ValueError unless the header has all these contigs."""
        for contig in contigs:
            if contig not in self._contigs:
                raise ValueError(f"contig {contig} is not in the header")

    def _write(
        self,
        sites: Sequence[tuple[str, int, str, str, str]],
        posterior: np.ndarray,
        observed: np.ndarray,
        lines: Sequence[str | None],
        swapped: np.ndarray,
        first: np.ndarray | None,
    ) -> None:
        """Write sites from arrays with sites first.

        Args:
            sites: contig, pos, id, ref, alt of each.
            posterior: float32 (3, n_sites, n_samples).
            observed: int8 (n_sites, n_samples).
            lines, swapped: `records` and `swapped` of ImputedSites.
            first: its `first`, int8 (n_sites, n_samples).
        """
        codes = _imputed_codes(posterior)
        if self._phased and first is not None:
            codes += np.where((codes % _N_GENOTYPES == 1) & (first == 1), ALTERNATE_FIRST - 1, 0).astype(np.int32)
        records = [None if line is None else TargetLine(line, len(self._samples)) for line in lines]
        typed = (observed != MISSING).any(axis=1)
        if typed.any():
            in_sets = [record is not None and record.in_sets for record in records]
            loose = np.array(in_sets) & (self._phased or not self._keep_fields)
            codes = _with_observed(codes, observed, records, swapped, loose, first if self._phased else None)
        calls = self._texts.of(codes).tolist() if self._bcf_fields is None else None
        frequencies, r2 = _summaries(posterior)
        for j, (contig, pos, name, ref, alt) in enumerate(sites):
            accuracy = "" if self._drawn else f";DR2={r2[j]:.2f}"
            info = f"AF={frequencies[j]:.4g}{accuracy}" + ("" if typed[j] else ";IMP")
            record, quality, passed, others, values = records[j], ".", "PASS", "", [""]
            if record is not None:
                record.require_at(contig, pos, (alt, ref) if swapped[j] else (ref, alt))
                name = record.name if record.name != "." else name
                quality, passed = record.quality, record.passed
                if self._keep_fields:
                    not_kept = set(self.per_allele) if spelled_allele(record.alt) != alt else set()
                    not_kept |= {"PS"} if self._phased else set()
                    info = ";".join([info, *record.other_info(COUNTED | {*INFO_LINES, *self._flags} | not_kept)])
                    others, values = record.other_fields(OWN_FORMAT | not_kept)
            fixed = "\t".join((contig, str(pos), name or ".", ref, alt, quality, passed, info))
            if self._bcf_fields is not None and not others:
                self._out.write_calls(fixed.encode(), len(codes[j]), partial(self._bcf_fields.of, codes[j]))
                continue
            texts, format_keys = self._texts.of(codes[j]).tolist() if calls is None else calls[j], self._format
            if others:
                format_keys = f"{self._format}:{others}"
                texts = [f"{text}:{value}" for text, value in zip(texts, values, strict=True)]
            self._out.write(("\t".join([fixed, format_keys, *texts]) + "\n").encode())


def _decoded(code: Any) -> tuple[Any, Any, tuple[Any, Any, Any]]:
    """Return genotype, DS and the three GP of the code of an imputed call, or of an array of codes.

    DS and GP are in hundredths.
    """
    code, genotype = divmod(code, _N_GENOTYPES)
    code, dose = divmod(code, _N_DOSES)
    code, whole = divmod(code, _N_SUMS)
    p1, p2 = divmod(code, 101)
    return genotype, dose + p1 + 2 * p2 - 2, (99 + whole - p1 - p2, p1, p2)


class _BcfFields:
    """FORMAT fields of calls by their codes, as numbers for BCF."""

    def __init__(self, flag_imputed: bool, phased: bool, drawn: bool = False) -> None:
        genotype, dose, hundredths = _decoded(np.arange(OBSERVED))
        observed = np.array([[int(text[0]), int(text[2]), text[1] == "|"] for text in CALLS])
        counts = observed[:, 0] + observed[:, 1]
        dosage = np.concatenate([dose, 100 * counts])
        posterior = np.concatenate([np.stack(hundredths, axis=1), 100 * np.eye(3, dtype=int)[counts]])
        alternate_first = genotype == ALTERNATE_FIRST
        imputed = [(genotype == 2) | alternate_first, (genotype > 0) & ~alternate_first]
        first, second = np.concatenate([imputed, observed[:, :2].T], axis=1).astype(int)
        phases = np.concatenate([np.full(OBSERVED, phased, dtype=int), observed[:, 2]])
        self._fields = {"GT": encoded_genotypes(first, second, phases)}
        if not drawn:
            self._fields["DS"] = (dosage / 100).astype(np.float32)
            self._fields["GP"] = (posterior / 100).astype(np.float32)
        if flag_imputed:
            self._fields["IC"] = (np.arange(len(dosage)) < OBSERVED).astype(np.int8)

    def of(self, codes: np.ndarray) -> list[Field]:
        """Return the fields of a site from the codes of its calls (n_samples,)."""
        return [(name, table[codes]) for name, table in self._fields.items()]


class _CallTexts:
    """Texts of calls by their codes, each made when it is first needed."""

    def __init__(self, flag_imputed: bool, ties_lean: bool, phased: bool = False, drawn: bool = False) -> None:
        self._drawn = drawn
        self._spelled = _PHASED if phased else _UNPHASED
        self._imputed, self._observed = (":1", ":0") if flag_imputed else ("", "")
        self._ties_lean = ties_lean
        self._texts = np.full(OBSERVED + len(CALLS), None, dtype=object)
        self._known = np.zeros(OBSERVED + len(CALLS), dtype=bool)

    def of(self, codes: np.ndarray) -> np.ndarray:
        """Return the texts (object array of str) of codes of any shape."""
        known = self._known[codes]
        if not known.all():
            for code in np.unique(codes[~known]).tolist():
                self._texts[code] = self._text(code)
                self._known[code] = True
        return self._texts[codes]

    def _text(self, code: int) -> str:
        """Return the text of one code: GT:DS:GP, or GT alone of a draw, and IC if asked for."""
        if self._drawn:
            if code >= OBSERVED:
                return f"{CALLS[code - OBSERVED]}{self._observed}"
            return f"{CALLS[self._spelled[_decoded(code)[0]]]}{self._imputed}"
        if code >= OBSERVED:
            spelled = CALLS[code - OBSERVED]
            genotype = spelled.count("1")
            return f"{spelled}:{genotype}:{','.join('1' if g == genotype else '0' for g in range(3))}{self._observed}"
        genotype, dose, probabilities = _decoded(code)
        dosage = _HUNDREDTHS[dose]
        if self._ties_lean and dose in (50, 150):
            copies = 1 if genotype == ALTERNATE_FIRST else genotype
            dosage = f"{dose / 100 + (0.0001 if 100 * copies > dose else -0.0001):.4f}"
        return f"{CALLS[self._spelled[genotype]]}:{dosage}:{','.join(_HUNDREDTHS[p] for p in probabilities)}{self._imputed}"


def _imputed_codes(posterior: np.ndarray) -> np.ndarray:
    """Return the codes of all calls as imputed calls, int32 (n_sites, n_samples).

    Args:
        posterior: float32 (3, n_sites, n_samples).

    Raises:
        ValueError: a posterior does not hold probabilities that sum to 1.
    """
    p0, p1, p2 = posterior
    h0, h1, h2 = hundredths = np.rint(100 * posterior)
    dose = np.rint(100 * (p1 + 2 * p2))
    dose_error = dose - h1 - 2 * h2
    sum_error = h0 + h1 + h2 - 100
    # not (… <= …), so that NaN is caught too
    if not (np.abs(sum_error).max() <= 1 and np.abs(dose_error).max() <= 2 and hundredths.min() >= 0):
        raise ValueError("rows of the posterior must be probabilities that sum to 1")
    w0, w1, w2 = _WEIGHTS  # whole numbers below 2^24, which float32 holds exactly
    codes = (w0 * h0 + w1 * h1 + w2 * h2 + _DOSE_STEP * dose + _SHIFT).astype(np.int32)
    codes += np.where(p2 > np.maximum(p0, p1), np.int32(2), p1 > p0)
    return codes


def _with_observed(
    codes: np.ndarray,
    observed: np.ndarray,
    records: Sequence[TargetLine | None],
    swapped: np.ndarray,
    loose: np.ndarray,
    first: np.ndarray | None = None,
) -> np.ndarray:
    """Return the codes (n_sites, n_samples) with those of observed calls; ValueError where the records differ.

    Given the first alleles of heterozygotes, int8 (n_sites, n_samples), observed calls without phase are phased. Where `loose`,
    bool (n_sites,), is true, the phase of the record's calls holds within sets that are not kept, and is left out.
    """
    seen = observed != MISSING
    certain = _CERTAIN[observed] + np.where(codes % _N_GENOTYPES == ALTERNATE_FIRST, ALTERNATE_FIRST - 1, 0)
    if (seen & (codes != certain)).any():
        raise ValueError("an observed call must have all weight of its posterior")
    words = _WORDS[_UNPHASED[observed]]
    exchanged = swapped.copy()
    for j, record in enumerate(records):
        if record is None:
            exchanged[j] = False
        else:
            words[j] = record.words()
    # Index in CALLS: `1` differs from `0` in bit 0, `|` from `/` in bit 6.
    index = (words & 1) << 2 | (words >> 16 & 1) << 1 | words >> 14 & 1
    known = words == _WORDS[index]
    index[exchanged] ^= 0b110
    agrees = known & (_COUNTS[index] == observed)
    if (seen & ~agrees).any():
        record = records[int((seen & ~agrees).any(axis=1).argmax())]
        assert record is not None
        raise ValueError(f"observed calls at {record.contig}:{record.pos} are not those of the record")
    index = index.astype(np.int32)
    index[loose] = _WITHOUT_PHASE[index[loose]]
    if first is not None:
        phased = np.where(observed == 1, np.where(first == 1, 0b101, 0b011), np.where(observed == 2, 0b111, 0b001))
        index = np.where(index & 1, index, phased)
    return np.where(seen, OBSERVED + index, codes)


def _summaries(posterior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return AF and DR2 of each site, float64 (n_sites,) each, from the posterior, float32 (3, n_sites, n_samples)."""
    _, p1, p2 = posterior
    n = posterior.shape[2]
    dosage = (p1 + 2 * p2).astype(np.float64)
    total = dosage.sum(axis=1)
    estimated = np.einsum("ij,ij->i", dosage, dosage) - total**2 / n
    true = (p1 + 4 * p2).sum(axis=1, dtype=np.float64) - total**2 / n
    varies = true > 1e-6 * n  # less is rounding error of float32
    r2 = np.divide(estimated, true, out=np.zeros(len(true)), where=varies)
    return total / (2 * n), np.clip(r2, 0.0, 1.0)
