"""Preparing a dataset: read the genotypes, filter sites, split samples, draw the scenarios."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.dataset.masks import call_masks, site_masks
from snpimpute.dataset.mechanisms import MECHANISMS, Draw
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.regions import cut_regions
from snpimpute.dataset.scenarios import VALIDATION_CALL_LEVELS, VALIDATION_LEVELS, Scenario
from snpimpute.dataset.settings import SIMULATED, DataSettings
from snpimpute.dataset.simulate import parse_settings, simulate_bulls
from snpimpute.dataset.splits import split_samples
from snpimpute.genotypes.matrix import GenotypeMatrix, require_same_sites
from snpimpute.genotypes.relationship import closest_relationship
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.matrix import read_genotypes, read_matrix, require_enough_sites
from snpimpute.io.samples import PARENTS, attach_samples, left_out_of, read_pedigree, read_samples

# Added to 100 times the seed: draws of different kinds are independent of each other.
TEST_SPLIT, VALIDATION_SPLIT, TEST_MASKS, VALIDATION_MASKS, SAMPLES, REGIONS = 11, 12, 13, 14, 15, 16


def build_dataset(
    name: str, settings: DataSettings, seed: int, headline_level: float, watch: Watch | None = None
) -> PreparedDataset:
    """Make the dataset that `settings` describe.

    Args:
        name: name of the dataset.
        settings: source of the genotypes, filters, split, scenarios.
        seed: seed of simulation, splits and masks.
        headline_level: percent missing; the headline tables use the first mask of the nearest level.
        watch: is told how many rows of the sample table have no genotypes.

    Raises:
        InputError: the input cannot be used (says what is wrong and where).
    """
    true_test: GenotypeMatrix | None = None
    watch = watch or Watch()
    if settings.train is not None and settings.test is not None:
        train, test, left_out = _read_split(settings.train, settings.test, settings, watch)
    else:
        true: GenotypeMatrix | None = None
        if settings.source == SIMULATED:
            bulls = simulate_bulls(parse_settings(settings.simulation), seed)
            matrix, true = bulls.called, bulls.true
            left_out = pd.DataFrame({"reason": ["kept"], "n": [matrix.n_sites]})
        else:
            matrix, left_out = read_genotypes(
                Path(settings.source),
                region=settings.region,
                site_filter=SiteFilter(**settings.filter.model_dump()),
                max_sites=settings.max_sites,
            )
        matrix = _with_labels(matrix, settings, watch)
        if settings.max_samples is not None:
            drawn = np.random.default_rng(seed * 100 + SAMPLES).permutation(matrix.n_samples)[: settings.max_samples]
            matrix = matrix.take_samples(np.sort(drawn))
            true = true and true.take_samples(np.sort(drawn))
        if settings.regions is not None:
            regions = cut_regions(matrix, **settings.regions.model_dump(), seed=seed * 100 + REGIONS)
            left_out = _with_reason(left_out, "outside the regions", matrix.n_sites - len(regions))
            matrix = _cut_to_regions(matrix, regions)
            true = true and _cut_to_regions(true, regions)
        n_test = _n_held_out(settings.split.test, matrix.n_samples)
        is_test = split_samples(matrix.samples, n_test, settings.split.scheme, seed * 100 + TEST_SPLIT)
        train, test = matrix.take_samples(~is_test), matrix.take_samples(is_test)
        true_test = None if true is None else true.take_samples(is_test)
    train, test = _with_relationship(train, test, settings)
    if true_test is not None:
        true_test = replace(true_test, samples=test.samples)
    held_out = split_samples(
        train.samples,
        _n_held_out(settings.split.validation, train.n_samples),
        settings.split.scheme,
        seed * 100 + VALIDATION_SPLIT,
    )
    scenarios, headline = _draw_scenarios(train, test, held_out, settings, seed, headline_level)
    return PreparedDataset(
        name=name,
        train=train,
        test=test,
        held_out=held_out,
        scenarios=scenarios,
        left_out=left_out,
        settings={**settings.model_dump(mode="json"), "seed": seed},
        headline=headline,
        true_test=true_test,
    )


def _read_split(
    train_file: Path, test_file: Path, settings: DataSettings, watch: Watch
) -> tuple[GenotypeMatrix, GenotypeMatrix, pd.DataFrame]:
    """Read train and test from two files of the same sites, each with its own phase, and count the left-out sites."""
    train, left_out = read_matrix(train_file, region=settings.region, max_sites=settings.max_sites)
    test, _ = read_matrix(test_file, region=settings.region, max_sites=settings.max_sites)
    require_same_sites(train.sites, test.sites, f"the train file {train_file}")
    shared = set(train.names) & set(test.names)
    if shared:
        raise InputError(
            f"sample {min(shared)} is in both {train_file} and {test_file}: no test sample may be learned from"
        )
    calls = np.concatenate([train.calls, test.calls])
    both = GenotypeMatrix(calls, pd.concat([train.samples, test.samples], ignore_index=True), train.sites)
    kept, left_out = apply_filter(both, SiteFilter(**settings.filter.model_dump()), left_out)
    require_enough_sites(kept, left_out, f"{train_file} with {test_file}")
    labels = _with_labels(kept, settings, watch).samples
    columns = np.isin(train.site_keys(), kept.site_keys())
    parts = [part.take_sites(columns) for part in (train, test)]
    rows = (slice(0, train.n_samples), slice(train.n_samples, None))
    train, test = (
        replace(part, samples=labels.iloc[r].reset_index(drop=True)) for part, r in zip(parts, rows, strict=True)
    )
    return train, test, left_out


def _cut_to_regions(matrix: GenotypeMatrix, regions: pd.DataFrame) -> GenotypeMatrix:
    """Return the matrix at the sites of its regions, each region a contig of its own (see cut_regions)."""
    return replace(matrix.take_sites(regions.index), sites=regions.reset_index(drop=True))


def _with_reason(left_out: pd.DataFrame, reason: str, n: int) -> pd.DataFrame:
    """Return the table of left-out sites with one more reason, whose sites are taken from those kept."""
    counts = left_out.set_index("reason")["n"]
    counts["kept"] -= n
    last = counts.pop("kept")
    return pd.concat([counts, pd.Series({reason: n, "kept": last})]).rename_axis("reason").reset_index(name="n")


def _with_labels(matrix: GenotypeMatrix, settings: DataSettings, watch: Watch) -> GenotypeMatrix:
    """Return the matrix with its samples' labels from the sample table and the pedigree, if given.

    If no file names families, the offspring of a sire are a family.
    """
    if settings.samples is not None:
        table = read_samples(settings.samples)
        files = [Path(settings.source)] if settings.train is None else [settings.train, settings.test or Path()]
        if others := left_out_of(table, matrix.names, " and ".join(file.name for file in files)):
            watch.warn(others)
        matrix = attach_samples(matrix, table)
    if settings.pedigree is not None:
        pedigree = read_pedigree(settings.pedigree)
        matrix = attach_samples(matrix, pedigree)
    samples = matrix.samples
    if "sire" in samples and ("family" not in samples or (samples["family"] == "").all()):
        samples = samples.assign(family=samples["sire"])
    return replace(matrix, samples=samples)


def _with_relationship(
    train: GenotypeMatrix, test: GenotypeMatrix, settings: DataSettings
) -> tuple[GenotypeMatrix, GenotypeMatrix]:
    """Return train and test with the column `relationship`: the closest to train of a test sample, else NaN.

    Parents come from the pedigree, else from the sample table; without either both matrices are returned unchanged.
    """
    if settings.pedigree is not None:
        pedigree = read_pedigree(settings.pedigree)
    elif set(PARENTS) <= set(train.samples.columns):
        pedigree = pd.concat([train.samples, test.samples])
    else:
        return train, test
    closest = closest_relationship(pedigree, test.names, train.names).round(
        4
    )  # rounded, it reads back from text unchanged
    return (
        replace(train, samples=train.samples.assign(relationship=np.nan)),
        replace(test, samples=test.samples.assign(relationship=closest)),
    )


def _n_held_out(share_or_count: float, n: int) -> int:
    """Return the number of samples to hold out: a share below 1 of `n`, or the count itself."""
    return max(1, round(share_or_count * n)) if share_or_count < 1 else round(share_or_count)


def _draw_scenarios(
    train: GenotypeMatrix,
    test: GenotypeMatrix,
    held_out: np.ndarray,
    settings: DataSettings,
    seed: int,
    headline_level: float,
) -> tuple[tuple[Scenario, ...], str]:
    """Draw all scenarios; return them and the key of the headline scenario.

    The headline scenario is the first mechanism's first mask at the headline level.

    If it hides whole sites, the fixed training mask hides the same sites, and all nested masks run through it: at lower
    levels they lie within the sites that networks of the fixed policy were trained on, at higher ones they contain
    them.
    """
    wanted = settings.scenarios
    test_seed, validation_seed = seed * 100 + TEST_MASKS, seed * 100 + VALIDATION_MASKS
    headline: Scenario | None = None
    scenarios: list[Scenario] = []
    for mechanism in wanted.mechanisms:
        through = None if headline is None or headline.by_call else headline.hidden
        masks = MECHANISMS[mechanism].draw(Draw(train, test, wanted, headline_level, through, test_seed))
        drawn = [Scenario("test", mechanism, level, repeat, hidden) for (level, repeat), hidden in masks]
        headline = headline or min(drawn, key=lambda s: (abs(s.level - headline_level), s.repeat))
        scenarios += drawn
    if headline is None:
        raise InputError('no mechanism is named in scenarios.mechanisms: give one, as in ["independent"]')
    validated_by = "entries" if all(scenario.by_call for scenario in scenarios) else "independent"
    if validated_by == "entries":
        masks = call_masks(int(held_out.sum()), train, VALIDATION_CALL_LEVELS, 1, validated_by, validation_seed)
    else:
        masks = site_masks(train.n_sites, VALIDATION_LEVELS, 1, "independent", validation_seed).items()
    scenarios += [Scenario("validation", validated_by, level, 0, hidden) for (level, _), hidden in masks]
    return tuple(scenarios), headline.key
