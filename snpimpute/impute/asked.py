"""What is asked of an imputation of a file, and what of it is refused before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snpimpute import imputers
from snpimpute.base.errors import InputError
from snpimpute.base.files import require_new, require_writable
from snpimpute.impute.draws import MOST_DRAWS, draws_folder
from snpimpute.impute.windows import WindowedModel
from snpimpute.imputers.contract import DRAWS, LIKELIHOODS, PHASE
from snpimpute.io.output import tables_beside
from snpimpute.io.stream import files_of


@dataclass(frozen=True)
class ImputeSettings:
    """Settings of `snpimpute impute`.

    Attributes:
        target: VCF, BCF, VCF Zarr or PLINK file.
        output: file to write, its format by its suffix (see io.imputed); None = standard output.
        force: whether an output that is there already is overwritten.
        model: folder of a fitted model; None = impute from the target alone, by `imputer`.
        version: version of a model from the registry, for the header.
        trust: run the commands of a program's description that stands in the model's folder alone.
        imputer, params: without a model: an imputer that needs no panel, and its parameters.
        window: number of sites in a window, without a model.
        use: FORMAT field of likelihoods (PL, GL or GP) to impute from in place of GT; None = GT.
        phased: whether every call is written phased.
        hide: share of the typed calls that are hidden and imputed a second time, to tell how well samples are imputed; 0 = none.
        draws: number of imputed data sets that are drawn from the posterior and written beside the output; 0 = none.
        keep_fields: whether other INFO and FORMAT fields of the target are kept.
        seed: seed of every random choice.
        threads: processor threads.
        command: command line, for the header.
    """

    target: Path
    output: Path | None
    model: Path | None = None
    version: str = ""
    trust: bool = False
    imputer: str = "simpute"
    params: Mapping[str, Any] = field(default_factory=dict)
    window: int = 500
    use: str | None = None
    phased: bool = False
    hide: float = 0.0
    draws: int = 0
    keep_fields: bool = False
    seed: int = 1
    threads: int = 1
    command: str = "snpimpute impute"
    force: bool = False


def require_output(settings: ImputeSettings) -> None:
    """Raise InputError if the output would overwrite the target, by whatever path, or an earlier output, or has no place."""
    if not 0 <= settings.draws <= MOST_DRAWS:
        raise InputError(f"--draws {settings.draws}: give a number from 1 to {MOST_DRAWS:,}")
    if settings.output is None:
        if settings.draws:
            raise InputError(
                "--draws writes a folder beside the imputed file: name a file with -o in place of standard output"
            )
        return
    own = [path for path in files_of(settings.target) if path.exists()]
    written = [path for path in files_of(settings.output) if path.exists()]
    for path in written:
        if any(path.samefile(other) for other in own):
            raise InputError(f"{path} is the target itself, which is not overwritten: give another name with -o")
    require_new(written, settings.force)
    if settings.draws:
        require_new([draws_folder(settings.output)], settings.force)
    require_new(tables_beside(settings.output), settings.force)
    require_writable(settings.output.parent)


def require_no_panel(settings: ImputeSettings) -> None:
    """Raise InputError if the imputer needs a panel, and there is none."""
    cls = imputers.load(settings.imputer)
    if cls(cls.parse_params(settings.params)).needs_panel:
        without = [name for name in imputers.names() if not imputers.load(name).needs_panel]
        raise InputError(
            f"imputer {settings.imputer} learns from a reference panel: fit a model, or choose one that needs none "
            f"({', '.join(without)}; beagle with mode=joint)"
        )


def require_handled(settings: ImputeSettings, model: WindowedModel | None) -> None:
    """Raise InputError if the imputer cannot do what is asked of it beyond calls, or calls to hide are not among what is read."""
    if not 0 <= settings.hide < 1:
        raise InputError(f"--hide {settings.hide:g} is no share of the typed calls: give 2%, or a share below 100%")
    if settings.hide and settings.use:
        raise InputError(
            f"--hide compares with calls, and --use {settings.use} reads likelihoods in their place: leave out one"
        )
    cls = imputers.load(settings.imputer) if model is None else model.imputer_class
    for wanted, option, what in (
        (LIKELIHOODS if settings.use else None, f"--use {settings.use}", "works from calls"),
        (PHASE if settings.phased else None, "--phased", "tells no phase"),
    ):
        if wanted is not None and (wanted not in cls.handles or model is None):
            able = [name for name in imputers.names() if wanted in imputers.load(name).handles]
            said = f"imputer {cls.name} {what}" if wanted not in cls.handles else "there is no panel"
            raise InputError(
                f"{said}: {option} needs a model of {' or '.join(able)} (snpimpute fit --imputer {able[-1]}); without {option} it "
                "can be imputed"
            )


def joint_draws(settings: ImputeSettings, model: WindowedModel | None) -> int:
    """Return the number of draws that windows make jointly along their sites; 0 where none is asked for, or calls are drawn singly."""
    return settings.draws if model is not None and DRAWS in model.imputer_class.handles else 0
