"""Dense autoencoder over all sites of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, get_args

from pydantic import Field

from snpimpute.imputers._keras import (
    Activation,
    Input,
    KerasImputer,
    KerasParams,
    mirrored_layers,
    n_mirrored_weights,
    suggest_keras_training,
    suggest_mirrored,
    values_per_site,
)
from snpimpute.imputers.contract import Trial

if TYPE_CHECKING:
    import keras


class DenseParams(KerasParams):
    """Sizes of the layers (published) and regularisation of the weights.

    Attributes:
        hidden_1, hidden_2, z: widths of the first and second layer and of the bottleneck; the decoder mirrors them.
        activation: activation of every layer but the last.
        l2: penalty on the sum of the squared weights, added to the loss.
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
    network with z = 64 and one input value per site, which leaves no parameter for an embedding. They also seem to have
    trained with the masked genotypes visible in the input (`mask_inputs = false`).
    """

    description = "dense autoencoder with a narrow bottleneck (Keras)"
    Params = DenseParams
    starts: ClassVar = ({"input": "standardised", "schedule": "one_cycle", "epochs": 40},)

    @classmethod
    def search_space(cls, trial: Trial) -> DenseParams:
        """Return parameters of a trial; the defaults lie within. `mask_inputs` is not tuned."""
        return cls.Params(
            **suggest_mirrored(trial),
            input=trial.suggest_categorical("input", get_args(Input)),
            **suggest_keras_training(trial, epochs=(20, 100, 20)),
        )

    @classmethod
    def n_parameters(cls, params: DenseParams, n_sites: int) -> int:
        return n_mirrored_weights(n_sites * values_per_site(params), n_sites, params)

    @classmethod
    def network(cls, n_sites: int, params: Any) -> keras.Model:
        from keras import Model, layers

        seen = layers.Input((n_sites, values_per_site(params)))
        return Model(seen, mirrored_layers(layers.Flatten()(seen), n_sites, params))
