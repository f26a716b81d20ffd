"""Several contigs in one panel: what stands beside a contig changes nothing on it, for every imputer whose nature that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute import imputers
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from tests.imputers.test_mosaic import QUICK, phased

N_PANEL, N_TARGET = 60, 12
BEAGLE = {"iterations": 1, "burnin": 1, "memory_mb": 512}
# imputer → parameters that make it quick
APART: dict[str, dict[str, Any]] = {
    "mode": {},
    "simpute": {},
    "ld_knn": {},
    "mosaic": QUICK,
    "plink_proxy": {},
    "minimac4": {},
    "beagle": BEAGLE,
}
OF_ALL_SITES = {"softmax_regression"}  # every observed site is an input, whatever contig it is on
BY_THE_STREAM = {"random_draw"}  # other random numbers in another file


def side_by_side() -> tuple[GenotypeMatrix, GenotypeMatrix]:
    """A phased panel of contigs 1 (24 sites), 2 (30) and 3 (16), which are not linked, and a target with hidden sites."""
    sizes = {"1": 24, "2": 30, "3": 16}
    parts = [phased(N_PANEL + N_TARGET, n, seed) for seed, n in enumerate(sizes.values(), start=3)]
    sites = pd.concat([part.sites.assign(contig=name) for name, part in zip(sizes, parts, strict=True)])
    haplotypes = np.concatenate([part.haplotypes for part in parts], axis=1)
    calls = haplotypes.sum(axis=2, dtype=np.int8)
    whole = GenotypeMatrix(calls, parts[0].samples, sites.reset_index(drop=True), haplotypes)
    target = replace(whole.take_samples(np.arange(N_PANEL, N_PANEL + N_TARGET)), haplotypes=None)
    return whole.take_samples(np.arange(N_PANEL)), target.hide(np.arange(whole.n_sites) % 3 != 0)


def posterior(name: str, panel: GenotypeMatrix, target: GenotypeMatrix) -> np.ndarray:
    cls = imputers.load(name)
    return cls(cls.parse_params(APART[name]), seed=5).fit(panel).posterior(target)


def test_every_plain_imputer_is_here() -> None:
    plain = {name for name in imputers.names() if not imputers.load(name).learns_in_epochs}
    assert plain == {*APART, *OF_ALL_SITES, *BY_THE_STREAM}


@pytest.mark.parametrize("name", APART)
def test_the_first_contig_is_imputed_as_by_itself(name: str) -> None:
    panel, target = side_by_side()
    first = (panel.sites["contig"] == "1").to_numpy()
    alone = posterior(name, panel.take_sites(first), target.take_sites(first))
    together = posterior(name, panel, target)
    np.testing.assert_allclose(together[:, first], alone, atol=1e-6)
    hidden = (target.calls == MISSING)[:, first]
    assert (hidden.any() and np.ptp(alone[hidden], axis=0).max() > 0.1) or name == "mode"


@pytest.mark.parametrize("name", sorted(set(APART) - {"beagle"}))  # a later contig has another seed: see decision 15
def test_a_later_contig_is_imputed_as_by_itself(name: str) -> None:
    panel, target = side_by_side()
    last = (panel.sites["contig"] == "3").to_numpy()
    alone = posterior(name, panel.take_sites(last), target.take_sites(last))
    np.testing.assert_allclose(posterior(name, panel, target)[:, last], alone, atol=1e-6)


@pytest.mark.parametrize("name", ["beagle", "mosaic"])
def test_haplotypes_do_not_go_on_from_one_contig_to_the_next(name: str) -> None:
    """Give each person's haplotypes of contig 2 to somebody else: nothing on contig 1 or 3 can change by it."""
    panel, target = side_by_side()
    middle = (panel.sites["contig"] == "2").to_numpy()
    assert panel.haplotypes is not None
    haplotypes = panel.haplotypes.copy()
    haplotypes[:, middle] = np.roll(haplotypes[:, middle], 7, axis=0)
    moved = replace(panel, haplotypes=haplotypes, calls=haplotypes.sum(axis=2, dtype=np.int8))
    before, after = posterior(name, panel, target), posterior(name, moved, target)
    np.testing.assert_allclose(before[:, ~middle], after[:, ~middle], atol=1e-6)


def test_contigs_with_few_or_no_observed_sites_are_imputed_too() -> None:
    """Where a mask leaves one site of a contig or none, as in a whole genome it may."""
    panel, target = side_by_side()
    contig = panel.sites["contig"].to_numpy()
    hidden = (contig == "3") | (contig == "2")
    hidden[np.flatnonzero(contig == "2")[4]] = False
    target = target.hide(hidden)
    for name in APART:
        found = posterior(name, panel, target)
        np.testing.assert_allclose(found.sum(axis=2), 1.0, atol=1e-5, err_msg=name)
