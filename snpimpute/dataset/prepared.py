"""The prepared dataset: a folder of VCF, TSV and JSON, named by the digest of its content and never changed."""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import written_beside
from snpimpute.base.names import require_plain
from snpimpute.dataset.scenarios import Scenario
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.io.matrix import read_matrix
from snpimpute.io.write_vcf import write_vcf

LAYOUT = 1
CHANGED = "{} was changed after it was made: remove the folder and prepare it again"
TRUE_GENOTYPES = "test.true.vcf.gz"
MASKED_CALLS = "masked_calls.npz"  # scenario → uint8 (n_samples of the split, n_sites / 8): np.packbits along the sites


@dataclass(frozen=True, eq=False)
class PreparedDataset:
    """Genotypes split into train and test, with the scenarios that hide calls.

    Attributes:
        name: name of the dataset.
        train: panel samples, including those held out for validation.
        test: test samples with all calls that are known.
        held_out: bool (train.n_samples,), the train samples held out for validation.
        scenarios: scenarios of the splits "test" and "validation".
        left_out: columns reason, n: number of sites that the filters left out, by reason.
        settings: settings that the dataset was made with (JSON-able).
        true_test: true genotypes of the test samples; simulated data only.
        headline: key of the headline tables' test scenario; if it hides whole sites, the fixed training mask hides the
            same sites.
    """

    name: str
    train: GenotypeMatrix
    test: GenotypeMatrix
    held_out: np.ndarray
    scenarios: tuple[Scenario, ...]
    left_out: pd.DataFrame
    settings: dict[str, Any]
    headline: str
    true_test: GenotypeMatrix | None = None

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that an imputer or a score can depend on."""
        parts: list[Any] = [LAYOUT, self.headline, self.train.digest(), self.test.digest()]
        parts += [self.true_test.digest() if self.true_test else "", self.held_out.astype(int).tolist()]
        parts += [[s.key, _mask_for_digest(s)] for s in self.scenarios]
        return digest(parts)

    @property
    def headline_scenario(self) -> Scenario:
        """Test scenario of the headline tables."""
        return next(s for s in self.scenarios if s.key == self.headline)

    @property
    def fit_panel(self) -> GenotypeMatrix:
        """Train samples that studies fit on."""
        return self.train.take_samples(~self.held_out)

    @property
    def validation(self) -> GenotypeMatrix:
        """Train samples held out, on which studies are judged."""
        return self.train.take_samples(self.held_out)

    def test_scenarios(self) -> list[Scenario]:
        """Return the scenarios of the split "test"."""
        return [s for s in self.scenarios if s.split == "test"]

    def training_mask(self, policy: Literal["fixed", "random"]) -> TrainingMask:
        """Return the calls that networks hide while they learn: the headline's sites, or random calls of each sample.

        Raises:
            InputError: `policy` is "fixed", and the headline scenario hides no whole sites.
        """
        if policy == "random":
            return TrainingMask("random")
        headline = self.headline_scenario
        if headline.by_call:
            raise InputError(
                f"a fixed training mask hides whole sites, and the headline scenario of {self.name} ({headline.mechanism}, "
                f"{headline.level:g}%) hides single calls: leave the variant out, or train it with mask = 'random'"
            )
        return TrainingMask("fixed", sites=headline.hidden)

    def validation_masks(self, policy: Literal["fixed", "random"]) -> tuple[np.ndarray, ...]:
        """Return the masks that validation is scored under: the headline scenario's sites, or the masks of all levels.

        Policy "fixed" gives the headline's, bool (n_sites,). Policy "random" gives the validation masks, bool
        (n_sites,) each, or (n_validation, n_sites) if the dataset is tested on single calls alone.

        Raises:
            InputError: see `training_mask`.
        """
        if policy == "fixed":
            sites = self.training_mask("fixed").sites
            assert sites is not None
            return (sites,)
        return tuple(s.hidden for s in self.scenarios if s.split == "validation")


def save_dataset(dataset: PreparedDataset, parent: Path) -> Path:
    """Write the dataset as `parent/NAME-DIGEST`, unless it is there already; return the folder."""
    content = dataset.digest
    folder = parent / f"{dataset.name}-{content[:12]}"
    if folder.exists():
        return folder
    with written_beside(folder) as beside:
        beside.mkdir()
        write_vcf(beside / "train.vcf.gz", dataset.train)
        write_vcf(beside / "test.vcf.gz", dataset.test)
        if dataset.true_test is not None:
            write_vcf(beside / TRUE_GENOTYPES, dataset.true_test)
        split = np.where(dataset.held_out, "validation", "train")
        samples = pd.concat([dataset.train.samples.assign(split=split), dataset.test.samples.assign(split="test")])
        samples.to_csv(beside / "samples.tsv", sep="\t", index=False)
        sites = dataset.train.sites.assign(maf_train=dataset.train.maf(), maf_test=dataset.test.maf())
        sites.to_csv(beside / "sites.tsv", sep="\t", index=False, float_format="%.6f")
        dataset.left_out.to_csv(beside / "left_out.tsv", sep="\t", index=False)
        keys = np.array(dataset.train.site_keys())
        described = [
            (s.key, s.split, s.mechanism, s.level, s.repeat, int(s.hidden.sum()), "calls" if s.by_call else "sites")
            for s in dataset.scenarios
        ]
        columns = ["scenario", "split", "mechanism", "missing_percent", "repeat", "n_hidden", "of"]
        pd.DataFrame(described, columns=columns).to_csv(beside / "scenarios.tsv", sep="\t", index=False)
        masked = [(s.key, key) for s in dataset.scenarios if not s.by_call for key in keys[s.hidden]]
        pd.DataFrame(masked, columns=["scenario", "site"]).to_csv(beside / "masked_sites.tsv", sep="\t", index=False)
        if calls := {s.key: s.packed for s in dataset.scenarios if s.by_call}:
            np.savez_compressed(beside / MASKED_CALLS, **calls)  # type: ignore[arg-type]
        about = {
            "layout": LAYOUT,
            "name": dataset.name,
            "digest": content,
            "headline": dataset.headline,
            "settings": dataset.settings,
        }
        (beside / "dataset.json").write_text(json.dumps(about, indent=1, default=str) + "\n")
    return folder


def read_about(folder: Path) -> dict[str, Any]:
    """Return the content of `dataset.json`; InputError if the folder holds no prepared dataset of this layout."""
    try:
        about = json.loads((folder / "dataset.json").read_text())
    except (OSError, ValueError):
        raise InputError(f"{folder} is not a prepared dataset: make one with snpimpute prepare") from None
    if about.get("layout") != LAYOUT:
        raise InputError(
            f"{folder} has layout {about.get('layout')}, this version reads layout {LAYOUT}: "
            "remove the folder, or give another with --runs, and prepare again"
        )
    require_plain(about.get("name"), f"{folder}: the dataset")
    return about


def load_dataset(folder: Path) -> PreparedDataset:
    """Read a prepared dataset and check that it is unchanged.

    Raises:
        InputError: not a prepared dataset, another layout, or changed since it was made.
    """
    about = read_about(folder)
    train, _ = read_matrix(folder / "train.vcf.gz")
    test, _ = read_matrix(folder / "test.vcf.gz")
    truth = read_matrix(folder / TRUE_GENOTYPES)[0] if (folder / TRUE_GENOTYPES).exists() else None
    table = pd.read_csv(folder / "samples.tsv", sep="\t", dtype=str, keep_default_na=False)
    for column in {"birth_order", "relationship"} & set(table.columns):
        table[column] = pd.to_numeric(table[column])
    is_test = (table["split"] == "test").to_numpy()
    labels = table.drop(columns="split")
    try:
        scenarios = _read_scenarios(folder, np.array(train.site_keys()))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile):
        raise InputError(CHANGED.format(folder)) from None
    dataset = PreparedDataset(
        name=about["name"],
        train=_with_samples(train, labels[~is_test]),
        test=_with_samples(test, labels[is_test]),
        held_out=(table["split"][~is_test] == "validation").to_numpy(),
        scenarios=scenarios,
        left_out=pd.read_csv(folder / "left_out.tsv", sep="\t"),
        settings=about["settings"],
        headline=about["headline"],
        true_test=None if truth is None else _with_samples(truth, labels[is_test]),
    )
    if dataset.digest != about["digest"]:
        raise InputError(CHANGED.format(folder))
    return dataset


def _read_scenarios(folder: Path, keys: np.ndarray) -> tuple[Scenario, ...]:
    """Read the scenarios of a dataset's folder; `keys` are the keys of its sites."""
    described = pd.read_csv(folder / "scenarios.tsv", sep="\t", dtype={"scenario": str})
    masked = pd.read_csv(folder / "masked_sites.tsv", sep="\t", dtype=str)
    hidden = {name: np.isin(keys, sites) for name, sites in masked.groupby("scenario")["site"]}
    packed = np.load(folder / MASKED_CALLS, allow_pickle=False) if (folder / MASKED_CALLS).exists() else {}
    scenarios = []
    for row in described.itertuples():
        mask = hidden.get(row.scenario)
        if mask is None:
            mask = np.unpackbits(packed[row.scenario], axis=-1, count=len(keys)).view(bool)
        scenarios.append(Scenario(row.split, row.mechanism, float(row.missing_percent), int(row.repeat), mask))
    return tuple(scenarios)


def _mask_for_digest(scenario: Scenario) -> list[int] | str:
    """Return a mask's part of the digest: numbers of whole sites, or the SHA-256 of a packed mask of single calls."""
    if scenario.by_call:
        return hashlib.sha256(scenario.packed.tobytes()).hexdigest()
    return np.flatnonzero(scenario.hidden).tolist()


@functools.lru_cache(maxsize=4)
def dataset_in(folder: Path) -> PreparedDataset:
    """Return the prepared dataset of a folder, read once per process."""
    return load_dataset(folder)


def _with_samples(matrix: GenotypeMatrix, labels: pd.DataFrame) -> GenotypeMatrix:
    """Return the matrix with another samples table."""
    return GenotypeMatrix(matrix.calls, labels.reset_index(drop=True), matrix.sites, matrix.haplotypes)
