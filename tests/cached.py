"""What other processes do with a cache in tests; importable by name, which a new process needs."""

import os
import time
from pathlib import Path

import numpy as np
import torch

from workloads.cache import Bytes, Source, Transform, decoded

SHAPE = (3, 224, 224)


def write_sources(folder: Path, count: int) -> list[Source]:
    """Small files that hold their number."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for number in range(count):
        path = folder / f"{number}.raw"
        path.write_bytes(bytes([number % 251, number // 251]))
        sources.append(Source(path, path.name, f"list.csv:{number + 2}"))
    return sources


def filled(content: bytes, shape: tuple[int, ...] = (2, 3)) -> Bytes:
    """A row full of the file's first byte."""
    if len(content) != 2:
        raise ValueError(f"two bytes expected, found {len(content)}")
    return np.full(shape, content[0], dtype=np.uint8)


def build_and_note(sources: list[Source], cache: str, notes: str) -> None:
    """Ask for the cache, noting every row that this process decodes; then read it."""

    def noting(content: bytes) -> Bytes:
        with Path(notes).open("a") as stream:
            stream.write(f"{os.getpid()} {content[0]}\n")
        return filled(content)

    rows = decoded(sources, Transform("noting", (2, 3), noting), Path(cache))
    assert rows.read(torch.arange(len(sources)))[:, 0, 0].tolist() == [i % 251 for i in range(len(sources))]


def build_and_hang(sources: list[Source], cache: str, hanging: str) -> None:
    """Decode half of the rows, say so, and never end."""
    calls = []

    def slow(content: bytes) -> Bytes:
        calls.append(content)
        if len(calls) > len(sources) // 2:
            Path(hanging).touch()
            time.sleep(600)
        return filled(content)

    decoded(sources, Transform("t", (2, 3), slow), Path(cache))


def _memory(kind: str) -> int:
    """Memory of this process in bytes; `VmHWM` is the most that was resident at any moment."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024


def read_all(sources: list[Source], cache: str, result: str) -> None:
    """Read every row once in random order, noting how far resident and private memory grew at most."""

    def never(content: bytes) -> Bytes:
        raise AssertionError("the cache is there")

    Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark anew
    resident, private = _memory("VmRSS"), _memory("RssAnon")
    rows = decoded(sources, Transform("big", SHAPE, never), Path(cache))
    highest = private
    for batch in torch.split(torch.randperm(len(rows)), 64):
        x = rows.read(batch)
        highest = max(highest, _memory("RssAnon"))
        del x
    Path(result).write_text(f"{_memory('VmHWM') - resident} {highest - private}")
