"""Encoders of signals: channels over time `[B, C, T]` to features `[B, D]`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class ResidualBlock(nn.Module):
    """Two convolutions over time with a shortcut around them; the first one takes every `stride`-th step."""

    def __init__(self, channels: int, width: int, stride: int, kernel: int = 7) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv1d(channels, width, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
        )
        self.shortcut = nn.Sequential(nn.Conv1d(channels, width, 1, stride, bias=False), nn.BatchNorm1d(width))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, T]` to `[B, width, T / stride]`."""
        return torch.relu(self.main(x) + self.shortcut(x))


class Attention(nn.Module):
    """A mean over time whose weights are learned: `[B, C, T]` to `[B, C]`.

        Σ_t a_t h_t,   a = softmax_t( w · tanh(V h_t) )

    Source: Ilse et al., ICML 2018, arXiv:1802.04712, eq. 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.Tanh(), nn.Conv1d(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, C]`."""
        features: Tensor = (x * self.score(x).softmax(2)).sum(2)
        return features


class SignalResNet(nn.Module):
    """A one-dimensional convolutional residual network, averaged over time: `[B, C, T]` to `[B, D]`.

    Every block halves the time steps; D is the last width. With `attention` the weights of the average are learned.
    """

    def __init__(self, channels: int, widths: Sequence[int], attention: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(channels, widths[0], 15, 2, padding=7, bias=False), nn.BatchNorm1d(widths[0]), nn.ReLU()
        )
        inputs = (widths[0], *widths[:-1])
        self.blocks = nn.Sequential(*(ResidualBlock(a, b, 2) for a, b in zip(inputs, widths, strict=True)))
        self.dim = widths[-1]
        self.pool = Attention(self.dim) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, D]`."""
        steps: Tensor = self.blocks(self.stem(x))
        features: Tensor = steps.mean(2) if self.pool is None else self.pool(steps)
        return features


class SignalLSTM(nn.Module):
    """Bidirectional LSTMs one after the other, averaged over time: `[B, C, T]` to `[B, D]`, D = 2 · the last width."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (channels, *(2 * width for width in widths[:-1]))
        self.layers = nn.ModuleList(
            nn.LSTM(a, b, batch_first=True, bidirectional=True) for a, b in zip(inputs, widths, strict=True)
        )
        self.dim = 2 * widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, D]`."""
        states = x.transpose(1, 2)
        for layer in self.layers:
            states = layer(states)[0]
        return states.mean(1)


class NightEncoder(nn.Module):
    """A night of signals: a convolutional network reads every window, a recurrent one the windows in order.

        z = mean_e GRU(conv(window_1), …, conv(window_E))_e   over the windows that hold anything; D = 2 · hidden

    A window of zeros is padding, or a gap: it is neither convolved nor averaged, so a night's features do not depend
    on the longest night beside it. After the convolutional and recurrent encoder of Yang et al., ICML 2021, for SHHS,
    whose code is not published; a GRU where they have a simple recurrent unit.
    """

    def __init__(self, channels: int, window: int, widths: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.window = window
        self.conv = SignalResNet(channels, widths)
        self.gru = nn.GRU(self.conv.dim, hidden, batch_first=True, bidirectional=True)
        self.dim = 2 * hidden

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, D]` of nights `[B, C, T]`; the end of T that fills no window is padded with zeros."""
        x = nn.functional.pad(x, (0, -x.shape[2] % self.window))
        windows = x.unfold(2, self.window, self.window).transpose(1, 2)  # [B, E, C, window]
        present = (windows != 0).flatten(2).any(2)
        present[:, 0] = True  # a night without anything is one window of nothing
        seen = self.conv(windows[present])  # synchronises
        read = seen.new_zeros((*present.shape, self.conv.dim)).masked_scatter(present.unsqueeze(2), seen)
        order = torch.arange(1, present.shape[1] + 1, device=x.device)
        lengths = (order * present).amax(1)
        packed = pack_padded_sequence(read, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=present.shape[1])
        share = present.unsqueeze(2).to(states.dtype)
        features: Tensor = (states * share).sum(1) / share.sum(1)
        return features
