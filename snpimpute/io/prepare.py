"""From an experiment's data settings to a prepared dataset: read, filter, split by sample, choose what is hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.config import SIMULATED, DataSettings
from snpimpute.errors import InputError
from snpimpute.genotypes import GenotypeMatrix, require_same_sites
from snpimpute.io.dataset import PreparedDataset, read_masked_sites
from snpimpute.io.filters import SiteFilter, apply_filter
from snpimpute.io.read import read_genotypes, require_enough_sites
from snpimpute.io.samples import attach_samples, read_samples
from snpimpute.io.simulate import parse_settings, simulate_bulls
from snpimpute.io.vcf import read_vcf
from snpimpute.masking import VALIDATION_LEVELS, Scenario, site_masks, split_samples

# so that the draws of one seed are independent of each other
TEST_SPLIT, VALIDATION_SPLIT, TEST_MASKS, VALIDATION_MASKS = 11, 12, 13, 14


def build_dataset(name: str, settings: DataSettings, seed: int, headline_level: float) -> PreparedDataset:
    """Make the dataset that `settings` describe.

    Args:
        name: of the dataset.
        settings: where the genotypes come from, filters, split, scenarios.
        seed: of simulation, splits and masks.
        headline_level: percent missing (the nearest level there is) whose first mask is the fixed training mask.

    Raises:
        InputError: input that can't be used (says what and where).
    """
    true: GenotypeMatrix | None = None
    if settings.train is not None and settings.test is not None:
        matrix, left_out, is_test = _read_split(settings)
    else:
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
        if settings.samples is not None:
            matrix = attach_samples(matrix, read_samples(settings.samples))
        n_test = _count(settings.split.test, matrix.n_samples)
        is_test = split_samples(matrix.samples, n_test, settings.split.scheme, seed * 100 + TEST_SPLIT)
    train = matrix.take_samples(~is_test)
    held_out = split_samples(
        train.samples,
        _count(settings.split.validation, train.n_samples),
        settings.split.scheme,
        seed * 100 + VALIDATION_SPLIT,
    )
    scenarios, headline = _scenarios(matrix.sites, settings, seed, headline_level)
    return PreparedDataset(
        name=name,
        train=train,
        test=matrix.take_samples(is_test),
        held_out=held_out,
        scenarios=scenarios,
        left_out=left_out,
        settings={**settings.model_dump(mode="json"), "seed": seed},
        headline=headline,
        true_test=None if true is None else true.take_samples(is_test),
    )


def _read_split(settings: DataSettings) -> tuple[GenotypeMatrix, pd.DataFrame, np.ndarray]:
    """Train and test given as two files of the same sites: one matrix, what was left out, bool (n_samples,) is test."""
    site_filter = SiteFilter(**settings.filter.model_dump())
    train_file, test_file = Path(str(settings.train)), Path(str(settings.test))
    train, left_out = read_vcf(train_file, region=settings.region, max_sites=settings.max_sites)
    test, _ = read_vcf(test_file, region=settings.region, max_sites=settings.max_sites)
    require_same_sites(train.sites, test.sites, f"the train file {train_file}")
    shared = set(train.names) & set(test.names)
    if shared:
        raise InputError(
            f"sample {min(shared)} is in both {settings.train} and {settings.test}: a test sample must not be learned from"
        )
    both = train.haplotypes is not None and test.haplotypes is not None
    matrix = GenotypeMatrix(
        np.concatenate([train.calls, test.calls]),
        pd.concat([train.samples, test.samples], ignore_index=True),
        train.sites,
        np.concatenate([train.haplotypes, test.haplotypes]) if both else None,
    )
    if settings.samples is not None:
        matrix = attach_samples(matrix, read_samples(settings.samples))
    matrix, left_out = apply_filter(matrix, site_filter, left_out)
    require_enough_sites(matrix, left_out, f"{train_file} with {test_file}")
    return matrix, left_out, np.arange(matrix.n_samples) >= train.n_samples


def _count(share_or_count: float, n: int) -> int:
    """Number of samples held out: a share below 1 of `n`, or the count itself."""
    return max(1, round(share_or_count * n)) if share_or_count < 1 else round(share_or_count)


def _scenarios(
    sites: pd.DataFrame, settings: DataSettings, seed: int, headline_level: float
) -> tuple[tuple[Scenario, ...], str]:
    """All scenarios, and the key of the one whose columns the fixed training mask hides.

    The first mechanism's first mask at the headline level is that one; the first nested masks run through it, so that
    one nested set of masks lies along the columns that networks of the fixed policy were trained on.
    """
    wanted = settings.scenarios
    n_sites = len(sites)
    from_file = read_masked_sites(wanted.masks, sites) if wanted.masks else {}
    levels = tuple(from_file) if wanted.mechanisms == ("file",) else wanted.levels
    test_seed = seed * 100 + TEST_MASKS
    headline: Scenario | None = None
    scenarios: list[Scenario] = []
    for mechanism in wanted.mechanisms:
        if mechanism == "file":
            masks = {(level, 0): hidden for level, hidden in from_file.items()}
        else:
            first = None if headline is None else headline.hidden
            masks = site_masks(n_sites, levels, wanted.repeats, mechanism, test_seed, first)
        made = [Scenario("test", mechanism, level, repeat, hidden) for (level, repeat), hidden in masks.items()]
        headline = headline or min(made, key=lambda s: (abs(s.level - headline_level), s.repeat))
        scenarios += made
    if headline is None:
        raise InputError("no mechanism is named in scenarios.mechanisms: give independent, nested or file")
    validation = site_masks(n_sites, VALIDATION_LEVELS, 1, "independent", seed * 100 + VALIDATION_MASKS)
    scenarios += [Scenario("validation", "independent", level, 0, hidden) for (level, _), hidden in validation.items()]
    return tuple(scenarios), headline.key
