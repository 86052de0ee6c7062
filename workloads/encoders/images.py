"""Encoders of images, and what is done to a batch of them on the device: `[B, 3, H, W]` to features `[B, D]`.

transformers and kornia are imported where they are used: together they take seconds, and most workloads have no images.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """Pixels 0…255, uint8 or float, to −1…1: mean and standard deviation 0.5, in training and in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, H, W]` to float32 of the same shape."""
        return x.float() / 127.5 - 1.0


class ResNet(nn.Module):
    """A residual network of bottleneck blocks with random weights; features are the average over the last map.

    Source: He et al., CVPR 2016, arXiv:1512.03385; the implementation is `transformers.ResNetModel`, which draws
    convolutions from N(0, 2 / fan-out), as the published code of the age data sets does.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int], stem: int) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel

        config = ResNetConfig(
            embedding_size=stem, hidden_sizes=list(widths), depths=list(depths), layer_type="bottleneck"
        )
        self.scale = Scale()
        self.body = ResNetModel(config)
        self.dim = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, 3, H, W]`, 0…255, to features `[B, D]`."""
        pooled: Tensor = self.body(self.scale(x)).pooler_output
        return pooled.flatten(1)


def resnet50() -> tuple[nn.Module, int]:
    """ResNet-50 from scratch: 3-4-6-3 blocks, 23.5 M parameters, 2048 features."""
    encoder = ResNet((3, 4, 6, 3), (256, 512, 1024, 2048), 64)
    return encoder, encoder.dim


@cache
def _crop_and_flip(size: int, padding: int) -> nn.Module:
    import kornia.augmentation as K

    # "slice" moves whole pixels; kornia's default, "resample", interpolates and so blurs three values in four.
    crop = K.RandomCrop((size, size), padding=padding, cropping_mode="slice")
    sequence: nn.Module = K.AugmentationSequential(crop, K.RandomHorizontalFlip(p=0.5), data_keys=["input"])
    return sequence


def crop_and_flip(x: Tensor, padding: int = 16) -> Tensor:
    """Every image padded with black, cropped back to its size at random and mirrored half of the time.

    `x` `[B, 3, S, S]` uint8, returned as float32 of the same range and shape. Draws from torch's global stream.
    Source: the published code for the age data sets, Yang et al., ICML 2021, arXiv:2102.09554.
    """
    with torch.no_grad():
        out: Tensor = _crop_and_flip(x.shape[-1], padding)(x.float())
    return out
