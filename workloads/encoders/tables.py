"""Encoders of tables: rows of numbers `[B, F]` to features `[B, D]`."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

CLIP: Final = 3.0
"""Standard deviations beyond which a column says no more, about."""
MEMBERS: Final = 8
"""Networks of an ensemble, for a CPU: an epoch costs about as many of one network."""


class SmoothClip(nn.Module):
    """Columns pulled in towards ± c, without a kink: one value far from all others does not rule a layer.

        x / √(1 + (x / c)²)

    Source: RealMLP, Holzmüller et al., NeurIPS 2024, arXiv:2407.04491, which has c = 3.
    """

    def __init__(self, clip: float = CLIP) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        """`[B, F]`, shaped like x."""
        return x * torch.rsqrt(1 + (x / self.clip).square())


def mlp(inputs: int, hidden: Sequence[int], clipped: bool = False) -> tuple[nn.Module, int]:
    """Fully connected layers with ReLU after each, behind a smooth clip; features have the width of the last one."""
    layers: list[nn.Module] = [SmoothClip()] if clipped else []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers), inputs


def resnet(inputs: int, width: int = 192, blocks: int = 2) -> tuple[nn.Module, int]:
    """A residual network of BatchNorm, two linear layers and dropout 0.2 a block, behind a smooth clip; D = width.

    Source: Gorishniy et al., NeurIPS 2021, arXiv:2106.11959; the implementation is `rtdl_revisiting_models.ResNet`
    (MIT), without the linear layer at its end, which is the head.
    """
    from rtdl_revisiting_models import ResNet

    body = ResNet(
        d_in=inputs,
        d_out=None,
        n_blocks=blocks,
        d_block=width,
        d_hidden=None,
        d_hidden_multiplier=2.0,
        dropout1=0.2,
        dropout2=0.0,
    )
    return nn.Sequential(SmoothClip(), body, nn.BatchNorm1d(width), nn.ReLU()), width


class Transformer(nn.Module):
    """A transformer over columns: every column is a token, and the features are what stands at a further one.

    Source: FT-Transformer, Gorishniy et al., NeurIPS 2021, arXiv:2106.11959; the implementation is
    `rtdl_revisiting_models.FTTransformer` (MIT) with its defaults, without the head.
    """

    def __init__(self, inputs: int, blocks: int = 3) -> None:
        super().__init__()
        from rtdl_revisiting_models import FTTransformer

        settings = FTTransformer.get_default_kwargs(blocks)
        self.dim = int(settings["d_block"])
        self.clip = SmoothClip()
        self.body = FTTransformer(n_cont_features=inputs, cat_cardinalities=[], **{**settings, "d_out": None})

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, D]`."""
        features: Tensor = self.body(self.clip(x), None)
        return features


class TabM(nn.Module):
    """An ensemble of k networks that share their matrices, each with scales and biases of its own.

        z_j = MLP_j(x),   in training features of every member, `[B, k, D]`, else their mean `[B, D]`

    The seam takes what each member makes of a row for a sample, so the loss is the mean of the members' losses, as
    published, and never that of their mean. The head is one for all, so the head of the mean is the mean prediction;
    published are heads of their own, which the last scales stand for.

    Source: TabM, Gorishniy et al., ICLR 2025, arXiv:2410.24210; the implementation is `tabm.make_tabm_backbone`
    (Apache-2.0) with its start and dropout 0.1. Published: k = 32, three layers of 512; a smaller ensemble here, and
    the smooth clip, are ours.
    """

    def __init__(self, inputs: int, members: int = MEMBERS, width: int = 128, layers: int = 3) -> None:
        super().__init__()
        from tabm import EnsembleView, make_tabm_backbone

        self.dim = width
        self.members = nn.Sequential(
            SmoothClip(),
            EnsembleView(k=members),
            make_tabm_backbone(
                d_in=inputs,
                n_blocks=layers,
                d_block=width,
                dropout=0.1,
                k=members,
                start_scaling_init="random-signs",
                start_scaling_init_chunks=[1] * inputs,
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features of every member `[B, k, D]` in training, else their mean `[B, D]`."""
        features: Tensor = self.members(x)
        return features if self.training else features.mean(1)
