"""BERT over the sites of a window: hidden genotypes are masked tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from snpimpute.imputers._network import ClassWeights, suggest_training
from snpimpute.imputers._torch import TorchImputer, TorchParams
from snpimpute.imputers.contract import Trial

if TYPE_CHECKING:
    import torch

VOCABULARY = ("0", "1", "2", "PAD", "MASK", "CLS", "SEP", "UNK")
PAD, MASK = VOCABULARY.index("PAD"), VOCABULARY.index("MASK")
N_POSITIONS = 512
TOKEN_TYPES = 2


class BertParams(TorchParams):
    """The published architecture, with a way of training that works.

    Attributes:
        hidden, layers, heads, feed_forward: width of a token, number of layers, attention heads of each (they divide
            `hidden`), width of the layer inside each.
        dropout: dropout of the embeddings and of each layer's output.
        attention_dropout: dropout of the attention matrix; above 0 a CPU cannot use its fast attention kernels.
    """

    epochs: int = Field(30, ge=1)
    patience: int = Field(30, ge=1)
    class_weights: ClassWeights = "sqrt"
    gamma: float = Field(2.0, ge=0)
    hidden: int = Field(256, gt=0)
    layers: int = Field(2, gt=0)
    heads: int = Field(1, gt=0)
    feed_forward: int = Field(1024, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self


class Bert(TorchImputer):
    """Transformer encoder with a masked-language-model head: a token per site, the three genotypes as words.

    After Zawadzka, Szyda and Frąszczak, inferring missing genotypes with deep learning, who trained Devlin et al. 2019
    (BERT) from scratch: 1,779,976 parameters at up to 510 sites, the published count, with output weights tied to the
    embeddings. A missing call, or one hidden while learning, is the token MASK; the other special tokens, which the
    count includes, are never in the input. The posterior follows from the head's scores of the three genotypes alone.
    """

    description = "BERT, a transformer encoder with masked genotypes (PyTorch)"
    Params = BertParams

    @classmethod
    def search_space(cls, trial: Trial) -> BertParams:
        return cls.Params(
            hidden=trial.suggest_categorical("hidden", (64, 128, 256)),
            heads=trial.suggest_categorical("heads", (1, 2, 4)),  # of 1 to 5, those that divide every width
            feed_forward=trial.suggest_int("feed_forward", 128, 1024, step=128),
            dropout=trial.suggest_float("dropout", 0.0, 0.3),
            gamma=trial.suggest_float("gamma", 0.0, 3.0),
            **suggest_training(trial, epochs=(10, 60, 10), batch_sizes=(8, 16, 32)),
        )

    @classmethod
    def n_parameters(cls, params: BertParams, n_sites: int) -> int:
        h, f = params.hidden, params.feed_forward
        norm = 2 * h
        embeddings = (len(VOCABULARY) + positions(n_sites) + TOKEN_TYPES) * h + norm
        layer = 4 * (h + 1) * h + norm + (h + 1) * f + (f + 1) * h + norm
        head = (h + 1) * h + norm + len(VOCABULARY)
        return embeddings + params.layers * layer + head

    @classmethod
    def network(cls, n_sites: int, params: Any) -> torch.nn.Module:
        from transformers import BertConfig, BertForMaskedLM

        config = BertConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=params.hidden,
            num_hidden_layers=params.layers,
            num_attention_heads=params.heads,
            intermediate_size=params.feed_forward,
            max_position_embeddings=positions(n_sites),
            type_vocab_size=TOKEN_TYPES,
            pad_token_id=PAD,
            hidden_dropout_prob=params.dropout,
            attention_probs_dropout_prob=params.attention_dropout,
        )
        return BertForMaskedLM(config)

    @classmethod
    def logits(cls, model: torch.nn.Module, seen: torch.Tensor) -> torch.Tensor:
        return model(input_ids=tokens(seen)).logits[:, :, :3]


def positions(n_sites: int) -> int:
    """Return the number of positions with an embedding: 512, or more if the sites, with CLS and SEP, need more."""
    return max(N_POSITIONS, n_sites + 2)


def tokens(seen: torch.Tensor) -> torch.Tensor:
    """Return int64 (batch, n_sites) tokens of int64 calls, -1 = not seen: a genotype is its own token, else MASK."""
    return seen.masked_fill(seen < 0, MASK)
