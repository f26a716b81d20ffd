"""Simulated bulls of several breeds, with genotypes called from simulated reads: the default dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix

DEFAULT_SEED = 1
# (generations ago, effective size from then back) of Holstein-Friesian cattle: MacLeod et al. 2013
# (doi 10.1093/molbev/mst125, figure 4A, table S1), as listed by stdpopsim (BosTau, HolsteinFriesian_1M13).
HOLSTEIN_HISTORY = (
    (0, 90),
    (4, 120),
    (7, 250),
    (13, 350),
    (19, 1_000),
    (25, 1_500),
    (155, 2_000),
    (455, 2_500),
    (655, 3_500),
    (1_755, 7_000),
    (2_355, 10_000),
    (3_355, 17_000),
    (33_155, 62_000),
)
EM_STEPS = 30
ANCESTRAL = "ancestral"
BASES = np.array(list("ACGT"))


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Breed(_Settings):
    """Settings of a simulated breed.

    Attributes:
        name: label in the column `group` of the sample table; letters, digits and _ only.
        weight: share of the bulls, relative to the other breeds.
        relative_size: effective size since the split, as a multiple of the Holstein history.
    """

    name: str = Field(pattern=r"^[A-Za-z]\w*$")
    weight: float = Field(gt=0)
    relative_size: float = Field(default=3.0, ge=0.1)


class SimulationSettings(_Settings):
    """Settings of the simulation; the defaults give the documented dataset.

    Attributes:
        n_samples: number of bulls.
        n_sites: called sites kept, the first ones of the region.
        breeds: two or more breeds.
        split_generation: generations ago at which one population split into the breeds.
        cohorts: generations of bulls; the sires of the first are not in the data, those of later ones are.
        sons_per_sire: mean number of sons; a sire's share of a cohort is drawn from an exponential distribution.
        contig: name of the contig.
        region_bp: length of the simulated region, from position 1 on.
        mutation_rate: per base and generation (Harland et al. 2017).
        recombination_rate: per base and generation (Ma et al. 2015).
        depth: mean of the Poisson number of reads that cover a site in a sample.
        error_rate: probability that a read shows the other allele.
        min_maf: least MAF of the called genotypes; other sites are left out.
    """

    n_samples: int = Field(default=928, ge=10)
    n_sites: int = Field(default=500, ge=10)
    breeds: tuple[Breed, ...] = Field(
        default=(
            Breed(name="breedA", weight=0.30),
            Breed(name="breedB", weight=0.20),
            Breed(name="breedC", weight=0.20),
            Breed(name="breedD", weight=0.15),
            Breed(name="breedE", weight=0.15),
        ),
        min_length=2,
    )
    split_generation: int = Field(default=1_100, ge=1)
    cohorts: int = Field(default=3, ge=1)
    sons_per_sire: float = Field(default=15.0, ge=1)
    contig: str = Field(default="28", min_length=1)
    region_bp: int = Field(default=300_000, ge=1_000)
    mutation_rate: float = Field(default=1.2e-8, gt=0, lt=1e-4)
    recombination_rate: float = Field(default=9.26e-9, ge=0, lt=1e-4)
    depth: float = Field(default=6.0, gt=0, le=500)
    error_rate: float = Field(default=0.005, gt=0, lt=0.5)
    min_maf: float = Field(default=0.001, gt=0, lt=0.5)

    @model_validator(mode="after")
    def _breeds_hold_bulls(self) -> SimulationSettings:
        names = [breed.name for breed in self.breeds]
        if len(set(names)) < len(names) or ANCESTRAL in names:
            raise ValueError(f"breeds need names of their own, none of them {ANCESTRAL!r}")
        if min(_breed_sizes(self)) < self.cohorts:
            raise ValueError(f"{self.n_samples} samples leave a breed without a bull in each of {self.cohorts} cohorts")
        return self


@dataclass(frozen=True, eq=False)
class SimulatedPanel:
    """Simulated bulls: called and true genotypes of the same samples and sites.

    Attributes:
        called: genotypes called from simulated reads, as a user would have them: unphased, complete.
        true: genotypes that the reads were drawn from, with haplotypes (first the sire's, then the dam's).
    """

    called: GenotypeMatrix
    true: GenotypeMatrix


def parse_settings(table: Mapping[str, Any]) -> SimulationSettings:
    """Return SimulationSettings from a plain table; InputError in one line if a key or value is wrong."""
    try:
        return SimulationSettings.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"simulation: {f'setting {key!r}: ' if key else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from None


def simulate_bulls(settings: SimulationSettings | None = None, seed: int = DEFAULT_SEED) -> SimulatedPanel:
    """Simulate bulls of several breeds, most of them sons of a few sires, and call their genotypes from reads.

    msprime (Baumdicker et al. 2022) simulates the founders' haplotypes under a demography of several breeds; a pedigree
    of a few generations hands them down; reads are drawn from the bulls' true genotypes, and genotypes are called from
    them.

    Args:
        settings: the defaults if None.
        seed: seed of every random choice; equal settings and seeds give equal results.

    Returns:
        The panel; the sample table holds breed (`group`), sire (`family`), sex "M" and `birth_order` (1 = oldest).

    Raises:
        InputError: the region holds fewer sites than asked for.
    """
    settings = settings or SimulationSettings()
    rng = np.random.default_rng(seed)
    pedigree = _draw_pedigree(settings, rng)
    founders, positions = _founder_haplotypes(settings, pedigree, rng)
    haplotypes = _hand_down(founders, positions, pedigree, settings, rng)
    genotypes = haplotypes.sum(axis=2, dtype=np.int8)
    calls = _call_from_reads(genotypes, settings, rng)

    frequency = calls.mean(axis=0) / 2
    passing = np.flatnonzero(np.minimum(frequency, 1 - frequency) >= settings.min_maf)
    if len(passing) < settings.n_sites:
        raise InputError(
            f"simulation: {settings.region_bp} bp hold {len(passing)} sites with a called MAF of {settings.min_maf:g} "
            f"or more, {settings.n_sites} were asked for; raise region_bp or lower n_sites"
        )
    kept = passing[: settings.n_sites]
    samples = pedigree.loc[:, ["sample", "group", "family", "sex", "birth_order"]]
    sites = _site_table(positions[kept], settings, rng)
    return SimulatedPanel(
        called=GenotypeMatrix(calls[:, kept], samples, sites),
        true=GenotypeMatrix(genotypes[:, kept], samples, sites, haplotypes[:, kept]),
    )


def _breed_sizes(settings: SimulationSettings) -> list[int]:
    """Return the number of bulls of each breed: shares of n_samples by weight, rounded so that they sum to it."""
    weights = np.array([breed.weight for breed in settings.breeds])
    ends = np.round(np.cumsum(weights) / weights.sum() * settings.n_samples).astype(int)
    return np.diff(ends, prepend=0).tolist()


def _draw_pedigree(settings: SimulationSettings, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the pedigree: one row per bull, oldest first, with the sample table's columns and `sire`.

    `sire` is the row of the sire, or -1 - k for founder k.

    A cohort of a breed descends from a few sires, drawn with unequal popularity from the cohort before (founders
    outside the data for the first cohort). Each bull has a dam of his own.
    """
    rows: list[tuple[str, int]] = []
    n_founder_sires = 0
    parents: dict[str, np.ndarray] = {}
    for cohort in range(settings.cohorts):
        born = []
        for breed, size in zip(settings.breeds, _breed_sizes(settings), strict=True):
            n = size * (cohort + 1) // settings.cohorts - size * cohort // settings.cohorts
            n_sires = max(round(n / settings.sons_per_sire), 2)
            if cohort == 0:
                sires = -1 - np.arange(n_founder_sires, n_founder_sires + n_sires)
                n_founder_sires += n_sires
            else:
                sires = rng.choice(parents[breed.name], size=min(n_sires, len(parents[breed.name])), replace=False)
            popularity = rng.exponential(size=len(sires))
            born += [(breed.name, int(sire)) for sire in rng.choice(sires, size=n, p=popularity / popularity.sum())]
        order = rng.permutation(len(born))
        first = len(rows)
        rows += [born[i] for i in order]
        groups = np.array([group for group, _ in rows])
        parents = {b.name: first + np.flatnonzero(groups[first:] == b.name) for b in settings.breeds}
    table = pd.DataFrame(rows, columns=["group", "sire"])
    width = len(str(len(table)))
    table["sample"] = [f"bull{i:0{width}d}" for i in range(1, len(table) + 1)]
    table["family"] = [table["sample"][s] if s >= 0 else f"sire{-s:0{width}d}" for s in table["sire"]]
    table["sex"] = "M"
    table["birth_order"] = np.arange(1.0, len(table) + 1)
    return table


def _founder_haplotypes(
    settings: SimulationSettings, pedigree: pd.DataFrame, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate the founders' haplotypes at the biallelic sites of the region.

    Returns:
        int8 (n_haplotypes, n_sites), 0 = the allele more common among the founders: first one of each bull's dam, then
        two of each founder sire; and int (n_sites,), positions, 0-based.
    """
    import msprime

    founder_sires = pedigree.loc[pedigree["sire"] < 0, ["sire", "group"]].drop_duplicates("sire")
    n_sires = -int(pedigree["sire"].min())
    group_of_sire = dict(zip(founder_sires["sire"], founder_sires["group"], strict=True))
    # A sire without sons still has a number; its breed does not matter, as it hands nothing down.
    sire_groups = [group_of_sire.get(-1 - k, settings.breeds[0].name) for k in range(n_sires)]
    groups = np.concatenate([pedigree["group"], np.repeat(sire_groups, 2)])
    ancestry = msprime.sim_ancestry(
        samples=[msprime.SampleSet(1, population=group, ploidy=1) for group in groups],
        demography=_demography(settings),
        sequence_length=settings.region_bp,
        recombination_rate=settings.recombination_rate,
        ploidy=2,
        # With more sampled haplotypes than a breed has parents, only Wright-Fisher generations are right; for the
        # distant past the coalescent is right too, and faster.
        model=[msprime.DiscreteTimeWrightFisher(duration=50), msprime.StandardCoalescent()],
        random_seed=int(rng.integers(1, 2**31)),
    )
    mutated = msprime.sim_mutations(ancestry, rate=settings.mutation_rate, random_seed=int(rng.integers(1, 2**31)))
    biallelic = np.array([len(site.alleles) == 2 for site in mutated.sites()], dtype=bool)
    alleles = mutated.genotype_matrix()[biallelic].T.astype(np.int8)
    derived_is_common = alleles.mean(axis=0) > 0.5
    return alleles ^ derived_is_common, mutated.sites_position[biallelic].astype(np.int64)


def _demography(settings: SimulationSettings) -> Any:
    """Return the msprime.Demography: breeds with the scaled Holstein history that split from one population."""
    import msprime

    demography = msprime.Demography()
    for breed in settings.breeds:
        demography.add_population(name=breed.name, initial_size=HOLSTEIN_HISTORY[0][1] * breed.relative_size)
    size_at_split = [size for start, size in HOLSTEIN_HISTORY if start <= settings.split_generation][-1]
    demography.add_population(name=ANCESTRAL, initial_size=size_at_split)
    for start, size in HOLSTEIN_HISTORY[1:]:
        if start < settings.split_generation:
            for breed in settings.breeds:
                demography.add_population_parameters_change(
                    time=start, population=breed.name, initial_size=size * breed.relative_size
                )
        elif start > settings.split_generation:
            demography.add_population_parameters_change(time=start, population=ANCESTRAL, initial_size=size)
    demography.add_population_split(
        time=settings.split_generation, derived=[breed.name for breed in settings.breeds], ancestral=ANCESTRAL
    )
    demography.sort_events()
    return demography


def _hand_down(
    founders: np.ndarray,
    positions: np.ndarray,
    pedigree: pd.DataFrame,
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw each bull's haplotypes, int8 (n_samples, n_sites, 2): the one from his sire and the one from his dam."""
    n_samples, n_sites = len(pedigree), founders.shape[1]
    founder_sires = founders[n_samples:].reshape(-1, 2, n_sites)
    bulls = np.empty((n_samples, n_sites, 2), dtype=np.int8)
    for i, sire in enumerate(pedigree["sire"]):
        parental = bulls[sire].T if sire >= 0 else founder_sires[-1 - sire]
        crossovers = rng.uniform(0, settings.region_bp, rng.poisson(settings.recombination_rate * settings.region_bp))
        strand = (rng.integers(2) + np.searchsorted(np.sort(crossovers), positions)) % 2
        bulls[i, :, 0] = parental[strand, np.arange(n_sites)]
        bulls[i, :, 1] = founders[i]
    return bulls


def _call_from_reads(genotypes: np.ndarray, settings: SimulationSettings, rng: np.random.Generator) -> np.ndarray:
    """Simulate reads and call the most probable genotype at every sample and site, int8 (n_samples, n_sites).

    The prior is Hardy-Weinberg proportions at the site's allele frequency, estimated by expectation-maximisation over
    the reads of all samples (as in Li 2011, doi 10.1093/bioinformatics/btr509). A sample without reads at a site gets
    the mode of the prior.
    """
    shows_alt = np.array([settings.error_rate, 0.5, 1 - settings.error_rate])
    depth = rng.poisson(settings.depth, genotypes.shape)
    n_alt = rng.binomial(depth, shows_alt[genotypes])
    likelihood = np.stack([p**n_alt * (1 - p) ** (depth - n_alt) for p in shows_alt])
    frequency = np.full(genotypes.shape[1], 0.2)
    for _ in range(EM_STEPS):
        prior = np.stack([(1 - frequency) ** 2, 2 * frequency * (1 - frequency), frequency**2])[:, None, :]
        posterior = likelihood * prior
        frequency = ((posterior[1] / 2 + posterior[2]) / posterior.sum(axis=0)).mean(axis=0)
    return posterior.argmax(axis=0).astype(np.int8)


def _site_table(positions: np.ndarray, settings: SimulationSettings, rng: np.random.Generator) -> pd.DataFrame:
    """Return the sites table with random bases, as the simulation knows only two alleles, not which bases."""
    ref = rng.integers(4, size=len(positions))
    alt = (ref + rng.integers(1, 4, size=len(positions))) % 4
    pos = positions + 1
    return pd.DataFrame(
        {
            "contig": settings.contig,
            "pos": pos,
            "id": [f"{settings.contig}_{p}" for p in pos],
            "ref": BASES[ref],
            "alt": BASES[alt],
        }
    )
