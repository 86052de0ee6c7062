"""Encoders of sentence pairs and words: numbers of words, or ready sentence vectors, to features `[B, D]`."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from workloads.encoders.tables import mlp

TOGETHER: Final = 32
"""Sentences of similar length that a CPU reads at once; a GPU reads all."""


def pair_features(u: Tensor, v: Tensor) -> Tensor:
    """Features `[B, 4 S]` of two sentence vectors `[B, S]`: [u; v; |u − v|; u · v]."""
    return torch.cat([u, v, (u - v).abs(), u * v], dim=1)


class PairBiLSTM(nn.Module):
    """Two sentences, read by one bidirectional LSTM over frozen word vectors, to pair features `[B, 8 H]`.

        s = max_t dropout(BiLSTM(dropout(vectors[ids])))_t over the words;   z = [u; v; |u − v|; u · v]

    Source: the STS-B model of Wang et al., ICLR 2019 (GLUE), arXiv:1804.07461, as in the code of Yang et al., ICML
    2021: two layers of H = 1,500 and dropout 0.2, none between the layers.

    Sentences are read in groups of similar length, each a plain tensor: torch's packed sequences take 2.8 times as long
    on a CPU, since the gradient of every step of them is written into zeros of the size of all steps.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, hidden: int, layers: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        # The data's, not the model's: a checkpoint need not carry it.
        self.register_buffer("vectors", vectors, persistent=False)
        sizes = (vectors.shape[1], *[2 * hidden] * (layers - 1))
        directions = (nn.LSTM(size, hidden, batch_first=True) for size in sizes for _ in ("ahead", "back"))
        self.directions = nn.ModuleList(directions)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Pair features `[B, 8 H]` of word numbers `[B, 2, T]`, 0 where a sentence has ended."""
        sentences = self.read(ids.flatten(0, 1))
        return pair_features(sentences[0::2], sentences[1::2])

    def read(self, ids: Tensor) -> Tensor:
        """Sentence vectors `[B, 2 H]` of word numbers `[B, T]`; padding changes nothing."""
        lengths = (ids != 0).sum(1).clamp(min=1)
        order = lengths.argsort(stable=True)
        groups = torch.split(order, len(ids) if ids.is_cuda else TOGETHER)
        return torch.cat([self._read(ids[rows], lengths[rows]) for rows in groups])[order.argsort()]

    def _read(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The same of sentences of similar length, whose longest has the last place of `lengths` `[B]`."""
        steps = torch.arange(int(lengths[-1]), device=ids.device)  # synchronises
        ended = steps >= lengths.unsqueeze(1)
        # The backward direction starts at a sentence's own last word; what stands after it is never looked at.
        turned = torch.where(ended, steps, lengths.unsqueeze(1) - 1 - steps).unsqueeze(2)
        states = self.dropout(self.vectors[ids[:, : len(steps)]])
        for ahead, back in zip(self.directions[0::2], self.directions[1::2], strict=True):
            read = back(states.gather(1, turned.expand_as(states)))[0]
            states = torch.cat([ahead(states)[0], read.gather(1, turned.expand_as(read))], dim=2)
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
