"""Beagle: contract in both modes, its files and failures, and the reference scores on the real panels."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.masks import call_masks
from snpimpute.dataset.site_lists import read_masked_sites
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers.beagle import Beagle
from snpimpute.imputers.contract import Imputer
from snpimpute.imputers.testing import ImputerContract, small_panel
from snpimpute.io.matrix import read_matrix
from snpimpute.metrics.registry import f1_per_genotype
from snpimpute.metrics.scores import f1_macro
from snpimpute.metrics.sums import confusion

QUICK = {"iterations": 2, "burnin": 1}


def beagle(seed: int = 5, **params: Any) -> Beagle:
    return Beagle(Beagle.parse_params(QUICK | params), seed=seed, threads=1)


def every_second(matrix: GenotypeMatrix) -> np.ndarray:
    return np.arange(matrix.n_sites) % 2 == 0


@pytest.fixture(scope="module")
def panel() -> GenotypeMatrix:
    return small_panel()


@pytest.fixture(scope="module")
def target() -> GenotypeMatrix:
    return small_panel(70, missing=0.0).take_samples(np.arange(60, 70))


@pytest.fixture(scope="module")
def fitted(panel: GenotypeMatrix) -> Beagle:
    """Unphased panel as reference, fitted once for the file: no test changes it but for its logs."""
    return beagle().fit(panel)


class TestReference(ImputerContract):
    imputer = Beagle
    params = QUICK
    changed_by_order = 0.25  # phasing draws its random numbers sample by sample, in their order; 0.125 was measured

    def test_hidden_sites_have_probabilities_and_beat_the_frequencies(
        self, model: Imputer, target: GenotypeMatrix
    ) -> None:
        masked = self.masked(target)
        hidden = every_second(target)
        posterior = model.posterior(masked)[:, hidden]
        assert model.gives_posterior(masked)
        assert len(np.unique(posterior.round(2))) > 20
        found = f1_macro(target.calls[:, hidden], posterior.argmax(axis=2))
        guessed = np.broadcast_to(model.frequencies[hidden].argmax(axis=1), target.calls[:, hidden].shape)
        assert found > f1_macro(target.calls[:, hidden], guessed) + 0.2

    def test_partly_missing_sites_are_smoothed(self, model: Imputer, target: GenotypeMatrix) -> None:
        hidden = np.zeros(target.calls.shape, dtype=bool)
        hidden[:, 10] = True
        hidden[:5, 20] = True
        masked = target.hide(hidden)
        assert not model.gives_posterior(masked)
        posterior = model.posterior(masked)
        np.testing.assert_allclose(np.sort(posterior[:5, 20], axis=1), [[0.01, 0.01, 0.98]] * 5, atol=1e-6)
        assert posterior[:, 10].max() < 1 and len(np.unique(posterior[:, 10].round(2))) > 4

    def test_run_is_recorded(self, model: Beagle, target: GenotypeMatrix, tmp_path: Path) -> None:
        model.posterior(self.masked(target))
        assert model.version == "beagle.22Jul22.46e.jar (version 5.4)"
        phasing, imputing = model.logs[0], model.logs[-1]
        assert "gt=target.vcf.gz" in phasing and "ref=" not in phasing
        assert "ref=panel.vcf.gz" in imputing and "seed=5" in imputing and "nthreads=1" in imputing
        assert "iterations=2" in imputing and "err=" not in imputing and "Imputation time" in imputing
        model.save(tmp_path / "model")
        kept = (tmp_path / "model" / "state" / "beagle.log").read_text()
        assert phasing in kept and imputing in kept
        assert Beagle.load(tmp_path / "model").version == model.version


class TestJoint(ImputerContract):
    imputer = Beagle
    params = {**QUICK, "mode": "joint"}
    changed_by_order = 0.35  # 0.2 was measured

    def test_better_than_the_frequencies(self, model: Imputer, target: GenotypeMatrix) -> None:
        hidden = every_second(target)
        masked = self.masked(target)
        posterior = model.posterior(masked)[:, hidden]
        assert not model.gives_posterior(masked)
        assert set(np.unique(posterior.round(4))) == {np.float32(0.01), np.float32(0.98)}
        found = f1_macro(target.calls[:, hidden], posterior.argmax(axis=2))
        guessed = np.broadcast_to(model.frequencies[hidden].argmax(axis=1), target.calls[:, hidden].shape)
        assert found > f1_macro(target.calls[:, hidden], guessed) + 0.2

    def test_samples_of_the_panel_can_be_targets(self, model: Imputer, panel: GenotypeMatrix) -> None:
        some = panel.take_samples(np.arange(5))
        assert (
            model.posterior(self.masked(some)).argmax(axis=2)[some.calls >= 0] == some.calls[some.calls >= 0]
        ).mean() > 0.85


class TestAlone(ImputerContract):
    imputer = Beagle
    params = {**QUICK, "mode": "alone"}
    changed_by_order = 0.35

    def test_the_panel_is_not_looked_at(self, panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
        masked = target.hide(np.random.default_rng(1).random(target.calls.shape) < 0.1)
        without = beagle(mode="joint").fit(panel.take_samples([])).posterior(masked)
        np.testing.assert_array_equal(beagle(mode="alone").fit(panel).posterior(masked), without)


def in_contigs(matrix: GenotypeMatrix, n_sites: int) -> GenotypeMatrix:
    """The matrix with every `n_sites` sites as a contig of their own."""
    contigs = [f"1.{i // n_sites:04d}" for i in range(matrix.n_sites)]
    return replace(matrix, sites=matrix.sites.assign(contig=contigs))


def seeds_of_contigs(seed: int, n: int) -> list[int]:
    """Seeds of java.util.Random whose streams begin where that of `seed` is after 0, 1, 2, … numbers of 64 bits.

    It is a linear congruential generator of 48 bits, two steps for 64 bits; the seed is the state, scrambled
    (documentation of java.util.Random: setSeed, next, nextLong).
    """
    multiplier, bits = 0x5DEECE66D, (1 << 48) - 1
    state, seeds = (seed ^ multiplier) & bits, []
    for _ in range(n):
        seeds.append(state ^ multiplier)
        for _ in range(2):
            state = (state * multiplier + 0xB) & bits
    return seeds


def regions_of(n_sites: int) -> tuple[GenotypeMatrix, GenotypeMatrix]:
    """A phased panel and a target with holes, of four contigs of `n_sites`."""
    whole = in_contigs(small_panel(90, 4 * n_sites, missing=0.0), n_sites)
    haplotypes = np.stack([whole.calls > 0, whole.calls > 1], axis=2).astype(np.int8)
    panel = replace(whole, haplotypes=haplotypes).take_samples(np.arange(50))
    target = whole.take_samples(np.arange(50, 90))
    masks = call_masks(40, target, (25.0,), 1, "entries", seed=1, most=max(2, n_sites - 2))
    return panel, target.hide(next(masks)[1])


@pytest.mark.parametrize(("mode", "n_sites"), [("alone", 3), ("alone", 10), ("joint", 10)])
def test_a_contig_is_imputed_as_by_a_run_of_its_own(mode: str, n_sites: int) -> None:
    """Batching: exactly so where that run has the seed that the stream has come to; with the same seed some calls differ."""
    panel, target = regions_of(n_sites)
    together = beagle(mode=mode).fit(panel).posterior(target)
    differing = 0
    for number, seed in enumerate(seeds_of_contigs(5, 4)):
        here = slice(number * n_sites, (number + 1) * n_sites)
        own = beagle(seed, mode=mode).fit(panel.take_sites(here)).posterior(target.take_sites(here))
        np.testing.assert_array_equal(together[:, here], own)
        if number > 0:
            first_seed = beagle(mode=mode).fit(panel.take_sites(here)).posterior(target.take_sites(here))
            differing += int((first_seed != own).any(axis=2).sum())
    if n_sites > 3:  # the seed matters, or equality would say nothing; three sites are too few for it
        assert 0 < differing < 0.25 * (target.calls < 0).sum()


def test_with_a_reference_later_contigs_differ_as_by_another_seed() -> None:
    """The first contig is exactly that of a run of its own; the others differ in no more calls than two seeds do."""
    panel, target = regions_of(10)
    together, another = (beagle(seed, mode="reference").fit(panel).posterior(target) for seed in (5, 6))
    own = np.concatenate(
        [
            beagle(mode="reference").fit(panel.take_sites(here)).posterior(target.take_sites(here))
            for here in (slice(start, start + 10) for start in range(0, 40, 10))
        ],
        axis=1,
    )
    np.testing.assert_array_equal(together[:, :10], own[:, :10])
    batched, reseeded = ((found != together).any(axis=2)[:, 10:].sum() for found in (own, another))
    assert 0 < batched < 1.5 * reseeded


def test_a_sample_without_calls_on_a_contig_gets_frequencies_there() -> None:
    target = in_contigs(small_panel(40, 20, missing=0.0), 10)
    hidden = np.zeros(target.calls.shape, dtype=bool)
    hidden[:3, 10:] = hidden[5, :9] = True
    masked = target.hide(hidden)
    posterior = beagle(mode="alone").fit(target.take_samples([])).posterior(masked)
    frequencies = masked.genotype_frequencies()[10:]
    np.testing.assert_allclose(posterior[:3, 10:], np.broadcast_to(frequencies, (3, 10, 3)), atol=1e-6)
    assert set(np.unique(posterior[5, :9].round(4))) == {np.float32(0.01), np.float32(0.98)}


def test_order_of_samples_hardly_matters(fitted: Beagle, target: GenotypeMatrix) -> None:
    masked = target.hide(every_second(target))
    reverse = np.arange(target.n_samples)[::-1]
    moved = np.abs(fitted.posterior(masked.take_samples(reverse))[reverse] - fitted.posterior(masked))
    assert moved.mean() < 0.05


def test_hard_calls_from_haplotypes_or_probabilities(
    fitted: Beagle, panel: GenotypeMatrix, target: GenotypeMatrix
) -> None:
    """Beagle's GT takes the likelier allele of each haplotype: where it differs from the largest GP, GP says heterozygous."""
    hidden = np.arange(target.n_sites) % 8 > 0
    masked = target.hide(hidden)
    by_haplotype = fitted.posterior(masked)[:, hidden]
    by_probability = beagle(calls_from="probabilities").fit(panel).posterior(masked)[:, hidden]
    differ = by_haplotype.argmax(axis=2) != by_probability.argmax(axis=2)
    assert 5 < differ.sum() < 0.5 * differ.size
    assert (by_probability.argmax(axis=2)[differ] == 1).all()
    assert (by_haplotype.astype(np.float16).argmax(axis=2) == by_haplotype.argmax(axis=2)).all()
    np.testing.assert_array_equal(by_haplotype[~differ], by_probability[~differ])
    top = np.sort(by_haplotype[differ], axis=1)
    np.testing.assert_allclose(top[:, 2] - top[:, 1], 0.002, atol=1e-5)


def test_phased_panel_is_the_reference_as_it_is(fitted: Beagle, panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
    assert fitted._haplotypes is not None
    haplotypes = fitted._haplotypes[0]
    phased = GenotypeMatrix(haplotypes.sum(axis=2, dtype=np.int8), panel.samples, panel.sites, haplotypes)
    model = beagle().fit(phased)
    assert model.logs == [] and model.version == ""
    masked = target.hide(every_second(target))
    np.testing.assert_array_equal(model.posterior(masked), fitted.posterior(masked))


@pytest.mark.parametrize("mode", ["reference", "joint"])
def test_phasings_are_averaged(panel: GenotypeMatrix, target: GenotypeMatrix, mode: str) -> None:
    masked = target.hide(every_second(target))
    single = [beagle(seed, mode=mode).fit(panel).posterior(masked) for seed in (5, 6)]
    both = beagle(5, mode=mode, phasings=2).fit(panel)
    assert len(both.logs) == (2 if mode == "reference" else 0)
    assert np.abs(single[0] - single[1]).max() > 0.005
    np.testing.assert_allclose(both.posterior(masked), np.mean(single, axis=0), atol=1e-5)


def test_defaults_are_the_programs_own(panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
    named = Beagle(seed=5).fit(panel)
    passed = ("ne", "err", "em", "cluster", "phase_states", "iterations", "burnin", "window", "overlap")
    passed += ("imp_step", "imp_segment", "imp_states")
    silent = Beagle(Beagle.parse_params(dict.fromkeys(passed)), seed=5).fit(panel)
    assert "ne=" in named.logs[0].splitlines()[0] and "ne=" not in silent.logs[0].splitlines()[0]
    masked = target.hide(every_second(target))
    np.testing.assert_array_equal(named.posterior(masked), silent.posterior(masked))


def test_two_sites_seen(fitted: Beagle, target: GenotypeMatrix) -> None:
    hidden = np.ones(target.n_sites, dtype=bool)
    hidden[[7, 30]] = False
    posterior = fitted.posterior(target.hide(hidden))
    np.testing.assert_allclose(posterior.sum(axis=2), 1, atol=1e-5)


def test_single_sample(fitted: Beagle, target: GenotypeMatrix) -> None:
    one = target.take_samples([3])
    calls = fitted.posterior(one.hide(every_second(one))).argmax(axis=2)
    assert (calls == one.calls).mean() > 0.75


def test_phase_for_other_programs(fitted: Beagle, target: GenotypeMatrix) -> None:
    """Some of the sites, single holes filled, calls as they were, the panel's haplotypes followed."""
    some = target.take_sites(np.arange(1, 40, 2))
    holes = np.zeros(some.calls.shape, dtype=bool)
    holes[2, 5] = True
    haplotypes = fitted.phase(some.hide(holes))
    assert haplotypes.shape == (10, 20, 2) and set(np.unique(haplotypes)) <= {0, 1}
    assert (haplotypes.sum(axis=2)[~holes] == some.calls[~holes]).all()
    assert "impute=false" in fitted.logs[-1] and "ref=panel.vcf.gz" in fitted.logs[-1]
    assert fitted.phased_panel().shape == (60, 40, 2)


def test_genetic_map_is_kept_with_the_model(
    fitted: Beagle, panel: GenotypeMatrix, target: GenotypeMatrix, tmp_path: Path
) -> None:
    path = tmp_path / "a map.txt"
    path.write_text("1 . 0.0 1000\n1 . 60.0 60000\n")
    mapped = beagle(map=str(path)).fit(panel)
    mapped.save(tmp_path / "model")
    path.unlink()
    masked = target.hide(every_second(target))
    expected = mapped.posterior(masked)
    np.testing.assert_array_equal(Beagle.load(tmp_path / "model").posterior(masked), expected)
    assert "map=genetic.map" in mapped.logs[-1]
    assert np.abs(expected - fitted.posterior(masked)).max() > 0.05


def test_a_scaled_map_is_a_longer_one_with_windows_of_the_same_bases(
    panel: GenotypeMatrix, target: GenotypeMatrix, tmp_path: Path
) -> None:
    """Twenty times Beagle's own map (1 cM per Mb), and half of a map that is given."""
    (tmp_path / "long.map").write_text("1 . 0.00002 1\n1 . 1.19 59500\n")
    (tmp_path / "double.map").write_text("1 . 0.00004 1\n1 . 2.38 59500\n")
    masked = target.hide(every_second(target))
    by_hand = beagle(map=str(tmp_path / "long.map"), window=80, overlap=10).fit(panel)
    expected = by_hand.posterior(masked)
    for scaled in (
        beagle(map_scale=20, window=4, overlap=0.5),
        beagle(map=str(tmp_path / "double.map"), map_scale=0.5, window=160, overlap=20),
    ):
        np.testing.assert_array_equal(scaled.fit(panel).posterior(masked), expected)
        assert "window=80.0 overlap=10.0" in scaled.logs[-1]
    own = beagle(window=4, overlap=0.5).fit(panel)
    assert "map=" not in own.logs[-1] and np.abs(own.posterior(masked) - expected).max() > 0.05


def test_nothing_is_left_behind(
    panel: GenotypeMatrix, target: GenotypeMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    beagle().fit(panel).posterior(target.hide(every_second(target)))
    with pytest.raises(InputError):
        beagle(memory_mb=10**8).fit(panel)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no map\n", r"line 1, is not of a PLINK map .*: no map"),
        ("1 . 0.5 1000\n1 . 0.1 60000\n", "on contig 1 cM fall at 60000"),
        ("2 . 0.0 1000\n2 . 0.1 60000\n", "the genetic map has no contig '1'; it has 2"),
    ],
)
def test_bad_map_is_one_line(panel: GenotypeMatrix, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "genetic.map"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        beagle(map=str(path)).fit(panel)
    assert "\n" not in str(error.value) and "java" not in str(error.value)


def test_missing_map_is_one_line(panel: GenotypeMatrix, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the genetic map .*nowhere\.map"):
        beagle(map=str(tmp_path / "nowhere.map")).fit(panel)


def test_memory_too_small(panel: GenotypeMatrix) -> None:
    with pytest.raises(InputError, match="Java heap space; raise memory_mb"):
        beagle(memory_mb=8).fit(small_panel(1200, 300))
    with pytest.raises(InputError, match=r"Could not reserve enough space .*; change memory_mb"):
        beagle(memory_mb=10**8).fit(panel)


def test_alleles_beagle_cannot_read(panel: GenotypeMatrix) -> None:
    sites = panel.sites.assign(ref="1", alt="2")
    with pytest.raises(InputError, match="REF field is not a sequence of A, C, T, G, or N"):
        beagle().fit(GenotypeMatrix(panel.calls, panel.samples, sites))


def test_program_missing(panel: GenotypeMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNPIMPUTE_BEAGLE_JAR", str(tmp_path / "no.jar"))
    with pytest.raises(InputError, match=r"SNPIMPUTE_BEAGLE_JAR names .*no\.jar"):
        beagle().fit(panel)
    (tmp_path / "no.jar").write_text("not a jar")
    with pytest.raises(InputError, match=r"Beagle failed: Error: Invalid or corrupt jarfile"):
        beagle().fit(panel)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="Java is missing"):
        beagle().fit(panel)


@pytest.mark.parametrize(
    "table",
    [
        {"ne": 0},
        {"mode": "both"},
        {"cluster": -1},
        {"err": 0.7},
        {"phasings": 0},
        {"iterations": 0},
        {"window": 1.0},
        {"map_scale": 0},
    ],
)
def test_parameters_out_of_range(table: dict) -> None:
    with pytest.raises(InputError, match="imputer beagle: parameter"):
        Beagle.parse_params(table)


def test_a_mistyped_parameter_is_told_with_the_one_that_is_meant() -> None:
    with pytest.raises(
        InputError, match=r"^imputer beagle: parameter 'nee' is not known, did you mean 'ne'\? \(parameters: "
    ):
        Beagle.parse_params({"nee": 1000})
    with pytest.raises(InputError, match=r"^imputer beagle: parameter 'xyzzy' is not known \(parameters: "):
        Beagle.parse_params({"xyzzy": 1})


@pytest.mark.parametrize("typed", [(0, 23), (0, 20, 80, 100), (50, 60)], ids=["end", "gap", "both ends"])
@pytest.mark.parametrize("scale", [1, 3])
def test_stretches_without_typed_sites_longer_than_a_window_are_imputed(typed: tuple[int, ...], scale: float) -> None:
    """Beagle ends at a window in which the target has no site, or leaves the end of the contig out."""
    whole = small_panel(60, n_sites=100, missing=0.0)
    length = 100 if max(typed) > 40 else 42  # Mb; a window is 40 long
    sites = whole.sites.assign(pos=np.linspace(1, length * 1e6, 100).astype(int))
    place = sites["pos"].to_numpy() / 1e6
    seen = np.any([(place >= a) & (place <= b) for a, b in zip(typed[::2], typed[1::2], strict=True)], axis=0)
    panel, true = whole.calls[:50], whole.calls[50:]
    model = beagle(map_scale=scale).fit(GenotypeMatrix(panel, whole.samples[:50], sites))
    target = GenotypeMatrix(np.where(seen, true, MISSING), whole.samples[50:], sites)
    posterior = model.posterior(target)
    np.testing.assert_allclose(posterior.sum(axis=2), 1, atol=1e-3)
    assert (posterior[:, seen].argmax(axis=2) == true[:, seen]).all()
    # what is next to a typed site is known better than by frequency, also where windows were without sites
    near = np.flatnonzero(~seen)[[0, -1]]
    assert not np.allclose(posterior[:, near], model.frequencies[near], atol=0.02)


class FirstOf:
    """A trial that gives the lowest value of everything, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[Any, Any]] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = (low, high)
        return low

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.asked[name] = (low, high)
        return low

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        known = [choice for choice in choices if choice is not None]
        self.asked[name] = (min(known), max(known))
        return known[0]


def test_search_space_holds_the_defaults() -> None:
    trial = FirstOf()
    found = Beagle.search_space(trial)
    assert {"ne", "cluster", "em", "map_scale", "err", "imp_step", "imp_segment", "imp_states"} <= set(
        trial.asked
    ) and not {"mode", "map", "memory_mb"} & set(trial.asked)
    for name, (low, high) in trial.asked.items():
        default = getattr(Beagle.Params(), name)
        assert default is None or low <= default <= high, name
        assert getattr(found, name) is not None
    assert [v.tune for v in Beagle.variants.values()] == [False, True, True]


# ---------------------------------------------------------------------- the real panels

SETTINGS = {
    "default": {},
    "ne=20000": {"ne": 20_000},
    "ne=1000": {"ne": 1_000},
    "cluster=0.0001": {"cluster": 0.0001},
}
PANELS = [
    ("kg15-500", "default"),
    ("kg15-500", "ne=20000"),
    ("kg15-500", "cluster=0.0001"),
    ("cattle-chr1", "default"),
    ("cattle-chr1", "ne=1000"),
]


@pytest.mark.panels
@pytest.mark.skipif("SNPIMPUTE_PANELS" not in os.environ, reason="SNPIMPUTE_PANELS is not set")
@pytest.mark.parametrize(("dataset", "setting"), PANELS)
def test_reference_scores(dataset: str, setting: str) -> None:
    """Every level of every setting in the panel's beagle.json, within .003 macro-F1."""
    folder = Path(os.environ["SNPIMPUTE_PANELS"]) / dataset
    scores = json.loads((folder / "beagle.json").read_text())
    assert set(scores) == {s for d, s in PANELS if d == dataset}
    train, _ = read_matrix(folder / "train.vcf.gz")
    test, _ = read_matrix(folder / "test.vcf.gz")
    masks = read_masked_sites(folder / "masked_sites.tsv", test.sites)
    model = Beagle(Beagle.parse_params(SETTINGS[setting]), seed=1, threads=1).fit(train)
    deviations = {}
    for level, wanted in scores[setting].items():
        hidden = masks[float(level)]
        calls = model.posterior(test.hide(hidden)).argmax(axis=2)
        counts = confusion(test.calls[:, hidden], calls[:, hidden])
        assert counts.sum(axis=1).tolist() == wanted["all"]["truth"]
        deviations[level] = float(f1_per_genotype(counts).mean() - wanted["all"]["f1_macro"])
    print(dataset, setting, {level: round(d, 5) for level, d in deviations.items()})
    assert max(map(abs, deviations.values())) <= 0.003, deviations
