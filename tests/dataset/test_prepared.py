"""The prepared dataset: its content decides its name, it reads back whole, other programs read it, changes are noticed."""

import gzip
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.prepared import load_dataset, save_dataset
from snpimpute.dataset.scenarios import VALIDATION_LEVELS
from snpimpute.dataset.settings import DataSettings, ScenarioSettings, SplitSettings
from snpimpute.dataset.site_lists import read_masked_sites, read_typed_sites
from snpimpute.imputers.testing import small_panel
from snpimpute.io.write_vcf import write_vcf

SETTINGS = DataSettings(
    simulation={"n_samples": 100, "n_sites": 50}, scenarios=ScenarioSettings(levels=(20, 60, 90), repeats=2)
)


@pytest.fixture(scope="module")
def dataset():
    return build_dataset("calves", SETTINGS, seed=1, headline_level=60)


def test_splits_and_scenarios(dataset):
    assert (dataset.train.n_samples, dataset.test.n_samples, dataset.held_out.sum()) == (80, 20, 16)
    assert not set(dataset.train.names) & set(dataset.test.names)
    kinds = {(s.mechanism, s.level, s.repeat) for s in dataset.test_scenarios()}
    every = {(m, x, r) for m in ("independent", "nested") for x in (20.0, 60.0, 90.0) for r in (0, 1)}
    assert kinds == every - {("nested", 60.0, 1)}  # nested masks run through the fixed one: it is there once
    assert [s.level for s in dataset.scenarios if s.split == "validation"] == list(VALIDATION_LEVELS)
    assert dataset.headline == "test-independent-60-0"
    fixed = dataset.training_mask("fixed").sites
    assert (dataset.validation_masks("fixed")[0] == fixed).all()
    nested = {(s.level, s.repeat): s.hidden for s in dataset.scenarios if s.mechanism == "nested"}
    assert (nested[60.0, 0] == fixed).all()
    assert not (nested[20.0, 0] & ~fixed).any() and not (nested[20.0, 1] & ~fixed).any()


def test_nested_masks_alone_run_through_one_too():
    nested = SETTINGS.model_copy(
        update={"scenarios": SETTINGS.scenarios.model_copy(update={"mechanisms": ("nested", "independent")})}
    )
    dataset = build_dataset("calves", nested, seed=1, headline_level=60)
    assert dataset.headline == "test-nested-60-0"
    hidden = {s.key: s.hidden for s in dataset.test_scenarios()}
    assert "test-nested-60-1" not in hidden and "test-independent-60-1" in hidden
    assert not (hidden["test-nested-20-1"] & ~dataset.headline_scenario.hidden).any()


def test_the_same_settings_give_the_same_dataset_and_another_seed_another(dataset):
    assert build_dataset("calves", SETTINGS, seed=1, headline_level=60).digest == dataset.digest
    assert build_dataset("calves", SETTINGS, seed=2, headline_level=60).digest != dataset.digest


def test_it_reads_back_whole(dataset, tmp_path):
    folder = save_dataset(dataset, tmp_path)
    assert folder.name == f"calves-{dataset.digest[:12]}"
    again = load_dataset(folder)
    assert again.digest == dataset.digest
    assert again.true_test is not None
    np.testing.assert_array_equal(again.true_test.haplotypes, dataset.true_test.haplotypes)
    pd.testing.assert_frame_equal(again.test.samples, dataset.test.samples, check_dtype=False)
    assert save_dataset(dataset, tmp_path) == folder
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_other_programs_read_it(dataset, tmp_path):
    folder = save_dataset(dataset, tmp_path)
    told = subprocess.run(
        ["bcftools", "query", "-f", "[%GT ]\n", folder / "train.vcf.gz"], capture_output=True, text=True, check=True
    )
    spelled = {"0/0": 0, "0/1": 1, "1/1": 2}
    calls = np.array([[spelled[gt] for gt in line.split()] for line in told.stdout.splitlines()]).T
    np.testing.assert_array_equal(calls, dataset.train.calls)
    with gzip.open(folder / "train.vcf.gz", "rt") as handle:
        assert handle.readline() == "##fileformat=VCFv4.2\n"


def test_maf_is_that_of_plink2(tmp_path):
    matrix = small_panel(80, missing=0.05)
    write_vcf(tmp_path / "all.vcf.gz", matrix)
    data = DataSettings(source=str(tmp_path / "all.vcf.gz"), split=SplitSettings(test=30))
    folder = save_dataset(build_dataset("all", data, seed=1, headline_level=60), tmp_path)
    subprocess.run(
        ["plink2", "--vcf", folder / "test.vcf.gz", "--freq", "--out", tmp_path / "f"], capture_output=True, check=True
    )
    alt = pd.read_csv(tmp_path / "f.afreq", sep="\t")["ALT_FREQS"]
    sites = pd.read_csv(folder / "sites.tsv", sep="\t")
    np.testing.assert_allclose(sites["maf_test"], np.minimum(alt, 1 - alt), atol=2e-6)


def test_a_changed_dataset_is_noticed(dataset, tmp_path):
    folder = save_dataset(dataset, tmp_path)
    table = (folder / "masked_sites.tsv").read_text().splitlines()
    (folder / "masked_sites.tsv").write_text("\n".join(table[:-1]) + "\n")
    with pytest.raises(InputError, match="was changed after it was made"):
        load_dataset(folder)


def test_an_older_layout_is_refused(dataset, tmp_path):
    folder = save_dataset(dataset, tmp_path)
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**about, "layout": 0}))
    with pytest.raises(InputError, match="has layout 0, this version reads layout 1"):
        load_dataset(folder)
    with pytest.raises(InputError, match="not a prepared dataset"):
        load_dataset(tmp_path)


SINGLE_CALLS = DataSettings(
    simulation={"n_samples": 100, "n_sites": 50},
    scenarios=ScenarioSettings(levels=(0.5, 5, 20), repeats=2, mechanisms=("entries", "maf", "blocks")),
)


def test_single_calls_alone_are_judged_on_single_calls():
    dataset = build_dataset("calves", SINGLE_CALLS, seed=1, headline_level=60)
    assert dataset.headline == "test-entries-20-0"
    assert [s.key for s in dataset.scenarios[-3:]] == [f"validation-entries-{level}-0" for level in (1, 5, 20)]
    assert [m.sum() / m.size for m in dataset.validation_masks("random")] == [0.01, 0.05, 0.2]
    assert dataset.validation_masks("random")[0].shape == (16, 50)
    with pytest.raises(InputError, match=r"headline scenario of calves \(entries, 20%\) hides single calls"):
        dataset.validation_masks("fixed")


def test_single_calls_beside_whole_sites(dataset, tmp_path):
    both = ScenarioSettings(levels=(20, 60), repeats=1, mechanisms=("entries", "independent", "nested", "array"))
    made = build_dataset("calves", SETTINGS.model_copy(update={"scenarios": both}), seed=1, headline_level=60)
    found = {s.key: s.hidden for s in made.scenarios}
    assert made.headline == "test-entries-60-0"
    same = [s for s in dataset.scenarios if s.key == "test-independent-20-0" or s.split == "validation"]
    assert len(same) == 6 and all((found[s.key] == s.hidden).all() for s in same)
    assert not (found["test-nested-20-0"] & ~found["test-nested-60-0"]).any()
    assert found["test-array-60-0"].sum() == 30
    folder = save_dataset(made, tmp_path)
    again = load_dataset(folder)
    assert again.digest == made.digest
    assert all((one.hidden == other.hidden).all() for one, other in zip(again.scenarios, made.scenarios, strict=True))
    table = pd.read_csv(folder / "scenarios.tsv", sep="\t").set_index("scenario")
    assert table.loc["test-entries-20-0", ["n_hidden", "of"]].tolist() == [200, "calls"]
    assert table.loc["test-nested-20-0", ["n_hidden", "of"]].tolist() == [10, "sites"]
    with np.load(folder / "masked_calls.npz") as archive:
        packed = {key: archive[key] for key in archive.files}
    packed["test-entries-20-0"][3, 1] ^= 64
    np.savez_compressed(folder / "masked_calls.npz", **packed)
    with pytest.raises(InputError, match="was changed after it was made"):
        load_dataset(folder)
    (folder / "masked_calls.npz").unlink()
    with pytest.raises(InputError, match="was changed after it was made"):
        load_dataset(folder)


def test_an_array_from_a_list(tmp_path):
    sites = small_panel().sites
    listed = tmp_path / "array.txt"
    listed.write_text("1:1000:A:C\nv3\n1:7000\n1:999999\n")
    assert np.flatnonzero(read_typed_sites(listed, sites)).tolist() == [0, 3, 4]
    listed.write_text("1:999\n")
    with pytest.raises(InputError, match=r"array\.txt lists none of the 40 sites"):
        read_typed_sites(listed, sites)
    with pytest.raises(InputError, match="cannot read the array's sites"):
        read_typed_sites(tmp_path / "none.txt", sites)
    write_vcf(tmp_path / "all.vcf.gz", small_panel(missing=0.0))
    listed.write_text("1:1000\n1:5500\n1:10000\n")
    wanted = ScenarioSettings(mechanisms=("array",), typed=listed)
    data = DataSettings(source=str(tmp_path / "all.vcf.gz"), scenarios=wanted)
    made = build_dataset("listed", data, seed=1, headline_level=60)
    (scenario,) = made.test_scenarios()
    typed = ~scenario.hidden
    assert made.train.sites.pos[typed].tolist() == [1000, 5500, 10000]
    assert scenario.level == round(100 * (1 - 3 / made.train.n_sites), 1)
    assert scenario.key == f"test-array-{scenario.level:g}-0", "the first mask of its level, and the only one"


def test_several_contigs(tmp_path):
    matrix = small_panel(missing=0.0)
    sites = matrix.sites.assign(contig=["1"] * 25 + ["2"] * 15)
    write_vcf(tmp_path / "all.vcf.gz", replace(matrix, sites=sites))
    scenarios = ScenarioSettings(levels=(20,), repeats=1, mechanisms=("nested", "array", "blocks"))
    data = DataSettings(source=str(tmp_path / "all.vcf.gz"), scenarios=scenarios)
    made = load_dataset(save_dataset(build_dataset("two", data, seed=1, headline_level=60), tmp_path))
    assert made.train.sites.contig.unique().tolist() == ["1", "2"]
    assert [s.key for s in made.test_scenarios()] == ["test-nested-20-0", "test-array-20-0", "test-blocks-20-0"]


def masks(tmp_path: Path, text: str) -> Path:
    (tmp_path / "masks.tsv").write_text(text)
    return tmp_path / "masks.tsv"


def test_masks_from_a_file(tmp_path):
    sites = small_panel().sites
    found = read_masked_sites(masks(tmp_path, "missing_percent\tsite\n5\t1:1000:A:C\n5\tv3\n60\t1:4000:A:C\n"), sites)
    assert {level: np.flatnonzero(hidden).tolist() for level, hidden in found.items()} == {5.0: [0, 3], 60.0: [2]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing_percent\tsite\n60\t1:7:A:C\n", "masked site 1:7:A:C is not in the data"),
        ("missing_percent\tsite\n100\t1:1000:A:C\n", "100 is not a percentage"),
        ("missing_percent\tsite\n0\t1:1000:A:C\n", "0 is not a percentage"),
        ("level\tsite\n60\t1:1000:A:C\n", "needs the columns missing_percent and site"),
    ],
)
def test_wrong_masks_are_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_masked_sites(masks(tmp_path, text), small_panel().sites)


def test_files_split_already(tmp_path):
    matrix = small_panel(60, missing=0.0)
    write_vcf(tmp_path / "train.vcf.gz", matrix.take_samples(slice(0, 50)))
    write_vcf(tmp_path / "test.vcf.gz", matrix.take_samples(slice(50, 60)))
    data = DataSettings(train=tmp_path / "train.vcf.gz", test=tmp_path / "test.vcf.gz")
    dataset = build_dataset("given", data, seed=1, headline_level=60)
    assert dataset.test.names == matrix.names[50:]
    assert dataset.train.haplotypes is None
    phased = np.stack([matrix.calls > 1, matrix.calls > 0], axis=2).astype(np.int8)
    write_vcf(tmp_path / "train.vcf.gz", replace(matrix, haplotypes=phased).take_samples(slice(0, 50)))
    dataset = load_dataset(save_dataset(build_dataset("given", data, seed=1, headline_level=60), tmp_path))
    kept = np.isin(matrix.site_keys(), dataset.train.site_keys())  # some sites do not vary
    np.testing.assert_array_equal(dataset.train.haplotypes, phased[:50, kept])  # though the test file has no phase
    assert dataset.test.haplotypes is None
    write_vcf(tmp_path / "test.vcf.gz", matrix.take_samples(slice(49, 60)))
    with pytest.raises(InputError, match="sample s49 is in both"):
        build_dataset("given", data, seed=1, headline_level=60)
    write_vcf(tmp_path / "test.vcf.gz", matrix.take_samples(slice(50, 60)).take_sites(slice(1, 40)))
    with pytest.raises(InputError, match="expects site 1:1000:A:C"):
        build_dataset("given", data, seed=1, headline_level=60)


def test_family_split_from_a_sample_table(tmp_path):
    matrix = small_panel(60, missing=0.0)
    write_vcf(tmp_path / "all.vcf.gz", matrix)
    rows = [f"s{i}\tfam{i // 6}" for i in range(60)]
    (tmp_path / "samples.tsv").write_text("sample\tfamily\n" + "\n".join(rows) + "\n")
    data = DataSettings(
        source=str(tmp_path / "all.vcf.gz"), samples=tmp_path / "samples.tsv", split=SplitSettings(scheme="family")
    )
    dataset = build_dataset("fam", data, seed=1, headline_level=60)
    for one, other in ((dataset.train, dataset.test), (dataset.fit_panel, dataset.validation)):
        assert not set(one.samples["family"]) & set(other.samples["family"])
