"""Time of one sample by a network on traits: as it is, as TorchScript, as ONNX, as ONNX with 8-bit weights; and their errors.

    python benchmarks/export.py [--sites 1000] [--calls 200] [--network cnn mlp …]

Untrained weights cost what trained ones do: each network learns one epoch of simulated genotypes. One thread, one sample a call.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from snpimpute.traits.learned import Learned
from snpimpute.traits.onnx import export_onnx, made_up, with_encoding
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.testing import small_cohort

NETWORKS = ("mlp", "cnn", "cnn_transformer", "transformer", "ld_gnn", "hierarchical")


def timed(call: Callable[[], object], n: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of `n` calls, in milliseconds, after ten that are not counted."""
    for _ in range(10):
        call()
    took = []
    for _ in range(n):
        start = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - start))
    return float(np.median(took)), float(np.percentile(took, 99))


def main() -> None:
    """Print a table of networks and engines."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sites", type=int, default=1000)
    options.add_argument("--calls", type=int, default=200)
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    import onnxruntime
    import torch
    from onnxruntime.quantization import quantize_dynamic

    torch.set_num_threads(1)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 1
    cohort = small_cohort(200, chosen.sites)
    print(
        f"{'network':16} {'parameters':>10}  {'engine':12} {'median ms':>9} {'p99 ms':>7} {'MB':>6} {'error':>8}",
        flush=True,
    )
    for name in chosen.network:
        cls = load(name)
        predictor = cls(cls.parse_params({"epochs": 1}), seed=1).fit(cohort)
        whole = with_encoding(predictor)
        some = made_up(predictor, 64)
        genotypes = np.ascontiguousarray(some.posterior[:, predictor.chosen])
        covariates = some.covariates.astype(np.float32)
        tensors = torch.from_numpy(genotypes), torch.from_numpy(covariates)
        one = tuple(part[:1] for part in tensors)
        engines: dict[str, tuple[Callable[[], object], np.ndarray, float]] = {}
        with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
            expected = whole(*tensors).numpy()
            engines["PyTorch"] = lambda: whole(*one), expected, 0.0  # noqa: B023
            try:
                script = torch.jit.trace(whole, tensors, check_trace=False)
                script.save(f"{folder}/script.pt")
                size = Path(folder, "script.pt").stat().st_size
                engines["TorchScript"] = lambda: script(*one), script(*tensors).numpy(), size  # noqa: B023
            except RuntimeError as error:  # it has no sparse tensors
                print(f"{name:16} {'':10}  TorchScript  {str(error).strip().splitlines()[-1]}", flush=True)
            plain, small = Path(folder, "plain.onnx"), Path(folder, "small.onnx")
            export_onnx(Learned(predictor, "trait", {}), plain, "")
            quantize_dynamic(str(plain), str(small))
            for engine, file in (("ONNX", plain), ("ONNX, INT8", small)):
                session = onnxruntime.InferenceSession(str(file), session_options, providers=["CPUExecutionProvider"])
                given = {"genotypes": genotypes, "covariates": covariates}
                given = {each.name: given[each.name] for each in session.get_inputs()}
                first = {key: value[:1] for key, value in given.items()}
                engines[engine] = (
                    lambda session=session, first=first: session.run(None, first),
                    session.run(None, given)[0],
                    file.stat().st_size,
                )
            for engine, (call, found, size) in engines.items():
                median, late = timed(call, chosen.calls)
                error = np.abs(found - expected).max() / predictor._scale
                megabytes = f"{size / 1e6:6.1f}" if size else " " * 6
                print(
                    f"{name:16} {predictor.n_parameters():10,}  {engine:12} {median:9.2f} {late:7.2f} {megabytes} {error:8.1g}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
