"""Base of the PyTorch networks: seeds, precision, optimizer, focal loss, training, prediction, saving."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers._network import NetworkImputer, NetworkParams

if TYPE_CHECKING:
    import torch

PREDICT_BATCH = 64


class TorchParams(NetworkParams):
    """Parameters of every PyTorch network.

    Attributes:
        learning_rate: highest rate of the one-cycle schedule (Smith and Topin 2018, "Super-convergence"): up from a
            25th of it over the first `warm_up` of the steps of all `epochs`, then down to nearly 0.
        weight_decay: decoupled weight decay of AdamW (Loshchilov and Hutter 2019).
        gradient_clip: largest norm of the gradient of a step.
        gamma: focusing of the focal loss (Lin et al. 2017, "Focal loss for dense object detection"); with 0 it is the
            weighted cross-entropy.
        precision: number format of matrix products while learning and imputing; "auto" is bfloat16 on hardware made for
            it.
    """

    learning_rate: float = Field(5e-4, gt=0)
    warm_up: float = Field(0.3, gt=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    gamma: float = Field(0.0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class TorchImputer(NetworkImputer):
    """Network in PyTorch: a subclass defines `network` and `logits`."""

    framework = "torch"
    Params = TorchParams

    # ------------------------------------------------------------------ what a subclass defines

    @classmethod
    @abstractmethod
    def network(cls, n_sites: int, params: Any) -> torch.nn.Module:
        """Return the untrained network."""

    @classmethod
    @abstractmethod
    def logits(cls, model: torch.nn.Module, seen: torch.Tensor) -> torch.Tensor:
        """Return logits, float (batch, n_sites, 3), of int64 calls (batch, n_sites), -1 = not seen."""

    # ------------------------------------------------------------------ what NetworkImputer asks for

    def _build(self, panel: GenotypeMatrix, class_weights: np.ndarray, steps_per_epoch: int) -> None:
        import torch

        p = self.params
        torch.manual_seed(self.seed)
        self._set_model(self.network(panel.n_sites, p))
        self._class_weights = torch.from_numpy(class_weights).to(self._device)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=p.learning_rate, weight_decay=p.weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, p.learning_rate, total_steps=p.epochs * steps_per_epoch, pct_start=p.warm_up
        )

    def _train_epoch(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        self._model.train()
        for calls, hidden in batches:
            self._step(calls, hidden)

    def _step(self, calls: np.ndarray, hidden: np.ndarray) -> None:
        """Update the network by one batch; hidden and missing calls are not in its input."""
        import torch

        truth = torch.from_numpy(calls.astype(np.int64)).to(self._device)
        masked = torch.from_numpy(hidden).to(self._device)
        in_loss = masked & (truth != MISSING)
        with self._precision():
            logits = self.logits(self._model, truth.masked_fill(masked, MISSING))
        loss = focal_loss(logits[in_loss].float(), truth[in_loss], self._class_weights, self.params.gamma)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self.params.gradient_clip)
        self._optimizer.step()
        self._schedule.step()

    def _log_posterior(self, calls: np.ndarray) -> np.ndarray:
        import torch

        self._model.eval()
        parts = []
        with torch.inference_mode(), self._precision():
            for i in range(0, len(calls), PREDICT_BATCH):
                seen = torch.from_numpy(calls[i : i + PREDICT_BATCH].astype(np.int64)).to(self._device)
                parts.append(self.logits(self._model, seen).float().log_softmax(dim=2).cpu().numpy())
        return np.concatenate(parts)

    def _get_weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.clone() for name, weight in self._model.state_dict().items()}

    def _set_weights(self, weights: dict[str, torch.Tensor]) -> None:
        self._model.load_state_dict(weights)

    def _save(self, folder: Path) -> None:
        from safetensors.torch import save_model

        save_model(self._model, str(folder / "model.safetensors"))
        state = {"calibration": self._calibration, "stop_after": self._stop_after}
        (folder / "network.json").write_text(json.dumps(state) + "\n")

    def _load(self, folder: Path) -> None:
        from safetensors.torch import load_model

        self._set_model(self.network(len(self.sites), self.params))
        load_model(self._model, str(folder / "model.safetensors"), device=str(self._device))
        state = json.loads((folder / "network.json").read_text())
        self._calibration = state["calibration"] and tuple(state["calibration"])
        self._stop_after = state["stop_after"]

    def _set_model(self, model: torch.nn.Module) -> None:
        """Make `model` the network of this imputer, on the device where it computes."""
        import torch

        torch.set_num_threads(self.threads)
        self._device = torch.device(torch_device())
        self._model = model.to(self._device)

    def _precision(self) -> torch.autocast:
        """Return the context in which products have the chosen precision."""
        import torch

        chosen = self.params.precision
        bf16 = has_fast_bf16() if chosen == "auto" else chosen == "bfloat16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=bf16)


def torch_device() -> str:
    """Return "cuda" if there is a GPU, else "cpu"; SNPIMPUTE_DEVICE overrides."""
    if chosen := os.environ.get("SNPIMPUTE_DEVICE"):
        return chosen
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def has_fast_bf16() -> bool:
    """Tell whether bfloat16 products run on hardware made for them (a GPU, or a CPU with AMX or AVX-512 BF16)."""
    if torch_device() == "cuda":
        return True
    return bool({"amx_bf16", "avx512_bf16"} & cpu_flags())


def cpu_flags() -> set[str]:
    """Return the processor's feature flags as Linux names them; empty on other systems."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return set()
    for line in info.read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def focal_loss(logits: torch.Tensor, truth: torch.Tensor, class_weights: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return the mean focal loss over calls, weighted by the class weight of the true genotype; 0 without calls.

    Args:
        logits: float32 (n, 3).
        truth: int64 (n,), genotypes 0, 1, 2.
        class_weights: float32 (3,).
        gamma: focusing; 0 is the cross-entropy.
    """
    log_p = logits.log_softmax(dim=1).gather(1, truth[:, None])[:, 0]
    weights = class_weights[truth]
    focus = (1 - log_p.exp()) ** gamma
    return -(weights * focus * log_p).sum() / weights.sum().clamp(min=1e-12)
