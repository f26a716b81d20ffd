"""Export of a network to ONNX: the whole way from calls to calibrated posterior as one PyTorch module.

Keras networks are built anew by Keras on PyTorch, which reads the weights that it saved on TensorFlow; so the process that exports
one sets KERAS_BACKEND to "torch" before this file is imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpimpute import __version__, imputers
from snpimpute.base.errors import InputError
from snpimpute.base.onnx import write_network
from snpimpute.genotypes.matrix import MISSING
from snpimpute.imputers._exported import CALLS, POSTERIOR
from snpimpute.imputers._keras import KerasImputer
from snpimpute.imputers._torch import TorchImputer
from snpimpute.imputers.contract import Imputer

if TYPE_CHECKING:
    import torch

INPUTS = np.array([MISSING, 0, 1, 2], dtype=np.int8)  # in the order of a call's number plus 1


def require_network(cls: type[Imputer]) -> None:
    """Raise InputError unless the imputers of this class are networks that can be exported (lists those that are)."""
    if not issubclass(cls, (KerasImputer, TorchImputer)):
        able = [name for name in imputers.names() if issubclass(imputers.load(name), (KerasImputer, TorchImputer))]
        raise InputError(f"imputer {cls.name} has no network to export: those of {', '.join(able)} can be exported")


def export_imputer(imputer: KerasImputer | TorchImputer, file: Path) -> None:
    """Write the network of a fitted imputer as one ONNX file, with its encoding before it and its calibration behind it.

    The input is `calls`, int8 (n_samples, n_sites), -1 = missing, the output `posterior`, float32 (n_samples, n_sites, 3), also at
    observed calls. The number of samples is free. Products are in float32, whatever `precision` says. The file's metadata has the
    `sites` (JSON list of contig, position, REF, ALT).
    """
    import torch

    examples = torch.from_numpy(np.resize(INPUTS, (2, len(imputer.sites))))
    sites = imputer.sites[["contig", "pos", "ref", "alt"]]
    about = {
        "imputer": imputer.name,
        "sites": json.dumps(sites.astype(str).to_numpy().tolist()),
        "snpimpute": __version__,
    }
    write_network(whole_network(imputer), {CALLS: examples}, [POSTERIOR], about, file)


def whole_network(imputer: KerasImputer | TorchImputer) -> torch.nn.Module:
    """Return a fitted imputer as a module: int8 calls (n, n_sites) in, float32 posterior (n, n_sites, 3) out."""
    import torch

    temperature, *bias = imputer._calibration or (1.0, 0.0, 0.0, 0.0)
    logits = _keras_logits(imputer) if isinstance(imputer, KerasImputer) else _torch_logits(imputer)

    class Whole(torch.nn.Module):
        bias: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.logits = logits
            self.register_buffer("bias", torch.tensor(bias))

        def forward(self, calls: torch.Tensor) -> torch.Tensor:
            log_posterior = self.logits(calls).log_softmax(dim=2)
            return (log_posterior / temperature + self.bias).softmax(dim=2)

    return Whole().eval()


def _keras_logits(imputer: KerasImputer) -> torch.nn.Module:
    """Return encoding and network of an imputer in Keras; each site's encoding is a table of its four possible inputs."""
    import torch

    n_sites = len(imputer.sites)
    table = imputer.encode(np.broadcast_to(INPUTS[:, None], (len(INPUTS), n_sites)))

    class Logits(torch.nn.Module):
        table: torch.Tensor
        site: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = imputer._model
            self.register_buffer("table", torch.from_numpy(table))
            self.register_buffer("site", torch.arange(n_sites))

        def forward(self, calls: torch.Tensor) -> torch.Tensor:
            return self.model(self.table[calls.long() + 1, self.site], training=False)

    return Logits()


def _torch_logits(imputer: TorchImputer) -> torch.nn.Module:
    """Return the network of an imputer in PyTorch, its own encoding before it."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = imputer._model.cpu()

        def forward(self, calls: torch.Tensor) -> torch.Tensor:
            return imputer.logits(self.model, calls.long())

    return Logits()
