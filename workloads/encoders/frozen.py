"""Frozen encoders of a local folder or file: images or texts to vectors, which are computed once and kept.

A folder is that of a `transformers` network: `config.json`, `model.safetensors` and, for texts, a tokenizer. Nothing is
fetched, unpickled, or run from the folder.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from workloads.encoders.backbones import Backbone
from workloads.encoders.images import IMAGENET, Pixels
from workloads.extras import MissingExtra, need
from workloads.messages import reason

Pool: TypeAlias = Literal["mean", "first"]
BATCH: Final = 128
FORM: Final = 1
"""Raise it when the same files begin to give other vectors."""


@dataclass(frozen=True)
class Frozen:
    """How rows become vectors: `open()` reads the network and gives a function from n rows to `[n, D]` float32.

    `key` stands for all that the vectors depend on but the rows: the contents of weights and how rows are prepared. It
    takes no network, so that what is kept is read without one. `open` raises ValueError for files that hold none.
    """

    key: str
    open: Callable[[], Callable[[Any], Tensor]]


def images(name: str, weights: Path | None, size: int, pool: Pool) -> Frozen:
    """An encoder of images uint8 `[n, 3, size, size]`: `timm/NAME` with a file of weights, or a folder.

    Raises ValueError for a file that cannot be read.
    """
    if weights is not None:
        return Frozen(f"{FORM} {name} {size} {_sum([weights])}", lambda: _still(Backbone(name, size, weights)))
    folder = Path(name)
    key = f"{FORM} images {pool} {_sum(_files(folder))}"
    return Frozen(key, lambda: _still(_ImageNetwork(_network(folder), Pixels(*_scale(folder)), pool)))


def texts(folder: Path, longest: int, pool: Pool, unit: bool = False) -> Frozen:
    """An encoder of texts, of whose tokens `longest` are read; `unit` brings vectors to length 1.

    Raises ValueError for a file that cannot be read.
    """

    def opened() -> Callable[[Sequence[str]], Tensor]:
        body, tokenizer = _network(folder), _tokenizer(folder)

        @torch.no_grad()
        def encode(rows: Sequence[str]) -> Tensor:
            read = tokenizer(list(rows), padding=True, truncation=True, max_length=longest, return_tensors="pt")
            mask = read["attention_mask"].unsqueeze(2)
            states = body(**read).last_hidden_state
            made = states[:, 0] if pool == "first" else (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            return nn.functional.normalize(made, dim=1) if unit else made

        return encode

    return Frozen(f"{FORM} texts {pool} {longest} {unit} {_sum(_files(folder))}", opened)


class _ImageNetwork(nn.Module):
    """A `transformers` network of images; features are the mean over its last states, or the first token's."""

    def __init__(self, body: nn.Module, scale: nn.Module, pool: Pool) -> None:
        super().__init__()
        self.body, self.scale, self.pool = body, scale, pool

    def forward(self, x: Tensor) -> Tensor:
        """Features `[n, D]` of images `[n, 3, H, W]`, 0…255."""
        states: Tensor = self.body(self.scale(x)).last_hidden_state
        tokens = states.flatten(2).transpose(1, 2) if states.dim() == 4 else states  # a map `[n, D, h, w]`
        return tokens[:, 0] if self.pool == "first" else tokens.mean(1)


def _still(network: nn.Module) -> Callable[[Tensor], Tensor]:
    network.eval()

    @torch.no_grad()
    def encode(x: Tensor) -> Tensor:
        features: Tensor = network(x)
        return features.float()

    return encode


def _network(folder: Path) -> nn.Module:
    """The network of a folder, in evaluation mode; raises ValueError."""
    try:
        need("transformers")
    except MissingExtra as err:
        raise ValueError(str(err)) from None
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        body, told = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except Exception as err:  # a missing file, a network that the library does not know, other tensors: all kinds
        raise ValueError(
            f"{folder} must hold a network of transformers (config.json, model.safetensors): {reason(err)}"
        ) from err
    # A pooler that a fine-tuned network lacks is not used; other tensors that are missing would be random.
    if missing := sorted(name for name in told["missing_keys"] if "pooler" not in name):
        raise ValueError(f"{folder}: model.safetensors lacks {', '.join(missing[:3])} of its network")
    network: nn.Module = body
    return network.eval()


def _tokenizer(folder: Path) -> Callable[..., Any]:
    from transformers import AutoTokenizer

    try:
        made: Callable[..., Any] = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as err:
        raise ValueError(f"{folder} must hold a tokenizer of transformers: {reason(err)}") from err
    return made


def _scale(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and sd of channels that a network of images was trained with; ImageNet's where the folder says none."""
    try:
        said = json.loads((folder / "preprocessor_config.json").read_bytes())
        return said["image_mean"], said["image_std"]
    except (OSError, ValueError, KeyError, TypeError):
        return IMAGENET


def _files(folder: Path) -> list[Path]:
    """What a network of a folder is read from; raises ValueError for a folder that cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in {".json", ".safetensors", ".txt", ".model"})
    except OSError as err:
        raise ValueError(f"{folder} cannot be read: {err.strerror}") from err


def _sum(files: Sequence[Path]) -> str:
    """The SHA-256 of the contents of files; raises ValueError where one cannot be read."""
    whole = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as err:
            raise ValueError(f"{path} cannot be read: {err.strerror}") from err
    return whole.hexdigest()
