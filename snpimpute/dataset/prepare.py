"""From an experiment's data settings to a prepared dataset: read, filter, split by sample, choose what is hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
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
from snpimpute.io.samples import PARENTS, attach_samples, read_pedigree, read_samples

# so that the draws of one seed are independent of each other
TEST_SPLIT, VALIDATION_SPLIT, TEST_MASKS, VALIDATION_MASKS, SAMPLES, REGIONS = 11, 12, 13, 14, 15, 16


def build_dataset(name: str, settings: DataSettings, seed: int, headline_level: float) -> PreparedDataset:
    """Make the dataset that `settings` describe.

    Args:
        name: of the dataset.
        settings: where the genotypes come from, filters, split, scenarios.
        seed: of simulation, splits and masks.
        headline_level: percent missing (the nearest level there is) whose first mask is that of the headline tables.

    Raises:
        InputError: input that can't be used (says what and where).
    """
    true_test: GenotypeMatrix | None = None
    if settings.train is not None and settings.test is not None:
        train, test, left_out = _read_split(settings.train, settings.test, settings)
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
        if settings.max_samples is not None:
            drawn = np.random.default_rng(seed * 100 + SAMPLES).permutation(matrix.n_samples)[: settings.max_samples]
            matrix = matrix.take_samples(np.sort(drawn))
            true = true and true.take_samples(np.sort(drawn))
        if settings.regions is not None:
            regions = cut_regions(matrix, **settings.regions.model_dump(), seed=seed * 100 + REGIONS)
            left_out = _with_reason(left_out, "outside the regions", matrix.n_sites - len(regions))
            matrix = _only(matrix, regions)
            true = true and _only(true, regions)
        matrix = _labelled(matrix, settings)
        n_test = _count(settings.split.test, matrix.n_samples)
        is_test = split_samples(matrix.samples, n_test, settings.split.scheme, seed * 100 + TEST_SPLIT)
        train, test = matrix.take_samples(~is_test), matrix.take_samples(is_test)
        true_test = None if true is None else true.take_samples(is_test)
    train, test = _related(train, test, settings)
    if true_test is not None:
        true_test = replace(true_test, samples=test.samples)
    held_out = split_samples(
        train.samples,
        _count(settings.split.validation, train.n_samples),
        settings.split.scheme,
        seed * 100 + VALIDATION_SPLIT,
    )
    scenarios, headline = _scenarios(train, test, held_out, settings, seed, headline_level)
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
    train_file: Path, test_file: Path, settings: DataSettings
) -> tuple[GenotypeMatrix, GenotypeMatrix, pd.DataFrame]:
    """Train and test given as two files of the same sites, each with its own phase, and what was left out of both."""
    train, left_out = read_matrix(train_file, region=settings.region, max_sites=settings.max_sites)
    test, _ = read_matrix(test_file, region=settings.region, max_sites=settings.max_sites)
    require_same_sites(train.sites, test.sites, f"the train file {train_file}")
    shared = set(train.names) & set(test.names)
    if shared:
        raise InputError(
            f"sample {min(shared)} is in both {train_file} and {test_file}: no test sample may be learned from"
        )
    calls = np.concatenate([train.calls, test.calls])
    everyone = GenotypeMatrix(calls, pd.concat([train.samples, test.samples], ignore_index=True), train.sites)
    kept, left_out = apply_filter(everyone, SiteFilter(**settings.filter.model_dump()), left_out)
    require_enough_sites(kept, left_out, f"{train_file} with {test_file}")
    labels = _labelled(kept, settings).samples
    columns = np.isin(train.site_keys(), kept.site_keys())
    parts = [part.take_sites(columns) for part in (train, test)]
    rows = (slice(0, train.n_samples), slice(train.n_samples, None))
    train, test = (
        replace(part, samples=labels.iloc[r].reset_index(drop=True)) for part, r in zip(parts, rows, strict=True)
    )
    return train, test, left_out


def _only(matrix: GenotypeMatrix, regions: pd.DataFrame) -> GenotypeMatrix:
    """The matrix at the sites of its regions, under the names of these (see cut_regions)."""
    return replace(matrix.take_sites(regions.index), sites=regions.reset_index(drop=True))


def _with_reason(left_out: pd.DataFrame, reason: str, n: int) -> pd.DataFrame:
    """The table of what was left out with one more reason, at the cost of the sites kept."""
    counts = left_out.set_index("reason")["n"]
    counts["kept"] -= n
    last = counts.pop("kept")
    return pd.concat([counts, pd.Series({reason: n, "kept": last})]).rename_axis("reason").reset_index(name="n")


def _labelled(matrix: GenotypeMatrix, settings: DataSettings) -> GenotypeMatrix:
    """The matrix with what the sample table and the pedigree say of its samples, where there is one.

    Where nothing names a family, the offspring of a sire are one.
    """
    if settings.samples is not None:
        matrix = attach_samples(matrix, read_samples(settings.samples))
    if settings.pedigree is not None:
        pedigree = read_pedigree(settings.pedigree)
        matrix = attach_samples(matrix, pedigree[pedigree["sample"].isin(matrix.names)])
    samples = matrix.samples
    if "sire" in samples and ("family" not in samples or (samples["family"] == "").all()):
        samples = samples.assign(family=samples["sire"])
    return replace(matrix, samples=samples)


def _related(
    train: GenotypeMatrix, test: GenotypeMatrix, settings: DataSettings
) -> tuple[GenotypeMatrix, GenotypeMatrix]:
    """Train and test with the column `relationship`: of test samples the closest to train, NaN for the others.

    The parents are those of the pedigree, else of the sample table; both matrices as they are where neither names any.
    """
    if settings.pedigree is not None:
        pedigree = read_pedigree(settings.pedigree)
    elif set(PARENTS) <= set(train.samples.columns):
        pedigree = pd.concat([train.samples, test.samples])
    else:
        return train, test
    closest = closest_relationship(pedigree, test.names, train.names).round(4)  # as text it reads back the same
    return (
        replace(train, samples=train.samples.assign(relationship=np.nan)),
        replace(test, samples=test.samples.assign(relationship=closest)),
    )


def _count(share_or_count: float, n: int) -> int:
    """Number of samples held out: a share below 1 of `n`, or the count itself."""
    return max(1, round(share_or_count * n)) if share_or_count < 1 else round(share_or_count)


def _scenarios(
    train: GenotypeMatrix,
    test: GenotypeMatrix,
    held_out: np.ndarray,
    settings: DataSettings,
    seed: int,
    headline_level: float,
) -> tuple[tuple[Scenario, ...], str]:
    """All scenarios, and the key of the headline's: the first mechanism's first mask at the headline level.

    Where it hides whole sites, the fixed training mask hides them too, and all nested masks run through it: below that
    level they lie within the columns that networks of the fixed policy were trained on, above it they hold them all.
    """
    wanted = settings.scenarios
    test_seed, validation_seed = seed * 100 + TEST_MASKS, seed * 100 + VALIDATION_MASKS
    headline: Scenario | None = None
    scenarios: list[Scenario] = []
    for mechanism in wanted.mechanisms:
        through = None if headline is None or headline.by_call else headline.hidden
        masks = MECHANISMS[mechanism].draw(Draw(train, test, wanted, headline_level, through, test_seed))
        made = [Scenario("test", mechanism, level, repeat, hidden) for (level, repeat), hidden in masks]
        headline = headline or min(made, key=lambda s: (abs(s.level - headline_level), s.repeat))
        scenarios += made
    if headline is None:
        raise InputError('no mechanism is named in scenarios.mechanisms: give one, as in ["independent"]')
    judged_by = "entries" if all(scenario.by_call for scenario in scenarios) else "independent"
    if judged_by == "entries":
        masks = call_masks(int(held_out.sum()), train, VALIDATION_CALL_LEVELS, 1, judged_by, validation_seed)
    else:
        masks = site_masks(train.n_sites, VALIDATION_LEVELS, 1, "independent", validation_seed).items()
    scenarios += [Scenario("validation", judged_by, level, 0, hidden) for (level, _), hidden in masks]
    return tuple(scenarios), headline.key
