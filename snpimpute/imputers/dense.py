"""A dense autoencoder over all sites of a window."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from pydantic import Field

from snpimpute.imputers._base import Trial
from snpimpute.imputers._keras import (
    Activation,
    Input,
    KerasImputer,
    KerasParams,
    suggest_keras_training,
    values_per_site,
)

if TYPE_CHECKING:
    import keras


class DenseParams(KerasParams):
    """Sizes of the layers (published) and what holds the weights down.

    Attributes:
        hidden_1, hidden_2, z: widths of the first and second layer and of the bottleneck; the decoder mirrors them.
        activation: of every layer but the last.
        l2: added to the loss, times the sum of the squared weights.
        dropout: share of the units of the four wide layers that are dropped while learning.
    """

    hidden_1: int = Field(1024, gt=0)
    hidden_2: int = Field(512, gt=0)
    z: int = Field(32, gt=0)
    activation: Activation = "relu"
    l2: float = Field(0.0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class Dense(KerasImputer):
    """Dense autoencoder: sites → 1024 → 512 → z → 512 → 1024 → sites × 3, softmax over the three genotypes.

    After Zawadzka, Szyda and Frąszczak, inferring missing genotypes with deep learning. Their counts do not add up at
    500 sites: 3,133,948, published for Dense, is this network with z = 32; 3,166,748, published for DenseEmb, is this
    network with z = 64 and one input value per site, which leaves no parameter for an embedding. They also seem to
    have trained with the masked genotypes visible in the input (`mask_inputs = false`).
    """

    description = "dense autoencoder with a narrow bottleneck (Keras)"
    Params = DenseParams
    starts: ClassVar = ({"input": "standardised", "schedule": "one_cycle", "epochs": 40},)

    @classmethod
    def search_space(cls, trial: Trial) -> DenseParams:
        """Parameters of a trial; the defaults lie within. `mask_inputs` is no matter of tuning."""
        return cls.Params(
            hidden_1=trial.suggest_int("hidden_1", 128, 1024, step=128),
            hidden_2=trial.suggest_int("hidden_2", 128, 1024, step=128),
            z=trial.suggest_int("z", 8, 64, step=8),
            activation=trial.suggest_categorical("activation", get_args(Activation)),
            l2=trial.suggest_categorical("l2", (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)),
            dropout=trial.suggest_float("dropout", 0.0, 0.5),
            input=trial.suggest_categorical("input", get_args(Input)),
            **suggest_keras_training(trial, epochs=(20, 100, 20)),
        )

    @classmethod
    def n_parameters(cls, params: DenseParams, n_sites: int) -> int:
        return sum((before + 1) * after for before, after in pairwise(_widths(n_sites, params)))

    @classmethod
    def network(cls, n_sites: int, params: Any) -> keras.Model:
        from keras import Model, layers, regularizers

        seen = layers.Input((n_sites, values_per_site(params)))
        x = layers.Flatten()(seen)
        penalty = regularizers.L2(params.l2) if params.l2 else None
        _, *hidden, n_logits = _widths(n_sites, params)
        for i, width in enumerate(hidden):
            x = layers.Dense(width, activation=params.activation, kernel_regularizer=penalty)(x)
            if params.dropout and i != 2:
                x = layers.Dropout(params.dropout)(x)
        logits = layers.Dense(n_logits, kernel_regularizer=penalty)(x)
        return Model(seen, layers.Reshape((n_sites, 3))(logits))


def _widths(n_sites: int, params: DenseParams) -> list[int]:
    """Widths of all layers, input and output included."""
    p = params
    return [n_sites * values_per_site(p), p.hidden_1, p.hidden_2, p.z, p.hidden_2, p.hidden_1, n_sites * 3]
