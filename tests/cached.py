"""What other processes do with a cache in tests; importable by name, which a new process needs."""

import os
import time
from pathlib import Path

import numpy as np
import torch

from workloads.cache import Bytes, Source, Transform, decoded, telling

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


def garble(path: Path, keep: int = 0) -> None:
    """Make a file useless behind its first bytes, with the size and time that it had: a reader fails on it."""
    found = path.stat()
    with path.open("r+b") as stream:
        stream.seek(keep)
        stream.write(b"?" * (found.st_size - keep))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def filled(content: bytes, source: Source, shape: tuple[int, ...] = (2, 3)) -> Bytes:
    """A row full of the file's first byte."""
    if len(content) != 2:
        raise ValueError(f"two bytes expected, found {len(content)}")
    return np.full(shape, content[0], dtype=np.uint8)


def build_and_note(sources: list[Source], cache: str, notes: str) -> None:
    """Ask for the cache, noting every row that this process decodes; then read it."""

    def noting(content: bytes, source: Source) -> Bytes:
        with Path(notes).open("a") as stream:
            stream.write(f"{os.getpid()} {content[0]}\n")
        return filled(content, source)

    rows = decoded(sources, Transform("noting", (2, 3), noting), Path(cache))
    assert rows.read(torch.arange(len(sources)))[:, 0, 0].tolist() == [i % 251 for i in range(len(sources))]


def build_and_hang(sources: list[Source], cache: str, hanging: str) -> None:
    """Decode half of the rows, say so, and never end."""
    calls = []

    def slow(content: bytes, source: Source) -> Bytes:
        calls.append(content)
        if len(calls) > len(sources) // 2:
            Path(hanging).touch()
            time.sleep(600)
        return filled(content, source)

    decoded(sources, Transform("t", (2, 3), slow), Path(cache))


def _memory(kind: str) -> int:
    """Memory of this process in bytes; `VmHWM` is the most that was resident at any moment."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024


def read_all(sources: list[Source], cache: str, result: str) -> None:
    """Read every row once in random order, noting how far resident and private memory grew at most."""

    def never(content: bytes, source: Source) -> Bytes:
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


def load_own(file: str, cache: str) -> None:
    """Load custom images as a worker does, noting how far this process's decoding came, if it did any."""
    from workloads.data.custom.rows import load
    from workloads.data.custom.schema import kind_of

    os.environ["TAILSWEEP_CACHE"] = cache
    tree = {"name": "mine", "type": "images", "file": file, "target": "y", "bin_width": 1.0, "size": 16}
    declared = kind_of(tree).model_validate({**tree, "folder": str(Path(file).parent / "photos")})
    with telling(lambda done, of: _write(Path(cache) / f"{os.getpid()}.progress", f"{done}/{of}\n")):
        data = load(declared, None)
    assert data.train.inputs(torch.tensor([0]), torch.device("cpu")).shape == (1, 3, 16, 16)


def _write(path: Path, line: str) -> None:
    path.write_text(line)
