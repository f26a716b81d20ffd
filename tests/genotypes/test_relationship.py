"""Relationship by pedigree: the matrix, whom it is read for, and what scores and report make of it."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.prepared import PreparedDataset, load_dataset, save_dataset
from snpimpute.dataset.settings import DataSettings, ScenarioSettings, SplitSettings
from snpimpute.genotypes import relationship
from snpimpute.genotypes.relationship import additive_relationship, closest_relationship, rank_correlations
from snpimpute.imputers.testing import small_panel
from snpimpute.io.matrix import read_matrix
from snpimpute.io.samples import read_pedigree, read_samples
from snpimpute.io.write_vcf import write_vcf
from snpimpute.report import ReportContext
from snpimpute.report.relatives import relatives
from snpimpute.report.rows import Rows
from snpimpute.report.tree import Figure, Style, Table
from snpimpute.scoring.posteriors import Posteriors
from snpimpute.scoring.table import score_table


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sample", "sire", "dam"])


# ---------------------------------------------------------------------- the matrix


def test_the_matrix_of_the_textbook() -> None:
    """Mrode, Linear models for the prediction of animal breeding values, example 2.1; rows not in order of birth."""
    pedigree = table(("6", "5", "2"), ("5", "4", "3"), ("3", "1", "2"), ("4", "1", ""))
    expected = [
        [1, 0, 0.5, 0.5, 0.5, 0.25],
        [0, 1, 0.5, 0, 0.25, 0.625],
        [0.5, 0.5, 1, 0.25, 0.625, 0.5625],
        [0.5, 0, 0.25, 1, 0.625, 0.3125],
        [0.5, 0.25, 0.625, 0.625, 1.125, 0.6875],
        [0.25, 0.625, 0.5625, 0.3125, 0.6875, 1.125],
    ]
    np.testing.assert_array_equal(additive_relationship(pedigree, list("123456")), expected)
    np.testing.assert_array_equal(
        additive_relationship(pedigree, list("63")), np.array(expected)[np.ix_([5, 2], [5, 2])]
    )


def test_the_matrix_is_twice_the_kinship_of_malecot() -> None:
    """Kinship by recursion on an inbred pedigree of 80 animals."""
    rng = np.random.default_rng(4)
    rows = [
        (str(i), *(str(p) if p < i and rng.random() < 0.8 else "" for p in rng.integers(max(0, i - 25), i + 3, 2)))
        for i in range(80)
    ]
    parents = {name: (sire, dam) for name, sire, dam in rows}

    @functools.cache
    def kinship(a: str, b: str) -> float:
        if "" in (a, b):
            return 0.0
        if a == b:
            return (1 + kinship(*parents[a])) / 2
        younger, older = (a, b) if int(a) > int(b) else (b, a)
        return sum(kinship(parent, older) for parent in parents[younger]) / 2

    names = [name for name, *_ in rows]
    found = additive_relationship(table(*(rows[i] for i in rng.permutation(80))), names)
    np.testing.assert_allclose(found, [[2 * kinship(a, b) for b in names] for a in names])
    assert found.diagonal().max() > 1.2 and (found == found.T).all()


def test_an_impossible_pedigree_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"makes [abc] its own ancestor"):
        additive_relationship(table(("a", "b", ""), ("b", "", "c"), ("c", "a", "")), ["a"])
    monkeypatch.setattr(relationship, "MAX_ANIMALS", 2)
    with pytest.raises(InputError, match="3 animals in their pedigree, more than 2"):
        additive_relationship(table(("a", "b", "c"), ("x", "y", "z")), ["a"])


def test_the_closest_of_train() -> None:
    pedigree = table(
        ("half", "sire", "d1"), ("full", "sire", "d2"), ("cousin", "uncle", ""), ("t1", "sire", "d2"),
        ("t2", "sire", "d3"), ("uncle", "old", ""), ("sire", "old", ""), ("alone", "", ""),
    )  # fmt: skip
    closest = closest_relationship(pedigree, ["half", "nobody", "full", "cousin", "alone"], ["t1", "t2", "unlisted"])
    np.testing.assert_array_equal(closest, [0.25, np.nan, 0.5, 0.0625, 0.0])
    with pytest.raises(InputError, match="names no train sample or no test sample"):
        closest_relationship(pedigree, ["half"], ["somebody"])


def test_rank_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    closest, accuracy = rng.choice([0.0, 0.125, 0.25], 30), rng.random((20, 30)).round(1)
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=20)
    found = rank_correlations(closest, accuracy, weights)
    drawn = [np.repeat(np.arange(30), times) for times in weights]
    expected = [spearmanr(closest[d], values[d]).statistic for d, values in zip(drawn, accuracy, strict=True)]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(rank_correlations(np.full(30, 0.25), accuracy, weights)).all()


# ---------------------------------------------------------------------- files


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_pedigree_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "p.tsv", "id\tsire\tdam\tgener", "b\ta \t0\t1.0", "a\tNA\t.\t0.0", "007\t\tb\t2.0")
    assert read_pedigree(path).to_numpy().tolist() == [["b", "a", ""], ["a", "", ""], ["007", "", "b"]]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["id\tfather\tdam", "a\tb\tc"], r"p\.tsv has no column 'sire'"),
        (["name\tsire\tdam", "a\tb\tc"], r"p\.tsv has no column 'sample'"),
        (["id\tsire\tdam", "a\tb\tc", "a\td\te"], "names samples more than once: a"),
        (["id\tsire\tdam", "\tb\tc"], "row without a sample name: row 1"),
    ],
)
def test_refused_pedigrees(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_pedigree(write(tmp_path / "p.tsv", *lines))


def test_a_sample_table_may_name_parents(tmp_path: Path) -> None:
    found = read_samples(write(tmp_path / "s.tsv", "dam\tsample\tsire", "0\ts1\tbull"))
    assert found.columns.tolist() == ["sample", "sire", "dam"] and found.iloc[0].tolist() == ["s1", "bull", ""]


# ---------------------------------------------------------------------- datasets and scores

N_SAMPLES = 120


def pedigree_of(name: str) -> str:
    """A row for sample sN: full sibs in threes, six to a sire, two sires to a grandsire; the last ones are strangers."""
    n = int(name.removeprefix("s"))
    return f"{name}\t0\t0" if n >= N_SAMPLES - 10 else f"{name}\tsire{n // 6}\tdam{n // 3}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with genotypes, a pedigree with ancestors without genotypes, and a sample table that names parents."""
    folder = tmp_path_factory.mktemp("files")
    panel = small_panel(N_SAMPLES)
    write_vcf(folder / "g.vcf.gz", panel)
    sires = [f"sire{i}\tgrandsire{i // 2}\t0" for i in range(N_SAMPLES // 6)]
    bulls = [pedigree_of(name) for name in panel.names if name != "s7"]  # s7 is in no row
    write(folder / "pedigree.tsv", "id\tsire\tdam", *bulls, *sires)
    write(folder / "samples.tsv", "sample\tsire\tdam", *map(pedigree_of, panel.names))
    return folder


def build(files: Path, scheme: str = "random", **more: Path | None) -> PreparedDataset:
    data = DataSettings(
        source=str(files / "g.vcf.gz"),
        split=SplitSettings(scheme=scheme, test=0.4),
        scenarios=ScenarioSettings(levels=(30, 60), repeats=2, mechanisms=("independent",)),
        **{"pedigree": files / "pedigree.tsv", **more},
    )
    return build_dataset("bulls", data, seed=13, headline_level=60)


@pytest.fixture(scope="module")
def dataset(files: Path) -> PreparedDataset:
    return build(files)


def test_test_samples_know_their_closest_relative_in_train(dataset: PreparedDataset) -> None:
    samples = dataset.test.samples.set_index("sample")
    train = set(dataset.train.samples.sire) - {""}
    for name, row in samples.iterrows():
        n = int(str(name).removeprefix("s"))
        if n == 7:
            assert np.isnan(row.relationship)
        elif n >= N_SAMPLES - 10:
            assert row.relationship == 0 and row.family == ""
        else:
            full_sibs = {f"s{i}" for i in range(n // 3 * 3, n // 3 * 3 + 3)} & set(dataset.train.names) - {"s7"}
            assert row.family == f"sire{n // 6}"
            assert row.relationship == (0.5 if full_sibs else 0.25 if f"sire{n // 6}" in train else 0.0625), name
    assert dataset.train.samples.relationship.isna().all()


def test_a_split_by_family_takes_sires_apart(files: Path) -> None:
    apart = build(files, "family")
    assert not set(apart.test.samples.family) & (set(apart.train.samples.family) - {""})
    assert apart.test.samples.relationship.max() <= 0.0625


def test_a_dataset_with_relationships_reads_back(files: Path, tmp_path: Path) -> None:
    for more in ({}, {"pedigree": None, "samples": files / "samples.tsv"}):
        made = build(files, **more)
        again = load_dataset(save_dataset(made, tmp_path))
        pd.testing.assert_frame_equal(again.test.samples, made.test.samples, check_dtype=False)
        assert again.test.samples.relationship.dtype == float


def test_parents_in_the_sample_table_do_as_well(files: Path) -> None:
    """Grandsires are known from the pedigree file only; the nearer relatives are the same."""
    near = build(files, pedigree=None, samples=files / "samples.tsv").test.samples.set_index("sample").relationship
    far = build(files).test.samples.set_index("sample").relationship.drop("s7", errors="ignore")
    assert (near[far.index] == far.where(far >= 0.25, 0.0)).all()


def test_without_a_pedigree_nothing_changes(files: Path) -> None:
    assert build(files, pedigree=None).test.samples.columns.tolist() == ["sample"]


def helped_by_relatives(dataset: PreparedDataset, variant: str, help_: float) -> Posteriors:
    """An imputer that is right more often the closer a sample's relatives in train are."""
    rng = np.random.default_rng(5)
    right = 0.6 + help_ * dataset.test.samples.relationship.fillna(0).to_numpy()
    values = {}
    for scenario in dataset.test_scenarios():
        truth = dataset.test.calls[:, scenario.hidden]
        calls = np.where(rng.random(truth.shape) < right[:, None], truth, rng.integers(0, 3, truth.shape))
        values[scenario.key] = (0.8 * np.eye(3)[calls] + 0.2 / 3).astype(np.float16)
    return Posteriors("toy", variant, 1, values, frozenset(), dict.fromkeys(values, 0.1))


@pytest.fixture(scope="module")
def results(dataset: PreparedDataset) -> list[Posteriors]:
    return [helped_by_relatives(dataset, "helped", 0.7), helped_by_relatives(dataset, "alike", 0.0)]


@pytest.fixture(scope="module")
def scores(dataset: PreparedDataset, results: list[Posteriors]) -> pd.DataFrame:
    found = score_table(dataset, results, n_resamples=300, seed=1)
    return found[(found.level == 60) & (found["repeat"] == "all") & (found.versus == "")]


def test_subsets_by_relationship(dataset: PreparedDataset, results: list[Posteriors], scores: pd.DataFrame) -> None:
    rows = scores[
        scores.subset.str.startswith("relation:") & (scores.metric == "f1_macro") & (scores.variant == "helped")
    ]
    assert rows.subset.tolist() == ["relation:0.000-0.125", "relation:0.250-0.500", "relation:0.500-2.000"]
    closest = dataset.test.samples.relationship.to_numpy()
    scenarios = [s for s in dataset.test_scenarios() if s.level == 60]
    for row, chosen in zip(rows.itertuples(), (closest < 0.125, closest == 0.25, closest >= 0.5), strict=True):
        truth = np.concatenate([dataset.test.calls[chosen][:, s.hidden].ravel() for s in scenarios])
        calls = np.concatenate([results[0].values[s.key][chosen].argmax(axis=2).ravel() for s in scenarios])
        known = truth >= 0
        assert row.value == pytest.approx(f1_score(truth[known], calls[known], average="macro", labels=[0, 1, 2]))
        assert row.n == known.sum() and row.low < row.value < row.high


def test_rank_correlation_with_its_interval(dataset: PreparedDataset, scores: pd.DataFrame) -> None:
    rho = scores[scores.metric == "relationship_rho"].set_index("variant")
    samples = scores[scores.subset.str.startswith("sample:") & (scores.variant == "helped")]
    wide = samples.pivot(index="subset", columns="metric", values="value").dropna(subset=["relationship"])
    assert rho.value["helped"] == pytest.approx(spearmanr(wide.relationship, wide.f1_micro).statistic)
    assert rho.n["helped"] == len(wide) == dataset.test.samples.relationship.notna().sum()
    assert 0 < rho.low["helped"] < rho.value["helped"] < rho.high["helped"]
    assert rho.low["alike"] < 0 < rho.high["alike"]


# ---------------------------------------------------------------------- the report


def section_of(scores: pd.DataFrame) -> list[object]:
    imputers = pd.DataFrame({"dataset": "bulls", "imputer": "toy", "variant": ["helped", "alike"], "status": "ok"})
    context = ReportContext("t", [], [], imputers, "independent", 60.0, {}, {})
    styles = {f"toy/{variant}": Style("#0072B2", i) for i, variant in enumerate(("helped", "alike"))}
    return list(relatives(Rows(scores, context, "bulls"), styles, "d1", "bulls").blocks)


def test_the_section_shows_bins_correlation_and_every_sample(dataset: PreparedDataset, scores: pd.DataFrame) -> None:
    by_bin, _, bins, samples = section_of(scores)
    assert isinstance(by_bin, Table) and isinstance(bins, Figure) and isinstance(samples, Figure)
    closest = dataset.test.samples.relationship
    assert by_bin.columns[1:4] == [
        f"0 to 0.125 ({(closest < 0.125).sum()} samples)",
        f"0.25 to 0.5 ({(closest == 0.25).sum()} samples)",
        f"0.5 and closer ({(closest == 0.5).sum()} samples)",
    ]
    (helped,) = [row for row in by_bin.rows if row[0].text == "toy/helped"]
    rho = scores[(scores.metric == "relationship_rho") & (scores.variant == "helped")].iloc[0]
    assert (helped[5].text, helped[5].detail) == (f"{rho.value:.3f}", f"{rho.low:.3f} to {rho.high:.3f}")
    cell = scores[(scores.subset == "relation:0.500-2.000") & (scores.metric == "f1_macro")].iloc[0]
    assert helped[3].text == f"{cell.value:.3f}"
    (line,) = [line for line in samples.panels[0].lines if line.label == "toy/helped"]
    assert sorted(point.x for point in line.points) == sorted(closest.dropna())
    assert [point.x for point in bins.panels[0].lines[0].points] == bins.panels[0].categories


def test_no_section_without_a_pedigree(dataset: PreparedDataset, results: list[Posteriors]) -> None:
    strangers = replace(
        dataset, test=replace(dataset.test, samples=dataset.test.samples.drop(columns=["relationship"]))
    )
    found = score_table(strangers, results, n_resamples=100, seed=1)
    assert not found.subset.str.startswith("relation:").any() and not found.metric.str.startswith("relationship").any()
    assert section_of(found) == []


# ---------------------------------------------------------------------- real cattle


@pytest.mark.panels
def test_the_bulls_of_the_cattle_panel() -> None:
    """82 of the 100 test bulls of chromosome 1 have a paternal half sib in train."""
    if "SNPIMPUTE_PANELS" not in os.environ:
        pytest.skip("SNPIMPUTE_PANELS is not set")
    panels = Path(os.environ["SNPIMPUTE_PANELS"])
    pedigree = read_pedigree(panels / "cattle" / "pedigree.tsv")
    train, test = (read_matrix(panels / "cattle-chr1" / f"{part}.vcf.gz")[0].names for part in ("train", "test"))
    sire = pedigree.set_index("sample").sire
    half_sibs = np.isin(sire[test], sire[train])
    closest = closest_relationship(pedigree, test, train)
    assert half_sibs.sum() == 82 and (closest[half_sibs] >= 0.25).all()
    assert np.median(closest[~half_sibs]) < 0.25
