"""Dense autoencoder over genotypes that are first embedded, convolved and pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from snpimpute.genotypes.matrix import MISSING
from snpimpute.imputers._keras import (
    Activation,
    KerasImputer,
    KerasParams,
    Schedule,
    mirrored_layers,
    n_mirrored_weights,
    suggest_keras_training,
    suggest_mirrored,
)
from snpimpute.imputers.contract import Trial

if TYPE_CHECKING:
    import keras

WORDS = 4  # the three genotypes, and "not seen"


class DenseEmbParams(KerasParams):
    """Sizes of the layers and regularisation of the weights.

    Attributes:
        input: always "words": each call is one of four words, the genotypes and "not seen".
        embedding: dimensions of a word (published: 3).
        filters, window: number and width of the filters of the convolution over neighbouring sites.
        pool: axis over which the convolution's output is averaged: "filters" leaves a value per site; "sites" leaves a
            value per filter and loses the order of the sites.
        hidden_1, hidden_2, z: widths of the encoder's layers and of the bottleneck; the decoder mirrors them.
        activation: activation of every layer but the last.
        l2: penalty on the sum of the squared weights of the dense layers, added to the loss.
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

    After Zawadzka, Szyda and Frąszczak, inferring missing genotypes with deep learning. Their text does not name the
    axis of pooling. Their count, 3,166,748, is that of the dense layers with z = 64 and one input value per site, which
    leaves none for embedding and convolution: so we average over the filters and keep the sites in their order.
    Averaging over the sites (`pool = "sites"`, as Keras' GlobalAveragePooling1D does by itself) is the other reading.
    """

    description = "dense autoencoder over embedded and convolved genotypes (Keras)"
    Params = DenseEmbParams
    starts: ClassVar = ({"activation": "linear"},)

    @classmethod
    def search_space(cls, trial: Trial) -> DenseEmbParams:
        """Return parameters of a trial; the defaults lie within. `mask_inputs` and `pool` are not tuned."""
        return cls.Params(
            embedding=trial.suggest_int("embedding", 2, 8),
            filters=trial.suggest_categorical("filters", (8, 16, 32, 64)),
            window=trial.suggest_int("window", 1, 15, step=2),
            **suggest_mirrored(trial),
            **suggest_keras_training(trial, epochs=(20, 100, 20)),
        )

    @classmethod
    def n_parameters(cls, params: DenseEmbParams, n_sites: int) -> int:
        p = params
        convolution = (min(p.window, n_sites) * p.embedding + 1) * p.filters
        pooled = n_sites if p.pool == "filters" else p.filters
        return WORDS * p.embedding + convolution + n_mirrored_weights(pooled, n_sites, p)

    @classmethod
    def network(cls, n_sites: int, params: Any) -> keras.Model:
        from keras import Model, layers

        p = params
        seen = layers.Input((n_sites, WORDS))
        x = layers.Dense(p.embedding, use_bias=False)(seen)  # (batch, sites, 3): a one-hot word times a matrix
        x = layers.Conv1D(p.filters, min(p.window, n_sites), padding="same", activation=p.activation)(x)
        if p.pool == "filters":
            x = layers.Permute((2, 1))(x)
        x = layers.GlobalAveragePooling1D()(x)  # (batch, sites) or (batch, filters)
        return Model(seen, mirrored_layers(x, n_sites, p))

    def encode(self, calls: np.ndarray) -> np.ndarray:
        """Return each call as a word, one-hot float32 (n_samples, n_sites, 4); the fourth word is -1, not seen."""
        return np.eye(WORDS, dtype=np.float32)[np.where(calls == MISSING, WORDS - 1, calls)]
