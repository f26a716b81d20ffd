"""Splits and masks: exact counts, nesting, seeds, the published training mask."""

import itertools

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.masks import array_masks, call_masks, high_ld_sites, site_masks
from snpimpute.dataset.scenarios import DEFAULT_LEVELS, Scenario, at_hidden
from snpimpute.dataset.splits import split_samples
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GenotypeMatrix

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


def panel(calls: np.ndarray, contigs: list[str] | None = None, pos: np.ndarray | None = None) -> GenotypeMatrix:
    n_samples, n_sites = calls.shape
    sites = pd.DataFrame({"contig": contigs or ["1"] * n_sites, "pos": 10 * np.arange(n_sites) if pos is None else pos})
    names = pd.DataFrame({"sample": [f"s{i}" for i in range(n_samples)]})
    return GenotypeMatrix(calls.astype(np.int8), names, sites.assign(id="", ref="A", alt="C"))


def varied(n_sites: int = 120, seed: int = 1) -> GenotypeMatrix:
    """Half of the sites at MAF near 0.02, half near 0.5, on two contigs."""
    frequency = np.tile([0.02, 0.5], n_sites // 2)
    calls = np.random.default_rng(seed).binomial(2, frequency, (200, n_sites))
    return panel(calls, ["1"] * (n_sites // 3) + ["2"] * (n_sites - n_sites // 3))


@pytest.mark.parametrize("mechanism", ["entries", "maf", "blocks"])
def test_single_calls_are_hidden_to_the_number_and_by_the_seed(mechanism):
    masks = dict(call_masks(50, varied(), (0.1, 5.0, 80.0), 2, mechanism, seed=4))
    assert {key: int(m.sum()) for key, m in masks.items()} == {
        (level, repeat): round(level * 60) for level in (0.1, 5.0, 80.0) for repeat in (0, 1)
    }
    assert masks[5.0, 0].shape == (50, 120) and (masks[5.0, 0] != masks[5.0, 1]).any()
    again, other = (dict(call_masks(50, varied(), (5.0,), 1, mechanism, seed)) for seed in (4, 5))
    assert (again[5.0, 0] == masks[5.0, 0]).all() and (other[5.0, 0] != masks[5.0, 0]).any()


def test_entries_favour_no_sample_and_no_site():
    (_, hidden), *_ = call_masks(400, varied(), (30.0,), 1, "entries", seed=1)
    for axis, n in ((0, 400), (1, 120)):
        assert np.abs(hidden.mean(axis=axis) - 0.3).max() < 4.5 * np.sqrt(0.21 / n)


def test_rare_sites_are_hidden_by_the_odds_that_are_promised():
    matrix = varied()
    for level in (2.0, 50.0):
        (_, hidden), *_ = call_masks(2000, matrix, (level,), 1, "maf", seed=1)
        share = hidden.mean(axis=0)
        odds = share / (1 - share) * (matrix.maf() + 0.05)  # the same at all sites
        assert odds.std() / odds.mean() < 0.25
        assert abs(odds[::2].mean() / odds[1::2].mean() - 1) < 0.06, level


def test_blocks_are_runs_within_a_contig():
    (_, hidden), *_ = call_masks(300, varied(1200), (3.0,), 1, "blocks", seed=1)
    padded = np.pad(hidden.astype(int), ((0, 0), (1, 1)))
    starts, ends = ((np.diff(padded, axis=1) == sign).nonzero() for sign in (1, -1))
    assert 15 < (ends[1] - starts[1]).mean() < 27  # 20, a little more where runs meet, less where the contig ends
    across = hidden[:, 399] & hidden[:, 400]  # only where runs of both contigs touch by chance
    assert hidden[:, 399].sum() > 3 and across.sum() <= 1
    (_, whole), *_ = call_masks(4, varied(12), (98.0,), 1, "blocks", seed=1)
    assert whole.sum() == 47


def test_a_run_that_is_cut_keeps_its_start():
    """One call is hidden, on contigs of two sites: it is at the first of them as often as not, where its run began."""
    matrix = panel(np.zeros((4, 40)), [str(i // 2) for i in range(40)])
    masks = dict(call_masks(30, matrix, (0.001,), 60, "blocks", seed=1))
    sites = [int(np.flatnonzero(hidden.any(axis=0)).item()) for hidden in masks.values()]
    assert 15 < sum(site % 2 == 0 for site in sites) < 45


def test_high_ld_hides_at_linked_sites_alone():
    first = np.array([0, 1, 2, 0, 1, 2, 1, 0])
    unlike = np.array([1, 0, 1, 2, 1, 0, 0, 1])
    nearly = np.array([0, 1, 2, 0, 1, 2, 1, -1])
    matrix = panel(np.stack([first, nearly, unlike, 2 - unlike, unlike, 0 * first], axis=1), list("111122"))
    assert high_ld_sites(matrix).tolist() == [True, True, True, True, False, False]
    (_, hidden), *_ = call_masks(100, matrix, (25.0,), 1, "high_ld", seed=1)
    assert hidden.sum() == 100 and not hidden[:, 4:].any()
    with pytest.raises(InputError, match=r"no site has r² above 0.8"):
        list(call_masks(10, matrix.take_sites([0, 2]), (5.0,), 1, "high_ld", seed=1))


def test_high_ld_takes_another_threshold():
    rng = np.random.default_rng(1)
    first = rng.binomial(2, 0.4, (200, 60))
    unlike = rng.random((200, 60)) < np.tile([0.02, 0.15, 0.4], 20)
    second = np.where(unlike, rng.binomial(2, 0.4, (200, 60)), first)
    matrix = panel(np.stack([first, second], axis=2).reshape(200, 120))
    counts = [int(high_ld_sites(matrix, threshold).sum()) for threshold in (0.1, 0.5, 0.8)]
    assert counts[0] > counts[1] > counts[2]
    (_, hidden), *_ = call_masks(50, matrix, (50.0,), 1, "high_ld", seed=1, min_r2=0.1)
    assert hidden.any(axis=0).sum() == counts[0]


@pytest.mark.parametrize("mechanism", ["entries", "maf", "high_ld"])
def test_no_sample_lacks_more_calls_on_a_contig_than_it_may(mechanism):
    pairs = np.repeat(np.random.default_rng(1).binomial(2, 0.4, (60, 20)), 3, axis=1)
    matrix = panel(pairs, [f"r{i // 3}" for i in range(60)])
    missing = np.random.default_rng(2).random((60, 60)) < 0.1
    for level in (0.5, 20.0, 50.0):
        masks = dict(call_masks(60, matrix, (level,), 2, mechanism, seed=1, most=2, missing=missing))
        for hidden in masks.values():
            assert hidden.sum() == round(level * 36) and not (hidden & missing).any()
            lacking = (hidden | missing).reshape(60, 20, 3).sum(axis=2)
            assert lacking[missing.reshape(60, 20, 3).sum(axis=2) <= 2].max() == 2 or level < 1
    free = dict(call_masks(60, matrix, (50.0,), 1, mechanism, seed=1))
    assert free[50.0, 0].reshape(60, 20, 3).sum(axis=2).max() == 3
    with pytest.raises(InputError, match=r"at most 2 missing calls .* leave 66\.7% of the calls"):
        dict(call_masks(60, matrix, (70.0,), 1, mechanism, seed=1, most=2))


def test_a_cap_that_is_not_reached_changes_nothing():
    matrix = varied()
    for level in (0.1, 5.0):
        free, capped = (dict(call_masks(50, matrix, (level,), 1, "entries", 4, most=most)) for most in (None, 60))
        assert (free[level, 0] == capped[level, 0]).all()


def test_an_array_types_common_sites_evenly():
    matrix = varied(600)
    masks = array_masks(matrix, (50.0, 90.0, 99.9), 2, seed=1)
    assert {key: int(m.sum()) for key, m in masks.items()} == {
        (level, r): n for level, n in ((50.0, 300), (90.0, 540), (99.9, 599)) for r in (0, 1)
    }
    typed = ~masks[90.0, 0]
    assert np.diff(np.flatnonzero(typed)).max() <= 20 and matrix.maf()[typed].min() > 0.4
    assert (masks[90.0, 0] != masks[90.0, 1]).any()
    assert (masks[90.0, 0] == array_masks(matrix, (90.0,), 1, seed=1)[90.0, 0]).all()


def test_an_array_of_sites_at_one_position_and_of_contigs_of_one_site():
    calls = np.random.default_rng(1).binomial(2, 0.3, (40, 30))
    matrix = panel(calls, ["1"] * 28 + ["2", "3"], pos=np.append(np.full(28, 500), [7, 7]))
    masks = array_masks(matrix, (50.0, 90.0), 1, seed=1)
    assert [int(m.sum()) for m in masks.values()] == [15, 27]


def test_an_array_is_even_in_base_pairs():
    crowded = panel(np.tile([[0], [1], [2]], (40, 100)), pos=np.append(np.arange(90), 1000 * np.arange(1, 11)))
    typed = ~array_masks(crowded, (90.0,), 1, seed=3)[90.0, 0]
    assert typed.sum() == 10 and typed[90:].sum() >= 8  # the crowd at the start fills one window or two


def test_a_seed_gives_the_masks_that_it_gave_before():
    """A dataset made again from its settings has the masks of its published scores."""
    calls = np.arange(320).reshape(8, 40) * 7 % 11 % 3
    calls[:, 1] = calls[:, 0]
    matrix = panel(calls, ["1"] * 24 + ["2"] * 16)
    even = panel(np.tile([[0], [1]], (4, 40)))
    of_sites = {
        "independent": site_masks(40, (5.0, 7.5), 2, "independent", seed=3),
        "nested": site_masks(40, (5.0, 7.5), 2, "nested", seed=3),
        "array": {key: ~hidden for key, hidden in array_masks(even, (90.0, 92.5), 2, seed=3).items()},
    }
    of_calls = {name: dict(call_masks(3, matrix, (3.3,), 2, name, seed=3)) for name in ("entries", "maf", "blocks")}
    of_calls["high_ld"] = dict(call_masks(3, matrix, (50.0,), 2, "high_ld", seed=3))
    found = {
        name: [np.flatnonzero(mask).tolist() for mask in masks.values()]
        for name, masks in {**of_sites, **of_calls}.items()
    }
    assert found == {
        "independent": [[14, 32], [6, 22, 31], [4, 29], [9, 23, 37]],
        "nested": [[23, 32], [23, 30, 32], [5, 12], [5, 12, 18]],
        "array": [[0, 7, 17, 27], [0, 9, 22], [0, 8, 17, 27], [0, 11, 24]],
        "entries": [[27, 36, 69, 88], [13, 41, 66, 80]],
        "maf": [[24, 74, 80, 117], [7, 69, 102, 117]],
        "blocks": [[110, 111, 112, 113], [88, 89, 90, 91]],
        "high_ld": [[0, 80, 81], [40, 80, 81]],
    }


def test_a_scenario_gives_its_mask_back():
    rng = np.random.default_rng(1)
    values = rng.random((7, 13, 3))
    for shape in ((13,), (7, 13)):
        hidden = rng.random(shape) < 0.3
        scenario = Scenario("test", "entries", 0.5, 2, hidden)
        assert scenario.key == "test-entries-0.5-2"
        assert (scenario.hidden == hidden).all() and scenario.hidden.dtype == bool
        assert scenario.by_call == (len(shape) == 2)
        assert (scenario.sites == np.atleast_2d(hidden).any(axis=0)).all()
        everyone = np.broadcast_to(hidden, (7, 13))
        np.testing.assert_array_equal(at_hidden(values, hidden).reshape(-1, 3), values[everyone])


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


def test_families_that_fill_the_number_exactly_are_taken():
    pairs = pd.DataFrame({"sample": [f"s{i}" for i in range(20)], "family": np.repeat(np.arange(10), 2).astype(str)})
    assert [split_samples(pairs, 4, "family", seed=seed).sum() for seed in range(5)] == [4] * 5


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


def test_the_published_levels_are_the_default():
    assert DEFAULT_LEVELS == (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)


def test_families_are_held_out_as_long_as_there_is_room():
    """Nine families of five and one of 30: never more than asked for, unless the first drawn is larger."""
    families = np.repeat([*"abcdefghi", "j"], [5] * 9 + [30])
    table = pd.DataFrame({"sample": [f"s{i}" for i in range(75)], "family": families})
    for seed in range(12):
        held = split_samples(table, 20, "family", seed)
        whole = {name: held[families == name].mean() for name in set(families)}
        assert set(whole.values()) <= {0.0, 1.0} and held.sum() in ({30} if whole["j"] else {20})
