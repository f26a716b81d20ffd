"""Which children parents can have, and the counting of those they cannot."""

from __future__ import annotations

import numpy as np
import pandas as pd

from snpimpute.genotypes.inheritance import CONFLICTS, Trios


def test_possible_children_of_all_parents():
    crosses = {(0, 0): {0}, (0, 1): {0, 1}, (0, 2): {1}, (1, 1): {0, 1, 2}, (1, 2): {1, 2}, (2, 2): {2}}
    for (sire, dam), children in crosses.items():
        for child in range(3):
            assert CONFLICTS[sire, dam, child] == CONFLICTS[dam, sire, child] == (child not in children)
    for parent, child in ((0, 2), (2, 0)):
        assert CONFLICTS[parent, -1, child] and CONFLICTS[-1, parent, child]
    assert CONFLICTS[:, -1].sum() == CONFLICTS[-1].sum() == 2
    assert not CONFLICTS[..., -1].any()


def test_pairs_and_trios_are_counted_apart():
    table = pd.DataFrame({"sample": ["c", "d", "s"], "sire": ["s", "s", "x"], "dam": ["m", "", ""]})
    trios = Trios.of(["s", "m", "c", "d"], table)
    sites = [[0, 0, 1, 1], [0, 2, 1, 2], [0, 2, 2, -1], [-1, 1, 1, 2], [2, 0, 0, 0]]
    counted = [trios.add(np.array(calls, dtype=np.int8)) for calls in sites]
    assert counted == [(2, 1), (2, 1), (1, 1), (1, 0), (2, 2)]
    assert trios.table().to_numpy().tolist() == [["c", "s", "m", 5, 3, 2, 0], ["d", "s", "", 3, 2, 2, 0]]
