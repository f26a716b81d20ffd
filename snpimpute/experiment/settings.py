"""Settings of an experiment, read from TOML into frozen models that refuse unknown keys."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from snpimpute import imputers
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.names import PLAIN, is_plain
from snpimpute.dataset.settings import SIMULATED, DataSettings, Settings, first_fault
from snpimpute.io.stream import stem

LONGEST_NAME = 100  # letters, see base.names.PLAIN
QUICK_SCENARIOS: dict[str, Any] = {"levels": (20.0, 60.0, 90.0), "repeats": 1}
QUICK_TUNING: dict[str, Any] = {"trials": 5, "seconds": 30.0}


class Budget(Settings):
    """Budget of a study, which ends after `trials` that count or after `seconds`, whichever comes first."""

    trials: int = Field(50, ge=1)
    seconds: float | None = Field(600.0, gt=0)


class TuningSettings(Settings):
    """Settings of the studies.

    Attributes:
        trials, seconds: budget of a study, see `Budget`.
        workers: number of processes that evaluate trials in parallel.
        storage: database URL of the trials; None: a file per study.
        parameters: folder with a file of found parameters for each study (dataset, imputer, variant). A study whose
            file is there is not run; the other studies are run and write their files.
        retune: run all studies, and write their files anew.
    """

    trials: int = Field(50, ge=1)
    seconds: float | None = Field(600.0, gt=0)
    workers: int = Field(1, ge=1)
    storage: str | None = None
    parameters: Path | None = None
    retune: bool = False


class VariantSettings(Settings):
    """Settings of a row of the report that differ from what the imputer declares; None keeps the declared value.

    `params_file` is a TOML file of parameters, or the result of an earlier study. `params_from` names another variant of
    the imputer: this row takes its parameters, found by its study or given, apart from those in `params`.
    """

    tune: bool | None = None
    mask: Literal["fixed", "random"] | None = None
    params: dict[str, Any] = {}
    params_file: Path | None = None
    params_from: str | None = None


class ScoringSettings(Settings):
    """Settings of the scoring.

    Attributes:
        resamples: number of bootstrap resamples of the intervals.
        headline_level: percent missing of the headline tables.
        offsets: score every row's hard calls a second time, by the largest log-posterior plus an offset of its genotype.
            The offsets are chosen on validation, for each level, to maximise macro-F1; this takes one more fit of each
            row. Posteriors, and files written for users, do not change.
    """

    resamples: int = Field(1000, ge=100)
    headline_level: float = 60.0
    offsets: bool = False


class ExperimentSettings(Settings):
    """Settings of a whole experiment.

    `imputers` lists names (by default all imputers), `imputers_from` folders with descriptions of further imputers
    (docs/external.md). `variants` changes or adds rows of an imputer. Rows that an imputer declares are taken even if
    `variants` does not list them, unless `only_listed_variants` is set. `cluster`: Dask cluster whose workers compute, and
    `exchange` what they reach (docs/many-machines.md). `tracking_wait`: seconds to wait for an MLflow store
    that does not answer any more. `consequence`: add to the report what the imputers change
    in the conclusion (extra traits).
    """

    name: str = "experiment"
    seed: int = 1
    threads: int = Field(0, ge=0)
    note: str = ""
    data: dict[str, DataSettings] = {"bulls": DataSettings()}
    imputers: tuple[str, ...] | None = None
    imputers_from: tuple[Path, ...] = ()
    variants: dict[str, dict[str, VariantSettings]] = {}
    only_listed_variants: bool = False
    tuning: TuningSettings = TuningSettings()
    budgets: dict[str, Budget] = {}
    scoring: ScoringSettings = ScoringSettings()
    cluster: str | None = None
    exchange: str | None = None
    consequence: bool = False
    tracking_uri: str | None = None
    tracking_wait: float = Field(120.0, ge=0)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not is_plain(name):
            raise ValueError(f"{name!r} is not a name: it has {PLAIN}")
        return name

    @field_validator("data")
    @classmethod
    def _plain_names(cls, data: dict[str, DataSettings]) -> dict[str, DataSettings]:
        if not data:
            raise ValueError("at least one dataset is needed")
        for name in data:
            cls._plain_name(name)
        return data

    @field_validator("variants")
    @classmethod
    def _plain_labels(cls, variants: dict[str, dict[str, VariantSettings]]) -> dict[str, dict[str, VariantSettings]]:
        for rows in variants.values():
            for label in rows:
                cls._plain_name(label)
        return variants

    def n_threads(self) -> int:
        """Return the number of processor threads to use: as set, or all that there are."""
        return self.threads or len(os.sched_getaffinity(0))

    def offsets_on(self, dataset: str) -> bool:
        """Return whether hard calls with offsets are scored too on this dataset."""
        return self.scoring.offsets or (dataset in self.data and self.data[dataset].offsets)

    def budget(self, imputer: str) -> Budget:
        """Return the budget of an imputer's studies."""
        return self.budgets.get(imputer) or Budget(trials=self.tuning.trials, seconds=self.tuning.seconds)


def parse(table: dict[str, Any], where: str) -> ExperimentSettings:
    """Make settings from a plain table.

    Args:
        table: the table, as read from TOML.
        where: the table's origin, for messages.

    Raises:
        InputError: an unknown key or a wrong value, in one line that names the key.
    """
    try:
        return ExperimentSettings.model_validate(table)
    except ValidationError as error:
        raise first_fault(error, where, "see experiments/demo.toml for the known keys") from None


def read(path: Path) -> ExperimentSettings:
    """Read settings from a TOML file.

    Paths in it are relative to the file's folder; ~ and $VARIABLES are expanded.

    Raises:
        InputError: no such file, not TOML, an unknown key, a wrong value (names the key).
    """
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    table.setdefault("name", name_of(Path(path.stem)))
    settings = parse(table, str(path))
    data = {name: _with_paths(entry, path) for name, entry in settings.data.items()}
    variants = {
        imputer: {
            label: row.model_copy(update={"params_file": row.params_file and _resolved(row.params_file, path)})
            for label, row in rows.items()
        }
        for imputer, rows in settings.variants.items()
    }
    tuning = settings.tuning.model_copy(
        update={"parameters": settings.tuning.parameters and _resolved(settings.tuning.parameters, path)}
    )
    folders = tuple(_resolved(folder, path) for folder in settings.imputers_from)
    exchange = settings.exchange
    if exchange is not None and "://" not in exchange:
        exchange = str(_resolved(Path(exchange), path).absolute())
    update = {"data": data, "variants": variants, "tuning": tuning, "imputers_from": folders, "exchange": exchange}
    return settings.model_copy(update=update)


def _with_paths(entry: DataSettings, config: Path) -> DataSettings:
    """Return a dataset's settings with all paths resolved."""
    paths = {key: getattr(entry, key) for key in ("train", "test", "samples", "pedigree")}
    update: dict[str, Any] = {key: value and _resolved(value, config) for key, value in paths.items()}
    if entry.source != SIMULATED:
        update["source"] = str(_resolved(Path(entry.source), config))
    files = {key: getattr(entry.scenarios, key) for key in ("masks", "typed")}
    resolved = {key: value and _resolved(value, config) for key, value in files.items()}
    update["scenarios"] = entry.scenarios.model_copy(update=resolved)
    return entry.model_copy(update=update)


def _resolved(path: Path, config: Path) -> Path:
    text = os.path.expandvars(path.expanduser())
    if "$" in text:
        raise InputError(f"{config}: the path {path} names an environment variable that is not set")
    return config.parent / text


def for_genotypes(
    source: Path,
    region: str | None = None,
    max_sites: int | None = None,
    samples: Path | None = None,
    min_call_rate: float | None = None,
    *,
    name: str | None = None,
    pedigree: Path | None = None,
    levels: tuple[float, ...] | None = None,
    quick: bool = False,
    only: list[str] | None = None,
    seed: int | None = None,
) -> ExperimentSettings:
    """Return the settings of the default experiment on a user's genotype file.

    Args:
        source: the file.
        region, max_sites, samples, min_call_rate, pedigree: see `DataSettings`; None = its defaults.
        name: name of experiment and dataset; None = made from file, region and seed, so that what is learned from other
            data is not kept under one name.
        levels: percent missing; None = the default ones.
        quick: a first look in minutes: QUICK_SCENARIOS, QUICK_TUNING, and no networks but those of `only`.
        only: imputers that the user named.
        seed: seed that the user chose; None = the default one.
    """
    name = name or name_of(source, region, "quick" if quick else None, None if seed in (None, 1) else f"seed{seed}")
    data: dict[str, Any] = {"source": str(source), "region": region, "samples": samples, "pedigree": pedigree}
    if max_sites is not None:
        data["max_sites"] = max_sites
    if min_call_rate is not None:
        data["filter"] = {"min_call_rate": min_call_rate}
    if levels is not None:
        data["scenarios"] = {"levels": levels}
    table: dict[str, Any] = {"name": name, "data": {name: data}}
    if quick:
        data["scenarios"] = {**QUICK_SCENARIOS, **data.get("scenarios", {})}
        table["tuning"] = QUICK_TUNING
        table["note"] = "A quick look (--quick): few levels, one mask each, short studies, no networks."
        table["imputers"] = only or [each for each in imputers.names() if not imputers.load(each).learns_in_epochs]
    return parse(table, str(source))


def name_of(source: Path, *parts: str | None) -> str:
    """Return a name for a dataset or model, made from the name of a genotype file and of further parts, such as a region."""
    text = "-".join([stem(source), *(part for part in parts if part)])
    plain = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", text)).lstrip("._-")
    if len(plain) > LONGEST_NAME and any(parts):  # what is cut off still tells names apart
        return f"{plain[: LONGEST_NAME - 9]}-{digest(text)[:8]}"
    return plain[:LONGEST_NAME] or "genotypes"


def levels_of(text: str) -> tuple[float, ...]:
    """Return the levels that are given as 20,60,90; InputError if they are no numbers."""
    try:
        return tuple(float(part.strip().removesuffix("%")) for part in text.split(","))
    except ValueError:
        raise InputError(f"--levels {text!r} are no percentages: give numbers, as in 20,60,90") from None


def changed(
    settings: ExperimentSettings,
    trials: int | None = None,
    seconds: float | None = None,
    seed: int | None = None,
    threads: int | None = None,
    retune: bool = False,
    only_data: list[str] | None = None,
    imputers_from: list[Path] | None = None,
    tracking_wait: float | None = None,
    consequence: bool = False,
) -> ExperimentSettings:
    """Return the settings, changed by the options of the command line; budgets given there hold for every study.

    Raises:
        InputError: a wrong value, or an unknown dataset (names the known ones).
    """
    table = settings.model_dump()
    for key, value in {"trials": trials, "seconds": seconds}.items():
        if value is not None:
            table["tuning"][key] = value
            for budget in table["budgets"].values():
                budget[key] = value
    for key, value in {"seed": seed, "threads": threads, "tracking_wait": tracking_wait}.items():
        if value is not None:
            table[key] = value
    table["tuning"]["retune"] |= retune
    table["consequence"] |= consequence
    table["imputers_from"] = [*table["imputers_from"], *(imputers_from or [])]
    if unknown := set(only_data or []) - set(table["data"]):
        raise InputError(f"no dataset {min(unknown)!r} in this experiment: it has {', '.join(table['data'])}")
    table["data"] = {name: data for name, data in table["data"].items() if not only_data or name in only_data}
    return parse(table, "the command line")


def seconds_of(text: str) -> float:
    """Return the seconds of a time given as 90s, 10m or 2h; InputError if it is not a time or has no unit."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found or float(found[1]) == 0:
        raise InputError(f"{text!r} is not a time: give 90s, 10m or 2h")
    if not found[2]:
        raise InputError(f"the time {text!r} has no unit: write {found[1]}s, {found[1]}m or {found[1]}h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
