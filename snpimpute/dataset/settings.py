"""Settings of a dataset: source of its genotypes, filters, split and scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from snpimpute.base.errors import InputError
from snpimpute.dataset.masks import HIGH_LD
from snpimpute.dataset.mechanisms import MECHANISMS
from snpimpute.dataset.scenarios import DEFAULT_LEVELS

SIMULATED = "simulated"


def _registered(name: str) -> str:
    """Return the name of a registered mechanism; ValueError for any other name."""
    if name not in MECHANISMS:
        raise ValueError(f"unknown mechanism {name!r}: give one of {', '.join(MECHANISMS)}")
    return name


MechanismName = Annotated[
    str, AfterValidator(_registered), WithJsonSchema({"enum": list(MECHANISMS), "type": "string"})
]


class Settings(BaseModel):
    """Base of all settings tables: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_fault(error: ValidationError, where: object, known: str) -> InputError:
    """Return the first thing that is wrong with settings as an error of one line that names the key.

    Args:
        error: of the settings.
        where: they stand, for the message.
        known: which keys there are, for one that is not known.
    """
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return InputError(f"{where}: unknown key {key!r}; {known}")
    return InputError(f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}")


class SplitSettings(Settings):
    """Split of the samples into train, validation and test.

    `test` is a share below 1 or a count; `validation` is a share of train.
    """

    scheme: Literal["random", "family", "group", "youngest"] = "random"
    test: float = Field(0.2, gt=0)
    validation: float = Field(0.2, gt=0, lt=1)


class FilterSettings(Settings):
    """Conditions that a site must meet to be kept.

    These are the share of samples with a call, the frequency of the rarer allele, and FILTER passed.
    """

    min_call_rate: float = Field(0.9, ge=0, le=1)
    min_maf: float = Field(0.0, ge=0, lt=0.5)
    pass_only: bool = True


class RegionSettings(Settings):
    """Regions of neighbouring sites cut out of the data; each becomes a contig, and all other sites are left out.

    Attributes:
        sites: number of sites of each region.
        count: number of regions; they share no site, and the seed draws them.
        min_r2: r² that neighbouring sites of a region must exceed, over all samples; None = any.
    """

    sites: int = Field(ge=2)
    count: int = Field(ge=1)
    min_r2: float | None = Field(None, ge=0, lt=1)


class ScenarioSettings(Settings):
    """Calls that are hidden for scoring.

    Attributes:
        levels: percent missing.
        mechanisms: ways of hiding, each by its name in the registry (dataset.mechanisms).
        repeats: masks per level.
        masks: table with the columns missing_percent and site.
        typed: an array's sites, one a line; without it they are chosen by MAF, evenly spaced, at each level.
        min_r2: r² to an adjacent site above which "high_ld" may hide a site's calls.
        max_missing: most missing calls of a sample on a contig; None = any number.
    """

    levels: tuple[float, ...] = DEFAULT_LEVELS
    mechanisms: tuple[MechanismName, ...] = ("independent", "nested")
    repeats: int = Field(3, ge=1)
    masks: Path | None = None
    typed: Path | None = None
    min_r2: float = Field(HIGH_LD, ge=0, lt=1)
    max_missing: int | None = Field(None, ge=1)

    @field_validator("levels")
    @classmethod
    def _percentages(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        """Return the levels sorted and without repetition; ValueError if one is not a percentage."""
        for level in levels:
            if not 0 < level < 100:
                raise ValueError(f"level {level:g} is not a percentage above 0 and below 100")
            if round(level, 1) != level:
                raise ValueError(f"level {level:g} is finer than a tenth of a percent")
        if not levels:
            raise ValueError("at least one level is needed")
        return tuple(sorted(set(levels)))

    @model_validator(mode="after")
    def _file(self) -> ScenarioSettings:
        """Refuse options that do not go with the mechanisms."""
        if ("file" in self.mechanisms) != (self.masks is not None):
            raise ValueError('mechanism "file" and a table `masks` go together')
        if self.typed is not None and "array" not in self.mechanisms:
            raise ValueError('a list `typed` needs the mechanism "array"')
        if self.max_missing is not None and not all(MECHANISMS[name].capped for name in self.mechanisms):
            capped = [mechanism.name for mechanism in MECHANISMS.values() if mechanism.capped]
            raise ValueError(f"`max_missing` goes with these mechanisms alone: {', '.join(capped)}")
        return self


class DataSettings(Settings):
    """Settings of one dataset: source of its genotypes, filters, split and scenarios.

    `source` is a VCF, BCF, VCF Zarr (.vcz) or PLINK file (.bed, .pgen), or "simulated"; or `train` and `test` are two files
    that are split already. `samples` is a sample table; `pedigree` is a table of animals, genotyped or not, with their sires
    and dams.
    `params` holds parameters of imputers on this dataset, which override those of their variants. More sites than
    `max_sites`, counted over all contigs, are refused. If `source` has more than `max_samples` samples, the seed draws
    that many; `regions` are cut out of it. `imputers` names those that run on this dataset, as `beagle` or, for a
    single variant, `beagle/default`; None = all of the experiment. `seed` replaces the experiment's seed for the draws
    of this dataset (samples, split, masks). `offsets` also scores this dataset's hard calls with offsets, as
    `scoring.offsets` does for all datasets.
    """

    source: str = SIMULATED
    train: Path | None = None
    test: Path | None = None
    samples: Path | None = None
    pedigree: Path | None = None
    region: str | None = None
    max_sites: int = Field(500, ge=10)
    max_samples: int | None = Field(None, ge=2)
    regions: RegionSettings | None = None
    filter: FilterSettings = FilterSettings()
    simulation: dict[str, Any] = {}
    split: SplitSettings = SplitSettings()
    scenarios: ScenarioSettings = ScenarioSettings()
    params: dict[str, dict[str, Any]] = {}
    imputers: tuple[str, ...] | None = None
    seed: int | None = None
    offsets: bool = False

    @model_validator(mode="after")
    def _both_files(self) -> DataSettings:
        """Refuse `train` without `test`, and options that need one `source`."""
        if (self.train is None) != (self.test is None):
            raise ValueError("`train` and `test` go together")
        if self.train is not None and (self.regions or self.max_samples):
            raise ValueError("`regions` and `max_samples` are taken from one `source`, not from `train` and `test`")
        return self
