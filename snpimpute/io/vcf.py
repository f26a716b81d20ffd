"""VCF and BCF: reading into a GenotypeMatrix, and writing calls back as bgzipped VCF."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.io.bgzf import BgzfWriter, has_end_block, is_bgzipped, write_csi
from snpimpute.io.filters import Gatherer, Region, Site, SiteFilter, chosen_rows, parse_regions, require_contig

logger = logging.getLogger(__name__)


def read_vcf(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    site_filter: SiteFilter | None = None,
    max_sites: int | None = None,
    min_samples: int = 1,
    spool: Path | None = None,
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Read the biallelic SNPs of a VCF (plain, gzipped or bgzipped) or BCF.

    A half call (`0/.`) is missing. The matrix has haplotypes if every kept call is phased and none is missing.

    Args:
        path: the file.
        region: `CONTIG` or `CONTIG:START-END` (1-based, both ends within), or several joined by `;` in the file's order,
            found by the index beside the file.
        samples: names of the samples to read, in the order wanted; None = all.
        site_filter: what a site must have to be kept; None keeps every biallelic SNP.
        max_sites: most sites to keep; more are refused. None = any number.
        min_samples: fewest samples that will do.
        spool: an empty folder to keep the calls in, for files larger than memory; None = in memory.

    Returns:
        The matrix (samples table: `sample` alone), and the table of what was left out (filters.left_out_table).

    Raises:
        InputError: the file is missing, broken, not a VCF, not in order, or without what was asked of it; a call is
            haploid or polyploid.
    """
    path = Path(path)
    where = [] if region is None else parse_regions(region)
    require_whole(path)
    with htslib_messages() as messages, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no intervals found")  # said by our own error
        vcf = open_vcf(path, messages)
        rows = chosen_rows(vcf.samples, samples, path.name)
        if len(rows) < min_samples:
            raise InputError(f"{path.name} gives {len(rows)} sample: at least {min_samples} are needed")
        if where:
            _require_index(path)
        for part in where:
            require_contig(part, vcf.seqnames, path.name)
        names = [vcf.samples[row] for row in rows]
        if samples is not None:
            vcf.set_samples(names)
            rows = np.argsort(np.argsort(rows))
        gatherer = Gatherer(path.name, len(rows), site_filter, max_sites, spool)
        records = chain.from_iterable(vcf_records(vcf, path, part, messages) for part in (where or (None,)))
        _gather(gatherer, records, vcf.samples, rows, path.name)
    return gatherer.finish(pd.DataFrame({"sample": names}))


def _gather(gatherer: Gatherer, records: Iterator[Any], names: Sequence[str], rows: np.ndarray, source: str) -> None:
    """Feed records to the gatherer, a block of sites at a time, the samples at `rows` in that order."""
    sites: list[Site] = []
    alleles: list[np.ndarray] = []
    any_calls = False

    def add_block() -> None:
        if not any_calls:
            raise InputError(f"{source} has no genotypes: its records have no GT")
        gatherer.add(sites, *_calls(np.stack(alleles, axis=2)))
        sites.clear()
        alleles.clear()

    for record in records:
        ref, alts = record.REF.upper(), [alt.upper() for alt in record.ALT]
        if not gatherer.accepts(record.CHROM, record.POS, ref, alts, record.FILTER is None):
            continue
        any_calls |= "GT" in record.FORMAT
        sites.append(Site(record.CHROM, record.POS, record.ID or "", ref, alts[0]))
        alleles.append(_diploid(record, names, source)[:, rows])
        if len(sites) == gatherer.block_size:
            add_block()
    if sites:
        add_block()


def _diploid(record: Any, names: Sequence[str], source: str) -> np.ndarray:
    """int8 (3, n_samples): first and second allele, below 0 = missing, and 1 where they are phased.

    A call of one missing allele (`.`) is a missing call; any other that has not two alleles is refused.
    """
    if "GT" not in record.FORMAT:
        return np.full((3, len(names)), MISSING, dtype=np.int8)
    # Owns its data. Columns: the alleles (-1 = missing, -2 = the call has fewer than the longest one), then the phase.
    table = record.genotype.array().astype(np.int8).T
    alleles = table[:-1]
    if len(alleles) == 2:
        odd = (alleles[1] == -2) & (alleles[0] >= 0)
    else:
        odd = ((alleles != -2).sum(axis=0) != 2) & (alleles >= 0).any(axis=0)
    if odd.any():
        first = int(np.flatnonzero(odd)[0])
        ploidy = int((alleles[:, first] != -2).sum())
        raise InputError(
            f"{source}: sample {names[first]} has a {'haploid' if ploidy == 1 else f'{ploidy}-ploid'} call at "
            f"{record.CHROM}:{record.POS}; only diploid calls can be used: choose another region or other samples"
        )
    if alleles.max() > 1:
        raise InputError(
            f"{source} is broken: {record.CHROM}:{record.POS} has one alternate allele, and calls of others"
        )
    second = alleles[1] if len(alleles) > 1 else alleles[0]
    return np.stack([alleles[0], second, table[-1]])


def _calls(alleles: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Calls int8 (n_samples, n), a half call missing, and haplotypes as Gatherer.add wants them, of int8 (3, n_samples, n)."""
    first, second, phased = alleles
    missing = (first < 0) | (second < 0)
    calls = np.where(missing, np.int8(MISSING), first + second)
    if not (phased == 1).any():
        return calls, None
    unknown = missing | (phased != 1)
    return calls, np.stack([np.where(unknown, np.int8(MISSING), allele) for allele in (first, second)], axis=2)


def open_vcf(path: Path, messages: Callable[[], list[str]]) -> Any:
    """The open cyvcf2.VCF."""
    from cyvcf2 import VCF

    try:
        return VCF(str(path))
    except Exception:
        if duplicated := [line for line in messages() if "Duplicated sample name" in line]:
            name = duplicated[0].rsplit("name", 1)[1].strip()
            raise InputError(f"{path.name} names samples more than once: {name}; give each a name of its own") from None
        raise InputError(f"{path.name} is not a VCF or BCF") from None


def vcf_records(vcf: Any, path: Path, region: Region | None, messages: Callable[[], list[str]]) -> Iterator[Any]:
    """The records of the file or region; InputError where htslib stops or complains before the end."""
    wanted = vcf if region is None else vcf(f"{region.contig}:{region.start}-{region.end}")
    found = 0
    try:
        for record in wanted:
            if region is None or region.start <= record.POS <= region.end:
                found += 1
                yield record
    except Exception as error:
        raise InputError(f"{path.name} is broken ({_said(messages(), error)}): make or fetch it again") from None
    # By region, htslib ends a file that it cannot read on as if the region ended there, and only prints an error.
    if any(line.startswith("[E::") for line in messages()):
        raise InputError(f"{path.name} is broken ({_said(messages(), None)}): make or fetch it again")
    if not found:
        what = "records" if region is None else f"records in {region.contig}:{region.start}-{region.end}"
        raise InputError(f"{path.name} has no {what}")


def _said(messages: list[str], error: Exception | None) -> str:
    """What htslib said went wrong, without its function names; else what cyvcf2 said."""
    errors = [line.split("]", 1)[1].strip() for line in messages if line.startswith("[E::")]
    return errors[0] if errors else str(error)


def _require_index(path: Path) -> None:
    if any(path.with_name(path.name + suffix).is_file() for suffix in (".csi", ".tbi")):
        return
    if path.suffix == ".bcf":
        raise InputError(f"{path.name} has no index, which a region needs: bcftools index {path}")
    if not is_bgzipped(path):
        raise InputError(
            f"{path.name} is not bgzipped, so it has no index, which a region needs: "
            f"bcftools view -Oz -o NEW.vcf.gz {path} && tabix -p vcf NEW.vcf.gz"
        )
    raise InputError(f"{path.name} has no index, which a region needs: tabix -p vcf {path}")


def require_whole(path: Path) -> None:
    """Raise InputError if the file cannot be opened, is empty, or is bgzipped and ends too early."""
    try:
        bgzipped = is_bgzipped(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is not a VCF or BCF: it is empty")
    if bgzipped and not has_end_block(path):
        raise InputError(f"{path.name} is truncated (its end-of-file block is missing): make or fetch it again")


@contextmanager
def htslib_messages() -> Iterator[Callable[[], list[str]]]:
    """Keep what htslib prints off the terminal; the function given returns its lines so far.

    htslib writes to file descriptor 2 from C, so that is redirected. At the end its lines are logged (an index older
    than its file as a warning, since records could be missed), and anything else that was written is passed on.
    """
    with tempfile.TemporaryFile() as caught:

        def lines() -> list[str]:
            return os.pread(caught.fileno(), 1_000_000, 0).decode(errors="replace").splitlines()

        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            for line in lines():
                if line.startswith(("[W::", "[E::")):
                    stale_index = "index file is older" in line
                    logger.log(logging.WARNING if stale_index else logging.INFO, "htslib: %s", line)
                else:
                    print(line, file=sys.stderr)


def write_vcf(path: Path, matrix: GenotypeMatrix, leave_out: np.ndarray | None = None, *, index: bool = False) -> None:
    """Write calls as GT in a bgzipped VCF 4.2, phased where the matrix has haplotypes, `./.` or `.|.` where missing.

    Args:
        path: file to write, ending in .vcf.gz.
        matrix: the calls; the sites of a contig together and, for an index, in order of position.
        leave_out: bool (n_sites,), sites not written (hidden from a program that imputes what the panel has more).
        index: whether to write a .csi beside the file too.

    Raises:
        OSError: the file cannot be written, the file system is full included.
    """
    written = matrix if leave_out is None else matrix.take_sites(~leave_out)
    sites = written.sites
    header = ["##fileformat=VCFv4.2", '##FILTER=<ID=PASS,Description="All filters passed">']
    header += [f"##contig=<ID={contig}>" for contig in dict.fromkeys(matrix.sites.contig)]
    header += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    header += ["\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *matrix.names])]
    if written.haplotypes is None:
        spelled = np.array(["0/0", "0/1", "1/1", "./."])
        codes = written.calls
    else:
        spelled = np.array(["0|0", "0|1", "1|0", "1|1", ".|."])
        codes = 2 * written.haplotypes[:, :, 0] + written.haplotypes[:, :, 1]
        codes = np.where(written.calls == MISSING, 4, codes)
    constant = [".", "PASS", ".", "GT"]
    with BgzfWriter(path) as out:
        out.write(("\n".join(header) + "\n").encode())
        offsets = [out.tell()]
        for j, site in enumerate(sites.itertuples(index=False)):
            fixed = [str(site.contig), str(site.pos), str(site.id or "."), str(site.ref), str(site.alt), *constant]
            out.write(("\t".join([*fixed, *spelled[codes[:, j]]]) + "\n").encode())
            offsets.append(out.tell())
    if index:
        write_csi(path.with_name(path.name + ".csi"), sites.contig.tolist(), sites.pos.tolist(), offsets)
