"""The contract of imputers: their base class, which wraps learning and imputing, and their variants."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from snpimpute import __version__
from snpimpute.base.checksums import require_checksums, write_checksums
from snpimpute.base.errors import InputError
from snpimpute.base.extras import EXTRA_OF, require_package
from snpimpute.base.files import save_array
from snpimpute.base.words import meant
from snpimpute.dataset.scenarios import at_hidden
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GENOTYPES, MISSING, GenotypeMatrix, require_same_sites
from snpimpute.genotypes.site_table import read_sites, write_sites
from snpimpute.metrics.scores import f1_macro

HAPLOTYPE_WINDOW = "5000"  # `fit_window` of models of haplotypes: 250 typed sites where an array types one in twenty
# What an imputer may handle beyond calls.
LIKELIHOODS = "likelihoods"  # of genotypes, in place of calls
PHASE = "phase"  # it says which allele of a call stands on which of the sample's two haplotypes
DRAWS = "draws"  # it draws haplotypes from the posterior jointly, so that neighbouring sites of a draw belong together
MIN_SEEN = 2  # a sample with fewer observed sites gets the panel's genotype frequencies

Report = Callable[[int, float], None]  # called as report(step, score)


def is_late(report: Report | None) -> bool:
    """Return whether the time of the study that a report goes to is used up: the fit should end with what it has learned."""
    return getattr(report, "late", False)


class Params(BaseModel):
    """Parameters of an imputer: frozen, unknown names refused.

    The defaults are the published values where there are any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


def parsed(params: type[Params], table: Mapping[str, Any], whose: str) -> Any:
    """Return parameters of a class from a plain table; InputError in one line if a key or value is wrong.

    Args:
        params: the class.
        table: names and values.
        whose: they are, for the message.
    """
    try:
        return params.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        valid = list(params.model_fields)
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            fault = f"parameter {key!r} is not known{meant(key, valid)}"
        else:
            fault = f"parameter {key!r}: {first['msg']}"
        raise InputError(f"{whose}: {fault} (parameters: {', '.join(valid) or 'none'})") from None


class Trial(Protocol):
    """Trial of a study, as a search space uses it; every name asked for is a field of the imputer's Params."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Variant:
    """Setting of an imputer that has a row of its own in a report.

    Attributes:
        tune: whether a study searches its parameters.
        params: parameters that differ from the defaults; a study does not change them.
        mask: policy of the training masks, "fixed" or "random"; None for imputers without training masks.
    """

    tune: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    mask: str | None = None


@dataclass(frozen=True, eq=False)
class Validation:
    """Held-out samples with their true calls, and the masks under which they are scored.

    Attributes:
        matrix: the held-out samples with their true calls (-1 = missing, not scored).
        masks: bool, each (n_sites,) for whole sites or (n_samples, n_sites) for single calls.
    """

    matrix: GenotypeMatrix
    masks: tuple[np.ndarray, ...]

    def score(self, posterior: Callable[[GenotypeMatrix], np.ndarray]) -> float:
        """Return the macro-F1 (labels 0, 1, 2) of the hard calls at the hidden calls, averaged over the masks.

        Args:
            posterior: maps a masked matrix to float (n_samples, n_sites, 3).
        """
        scores = []
        for mask in self.masks:
            calls = posterior(self.matrix.hide(mask)).argmax(axis=2)
            scores.append(f1_macro(at_hidden(self.matrix.calls, mask), at_hidden(calls, mask)))
        return float(np.mean(scores))


class Imputer(ABC):
    """Base of all imputers: learns from a panel and gives a posterior for a target with missing calls.

    The posterior holds the probabilities of genotypes 0, 1, 2 for every sample and site.

    A subclass is alone in its file `snpimpute/imputers/NAME.py`, which gives it its name. It sets `description`,
    `framework` ("tensorflow", "torch", "java" or None), `learns_in_epochs` and `variants`, and defines `Params` and the
    methods that begin with an underscore; if it can be tuned, also `search_space`. It imports no framework at module
    top.

    Args:
        params: an instance of the class's Params; None = the defaults.
        seed: seed of every random choice; equal seeds and threads give equal results.
        threads: processor threads that fitting and imputing may use.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    framework: ClassVar[str | None] = None
    learns_in_epochs: ClassVar[bool] = False  # if so, it uses validation to stop and training masks to learn
    handles: ClassVar[frozenset[str]] = frozenset()  # LIKELIHOODS, PHASE, DRAWS
    Params: ClassVar[type[Params]] = Params
    needs_panel: bool = True  # False: it learns from the target, and the panel may have no samples
    starts: ClassVar[Sequence[Mapping[str, Any]]] = ()  # parameters that did well on some data; studies try them early
    variants: ClassVar[Mapping[str, Variant]] = {"default": Variant()}
    fit_window: ClassVar[str] = "500"  # windows that `snpimpute fit` cuts a panel into if it is not told: sites, or cM
    recipe: ClassVar[str] = ""  # text of a program's description, which decides results beside code and parameters

    params: Any
    sites: pd.DataFrame
    frequencies: np.ndarray  # float32 (n_sites, 3): genotype frequencies of the panel

    def __init__(self, params: Any = None, *, seed: int = 1, threads: int = 1) -> None:
        self.params = self.Params() if params is None else params
        self.seed = seed
        self.threads = threads

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__module__.rsplit(".", 1)[-1]

    # ------------------------------------------------------------------ what a subclass defines

    @abstractmethod
    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        """Learn from `panel` (calls may be missing); `validation` is None in the final fit on all samples."""

    @abstractmethod
    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        """Return the posterior, float (n_samples, n_sites, 3); its values at observed calls are not used.

        Each sample has at least two observed calls and one missing call. An imputer that needs no panel gets the whole
        target instead, including complete and empty samples: it learns from all of them.
        """

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write what was learned into `folder` (which exists and is empty), without pickle."""

    @abstractmethod
    def _load(self, folder: Path) -> None:
        """Read what `_save` wrote."""

    @classmethod
    def require_programs(cls) -> None:
        """Raise InputError that names a needed program or framework that is missing."""
        if cls.framework in EXTRA_OF:
            require_package(cls.framework, f"imputer {cls.name}")

    @classmethod
    def program_files(cls) -> list[Path]:
        """Return the files of the external programs that decide its results, without missing ones."""
        return []

    @classmethod
    def files_in(cls, params: Mapping[str, Any]) -> tuple[Path, ...]:
        """Return the files that a table of parameters names, as a genetic map."""
        return tuple(value for value in cls.parse_params(params).model_dump().values() if isinstance(value, Path))

    @classmethod
    def agreed(cls, found: Sequence[Any]) -> Any:
        """Return Params for all windows of a panel, from those that the fits of some windows found (at least one).

        By default each parameter is agreed by itself, see `typical`.
        """
        tables = [params.model_dump() for params in found]
        return cls.parse_params({name: typical([table[name] for table in tables]) for name in tables[0]})

    @classmethod
    def n_parameters(cls, params: Any, n_sites: int) -> int | None:
        """Return the number of weights for these parameters; None if the imputer has none.

        Moving averages of batch normalisation are included.
        """
        return None

    def refit_params(self) -> Any:
        """Return the parameters for the fit on all samples: those given and those found by the fit with validation."""
        return self.params

    def gives_posterior(self, target: GenotypeMatrix) -> bool:
        """Return False if the posterior is smoothed hard calls, so that log-loss and calibration are meaningless.

        Args:
            target: calls at the sites whose posterior is used.
        """
        return True

    # ------------------------------------------------------------------ the wrapper

    @classmethod
    def tunable(cls) -> bool:
        """Tell whether the imputer has a search space."""
        return hasattr(cls, "search_space")

    @classmethod
    def parse_params(cls, table: Mapping[str, Any]) -> Any:
        """Return the class's Params from a plain table; InputError in one line if a key or value is wrong."""
        return parsed(cls.Params, table, f"imputer {cls.name}")

    def fit(
        self,
        panel: GenotypeMatrix,
        validation: Validation | None = None,
        mask: TrainingMask | None = None,
        report: Report | None = None,
    ) -> Self:
        """Learn from a reference panel; return the imputer.

        Args:
            panel: the reference samples; any of their calls may be missing. If the imputer needs no panel, it may hold
                sites without samples.
            validation: held-out samples, for early stopping and calibration; None in the final fit on all samples.
            mask: calls hidden from a network while it learns; None = random masks.
            report: called as report(step, score) after each epoch with validation; may raise to stop the fit. Once `is_late`
                says so of it, a fit that learns in epochs ends after the batch, with the best epoch until then.

        Raises:
            InputError: the panel has no samples, and the imputer needs them.
        """
        if self.needs_panel and panel.n_samples == 0:
            raise InputError(f"imputer {self.name} learns from a reference panel: give it one with samples")
        self.sites = panel.sites.reset_index(drop=True)
        self.frequencies = panel.genotype_frequencies()
        self._fit(panel, validation, mask or TrainingMask("random"), report)
        return self

    def posterior(self, target: GenotypeMatrix) -> np.ndarray:
        """Return the posterior probability of genotypes 0, 1, 2 for every sample and site of `target`.

        Calls may be missing in any pattern. An observed call has all its weight on itself; a sample with fewer than two
        observed sites gets the panel's genotype frequencies, unless the imputer learns from the target. Likelihoods, where the
        target has them, count as observed unless all are alike.

        Returns:
            float32 (n_samples, n_sites, 3); rows sum to 1.

        Raises:
            InputError: the target's sites or alleles are not those of the panel (names the first difference), or it has
                likelihoods that the imputer does not handle.
        """
        require_same_sites(self.sites, target.sites, f"imputer {self.name}")
        self.require_handled(target)
        missing = target.calls == MISSING
        to_impute = np.ones(target.n_samples, dtype=bool)
        if self.needs_panel:
            n_seen = observed(target).sum(axis=1)
            to_impute = (n_seen >= MIN_SEEN) & missing.any(axis=1)
        by_frequency = np.broadcast_to(self.frequencies, (*missing.shape, 3))
        if not (missing & to_impute[:, None]).any():
            posterior = by_frequency.copy()
        else:
            imputed = np.clip(self._posterior(target.take_samples(to_impute)), 1e-7, None, dtype=np.float32)
            # by genotype: a sum over an axis of length 3 is ten times slower
            imputed /= (imputed[:, :, 0] + imputed[:, :, 1] + imputed[:, :, 2])[:, :, None]
            posterior = imputed
            if not to_impute.all():
                posterior = by_frequency.copy()
                posterior[to_impute] = imputed
        for genotype in GENOTYPES:
            np.copyto(posterior[:, :, genotype], target.calls == genotype, where=~missing)
        return posterior

    def haplotypes(self, target: GenotypeMatrix, calls: np.ndarray) -> np.ndarray:
        """Return the two haplotypes of each sample, int8 (n_samples, 2, n_sites); only if `handles` has PHASE.

        They may add up to other calls where an imputer finds so; the phase counts at heterozygous calls.

        Args:
            target: as `posterior` takes it.
            calls: int8 (n_samples, n_sites), its calls, imputed ones included.
        """
        raise NotImplementedError

    def draw(self, target: GenotypeMatrix, n: int, seed: int) -> np.ndarray:
        """Draw haplotypes of each sample, int8 (n, n_samples, 2, n_sites); only if `handles` has DRAWS.

        The genotypes of a draw are jointly distributed along a contig, each site's as `posterior` says; observed calls stay.

        Args:
            target: as `posterior` takes it.
            n: number of draws.
            seed: of the draws.
        """
        raise NotImplementedError

    @classmethod
    def require_handled(cls, target: GenotypeMatrix) -> None:
        """Raise InputError if the target has likelihoods and the imputer cannot use them."""
        if target.likelihoods is not None and LIKELIHOODS not in cls.handles:
            raise InputError(
                f"imputer {cls.name} works from calls, not from likelihoods: impute from GT, or fit mosaic"
            )

    def save(self, folder: Path) -> None:
        """Write the fitted imputer, its sites and a table of checksums into a new folder, without pickle."""
        folder = Path(folder)
        state = folder / "state"
        state.mkdir(parents=True)
        about = {
            "imputer": self.name,
            "params": self.params.model_dump(mode="json"),
            "seed": self.seed,
            "threads": self.threads,
            "snpimpute": __version__,
        }
        (folder / "imputer.json").write_text(json.dumps(about, indent=1) + "\n")
        write_sites(folder / "sites.tsv", self.sites)
        save_array(folder / "frequencies.npy", self.frequencies)
        self._save(state)
        write_checksums(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an imputer that `save` wrote, after comparing its files with their checksums.

        Raises:
            InputError: the folder holds another imputer, its files are not those that were saved, or cannot be read.
        """
        folder = Path(folder)
        require_checksums(folder)
        try:
            about = json.loads((folder / "imputer.json").read_text())
            if about["imputer"] != cls.name:
                raise InputError(f"{folder} holds the imputer {about['imputer']}, not {cls.name}")
            imputer = cls(cls.parse_params(about["params"]), seed=about["seed"], threads=about["threads"])
            imputer.sites = read_sites(folder / "sites.tsv")
            imputer.frequencies = np.load(folder / "frequencies.npy", allow_pickle=False)
            imputer._load(folder / "state")
        except (LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(f"{folder} cannot be read as a fitted {cls.name}: {why}") from error
        return imputer


def typical(values: Sequence[Any]) -> Any:
    """Return the median of numbers (rounded if all are whole), else the most frequent value, the first if equal.

    None if at least half of the values are None.
    """
    known = [value for value in values if value is not None]
    if 2 * len(known) <= len(values):
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        median = float(np.median(known))
        return round(median) if all(isinstance(value, int) for value in known) else median
    counted = Counter(map(repr, known))
    return max(known, key=lambda value: counted[repr(value)])


@dataclass(frozen=True, eq=False)
class Imputed:
    """Target with its missing calls filled.

    Attributes:
        posterior: float32 (n_samples, n_sites, 3).
        calls: int8 (n_samples, n_sites), observed calls unchanged, the most probable genotype elsewhere.
        dosages: float32 (n_samples, n_sites), expected number of alternate alleles, 0 to 2.
    """

    posterior: np.ndarray
    calls: np.ndarray
    dosages: np.ndarray


def observed(target: GenotypeMatrix) -> np.ndarray:
    """Return where something is known of a call, bool (n_samples, n_sites): the call, or likelihoods that differ."""
    seen = target.calls != MISSING
    return seen if target.likelihoods is None else seen | (target.likelihoods.min(axis=2) < 1)


class GivesPosterior(Protocol):
    """An imputer, or an object that combines several."""

    def posterior(self, target: GenotypeMatrix) -> np.ndarray: ...


def impute(imputer: GivesPosterior, target: GenotypeMatrix) -> Imputed:
    """Fill the missing calls of `target`; observed calls stay unchanged."""
    posterior = imputer.posterior(target)
    missing = target.calls == MISSING
    calls = target.calls.copy()
    calls[missing] = posterior[missing].argmax(axis=1)
    return Imputed(posterior, calls, posterior @ np.array([0, 1, 2], dtype=np.float32))
