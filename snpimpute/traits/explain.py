"""Explanation of a learned predictor: how much each site moves its predictions, as a table and in formats of other tools."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import site_keys
from snpimpute.report.text import number
from snpimpute.traits.annotations import Genes
from snpimpute.traits.attributions import MEANING, attributions, completeness_gap, ensemble, methods_of
from snpimpute.traits.blocks import BLOCK_COLUMNS, given_blocks, haplotype_blocks
from snpimpute.traits.cohorts import UNPLACED
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.exchange import MOST_CONTIGS
from snpimpute.traits.finemap_files import attributes_of, bed_of, escaped, write_site_vcf
from snpimpute.traits.learned import Learned, read_target
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.selection import expected_alleles

FILES = ("explain.tsv", "explain.json", "explain.bed", "explain.gff3", "explain.vcf.gz", "explain.html", "explain.png")
BLOCK_PROGRAMS = ("plink1.9", "plink2")  # without both, blocks that are not given are left out
ENSEMBLE = "ensemble"
INFO = {"IMPORTANCE": ("A", "Float", "Importance to a predictor of a trait, 1 = the most important site; not causal")}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Importance of the sites that were learned from.

    Attributes:
        genotypes: file of the samples.
        trait, predictor: what is explained.
        method: whose values are the scores: ENSEMBLE, or one of `attributions.MEANING`.
        table: a row per site: snp_index (from 0, in the predictor's sites), rsid, chromosome, position, ref, alt, maf (of the
            samples explained), importance_score (0 to 1, 1 = the most important), and a column for each method: the mean over samples
            of its absolute value, 0 of a site that was not chosen; then `block`, `gene`, `gene_distance`, those that are known.
        gap: largest gap of integrated gradients, see `attributions.completeness_gap`; NaN without them.
        n_samples: number of samples explained.
        notes: what was noticed.
        blocks: haplotype blocks that hold sites, see `blocks.haplotype_blocks`; the table's column `block` names that of each site.
        genes: that overlap the sites' stretch of a contig: `contig`, `start`, `end`, `name`; the table has columns `gene` and
            `gene_distance` (0 = within). Without a file of genes it is empty, and there are no such columns.
    """

    genotypes: Path
    trait: str
    predictor: str
    method: str
    table: pd.DataFrame
    gap: float
    n_samples: int
    notes: tuple[str, ...]
    blocks: pd.DataFrame
    genes: pd.DataFrame


def explain(
    learned: Learned,
    genotypes: Path,
    watch: Watch,
    *,
    method: str | None = None,
    traits: Path | None = None,
    sample_column: str | None = None,
    most: int = 200,
    seed: int = 1,
    blocks: Path | None = None,
    genes: Path | None = None,
) -> Explanation:
    """Explain a predictor on a file's samples.

    Args:
        learned: the predictor.
        genotypes: file of the samples; of more than `most`, so many are drawn.
        watch: receives the stages.
        method: None = all that explain the predictor, and their ensemble where there are several.
        traits, sample_column: see `learned.read_target`.
        seed: of the draws.
        blocks: BED of haplotype blocks; None = found by PLINK 1.9 in all samples of the file, if it is installed.
        genes: GFF3.

    Raises:
        InputError: see `learned.read_target`, `attributions.attributions`, `blocks` and `annotations`.
    """
    predictor = learned.predictor
    methods = methods_of(predictor) if method in (None, ENSEMBLE) else (str(method),)
    known_genes = None if genes is None else Genes(genes)
    watch.stage("reading genotypes")
    cohort, names, notes = read_target(learned, genotypes, traits, sample_column)
    watch.stage("haplotype blocks")
    near, of_blocks, of_genes, more = _near(cohort, names, genotypes.name, blocks, known_genes)
    notes = (*notes, *more)
    if len(names) > most:
        rows = np.sort(np.random.default_rng(seed).permutation(len(names))[:most])
        cohort = cohort.take_samples(rows)
    gap, found = np.nan, {}
    for name in methods:
        watch.stage(f"explaining by {name}")
        values = attributions(predictor, cohort, name, seed)
        found[name] = np.abs(values).mean(axis=0)
        if name == "integrated_gradients":
            gap = completeness_gap(predictor, cohort, values)
    if len(found) > 1:
        shown, score = ENSEMBLE, ensemble(found)
    else:
        (shown, score), *_ = found.items()
    if predictor.components is not None:
        n = numbered(predictor.params.components, "principal component")
        notes = (*notes, f"{n} among the covariates held as they are: what sites move through them is left out")
    table = _table(predictor.sites, expected_alleles(cohort.posterior))
    for column, values in {"importance_score": _scaled(score), **found}.items():
        everywhere = np.zeros(len(table))
        everywhere[predictor.chosen] = values
        table[column] = everywhere
    table = pd.concat([table, near], axis=1)
    return Explanation(
        genotypes, learned.trait, predictor.name, shown, table, gap, cohort.n_samples, notes, of_blocks, of_genes
    )


def methods_in(table: pd.DataFrame) -> list[str]:
    """Return the methods that a table of `Explanation` has columns of."""
    return [name for name in table if name in MEANING]


def write_explanation(found: Explanation, folder: Path, top: int = 100) -> list[Path]:
    """Write explain.tsv (all sites), explain.json, and the most important sites as BED, GFF3 and VCF.

    The VCF has the genotype file's records, with the INFO field IMPORTANCE. Markers without positions have a table and JSON alone.

    Args:
        found: the explanation.
        folder: where to.
        top: number of sites in all files but the table.

    Returns:
        The files.

    Raises:
        InputError: the folder cannot be written; see also `finemap_files.write_site_vcf`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = most_important(found, top)
    write_text(folder / FILES[0], found.table.to_csv(sep="\t", index=False, float_format="%.6g", na_rep="NA"))
    write_text(folder / FILES[1], json.dumps(as_dict(found, top), indent=1) + "\n")
    if (chosen.chromosome == UNPLACED).all():
        return [folder / name for name in FILES[:2]]
    write_text(folder / FILES[2], bed_of(chosen, "importance_score"))
    write_text(folder / FILES[3], _gff3(chosen))
    contigs = list(dict.fromkeys(found.table.chromosome))
    write_site_vcf(folder / FILES[4], found.genotypes, None, contigs, chosen, INFO, _info)
    return [folder / name for name in FILES[:5]]


def most_important(found: Explanation, top: int) -> pd.DataFrame:
    """Return the rows of the most important sites, in the order of the table; those of no importance are not among them."""
    order = np.argsort(-found.table.importance_score.to_numpy(), kind="stable")[:top]
    rows = found.table.iloc[np.sort(order)]
    return rows[rows.importance_score > 0].reset_index(drop=True)


def as_dict(found: Explanation, top: int = 100) -> dict[str, Any]:
    """Return the results, of sites the most important, JSON-able; null for what is not known."""
    sites = most_important(found, top).sort_values("importance_score", ascending=False, kind="stable")
    return {
        "genotypes": found.genotypes.name,
        "trait": found.trait,
        "predictor": found.predictor,
        "method": found.method,
        "samples": found.n_samples,
        "completeness_gap": None if np.isnan(found.gap) else found.gap,
        "sites": sites.astype(object).where(sites.notna(), None).to_dict(orient="records"),
        "notes": list(found.notes),
        "snpimpute": __version__,
    }


def summary(found: Explanation, top: int = 5) -> list[str]:
    """Return what was found, in lines."""
    sites = most_important(found, top).sort_values("importance_score", ascending=False, kind="stable")
    said = MEANING.get(found.method, "mean rank over all methods")
    lines = [
        f"{found.predictor} of {found.trait}: {numbered(found.n_samples, 'sample')} explained by {found.method} ({said})",
        *(
            f"{site.chromosome}:{site.position} {site.rsid or '.'} {site.ref}/{site.alt}  {number(site.importance_score)}"
            for site in sites.itertuples()
        ),
        "importance to the predictor is not causality: linked sites share it",
    ]
    return [*lines, *(f"note: {note}" for note in found.notes)]


def _near(
    cohort: Cohort, names: list[str], source: str, blocks: Path | None, genes: Genes | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Return what lies at each site (`block`, `gene`, `gene_distance`; those that are known), the blocks, the genes, and notes."""
    sites = cohort.sites
    found = pd.DataFrame(index=range(len(sites)))
    of_blocks = pd.DataFrame(columns=BLOCK_COLUMNS)
    of_genes = pd.DataFrame(columns=["contig", "start", "end", "name"])
    notes: list[str] = []
    if (sites.contig == UNPLACED).all():
        if blocks is not None or genes is not None:
            notes.append(f"{source} has markers without positions: no blocks, no genes")
        return found, of_blocks, of_genes, tuple(notes)
    missing = [name for name in BLOCK_PROGRAMS if shutil.which(name) is None]
    if blocks is None and missing:
        notes.append(f"no haplotype blocks: {' and '.join(missing)} not found, and none given by --blocks")
    elif blocks is None and sites.contig.nunique() > MOST_CONTIGS:
        notes.append(f"no haplotype blocks: PLINK 1.9 takes at most {MOST_CONTIGS} contigs")
    else:
        dosages = Dosages(
            expected_alleles(cohort.posterior).astype(np.float32), names, sites, np.full(len(sites), np.nan), source
        )
        of_blocks, row_of = haplotype_blocks(dosages) if blocks is None else given_blocks(blocks, dosages)
        found["block"] = [of_blocks.block[row] if row >= 0 else "" for row in row_of]
    if genes is not None:
        nearest = [genes.nearest(contig, pos) for contig, pos in zip(sites.contig, sites.pos, strict=True)]
        found["gene"], found["gene_distance"] = (list(column) for column in zip(*nearest, strict=True))
        ends = sites.groupby("contig", sort=False).pos.agg(["min", "max"])
        parts = [genes.within(c, int(row["min"]), int(row["max"])).assign(contig=c) for c, row in ends.iterrows()]
        of_genes = pd.concat(parts, ignore_index=True)[list(of_genes.columns)]
    return found, of_blocks, of_genes, tuple(notes)


def _table(sites: pd.DataFrame, dosages: np.ndarray) -> pd.DataFrame:
    frequency = dosages.mean(axis=0) / 2
    return pd.DataFrame(
        {
            "snp_index": np.arange(len(sites)),
            "rsid": sites.id.where(sites.id != "", pd.Series(site_keys(sites))),
            "chromosome": sites.contig,
            "position": sites.pos,
            "ref": sites.ref,
            "alt": sites.alt,
            "maf": np.minimum(frequency, 1 - frequency),
        }
    )


def _scaled(score: np.ndarray) -> np.ndarray:
    """Return scores so that the largest is 1."""
    most = score.max(initial=0.0)
    if most <= 0:
        raise InputError("the predictor gives all samples the same: no site is of importance to it")
    return score / most


def _gff3(chosen: pd.DataFrame) -> str:
    """Return sites as GFF3, terms are those of the Sequence Ontology."""
    lines = [
        f"{escaped(site.chromosome)}\tsnpimpute\tsequence_alteration\t{site.position}\t{site.position + len(site.ref) - 1}\t"
        f"{site.importance_score:.6g}\t.\t.\t"
        + attributes_of(ID=f"site{site.snp_index}", Name=site.rsid, alleles=f"{site.ref}/{site.alt}")
        for site in chosen.itertuples()
    ]
    return "\n".join(["##gff-version 3", *lines]) + "\n"


def _info(sites: list[Any]) -> str:
    """Return the INFO field of a record, a value for each ALT; empty if none of them is chosen."""
    if not any(sites):
        return ""
    return "IMPORTANCE=" + ",".join(f"{site.importance_score:.6g}" if site else "." for site in sites)
