"""Networks as ONNX files: written by PyTorch's exporter, opened by ONNX Runtime on the processor."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession

OPSET = 20


def require_exporter(needed_by: str) -> None:
    """Raise InputError that names the extra unless a network can be exported, and the export be tried out."""
    for package in ("torch", "onnx", "onnxruntime", "onnxscript"):
        require_package(package, needed_by)


def write_network(
    network: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    about: Mapping[str, str],
    file: Path,
) -> None:
    """Write a network as one ONNX file.

    Args:
        network: on the processor, in `eval` mode.
        inputs: by name an example of each, two samples or more; the first axis is that of samples, whose number stays free.
        outputs: their names.
        about: the file's metadata.
        file: to be written; not beside and renamed, as the caller tries it out first.
    """
    import torch

    samples = torch.export.Dim("samples")
    with warnings.catch_warnings(), _errors_alone("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # of what the exporter itself uses
        exported = torch.onnx.export(
            network,
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: samples} for _ in inputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert exported is not None
    exported.model.metadata_props.update(about)
    exported.save(str(file))


def opened(file: Path, needed_by: str, mend: str, threads: int = 1) -> InferenceSession:
    """Open an ONNX file on the processor.

    Args:
        file: that `write_network` wrote.
        needed_by: what needs it, for the message where ONNX Runtime is not installed.
        mend: how to make the file anew, for the message.
        threads: processor threads of a call.

    Raises:
        InputError: the file cannot be read as a network.
    """
    require_package("onnxruntime", needed_by)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has a class for each status
        why = str(error).partition("\n")[0]
        raise InputError(f"{file} cannot be read as an exported network: {why}; {mend}") from None


@contextmanager
def _errors_alone(*names: str) -> Iterator[None]:
    """Keep warnings of these loggers out of what a command prints."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
