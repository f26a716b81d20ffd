"""The convolutional autoencoder: the published architecture, layer by layer."""

from snpimpute.imputers.cae import Cae
from tests.imputers.autoencoders import AutoencoderContract

SMALL = {"width": 4, "window": 7, "stride": 2, "epochs": 3}
TABLES = [
    {},
    {"padding": "same", "width": 8},
    {"window": 31, "stride": 1, "input": "indicator"},
    {"window": 3, "stride": 5},
]


class TestCae(AutoencoderContract):
    imputer = Cae
    params = SMALL
    # windows wider than what is there are cut to it, so that few sites are no error
    counted = [(n_sites, {"width": 4} | table) for n_sites in (3, 40, 250) for table in TABLES]
    learner = {"width": 8, "window": 5, "stride": 1, "epochs": 40, "input": "standardised", "batch_size": 32}
    refused = [{"stride": 0}, {"padding": "causal"}, {"spatial_dropout": 1.0}, {"activation": "gelu"}]


def test_published_architecture() -> None:
    params = Cae.Params()
    network = Cae.network(500, params)
    shapes = [tuple(layer.output.shape[1:]) for layer in network.layers]
    assert shapes[1:3] == [(160, 32), (47, 16)]  # the two convolutions
    assert (752,) in shapes and (16,) in shapes and (8000,) in shapes and (500, 16) in shapes
    assert shapes[-4:] == [(1518, 32), (48576,), (1500,), (500, 3)]
    assert network.count_params() == Cae.n_parameters(params, 500) == 73_035_868
    assert network.layers[-2].count_params() == 72_865_500
