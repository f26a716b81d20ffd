"""BERT: contract, published parameter count, what its input may hold, what is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers.bert import MASK, Bert, tokens
from snpimpute.imputers.contract import Validation
from snpimpute.imputers.testing import ImputerContract, small_panel

TINY = {"hidden": 32, "heads": 2, "feed_forward": 64, "layers": 1, "epochs": 2, "learning_rate": 3e-3}


class TestBert(ImputerContract):
    imputer = Bert
    params = {**TINY, "precision": "float32"}

    def test_what_is_hidden_is_not_in_the_input(self, panel: GenotypeMatrix, monkeypatch: pytest.MonkeyPatch) -> None:
        """Training calls changed where they are hidden: the network sees the same tokens, and MASK there."""
        inputs = []
        whole = Bert.logits

        def watched(model, seen):  # type: ignore[no-untyped-def]
            inputs.append(tokens(seen).clone())
            return whole(model, seen)

        monkeypatch.setattr(Bert, "logits", staticmethod(watched))
        model = self.make()
        model._build(panel, np.ones(3, dtype=np.float32), 2)
        hidden = np.random.default_rng(1).random(panel.calls.shape) < 0.4
        other = np.where(hidden, 2 - np.maximum(panel.calls, 0), panel.calls).astype(np.int8)
        model._train_epoch([(panel.calls, hidden), (other, hidden)])
        assert (inputs[0] == inputs[1]).all()
        unseen = hidden | (panel.calls == MISSING)
        assert (inputs[0].numpy()[unseen] == MASK).all()
        assert (inputs[0].numpy()[~unseen] == panel.calls[~unseen]).all()

    def test_calibration_and_epoch_survive(self, panel: GenotypeMatrix, tmp_path: Path) -> None:
        hidden = np.arange(panel.n_sites) % 2 == 0
        model = self.make().fit(panel, Validation(panel, (hidden,)), TrainingMask("random"))
        model.save(tmp_path / "model")
        loaded = Bert.load(tmp_path / "model")
        found = loaded.refit_params()
        assert found == model.refit_params()
        assert found.stop_after in (1, 2)
        assert len(found.calibration) == 4 and found.calibration[0] != 1.0
        again = Bert(found, seed=5).fit(panel, mask=TrainingMask("random"))
        assert again.refit_params() == found

    def test_it_learns_from_other_sites(self) -> None:
        """Hidden sites that are copies of seen ones: frequencies alone would give a third of the macro-F1."""
        sites = small_panel(240, 8)
        copied = np.random.default_rng(1).integers(0, 3, (240, 4)).astype(np.int8)
        panel = GenotypeMatrix(np.tile(copied, 2), sites.samples, sites.sites)
        hidden = np.arange(8) >= 4
        table = {**self.params, "hidden": 64, "epochs": 40, "dropout": 0.0, "batch_size": 20}
        scores = []
        self.imputer(Bert.parse_params(table), seed=1).fit(
            panel.take_samples(np.arange(200)),
            Validation(panel.take_samples(np.arange(200, 240)), (hidden,)),
            TrainingMask("fixed", sites=hidden),
            lambda epoch, score: scores.append(score),
        )
        assert scores[0] < 0.6
        assert max(scores) > 0.9


def count(params: dict, n_sites: int) -> tuple[int, int]:
    """Parameters of the built network, and what n_parameters says."""
    parsed = Bert.parse_params(params)
    return sum(p.numel() for p in Bert.network(n_sites, parsed).parameters()), Bert.n_parameters(parsed, n_sites)


def test_published_parameter_count() -> None:
    assert count({}, 500) == (1_779_976, 1_779_976)


@pytest.mark.parametrize(
    ("params", "n_sites"),
    [(TINY, 40), ({"hidden": 128, "heads": 4, "feed_forward": 384, "layers": 3}, 510), (TINY, 700)],
)
def test_parameter_count(params: dict, n_sites: int) -> None:
    built, said = count(params, n_sites)
    assert built == said
    assert count(TINY, 511)[0] - count(TINY, 510)[0] == TINY["hidden"]


def test_more_sites_than_positions() -> None:
    import torch

    with torch.inference_mode():
        model = Bert.network(700, Bert.parse_params(TINY)).eval()
        assert Bert.logits(model, torch.zeros((2, 700), dtype=torch.int64)).shape == (2, 700, 3)


def test_fast_attention() -> None:
    assert Bert.network(40, Bert.parse_params(TINY)).config._attn_implementation == "sdpa"


def test_bfloat16_and_float32_agree() -> None:
    panel = small_panel()
    masked = panel.hide(np.arange(panel.n_sites) % 2 == 0)
    first, second = (
        Bert(Bert.parse_params({**TINY, "precision": precision}), seed=1).fit(panel).posterior(masked)
        for precision in ("float32", "bfloat16")
    )
    assert 0 < np.abs(first - second).max() < 0.05


def test_focal_loss() -> None:
    import torch

    from snpimpute.imputers._torch import focal_loss

    p = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2]])
    weights = torch.tensor([0.5, 1.5, 1.0])
    loss = focal_loss(p.log(), torch.tensor([0, 1]), weights, 2.0)
    expected = -(0.5 * 0.3**2 * np.log(0.7) + 1.5 * 0.5**2 * np.log(0.5)) / 2.0
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    nothing = focal_loss(p[:0], torch.zeros(0, dtype=torch.int64), weights, 2.0)
    assert float(nothing) == 0.0


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="hidden 256 is not a multiple of heads 3"):
        Bert.parse_params({"heads": 3})
