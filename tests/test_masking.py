"""Splits and masks: exact counts, nesting, seeds, the published training mask."""

import itertools

import numpy as np
import pandas as pd
import pytest

from snpimpute.errors import InputError
from snpimpute.masking import TrainingMask, site_masks, split_samples

LEVELS = (10.0, 30.0, 60.0, 95.0)


@pytest.mark.parametrize("mechanism", ["independent", "nested"])
def test_masks_hide_the_share_asked_for(mechanism):
    masks = site_masks(500, LEVELS, 3, mechanism, seed=4)
    assert {key: int(m.sum()) for key, m in masks.items()} == {
        (level, repeat): round(level * 5) for level in LEVELS for repeat in range(3)
    }


def test_nested_masks_lie_in_each_other_and_repeats_differ():
    masks = site_masks(500, LEVELS, 2, "nested", seed=4)
    for repeat in range(2):
        for low, high in itertools.pairwise(LEVELS):
            assert not (masks[low, repeat] & ~masks[high, repeat]).any()
    assert (masks[60.0, 0] != masks[60.0, 1]).any()


def test_independent_masks_overlap_as_chance_has_it():
    masks = site_masks(2000, (50.0, 60.0), 1, "independent", seed=4)
    shared = (masks[50.0, 0] & masks[60.0, 0]).sum()
    assert abs(shared - 600) < 4 * np.sqrt(2000 * 0.25)


def test_all_nested_masks_run_through_a_given_one():
    through = site_masks(200, (60.0,), 1, "independent", seed=9)[60.0, 0]
    masks = site_masks(200, LEVELS, 3, "nested", seed=4, through=through)
    assert [key for key in masks if key[0] == 60.0] == [(60.0, 0)]
    assert (masks[60.0, 0] == through).all()
    for repeat in range(3):
        assert not (masks[30.0, repeat] & ~through).any()
        assert (masks[95.0, repeat] | ~through).all()
    assert (masks[30.0, 0] != masks[30.0, 1]).any()


def test_tiny_data_keeps_a_site_hidden_and_a_site_seen():
    masks = site_masks(10, (1.0, 99.0), 1, "independent", seed=1)
    assert masks[1.0, 0].sum() == 1
    assert masks[99.0, 0].sum() == 9


def samples(n: int = 100) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample": [f"s{i}" for i in range(n)],
            "family": [f"f{i // 10}" if i < 90 else "" for i in range(n)],
            "group": ["a" if i % 3 else "b" for i in range(n)],
            "birth_order": np.arange(n)[::-1].astype(float),
        }
    )


def test_random_split_is_exact_and_seeded():
    held = split_samples(samples(), 20, "random", seed=3)
    assert held.sum() == 20
    assert (held == split_samples(samples(), 20, "random", seed=3)).all()
    assert (held != split_samples(samples(), 20, "random", seed=4)).any()


def test_families_stay_together():
    held = split_samples(samples(), 35, "family", seed=3)
    by_family = pd.Series(held).groupby(samples()["family"]).agg(["min", "max"]).drop("")
    assert (by_family["min"] == by_family["max"]).all()
    assert 25 <= held.sum() <= 35


def test_a_group_is_held_out_whole():
    held = split_samples(samples(), 40, "group", seed=1)
    assert samples()["group"][held].nunique() == 1
    assert samples()["group"][~held].nunique() == 1


def test_youngest_are_held_out():
    assert np.flatnonzero(split_samples(samples(), 10, "youngest", seed=1)).tolist() == list(range(10))


def test_a_split_without_its_column_is_refused():
    with pytest.raises(InputError, match="'family'"):
        split_samples(samples()[["sample"]], 10, "family", seed=1)
    with pytest.raises(InputError, match="at least one sample on each side"):
        split_samples(samples(), 100, "random", seed=1)


def test_fixed_training_mask_is_the_published_one():
    rng = np.random.default_rng(0)
    calls = rng.choice([0, 1, 2], p=[0.75, 0.2, 0.05], size=(200, 50)).astype(np.int8)
    sites = np.zeros(50, dtype=bool)
    sites[:30] = True
    hidden = TrainingMask("fixed", sites=sites).draw_fixed(calls, (1.5, 2.0), seed=1)
    assert hidden[:, sites].all()
    inside = {g: int((calls[:, sites] == g).sum()) for g in (0, 1, 2)}
    total = {g: int((hidden & (calls == g)).sum()) for g in (0, 1, 2)}
    assert total[0] == inside[0]
    assert total[1] == round(1.5 * inside[1])
    assert total[2] == inside[2] + min(inside[2], int((calls[:, ~sites] == 2).sum()))
    plain = TrainingMask("fixed", sites=sites).draw_fixed(calls, (1.0, 1.0), seed=1)
    assert (plain == np.broadcast_to(sites, calls.shape)).all()


def test_the_extra_calls_are_capped_at_the_count_of_genotype_0():
    calls = np.ones((40, 20), dtype=np.int8)
    calls[:, :2] = 0
    sites = np.zeros(20, dtype=bool)
    sites[1:3] = True
    hidden = TrainingMask("fixed", sites=sites).draw_fixed(calls, (3.0, 3.0), seed=1)
    assert (hidden & (calls == 1)).sum() == 40


def test_random_training_masks_span_their_levels():
    mask = TrainingMask("random", levels=(20.0, 80.0))
    hidden = mask.draw_random(4000, 100, np.random.default_rng(1))
    share = hidden.mean(axis=1)
    assert share.min() >= 0.20 and share.max() <= 0.80
    assert abs(share.mean() - 0.5) < 0.01
    assert np.ptp(hidden.mean(axis=0)) < 0.08
