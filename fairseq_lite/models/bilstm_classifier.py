"""A Bi-LSTM that tells classes of sentences (Tang et al., 2019, https://arxiv.org/abs/1903.12136)."""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

import torch
import torch.nn as nn
from fairseq.dataclass import FairseqDataclass
from fairseq.models import FairseqEncoder, register_model
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import RobertaClassificationHead
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from fairseq_lite.errors import UserError
from fairseq_lite.models.encoder_decoder import check_tokens


@dataclass
class BiLSTMOptions(FairseqDataclass):
    """Sizes with which 30,522 entries and ten classes make less than a million parameters."""

    encoder_embed_dim: int = field(default=24, metadata={"help": "channels of the embedding of a word or subword"})
    encoder_hidden_size: int = field(default=128, metadata={"help": "channels of each of the two directions"})
    encoder_layers: int = field(default=1, metadata={"help": "number of layers"})
    pooler_dim: int = field(default=128, metadata={"help": "channels of the layer between a sentence and its classes"})
    dropout: float = field(default=0.1, metadata={"help": "dropout of embeddings, between layers and of sentences"})
    max_positions: int = field(default=512, metadata={"help": "tokens of the longest sentence"})
    load_checkpoint_heads: bool = field(
        default=False, metadata={"help": "take the classification heads of a checkpoint that the model has not"}
    )


class BiLSTMEncoder(FairseqEncoder):
    """Sentences of words to one vector each: what both directions of a Bi-LSTM end on."""

    def __init__(self, options: BiLSTMOptions, dictionary):
        super().__init__(dictionary)
        self.longest = options.max_positions
        self.embed_tokens = nn.Embedding(len(dictionary), options.encoder_embed_dim, dictionary.pad())
        self.dropout = nn.Dropout(options.dropout)
        self.lstm = nn.LSTM(
            options.encoder_embed_dim,
            options.encoder_hidden_size,
            options.encoder_layers,
            batch_first=True,
            dropout=options.dropout if options.encoder_layers > 1 else 0.0,
            bidirectional=True,
        )

    def reset_embeddings(self) -> None:
        """Give the embeddings the initial values of fairseq's LSTMs."""
        nn.init.uniform_(self.embed_tokens.weight, -0.1, 0.1)
        nn.init.zeros_(self.embed_tokens.weight[self.embed_tokens.padding_idx])

    def forward(
        self, src_tokens: Tensor, features_only: bool = False, return_all_hiddens: bool = False, **unused
    ) -> Tuple[Tensor, Dict[str, Any]]:
        """A vector for each sentence, [B, 1, 2 H], where roberta's heads look for one.

        src_tokens: [B, T], padded on the right. Raises UserError where words are asked for, which it does not predict.
        """
        if not features_only:
            raise UserError("--arch bilstm_classifier: predicts no words; train it with --task sentence_prediction")
        padding_idx = self.embed_tokens.padding_idx
        check_tokens(src_tokens, padding_idx, self.longest, "max-positions")
        embedded = self.dropout(self.embed_tokens(src_tokens))
        # Packed, a sentence ends for both directions where its padding begins.
        lengths = src_tokens.ne(padding_idx).sum(1).cpu()
        _, (last, _) = self.lstm(pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False))
        forwards, backwards = last[-2:]
        return torch.cat([forwards, backwards], dim=-1).unsqueeze(1), {"inner_states": None}

    def max_positions(self) -> int:
        """Tokens of the longest sentence."""
        return self.longest


@register_model("bilstm_classifier", dataclass=BiLSTMOptions)
class BiLSTMClassifier(RobertaModel):
    """A roberta, for fairseq's task sentence_prediction, with a Bi-LSTM in the place of its Transformer.

    With V entries, embeddings of E, L layers, directions of H, P channels before C classes it has
    V E + 8 H (E + H + 2) + (L - 1) 8 H (3 H + 2) + P (2 H + 1) + C (P + 1) parameters.
    """

    def __init__(self, options: BiLSTMOptions, encoder: BiLSTMEncoder):
        super().__init__(options, encoder)
        # roberta has given them values that suit what is normalised.
        encoder.reset_embeddings()

    @classmethod
    def add_args(cls, parser) -> None:
        """The options of the dataclass alone, none of roberta's."""
        super(RobertaModel, cls).add_args(parser)

    @classmethod
    def build_model(cls, options: BiLSTMOptions, task) -> "BiLSTMClassifier":
        """The model without a head; raises UserError for less than one layer."""
        if options.encoder_layers < 1:
            raise UserError(f"--encoder-layers {options.encoder_layers}: must be at least 1")
        return cls(options, BiLSTMEncoder(options, task.source_dictionary))

    def register_classification_head(
        self, name: str, num_classes: Optional[int] = None, inner_dim: Optional[int] = None, **unused
    ) -> None:
        """Add a head of classes, with ReLU in its hidden layer as Tang et al. have it."""
        self.classification_heads[name] = RobertaClassificationHead(
            input_dim=2 * self.args.encoder_hidden_size,
            inner_dim=inner_dim or self.args.pooler_dim,
            num_classes=num_classes,
            activation_fn="relu",
            pooler_dropout=self.args.dropout,
        )
