"""Encoders of maps: images `[B, C, H, W]` to features of pixels `[B, D, h, w]`."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workloads.encoders.images import IMAGENET, load_weights, resnet_body
from workloads.encoders.small import Normalise


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Up(nn.Module):
    """Up-projection: to a given size, then two convolutions in parallel with one.

    Source: Hu et al., WACV 2019, arXiv:1803.08673, Sec. 3.1, after Laina et al., 3DV 2016.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inputs, outputs, 5), nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.beside = nn.Sequential(nn.Conv2d(inputs, outputs, 5, padding=2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """`[B, C, …]` to `[B, C′, *size]`."""
        larger = interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
        return torch.relu(self.body(larger) + self.beside(larger))


class ResNetMaps(nn.Module):
    """A residual network, a decoder, and features of all its stages side by side, at half the size of the image.

    Source: Hu et al., WACV 2019, arXiv:1803.08673, Sec. 3; of its refinement the last convolution is the head here, a
    1×1 (published: 5×5). The residual network has random weights, or those of a file (published: of ImageNet).
    """

    def __init__(
        self, depths: Sequence[int], widths: Sequence[int], stem: int, each: int, weights: Path | None = None
    ) -> None:
        super().__init__()
        self.scale = Normalise(*IMAGENET)
        self.body = resnet_body(depths, widths, stem)
        if weights is not None:
            load_weights(self.body, weights)
        last = widths[-1]
        narrow = [last // 2**step for step in range(1, 6)]  # 1024, 512, 256, 128, 64 of 2048
        self.bridge = _conv(last, narrow[0], 1)
        self.decoder = nn.ModuleList(Up(a, b) for a, b in itertools.pairwise(narrow))
        self.fusion = nn.ModuleList(Up(width, each) for width in widths)
        self.fused = _conv(each * len(widths), each * len(widths), 5)
        self.dim = narrow[-1] + each * len(widths)
        self.refine = nn.Sequential(_conv(self.dim, self.dim, 5), _conv(self.dim, self.dim, 5))

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, 3, H, W]`, 0 … 255, to features `[B, D, ⌈H/2⌉, ⌈W/2⌉]`."""
        if x.is_floating_point():
            x = x / 255.0
        half = [(side + 1) // 2 for side in x.shape[2:]]
        stages = self.body(self.scale(x), output_hidden_states=True).hidden_states[1:]
        sizes = [stage.shape[2:] for stage in stages[-2::-1]] + [half]
        z = self.bridge(stages[-1])
        for up, size in zip(self.decoder, sizes, strict=True):
            z = up(z, size)
        wide = torch.cat([up(stage, half) for up, stage in zip(self.fusion, stages, strict=True)], 1)
        out: Tensor = self.refine(torch.cat([z, self.fused(wide)], 1))
        return out


def resnet50_maps(weights: Path | None = None) -> tuple[nn.Module, int]:
    """The network of the depth papers on ResNet-50: 128 features of a pixel, at half the image's size."""
    encoder = ResNetMaps((3, 4, 6, 3), (256, 512, 1024, 2048), 64, 16, weights)
    return encoder, encoder.dim


class SmallMaps(nn.Module):
    """A small encoder and decoder: twice halved, twice brought back, with features of every size added."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = _conv(channels, width)
        self.down = nn.ModuleList([_conv(width, width, stride=2), _conv(width, width, stride=2)])
        self.up = nn.ModuleList([_conv(width, width), _conv(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, D, H, W]`."""
        sizes: list[Tensor] = [self.first(x)]
        for down in self.down:
            sizes.append(down(sizes[-1]))
        z = sizes.pop()
        for up, beside in zip(self.up, reversed(sizes), strict=True):
            z = up(interpolate(z, size=beside.shape[2:], mode="nearest")) + beside
        return z


def small_maps(channels: int, width: int) -> tuple[nn.Module, int]:
    """`SmallMaps` and its number of features."""
    return SmallMaps(channels, width), width


def mirror(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Images `[B, C, H, W]` and maps `[B, h, w]`, half of them mirrored, each with its map.

    Draws from torch's global stream of the device of x.
    """
    turned = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(turned.view(-1, 1, 1, 1), x.flip(3), x), torch.where(turned.view(-1, 1, 1), y.flip(2), y)


def light(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Every image 0 … 255 brighter or darker, and with more or less contrast, by up to two fifths."""
    bright, contrast = 0.6 + 0.8 * torch.rand(2, len(x), 1, 1, 1, device=x.device)
    x = x.float() * bright
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, contrast).clamp(0.0, 255.0), y


def mirror_and_light(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`mirror`, then `light`."""
    return light(*mirror(x, y))


AUGMENTATIONS: Final = {"flip": mirror, "light": light}
"""What may be done to training images and their maps, in this order."""
