"""Vectors of a frozen encoder: computed once, kept with a checksum where decoded rows are, and read by all trials."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from workloads.cache import default_folder, once, tell
from workloads.encoders.frozen import BATCH, Frozen
from workloads.messages import reason
from workloads.workload import DataError

Vectors: TypeAlias = npt.NDArray[np.float32]
SUM: Final = 32
"""Bytes of the checksum, with which a file starts."""


def kept(encoder: Frozen, contents: str, count: int, rows: Callable[[slice], Any]) -> Vectors:
    """Vectors `[count, D]` of what `rows(slice)` gives, from the cache or computed into it now.

    `contents` stands for the contents of all rows; with the encoder's key it is the key of the cache. One process
    computes while the others wait. A file that is damaged on the disk is computed again. Raises as `computed` does.
    """
    key = hashlib.sha256(f"{encoder.key}\0{contents}\0{count}".encode()).hexdigest()

    def write(stream: BinaryIO) -> None:
        held = io.BytesIO()
        np.save(held, computed(encoder, count, rows), allow_pickle=False)
        stream.write(hashlib.sha256(held.getbuffer()).digest())
        stream.write(held.getbuffer())

    return once(default_folder() / f"vectors-{key[:32]}.npy", _read, write)


def computed(encoder: Frozen, count: int, rows: Callable[[slice], Any]) -> Vectors:
    """The same, computed now and not kept.

    Raises DataError for an encoder that cannot be opened, or does not read such rows.
    """
    try:
        encode = encoder.open()
    except ValueError as err:
        raise DataError(str(err)) from None
    made = []
    for start in range(0, count, BATCH):
        some = rows(slice(start, min(start + BATCH, count)))
        try:
            made.append(encode(some))
        except Exception as err:  # images of another size, no sign for padding: what a network says of its inputs
            raise DataError(f"the frozen encoder does not read these rows: {reason(err)}") from err
        tell(min(start + BATCH, count), count)
    return torch.cat(made).numpy().astype(np.float32)


def _read(path: Path) -> Vectors | None:
    """The vectors of a file; None where it is missing or damaged."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(memoryview(content)[SUM:]).digest() != content[:SUM]:
        return None
    found: Vectors = np.load(io.BytesIO(content[SUM:]), allow_pickle=False)
    return found


def of_texts(encoder: Frozen, texts: Sequence[str], keep: bool = True) -> Vectors:
    """Vectors `[N, D]` of texts, kept or not: each distinct one is encoded once, beside others of its length."""
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    if keep:
        contents = hashlib.sha256(json.dumps(distinct).encode()).hexdigest()
        made = kept(encoder, contents, len(distinct), distinct.__getitem__)
    else:
        made = computed(encoder, len(distinct), distinct.__getitem__)
    place = {text: row for row, text in enumerate(distinct)}
    return made[[place[text] for text in texts]]
