"""VCF and BCF: reading into a GenotypeMatrix, and writing calls back as bgzipped VCF."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.genotypes import GenotypeMatrix


def write_vcf(path: Path, matrix: GenotypeMatrix, leave_out: np.ndarray | None = None) -> None:
    """Write calls as GT in a bgzipped VCF 4.2, phased where the matrix has haplotypes, `./.` where missing.

    Args:
        path: file to write, ending in .vcf.gz.
        matrix: the calls.
        leave_out: bool (n_sites,), sites not written (hidden from a program that imputes what the panel has more).
    """
    from cyvcf2 import Writer

    keep = np.arange(matrix.n_sites) if leave_out is None else np.flatnonzero(~leave_out)
    contigs = list(dict.fromkeys(matrix.sites.contig))
    header = ["##fileformat=VCFv4.2"]
    header += [f"##contig=<ID={contig}>" for contig in contigs]
    header += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    header += ["\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *matrix.names])]
    writer = Writer.from_string(str(path), "\n".join(header) + "\n", mode="wz")
    writer.write_header()
    if matrix.haplotypes is None:
        spelled = np.array(["0/0", "0/1", "1/1", "./."])[matrix.calls]
    else:
        spelled = np.array([["0|0", "0|1"], ["1|0", "1|1"]])[matrix.haplotypes[:, :, 0], matrix.haplotypes[:, :, 1]]
    sites = matrix.sites
    for j in keep:
        fixed = [sites.contig[j], str(sites.pos[j]), sites.id[j] or ".", sites.ref[j], sites.alt[j], ".", "PASS", ".", "GT"]
        writer.write_record(writer.variant_from_string("\t".join([*fixed, *spelled[:, j]])))
    writer.close()
