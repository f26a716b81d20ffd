"""Base of the Keras networks: backend, seeds, input encoding, optimizer, training step, saving."""

from __future__ import annotations

import json
import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from snpimpute.base.sources import versions_of
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers._network import NetworkImputer, NetworkParams, suggest_training
from snpimpute.imputers.contract import Trial

if TYPE_CHECKING:
    import keras

PREDICT_BATCH = 256
TENSORFLOW = "tensorflow"
BACKEND = os.environ.setdefault("KERAS_BACKEND", TENSORFLOW)  # Keras's own variable: "torch" or "jax" compute instead

Activation = Literal["relu", "elu", "linear"]
Schedule = Literal["constant", "cosine", "one_cycle"]
Input = Literal["mean", "standardised", "missing", "indicator"]


class KerasParams(NetworkParams):
    """Parameters of every Keras network.

    Attributes:
        schedule: course of the learning rate over `epochs`: "constant"; "cosine" (from learning_rate to 0);
            "one_cycle" (up from a 25th of it over the first 30% of the steps, then as cosine; after Smith and Topin
            2018, "Super-convergence").
        weight_decay: decoupled weight decay of AdamW (Loshchilov and Hutter 2019); at 0 it is Adam.
        input: encoding of calls, and of those not seen; see `KerasImputer.encode`.
        mask_inputs: hide masked genotypes in the input while learning, as when imputing. False leaves them visible (as
            seems to have been published): the network then learns to copy its input.
        input_dropout: share of the other calls of a batch that are hidden in the input as well, outside the loss
            (a denoising autoencoder: Vincent et al. 2008).
    """

    schedule: Schedule = "constant"
    weight_decay: float = Field(0.0, ge=0)
    input: Input = "mean"
    mask_inputs: bool = True
    input_dropout: float = Field(0.0, ge=0, lt=1)


class KerasImputer(NetworkImputer):
    """Network in Keras: a subclass defines `network`, and `encode` if it wants its input in another form."""

    framework = BACKEND
    recipe: ClassVar[str] = "" if BACKEND == TENSORFLOW else f"Keras on {versions_of({BACKEND})}"
    Params = KerasParams
    fused_update: ClassVar[bool] = False  # compile the optimizer's update into one pass, which pays with many weights

    # ------------------------------------------------------------------ what a subclass defines

    @classmethod
    @abstractmethod
    def network(cls, n_sites: int, params: Any) -> keras.Model:
        """Return the untrained model: `encode`'s output in, logits float32 (batch, n_sites, 3) out.

        Regularisers of its layers are added to the loss. It has no Lambda layers, and its own layers are registered
        (`keras.saving.register_keras_serializable`), so that the saved model loads in safe mode.
        """

    def encode(self, calls: np.ndarray) -> np.ndarray:
        """Return the network's input for calls int8 (n_samples, n_sites), -1 = not seen.

        "mean": genotypes halved (0, 0.5, 1); where not seen, half the site's mean in the panel (as seems to be
        published). "standardised": the same information, minus the site's mean and divided by its standard deviation in
        the panel. "missing": genotypes halved; -1 where not seen. "indicator": as "standardised", and a second value
        that is 1 where not seen, 0 where seen.

        Returns:
            float32 (n_samples, n_sites, values_per_site(params)).
        """
        unseen = calls == MISSING
        if self.params.input == "missing":
            return np.where(unseen, -1.0, calls / 2.0)[..., None].astype(np.float32)
        genotypes = np.array([0.0, 1.0, 2.0])
        mean = self.frequencies @ genotypes
        filled = np.where(unseen, mean, calls)
        if self.params.input == "mean":
            return (filled / 2.0)[..., None].astype(np.float32)
        values = (filled - mean) / np.sqrt(self.frequencies @ genotypes**2 - mean**2)
        planes = [values, unseen] if self.params.input == "indicator" else [values]
        return np.stack(planes, axis=2).astype(np.float32)

    # ------------------------------------------------------------------ what NetworkImputer asks for

    def _build(self, panel: GenotypeMatrix, class_weights: np.ndarray, steps_per_epoch: int) -> None:
        import_keras()
        import keras

        p = self.params
        keras.utils.set_random_seed(self.seed)
        if BACKEND == TENSORFLOW:
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()
        self._rng = np.random.default_rng([self.seed, 1])
        self._set_model(self.network(panel.n_sites, p))
        optimizer = keras.optimizers.AdamW(
            learning_rate(p.schedule, p.learning_rate, steps_per_epoch * p.epochs), weight_decay=p.weight_decay
        )
        optimizer.build(self._model.trainable_variables)
        self._step = training_step(self._model, optimizer, class_weights, self.fused_update)

    def _train_epoch(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        for calls, hidden in batches:
            self._step(*self.training_batch(calls, hidden))

    def training_batch(self, calls: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return input, true genotypes and loss mask of a batch.

        Args:
            calls: int8 (batch, n_sites), -1 = missing: never in the input, never in the loss.
            hidden: bool (batch, n_sites), the calls to learn.

        Returns:
            `encode`'s output; int32 (batch, n_sites), 0 where missing; float32 (batch, n_sites), 1 where hidden and
            known.
        """
        unseen = self._rng.random(calls.shape) < self.params.input_dropout
        if self.params.mask_inputs:
            unseen |= hidden
        seen = np.where(unseen, np.int8(MISSING), calls)
        return (
            self.encode(seen),
            np.maximum(calls, 0).astype(np.int32),
            (hidden & (calls != MISSING)).astype(np.float32),
        )

    def _log_posterior(self, calls: np.ndarray) -> np.ndarray:
        batches = (calls[i : i + PREDICT_BATCH] for i in range(0, len(calls), PREDICT_BATCH))
        return np.concatenate([self._predict(self.encode(batch)) for batch in batches])

    def _get_weights(self) -> list[np.ndarray]:
        return self._model.get_weights()

    def _set_weights(self, weights: list[np.ndarray]) -> None:
        self._model.set_weights(weights)

    def _save(self, folder: Path) -> None:
        self._model.save(folder / "model.keras")
        state = {"calibration": self._calibration, "stop_after": self._stop_after}
        (folder / "network.json").write_text(json.dumps(state) + "\n")

    def _load(self, folder: Path) -> None:
        import_keras()
        # the weights alone: what else stands in the file could name other layers than those of this imputer
        self._set_model(self.network(len(self.sites), self.params))
        self._model.load_weights(folder / "model.keras")
        state = json.loads((folder / "network.json").read_text())
        self._calibration = state["calibration"] and tuple(state["calibration"])
        self._stop_after = state["stop_after"]

    def _set_model(self, model: keras.Model) -> None:
        """Make `model` the network of this imputer."""
        self._model = model
        self._predict = prediction(model)


def import_keras() -> None:
    """Import Keras without what it imports only if it is there, for drawing and for scikit-learn: a quarter of its time."""
    left_out = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(left_out))  # type: ignore[arg-type]  # to import what is None fails, and Keras goes on without
    try:
        import keras  # noqa: F401
    finally:
        for name in left_out:
            del sys.modules[name]


def suggest_keras_training(trial: Trial, epochs: tuple[int, int, int]) -> dict[str, Any]:
    """Return a trial's parameters of training for any Keras network; see `suggest_training`."""
    return {
        "schedule": trial.suggest_categorical("schedule", get_args(Schedule)),
        "input_dropout": trial.suggest_float("input_dropout", 0.0, 0.5),
        **suggest_training(trial, epochs, batch_sizes=(16, 32, 64, 128)),
    }


def suggest_mirrored(trial: Trial) -> dict[str, Any]:
    """Return a trial's parameters of `mirrored_layers`."""
    return {
        "hidden_1": trial.suggest_int("hidden_1", 128, 1024, step=128),
        "hidden_2": trial.suggest_int("hidden_2", 128, 1024, step=128),
        "z": trial.suggest_int("z", 8, 64, step=8),
        "activation": trial.suggest_categorical("activation", get_args(Activation)),
        "l2": trial.suggest_categorical("l2", (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }


def mirrored_layers(x: Any, n_sites: int, params: Any) -> Any:
    """Return dense layers down to the bottleneck and up again: (batch, n_inputs) in, logits (batch, n_sites, 3) out.

    `params` has hidden_1, hidden_2 and z (widths), activation, l2 (penalty) and dropout (of the four wide layers).
    """
    from keras import layers, regularizers

    penalty = regularizers.L2(params.l2) if params.l2 else None
    *hidden, n_logits = _mirrored_widths(n_sites, params)
    for i, width in enumerate(hidden):
        x = layers.Dense(width, activation=params.activation, kernel_regularizer=penalty)(x)
        if params.dropout and i != 2:
            x = layers.Dropout(params.dropout)(x)
    logits = layers.Dense(n_logits, kernel_regularizer=penalty)(x)
    return layers.Reshape((n_sites, 3))(logits)


def n_mirrored_weights(n_inputs: int, n_sites: int, params: Any) -> int:
    """Return the number of weights in `mirrored_layers`."""
    return sum((before + 1) * after for before, after in pairwise([n_inputs, *_mirrored_widths(n_sites, params)]))


def _mirrored_widths(n_sites: int, params: Any) -> list[int]:
    """Return the widths of all layers, from the first hidden one to the logits."""
    return [params.hidden_1, params.hidden_2, params.z, params.hidden_2, params.hidden_1, n_sites * 3]


def values_per_site(params: KerasParams) -> int:
    """Return the number of values that `KerasImputer.encode` gives for a site."""
    return 2 if params.input == "indicator" else 1


def learning_rate(schedule: str, peak: float, n_steps: int) -> Any:
    """Return the learning rate over `n_steps` steps for a Keras optimizer: a number, or a schedule."""
    import keras

    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(peak, n_steps)
    warm_up = max(round(0.3 * n_steps), 1)
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, max(n_steps - warm_up, 1), warmup_target=peak, warmup_steps=warm_up
    )


def prediction(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a compiled function from `encode`'s output to log-probabilities, float32 (batch, n_sites, 3)."""
    if BACKEND != TENSORFLOW:
        from scipy.special import log_softmax

        return lambda x: log_softmax(model.predict_on_batch(x), axis=2)
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
    compiled = tf.function(lambda x: tf.nn.log_softmax(model(x, training=False)), input_signature=signature)
    return lambda x: compiled(x).numpy()


def training_step(
    model: keras.Model, optimizer: Any, class_weights: np.ndarray, fused_update: bool = False
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """Return a compiled step that updates `model` by the weighted cross-entropy of one `training_batch`.

    Each call has the class weight of its true genotype. The loss is the weighted mean (divided by the sum of the
    weights, not by the number of calls), so that its size relative to regularisers depends on neither.
    """
    if BACKEND != TENSORFLOW:
        return _step_of_keras(model, optimizer, class_weights)
    import tensorflow as tf

    signature = [
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
        tf.TensorSpec((None, None), tf.int32),
        tf.TensorSpec((None, None), tf.float32),
    ]

    @tf.function(jit_compile=fused_update)
    def update(gradients: Any) -> None:
        optimizer.apply(gradients, model.trainable_variables)

    @tf.function(input_signature=signature)
    def step(seen: Any, truth: Any, in_loss: Any) -> None:
        weights = in_loss * tf.gather(class_weights, truth)
        with tf.GradientTape() as tape:
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, model(seen, training=True))
            loss = tf.math.divide_no_nan(tf.reduce_sum(weights * cross_entropy), tf.reduce_sum(weights))
            loss += tf.add_n(model.losses) if model.losses else 0.0
        update(tape.gradient(loss, model.trainable_variables))

    return step


def _step_of_keras(
    model: keras.Model, optimizer: Any, class_weights: np.ndarray
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """Return the step of `training_step` as Keras itself makes it, for backends other than TensorFlow."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(optimizer, loss)

    def step(seen: np.ndarray, truth: np.ndarray, in_loss: np.ndarray) -> None:
        model.train_on_batch(seen, truth, sample_weight=in_loss * class_weights[truth])

    return step
