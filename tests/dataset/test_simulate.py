"""The simulated bulls: their genotype shares, families, breeds and calling errors, and how hard they are for Beagle."""

from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.base.programs import beagle_jar, java, run_program
from snpimpute.dataset.masks import site_masks
from snpimpute.dataset.simulate import SimulatedPanel, SimulationSettings, parse_settings, simulate_bulls
from snpimpute.dataset.splits import split_samples
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.scores import f1_macro

PUBLISHED_SHARES = (75.57, 19.54, 4.89)
SMALL = SimulationSettings(n_samples=120, n_sites=60, region_bp=100_000)


@pytest.fixture(scope="module")
def bulls() -> SimulatedPanel:
    return simulate_bulls()


@pytest.fixture(scope="module")
def small() -> SimulatedPanel:
    return simulate_bulls(SMALL, seed=5)


def test_default_has_the_published_shape(bulls: SimulatedPanel) -> None:
    sites = bulls.called.sites
    assert bulls.called.calls.shape == (928, 500)
    assert set(sites.contig) == {"28"}
    assert sites.pos.min() >= 1
    assert (np.diff(sites.pos) > 0).all()
    assert np.median(np.diff(sites.pos)) < 200
    assert set(sites.ref) == set(sites.alt) == set("ACGT")
    assert (sites.ref != sites.alt).all()


@pytest.mark.parametrize("mask_seed", [1, 2, 3, 4])
def test_genotype_shares_at_the_sites_hidden_at_60_percent(bulls: SimulatedPanel, mask_seed: int) -> None:
    train = bulls.called.take_samples(~split_samples(bulls.called.samples, 186, "random", mask_seed))
    hidden = site_masks(500, (60.0,), 1, "independent", mask_seed)[60.0, 0]
    shares = [100 * (train.calls[:, hidden] == genotype).mean() for genotype in (0, 1, 2)]
    assert shares == pytest.approx(PUBLISHED_SHARES, abs=2)


def test_called_and_true_are_the_same_samples_and_sites(bulls: SimulatedPanel) -> None:
    called, true = bulls.called, bulls.true
    assert called.site_keys() == true.site_keys()
    assert called.names == true.names
    assert called.haplotypes is None
    assert true.haplotypes is not None
    assert (true.haplotypes.sum(axis=2) == true.calls).all()


def test_calls_are_complete_and_polymorphic(bulls: SimulatedPanel) -> None:
    assert bulls.called.calls.min() == 0
    assert bulls.called.maf().min() >= 0.001


def test_calling_loses_heterozygotes_most(bulls: SimulatedPanel) -> None:
    called, true = bulls.called.calls, bulls.true.calls
    wrong = [(called[true == genotype] != genotype).mean() for genotype in (0, 1, 2)]
    assert 0.02 < (called != true).mean() < 0.04
    assert 0.07 < wrong[1] < 0.11
    assert wrong[0] < 0.02
    assert (called == 1).sum() < (true == 1).sum()


def test_deep_reads_give_the_true_genotypes() -> None:
    deep = simulate_bulls(SMALL.model_copy(update={"depth": 60.0}), seed=5)
    assert (deep.called.calls == deep.true.calls).mean() > 0.9999


def test_few_sires_have_many_sons(bulls: SimulatedPanel) -> None:
    samples = bulls.called.samples
    sons = samples.family.value_counts()
    assert sons.max() >= 30
    assert sons.mean() > 10
    assert (samples.groupby("family").group.nunique() == 1).all()
    assert set(samples.sex) == {"M"}


def test_sires_in_the_data_are_older_and_share_a_haplotype_with_each_son(bulls: SimulatedPanel) -> None:
    samples, true = bulls.true.samples, bulls.true
    row = {name: i for i, name in enumerate(samples["sample"])}
    pairs = [(row[sire], i) for i, sire in enumerate(samples.family) if sire in row]
    assert len(pairs) > 500
    assert all(samples.birth_order[sire] < samples.birth_order[son] for sire, son in pairs)
    sires, sons = np.array(pairs).T
    assert (np.abs(true.calls[sires] - true.calls[sons]) < 2).all()


def test_breeds_differ(bulls: SimulatedPanel) -> None:
    assert bulls.called.samples.group.value_counts().to_dict() == {
        "breedA": 278,
        "breedB": 186,
        "breedC": 186,
        "breedD": 139,
        "breedE": 139,
    }
    assert 0.05 < fst(bulls.true) < 0.4


def fst(matrix: GenotypeMatrix) -> float:
    """Share of the expected heterozygosity that lies between breeds, breeds weighted equally."""
    frequency = np.stack(
        [matrix.take_samples(matrix.samples.group == g).alt_frequency() for g in sorted(set(matrix.samples.group))]
    )
    within = (2 * frequency * (1 - frequency)).mean(axis=0).sum()
    total = (2 * frequency.mean(axis=0) * (1 - frequency.mean(axis=0))).sum()
    return float(1 - within / total)


def test_same_seed_same_bulls(small: SimulatedPanel) -> None:
    again, other = simulate_bulls(SMALL, seed=5), simulate_bulls(SMALL, seed=6)
    assert again.called.digest() == small.called.digest()
    assert again.true.digest() == small.true.digest()
    assert other.called.digest() != small.called.digest()


def test_small_settings_keep_breeds_and_families(small: SimulatedPanel) -> None:
    assert small.called.calls.shape == (120, 60)
    assert small.called.samples.group.nunique() == 5
    assert small.called.samples.family.value_counts().max() >= 5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"dpeth": 3}, "simulation: setting 'dpeth': Extra inputs are not permitted"),
        ({"depth": -1}, "simulation: setting 'depth': Input should be greater than 0"),
        ({"n_samples": 12}, "12 samples leave a breed without a bull in each of 3 cohorts"),
        ({"breeds": [{"name": "x", "weight": 1}, {"name": "x", "weight": 1}]}, "breeds need names of their own"),
    ],
)
def test_wrong_settings_are_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_settings(table)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_region_with_too_few_sites_says_so() -> None:
    settings = SMALL.model_copy(update={"region_bp": 5_000})
    with pytest.raises(InputError, match=r"5000 bp hold \d+ sites .* raise region_bp"):
        simulate_bulls(settings)


@pytest.mark.panels
def test_beagle_is_as_challenged_as_on_published_data(bulls: SimulatedPanel, tmp_path: Path) -> None:
    try:
        command = [java(), "-Xmx2g", "-jar", beagle_jar(), "nthreads=1", "seed=1"]
    except InputError as error:
        pytest.skip(str(error))
    is_test = split_samples(bulls.called.samples, 186, "random", 1)
    hidden = site_masks(500, (60.0,), 1, "independent", 1)[60.0, 0]
    test = bulls.called.take_samples(is_test)
    write_vcf(tmp_path / "train.vcf.gz", bulls.called.take_samples(~is_test))
    write_vcf(tmp_path / "test.vcf.gz", test, leave_out=hidden)
    phased = run_program([*command, f"gt={tmp_path}/train.vcf.gz", f"out={tmp_path}/phased"])
    assert phased.returncode == 0, phased.stderr
    scores = []
    for setting in ([], ["ne=10000"], ["ne=10000", "err=0.01"]):
        files = [f"ref={tmp_path}/phased.vcf.gz", f"gt={tmp_path}/test.vcf.gz", f"out={tmp_path}/imputed"]
        imputed = run_program([*command, *setting, *files])
        assert imputed.returncode == 0, imputed.stderr
        scores.append(f1_macro(test.calls[:, hidden], read_calls(tmp_path / "imputed.vcf.gz")[:, hidden]))
        print(f"Beagle {setting or 'at its defaults'}: macro-F1 {scores[-1]:.3f}")
    assert 0.75 < max(scores) < 0.95


def read_calls(path: Path) -> np.ndarray:
    from cyvcf2 import VCF

    return np.array([variant.genotype.array()[:, :2].sum(axis=1) for variant in VCF(path)]).T
