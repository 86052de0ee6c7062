"""Weights by their name on the Hugging Face hub: `hub:OWNER/NAME`, or `hub:OWNER/NAME@REVISION`.

They are kept in the hub's own cache (HF_HOME), so that a node fetches them once, and later without a network.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from workloads.extras import MissingExtra, need

PREFIX: Final = "hub:"
FILE: Final = "model.safetensors"


def named(text: str) -> bool:
    """Whether a text names weights on the hub, rather than a file."""
    return text.startswith(PREFIX)


@lru_cache(maxsize=4)
def fetched(text: str) -> Path:
    """The local copy of the weights, safetensors only; raises ValueError where there is none and none can be had.

    The hub is asked once a process: trials of one sweep start from the same weights.
    """
    try:
        need("huggingface_hub")
    except MissingExtra as err:
        raise ValueError(str(err)) from None
    from huggingface_hub import hf_hub_download

    name, _, revision = text.removeprefix(PREFIX).partition("@")
    try:
        return Path(hf_hub_download(name, FILE, revision=revision or None))
    except Exception as err:  # a name that cannot be, no such model, a licence to accept, no network: all kinds
        reason = " ".join(str(err).split())[:300]
        raise ValueError(
            f"weights {text!r} must be {PREFIX}OWNER/NAME[@REVISION] of a model with a {FILE}, and the hub must "
            f"answer: {reason}; or download that file and name it"
        ) from err
