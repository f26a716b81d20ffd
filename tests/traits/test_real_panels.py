"""On real genotypes: what Beagle's imputation costs an association, as it was measured before, and causal sites found again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.programs import beagle_jar, java, run_program
from snpimpute.base.progress import Watch
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.conclusions import TRUTH, TYPED
from snpimpute.traits.associate import AssociationSettings, associate
from snpimpute.traits.blocks import haplotype_blocks
from snpimpute.traits.consequence import Consequence, ConsequenceSettings, compare_conclusions
from snpimpute.traits.dosages import read_dosages

PANELS = os.environ.get("SNPIMPUTE_PANELS")
pytestmark = [pytest.mark.panels, pytest.mark.skipif(PANELS is None, reason="SNPIMPUTE_PANELS is not set")]
# Of 200 traits, but coverage of 70: power at 5e-8, how often the lead site is causal, coverage of credible sets.
MEASURED = {
    "power": {TRUTH: 0.88, "Beagle": 0.59, TYPED: 0.44},
    "lead": {TRUTH: 0.54, "Beagle": 0.26, TYPED: 0.0},
    "coverage": {TRUTH: 1.0, "Beagle": 0.83},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Consequence:
    """500 sites of MAF above 1%, 50 common ones typed, 504 people as panel, association in 2,000, Beagle at its defaults."""
    folder = tmp_path_factory.mktemp("kg15")
    path = Path(str(PANELS)) / "kg15" / "kg15.vcf.gz"
    matrix, _ = read_matrix(path, region="15:27857000-28060000")
    matrix = matrix.take_sites(np.flatnonzero(matrix.maf() > 0.01)[:500])
    order = np.random.default_rng(1).permutation(matrix.n_samples)
    panel, rest = (matrix.take_samples(np.sort(part)) for part in (order[:504], order[504:]))
    common = np.flatnonzero(matrix.maf() > 0.05)
    typed = common[np.linspace(0, len(common) - 1, 50).round().astype(int)]
    write_vcf(folder / "panel.vcf.gz", panel)
    write_vcf(folder / "truth.vcf.gz", rest)
    write_vcf(folder / "target.vcf.gz", replace(rest, haplotypes=None).take_sites(typed))
    command = [java(), "-Xmx2g", "-jar", beagle_jar(), "ref=panel.vcf.gz", "gt=target.vcf.gz", "out=beagle"]
    assert run_program([*map(str, command), "seed=1", "nthreads=1"], cwd=folder).returncode == 0
    settings = ConsequenceSettings(
        folder / "truth.vcf.gz",
        (folder / "beagle.vcf.gz",),
        ("Beagle",),
        typed=folder / "target.vcf.gz",
        filters=(0.0,),
    )
    return compare_conclusions(settings, Watch())


@pytest.mark.parametrize("measure", MEASURED)
def test_what_was_measured_comes_again_within_two_standard_errors_of_both(found, measure):
    for label, before in MEASURED[measure].items():
        row = found.row(label, measure)
        n = 70 if measure == "coverage" else 200
        of_both = np.sqrt((row.value * (1 - row.value) + before * (1 - before)) / n)
        print(measure, label, before, round(row.value, 3), f"{row.low:.3f} to {row.high:.3f}")
        assert abs(row.value - before) <= 2 * of_both + 1e-9


def test_sets_on_imputed_genotypes_are_overconfident(found):
    assert found.row("Beagle", "coverage").high < 0.95 < found.row(TRUTH, "coverage").high


def test_blocks_are_as_many_as_plink_was_seen_to_find():
    dosages = read_dosages(Path(str(PANELS)) / "kg15-500" / "train.vcf.gz")
    assert len(haplotype_blocks(dosages)[0]) == 28


def test_a_causal_site_leads_on_maize():
    """Real inbreds, a simulated trait of ten sites and heritability .5: no site reaches 5e-8, and the first one is causal."""
    folder = Path(str(PANELS)) / "traits" / "maize"
    found = associate(AssociationSettings(folder / "maize.vcf.gz", folder / "traits.tsv", "Sim50"), Watch())
    causal = pd.read_csv(folder / "qtn.tsv", sep="\t").query("trait == 'Sim50'").id
    best = found.table.sort_values("neg_log_10_p_value", ascending=False).rsid
    assert found.model == "mixed" and found.significant == 0 and 0.9 < found.inflation < 1.2
    assert best.iloc[0] in set(causal) and best.head(10).isin(causal).sum() == 3
