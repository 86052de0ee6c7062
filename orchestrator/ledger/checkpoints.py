"""The bytes of a checkpoint: what a trial under way has learnt, with a checksum, under the trial's own name."""

import io
import re
import zipfile
from typing import Final

from orchestrator.storage.envelope import NotWhole, is_wrapped, unwrapped, wrapped

FOLDER: Final = "checkpoints/"
_KEY: Final = re.compile(r"checkpoints/([\w-]+)\.pt", re.ASCII)


def checkpoint_key(trial_id: str) -> str:
    """Where the checkpoint of a trial lies."""
    return f"{FOLDER}{trial_id}.pt"


def is_checkpoint(key: str) -> bool:
    """Whether a file below `checkpoints/` is one."""
    return _KEY.fullmatch(key) is not None


def packed(trial_id: str, saved: bytes) -> bytes:
    """What `torch.save` wrote, as it is kept."""
    return wrapped(checkpoint_key(trial_id), saved)


def unpacked(key: str, data: bytes) -> bytes:
    """What `torch.load` reads; raises NotWhole for what is damaged, or was written for another trial.

    Older checkpoints have no checksum of their own, but those of the ZIP format.
    """
    if is_wrapped(data):
        return unwrapped(key, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            broken = archive.testzip()
    except Exception as err:  # zipfile raises many kinds over bytes that are no archive
        raise NotWhole(f"{key} is damaged: {err}") from err
    if broken is not None:
        raise NotWhole(f"{key} is damaged: the checksum of {broken} does not fit")
    return data
