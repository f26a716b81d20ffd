"""Networks on traits as ONNX: the whole way from genotype probabilities to the trait in one file, and its use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpimpute import __version__
from snpimpute.base.errors import InputError
from snpimpute.base.files import written_beside
from snpimpute.base.onnx import opened, require_exporter, write_network
from snpimpute.traits.learned import Learned
from snpimpute.traits.predictors._torch import TorchPredictor
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor
from snpimpute.traits.predictors.encodings import TABLES

if TYPE_CHECKING:
    import torch

PARITY = 1e-5  # largest difference to the network's own prediction that an export may have, of the trait's spread
BATCH = 256  # samples at a time


def export_onnx(learned: Learned, file: Path, digest: str) -> float:
    """Write a learned network as one ONNX file, complete or absent, once its predictions agree with the network's own.

    Both are compared on made-up samples with the frequencies of those that were learned from.

    The graph has the inputs `genotypes`, float32 (n_samples, n_sites, 3), probabilities of 0, 1 and 2 ALT alleles at the
    predictor's chosen sites (NaN where a genotype is missing), and `covariates`, float32 (n_samples, n_covariates); its output
    `trait`, float32 (n_samples,), is the trait, or the probability of a case. The number of samples is free. The chosen sites
    are in the file's metadata (`sites`: JSON list of contig, position, REF, ALT).

    Args:
        learned: a predictor that is a network in PyTorch.
        file: to be written.
        digest: of the model's folder, by which `predict_onnx` knows that the file is the model's.

    Returns:
        The largest difference between both, in standard deviations of the trait (of a binary one as it is).

    Raises:
        InputError: the predictor is no network, or has components among its covariates; the predictions differ by more than PARITY.
    """
    predictor = learned.predictor
    if not isinstance(predictor, TorchPredictor):
        raise InputError(
            f"{predictor.name} is no network: only networks in PyTorch are exported (cnn, mlp, transformer, …)"
        )
    if predictor.components is not None:  # they are of other sites than those that the network takes
        raise InputError(
            "a network with principal components among its covariates is not exported: fit it without --pcs"
        )
    require_exporter("traits export")
    import torch

    cohort = made_up(predictor)
    genotypes, covariates = (torch.from_numpy(part[:2]) for part in _inputs(cohort, predictor.chosen))
    sites = predictor.sites.iloc[predictor.chosen][["contig", "pos", "ref", "alt"]]
    about = {
        "trait": learned.trait,
        "predictor": predictor.name,
        "covariates": json.dumps(list(learned.coding)),
        "model": digest,
        "sites": json.dumps(sites.astype(str).to_numpy().tolist()),
        "snpimpute": __version__,
    }
    with written_beside(file) as beside:
        inputs = {"genotypes": genotypes, "covariates": covariates}
        write_network(with_encoding(predictor), inputs, ["trait"], about, beside)
        apart = float(np.abs(predict_onnx(predictor, beside, cohort, digest) - predictor.predict(cohort)).max())
        apart /= 1.0 if predictor.binary else float(predictor._scale)
        if not apart <= PARITY:
            raise InputError(f"the exported network predicts {apart:.1g} standard deviations beside the network itself")
    return apart


def predict_onnx(predictor: Predictor, file: Path, cohort: Cohort, digest: str) -> np.ndarray:
    """Return the trait of samples by an exported network, float32 (n_samples,), on the processor and one thread.

    Args:
        predictor: the network that was exported.
        file: that `export_onnx` wrote.
        cohort: samples at the predictor's sites, with their covariates.
        digest: of the model's folder.

    Raises:
        InputError: the file cannot be read as a network, or is another model's.
    """
    session = opened(file, "--onnx", "make it by snpimpute traits export")
    if session.get_modelmeta().custom_metadata_map.get("model") != digest:
        raise InputError(f"{file} is not exported from this model: make it by snpimpute traits export")
    wanted = {given.name for given in session.get_inputs()}  # a network without covariates does not ask for them
    genotypes, covariates = _inputs(cohort, predictor.chosen)
    parts = [np.empty(0, dtype=np.float32)]
    for i in range(0, cohort.n_samples, BATCH):
        given = {"genotypes": genotypes[i : i + BATCH], "covariates": covariates[i : i + BATCH]}
        parts.append(session.run(["trait"], {name: given[name] for name in wanted})[0])
    return np.concatenate(parts)


def made_up(predictor: TorchPredictor, n_samples: int = 64, seed: int = 1) -> Cohort:
    """Return samples at a fitted network's sites, each site by its genotypes' frequencies: calls, posteriors, missing ones."""
    rng = np.random.default_rng(seed)
    posterior = np.full((n_samples, len(predictor.sites), 3), np.nan, dtype=np.float32)
    for site, frequencies in zip(predictor.chosen, predictor.encoding.frequencies, strict=True):
        calls = rng.choice(3, n_samples, p=frequencies / frequencies.sum(dtype=np.float64))
        posterior[:, site] = np.eye(3, dtype=np.float32)[calls]
    uncertain, missing = rng.random(posterior.shape[:2]) < 0.3, rng.random(posterior.shape[:2]) < 0.05
    posterior[uncertain] = 0.7 * posterior[uncertain] + 0.1
    posterior[missing] = np.nan
    mean, spread = predictor._covariates
    covariates = mean + spread * rng.standard_normal((n_samples, predictor.n_covariates))
    return Cohort(posterior, predictor.sites, np.empty(0), covariates, predictor.binary)


def with_encoding(predictor: TorchPredictor) -> torch.nn.Module:
    """Return a fitted network with what stands before and after it: (n, n_sites, 3) and covariates in, the trait (n,) out."""
    import torch

    encoding, (mean, spread) = predictor.encoding, predictor._covariates
    predictor._model.to("cpu").eval()

    class Whole(torch.nn.Module):
        frequencies: torch.Tensor
        table: torch.Tensor
        center: torch.Tensor
        factor: torch.Tensor
        mean: torch.Tensor
        spread: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = predictor._model
            for name, value in (
                ("frequencies", encoding.frequencies),
                ("table", TABLES[encoding.name]),
                ("center", encoding.center),
                ("factor", 1 / encoding.scale),
                ("mean", mean),
                ("spread", spread),
            ):
                self.register_buffer(name, torch.from_numpy(np.asarray(value, dtype=np.float32)))

        def forward(self, genotypes: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
            missing = torch.isnan(genotypes).any(dim=2, keepdim=True)
            known = torch.where(missing, self.frequencies, genotypes)
            score = self.model((known @ self.table - self.center) * self.factor, (covariates - self.mean) / self.spread)
            score = score * predictor._scale + predictor._center
            return torch.sigmoid(score) if predictor.binary else score

    return Whole().eval()


def _inputs(cohort: Cohort, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(cohort.posterior[:, chosen], dtype=np.float32), cohort.covariates.astype(np.float32)
