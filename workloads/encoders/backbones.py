"""Networks of images by their name in timm, `timm/NAME`, with the weights of a local file; nothing is fetched."""

import difflib
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torch import Tensor, nn

from workloads.encoders.images import Pixels, stored
from workloads.extras import MissingExtra, need
from workloads.messages import reason

PREFIX: Final = "timm/"
NEAR: Final = 5
"""Names that are told for one that is not known."""


def is_backbone(name: str) -> bool:
    """Whether a name is that of a network of timm, rather than one of ours."""
    return name.startswith(PREFIX)


@lru_cache(maxsize=1)
def _timm() -> ModuleType:
    """The library, which takes seconds to import; raises ValueError where it is not to be had."""
    try:
        need("timm")
    except MissingExtra as err:
        raise ValueError(str(err)) from None
    try:
        import timm
    except Exception as err:  # torchvision of another build raises what it likes
        raise ValueError(f"timm cannot be imported ({reason(err)}): install the torchvision of this torch") from err
    library: ModuleType = timm
    return library


@lru_cache(maxsize=16)
def settings(name: str) -> Any:
    """What timm knows of `timm/NAME`, which may end in the tag of its weights; raises ValueError with near names."""
    timm, wanted = _timm(), name.removeprefix(PREFIX)
    try:
        found = timm.get_pretrained_cfg(wanted) if timm.is_model(wanted) else None
    except Exception:  # a tag that the network does not have
        found = None
    if found is None:
        near = difflib.get_close_matches(wanted, _names(timm), NEAR, 0.3)
        raise ValueError(f"timm has no network {wanted!r}; near names: {', '.join(PREFIX + other for other in near)}")
    return found


def _names(timm: ModuleType) -> Collection[str]:
    return {*timm.list_models(), *timm.list_pretrained()}


class Backbone(nn.Module):
    """A network of timm without its classifier: what it gives to that is the features.

    Pixels are scaled as its published weights expect. A network that is made for one size of images is made for
    `size`. Raises ValueError for weights of another network.
    """

    def __init__(self, name: str, size: int, weights: Path | None = None) -> None:
        super().__init__()
        known = settings(name)
        sized = {"img_size": size} if known.fixed_input_size else {}
        self.scale = Pixels(known.mean, known.std)
        self.body: nn.Module = _timm().create_model(name.removeprefix(PREFIX), pretrained=False, num_classes=0, **sized)
        self.dim = int(getattr(self.body, "head_hidden_size", None) or self.body.num_features)
        if weights is not None:
            self._load(name, weights, known.classifier)

    def _load(self, name: str, path: Path, classifier: str | tuple[str, ...] | None) -> None:
        heads = (classifier,) if isinstance(classifier, str) else classifier or ()
        left_out = tuple(f"{head}." for head in heads)
        try:
            state = {key: value for key, value in stored(path).items() if not key.startswith(left_out)}
            self.body.load_state_dict(state)
        except Exception as err:  # whatever the readers raise over what is no file of theirs
            raise ValueError(f"{path} must hold weights of {name} at this size of images: {reason(err)}") from err

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, 3, H, W]`, 0…255, to features `[B, D]`."""
        features: Tensor = self.body(self.scale(x))
        return features
