"""Convolutional encoders of small images: `[B, C, H, W]`, bytes or floats in 0 … 1, to features `[B, D]`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Normalise(nn.Module):
    """(x − mean) / sd per channel; bytes are divided by 255 first. Part of the encoder, so evaluation has it too."""

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: Sequence[float], sd: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("sd", torch.tensor(sd).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images `[B, C, H, W]`, float32."""
        scaled = x.float() / 255.0 if x.dtype == torch.uint8 else x
        return (scaled - self.mean) / self.sd


def _conv(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs)]


def conv_net(
    mean: Sequence[float], sd: Sequence[float], widths: Sequence[int], strides: Sequence[int]
) -> tuple[nn.Module, int]:
    """3×3 convolutions with BatchNorm and ReLU, then the mean over the image; D is the last width."""
    layers: list[nn.Module] = [Normalise(mean, sd)]
    channels = len(mean)
    for width, stride in zip(widths, strides, strict=True):
        layers += [*_conv(channels, width, stride), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut without parameters: every other pixel, new channels zero (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new = stride, outputs - inputs
        self.body = nn.Sequential(*_conv(inputs, outputs, stride), nn.ReLU(), *_conv(outputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, C′, H / stride, W / stride]`."""
        before = (self.new // 2, self.new - self.new // 2)
        shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *before))
        return functional.relu(self.body(x) + shortcut)


def resnet32(mean: Sequence[float], sd: Sequence[float]) -> tuple[nn.Module, int]:
    """The residual network of 32 layers for 32×32 images: stages of five blocks with 16, 32 and 64 channels; D = 64.

    0.46 M parameters. Source: He et al., CVPR 2016, arXiv:1512.03385, Sec. 4.2.
    """
    layers: list[nn.Module] = [Normalise(mean, sd), *_conv(len(mean), 16, 1), nn.ReLU()]
    channels = 16
    for width in (16, 32, 64):
        for _ in range(5):
            layers.append(Block(channels, width, stride=1 if width == channels else 2))
            channels = width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return net, channels


def crop_and_flip(x: Tensor, margin: int = 4) -> Tensor:
    """Images `[B, C, H, W]` of any type, each shifted by up to `margin` pixels and mirrored half of the time.

    The border is filled by reflection, as by padding with `margin` pixels and cropping back. Draws from torch's global
    stream of the device of x.
    """
    batch, channels, height, width = x.shape
    shift = torch.randint(-margin, margin + 1, (2, batch, 1), device=x.device)
    rows = _reflected(torch.arange(height, device=x.device) + shift[0], height)
    columns = _reflected(torch.arange(width, device=x.device) + shift[1], width)
    mirrored = torch.randint(0, 2, (batch, 1), device=x.device) == 1
    columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(batch, device=x.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=x.device).view(1, -1, 1, 1)
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _reflected(place: Tensor, size: int) -> Tensor:
    """Places outside 0 … size − 1 reflected at the edge pixel: −1 becomes 1, size becomes size − 2."""
    return size - 1 - (size - 1 - place.abs()).abs()
