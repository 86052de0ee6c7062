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


def _memory() -> dict[str, int]:
    """Memory of this process in bytes, by kind."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[0].startswith(("RssAnon", "VmRSS"))}


def read_all(sources: list[Source], cache: str, result: str) -> None:
    """Read every row once in random order, noting how far memory of either kind grew at most."""

    def never(content: bytes) -> Bytes:
        raise AssertionError("the cache is there")

    before = _memory()
    rows = decoded(sources, Transform("big", SHAPE, never), Path(cache))
    grown = dict.fromkeys(before, 0)
    for batch in torch.randperm(len(rows)).split(64):
        rows.read(batch)
        grown = {kind: max(grown[kind], now - before[kind]) for kind, now in _memory().items()}
    Path(result).write_text(f"{grown['VmRSS']} {grown['RssAnon']}")
