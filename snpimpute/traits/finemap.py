"""Fine-mapping of association results: loci chosen, SuSiE in each, blocks and annotations beside its probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.io.builds import plain_contig
from snpimpute.io.filters import parse_regions
from snpimpute.traits.annotations import Genes, Stretches
from snpimpute.traits.associate import GENOME_WIDE, sites_in
from snpimpute.traits.blocks import clumps, given_blocks, haplotype_blocks, unpruned
from snpimpute.traits.dosages import Dosages, read_dosages
from snpimpute.traits.drawn import draw_files
from snpimpute.traits.gwas import read_gwas
from snpimpute.traits.phenotypes import Trait, read_traits, trait_of
from snpimpute.traits.susie import (
    EFFECTS,
    LEAST_PURITY,
    MISMATCH,
    CredibleSet,
    correlation_of,
    from_summary,
    mismatch,
)
from snpimpute.traits.ways import Drawn

AROUND = 500_000  # bases to either side of a lead site that make its locus
MOST_SITES = 10_000  # of a locus: its LD takes 0.8 GB
# The columns that the design document asks for, then what stands beside them.
STANDARD = ("snp_index", "rsid", "chromosome", "position", "ref", "alt", "maf", "importance_score")
COLUMNS = (
    *STANDARD,
    "pip",
    "set",
    "purity",
    "dr2",
    "block",
    "p",
    "beta",
    "standard_error",
    "locus",
    "known",
    "gene",
    "gene_distance",
)


@dataclass(frozen=True)
class FineMapSettings:
    """What is fine-mapped, and with what beside it.

    Attributes:
        gwas: association results (GWAS-SSF).
        genotypes: file whose LD is taken; best of the same samples.
        region: the one region to fine-map; None = the loci around all clumps.
        p: largest p-value of a clump's lead site.
        effects: most causal sites of a locus.
        refine: whether SuSiE looks beyond the first optimum, see `susie.from_summary`; not over draws.
        purity: least |r| between two sites of a credible set; what is below it is no set.
        n: number of samples of the results; None = as the results have it, else those of the genotypes.
        prune: largest r² of two sites that are fine-mapped, within 500 kb; leading sites of clumps stay. None = all are.
        prior: BED of annotations with weights; None = equal.
        blocks: BED of blocks; None = found by PLINK 1.9.
        known: known loci (BED, or the GWAS Catalog's TSV).
        genes: GFF3.
        draws: folder of draws of the genotypes (`impute --draws`), over which SuSiE's results are averaged; None = it runs once, on
            the results and the LD of the genotypes. Each draw is tested by linear regression of the trait.
        traits, trait, covariates, sample_column: table, column of the trait, columns of its covariates and column of the samples'
            names, for draws.
    """

    gwas: Path
    genotypes: Path
    region: str | None = None
    p: float = GENOME_WIDE
    effects: int = EFFECTS
    refine: bool = True
    purity: float = LEAST_PURITY
    n: int | None = None
    prune: float | None = None
    prior: Path | None = None
    blocks: Path | None = None
    known: Path | None = None
    genes: Path | None = None
    draws: Path | None = None
    traits: Path | None = None
    trait: str | None = None
    covariates: tuple[str, ...] = ()
    sample_column: str | None = None


@dataclass(frozen=True, eq=False)
class Locus:
    """A fine-mapped locus.

    Attributes:
        name: `contig:start-end`.
        rows: int, its sites' rows in the table of all.
        sets: credible sets, of numbers among its own sites.
        mismatch: estimate_s_rss; see `susie.mismatch`.
        switched: names of sites whose alleles look exchanged.
        converged: whether SuSiE came to an end.
    """

    name: str
    rows: np.ndarray
    sets: list[CredibleSet]
    mismatch: float
    switched: list[str]
    converged: bool


@dataclass(frozen=True, eq=False)
class FineMap:
    """Result of fine-mapping.

    Attributes:
        settings: what was asked for.
        table: a row per site of the loci, columns COLUMNS.
        blocks: blocks ranked by the PIP in them: `rank`, `block`, `contig`, `start`, `end`, `sites`, `pip` (summed), `lead` (site
            with the largest PIP), `lead_pip`, `known`, `genes`.
        loci: the loci, in the file's order.
        clumps: a row per clump: `lead`, `p`, `sites`.
        notes: what was noticed.
    """

    settings: FineMapSettings
    table: pd.DataFrame
    blocks: pd.DataFrame
    loci: list[Locus]
    clumps: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def n_sets(self) -> int:
        """Number of credible sets of all loci."""
        return sum(len(locus.sets) for locus in self.loci)


def fine_map(settings: FineMapSettings, watch: Watch) -> FineMap:
    """Fine-map association results with the LD of a genotype file.

    Args:
        settings: what is fine-mapped.
        watch: receives the stages.

    Raises:
        InputError: see `gwas.read_gwas`, `dosages.read_dosages`, `blocks`, `annotations`; also no site in common, or nothing
            significant and no region given.
    """
    if settings.prune is not None and not 0 < settings.prune < 1:
        raise InputError(
            f"--prune {settings.prune:g} is no r² between 0 and 1: 0.99 leaves out sites that say nearly the same"
        )
    files = _draw_files(settings)
    watch.stage("reading results and genotypes")
    gwas = read_gwas(settings.gwas)
    dosages = read_dosages(settings.genotypes, region=settings.region)
    drawn = None if files is None else Drawn(files, _trait(settings, dosages))
    sites_in(dosages, settings.region)
    gwas = _in_region(gwas, settings.region)
    dosages, gwas, notes = matched(gwas, dosages, settings.gwas.name)
    notes += dosages.notes
    if drawn is not None:
        notes += [*drawn.trait.notes, _of_draws(drawn)]
    prior = None if settings.prior is None else Stretches.of_bed(settings.prior, "the annotations")
    known = None if settings.known is None else Stretches.of_loci(settings.known)
    genes = None if settings.genes is None else Genes(settings.genes)
    watch.stage("clumps and blocks")
    found = clumps(dosages, gwas.neg_log_10_p_value.to_numpy(), settings.p)
    leads = [lead for lead, _ in found]
    clumped = _clumps(dosages, gwas, found)
    if settings.blocks is None:
        blocks, block_of = haplotype_blocks(dosages)
    else:
        blocks, block_of = given_blocks(settings.blocks, dosages)
    if settings.prune is not None:
        kept = unpruned(dosages, settings.prune)
        kept[leads] = True
        leads = (np.cumsum(kept)[leads] - 1).tolist()
        notes.append(
            f"{numbered(int((~kept).sum()), 'site')} pruned: r² above {settings.prune:g} with one that is kept, which stands for them in sets"
        )
        dosages, gwas = dosages.take_sites(kept), gwas[kept].reset_index(drop=True)
        block_of = block_of[kept]
    ranges = _loci(dosages, leads, settings)
    weights = None if prior is None else prior.weights(dosages.sites)
    watch.stage(f"fine-mapping {loci_in_words(len(ranges))}")
    loci: list[Locus] = []
    parts: list[pd.DataFrame] = []
    for number, at in enumerate(ranges, start=1):
        locus, part = _fine_map_locus(dosages, gwas, at, weights, settings, sum(len(part) for part in parts), drawn)
        loci.append(locus)
        parts.append(part)
        watch.progress(number, len(ranges))
    where = np.concatenate(ranges)
    table = pd.concat(parts, ignore_index=True)
    table["block"] = [blocks.block[row] if row >= 0 else "" for row in block_of[where]]
    table["known"] = [_known_at(known, c, p, p) for c, p in zip(table.chromosome, table.position, strict=True)]
    nearest = [
        ("", -1) if genes is None else genes.nearest(c, p)
        for c, p in zip(table.chromosome, table.position, strict=True)
    ]
    table["gene"], table["gene_distance"] = [name for name, _ in nearest], [distance for _, distance in nearest]
    return FineMap(
        settings,
        table[list(COLUMNS)],
        _ranked(blocks, table, known),
        loci,
        clumped,
        tuple(notes + _mismatches(loci)),
    )


def _in_region(gwas: pd.DataFrame, region: str | None) -> pd.DataFrame:
    """Return the results that are in a region; all without one."""
    if region is None:
        return gwas
    contig, pos = gwas.chromosome.astype(str).map(plain_contig), gwas.base_pair_location
    parts = [part._replace(contig=plain_contig(part.contig)) for part in parse_regions(region)]
    return gwas[np.any([part.holds(contig, pos) for part in parts], axis=0)].reset_index(drop=True)


def _clumps(dosages: Dosages, gwas: pd.DataFrame, found: Sequence[tuple[int, list[int]]]) -> pd.DataFrame:
    """Return the clumps that `blocks.clumps` found as a table; see FineMap.clumps."""
    rows = [
        (_site_name(dosages, lead), gwas.p_value[lead], len(others) + 1, gwas.neg_log_10_p_value[lead])
        for lead, others in found
    ]
    return pd.DataFrame(rows, columns=["lead", "p", "sites", "negative_log10_p"])


def loci_in_words(n: int) -> str:
    """Return a number of loci: "1 locus", "2 loci"."""
    return "1 locus" if n == 1 else f"{n:,} loci"


def matched(gwas: pd.DataFrame, dosages: Dosages, name: str) -> tuple[Dosages, pd.DataFrame, list[str]]:
    """Return the sites that results and genotypes share, in the genotypes' order; effects are turned to those of ALT.

    Sites are the same where contig (but for `chr`), position and the two alleles are.

    Args:
        gwas: as gwas.read_gwas gives it.
        dosages: the genotypes.
        name: of the file of results, for messages.

    Returns:
        The shared sites that vary, a row of results for each, and notes.

    Raises:
        InputError: none is shared.
    """
    keys = {
        (plain_contig(str(c)), int(p), e.upper(), o.upper()): row
        for row, (c, p, e, o) in enumerate(
            zip(gwas.chromosome, gwas.base_pair_location, gwas.effect_allele, gwas.other_allele, strict=True)
        )
    }
    rows, turned, at = [], [], []
    varies = dosages.varies()
    for j, site in enumerate(dosages.sites.itertuples(index=False)):
        place = (plain_contig(site.contig), int(site.pos))
        row = keys.get((*place, site.alt, site.ref))
        other = keys.get((*place, site.ref, site.alt)) if row is None else None
        if varies[j] and (row is not None or other is not None):
            rows.append(other if row is None else row)
            turned.append(row is None)
            at.append(j)
    if not rows:
        raise InputError(
            f"{name} and {dosages.name} have no site in common: contig, position and both alleles must agree"
        )
    shared = gwas.iloc[rows].reset_index(drop=True)
    sign = np.where(turned, -1.0, 1.0)
    notes = []
    if left := len(gwas) - len(rows):
        notes.append(
            f"{numbered(left, 'site')} of {name} left out: {dosages.name} has them not, or they do not vary there"
        )
    if any(turned):
        notes.append(
            f"{numbered(sum(turned), 'site')} of {name} have the other allele as effect allele: effects turned"
        )
    return dosages.take_sites(at), shared.assign(beta=shared.beta * sign), notes


def _loci(dosages: Dosages, leads: Sequence[int], settings: FineMapSettings) -> list[np.ndarray]:
    """Return the numbers of the sites of each locus: the region, or around the leads, joined where they overlap."""
    if settings.region is not None:
        chosen = [np.arange(dosages.n_sites)]
    else:
        if not leads:
            raise InputError(
                f"{settings.gwas.name} has no site with p < {settings.p:g}: nothing to fine-map; name a --region, or a larger --p"
            )
        contig, pos = dosages.sites.contig.to_numpy(), dosages.sites.pos.to_numpy()
        in_locus = np.zeros(dosages.n_sites, dtype=bool)
        for lead in leads:
            in_locus |= (contig == contig[lead]) & (abs(pos - pos[lead]) <= AROUND)
        at = np.flatnonzero(in_locus)
        apart = (np.diff(at) > 1) | (contig[at[1:]] != contig[at[:-1]])
        chosen = np.split(at, np.flatnonzero(apart) + 1)
    for at in chosen:
        if len(at) > MOST_SITES:
            raise InputError(
                f"a locus of {len(at):,} sites is too large for its LD, {MOST_SITES:,} are possible: choose a part by --region"
            )
    return chosen


def _fine_map_locus(
    dosages: Dosages,
    gwas: pd.DataFrame,
    at: np.ndarray,
    weights: np.ndarray | None,
    settings: FineMapSettings,
    first: int,
    drawn: Drawn | None,
) -> tuple[Locus, pd.DataFrame]:
    """Run SuSiE on the sites `at`; return the locus and its part of the table, whose first row has the number `first`."""
    own, results = dosages.take_sites(at), gwas.iloc[at].reset_index(drop=True)
    z = (results.beta / results.standard_error).to_numpy()
    stated = results.n.median()
    n = float(settings.n or (stated if np.isfinite(stated) else dosages.n_samples))
    correlation = correlation_of(own.centred())
    prior = None if weights is None else weights[at]
    if drawn is None:
        found = from_summary(z, correlation, n, prior, settings.effects, settings.refine, settings.purity)
    else:
        found = drawn.fine_mapped(own, prior, settings.effects, settings.purity)
    s, switched = mismatch(z, correlation, n)
    sites = own.sites
    set_of = found.set_of()
    name = f"{sites.contig[0]}:{sites.pos[0]}-{sites.pos.iloc[-1]}"
    purity = [found.sets[number - 1].purity if number else np.nan for number in set_of]
    table = pd.DataFrame(
        {
            "snp_index": np.arange(first, first + len(at)),
            "rsid": [_site_name(own, j) for j in range(own.n_sites)],
            "chromosome": sites.contig,
            "position": sites.pos,
            "ref": sites.ref,
            "alt": sites.alt,
            "maf": own.maf(),
            "importance_score": found.pip,
            "pip": found.pip,
            "set": [f"{name}/{number}" if number else "" for number in set_of],
            "purity": purity,
            "dr2": np.where(np.isfinite(own.quality), own.quality, results["info"]),
            "p": results.p_value,
            "beta": results.beta,
            "standard_error": results.standard_error,
            "locus": name,
        }
    )
    odd = [_site_name(own, j) for j in np.flatnonzero(switched).tolist()]
    return Locus(name, np.arange(first, first + len(at)), found.sets, s, odd, found.converged), table


def _draw_files(settings: FineMapSettings) -> list[Path] | None:
    """Return the files of draws, None = none are asked for; InputError if the trait is not named with them, or without them is."""
    if settings.draws is None:
        if settings.traits is not None or settings.trait is not None:
            raise InputError(
                "--traits and --trait are for --draws: without draws the association results are fine-mapped"
            )
        return None
    if settings.traits is None or settings.trait is None:
        raise InputError("--draws needs the trait itself, which each draw is tested for: name --traits and --trait")
    return draw_files(settings.draws)


def _trait(settings: FineMapSettings, dosages: Dosages) -> Trait:
    assert settings.traits is not None and settings.trait is not None
    return trait_of(
        read_traits(settings.traits, settings.sample_column),
        settings.trait,
        dosages.samples,
        covariates=settings.covariates,
        source=settings.traits.name,
        genotypes=dosages.name,
    )


def _of_draws(drawn: Drawn) -> str:
    return (
        f"probabilities are means over {len(drawn.files)} draws, each tested by linear regression of {drawn.trait.name} in "
        f"{numbered(drawn.trait.n_samples, 'sample')}; sets are of what half of the draws find; p and effects are those of the results"
    )


def _site_name(dosages: Dosages, j: int) -> str:
    site = dosages.sites.iloc[j]
    return site.id or f"{site.contig}:{site.pos}:{site.ref}:{site.alt}"


def _known_at(known: Stretches | None, contig: str, start: int, end: int) -> str:
    return "" if known is None else "; ".join(known.names_at(contig, start, end))


def _ranked(blocks: pd.DataFrame, table: pd.DataFrame, known: Stretches | None) -> pd.DataFrame:
    """Return the blocks that hold sites of the loci, ranked by the PIP in them."""
    rows = []
    by_block = dict(tuple(table.groupby("block")))
    for block in blocks.itertuples(index=False):
        sites = by_block.get(block.block)
        if sites is None:
            continue
        lead = sites.loc[sites.pip.idxmax()]
        genes = ",".join(dict.fromkeys(gene for gene in sites.gene[sites.gene_distance == 0] if gene))
        rows.append(
            {
                "block": block.block,
                "contig": block.contig,
                "start": block.start,
                "end": block.end,
                "sites": len(sites),
                "pip": float(sites.pip.sum()),
                "lead": lead.rsid,
                "lead_pip": float(lead.pip),
                "known": _known_at(known, block.contig, block.start, block.end),
                "genes": genes,
            }
        )
    columns = ["block", "contig", "start", "end", "sites", "pip", "lead", "lead_pip", "known", "genes"]
    ranked = (
        pd.DataFrame(rows, columns=columns).sort_values("pip", ascending=False, kind="stable").reset_index(drop=True)
    )
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked


def _mismatches(loci: Sequence[Locus]) -> list[str]:
    """Return what is said of loci whose z scores and LD contradict each other, or that SuSiE did not finish."""
    notes = []
    for locus in loci:
        if locus.mismatch > MISMATCH:
            notes.append(
                f"{locus.name}: z scores and LD contradict each other (s = {locus.mismatch:.2f}; in the same samples it is near 0): "
                "sets may miss the causal site; take genotypes of the samples that were tested"
            )
        if locus.switched:
            few = ", ".join(locus.switched[:4])
            notes.append(
                f"{locus.name}: {numbered(len(locus.switched), 'site')} look as if alleles were exchanged: {few}"
            )
        if not locus.converged:
            notes.append(f"{locus.name}: SuSiE did not come to an end: take its sets with care")
    return notes
