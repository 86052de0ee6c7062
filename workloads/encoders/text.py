"""Encoders of sentence pairs and words: numbers of words, or ready sentence vectors, to features `[B, D]`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from workloads.encoders.tables import mlp


def pair_features(u: Tensor, v: Tensor) -> Tensor:
    """Features `[B, 4 S]` of two sentence vectors `[B, S]`: [u; v; |u − v|; u · v]."""
    return torch.cat([u, v, (u - v).abs(), u * v], dim=1)


class PairBiLSTM(nn.Module):
    """Two sentences, read by one bidirectional LSTM over frozen word vectors, to pair features `[B, 8 H]`.

        s = max_t dropout(BiLSTM(dropout(vectors[ids])))_t over the words;   z = [u; v; |u − v|; u · v]

    Source: the STS-B model of Wang et al., ICLR 2019 (GLUE), arXiv:1804.07461, as in the code of Yang et al., ICML
    2021: two layers of H = 1,500 and dropout 0.2, none between the layers.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, hidden: int, layers: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        # The data's, not the model's: a checkpoint need not carry it.
        self.register_buffer("vectors", vectors, persistent=False)
        self.lstm = nn.LSTM(vectors.shape[1], hidden, layers, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Pair features `[B, 8 H]` of word numbers `[B, 2, T]`, 0 where a sentence has ended."""
        sentences = self.read(ids.flatten(0, 1))
        return pair_features(sentences[0::2], sentences[1::2])

    def read(self, ids: Tensor) -> Tensor:
        """Sentence vectors `[B, 2 H]` of word numbers `[B, T]`; padding changes nothing."""
        lengths = (ids != 0).sum(1).clamp(min=1)
        # Synchronises: the backward direction must start at a sentence's own last word, and packing wants lengths here.
        packed = pack_padded_sequence(
            self.dropout(self.vectors[ids]), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        ended = torch.arange(states.shape[1], device=ids.device) >= lengths.unsqueeze(1)
        pooled: Tensor = self.dropout(states).masked_fill(ended.unsqueeze(2), -torch.inf).max(1).values
        return pooled


class PairMLP(nn.Module):
    """Ready sentence vectors `[B, 2, S]` to features `[B, D]`: pair features, then fully connected layers with ReLU.

    The sentence vectors are frozen, so the layers are what FDS, RankSim and the like act on.
    """

    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.dim = mlp(4 * size, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, D]`."""
        features: Tensor = self.layers(pair_features(x[:, 0], x[:, 1]))
        return features
