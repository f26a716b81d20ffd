"""Compare the time of a training step of BERT with that of transformers.Trainer at its defaults.

    python benchmarks/bert_step.py [--threads 2] [--steps 6] [--rounds 2] [--accuracy panel.vcf.gz]

Both learn from the same batches (32 samples × 500 sites, 60% of the sites hidden) on the same architecture; the
Trainer in float32 with BERT's usual dropout (0.1, of the attention matrix too). Rounds alternate, and the first step of
each is left out. Printed are medians of elapsed seconds, and of seconds of processor time, which are valid on a busy
machine too. Only the ratios apply to other machines. With --accuracy, both are also trained to the end with the same
loss, optimizer and schedule, and the validation macro-F1 of three seeds is printed (hours on a small machine).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

BATCH = 32
N_SITES = 500
HIDDEN_PERCENT = 60.0
SEEDS = (1, 2, 3)
DROPOUT = 0.1  # default of a BertConfig

Row = dict[str, Any]
Timed = list[tuple[float, float]]  # seconds passed and processor seconds of each step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--accuracy", type=Path, metavar="VCF", help="compare validation macro-F1 on this panel as well"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # read when the framework is imported
    compare_steps(arguments.threads, arguments.steps, arguments.rounds)
    if arguments.accuracy:
        compare_accuracy(arguments.accuracy, arguments.threads)


def compare_steps(threads: int, steps: int, rounds: int) -> None:
    """Print seconds per step of the Trainer, and of ours in either precision, and the ratios."""
    import numpy as np

    rng = np.random.default_rng(1)
    calls = rng.choice(3, (BATCH * (steps + 1), N_SITES), p=(0.756, 0.195, 0.049)).astype(np.int8)
    hidden = np.tile(rng.permutation(N_SITES) < HIDDEN_PERCENT / 100 * N_SITES, (len(calls), 1))
    ways: dict[str, Callable[[], Timed]] = {
        "Trainer, float32": lambda: time_trainer(calls, hidden, threads),
        "ours, float32": lambda: time_ours(calls, hidden, threads, "float32"),
        "ours, bfloat16": lambda: time_ours(calls, hidden, threads, "bfloat16"),
    }
    taken: dict[str, Timed] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name] += way()[1:]
    medians = {name: np.median(times, axis=0) for name, times in taken.items()}
    base = medians["Trainer, float32"]
    print(f"{BATCH} × {N_SITES} sites, {threads} threads, {len(taken['ours, float32'])} steps each")
    print(f"{'':18}{'s/step':>8}{'ratio':>7}{'processor s':>13}{'ratio':>7}")
    for name, (wall, processor) in medians.items():
        print(f"{name:18}{wall:8.2f}{base[0] / wall:7.2f}{processor:13.2f}{base[1] / processor:7.2f}")


def time_ours(calls: Any, hidden: Any, threads: int, precision: str) -> Timed:
    """Return the times of one step per batch, as Bert trains."""
    model = built(calls, threads, {"precision": precision})
    model._model.train()
    times = []
    for first in range(0, len(calls), BATCH):
        start = time.perf_counter(), time.process_time()
        model._step(calls[first : first + BATCH], hidden[first : first + BATCH])
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return times


def time_trainer(calls: Any, hidden: Any, threads: int) -> Timed:
    """Return the times of one step per batch of the Trainer, with its own loss, optimizer and loop."""
    from transformers import TrainerCallback

    stamps: Timed = []

    class Watch(TrainerCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            stamps.append((time.perf_counter(), time.process_time()))

        on_step_end = on_train_begin

    model = built(calls, threads, {"attention_dropout": DROPOUT})._model
    train(model, rows(calls, hidden), shuffled=False, callbacks=[Watch()], num_train_epochs=1)
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(stamps)]


def built(calls: Any, threads: int, params: dict[str, Any], seed: int = 1) -> Any:
    """Return an untrained Bert of the default architecture."""
    import numpy as np
    import pandas as pd

    from snpimpute.genotypes.matrix import GenotypeMatrix
    from snpimpute.imputers.bert import Bert

    samples = pd.DataFrame({"sample": [f"s{i}" for i in range(len(calls))]})
    sites = pd.DataFrame({"contig": "1", "pos": np.arange(calls.shape[1]) + 1, "id": ".", "ref": "A", "alt": "C"})
    model = Bert(Bert.parse_params(params), seed=seed, threads=threads)
    model._build(GenotypeMatrix(calls, samples, sites), np.ones(3, dtype=np.float32), -(-len(calls) // BATCH))
    return model


def rows(calls: Any, hidden: Any) -> list[Row]:
    """Return the input of the Trainer's model: tokens, and labels of calls that are hidden and known (else -100)."""
    import torch

    from snpimpute.imputers.bert import tokens

    truth = torch.from_numpy(calls).long()
    masked = torch.from_numpy(hidden)
    seen = tokens(truth.masked_fill(masked, -1))
    labels = truth.masked_fill(~masked | (truth < 0), -100)
    return [{"input_ids": x, "labels": y} for x, y in zip(seen, labels, strict=True)]


def train(model: Any, data: list[Row], *, shuffled: bool, callbacks: list[Any], **settings: Any) -> None:
    """Train `model` with the Trainer: batches of 32, float32, nothing written; settings are passed on to it."""
    from torch.utils.data import SequentialSampler
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return super()._get_train_sampler(*args, **kwargs) if shuffled else SequentialSampler(data)

    own = {name: settings.pop(name) for name in ("optimizers", "compute_loss_func") if name in settings}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            use_cpu=model.device.type == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            **settings,
        )
        trainer = InOrder(model=model, args=arguments, train_dataset=data, callbacks=callbacks, **own)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def compare_accuracy(vcf: Path, threads: int) -> None:
    """Print the validation macro-F1 (a fifth of the samples, one mask of 60%) of both ways after full training."""
    import numpy as np

    from snpimpute.dataset.masks import site_masks
    from snpimpute.dataset.splits import split_samples
    from snpimpute.dataset.training_masks import TrainingMask
    from snpimpute.imputers._network import class_weights
    from snpimpute.imputers._torch import focal_loss
    from snpimpute.imputers.bert import Bert
    from snpimpute.imputers.contract import Validation
    from snpimpute.io.matrix import read_matrix

    matrix, _ = read_matrix(vcf)
    held = split_samples(matrix.samples, matrix.n_samples // 5, "random", 1)
    mask = site_masks(matrix.n_sites, (HIDDEN_PERCENT,), 1, "independent", 1)[HIDDEN_PERCENT, 0]
    panel, validation = matrix.take_samples(~held), Validation(matrix.take_samples(held), (mask,))
    hidden = np.tile(mask, (panel.n_samples, 1))
    for seed in SEEDS:
        ours: list[float] = []
        Bert(seed=seed, threads=threads).fit(
            panel, validation, TrainingMask("fixed", sites=mask), lambda epoch, score, kept=ours: kept.append(score)
        )
        theirs = built(panel.calls, threads, {"attention_dropout": DROPOUT, "precision": "float32"}, seed)
        p = theirs.params
        import torch

        weights = torch.from_numpy(class_weights(panel.calls[hidden], p.class_weights)).to(theirs._device)

        def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, weights: Any = weights, p: Any = p) -> Any:
            known = labels >= 0
            return focal_loss(outputs.logits[..., :3][known], labels[known], weights, p.gamma)

        train(
            theirs._model,
            rows(panel.calls, hidden),
            shuffled=True,
            callbacks=[],
            num_train_epochs=p.epochs,
            seed=seed,
            optimizers=(theirs._optimizer, theirs._schedule),
            compute_loss_func=loss,
        )
        score = validation.score(lambda target, model=theirs: model._log_posterior(target.calls))
        print(f"seed {seed}: validation macro-F1 ours {ours[-1]:.4f}, Trainer {score:.4f}", flush=True)


if __name__ == "__main__":
    main()
