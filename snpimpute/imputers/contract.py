"""The contract of an imputer, and the one wrapper around every imputer."""

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
from snpimpute.base.errors import InputError
from snpimpute.base.extras import EXTRA_OF, require_package
from snpimpute.dataset.scenarios import at_hidden
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GENOTYPES, MISSING, GenotypeMatrix, require_same_sites
from snpimpute.metrics.scores import f1_macro

MIN_SEEN = 2  # with fewer observed sites a sample tells nothing: its posterior is the panel's genotype frequencies

Report = Callable[[int, float], None]


class Params(BaseModel):
    """Parameters of an imputer: frozen, unknown names refused. The defaults are the published values where there are any."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Trial(Protocol):
    """What a search space may ask of a study; every name it asks for is a field of the imputer's Params."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Variant:
    """A setting of an imputer that stands in a report as a row of its own.

    Attributes:
        tune: whether a study looks for its parameters.
        params: parameters that differ from the defaults; a study leaves them as they are.
        mask: policy of the training masks, "fixed" or "random"; None for imputers that use none.
    """

    tune: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    mask: str | None = None


@dataclass(frozen=True, eq=False)
class Validation:
    """Held-out samples with their true calls, and the masks under which they are scored.

    Attributes:
        matrix: the held-out samples, calls as they are known (-1 where the truth is missing: not scored).
        masks: bool (n_sites,) each, or (n_samples, n_sites) where single calls are hidden.
    """

    matrix: GenotypeMatrix
    masks: tuple[np.ndarray, ...]

    def score(self, posterior: Callable[[GenotypeMatrix], np.ndarray]) -> float:
        """Macro-F1 (labels 0, 1, 2) of the hard calls at the hidden calls, averaged over the masks.

        Args:
            posterior: maps a masked matrix to float (n_samples, n_sites, 3).
        """
        scores = []
        for mask in self.masks:
            calls = posterior(self.matrix.hide(mask)).argmax(axis=2)
            scores.append(f1_macro(at_hidden(self.matrix.calls, mask), at_hidden(calls, mask)))
        return float(np.mean(scores))


class Imputer(ABC):
    """Learns from a reference panel and gives a posterior over the three genotypes of target samples with missing calls.

    A subclass stands alone in `snpimpute/imputers/NAME.py`; its name is the file's. It sets `description`, `framework`
    ("tensorflow", "torch", "java" or None), `learns_in_epochs` and `variants`, defines `Params`, and the underscored methods; if anything
    is to be tuned, also `search_space`. It imports no framework at module top.

    Args:
        params: an instance of the class's Params; its defaults if None.
        seed: of every random choice; same seed and threads, same result.
        threads: processor threads that fitting and imputing may use.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    framework: ClassVar[str | None] = None
    learns_in_epochs: ClassVar[bool] = False  # held-out samples then tell it when to stop, and masks what to learn
    Params: ClassVar[type[Params]] = Params
    needs_panel: bool = True  # False: it learns from the target, and a panel without samples will do
    starts: ClassVar[Sequence[Mapping[str, Any]]] = ()  # settings known to do well somewhere: what studies try early
    variants: ClassVar[Mapping[str, Variant]] = {"default": Variant()}
    recipe: ClassVar[str] = (
        ""  # what else decides its results, beside parameters and this package: a description's text
    )

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
        """Learn from `panel` (calls may be missing). `validation` is None in the final fit on all samples."""

    @abstractmethod
    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        """float (n_samples, n_sites, 3); what it says of observed calls is not looked at.

        The samples have at least two observed and at least one missing call each. An imputer that needs no panel gets
        the whole target instead, complete and empty samples included: it learns from all of them.
        """

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write what was learned into `folder` (it exists and is empty), without pickle."""

    @abstractmethod
    def _load(self, folder: Path) -> None:
        """Read what `_save` wrote."""

    @classmethod
    def require_programs(cls) -> None:
        """Raise InputError that names a program or a framework which it needs and which is not there."""
        if cls.framework in EXTRA_OF:
            require_package(cls.framework, f"imputer {cls.name}")

    @classmethod
    def program_files(cls) -> list[Path]:
        """Files of the external programs that take part in its results; those that are missing are left out."""
        return []

    @classmethod
    def agreed(cls, found: Sequence[Any]) -> Any:
        """Params for all windows of a panel, from what the fits of some of them found (at least one).

        By default each parameter by itself: the median of numbers (of whole numbers rounded), the most frequent of
        anything else (of equally frequent ones the first found).
        """
        tables = [params.model_dump() for params in found]
        return cls.parse_params({name: typical([table[name] for table in tables]) for name in tables[0]})

    @classmethod
    def n_parameters(cls, params: Any, n_sites: int) -> int | None:
        """Number of weights (batch normalisation's moving averages included), from the parameters alone; None if there are none."""
        return None

    def refit_params(self) -> Any:
        """Parameters for fitting again on all samples: those given, with what the fit with validation found."""
        return self.params

    def gives_posterior(self, target: GenotypeMatrix) -> bool:
        """False where the posterior is smoothed hard calls, so that log-loss and calibration would mean nothing.

        Args:
            target: calls at the sites whose posterior is looked at.
        """
        return True

    # ------------------------------------------------------------------ the wrapper

    @classmethod
    def tunable(cls) -> bool:
        return hasattr(cls, "search_space")

    @classmethod
    def parse_params(cls, table: Mapping[str, Any]) -> Any:
        """The class's Params from a plain table; InputError in one line if a key or value is wrong."""
        try:
            return cls.Params.model_validate(dict(table))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            valid = ", ".join(cls.Params.model_fields)
            raise InputError(
                f"imputer {cls.name}: parameter {key!r}: {first['msg']} (parameters: {valid or 'none'})"
            ) from None

    def fit(
        self,
        panel: GenotypeMatrix,
        validation: Validation | None = None,
        mask: TrainingMask | None = None,
        report: Report | None = None,
    ) -> Self:
        """Learn from a reference panel.

        Args:
            panel: the reference samples; any of their calls may be missing. It may have no samples, its sites alone, if
                the imputer needs no panel.
            validation: held-out samples, for early stopping and calibration; None in the final fit on all samples.
            mask: what networks have hidden from them while they learn; random masks if None.
            report: called as report(step, score) after each epoch with validation; may raise to stop the fit.

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
        """Posterior probability of genotypes 0, 1, 2 for every sample and site of `target`.

        Any pattern of missing calls will do. An observed call has all its weight on itself; a sample with fewer than
        two observed sites gets the panel's genotype frequencies, unless the imputer learns from the target.

        Returns:
            float32 (n_samples, n_sites, 3); rows sum to 1.

        Raises:
            InputError: the target's sites or alleles are not those of the panel (names the first difference).
        """
        require_same_sites(self.sites, target.sites, f"imputer {self.name}")
        missing = target.calls == MISSING
        asked = np.ones(target.n_samples, dtype=bool)
        if self.needs_panel:
            seen = target.n_sites - missing.sum(axis=1)
            asked = (seen >= MIN_SEEN) & (seen < target.n_sites)
        blind = np.broadcast_to(self.frequencies, (*missing.shape, 3))
        if not (missing & asked[:, None]).any():
            posterior = blind.copy()
        else:
            posterior = filled = np.clip(self._posterior(target.take_samples(asked)), 1e-7, None, dtype=np.float32)
            # a sum over an axis of length 3 would be ten times slower
            filled /= (filled[:, :, 0] + filled[:, :, 1] + filled[:, :, 2])[:, :, None]
            if not asked.all():
                posterior = blind.copy()
                posterior[asked] = filled
        for genotype in GENOTYPES:
            np.copyto(posterior[:, :, genotype], target.calls == genotype, where=~missing)
        return posterior

    def save(self, folder: Path) -> None:
        """Write the fitted imputer, with its sites, into a new folder; no pickle."""
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
        self.sites.to_csv(folder / "sites.tsv", sep="\t", index=False)
        np.save(folder / "frequencies.npy", self.frequencies, allow_pickle=False)
        self._save(state)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an imputer that `save` wrote."""
        folder = Path(folder)
        about = json.loads((folder / "imputer.json").read_text())
        if about["imputer"] != cls.name:
            raise InputError(f"{folder} holds the imputer {about['imputer']}, not {cls.name}")
        imputer = cls(cls.parse_params(about["params"]), seed=about["seed"], threads=about["threads"])
        imputer.sites = pd.read_csv(
            folder / "sites.tsv", sep="\t", dtype={"contig": str, "id": str}, keep_default_na=False
        )
        imputer.frequencies = np.load(folder / "frequencies.npy", allow_pickle=False)
        imputer._load(folder / "state")
        return imputer


def typical(values: Sequence[Any]) -> Any:
    """The median of numbers (whole ones stay whole), else the most frequent value; None where it is at least half of them."""
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
    """A target with its holes filled.

    Attributes:
        posterior: float32 (n_samples, n_sites, 3).
        calls: int8 (n_samples, n_sites): observed calls as they were, the most probable genotype elsewhere.
        dosages: float32 (n_samples, n_sites): expected number of alternate alleles, 0 to 2.
    """

    posterior: np.ndarray
    calls: np.ndarray
    dosages: np.ndarray


class GivesPosterior(Protocol):
    """An imputer, or what is made of several."""

    def posterior(self, target: GenotypeMatrix) -> np.ndarray: ...


def impute(imputer: GivesPosterior, target: GenotypeMatrix) -> Imputed:
    """Fill the missing calls of `target`; observed calls stay as they are."""
    posterior = imputer.posterior(target)
    missing = target.calls == MISSING
    calls = target.calls.copy()
    calls[missing] = posterior[missing].argmax(axis=1)
    return Imputed(posterior, calls, posterior @ np.array([0, 1, 2], dtype=np.float32))
