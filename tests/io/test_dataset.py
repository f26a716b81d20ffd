"""The prepared dataset: its content decides its name, it reads back whole, other programs read it, changes are noticed."""

import gzip
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.config import DataSettings, ScenarioSettings, SplitSettings
from snpimpute.errors import InputError
from snpimpute.io.dataset import load_dataset, read_masked_sites, save_dataset
from snpimpute.io.prepare import build_dataset
from snpimpute.io.vcf import write_vcf
from snpimpute.masking import VALIDATION_LEVELS
from tests.imputers.contract import small_panel

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
