"""`consequence`: a perfect file changes nothing, a poor one costs what it must, and every misfit is one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.cli.app import app
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.conclusions import MEASURES, TRUTH, TYPED
from snpimpute.traits import consequence, parts
from snpimpute.traits.breeding import HERITABILITIES, breeding_values
from snpimpute.traits.consequence import (
    FILTERS,
    Consequence,
    ConsequenceSettings,
    compare_conclusions,
    parts_of,
)
from snpimpute.traits.consequence_page import FILES, write_consequence
from snpimpute.traits.dosages import read_dosages
from snpimpute.traits.measures import Estimate, estimates, prediction_measures, trait_weights
from snpimpute.traits.scan import chi2_of, left_out_chi2, sample_blocks
from snpimpute.traits.simulated import TraitModel, simulated_traits
from tests.impute.test_concordance import soft_file
from tests.traits.data import ld_calls, matrix_of, write_traits
from tests.traits.killed import die_at_part

N, P = 300, 120
MODEL = TraitModel(n_traits=24, variance=0.15, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True genotypes, a typed third of the sites, and imputed files: perfect, good, poor, and with alleles exchanged."""
    folder = tmp_path_factory.mktemp("consequence")
    matrix = matrix_of(ld_calls(N, P, seed=3), "15")
    write_vcf(folder / "truth.vcf.gz", matrix, index=True)
    write_vcf(folder / "typed.vcf.gz", matrix.take_sites(np.arange(0, P, 3)))
    exchanged = matrix.sites.rename(columns={"ref": "alt", "alt": "ref"})
    turned = replace(matrix, calls=(2 - matrix.calls).astype(np.int8), sites=exchanged[matrix.sites.columns])
    write_vcf(folder / "turned.vcf.gz", turned)
    rng = np.random.default_rng(4)
    flat = np.stack([(matrix.calls == g).mean(axis=0) for g in range(3)], axis=1)
    for name, kept in (("good", 0.8), ("poor", 0.4)):
        right = rng.random((N, P, 1)) < kept
        noise = rng.dirichlet(np.ones(3), (N, P))
        posterior = np.where(right, 0.9 * np.eye(3)[matrix.calls] + 0.1 * noise, 0.7 * flat[None] + 0.3 * noise)
        soft_file(folder / f"{name}.vcf", matrix, posterior, "GT:DS:GP", np.clip(rng.normal(kept, 0.2, P), 0, 1))
    values = 0.9 * matrix.calls[:, 50] + rng.normal(size=N)
    write_traits(folder / "traits.tsv", milk=values, fat=values + rng.normal(size=N), age=rng.normal(size=N))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Consequence:
    imputed = tuple(folder / name for name in ("truth.vcf.gz", "turned.vcf.gz", "good.vcf", "poor.vcf"))
    settings = ConsequenceSettings(
        folder / "truth.vcf.gz",
        imputed,
        ("same", "turned", "good", "poor"),
        typed=folder / "typed.vcf.gz",
        model=MODEL,
        finemapped=3,
    )
    return compare_conclusions(settings, Watch())


def test_true_genotypes_change_nothing_whichever_allele_is_counted(found):
    for label in ("same", "turned"):
        for measure in MEASURES:
            difference = found.row(label, measure, versus=TRUTH)
            assert difference.value == pytest.approx(0, abs=1e-6), measure
            assert difference.high - difference.low < 1e-5
    assert found.row(TRUTH, "chi2").value == 1.0 and found.row(TRUTH, "top").value == 1.0


def test_what_is_imputed_worse_says_less(found):
    for measure in ("chi2", "power", "lead", "recall", "correlation", "top"):
        values = [found.row(label, measure).value for label in (TRUTH, "good", "poor")]
        assert values == sorted(values, reverse=True), measure
    lost = found.row("poor", "chi2", versus=TRUTH)
    assert lost.value < 0 and lost.high < 0
    assert found.row("good", "lead_r2").value > found.row("poor", "lead_r2").value
    assert (found.table.low <= found.table.value + 1e-9)[found.table.low.notna()].all()


def test_causal_sites_are_not_typed_so_typed_ones_alone_never_lead(found):
    assert found.row(TYPED, "lead").value == 0 and found.row(TYPED, "chi2").value == 0
    assert found.row(TYPED, "recall").value == 0
    assert 0 < found.row(TYPED, "lead_r2").value < 1


def test_filters_take_sites_away_and_the_guidance_names_one(found):
    own = found.table[(found.table.file == "good") & (found.table.versus == "") & (found.table.subset == "all")]
    assert tuple(sorted(own["filter"].unique())) == FILTERS
    chi2 = own[own.measure == "chi2"].sort_values("filter").value.tolist()
    assert chi2 == sorted(chi2, reverse=True) and chi2[0] > chi2[-1]
    assert {line.split(":")[0] for line in found.guidance} == {"good", "poor"}
    assert "association: no filter (power" in found.guidance[0]


def test_traits_are_by_maf_of_the_causal_site(found):
    subsets = [name for name in found.table.subset.unique() if name != "all"]
    counts = [found.row(TRUTH, "power", subset=name).n for name in subsets]
    assert subsets and all(10 <= n <= 40 for n in counts)


def test_real_traits_take_the_lead_of_the_truth_for_causal(folder):
    settings = ConsequenceSettings(
        folder / "truth.vcf.gz",
        (folder / "good.vcf",),
        traits=folder / "traits.tsv",
        columns=("milk", "fat"),
        covariates=("age",),
        finemapped=2,
    )
    found = compare_conclusions(settings, Watch())
    assert not found.simulated and found.n_traits == 2 and found.row(TRUTH, "lead").value == 1.0
    assert any("the lead site on true genotypes stands for the causal one" in note for note in found.notes)
    lost = found.row("good", "chi2", versus=TRUTH)
    assert lost.value < 0 and np.isfinite(lost.low)
    assert np.isnan(found.row("good", "correlation").low)  # a trait is no sample of traits


def test_simulated_traits_have_the_share_that_is_asked_for(folder):
    truth = read_dosages(folder / "truth.vcf.gz")
    traits = simulated_traits(truth, TraitModel(n_traits=60, n_causal=4, variance=0.3, seed=2))
    shares = traits.genetic.var(axis=0) / traits.values.var(axis=0)
    assert shares.mean() == pytest.approx(0.3, abs=0.02)
    assert traits.causal.shape == (60, 4) and all(len(set(sites)) == 4 for sites in traits.causal.tolist())
    again = simulated_traits(truth, TraitModel(n_traits=60, n_causal=4, variance=0.3, seed=2))
    np.testing.assert_array_equal(traits.values, again.values)
    centred = truth.centred()[:, traits.causal[0]]
    left = traits.genetic[:, 0] - centred @ np.linalg.lstsq(centred, traits.genetic[:, 0], rcond=None)[0]
    assert abs(left).max() < 1e-6


def test_effects_of_one_size_make_the_same_variance_at_each_site(folder):
    truth = read_dosages(folder / "truth.vcf.gz")
    traits = simulated_traits(truth, TraitModel(n_traits=3, n_causal=4, variance=0.3, equal=True, seed=2))
    p = truth.frequency()
    for t, sites in enumerate(traits.causal):
        effects = np.linalg.lstsq(truth.centred()[:, sites], traits.genetic[:, t], rcond=None)[0]
        sizes = np.abs(effects) * np.sqrt(2 * p[sites] * (1 - p[sites]))
        np.testing.assert_allclose(sizes, sizes[0], rtol=1e-6)


def test_the_scan_is_the_regression_of_statsmodels_with_and_without_a_block(folder):
    import statsmodels.api as sm

    truth = read_dosages(folder / "truth.vcf.gz")
    y = np.random.default_rng(1).normal(size=(N, 3)) + truth.values[:, [7]]
    x = truth.values[:, :9].astype(float)
    blocks = sample_blocks(N, 1)
    assert sorted(np.bincount(blocks)) == [15] * 20
    parts = list(left_out_chi2(x, y, blocks))
    for j in (0, 7):
        fitted = sm.OLS(y[:, 1], sm.add_constant(x[:, j])).fit()
        assert chi2_of(x, y)[j, 1] == pytest.approx(fitted.tvalues[1] ** 2, rel=1e-8)
        kept = blocks != 4
        fitted = sm.OLS(y[kept, 1], sm.add_constant(x[kept, j])).fit()
        assert parts[4][j, 1] == pytest.approx(fitted.tvalues[1] ** 2, rel=1e-8)


def test_breeding_values_are_those_of_the_mixed_model_equations():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 300))
    relationship = x @ x.T / 300
    y = np.linalg.cholesky(relationship + 1e-9 * np.eye(80)) @ rng.normal(size=(80, 2)) + rng.normal(size=(80, 2))
    train = np.arange(80) % 2 == 0
    found = breeding_values(relationship, y, train)
    changed = y.copy()
    changed[~train] = 0
    np.testing.assert_array_equal(found, breeding_values(relationship, changed, train))
    own, beside, one = relationship[np.ix_(train, train)], relationship[np.ix_(~train, train)], np.ones(40)
    for t in range(2):
        best = (-np.inf, None)
        for h2 in HERITABILITIES:
            inverse = np.linalg.inv(h2 * own + (1 - h2) * np.eye(40))
            mean = (one @ inverse @ y[train, t]) / (one @ inverse @ one)
            rest = y[train, t] - mean
            sigma2 = rest @ inverse @ rest / 39
            likelihood = -0.5 * (39 * np.log(sigma2) - np.linalg.slogdet(inverse)[1] + np.log(one @ inverse @ one))
            if likelihood > best[0]:
                best = (likelihood, h2 * beside @ inverse @ rest)
        np.testing.assert_allclose(found[:, t], best[1], atol=1e-8)


def test_slope_and_top_are_as_they_are_called():
    rng = np.random.default_rng(3)
    g = rng.normal(size=(100, 2))
    measured = prediction_measures(g / 2, g, g)
    assert measured["correlation"][0] == pytest.approx([1, 1]) and measured["top"][0].tolist() == [1, 1]
    assert (measured["slope"][0] / measured["slope"][1]) == pytest.approx([2, 2])


def test_the_interval_of_a_share_is_that_of_its_binomial_and_samples_widen_it():
    rng = np.random.default_rng(5)
    hits = (rng.random(200) < 0.6).astype(float)
    weights = trait_weights(200, 1)
    alone = estimates({"power": (hits, np.ones(200))}, [], weights, np.ones(200, dtype=bool))["power"]
    low, high = alone.interval()
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 200), rel=0.1)
    together = [{"power": (np.clip(hits + 0.02 * (k % 2), 0, None), np.ones(200))} for k in range(20)]
    wider = estimates({"power": (hits, np.ones(200))}, together, weights, np.ones(200, dtype=bool))["power"]
    assert np.diff(wider.interval()) > 1.3 * np.diff(alone.interval())
    difference: Estimate = wider.minus(wider)
    assert difference.interval() == (0.0, 0.0)


def test_page_table_and_json_say_the_same(found, tmp_path: Path):
    page = write_consequence(found, tmp_path / "out")
    assert sorted(path.name for path in page.parent.iterdir()) == sorted(FILES)
    told = json.loads((page.parent / "consequence.json").read_text())
    assert len(told["results"]) == len(found.table) and told["files"] == found.files
    text = page.read_text()
    assert "Which DR2 threshold costs least" in text and "forest" in text


def small_comparison(folder: Path) -> ConsequenceSettings:
    model = TraitModel(n_traits=12, variance=0.15, seed=3)
    return ConsequenceSettings(
        folder / "truth.vcf.gz", (folder / "good.vcf",), model=model, finemapped=2, filters=(0.0, 0.5), ways=("dr2",)
    )


def compare_until_killed(folder: Path, runs: Path, n_parts: int) -> None:
    """End this process by SIGKILL once n_parts parts of the small comparison are kept, as the next one is written."""
    die_at_part(n_parts)
    consequence.TRAITS_OF_A_PART = 1
    settings = small_comparison(folder)
    with threadpool_limits(1), parts_of(settings, runs, Watch()) as kept:
        compare_conclusions(settings, Watch(), kept.keep)


def test_a_killed_comparison_goes_on_where_it_was(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    killed = f"from tests.traits.test_consequence import *; compare_until_killed(Path({str(folder)!r}), Path({str(tmp_path)!r}), 4)"
    done = subprocess.run(
        [sys.executable, "-c", killed], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (home,) = (path for path in (tmp_path / "consequence").iterdir() if path.is_dir())
    before = {path.name for path in home.glob("*.npz")}
    made: list[str] = []
    saved = parts._save
    monkeypatch.setattr(parts, "_save", lambda path, part: (made.append(path.name), saved(path, part)))
    monkeypatch.setattr(consequence, "TRAITS_OF_A_PART", 1)
    settings = small_comparison(folder)
    with threadpool_limits(1), parts_of(settings, tmp_path, Watch()) as kept:
        found = compare_conclusions(settings, Watch(), kept.keep)
        assert home.is_dir()
        at_once = compare_conclusions(settings, Watch())
    # of the truth, the file and its filter each a scan and two parts that are fine-mapped, and two in the other way
    assert len(before) == 4 and len(made) == 11 - 4 and not before & set(made)
    pd.testing.assert_frame_equal(found.table, at_once.table, check_exact=True)
    assert not list((tmp_path / "consequence").iterdir())  # neither parts nor lock


def test_other_files_settings_or_traits_take_nothing_up(folder: Path, tmp_path: Path):
    settings = small_comparison(folder)
    copy = tmp_path / "traits.tsv"
    copy.write_text((folder / "traits.tsv").read_text())
    real = replace(settings, traits=copy)
    homes = [
        parts_of(s, tmp_path, Watch())._folder for s in (settings, settings, replace(settings, finemapped=3), real)
    ]
    copy.write_text(copy.read_text().replace("s7\t", "s7\t1"))
    homes.append(parts_of(real, tmp_path, Watch())._folder)
    assert homes[0] == homes[1] and len(set(homes)) == 4


REFUSED = {
    "have no sample in common": ["others.vcf.gz"],
    "truth.vcf.gz and elsewhere.vcf.gz have no site in common: contig, position and both alleles must agree": [
        "elsewhere.vcf.gz"
    ],
    "files are called the same in results: good": ["good.vcf", "good.vcf"],
    "--variance 2 is more than all: give 2%": ["good.vcf", "--variance", "2"],
    "has 0 sites with a MAF above 0.5 that may be causal, and 1 are needed": ["good.vcf", "--min-maf", "0.5"],
    "traits.tsv has no column 'height'": ["good.vcf", "--traits", "traits.tsv", "--trait", "height"],
    "name the imputed files to compare with": [],
    "1 imputed file and 2 labels: give one each": ["good.vcf", "--label", "a", "--label", "b"],
    "--trait, --covariates and --sample-column name columns of a table of real traits": ["good.vcf", "--trait", "milk"],
}


@pytest.mark.parametrize("said", REFUSED)
def test_bad_input_is_one_line(folder: Path, tmp_path: Path, said: str):
    matrix = matrix_of(ld_calls(N, P, seed=3), "15")
    write_vcf(folder / "elsewhere.vcf.gz", replace(matrix, sites=matrix.sites.assign(pos=matrix.sites.pos + 1)))
    strangers = matrix.samples.assign(sample=[f"x{i}" for i in range(N)])
    write_vcf(folder / "others.vcf.gz", replace(matrix, samples=strangers))
    words = [str(folder / word) if "." in word and not word.startswith("0") else word for word in REFUSED[said]]
    command = ["consequence", str(folder / "truth.vcf.gz"), *words, "-o", str(tmp_path / "out")]
    command += ["--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, InputError) and said in str(done.exception)
    assert "\n" not in str(done.exception) and not any(tmp_path.iterdir())


def test_the_command_says_what_changed(folder: Path, tmp_path: Path):
    command = [
        "consequence",
        str(folder / "truth.vcf.gz"),
        str(folder / "good.vcf"),
        "--simulate",
        "20",
        "--variance",
        "15%",
    ]
    command += ["--finemapped", "1", "--typed", str(folder / "typed.vcf.gz"), "-o", str(tmp_path / "out")]
    command += ["--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "20 simulated traits (1 causal of 120 sites, 15.0% of the variance, seed 1) in 300 samples" in done.stdout
    assert "least costly DR2 threshold of good: association:" in done.stdout and "\ntyped alone: " in done.stdout
    told = json.loads(CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False).stdout)
    assert told["page"].endswith("consequence.html") and told["traits"] == 20
