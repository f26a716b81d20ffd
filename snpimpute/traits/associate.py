"""Association of a trait with each site: genotypes and trait table read, the model chosen, each site tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.io.filters import parse_regions
from snpimpute.traits.dosages import Dosages, read_dosages
from snpimpute.traits.gwas import genomic_inflation, gwas_table
from snpimpute.traits.models import mixed_model, regression
from snpimpute.traits.phenotypes import Trait, read_traits, trait_of
from snpimpute.traits.relatedness import components, relatedness_of

MODELS = ("auto", "linear", "logistic", "mixed")
GENOME_WIDE = 5e-8


@dataclass(frozen=True)
class AssociationSettings:
    """What is tested, and how.

    Attributes:
        genotypes: VCF, BCF or PLINK file.
        traits: table of traits.
        trait: column of the trait.
        covariates: columns of covariates.
        components: number of principal components of the genotypes that are covariates too.
        model: "auto", "linear", "logistic" or "mixed".
        region: sites tested, as `io.stream.streamed` takes it; None = all.
        min_maf: least MAF among the trait's samples.
        sample_column: the table's column of sample names; None as in `phenotypes.read_traits`.
        threads: of plink2.
    """

    genotypes: Path
    traits: Path
    trait: str
    covariates: tuple[str, ...] = ()
    components: int = 0
    model: str = "auto"
    region: str | None = None
    min_maf: float = 0.0
    sample_column: str | None = None
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Association:
    """Result of the tests.

    Attributes:
        settings: what was asked for.
        model: "linear", "logistic" or "mixed".
        why: the model was taken, in words.
        trait: the trait, its components among the covariates.
        table: tested sites, see `gwas.gwas_table`.
        dosages: of the tested sites, in the order of the table, and the trait's samples.
        inflation: genomic inflation.
        not_tested: sites of the region that could not be tested, as those that do not vary.
        notes: what was noticed of files, samples, sites.
    """

    settings: AssociationSettings
    model: str
    why: str
    trait: Trait
    table: pd.DataFrame
    dosages: Dosages
    inflation: float
    not_tested: int
    notes: tuple[str, ...]

    @property
    def lead(self) -> int:
        """Row of the table with the smallest p-value."""
        return int(np.nanargmax(self.table.neg_log_10_p_value))

    @property
    def significant(self) -> int:
        """Number of sites with p < 5e-8."""
        return int((self.table.neg_log_10_p_value > -np.log10(GENOME_WIDE)).sum())


def associate(settings: AssociationSettings, watch: Watch) -> Association:
    """Test each site of a genotype file for an effect on a trait.

    Args:
        settings: what is tested, and how.
        watch: receives the stages.

    Raises:
        InputError: see `phenotypes.trait_of`, `dosages.read_dosages`, `models`; also a model that does not fit the trait, or a
            region without sites.
    """
    if settings.model not in MODELS:
        raise InputError(f"--model {settings.model} is not known: give one of {', '.join(MODELS)}")
    watch.stage("reading genotypes and traits")
    table = read_traits(settings.traits, settings.sample_column)
    alone = settings.model in ("linear", "logistic") and not settings.components  # nothing is asked of other sites
    whole = read_dosages(settings.genotypes, region=settings.region if alone else None)
    trait = trait_of(
        table,
        settings.trait,
        whole.samples,
        covariates=settings.covariates,
        source=settings.traits.name,
        genotypes=whole.name,
    )
    whole = whole.take_samples(trait.rows)
    notes = [*whole.notes, *trait.notes]
    if settings.model == "logistic" and not trait.binary:
        raise InputError(f"--model logistic needs a binary trait, coded 0/1 or 1/2, and {trait.name} is none")
    tested = sites_in(whole, settings.region)
    tested &= whole.varies() & (np.nan_to_num(whole.maf()) >= settings.min_maf)
    if not tested.any():
        raise InputError(
            f"{whole.name} has no site to test: none varies among {numbered(trait.n_samples, 'sample')}, or --min-maf leaves none"
        )
    watch.stage("relationship of the samples")
    model, why = settings.model, "asked for"
    if settings.model == "auto" or settings.components:
        relatedness = relatedness_of(whole)
        if settings.model == "auto":
            model = "mixed" if relatedness.many else "logistic" if trait.binary else "linear"
            why = relatedness.sentence()
        if settings.components:
            if settings.components >= trait.n_samples:
                raise InputError(f"--pcs {settings.components} is too many for {numbered(trait.n_samples, 'sample')}")
            found = components(relatedness.matrix, settings.components)
            names = [f"PC{i}" for i in range(1, settings.components + 1)]
            trait = trait.with_covariates(found, names, f"{settings.components} principal components")
    watch.stage(f"testing {numbered(int(tested.sum()), 'site')}")
    if model == "mixed":
        results, parts = mixed_model(whole, trait, tested, watch.progress)
        notes.append(_left_out(parts))
        if trait.binary:
            notes.append(
                f"{trait.name} is tested as the numbers 0 and 1: effects are differences of risk, not odds ratios"
            )
        results = results[tested].reset_index(drop=True)
        dosages = whole.take_sites(tested)
    else:
        if model == "linear" and trait.binary:
            notes.append(
                f"{trait.name} is tested as the numbers 0 and 1: effects are differences of risk, not odds ratios"
            )
        dosages = whole.take_sites(tested)
        results = regression(dosages, trait, settings.threads, logistic=model == "logistic")
    there = results.beta.notna().to_numpy()
    if not there.any():
        raise InputError(f"{whole.name}: no site could be tested for {trait.name}: each follows from the covariates")
    in_region = int(sites_in(whole, settings.region).sum())
    result = gwas_table(dosages, results)
    return Association(
        settings,
        model,
        why,
        trait,
        result,
        dosages.take_sites(there),
        genomic_inflation(result.neg_log_10_p_value.to_numpy()),
        in_region - len(result),
        tuple(notes),
    )


def sites_in(dosages: Dosages, region: str | None) -> np.ndarray:
    """Return which sites are in a region, bool (n_sites,); all without one.

    Raises:
        InputError: the region is malformed, or has no site.
    """
    if region is None:
        return np.ones(dosages.n_sites, dtype=bool)
    contig, pos = dosages.sites.contig, dosages.sites.pos
    inside = np.any([part.holds(contig, pos) for part in parse_regions(region)], axis=0)
    if not inside.any():
        first, last = dosages.sites.iloc[0], dosages.sites.iloc[-1]
        raise InputError(
            f"{dosages.name} has no site in {region}: its sites are from {first.contig}:{first.pos} to {last.contig}:{last.pos}"
        )
    return inside


def _left_out(parts: Sequence[str]) -> str:
    """Return what is said of the relationship that the mixed model was given."""
    if len(parts) == 1:
        return f"the relationship leaves out {parts[0]}"
    return f"the relationship leaves out what is tested: {parts[0]} to {parts[-1]}, one after the other"
