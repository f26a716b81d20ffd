"""A dense autoencoder over genotypes that are embedded, convolved and pooled first."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from snpimpute.genotypes import MISSING
from snpimpute.imputers._base import Trial
from snpimpute.imputers._keras import Activation, KerasImputer, KerasParams, Schedule, suggest_keras_training

if TYPE_CHECKING:
    import keras

WORDS = 4  # the three genotypes, and "not seen"


class DenseEmbParams(KerasParams):
    """Sizes of the layers and what holds the weights down.

    Attributes:
        input: always "words": each call is one of four words, the genotypes and "not seen".
        embedding: dimensions of a word (published: 3).
        filters, window: of the convolution over neighbouring sites.
        pool: over what the convolution's output is averaged: "filters" leaves a value per site; "sites" a value per
            filter, which forgets where they were.
        hidden_1, hidden_2, z: widths of the encoder's layers and of the bottleneck; the decoder mirrors them.
        activation: of every layer but the last.
        l2: added to the loss, times the sum of the squared weights of the dense layers.
        dropout: share of the units of the four wide layers that are dropped while learning.
    """

    input: Literal["words"] = "words"  # type: ignore[assignment]
    embedding: int = Field(3, gt=0)
    filters: int = Field(32, gt=0)
    window: int = Field(5, gt=0)
    pool: Literal["filters", "sites"] = "filters"
    hidden_1: int = Field(1024, gt=0)
    hidden_2: int = Field(512, gt=0)
    z: int = Field(64, gt=0)
    activation: Activation = "elu"
    l2: float = Field(0.0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    epochs: int = Field(40, ge=1)
    schedule: Schedule = "one_cycle"


class DenseEmb(KerasImputer):
    """Embeddings → convolution → global average pooling → 1024 → 512 → z → 512 → 1024 → sites × 3, softmax.

    After Zawadzka, Szyda and Frąszczak, inferring missing genotypes with deep learning. Their text does not say over
    what is pooled. Their count, 3,166,748, is that of the dense layers with z = 64 and one value per site entering them,
    with nothing left for embedding and convolution: so we average over the filters and keep the sites in their order.
    Averaging over the sites (`pool = "sites"`, what Keras' GlobalAveragePooling1D does as it is) is the other reading.
    """

    description = "dense autoencoder over embedded and convolved genotypes (Keras)"
    Params = DenseEmbParams
    starts: ClassVar = ({"activation": "linear"},)

    @classmethod
    def search_space(cls, trial: Trial) -> DenseEmbParams:
        """Parameters of a trial; the defaults lie within. `mask_inputs` and `pool` are no matters of tuning."""
        return cls.Params(
            embedding=trial.suggest_int("embedding", 2, 8),
            filters=trial.suggest_categorical("filters", (8, 16, 32, 64)),
            window=trial.suggest_int("window", 1, 15, step=2),
            hidden_1=trial.suggest_int("hidden_1", 128, 1024, step=128),
            hidden_2=trial.suggest_int("hidden_2", 128, 1024, step=128),
            z=trial.suggest_int("z", 8, 64, step=8),
            activation=trial.suggest_categorical("activation", get_args(Activation)),
            l2=trial.suggest_categorical("l2", (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)),
            dropout=trial.suggest_float("dropout", 0.0, 0.5),
            **suggest_keras_training(trial, epochs=(20, 100, 20)),
        )

    @classmethod
    def n_parameters(cls, params: DenseEmbParams, n_sites: int) -> int:
        p = params
        convolution = (min(p.window, n_sites) * p.embedding + 1) * p.filters
        dense = sum((before + 1) * after for before, after in pairwise(_widths(n_sites, p)))
        return WORDS * p.embedding + convolution + dense

    @classmethod
    def network(cls, n_sites: int, params: Any) -> keras.Model:
        from keras import Model, layers, regularizers

        p = params
        penalty = regularizers.L2(p.l2) if p.l2 else None
        seen = layers.Input((n_sites, WORDS))
        x = layers.Dense(p.embedding, use_bias=False)(seen)  # (batch, sites, 3): a one-hot word times a matrix
        x = layers.Conv1D(p.filters, min(p.window, n_sites), padding="same", activation=p.activation)(x)
        if p.pool == "filters":
            x = layers.Permute((2, 1))(x)
        x = layers.GlobalAveragePooling1D()(x)  # (batch, sites) or (batch, filters)
        _, *hidden, n_logits = _widths(n_sites, p)
        for i, width in enumerate(hidden):
            x = layers.Dense(width, activation=p.activation, kernel_regularizer=penalty)(x)
            if p.dropout and i != 2:
                x = layers.Dropout(p.dropout)(x)
        logits = layers.Dense(n_logits, kernel_regularizer=penalty)(x)
        return Model(seen, layers.Reshape((n_sites, 3))(logits))

    def encode(self, calls: np.ndarray) -> np.ndarray:
        """Each call as a word: float32 (n_samples, n_sites, 4), one-hot; the fourth stands for -1, not seen."""
        return np.eye(WORDS, dtype=np.float32)[np.where(calls == MISSING, WORDS - 1, calls)]


def _widths(n_sites: int, params: DenseEmbParams) -> list[int]:
    """Widths of the dense layers, what enters them and the output included."""
    p = params
    pooled = n_sites if p.pool == "filters" else p.filters
    return [pooled, p.hidden_1, p.hidden_2, p.z, p.hidden_2, p.hidden_1, n_sites * 3]
