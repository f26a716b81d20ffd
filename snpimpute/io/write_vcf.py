"""Writer of a matrix as GT in a bgzipped VCF."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.io.bgzf import BgzfWriter, write_csi


def write_vcf(path: Path, matrix: GenotypeMatrix, leave_out: np.ndarray | None = None, *, index: bool = False) -> None:
    """Write calls as GT in a bgzipped VCF 4.2, phased if the matrix has haplotypes; `./.` or `.|.` where missing.

    Args:
        path: file to write, ending in .vcf.gz.
        matrix: the calls; the sites of a contig together and, for an index, in order of position.
        leave_out: bool (n_sites,), sites not to write, for a program that imputes sites which only the panel has.
        index: whether to write a .csi beside the file too.

    Raises:
        OSError: the file cannot be written, including a full file system.
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
