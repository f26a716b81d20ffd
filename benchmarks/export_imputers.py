"""Time of one sample by an imputer's network: in its own framework, as TorchScript, as ONNX, as ONNX with 8-bit weights; their errors.

    python benchmarks/export_imputers.py [--imputer dense dense_emb cae bert] [--calls 200] [--epochs 10]

Each imputer learns some epochs of simulated bulls at 500 sites, and imputes others with 90% of the sites missing. One thread, one sample
a call. The errors are the largest difference of a probability to the own framework's in float32, and the share of missing calls whose
most probable genotype is another.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from export import timed  # the file beside this one

from snpimpute import imputers
from snpimpute.dataset.masks import array_masks
from snpimpute.dataset.simulate import parse_settings, simulate_bulls
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix

IMPUTERS = ("dense", "dense_emb", "cae", "bert")
JUDGED = 100  # bulls that are not learned from


def main() -> None:
    """Print a table of imputers and engines."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--imputer", nargs="+", choices=IMPUTERS, default=IMPUTERS)
    options.add_argument("--calls", type=int, default=200)
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--stage", choices=("own", "exported"), help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.stage == "own":
        own(chosen.imputer[0], chosen.folder, chosen.calls, chosen.epochs)
        return
    if chosen.stage == "exported":
        exported(chosen.imputer[0], chosen.folder, chosen.calls)
        return
    print(
        f"{'imputer':10} {'engine':14} {'median ms':>9} {'p99 ms':>7} {'MB':>6} {'error':>8} {'calls':>7}", flush=True
    )
    for name in chosen.imputer:
        with tempfile.TemporaryDirectory() as folder:
            for stage, backend in (("own", "tensorflow"), ("exported", "torch")):  # Keras has one backend a process
                command = [sys.executable, __file__, "--imputer", name, "--stage", stage, "--folder", folder]
                command += ["--calls", str(chosen.calls), "--epochs", str(chosen.epochs)]
                threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
                subprocess.run(command, check=True, env={**os.environ, **threads, "KERAS_BACKEND": backend})


def own(name: str, folder: Path, n_calls: int, epochs: int) -> None:
    """Fit an imputer, print the time of a sample in its own framework, and save it with what it is compared on."""
    bulls = simulate_bulls(parse_settings({}), 1).called
    cls = imputers.load(name)
    imputer = cls(cls.parse_params({"epochs": epochs})).fit(bulls.take_samples(slice(JUDGED, None)))
    imputer.save(folder / "imputer")
    target = bulls.take_samples(slice(0, JUDGED))
    target = target.hide(array_masks(bulls, [90.0], 1, 1)[90.0, 0])
    one = target.take_samples(slice(0, 1))
    size = sum(file.stat().st_size for file in (folder / "imputer" / "state").iterdir())
    engine = "TensorFlow" if cls.framework == "tensorflow" else "PyTorch"
    if "precision" in cls.Params.model_fields:
        imputer.params = imputer.params.model_copy(update={"precision": "bfloat16"})
        coarse, took = imputer._posterior(target), timed(lambda: imputer._posterior(one), n_calls)
        imputer.params = imputer.params.model_copy(update={"precision": "float32"})
        row(name, f"{engine}, bf16", took, size, coarse, imputer._posterior(target), target.calls)
    expected = imputer._posterior(target)
    row(name, engine, timed(lambda: imputer._posterior(one), n_calls), size, expected, expected, target.calls)
    np.savez(folder / "compared.npz", calls=target.calls, expected=expected)


def exported(name: str, folder: Path, n_calls: int) -> None:
    """Print the times of a sample by the exports of an imputer that `own` saved, and their errors."""
    warnings.simplefilter("ignore")
    import torch
    from onnxruntime.quantization import quantize_dynamic

    from snpimpute.imputers._exported import Exported
    from snpimpute.imputers._exporting import export_imputer, whole_network

    torch.set_num_threads(1)
    imputer = imputers.load(name).load(folder / "imputer")
    compared = np.load(folder / "compared.npz")
    calls, expected = compared["calls"], compared["expected"]
    tensor = torch.from_numpy(calls)
    with torch.inference_mode():
        script = torch.jit.trace(whole_network(imputer), tensor[:2], check_trace=False)
        script.save(str(folder / "script.pt"))
        took = timed(lambda: script(tensor[:1]), n_calls)
        size = (folder / "script.pt").stat().st_size
        row(name, "TorchScript", took, size, script(tensor).numpy(), expected, calls)
    plain, small = folder / "plain.onnx", folder / "small.onnx"
    export_imputer(imputer, plain)
    quantize_dynamic(str(plain), str(small))
    for engine, file in (("ONNX", plain), ("ONNX, INT8", small)):
        network = Exported.from_file(file, imputer)
        samples = pd.DataFrame({"sample": [str(i) for i in range(len(calls))]})
        target = GenotypeMatrix(calls, samples, imputer.sites)
        one = target.take_samples(slice(0, 1))
        took = timed(lambda: network._posterior(one), n_calls)  # noqa: B023
        row(name, engine, took, file.stat().st_size, network._posterior(target), expected, calls)


def row(
    name: str,
    engine: str,
    took: tuple[float, float],
    size: int,
    found: np.ndarray,
    expected: np.ndarray,
    calls: np.ndarray,
) -> None:
    """Print a row of the table: times in milliseconds, size, largest error of a probability, share of other calls."""
    error = float(np.abs(found - expected).max())
    other = float((found.argmax(axis=2) != expected.argmax(axis=2))[calls == MISSING].mean())
    print(
        f"{name:10} {engine:14} {took[0]:9.2f} {took[1]:7.2f} {size / 1e6:6.1f} {error:8.1g} {other:7.2%}", flush=True
    )


if __name__ == "__main__":
    main()
