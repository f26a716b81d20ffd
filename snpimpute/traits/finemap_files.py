"""Files of a fine-mapping that other programs read: TSV, JSON, BED, a VCF of the input's records, GFF3."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.files import write_text
from snpimpute.io.builds import plain_contig
from snpimpute.io.output import vcf_output
from snpimpute.io.records import split
from snpimpute.io.stream import streamed
from snpimpute.report.text import known
from snpimpute.traits.finemap import FineMap

FILES = (
    "finemap.html",
    "finemap.tsv",
    "finemap.json",
    "finemap.bed",
    "finemap.vcf.gz",
    "finemap.gff3",
    "blocks.tsv",
    "pip.png",
)
LEAST_PIP = 0.01  # of sites in BED, VCF and GFF3, beside those in sets
INFO = {
    "PIP": ("A", "Float", "Posterior probability to be causal, by SuSiE"),
    "CS": ("A", "String", "Credible set (95%), as its locus and number"),
    "PURITY": ("A", "Float", "Least absolute correlation between two sites of the set"),
    "NLP": ("A", "Float", "Minus log10 of the p-value"),
    "BLOCK": ("1", "String", "Haplotype block"),
}


def write_tables(found: FineMap, folder: Path) -> None:
    """Write finemap.tsv (all sites), blocks.tsv, finemap.json, and what stands out as BED, VCF and GFF3.

    What stands out are sites in a credible set or with a PIP of .01 or more. The VCF has their records as the genotype file has
    them, with further INFO fields, and an index.

    Raises:
        InputError: the folder cannot be written, or the file system is full; see also `io.output.vcf_output`.
    """
    write_text(folder / "finemap.tsv", found.table.to_csv(sep="\t", index=False, float_format="%.6g", na_rep="NA"))
    write_text(folder / "blocks.tsv", found.blocks.to_csv(sep="\t", index=False, float_format="%.6g", na_rep="NA"))
    write_text(folder / "finemap.json", json.dumps(as_dict(found), indent=1) + "\n")
    chosen = outstanding(found)
    write_text(folder / "finemap.bed", bed_of(chosen, "pip"))
    write_text(folder / "finemap.gff3", _gff3(found.blocks, chosen))
    settings, contigs = found.settings, list(dict.fromkeys(found.table.chromosome))
    write_site_vcf(folder / "finemap.vcf.gz", settings.genotypes, settings.region, contigs, chosen, INFO, _info)


def outstanding(found: FineMap) -> pd.DataFrame:
    """Return the rows of the table that are in a set or have a PIP of .01 or more."""
    return found.table[(found.table.set != "") | (found.table.pip >= LEAST_PIP)].reset_index(drop=True)


def as_dict(found: FineMap) -> dict[str, Any]:
    """Return the results, of sites those that stand out, JSON-able; null for what is not known."""
    loci = []
    for locus in found.loci:
        names = found.table.rsid.to_numpy()[locus.rows]
        pips = found.table.pip.to_numpy()[locus.rows]
        sets = [
            {
                "set": f"{locus.name}/{number}",
                "sites": [str(names[j]) for j in sorted(of.members, key=lambda j: -pips[j])],
                "purity": of.purity,
                "coverage": of.coverage,
            }
            for number, of in enumerate(locus.sets, start=1)
        ]
        loci.append({"locus": locus.name, "sites": len(locus.rows), "mismatch": locus.mismatch, "sets": sets})
    return {
        "gwas": found.settings.gwas.name,
        "genotypes": found.settings.genotypes.name,
        "least_purity": found.settings.purity,
        "loci": loci,
        "clumps": _plain(found.clumps),
        "blocks": _plain(found.blocks),
        "sites": _plain(outstanding(found)),
        "notes": list(found.notes),
        "snpimpute": __version__,
    }


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as dicts of Python's own numbers, None where a value is not known."""
    return [
        {
            key: (value.item() if isinstance(value, np.generic) else value) if known(value) else None
            for key, value in row.items()
        }
        for row in table.to_dict(orient="records")
    ]


def bed_of(chosen: pd.DataFrame, score: str) -> str:
    """Return sites as BED of six columns: the score is 1000 × that column, the name the site's."""
    return "".join(
        f"{site.chromosome}\t{site.position - 1}\t{site.position - 1 + len(site.ref)}\t{'_'.join(site.rsid.split())}\t"
        f"{round(1000 * getattr(site, score))}\t.\n"
        for site in chosen.itertuples()
    )


def _gff3(blocks: pd.DataFrame, chosen: pd.DataFrame) -> str:
    """Return the blocks that hold a site, and the sites as their parts, as GFF3; terms are those of the Sequence Ontology."""
    rows: list[tuple[str, int, int, str]] = []
    for block in blocks.itertuples():
        attributes = attributes_of(
            ID=block.block, Name=block.block, rank=block.rank, lead=block.lead, known=block.known
        )
        rows.append(
            (
                block.contig,
                block.start,
                0,
                f"haplotype_block\t{block.start}\t{block.end}\t{block.pip:.6g}\t.\t.\t{attributes}",
            )
        )
    for site in chosen.itertuples():
        attributes = attributes_of(
            ID=f"site{site.snp_index}",
            Name=site.rsid,
            Parent=site.block,
            alleles=f"{site.ref}/{site.alt}",
            p=f"{site.p:.6g}",
            set=site.set,
            gene=site.gene,
            known=site.known,
        )
        end = site.position + len(site.ref) - 1
        rows.append(
            (
                site.chromosome,
                site.position,
                1,
                f"sequence_alteration\t{site.position}\t{end}\t{site.pip:.6g}\t.\t.\t{attributes}",
            )
        )
    contigs = {contig: number for number, contig in enumerate(dict.fromkeys(chosen.chromosome))}
    rows.sort(key=lambda row: (contigs.get(row[0], len(contigs)), row[1], row[2]))
    return "##gff-version 3\n" + "".join(f"{escaped(contig)}\tsnpimpute\t{rest}\n" for contig, _, _, rest in rows)


def attributes_of(**values: object) -> str:
    """Return attributes of GFF3, without those that are empty."""
    return ";".join(f"{key}={escaped(str(value))}" for key, value in values.items() if str(value))


def escaped(text: str) -> str:
    """Return a text with what means something in GFF3 in its percent form."""
    return re.sub(r"[\t\n\r%;=&,]", lambda found: f"%{ord(found[0]):02X}", text)


def write_site_vcf(
    path: Path,
    genotypes: Path,
    region: str | None,
    contigs: list[str],
    chosen: pd.DataFrame,
    info: Mapping[str, tuple[str, str, str]],
    info_of: Callable[[list[Any]], str],
) -> None:
    """Write a genotype file's records of chosen sites, with further INFO fields, and an index.

    Args:
        path: of the VCF.
        genotypes, region: the genotype file, and the part of it that was used.
        contigs: all that the header must have.
        chosen: columns chromosome, position, ref, alt, and what `info_of` needs.
        info: the further fields: Number, Type and description of each.
        info_of: gives, of the rows of a record's ALTs (None for one that is not chosen), the fields; empty = no record.
    """
    of_site = {(plain_contig(c), p, r, a): site for c, p, r, a, site in zip(chosen.chromosome, chosen.position, chosen.ref, chosen.alt, chosen.itertuples(), strict=True)}  # fmt: skip
    places = {(c, p) for c, p, _, _ in of_site}
    with (
        streamed(
            genotypes,
            region=region,
            accept=lambda contig, pos, *_: (plain_contig(contig), pos) in places,
            lines=True,
        ) as (stream,),
        vcf_output(path) as out,
    ):
        out.write(_header(stream.header, contigs, stream.names, info).encode())
        for record in stream.records:
            sites = [of_site.get((plain_contig(p.contig), p.pos, p.ref, p.alts[0])) for p in split(record) if p.alts]
            if record.line and (fields := info_of(sites)):
                columns = record.line.split("\t")
                columns[7] = fields if columns[7] in (".", "") else f"{columns[7]};{fields}"
                out.write(("\t".join(columns) + "\n").encode())


def _info(sites: list[Any]) -> str:
    """Return the INFO fields of a record, a value for each ALT; empty if none of them is chosen."""
    if not any(sites):
        return ""
    per_alt = {
        "PIP": [f"{site.pip:.6g}" if site else "." for site in sites],
        "CS": [re.sub(r"[\s;,=]", "_", site.set) or "." if site else "." for site in sites],
        "PURITY": [f"{site.purity:.4g}" if site and known(site.purity) else "." for site in sites],
        "NLP": [f"{-np.log10(site.p):.6g}" if site and site.p > 0 else "." for site in sites],
    }
    block = next((site.block for site in sites if site and site.block), "")
    fields = [f"{key}={','.join(values)}" for key, values in per_alt.items() if set(values) != {"."}]
    return ";".join([*fields, *([f"BLOCK={block}"] if block else [])])


def _header(header: str, contigs: list[str], names: list[str], info: Mapping[str, tuple[str, str, str]]) -> str:
    """Return the header of the VCF: that of the genotype file, or one of GT alone, with the further INFO fields."""
    kept = [line for line in header.splitlines() if line.startswith("##")]
    kept = [line for line in kept if not any(line.startswith(f"##INFO=<ID={key},") for key in info)]
    if not kept:
        kept = ["##fileformat=VCFv4.2"]
        kept.append('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">')
    defined = {line.removeprefix("##contig=<ID=").rstrip(">").split(",")[0] for line in kept}
    kept += [f"##contig=<ID={contig}>" for contig in contigs if contig not in defined]
    kept += [
        f'##INFO=<ID={key},Number={n},Type={kind},Description="{words}">' for key, (n, kind, words) in info.items()
    ]
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *names]
    return "\n".join([*kept, "\t".join(columns)]) + "\n"
