"""The residual network of 50 layers for photographs: `[B, 3, H, W]`, bytes, to features `[B, 2048]`."""

from torch import Tensor, nn

from workloads.encoders.small import Normalise

MEAN = (0.485, 0.456, 0.406)
SD = (0.229, 0.224, 0.225)
"""Of the channels of ImageNet; the constants of the published code."""


class ResNet50(nn.Module):
    """ResNet-50 from scratch; features are the mean over the last map.

    Source: He et al., CVPR 2016, arXiv:1512.03385; the implementation is `transformers.ResNetModel`.
    """

    dim = 2048

    def __init__(self) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel  # slow to import, and most workloads have no photographs

        self.normalise = Normalise(MEAN, SD)
        self.body = ResNetModel(ResNetConfig())

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, 2048]`."""
        pooled: Tensor = self.body(self.normalise(x)).pooler_output
        return pooled.flatten(1)
