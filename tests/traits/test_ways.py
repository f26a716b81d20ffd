"""Ways to fine-map on imputed genotypes: what they are where nothing is unsure, draws averaged, and misfits in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.cli.app import app
from snpimpute.io.write_vcf import write_vcf
from snpimpute.metrics.conclusions import FINE_MAPPING, MEASURES
from snpimpute.traits.aligned import File
from snpimpute.traits.associate import AssociationSettings, associate
from snpimpute.traits.association_page import write_association
from snpimpute.traits.consequence import ConsequenceSettings, compare_conclusions
from snpimpute.traits.dosages import read_dosages
from snpimpute.traits.drawn import centred_draw, draw_files, read_drawn
from snpimpute.traits.finemap import FineMapSettings, fine_map
from snpimpute.traits.simulated import TraitModel
from snpimpute.traits.susie import CredibleSet, FineMapped, correlation_of, from_products
from snpimpute.traits.ways import WAYS, Window, averaged
from tests.impute.test_concordance import soft_file
from tests.traits.data import ld_calls, matrix_of, write_traits

N, P, N_DRAWS, CAUSAL = 300, 60, 4, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """True genotypes, an imputed file with its draws, and a trait of one site."""
    folder = tmp_path_factory.mktemp("ways")
    rng = np.random.default_rng(7)
    matrix = matrix_of(ld_calls(N, P, seed=7), "15")
    write_vcf(folder / "truth.vcf.gz", matrix, index=True)
    noise = rng.dirichlet(np.ones(3), (N, P))
    posterior = np.where(rng.random((N, P, 1)) < 0.85, 0.9 * np.eye(3)[matrix.calls] + 0.1 * noise, noise)
    soft_file(folder / "imputed.vcf", matrix, posterior, "GT:DS:GP", np.full(P, 0.8))
    exchanged = matrix.sites.rename(columns={"ref": "alt", "alt": "ref"})[matrix.sites.columns]
    turned = replace(matrix, calls=(2 - matrix.calls).astype(np.int8), sites=exchanged)
    soft_file(folder / "turned.vcf", turned, posterior[:, :, ::-1], "GT:DS:GP", np.full(P, 0.8))
    (folder / "imputed.draws").mkdir()
    for number in range(N_DRAWS):
        drawn = (rng.random((N, P, 1)) > posterior.cumsum(axis=2)).sum(axis=2).clip(0, 2).astype(np.int8)
        write_vcf(folder / "imputed.draws" / f"draw-{number + 1:02d}.vcf.gz", replace(matrix, calls=drawn), index=True)
    write_traits(folder / "traits.tsv", milk=0.8 * matrix.calls[:, CAUSAL] + rng.normal(size=N), age=rng.normal(size=N))
    return folder


def file_of(quality: float = 1.0, seed: int = 3) -> tuple[File, np.ndarray]:
    """A file whose draws are all its calls, and a trait of one site."""
    calls = ld_calls(N, P, seed)
    centred = calls - calls.mean(axis=0)
    draws = np.stack([calls, calls, calls])
    y = centred[:, CAUSAL] + np.random.default_rng(1).normal(size=N)
    return File("f", np.arange(P), centred, np.full(P, quality), draws), y - y.mean()


def test_where_nothing_is_unsure_all_ways_are_the_same():
    file, y = file_of()
    plain = from_products(file.dosages.T @ file.dosages, file.dosages.T @ y, float(y @ y), N)
    assert any(CAUSAL in of.members for of in plain.sets)
    for way in (None, *WAYS):
        found = Window.of(file, 0, P, way).fine_mapped(y)
        np.testing.assert_allclose(found.pip, plain.pip, atol=1e-8)
        assert [of.members.tolist() for of in found.sets] == [sorted(of.members.tolist()) for of in plain.sets]


def test_dr2_and_draws_give_a_site_the_variance_that_its_dosage_lacks():
    file, y = file_of(quality=0.5)
    (_, plain), (x, scaled) = (Window.of(file, 5, 50, way).parts[0] for way in (None, "dr2"))
    np.testing.assert_allclose(np.diag(scaled), 2 * np.diag(plain))
    off = ~np.eye(45, dtype=bool)
    np.testing.assert_array_equal(scaled[off], plain[off])
    # the z score of a site alone is shrunk by the square root of DR2
    np.testing.assert_allclose((x.T @ y) / np.sqrt(np.diag(scaled)), (x.T @ y) / np.sqrt(np.diag(plain)) * np.sqrt(0.5))
    ((_, mean),) = Window.of(replace(file, draws=np.stack([file.draws[0], np.zeros_like(file.draws[0])])), 5, 50, "variance").parts  # fmt: skip
    np.testing.assert_allclose(mean, plain / 2)
    unknown = replace(file, quality=np.full(P, np.nan), draws=None)
    assert not any(way.fits(unknown) for way in WAYS.values())


def one_set(chances: list[float], pip: list[float] | None = None) -> FineMapped:
    own = np.array(chances)
    members = np.flatnonzero(own > 0.02)
    return FineMapped(np.array(pip or chances), [CredibleSet(members, 1.0, 0.95, own)], True)


def test_averaged_sets_are_of_what_half_of_the_draws_find():
    correlation = np.eye(5)
    correlation[:3, :3] = 0.9
    np.fill_diagonal(correlation, 1)
    of_first = [one_set([0.9, 0.1, 0, 0, 0]), one_set([0.1, 0.5, 0.4, 0, 0]), one_set([0, 0, 0, 0, 1.0])]
    none = FineMapped(np.zeros(5), [], True)
    found = averaged([*of_first, none], correlation)
    np.testing.assert_allclose(found.pip, np.array([1.0, 0.6, 0.4, 0, 1.0]) / 4)
    (only,) = found.sets  # the fifth site is found in one draw of four
    np.testing.assert_allclose(only.chances, [0.5, 0.3, 0.2, 0, 0])
    assert only.members.tolist() == [0, 1, 2] and only.purity == 0.9
    same = averaged([of_first[0]] * 3, correlation)
    assert same.sets[0].members.tolist() == [0, 1] and same.pip == pytest.approx(of_first[0].pip)
    two = FineMapped(np.ones(5), [of_first[0].sets[0], of_first[2].sets[0], of_first[0].sets[0]], True)
    assert len(averaged([two, two], correlation).sets) == 3  # effects of one draw are never one


def test_a_mixture_of_far_sites_makes_no_set():
    correlation = np.array([[1, 0.6, 0.45], [0.6, 1, 0.6], [0.45, 0.6, 1]])
    draws = [one_set([1.0, 0, 0]), one_set([0, 1.0, 0]), one_set([0, 0, 1.0])]
    found = averaged(draws, correlation)
    assert found.sets == []  # a purity of .45
    (only,) = averaged(draws, correlation, least_purity=0.4).sets
    assert only.members.tolist() == [0, 1, 2] and only.purity == 0.45


def test_draws_are_read_at_the_sites_and_samples_of_the_file(folder: Path):
    like = read_dosages(folder / "imputed.vcf").take_samples([5, 2, 9]).take_sites([40, 3])
    files = draw_files(folder / "imputed.draws")
    drawn = read_drawn(files, like)
    assert drawn.shape == (N_DRAWS, 3, 2) and drawn.dtype == np.int8
    whole = read_dosages(files[1]).values
    assert (drawn[1] == whole[[5, 2, 9]][:, [40, 3]]).all()
    one = np.array([[0, -1], [2, 1], [1, 1]], dtype=np.int8)
    assert centred_draw(one).tolist() == [[-1, 0], [1, 0], [0, 0]]


def test_consequence_has_a_row_for_each_way_that_differs_in_fine_mapping_alone(folder: Path):
    settings = ConsequenceSettings(
        folder / "truth.vcf.gz",
        (folder / "imputed.vcf", folder / "turned.vcf"),
        model=TraitModel(n_traits=8, variance=0.08, seed=3),
        finemapped=4,
        filters=(0.0,),
        ways=tuple(WAYS),
    )
    found = compare_conclusions(settings, Watch())
    assert found.files == ["true genotypes", "imputed", *(f"imputed, {way}" for way in WAYS), "turned", "turned, dr2"]
    assert "turned.vcf has no draws beside it (turned.draws): no way by draws" in found.notes
    assert found.notes[-1] == f"way draws: {WAYS['draws'].meaning}"
    for measure in MEASURES:
        values = [found.row(label, measure).value for label in found.files[1:5]]
        assert measure in FINE_MAPPING or len(set(values)) == 1
    sizes = {found.row(label, measure).value for label in found.files[1:5] for measure in ("set_size", "recall")}
    assert len(sizes - {float("nan")}) > 2


def test_finemap_averages_over_draws(folder: Path, tmp_path: Path):
    tested = associate(AssociationSettings(folder / "imputed.vcf", folder / "traits.tsv", "milk"), Watch())
    write_association(tested, tmp_path / "milk")
    gwas = str(tmp_path / "milk" / "association.tsv")
    asked = ["finemap", gwas, str(folder / "imputed.vcf"), "--p", "1e-4", "--json"]
    plain = json.loads(CliRunner().invoke(app, [*asked, "-o", str(tmp_path / "plain")], catch_exceptions=False).stdout)
    draws = ["--draws", str(folder / "imputed.draws"), "--traits", str(folder / "traits.tsv"), "--trait", "milk"]
    done = CliRunner().invoke(app, [*asked, *draws, "-o", str(tmp_path / "drawn")], catch_exceptions=False)
    told = json.loads(done.stdout)
    said = f"probabilities are means over {N_DRAWS} draws, each tested by linear regression of milk in {N} samples"
    assert any(note.startswith(said) for note in told["notes"])
    tables = [pd.read_csv(tmp_path / name / "finemap.tsv", sep="\t") for name in ("plain", "drawn")]
    assert (tables[0].position == tables[1].position).all() and (tables[0].pip != tables[1].pip).any()
    assert tables[0].p.tolist() == tables[1].p.tolist() and plain["loci"] != told["loci"]

    own = read_dosages(folder / "imputed.vcf")
    column = pd.read_csv(folder / "traits.tsv", sep="\t").milk
    y = (column - column.mean()).to_numpy()
    found = []
    for file in draw_files(folder / "imputed.draws"):
        x = read_dosages(file).centred()
        found.append(from_products(x.T @ x, x.T @ y, float(y @ y), N))
    expected = averaged(found, correlation_of(own.centred())).pip
    positions = {int(pos): pip for pos, pip in zip(own.sites.pos, expected, strict=True)}
    assert len(tables[1]) == P
    np.testing.assert_allclose(tables[1].pip, [positions[int(pos)] for pos in tables[1].position], atol=1e-5)


@pytest.fixture(scope="module")
def bad(folder: Path) -> Path:
    """The same with folders that hold no draws of it, and association results."""
    tested = associate(AssociationSettings(folder / "imputed.vcf", folder / "traits.tsv", "milk"), Watch())
    write_association(tested, folder / "milk")
    for name in ("one", "few", "soft"):
        (folder / f"{name}.draws").mkdir()
    first = draw_files(folder / "imputed.draws")[0]
    shutil.copy(first, folder / "one.draws")
    matrix = matrix_of(ld_calls(N, P, seed=7), "15").take_sites(np.arange(1, P))
    for name in "ab":
        write_vcf(folder / "few.draws" / f"{name}.vcf.gz", matrix, index=True)
        packed = folder / "soft.draws" / f"{name}.vcf.gz"
        for command in (["view", "-Oz", "-o", packed, folder / "imputed.vcf"], ["index", packed]):
            subprocess.run(["bcftools", *command], check=True, capture_output=True)
    return folder


NAMED = {"traits": Path("traits.tsv"), "trait": "milk"}
REFUSED = {
    "--draws needs the trait itself": {"draws": "imputed.draws"},
    "--traits and --trait are for --draws": NAMED,
    "no-such is no folder of draws": {"draws": "no-such", **NAMED},
    "draws are 2 at least": {"draws": "one.draws", **NAMED},
    "lacks site 15:1000:A:C of imputed.vcf": {"draws": "few.draws", **NAMED},
    "a.vcf.gz holds dosages, not drawn genotypes": {"draws": "soft.draws", **NAMED},
}


@pytest.mark.parametrize("said", REFUSED)
def test_misuse_is_one_line(bad: Path, said: str):
    options = {key: value if key == "trait" else bad / value for key, value in REFUSED[said].items()}
    settings = FineMapSettings(bad / "milk" / "association.tsv", bad / "imputed.vcf", p=1e-3, **options)
    with pytest.raises(InputError) as refused:
        fine_map(settings, Watch())
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_an_unknown_way_is_one_line(folder: Path):
    settings = ConsequenceSettings(folder / "truth.vcf.gz", (folder / "imputed.vcf",), ways=("magic",))
    with pytest.raises(InputError, match="--way 'magic' is not known: choose dr2, variance, draws"):
        compare_conclusions(settings, Watch())
    with pytest.raises(InputError, match=r"truth.draws is no folder of draws"):
        compare_conclusions(replace(settings, imputed=(folder / "truth.vcf.gz",), ways=("draws",)), Watch())
