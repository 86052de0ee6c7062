"""Encoders of point clouds: `[B, 3, P]` to features `[B, D]`, independent of the order of the points."""

import torch
from torch import Tensor, nn


class PointNet(nn.Module):
    """Every point through the same layers, then the maximum over points: features do not depend on their order.

    Source: Qi et al., CVPR 2017, arXiv:1612.00593, Sec. 4.2, without the transform networks and a quarter as wide.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 256), dim: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            layers += [nn.Conv1d(channels, width, 1), nn.BatchNorm1d(width), nn.ReLU()]
            channels = width
        self.points = nn.Sequential(*layers)
        self.shape = nn.Sequential(nn.Linear(channels, dim), nn.BatchNorm1d(dim), nn.ReLU())
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, D]`."""
        features: Tensor = self.shape(self.points(x).amax(2))
        return features


def turn_and_jitter(x: Tensor, sd: float = 0.02) -> Tensor:
    """Clouds `[B, 3, P]`, each turned about the vertical axis by any angle, every point moved by Gaussian noise.

    Draws from torch's global stream. Source: Qi et al., CVPR 2017, arXiv:1612.00593, Sec. 5.1.
    """
    angle = 2 * torch.pi * torch.rand(len(x), 1, device=x.device)
    c, s = angle.cos(), angle.sin()
    turned = torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1], x[:, 2]], dim=1)
    return turned + (sd * torch.randn_like(x)).clamp(-0.05, 0.05)
