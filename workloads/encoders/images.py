"""Encoders of images, and what is done to a batch of them on the device: `[B, 3, H, W]` to features `[B, D]`.

transformers and kornia are imported where they are used: together they take seconds, and most workloads have no images.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and sd of channels that published weights were trained with."""


class Scale(nn.Module):
    """Pixels 0…255, uint8 or float, to −1…1: mean and standard deviation 0.5, in training and in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, H, W]` to float32 of the same shape."""
        return x.float() / 127.5 - 1.0


class Pixels(nn.Module):
    """Pixels 0…255, uint8 or float, to (x / 255 − mean) / sd per channel."""

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: Sequence[float], sd: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("sd", 255 * torch.tensor(sd).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, H, W]` to float32 of the same shape."""
        return (x.float() - self.mean) / self.sd


def resnet_body(
    depths: Sequence[int], widths: Sequence[int], stem: int, block: Literal["basic", "bottleneck"] = "bottleneck"
) -> nn.Module:
    """Residual blocks with random weights: convolutions from N(0, 2 / fan-out), as the published code draws them."""
    from transformers import ResNetConfig, ResNetModel

    config = ResNetConfig(embedding_size=stem, hidden_sizes=list(widths), depths=list(depths), layer_type=block)
    body: nn.Module = ResNetModel(config)
    return body


class ResNet(nn.Module):
    """A residual network; features are the average over the last map.

    Source: He et al., CVPR 2016, arXiv:1512.03385; the implementation is `transformers.ResNetModel`, which draws
    convolutions from N(0, 2 / fan-out), as the published code of the age data sets does. Weights of a file come with
    the scale of pixels that they were trained with, ImageNet's.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        stem: int,
        block: Literal["basic", "bottleneck"] = "bottleneck",
        weights: Path | None = None,
    ) -> None:
        super().__init__()
        self.scale: nn.Module = Scale() if weights is None else Pixels(*IMAGENET)
        self.body = resnet_body(depths, widths, stem, block)
        self.dim = widths[-1]
        if weights is not None:
            load_weights(self.body, weights)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, 3, H, W]`, 0…255, to features `[B, D]`."""
        pooled: Tensor = self.body(self.scale(x)).pooler_output
        return pooled.flatten(1)


def stored(path: Path) -> Mapping[str, Tensor]:
    """Tensors by name of a local file: safetensors, or else a state saved by torch, of which no object is unpickled.

    Raises whatever the two readers raise over what is no file of theirs.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    found: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def load_weights(body: nn.Module, path: Path) -> None:
    """Put the weights of a local file into a `transformers` network: safetensors, or else a state saved by torch.

    Names are those of the library, with or without a `resnet.` in front; a classifier is left out. Nothing is
    unpickled but tensors. Raises ValueError for a file that holds other weights.
    """
    try:
        state = {name.removeprefix("resnet."): value for name, value in stored(path).items()}
        state = {name: value for name, value in state.items() if not name.startswith("classifier.")}
        body.load_state_dict(state)
    except Exception as err:  # whatever the two readers raise over what is no file of theirs
        reason = " ".join(str(err).split())[:300]
        raise ValueError(f"{path} must hold weights of transformers' ResNet of this size: {reason}") from err


def save_weights(body: nn.Module, path: Path) -> None:
    """Write weights as `load_weights` reads them, as safetensors."""
    from safetensors.torch import save_file

    save_file(body.state_dict(), path)


def resnet18(weights: Path | None = None) -> tuple[nn.Module, int]:
    """ResNet-18: 2-2-2-2 basic blocks, 11.2 M parameters, 512 features; from scratch, or with weights of a file."""
    encoder = ResNet((2, 2, 2, 2), (64, 128, 256, 512), 64, "basic", weights)
    return encoder, encoder.dim


def resnet50(weights: Path | None = None) -> tuple[nn.Module, int]:
    """ResNet-50: 3-4-6-3 blocks, 23.5 M parameters, 2048 features; from scratch, or with weights of a file."""
    encoder = ResNet((3, 4, 6, 3), (256, 512, 1024, 2048), 64, weights=weights)
    return encoder, encoder.dim


AUGMENTATIONS: Final[dict[str, Callable[[Any, int, int], nn.Module]]] = {
    # "slice" moves whole pixels; kornia's default, "resample", interpolates and so blurs three values in four.
    "crop": lambda kornia, size, padding: kornia.RandomCrop((size, size), padding=padding, cropping_mode="slice"),
    "flip": lambda kornia, size, padding: kornia.RandomHorizontalFlip(p=0.5),
}
"""What may be done to training images, in this order."""


@cache
def _sequence(names: tuple[str, ...], size: int, padding: int) -> nn.Module:
    import kornia.augmentation

    steps = [make(kornia.augmentation, size, padding) for name, make in AUGMENTATIONS.items() if name in names]
    sequence: nn.Module = kornia.augmentation.AugmentationSequential(*steps, data_keys=["input"])
    return sequence


def augmented(x: Tensor, names: tuple[str, ...], padding: int) -> Tensor:
    """Every image changed by the named augmentations: padded with black and cropped back at random, mirrored at random.

    `x` `[B, 3, S, S]` uint8, returned as float32 of the same range and shape. Draws from torch's global stream.
    """
    if not names:
        return x.float()
    with torch.no_grad():
        out: Tensor = _sequence(names, x.shape[-1], padding)(x.float())
    return out


def crop_and_flip(x: Tensor, padding: int = 16) -> Tensor:
    """Every image padded with black, cropped back to its size at random and mirrored half of the time.

    Source: the published code for the age data sets, Yang et al., ICML 2021, arXiv:2102.09554.
    """
    return augmented(x, ("crop", "flip"), padding)
