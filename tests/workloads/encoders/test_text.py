"""The LSTM over words: what it reads is what torch's bidirectional LSTM reads of packed sequences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from workloads.encoders import text
from workloads.encoders.text import PairBiLSTM

WORDS, SIZE, HIDDEN = 30, 5, 7


def sentences(count: int) -> Tensor:
    """Word numbers `[N, 12]` of sentences of 1 to 12 words."""
    ids = torch.randint(1, WORDS, (count, 12))
    return ids.masked_fill(torch.arange(12) >= torch.randint(1, 13, (count, 1)), 0)


def packed(lstm: nn.LSTM, vectors: Tensor, ids: Tensor) -> Tensor:
    lengths = (ids != 0).sum(1)
    made, _ = pad_packed_sequence(
        lstm(pack_padded_sequence(vectors[ids], lengths, batch_first=True, enforce_sorted=False))[0], batch_first=True
    )
    ended = torch.arange(made.shape[1]) >= lengths.unsqueeze(1)
    return made.masked_fill(ended.unsqueeze(2), -torch.inf).max(1).values


@pytest.mark.parametrize("together", [1, 4, 100])
def test_it_reads_as_a_packed_lstm_with_the_same_first_weights_and_gradients(together, monkeypatch):
    monkeypatch.setattr(text, "TOGETHER", together)
    torch.manual_seed(1)
    vectors, ids = torch.randn(WORDS, SIZE), sentences(23)
    torch.manual_seed(2)
    encoder = PairBiLSTM(vectors, HIDDEN, dropout=0.0)
    torch.manual_seed(2)
    lstm = nn.LSTM(SIZE, HIDDEN, 2, batch_first=True, bidirectional=True)
    read, expected = encoder.read(ids), packed(lstm, vectors, ids)
    torch.testing.assert_close(read, expected)
    by = torch.randn_like(read)
    (read * by).sum().backward()
    (expected * by).sum().backward()
    for ours, theirs in zip(encoder.parameters(), lstm.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_sentence_without_words_is_read_as_one_of_padding():
    encoder = PairBiLSTM(torch.randn(WORDS, SIZE), HIDDEN).eval()
    assert encoder.read(torch.zeros(2, 4, dtype=torch.long)).isfinite().all()
