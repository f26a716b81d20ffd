"""The dense autoencoder over embedded genotypes: words, both readings of the pooling."""

import numpy as np

from snpimpute.imputers.dense_emb import DenseEmb
from tests.imputers.autoencoders import AutoencoderContract

SMALL = {"filters": 4, "hidden_1": 24, "hidden_2": 16, "z": 8, "epochs": 3}


class TestDenseEmb(AutoencoderContract):
    imputer = DenseEmb
    params = SMALL
    counted = [
        (3, SMALL),
        (41, SMALL | {"pool": "sites", "filters": 9}),
        (41, SMALL | {"window": 9, "embedding": 5, "l2": 1e-3}),
    ]
    learner = {
        "filters": 16,
        "window": 3,
        "hidden_1": 128,
        "hidden_2": 64,
        "z": 32,
        "learning_rate": 2e-3,
        "epochs": 60,
    }
    refused = [{"pool": "max"}, {"filters": 0}, {"input": "mean"}, {"dropout": 1.0}]


def test_the_dense_layers_have_the_published_count() -> None:
    params = DenseEmb.Params()
    embedding, convolution = 4 * 3, (5 * 3 + 1) * 32
    assert DenseEmb.n_parameters(params, 500) - embedding - convolution == 3_166_748
    assert DenseEmb.network(500, params).count_params() == DenseEmb.n_parameters(params, 500)


def test_each_call_is_one_of_four_words() -> None:
    words = DenseEmb().encode(np.array([[0, 1], [2, -1]], dtype=np.int8))
    assert words.dtype == np.float32
    np.testing.assert_array_equal(words.reshape(4, 4), np.eye(4))


def test_only_pooling_over_filters_keeps_the_order_of_sites() -> None:
    """With a window of one site, moving calls to other sites changes nothing for a network that pools over the sites."""
    import keras

    calls = np.array([[0, 1, 2, 0, 1, 2, 2, 1]], dtype=np.int8)
    moved = calls[:, ::-1].copy()
    same = {}
    for pool in ("sites", "filters"):
        keras.utils.set_random_seed(1)
        params = DenseEmb.parse_params(SMALL | {"pool": pool, "window": 1})
        network = DenseEmb.network(8, params)
        encode = DenseEmb(params).encode
        same[pool] = np.allclose(network(encode(calls)), network(encode(moved)), atol=1e-5)
    assert same == {"sites": True, "filters": False}
