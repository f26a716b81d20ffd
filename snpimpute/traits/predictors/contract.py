"""The contract of predictors: their base class, which chooses sites, encodes genotypes, and wraps learning and predicting."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from pydantic import Field

from snpimpute import __version__
from snpimpute.base.checksums import require_checksums, write_checksums
from snpimpute.base.errors import InputError
from snpimpute.base.extras import EXTRA_OF, require_package
from snpimpute.base.files import save_array
from snpimpute.genotypes.matrix import require_same_sites
from snpimpute.genotypes.site_table import read_sites, write_sites
from snpimpute.imputers.contract import Params, Report, Trial, parsed
from snpimpute.traits.predictors._components import FittedComponents
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.encodings import Encoding, FittedEncoding
from snpimpute.traits.predictors.selection import chosen_sites

LEAST_SAMPLES = 10  # to learn from


class PredictorParams(Params):
    """Parameters of every predictor: frozen, unknown names refused.

    Attributes:
        encoding: of a genotype, see `encodings`.
        min_maf: least MAF of a site among the samples that are learned from.
        max_r2: LD pruning: sites whose r² with an earlier one nearby is above are left out; None = all stay.
        n_best: number of sites chosen by association with the trait; None = all. Chosen within the samples that are learned from.
        components: number of principal components of the genotypes that are covariates, too; found within the same samples.
    """

    encoding: Encoding = "standardised"
    min_maf: float = Field(0.01, ge=0, le=0.5)
    max_r2: float | None = Field(None, gt=0, le=1)
    n_best: int | None = Field(None, ge=1)
    components: int = Field(0, ge=0)


class Predictor(ABC):
    """Base of all predictors: learns a trait from genotypes, and predicts it for others.

    A subclass is alone in its file `snpimpute/traits/predictors/NAME.py`, which gives it its name. It sets `description`, and
    defines `Params`, `search_space` and the methods that begin with an underscore. It imports no framework at module top.

    Everything that looks at the trait or at frequencies is done within `fit`, on the samples that it is given: choice of
    sites, encoding, scaling, principal components.

    Args:
        params: an instance of the class's Params; None = the defaults.
        seed: seed of every random choice; equal seeds and threads give equal results.
        threads: processor threads that learning and predicting may use.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    framework: ClassVar[str | None] = None  # "torch", "lightgbm" or None
    program: ClassVar[str | None] = None  # that it runs to learn, see exchange.NEEDED_BY; predicting needs none
    learns_in_epochs: ClassVar[bool] = False  # if so, it uses validation to stop
    Params: ClassVar[type[PredictorParams]] = PredictorParams

    params: Any
    sites: pd.DataFrame
    chosen: np.ndarray  # int (n_chosen,), numbers of the sites that are learned from
    encoding: FittedEncoding
    components: FittedComponents | None  # None = there are none among the covariates
    n_covariates: int  # without components
    binary: bool

    def __init__(self, params: Any = None, *, seed: int = 1, threads: int = 1) -> None:
        if self.framework in EXTRA_OF:
            require_package(self.framework, f"predictor {self.name}")
        self.params = params if params is not None else self.Params()
        self.seed = seed
        self.threads = threads

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.name = cls.__module__.rpartition(".")[2]

    # ------------------------------------------------------------------ what a subclass defines

    @classmethod
    @abstractmethod
    def search_space(cls, trial: Trial) -> Any:
        """Return the parameters of a study's trial."""

    @abstractmethod
    def _fit(
        self,
        x: np.ndarray,
        panel: Cohort,
        validation: tuple[np.ndarray, Cohort] | None,
        report: Report | None,
    ) -> None:
        """Learn from samples.

        Args:
            x: float32 (n_samples, n_chosen, n_values), encoded genotypes.
            panel: the same samples, with the chosen sites, and with components among their covariates.
            validation: the same of samples to stop by; None = learn as long as the parameters say.
            report: see `imputers.contract.Report`.
        """

    @abstractmethod
    def _predict(self, x: np.ndarray, target: Cohort) -> np.ndarray:
        """Return float (n_samples,): the trait, or the probability of a case, of samples with encoded genotypes x."""

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write what was learned into a folder, without pickle."""

    @abstractmethod
    def _load(self, folder: Path) -> None:
        """Read what `_save` wrote."""

    @abstractmethod
    def n_parameters(self) -> int | None:
        """Return the number of fitted numbers; None of a predictor that keeps its samples."""

    # ------------------------------------------------------------------ what all predictors do

    @classmethod
    def parse_params(cls, table: Mapping[str, Any]) -> Any:
        """Return the parameters of a plain table.

        Raises:
            InputError: an unknown name or a wrong value, in one line that names it.
        """
        return parsed(cls.Params, table, f"predictor {cls.name}")

    @classmethod
    def require_program(cls) -> None:
        """Raise InputError, which says how to get it, if the program that a predictor learns by is missing; most need none."""
        return

    def fit(self, panel: Cohort, validation: Cohort | None = None, report: Report | None = None) -> Self:
        """Learn the trait from a panel's samples.

        Args:
            panel: samples with their trait.
            validation: samples with their trait, which decide when to stop and nothing else.
            report: called as report(step, score); it may raise to end the trial.

        Raises:
            InputError: fewer samples than LEAST_SAMPLES, or a trait that does not vary; a program is missing.
        """
        self.require_program()
        if panel.n_samples < LEAST_SAMPLES or np.ptp(panel.values) == 0:
            raise InputError(
                f"predictor {self.name} cannot learn from {panel.n_samples} samples of which the trait "
                f"{'does not vary' if panel.n_samples >= LEAST_SAMPLES else f'is known: give it at least {LEAST_SAMPLES}'}"
            )
        p = self.params
        self.sites, self.binary, self.n_covariates = panel.sites, panel.binary, panel.covariates.shape[1]
        self.chosen = chosen_sites(panel, p.min_maf, p.max_r2, p.n_best)
        self.components = FittedComponents.of(panel, p.components) if p.components else None
        here = self.inputs_of(panel)
        self.encoding = FittedEncoding.of(p.encoding, here.posterior)
        there = None if validation is None else self.inputs_of(validation)
        beside = None if there is None else (self.encoding.encode(there.posterior), there)
        self._fit(self.encoding.encode(here.posterior), here, beside, report)
        return self

    def predict(self, target: Cohort) -> np.ndarray:
        """Return the trait of samples, or the probability of being a case, float32 (n_samples,).

        Raises:
            InputError: sites, alleles or the number of covariates are not those that were learned from.
        """
        require_same_sites(self.sites, target.sites, f"predictor {self.name}")
        if target.covariates.shape[1] != self.n_covariates:
            raise InputError(
                f"predictor {self.name} was fitted with {self.n_covariates} covariates, the target has "
                f"{target.covariates.shape[1]}: give the same"
            )
        here = self.inputs_of(target)
        predicted = np.asarray(self._predict(self.encoding.encode(here.posterior), here), dtype=np.float32)
        return np.clip(predicted, 0, 1) if self.binary else predicted

    def inputs_of(self, cohort: Cohort) -> Cohort:
        """Return samples at the chosen sites, with components, if there are any, after their covariates."""
        return (cohort if self.components is None else self.components.beside(cohort)).take_sites(self.chosen)

    def save(self, folder: Path) -> None:
        """Write the fitted predictor and a table of checksums into a new folder, without pickle."""
        state = Path(folder) / "state"
        state.mkdir(parents=True)
        about = {
            "predictor": self.name,
            "params": self.params.model_dump(mode="json"),
            "seed": self.seed,
            "threads": self.threads,
            "binary": self.binary,
            "covariates": self.n_covariates,
            "snpimpute": __version__,
        }
        (Path(folder) / "predictor.json").write_text(json.dumps(about, indent=1) + "\n")
        write_sites(Path(folder) / "sites.tsv", self.sites)
        save_array(Path(folder) / "chosen.npy", self.chosen)
        for part in ("frequencies", "center", "scale"):
            save_array(Path(folder) / f"{part}.npy", getattr(self.encoding, part))
        if self.components is not None:
            self.components.save(Path(folder) / "components")
        self._save(state)
        write_checksums(Path(folder))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a predictor that `save` wrote, after comparing its files with their checksums.

        Raises:
            InputError: the folder holds another predictor, its files are not those that were saved, or cannot be read.
        """
        folder = Path(folder)
        require_checksums(folder)
        try:
            about = json.loads((folder / "predictor.json").read_text())
            if about["predictor"] != cls.name:
                raise InputError(f"{folder} holds the predictor {about['predictor']}, not {cls.name}")
            predictor = cls(cls.parse_params(about["params"]), seed=about["seed"], threads=about["threads"])
            predictor.binary, predictor.n_covariates = about["binary"], about["covariates"]
            predictor.sites = read_sites(folder / "sites.tsv")
            arrays = {
                part: np.load(folder / f"{part}.npy", allow_pickle=False)
                for part in ("chosen", "frequencies", "center", "scale")
            }
            predictor.chosen = arrays.pop("chosen")
            predictor.encoding = FittedEncoding(predictor.params.encoding, **arrays)
            within = folder / "components"
            predictor.components = FittedComponents.load(within) if predictor.params.components else None
            predictor._load(folder / "state")
        except (LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(f"{folder} cannot be read as a fitted {cls.name}: {why}") from error
        return predictor
