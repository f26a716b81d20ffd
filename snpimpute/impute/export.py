"""A model of networks, exported: beside its folder one of the same layout, whose windows impute by ONNX Runtime."""

from __future__ import annotations

import gc
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.alone import made_alone
from snpimpute.base.checksums import MEND, TABLE, write_checksums
from snpimpute.base.digests import digest, file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import require_writable, save_array, write_text, written_beside
from snpimpute.base.onnx import require_exporter
from snpimpute.base.processes import say_progress
from snpimpute.base.progress import Watch
from snpimpute.base.sources import source_digest
from snpimpute.base.steps import Pieces, in_shares
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.impute.steps import MODEL_LINK
from snpimpute.impute.windows import ABOUT, WindowedModel
from snpimpute.imputers import decided_by

ENGINES = ("onnx",)
PARITY = 1e-5  # largest difference to a probability of the network's own posterior that an export may have
SAMPLES = 64  # made-up ones, on which both are compared
ALONE = 4  # of these are also imputed one by one
WINDOWS_EXPORTED = 20  # per process: a start costs seconds, and Keras keeps memory of each network
SOURCE = "exported_from"  # in model.json: digest of the checksums of the model that was exported
VERB = "snpimpute models export"


@dataclass(frozen=True)
class ExportedModel:
    """Result of an export.

    Attributes:
        folder: the exported model.
        windows: number of its windows.
        size: bytes of its networks.
        largest_difference: of a probability to the network's own posterior, over all windows' made-up samples.
    """

    folder: Path
    windows: int
    size: int
    largest_difference: float


def exported_folder(folder: Path) -> Path:
    """Return the folder of a model's export, which is beside the model's own."""
    if folder.name in ("", ".."):  # the working directory, or one above it
        folder = folder.resolve()
    return folder.with_name(f"{folder.name}.onnx")


def exported_model(folder: Path, name: str) -> Path:
    """Return the folder of a model's export, as `exported_folder`, if it is there and is of this model.

    Args:
        folder: the model's folder; that of an exported model is returned as it is.
        name: of the model, as the user would name it, for the message.

    Raises:
        InputError: the model was not exported, or the export beside it is another model's or not complete.
    """
    if (folder / ABOUT).exists() and SOURCE in WindowedModel(folder).about:
        return folder
    there = exported_folder(folder)
    if not (there / ABOUT).exists():
        raise InputError(f"model {name} is not exported, so that ONNX Runtime cannot impute with it: {VERB} {name}")
    try:
        source = WindowedModel(there).about.get(SOURCE)
    except InputError:
        raise InputError(f"{there} is no complete export: {VERB} {name} --force") from None
    if source != _identity(folder):
        raise InputError(f"{there} is the export of another model: {VERB} {name} --force")
    return there


def verified_model(folder: Path, trust: bool = False) -> WindowedModel:
    """Open a model that is as it was fitted or exported; see `WindowedModel.verified`.

    Raises:
        InputError: as there; of an export the line says how to mend that.
    """
    try:
        return WindowedModel.verified(folder, trust=trust)
    except InputError as error:
        if not _looks_exported(folder):
            raise
        mend = f"export it again ({VERB} NAME --force)"
        raise InputError(str(error).replace(MEND, mend).replace("model was fitted", "model was exported")) from None


def engine_of(model: WindowedModel) -> str:
    """Return what imputes with a model: onnx, by its exported networks, or own, as it was fitted."""
    return ENGINES[0] if SOURCE in model.about else "own"


def _looks_exported(folder: Path) -> bool:
    """Tell whether a folder is of an export, perhaps a damaged one."""
    if folder.name == exported_folder(folder.with_suffix("")).name:
        return True
    try:
        return f'"{SOURCE}"' in (folder / ABOUT).read_text()
    except (OSError, UnicodeDecodeError):
        return False


def require_engine(engine: str | None, option: str) -> None:
    """Raise InputError unless this is an engine for exported networks, or None."""
    if engine is not None and engine not in ENGINES:
        raise InputError(f"{option} {engine!r} is not known: give {' or '.join(ENGINES)}")


def export_model(
    folder: Path, runs: Path, watch: Watch | None = None, threads: int = 1, force: bool = False
) -> ExportedModel:
    """Export each window's network of a model; complete or absent, once each gives the network's own posterior to PARITY.

    Windows that are done stay in `runs/export` until all are; the same call goes on. A network that computes in bfloat16 is
    compared with itself in float32.

    Args:
        folder: a fitted model.
        runs: folder of all results.
        watch: receives the progress.
        threads: processes at a time, of one thread each.
        force: replace an export that is there.

    Raises:
        InputError: no model, or one whose imputer has no network; an export is there already; posteriors differ by more than
            PARITY; a package is missing.
    """
    from snpimpute.imputers._exporting import require_network

    watch = watch or Watch()
    model = WindowedModel.verified(folder)
    if SOURCE in model.about:
        raise InputError(f"{folder} is an exported model: export the model that it was made from")
    require_network(model.imputer_class)
    require_exporter("models export")
    to = exported_folder(model.folder)
    if to.exists() and not force:
        raise InputError(f"{to} is there already: --force exports the model again")
    require_writable(to.parent)
    code = source_digest("snpimpute.impute.export", "snpimpute.imputers._exporting")
    key = digest([_identity(folder), code, decided_by(model.imputer_class)])
    work = runs / "export" / key[:16]
    numbers = list(range(len(model.windows)))
    with made_alone(work, watch):
        work.mkdir(exist_ok=True)
        (work / MODEL_LINK).unlink(missing_ok=True)
        (work / MODEL_LINK).symlink_to(model.folder.absolute(), target_is_directory=True)
        watch.stage("impute made-up samples by the networks themselves")
        expected = Pieces(lambda n: _expected_file(work, n).exists(), lambda _: [], lambda _: [], WINDOWS_EXPORTED)
        in_shares(expect_windows, work, numbers, expected, threads, watch)
        watch.stage("export the networks")
        exported = Pieces(lambda n: _difference_file(work, n).exists(), lambda _: [], lambda _: [], WINDOWS_EXPORTED)
        in_shares(export_windows, work, numbers, exported, threads, watch)
        apart = [json.loads(_difference_file(work, number).read_text()) for number in numbers]
        if not max(apart) <= PARITY:
            raise InputError(
                f"window {int(np.argmax(apart))}: the exported network's probabilities are up to {max(apart):.1g} beside the "
                f"network's own, more than {PARITY:g}: it is not exported"
            )
        write_exported(model, work / "windows", to)
        shutil.rmtree(work)
    size = sum(file.stat().st_size for file in to.glob("windows/**/*.onnx"))
    return ExportedModel(to, len(numbers), size, max(apart))


def write_exported(model: WindowedModel, windows: Path, to: Path) -> None:
    """Write a model whose windows impute by exported networks; complete or absent.

    Args:
        model: that was exported.
        windows: folder with a folder of a saved `Exported` for each window.
        to: the exported model's folder; one that is there is replaced.
    """
    with written_beside(to) as beside:
        shutil.copytree(model.folder, beside, ignore=shutil.ignore_patterns("windows", TABLE))
        shutil.copytree(windows, beside / "windows")
        write_text(beside / ABOUT, json.dumps({**model.about, SOURCE: _identity(model.folder)}, indent=1) + "\n")
        write_checksums(beside)


def expect_windows(home: Path, numbers: list[int]) -> None:
    """Save the calls of made-up samples, and the posteriors that the windows' own imputers give them, in float32."""
    model = WindowedModel(home / MODEL_LINK)
    for number in numbers:
        imputer = model.imputer(number)
        if "precision" in type(imputer.params).model_fields:
            imputer.params = imputer.params.model_copy(update={"precision": "float32"})
        target = made_up(imputer.sites, imputer.frequencies, SAMPLES, seed=number)
        with written_beside(_expected_file(home, number)) as beside:
            beside.mkdir()
            save_array(beside / "calls.npy", target.calls)
            save_array(beside / "posterior.npy", imputer.posterior(target))
        say_progress(1, 1)
        del imputer
        gc.collect()  # frees Keras networks, which are reference cycles


def export_windows(home: Path, numbers: list[int]) -> None:
    """Export the networks of windows, and save how far their posteriors are from those of `expect_windows`."""
    os.environ |= {"KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": "cpu", "SNPIMPUTE_DEVICE": "cpu"}  # read at import
    from snpimpute.imputers._exported import NETWORK, Exported
    from snpimpute.imputers._exporting import export_imputer

    model = WindowedModel(home / MODEL_LINK)
    for number in numbers:
        imputer = model.imputer(number)
        file = home / f"{number:05d}-{NETWORK}"
        export_imputer(imputer, file)  # type: ignore[arg-type]  # `require_network` has looked
        with written_beside(WindowedModel.place(home, number)) as beside:
            Exported.from_file(file, imputer).save(beside)
        file.unlink()
        saved = Exported.load(WindowedModel.place(home, number))
        calls, expected = (np.load(_expected_file(home, number) / f"{name}.npy") for name in ("calls", "posterior"))
        target = _matrix(calls, imputer.sites)
        found = [(saved.posterior(target), expected)]
        found += [(saved.posterior(target.take_samples(slice(i, i + 1))), expected[i : i + 1]) for i in range(ALONE)]
        apart = max(float(np.abs(one - other).max()) for one, other in found)
        write_text(_difference_file(home, number), json.dumps(apart) + "\n")
        say_progress(1, 1)
        del imputer, saved
        gc.collect()


def made_up(sites: pd.DataFrame, frequencies: np.ndarray, n_samples: int, seed: int) -> GenotypeMatrix:
    """Return samples whose genotypes have a panel's frequencies, site by site, with 5% to 95% of the calls missing.

    Args:
        sites: the panel's sites.
        frequencies: float32 (n_sites, 3), of the genotypes.
        n_samples: their number.
        seed: of the genotypes, and of what is missing.
    """
    rng = np.random.default_rng(seed)
    below = np.cumsum(frequencies, axis=1, dtype=np.float64)
    draw = rng.random((n_samples, len(sites), 1)) * below[:, -1:]
    calls = (draw >= below[None, :, :2]).sum(axis=2).astype(np.int8)
    share = rng.permutation(np.linspace(0.05, 0.95, n_samples))
    calls[rng.random(calls.shape) < share[:, None]] = MISSING
    return _matrix(calls, sites)


def _matrix(calls: np.ndarray, sites: pd.DataFrame) -> GenotypeMatrix:
    samples = pd.DataFrame({"sample": [f"sample{i + 1}" for i in range(len(calls))]})
    return GenotypeMatrix(calls, samples, sites)


def _identity(folder: Path) -> str:
    """Return the digest of a model's checksums, which stands for all that is in its folder."""
    return file_digest(folder / TABLE)


def _expected_file(home: Path, number: int) -> Path:
    return home / "expected" / f"{number:05d}"


def _difference_file(home: Path, number: int) -> Path:
    return home / "differences" / f"{number:05d}.json"
