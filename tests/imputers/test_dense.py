"""The dense autoencoder, and through it what all Keras networks share: encoding, loss, saving, determinism."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute import imputers
from snpimpute.dataset.splits import split_samples
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers._keras import learning_rate, training_step
from snpimpute.imputers.contract import Validation
from snpimpute.imputers.dense import Dense
from snpimpute.imputers.testing import small_panel
from snpimpute.metrics.scores import f1_macro
from tests.imputers.autoencoders import AutoencoderContract

ROOT = Path(__file__).parents[2]
SMALL = {"hidden_1": 24, "hidden_2": 16, "z": 8, "epochs": 3}


def fit(params: dict[str, Any], panel: GenotypeMatrix, validation: Validation | None = None) -> Dense:
    return Dense(Dense.parse_params(SMALL | params), seed=5).fit(panel, validation, TrainingMask("random"))


class TestDense(AutoencoderContract):
    imputer = Dense
    params = SMALL
    counted = [
        (7, SMALL),
        (30, SMALL | {"input": "indicator", "dropout": 0.3, "l2": 1e-3}),
        (41, {"hidden_1": 128, "hidden_2": 256, "z": 5, "activation": "elu", "input": "missing"}),
    ]
    learner = {"hidden_1": 128, "hidden_2": 64, "epochs": 40, "input": "standardised"}
    refused = [{"dropout": 1.0}, {"z": 0}, {"activation": "gelu"}, {"input": "none"}, {"l2": -1}]


@pytest.mark.parametrize(("z", "published"), [(32, 3_133_948), (64, 3_166_748)])
def test_published_parameter_counts(z: int, published: int) -> None:
    params = Dense.Params(z=z)
    assert Dense.n_parameters(params, 500) == published
    assert Dense.network(500, params).count_params() == published


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", [[0.0, 0.25], [0.5, 1.0]]),  # means 1 and 0.5
        ("standardised", [[-1 / 0.5**0.5, 0.0], [0.0, 1.5 / 0.75**0.5]]),  # variances 0.5 and 0.75
        ("missing", [[0.0, -1.0], [0.5, 1.0]]),
        ("indicator", [[[-1 / 0.5**0.5, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.5 / 0.75**0.5, 0.0]]]),
    ],
)
def test_encoding(kind: str, expected: list) -> None:
    imputer = Dense(Dense.Params(input=kind))
    imputer.frequencies = np.array([[0.25, 0.5, 0.25], [0.75, 0.0, 0.25]], dtype=np.float32)
    encoded = imputer.encode(np.array([[0, -1], [1, 2]], dtype=np.int8))
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, np.reshape(expected, encoded.shape), rtol=1e-6)


class TestTrainingBatch:
    """Who sees what while the network learns."""

    calls = np.array([[0, 1, 2, -1], [2, 1, 0, -1]], dtype=np.int8)
    hidden = np.array([[True, False, False, True], [False, True, False, False]])

    def batch(self, calls: np.ndarray, **params: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        imputer = Dense(Dense.parse_params({"input": "missing"} | params))
        imputer._rng = np.random.default_rng(0)
        return imputer.training_batch(calls, self.hidden)

    def test_hidden_genotypes_cannot_be_seen(self) -> None:
        others = np.where(self.hidden & (self.calls >= 0), (self.calls + 1) % 3, self.calls).astype(np.int8)
        seen, truth, _ = self.batch(self.calls)
        seen_others, truth_others, _ = self.batch(others)
        np.testing.assert_array_equal(seen, seen_others)
        assert (truth != truth_others).sum() == 2
        np.testing.assert_array_equal(seen[..., 0], [[-1, 0.5, 1, -1], [1, -1, 0, -1]])

    def test_visible_where_asked_for(self) -> None:
        seen, _, _ = self.batch(self.calls, mask_inputs=False)
        np.testing.assert_array_equal(seen[..., 0], [[0, 0.5, 1, -1], [1, 0.5, 0, -1]])

    def test_calls_that_are_missing_are_not_in_the_loss(self) -> None:
        _, truth, in_loss = self.batch(self.calls)
        np.testing.assert_array_equal(in_loss, [[1, 0, 0, 0], [0, 1, 0, 0]])
        np.testing.assert_array_equal(truth, np.maximum(self.calls, 0))

    def test_input_dropout_hides_more_but_asks_for_no_more(self) -> None:
        seen, _, in_loss = self.batch(self.calls, input_dropout=0.9)
        assert (seen == -1).sum() > 4
        assert in_loss.sum() == 2


class TestTrainingStep:
    """One step on two sites; what the loss ignores must not move a weight."""

    seen = np.zeros((2, 2, 1), dtype=np.float32)

    def weights_after(self, truth: list, in_loss: list, class_weights: list, l2: float = 0.0) -> list[np.ndarray]:
        import keras

        keras.utils.set_random_seed(1)
        model = Dense.network(2, Dense.parse_params(SMALL | {"l2": l2}))
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(model.trainable_variables)
        step = training_step(model, optimizer, np.array(class_weights, dtype=np.float32))
        step(self.seen, np.array(truth, dtype=np.int32), np.array(in_loss, dtype=np.float32))
        return model.get_weights()

    def test_output_bias_follows_the_weighted_mean(self) -> None:
        bias = self.weights_after([[0, 2], [1, 1]], [[1, 0], [1, 0]], [0.5, 1.5, 1.0])[-1].reshape(2, 3)
        # all-zero input, zero biases: uniform predictions; the gradient is p - (0.25, 0.75, 0) at the first site
        np.testing.assert_allclose(bias, [[0.25 - 1 / 3, 0.75 - 1 / 3, -1 / 3], [0, 0, 0]], atol=1e-6)

    def test_nothing_in_the_loss_moves_nothing(self) -> None:
        untouched = self.weights_after([[0, 0], [0, 0]], [[0, 0], [0, 0]], [1, 1, 1])
        weightless = self.weights_after([[0, 0], [0, 0]], [[1, 1], [1, 1]], [0, 1, 1])
        assert np.isfinite(weightless[0]).all()
        for a, b in zip(untouched, weightless, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_l2_pulls_weights_to_zero(self) -> None:
        nothing = ([[0, 0], [0, 0]], [[0, 0], [0, 0]], [1, 1, 1])
        np.testing.assert_allclose(
            self.weights_after(*nothing, l2=0.1)[0], 0.8 * self.weights_after(*nothing)[0], rtol=1e-5
        )


@pytest.mark.panels  # two frameworks, half a minute
def test_pytorch_as_the_backend_makes_the_same_steps_and_keys_of_its_own() -> None:
    """Keras computes with what KERAS_BACKEND names when it is imported, so this takes a process of its own."""
    code = """if True:
        import numpy as np, keras
        from snpimpute import imputers
        from tests.imputers.test_dense import Dense, TestTrainingStep
        assert keras.config.backend() == "torch" == Dense.framework
        TestTrainingStep().test_output_bias_follows_the_weighted_mean()
        TestTrainingStep().test_nothing_in_the_loss_moves_nothing()
        TestTrainingStep().test_l2_pulls_weights_to_zero()
        assert "torch" in imputers.decided_by(Dense)[-1]
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert imputers.decided_by(Dense)[-1] == ""


def test_learning_rate_schedules() -> None:
    assert learning_rate("constant", 0.1, 100) == 0.1
    cosine = learning_rate("cosine", 0.1, 100)
    np.testing.assert_allclose([cosine(0), cosine(50), cosine(100)], [0.1, 0.05, 0.0], atol=1e-8)
    one_cycle = learning_rate("one_cycle", 0.1, 100)
    np.testing.assert_allclose(
        [one_cycle(0), one_cycle(30), one_cycle(65), one_cycle(100)], [0.004, 0.1, 0.05, 0.0], atol=1e-8
    )


def test_same_seed_same_result_with_every_option() -> None:
    options = {"schedule": "one_cycle", "dropout": 0.2, "l2": 1e-4, "weight_decay": 1e-3, "input_dropout": 0.2}
    panel = small_panel()
    target = panel.hide(np.arange(panel.n_sites) % 3 == 0)
    first, second = (fit(options | {"input": "indicator"}, panel).posterior(target) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_saved_model_is_safe_and_whole(tmp_path: Path) -> None:
    panel = small_panel()
    hidden = np.arange(panel.n_sites) % 2 == 1
    validation = Validation(panel.take_samples(np.arange(48, 60)), (hidden,))
    model = fit({"dropout": 0.1}, panel.take_samples(np.arange(48)), validation)
    model.save(tmp_path / "model")

    files = {p.name for p in (tmp_path / "model" / "state").iterdir()}
    assert files == {"model.keras", "network.json"}
    with zipfile.ZipFile(tmp_path / "model" / "state" / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    layers = config["config"]["layers"]
    assert {layer["module"] for layer in layers} == {"keras.layers"}
    assert "Lambda" not in {layer["class_name"] for layer in layers}

    loaded = Dense.load(tmp_path / "model")
    assert model._calibration is not None
    assert loaded.refit_params() == model.refit_params()
    target = panel.hide(hidden)
    np.testing.assert_array_equal(loaded.posterior(target), model.posterior(target))


@pytest.mark.panels
def test_human_panel_at_60_percent() -> None:
    from snpimpute.io.matrix import read_matrix

    if "SNPIMPUTE_PANELS" not in os.environ:
        pytest.skip("SNPIMPUTE_PANELS is not set")
    folder = Path(os.environ["SNPIMPUTE_PANELS"]) / "kg15-500"
    (train, _), (test, _) = read_matrix(folder / "train.vcf.gz"), read_matrix(folder / "test.vcf.gz")
    listed = pd.read_csv(folder / "masked_sites.tsv", sep="\t")
    hidden = np.isin(train.site_keys(), listed.site[listed.missing_percent == 60])
    mask = TrainingMask("fixed", sites=hidden)
    held = split_samples(train.samples, 148, "random", 1)
    validation = Validation(train.take_samples(held), (hidden,))
    params = Dense(seed=1).fit(train.take_samples(~held), validation, mask).refit_params()
    calls = Dense(params, seed=1).fit(train, None, mask).posterior(test.hide(hidden)).argmax(axis=2)
    assert f1_macro(test.calls[:, hidden], calls[:, hidden]) >= 0.85


def test_keras_comes_without_what_it_has_for_drawing_and_for_scikit_learn() -> None:
    """They are imported only if they are there: the import goes on without them, and others find them afterwards."""
    code = "import sys; from snpimpute.imputers._keras import import_keras; import_keras(); print({'keras', 'matplotlib', 'sklearn'} & set(sys.modules)); import matplotlib"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'keras'}"
