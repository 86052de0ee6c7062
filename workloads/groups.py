"""Groups of labels: equal parts of the range of the training labels."""

import numpy as np
import torch
from torch import Tensor


def inner_edges(labels: Tensor, groups: int) -> Tensor:
    """The edges between the groups, `[G − 1]`, float32."""
    low, high = labels.double().aminmax()
    return torch.from_numpy(np.linspace(float(low), float(high), groups + 1)[1:-1]).float()


def group_of(labels: Tensor, edges: Tensor) -> Tensor:
    """The group of every label, shaped like `labels`; one on an edge is in the upper group, one beyond in an end's."""
    return torch.bucketize(labels.to(edges.dtype), edges, right=True)
