"""Heads other than one linear layer; as that one, each has `weight` `[K, D]` and `bias`, for what acts on them."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize


class Cosine(nn.Module):
    """Cosines of the angles between features and the weights of every output.

    out_k = ŵ_k · ĥ,   ŵ = w / ‖w‖,   ĥ = h / ‖h‖
    """

    bias: None = None

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(outputs, dim))
        nn.init.kaiming_uniform_(self.direction, a=5**0.5)  # as nn.Linear: only directions matter

    @property
    def weight(self) -> Tensor:
        """Unit weights `[K, D]`."""
        return normalize(self.direction, dim=1)

    def forward(self, h: Tensor) -> Tensor:
        """Cosines `[…, K]` of features `[…, D]`; 0 for a feature that is 0."""
        return linear(normalize(h, dim=-1), self.weight)


class Scaled(nn.Module):
    """A head that is trained no further, with a factor for every output.

    out_k = f_k · head(h)_k
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        weight = inner.weight
        assert isinstance(weight, Tensor)  # torch says: or a module
        self.factor = nn.Parameter(torch.ones_like(weight[:, 0]))

    @property
    def weight(self) -> Tensor:
        """Weights times factors, `[K, D]`."""
        weight: Tensor = self.inner.weight  # type: ignore[assignment]  # torch says: or a module
        return weight * self.factor.unsqueeze(1)

    @property
    def bias(self) -> Tensor | None:
        """Biases times factors, `[K]`."""
        bias: Tensor | None = self.inner.bias  # type: ignore[assignment]  # torch says: or a module
        return None if bias is None else bias * self.factor

    def forward(self, h: Tensor) -> Tensor:
        """Outputs `[…, K]` of features `[…, D]`."""
        out: Tensor = self.inner(h)
        return out * self.factor
