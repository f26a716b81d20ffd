"""What imputing changes in the conclusion: association, fine-mapping and prediction by imputed files beside true genotypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.digests import digest, file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.sources import source_digest
from snpimpute.base.words import numbered
from snpimpute.impute.draws import draws_folder
from snpimpute.io.builds import plain_contig
from snpimpute.io.site_names import SiteList
from snpimpute.io.stream import contents_of, holds_genotypes
from snpimpute.metrics.conclusions import ALL, FINE_MAPPING, MEASURES, TRUTH, TYPED
from snpimpute.metrics.maf import maf_subsets
from snpimpute.traits.aligned import File, aligned
from snpimpute.traits.breeding import breeding_values
from snpimpute.traits.dosages import Dosages, read_dosages
from snpimpute.traits.drawn import draw_files
from snpimpute.traits.measures import (
    Estimate,
    PerTrait,
    association_measures,
    estimates,
    prediction_measures,
    trait_weights,
)
from snpimpute.traits.parts import Keep, Parts, unkept
from snpimpute.traits.phenotypes import read_traits, trait_of
from snpimpute.traits.scan import chi2_of, left_out_chi2, sample_blocks
from snpimpute.traits.simulated import TraitModel, Traits, simulated_traits
from snpimpute.traits.ways import WAYS, Window, require_ways

FILTERS = (0.0, 0.3, 0.5, 0.8)  # least DR2 of the sites that are used; 0 = all
WINDOW = 500  # sites to either side of the lead that are fine-mapped
TRAITS_OF_A_PART = 10  # that are fine-mapped one after the other and kept together
COLUMNS = ("file", "filter", "subset", "measure", "versus", "value", "low", "high", "n")


@dataclass(frozen=True)
class ConsequenceSettings:
    """What is compared, and on which traits.

    Attributes:
        truth: file of true genotypes.
        imputed: files to compare with it.
        labels: names of these, for results; their files' names if empty.
        typed: file or list of typed sites; causal sites are then among the others, and `typed alone` is a row.
        region: sites used; None = all.
        traits: table of real traits; None = simulated ones.
        columns: its columns that are traits; all if empty.
        covariates: its columns that are covariates.
        model: of simulated traits.
        finemapped: number of traits that are fine-mapped too; SuSiE takes a quarter of a second each, for every file and filter.
        filters: least DR2 of the sites that are used.
        ways: of fine-mapping beside dosages as they are, of ways.WAYS; each adds a row of every file.
        sample_column: column of the table with the samples' names.
    """

    truth: Path
    imputed: tuple[Path, ...]
    labels: tuple[str, ...] = ()
    typed: Path | None = None
    region: str | None = None
    traits: Path | None = None
    columns: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    model: TraitModel = field(default_factory=TraitModel)
    finemapped: int = 70
    filters: tuple[float, ...] = FILTERS
    ways: tuple[str, ...] = ()
    sample_column: str | None = None


@dataclass(frozen=True, eq=False)
class Consequence:
    """Result of the comparison.

    Attributes:
        settings: what was asked for.
        simulated: whether traits are simulated.
        n_samples, n_sites, n_traits: numbers of what was compared.
        files: labels, true genotypes first.
        table: a row per file, filter, subset, measure and `versus` ("" = the measure itself, else a paired difference to that
            file, without a filter), columns COLUMNS.
        guidance: sentences on the DR2 threshold that costs least.
        notes: what was noticed.
    """

    settings: ConsequenceSettings
    simulated: bool
    n_samples: int
    n_sites: int
    n_traits: int
    files: list[str]
    table: pd.DataFrame
    guidance: tuple[str, ...]
    notes: tuple[str, ...]

    def row(self, file: str, measure: str, least: float = 0.0, subset: str = ALL, versus: str = "") -> pd.Series:
        """Return the row of one result."""
        t = self.table
        found = t[
            (t.file == file)
            & (t.measure == measure)
            & (t["filter"] == least)
            & (t.subset == subset)
            & (t.versus == versus)
        ]
        return found.iloc[0]


def parts_of(settings: ConsequenceSettings, runs: Path, watch: Watch) -> Parts:
    """Return the parts that are kept of a comparison, by what the files hold, the settings and the code, in a folder of runs."""
    genotypes = [path for path in (settings.truth, *settings.imputed, settings.typed) if path is not None]
    if any(WAYS[way].draws for way in settings.ways if way in WAYS):
        folders = map(draws_folder, settings.imputed)
        genotypes += [file for folder in folders if folder.is_dir() for file in draw_files(folder)]
    contents = [contents_of(path, settings.region) for path in genotypes]
    traits = settings.traits
    contents.append([file_digest(traits)] if traits is not None and traits.is_file() else [])
    code = source_digest("snpimpute.traits.consequence", without=imputers.DISCOVERY)
    return Parts(runs / "consequence" / digest([contents, asdict(settings), code])[:16], watch)


def compare_conclusions(settings: ConsequenceSettings, watch: Watch, keep: Keep = unkept) -> Consequence:
    """Compare what imputed files and true genotypes say of traits.

    Args:
        settings: what is compared.
        watch: receives the stages.
        keep: keeps the parts of the comparison.

    Raises:
        InputError: a file cannot be read (see `dosages.read_dosages`); files share no sample or no site; see also
            `simulated.simulated_traits` and `phenotypes.trait_of`.
    """
    watch.stage("reading genotypes")
    require_ways(settings.ways)
    with_draws = any(WAYS[way].draws for way in settings.ways)
    truth, files, notes = aligned(settings.truth, settings.imputed, settings.labels, settings.region, with_draws)
    typed = None if settings.typed is None else _typed(settings.typed, truth)
    traits, rows, trait_notes = _traits(settings, truth, typed)
    truth = truth.take_samples(rows)
    files = [file.of_samples(rows) for file in files]
    watch.stage("comparing")
    if typed is not None:
        files.append(File.of(TYPED, truth, np.flatnonzero(typed)))
    table = conclusions(
        truth,
        files,
        traits,
        watch.progress,
        settings.finemapped,
        settings.filters,
        settings.model.seed,
        settings.ways,
        keep,
    )
    labels = list(dict.fromkeys(table.file))
    return Consequence(
        settings,
        settings.traits is None,
        truth.n_samples,
        truth.n_sites,
        len(traits.names),
        labels,
        table,
        tuple(guidance(table, labels)),
        (*notes, *trait_notes, *(f"way {name}: {WAYS[name].meaning}" for name in settings.ways)),
    )


def conclusions(
    truth: Dosages,
    files: Sequence[File],
    traits: Traits,
    progress: Callable[[float, float], None],
    finemapped: int = 70,
    filters: Sequence[float] = (0.0,),
    seed: int = 1,
    ways: Sequence[str] = (),
    keep: Keep = unkept,
) -> pd.DataFrame:
    """Return what true genotypes and files say of traits; see Consequence.table.

    Args:
        truth: the true genotypes.
        files: at the truth's sites and samples.
        traits: of the truth's samples.
        progress: is told how much is done.
        finemapped, filters: see ConsequenceSettings; files without DR2 are not filtered.
        seed: of resamples, blocks of samples, and the half that breeding values are trained on.
        ways: see ConsequenceSettings; a file that has not what a way needs has no row of it.
        keep: keeps the parts, whose names tell files by their labels.
    """
    true = File.of(TRUTH, truth, np.arange(truth.n_sites))
    comparison = _Comparison(truth, true, traits, finemapped, seed, keep)
    jobs: list[tuple[File, float, str | None]] = [(true, 0.0, None)]
    for file in files:
        for least in filters if np.isfinite(file.quality).any() else (0.0,):
            jobs.append((file, least, None))
            jobs += [(file, least, way) for way in ways if not least]
    for done, (file, least, way) in enumerate(jobs):
        told = partial(_progress_of, progress, done, len(jobs))
        if way is None:
            comparison.add(file.filtered(least), least, told)
        else:
            comparison.add_way(file, way, told)
        told(1.0)
    return comparison.table()


def _progress_of(progress: Callable[[float, float], None], done: int, n_jobs: int, share: float) -> None:
    progress(done + share, n_jobs)


# ---------------------------------------------------------------------- files and traits


def _typed(path: Path, truth: Dosages) -> np.ndarray:
    """Return which of the truth's sites are typed, bool (n_sites,); InputError if none is."""
    if holds_genotypes(path):
        sites = read_dosages(path).sites
        known = {(plain_contig(c), p, frozenset((r, a))) for c, p, r, a in zip(sites.contig, sites.pos, sites.ref, sites.alt, strict=True)}  # fmt: skip
        own = truth.sites
        found = [(plain_contig(c), p, frozenset((r, a))) in known for c, p, r, a in zip(own.contig, own.pos, own.ref, own.alt, strict=True)]  # fmt: skip
    else:
        found = SiteList.read(path, "the typed sites").among(truth.sites)
    if not any(found):
        raise InputError(f"{path.name} names no site of {truth.name}")
    return np.array(found)


def _traits(
    settings: ConsequenceSettings, truth: Dosages, typed: np.ndarray | None
) -> tuple[Traits, np.ndarray, list[str]]:
    """Return the traits, the rows of the samples that have them, and notes; real ones have their covariates taken off."""
    if settings.traits is None:
        return (
            simulated_traits(truth, settings.model, None if typed is None else ~typed),
            np.arange(truth.n_samples),
            [],
        )
    table = read_traits(settings.traits, settings.sample_column)
    columns = settings.columns or tuple(c for c in table.columns if c != "sample" and c not in settings.covariates)
    read = [
        trait_of(
            table,
            name,
            truth.samples,
            covariates=settings.covariates,
            source=settings.traits.name,
            genotypes=truth.name,
        )
        for name in columns
    ]
    rows = read[0].rows
    for trait in read[1:]:
        rows = np.intersect1d(rows, trait.rows)
    if len(rows) < 10:
        raise InputError(
            f"{settings.traits.name}: {numbered(len(rows), 'sample')} have all traits; name fewer by --trait"
        )
    values = np.column_stack([trait.residuals()[np.isin(trait.rows, rows)] for trait in read])
    said = dict.fromkeys(note for trait in read for note in trait.notes)
    notes = [*said, "real traits: the lead site on true genotypes stands for the causal one"]
    return Traits([trait.name for trait in read], values), rows, notes


# ---------------------------------------------------------------------- the comparison


class _Comparison:
    """Measures of files with a filter each, and the table of their means and differences."""

    def __init__(self, truth: Dosages, true: File, traits: Traits, finemapped: int, seed: int, keep: Keep) -> None:
        self._finemapped, self._seed, self._keep = finemapped, seed, keep
        self._values = traits.values - traits.values.mean(axis=0)
        self._blocks = sample_blocks(truth.n_samples, seed)
        self._train = np.random.default_rng(seed + 1).permutation(truth.n_samples) % 2 == 0
        self._true_chi2 = self._everywhere(true, chi2_of(true.dosages, self._values), truth.n_sites)
        self._true_left_out = [
            self._everywhere(true, chi2, truth.n_sites)
            for chi2 in left_out_chi2(true.dosages, self._values, self._blocks)
        ]
        self._simulated = traits.causal is not None
        self._causal = self._true_chi2.argmax(axis=0)[:, None] if traits.causal is None else traits.causal
        self._wanted = traits.values if traits.genetic is None else traits.genetic
        centred = truth.centred()
        spread = np.sqrt((centred**2).sum(axis=0))
        scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
        self._r2 = np.stack([(scaled[:, sites].T @ scaled) ** 2 for sites in self._causal])
        self._subsets = self._by_maf(truth)
        self._by_truth = self._predicted(true)
        self._results: dict[tuple[str, float], tuple[PerTrait, list[PerTrait]]] = {}
        self._sites: dict[tuple[str, float], int] = {}  # number of sites that pass, of each of these

    @staticmethod
    def _everywhere(file: File, chi2: np.ndarray, n_sites: int) -> np.ndarray:
        found = np.zeros((n_sites, chi2.shape[1]))
        found[file.at] = chi2
        return found

    def _by_maf(self, truth: Dosages) -> dict[str, np.ndarray]:
        """Return subset → bool (n_traits,): all, and by the causal site's MAF where a trait has one."""
        subsets = {ALL: np.ones(len(self._causal), dtype=bool)}
        if self._causal.shape[1] == 1:
            bins = maf_subsets(truth.maf()[self._causal[:, 0]])
            subsets |= {name: chosen for name, chosen in bins.items() if chosen.sum() >= 10}
        return subsets

    def add(self, file: File, least: float, told: Callable[[float], None]) -> None:
        """Measure a file whose sites are those that pass the filter; `told` receives the share that is done."""
        if not len(file.at):
            return
        same = next((job for job in self._results if job[0] == file.label and self._sites[job] == len(file.at)), None)
        self._sites[file.label, least] = len(file.at)
        if same is not None:  # the filter takes nothing away that another does not
            self._results[file.label, least] = self._results[same]
            return
        chi2 = chi2_of(file.dosages, self._values)
        measured, *without = self._keep(file.label, least, make=lambda: self._scanned(file, chi2))
        measured |= self._fine_mapped(file, chi2, (file.label, least), None, told)
        self._results[file.label, least] = (measured, without)

    def add_way(self, file: File, way: str, told: Callable[[float], None]) -> None:
        """Fine-map a file that was added in another way; the row's other measures are the file's."""
        if not WAYS[way].fits(file) or (file.label, 0.0) not in self._results:
            return
        measured, without = self._results[file.label, 0.0]
        chi2 = chi2_of(file.dosages, self._values)
        mapped = self._fine_mapped(file, chi2, (file.label, 0.0), way, told)
        self._results[f"{file.label}, {way}", 0.0] = (measured | mapped, without)

    def _scanned(self, file: File, chi2: np.ndarray) -> list[PerTrait]:
        """Return the measures of association and prediction, then those of association without each block of samples."""
        n = len(self._values)
        measured = association_measures(chi2, file.at, self._causal, self._true_chi2, self._r2, n)
        without = [
            association_measures(part, file.at, self._causal, of_truth, self._r2, n - int((self._blocks == k).sum()))
            for k, (part, of_truth) in enumerate(
                zip(left_out_chi2(file.dosages, self._values, self._blocks), self._true_left_out, strict=True)
            )
        ]
        wanted = self._wanted[~self._train]
        return [measured | prediction_measures(self._predicted(file), self._by_truth, wanted), *without]

    def _fine_mapped(
        self, file: File, chi2: np.ndarray, name: tuple[str, float], way: str | None, told: Callable[[float], None]
    ) -> PerTrait:
        """Return the measures of FINE_MAPPING; NaN of the traits that are not fine-mapped."""
        n_traits = chi2.shape[1]
        n = min(self._finemapped, n_traits)
        found = {key: (np.full(n_traits, np.nan), np.full(n_traits, np.nan)) for key in FINE_MAPPING}
        for first in range(0, n, TRAITS_OF_A_PART):
            traits = range(first, min(first + TRAITS_OF_A_PART, n))
            make = partial(self._fine_mapped_part, file, chi2, traits, way)
            (part,) = self._keep(*name, way, traits.start, traits.stop, make=make)
            for key, (top, bottom) in part.items():
                found[key][0][traits], found[key][1][traits] = top, bottom
            told(traits.stop / n)
        return found

    def _fine_mapped_part(self, file: File, chi2: np.ndarray, traits: range, way: str | None) -> list[PerTrait]:
        found = {key: (np.empty(len(traits)), np.empty(len(traits))) for key in FINE_MAPPING}
        window: Window | None = None
        for i, t in enumerate(traits):
            lead = int(chi2[:, t].argmax())
            first, last = max(lead - WINDOW, 0), min(lead + WINDOW + 1, len(file.at))
            if window is None or (window.first, window.last) != (first, last):
                window = Window.of(file, first, last, way)
            result = window.fine_mapped(self._values[:, t])
            sets = [set(file.at[first + of.members].tolist()) for of in result.sets]
            causal = set(self._causal[t].tolist())
            held = causal & set().union(*sets)
            sums = {
                "recall": (len(held), len(causal)),
                "coverage": (sum(bool(of & causal) for of in sets), len(sets)),
                "set_size": (sum(map(len, sets)), len(sets)),
                "sets": (len(sets), 1),
            }
            for key, (top, bottom) in sums.items():
                found[key][0][i], found[key][1][i] = top, bottom
        return [found]

    def _predicted(self, file: File) -> np.ndarray:
        """Return the breeding values of the samples that are not trained on, float64 (n_samples, n_traits)."""
        spread = np.sqrt((file.dosages**2).mean(axis=0))
        scaled = file.dosages / spread
        relationship = scaled @ scaled.T / len(file.at)
        return breeding_values(relationship, self._values, self._train)

    def table(self) -> pd.DataFrame:
        """Return all results; see Consequence.table."""
        weights = trait_weights(self._values.shape[1], self._seed) if self._simulated else None
        rows: list[tuple[object, ...]] = []
        for subset, chosen in self._subsets.items():
            by_job = {job: estimates(*result, weights, chosen) for job, result in self._results.items()}
            for (label, least), found in by_job.items():
                rows += [_row(label, least, subset, key, "", estimate) for key, estimate in found.items()]
                against = [(TRUTH, 0.0)] if label != TRUTH else []
                against += [(label, 0.0)] if least else []
                against += [(other, 0.0) for other, at in by_job if at == 0.0 and other not in (label, TRUTH) and not least and label != TRUTH]  # fmt: skip
                for other in against:
                    rows += [
                        _row(label, least, subset, key, other[0], estimate.minus(by_job[other][key]))
                        for key, estimate in found.items()
                    ]
        return pd.DataFrame(rows, columns=COLUMNS)


def _row(label: str, least: float, subset: str, measure: str, versus: str, estimate: Estimate) -> tuple[object, ...]:
    low, high = estimate.interval()
    if MEASURES[measure].share and not versus:
        low, high = max(low, 0.0), min(high, 1.0)
    return label, least, subset, measure, versus, estimate.value, low, high, estimate.n


def guidance(table: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Return a sentence for each file with DR2 on the threshold that costs least for association, fine-mapping and prediction."""
    purposes = {"association": "power", "fine-mapping": "recall", "prediction": "correlation"}
    all_of = table[table.subset == ALL]
    sentences = []
    for label in labels:
        own = all_of[(all_of.file == label) & (all_of.measure.isin(purposes.values()))]
        thresholds = sorted(own["filter"].unique())
        if len(thresholds) < 2:
            continue
        parts = []
        for purpose, measure in purposes.items():
            plain = own[(own.measure == measure) & (own.versus == "")].set_index("filter")["value"].dropna()
            if plain.empty:
                continue
            best = float(plain.index[plain.to_numpy() >= plain.max() - 1e-12].min())
            worse = own[(own.measure == measure) & (own.versus == label) & (own.high < 0)]["filter"].tolist()
            words = "no filter" if best == 0 else f"DR2 of {best:g} or more"
            costs = f"; {', '.join(f'{t:g}' for t in worse)} cost more than chance" if worse else ""
            parts.append(f"{purpose}: {words} ({measure} {plain[best]:.3f}{costs})")
        sentences.append(f"{label}: {' | '.join(parts)}")
    return sentences
