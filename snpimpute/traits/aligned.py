"""Imputed files at the sites and samples of the truth, with their draws, for comparisons of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING, site_keys
from snpimpute.impute.draws import draws_folder
from snpimpute.io.builds import plain_contig
from snpimpute.io.filters import shortened
from snpimpute.io.stream import stem
from snpimpute.traits.dosages import Dosages, read_dosages
from snpimpute.traits.drawn import draw_files, read_drawn


@dataclass(frozen=True, eq=False)
class File:
    """An imputed file at the sites and samples of the truth.

    Attributes:
        label: its name in results.
        at: int (n,), numbers of its sites among the truth's.
        dosages: float64 (n_samples, n), centred, 0 where missing.
        quality: float64 (n,), DR2, NaN where it has none.
        draws: int8 (n_draws, n_samples, n), genotypes drawn from its posterior, -1 = missing; None = not read.
    """

    label: str
    at: np.ndarray
    dosages: np.ndarray
    quality: np.ndarray
    draws: np.ndarray | None = None

    @classmethod
    def of(cls, label: str, dosages: Dosages, at: np.ndarray) -> File:
        """Return the sites `at` (numbers) of dosages at the truth's sites that vary."""
        kept = at[dosages.varies()[at]]
        return cls(label, kept, dosages.take_sites(kept).centred(), dosages.quality[kept])

    def filtered(self, least: float) -> File:
        """Return the file without sites whose DR2 is below `least`; sites without one stay."""
        kept = ~(self.quality < least)
        draws = None if self.draws is None else self.draws[:, :, kept]
        return File(self.label, self.at[kept], self.dosages[:, kept], self.quality[kept], draws)

    def of_samples(self, rows: np.ndarray) -> File:
        """Return the samples at `rows`, centred anew."""
        dosages = self.dosages[rows]
        draws = None if self.draws is None else self.draws[:, rows]
        return replace(self, dosages=dosages - dosages.mean(axis=0), draws=draws)


def aligned(
    truth_file: Path, imputed: Sequence[Path], labels: Sequence[str], region: str | None, with_draws: bool
) -> tuple[Dosages, list[File], list[str]]:
    """Read the files; return the truth, at its sites and the samples that all have the imputed files, and notes.

    Args:
        truth_file: the true genotypes.
        imputed: files to compare with it.
        labels: their names in results; the files' own if empty.
        region: sites used; None = all.
        with_draws: whether the draws beside imputed files are read (`imputed.draws` of imputed.vcf.gz); one at least has some.

    Raises:
        InputError: a file cannot be read, the labels do not fit, or no sample or site is shared.
    """
    labels = list(labels) or [stem(path) for path in imputed]
    if len(labels) != len(imputed):
        raise InputError(
            f"{numbered(len(imputed), 'imputed file')} and {numbered(len(labels), 'label')}: give one each"
        )
    if repeated := {label for label in labels if labels.count(label) > 1}:
        raise InputError(f"files are called the same in results: {shortened(sorted(repeated))}; name them by --label")
    truth = read_dosages(truth_file, region=region)
    read = [read_dosages(path, region=region) for path in imputed]
    names = [name for name in truth.samples if all(name in set(other.samples) for other in read)]
    if not names:
        raise InputError(f"{truth.name} and {', '.join(other.name for other in read)} have no sample in common")
    notes = list(truth.notes)
    for one in (truth, *read):
        if (left := one.n_samples - len(names)) > 0:
            notes.append(f"{numbered(left, 'sample')} of {one.name} left out: not all files have them")
    row_of = {name: i for i, name in enumerate(truth.samples)}
    truth = truth.take_samples([row_of[name] for name in names])
    folders = [draws_folder(path) for path in imputed]
    if with_draws and not any(folder.is_dir() for folder in folders):
        draw_files(folders[0])  # tells how draws are made
    files = []
    for label, folder, other in zip(labels, folders, read, strict=True):
        drawn = with_draws and folder.is_dir()
        if with_draws and not drawn:
            notes.append(f"{other.name} has no draws beside it ({folder.name}): no way by draws")
        draws = read_drawn(draw_files(folder), other, region) if drawn else None
        files.append(_file(label, other, draws, truth, names, notes))
    return truth, files, notes


def _file(
    label: str, other: Dosages, draws: np.ndarray | None, truth: Dosages, names: Sequence[str], notes: list[str]
) -> File:
    """Return an imputed file at the truth's sites and the samples `names`; InputError if it has none of the sites."""
    places = {
        (plain_contig(s.contig), s.pos, s.ref, s.alt): j for j, s in enumerate(truth.sites.itertuples(index=False))
    }
    at: list[int] = []
    own: list[int] = []
    turned: list[bool] = []
    for j, site in enumerate(other.sites.itertuples(index=False)):
        contig = plain_contig(site.contig)
        straight = places.get((contig, site.pos, site.ref, site.alt))
        found = places.get((contig, site.pos, site.alt, site.ref)) if straight is None else straight
        if found is not None:
            at.append(found)
            own.append(j)
            turned.append(straight is None)
    if not at:
        raise InputError(
            f"{truth.name} and {other.name} have no site in common: contig, position and both alleles must agree "
            f"(the first are {site_keys(truth.sites[:1])[0]} and {site_keys(other.sites[:1])[0]})"
        )
    if absent := truth.n_sites - len(set(at)):
        notes.append(f"{other.name} lacks {numbered(absent, 'site')} of {truth.name}")
    if further := other.n_sites - len(own):
        notes.append(
            f"{numbered(further, 'site')} of {other.name} left out: {truth.name} has them not, or with other alleles"
        )
    row_of = {name: i for i, name in enumerate(other.samples)}
    rows = [row_of[name] for name in names]
    chosen = other.take_samples(rows).take_sites(own)
    values = np.where(turned, 2 - chosen.values, chosen.values)
    order = np.argsort(at, kind="stable")
    placed = Dosages(values[:, order], chosen.samples, chosen.sites, chosen.quality[order])
    own_sites = File.of(label, placed, np.arange(placed.n_sites))
    if draws is not None:
        draws = draws[:, rows][:, :, own]
        draws = np.where(np.array(turned) & (draws != MISSING), 2 - draws, draws)[:, :, order][:, :, own_sites.at]
    return replace(own_sites, at=np.array(at)[order][own_sites.at], draws=draws)
