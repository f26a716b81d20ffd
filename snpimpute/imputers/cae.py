"""Convolutional autoencoder along the sites of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import Field

from snpimpute.imputers._keras import (
    Activation,
    Input,
    KerasImputer,
    KerasParams,
    Schedule,
    suggest_keras_training,
    values_per_site,
)
from snpimpute.imputers.contract import Trial

if TYPE_CHECKING:
    import keras


class CaeParams(KerasParams):
    """Sizes of the layers (published) and parameters of training.

    Attributes:
        width: E; the first and the last convolution have 2 E filters, the second E; the bottleneck has E units.
        window: sites that a filter sees; at most the number of sites.
        stride: stride of all three convolutions.
        padding: padding of the encoder's two convolutions; the transposed one is always "valid".
        spatial_dropout: share of the filters dropped, at all positions at once, while learning.
        activation: activation of the transposed convolution and the wide layer before it; "linear" makes the decoder
            one matrix of rank E.
    """

    width: int = Field(16, gt=0)
    window: int = Field(21, gt=0)
    stride: int = Field(3, gt=0)
    padding: Literal["valid", "same"] = "valid"
    spatial_dropout: float = Field(0.1, ge=0, lt=1)
    activation: Activation = "relu"
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(64, ge=1)
    schedule: Schedule = "one_cycle"


class Cae(KerasImputer):
    """Convolutional autoencoder: two strided convolutions, a bottleneck of E units, a transposed convolution.

    After Zawadzka, Szyda and Frąszczak, inferring missing genotypes with deep learning: with E = 16, windows of 21 and
    strides of 3 it has their 73,035,868 parameters at 500 sites, of which 72,865,500 are the last layer's.
    """

    description = "convolutional autoencoder with a narrow bottleneck (Keras)"
    Params = CaeParams
    starts: ClassVar = ({"input": "standardised", "batch_size": 32},)
    fused_update = True

    @classmethod
    def search_space(cls, trial: Trial) -> CaeParams:
        """Return parameters of a trial; the defaults lie within. `mask_inputs` is not tuned."""
        return cls.Params(
            width=trial.suggest_categorical("width", (4, 8, 16)),
            window=trial.suggest_int("window", 7, 31, step=2),
            stride=trial.suggest_int("stride", 1, 5),
            padding=trial.suggest_categorical("padding", ("valid", "same")),
            spatial_dropout=trial.suggest_float("spatial_dropout", 0.0, 0.3),
            activation=trial.suggest_categorical("activation", get_args(Activation)),
            input=trial.suggest_categorical("input", get_args(Input)),
            **suggest_keras_training(trial, epochs=(10, 60, 10)),
        )

    @classmethod
    def n_parameters(cls, params: CaeParams, n_sites: int) -> int:
        e = params.width
        first, second, last = _windows(params, n_sites)
        convolutions = (first * values_per_site(params) + 1) * 2 * e + (second * 2 * e + 1) * e
        normalisation = 4 * e
        bottleneck = (_positions(params, n_sites)[2] * e + 1) * e
        wide = (e + 1) * n_sites * e
        transposed = (last * e + 1) * 2 * e
        output = (_n_decoded(params, n_sites) * 2 * e + 1) * n_sites * 3
        return convolutions + normalisation + bottleneck + wide + transposed + output

    @classmethod
    def network(cls, n_sites: int, params: Any) -> keras.Model:
        from keras import Model, layers

        e, stride = params.width, params.stride
        first, second, last = _windows(params, n_sites)
        seen = layers.Input((n_sites, values_per_site(params)))
        x = layers.Conv1D(2 * e, first, stride, params.padding)(seen)  # (batch, 160, 32) at 500 sites
        x = layers.Conv1D(e, second, stride, params.padding)(x)  # (batch, 47, 16)
        x = layers.ReLU()(x)
        x = layers.BatchNormalization()(x)
        x = layers.SpatialDropout1D(params.spatial_dropout)(x)
        x = layers.Dense(e)(layers.Flatten()(x))  # (batch, 16): the bottleneck
        x = layers.Dense(n_sites * e, activation=params.activation)(x)
        x = layers.Reshape((n_sites, e))(x)  # (batch, 500, 16)
        x = layers.Conv1DTranspose(2 * e, last, stride, "valid", activation=params.activation)(x)  # (batch, 1518, 32)
        logits = layers.Dense(n_sites * 3)(layers.Flatten()(x))
        return Model(seen, layers.Reshape((n_sites, 3))(logits))


def _positions(params: CaeParams, n_sites: int) -> tuple[int, int, int]:
    """Return the numbers of positions before the first, between the two, and after the second convolution."""
    lengths = [n_sites]
    for _ in range(2):
        before = lengths[-1]
        valid = before - min(params.window, before) + 1
        lengths.append(-(-(before if params.padding == "same" else valid) // params.stride))
    return lengths[0], lengths[1], lengths[2]


def _windows(params: CaeParams, n_sites: int) -> tuple[int, int, int]:
    """Return the windows of the first, second and transposed convolution, cut to the positions there are."""
    before, between, _ = _positions(params, n_sites)
    return min(params.window, before), min(params.window, between), min(params.window, n_sites)


def _n_decoded(params: CaeParams, n_sites: int) -> int:
    """Return the number of positions after the transposed convolution.

    It is more than (n - 1) · stride + window where the stride is wider than the window.
    """
    return n_sites * params.stride + max(_windows(params, n_sites)[2] - params.stride, 0)
