"""What the cache of decoded images saves, side by side in one run: `python -m bench.data`.

One core. Images are made up: JPEG files of 400 × 400 px.
`--memory` writes a cache of the size of AgeDB's, 2.5 GB, to the temporary folder and says what a reader holds of it.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from bench.methods import Measurement, seconds
from workloads.cache import Bytes, CachedSplit, Source, Transform, decoded
from workloads.data.images import resized
from workloads.encoders.images import crop_and_flip, resnet50

IMAGES: Final = 128
BATCH: Final = 8
"""Images in a step of ResNet-50: small, for a CPU; loading takes the same share of a larger one."""
AGEDB_ROWS: Final = 16_488
CPU: Final = torch.device("cpu")


def write_images(folder: Path, count: int) -> list[Source]:
    """JPEG files of 400 × 400 px: smooth shapes and some noise."""
    random = np.random.default_rng(0)
    sources = []
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, size=(12, 12, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((400, 400), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (pixels + random.integers(-8, 9, size=pixels.shape)).clip(0, 255).astype(np.uint8)
        path = folder / f"{number}.jpg"
        Image.fromarray(noisy).save(path, quality=90)
        sources.append(Source(path, path.name, path.name))
    return sources


def reading(folder: Path, images: int) -> Iterator[Measurement]:
    """Images decoded afresh against read from the cache."""
    sources, transform, split, order = _cached(folder, images)
    took = seconds(
        {
            "cached": lambda: split.inputs(order, CPU),
            "afresh": lambda: [
                transform.decode(sources[row].path.read_bytes(), sources[row]) for row in order.tolist()
            ],
        },
        repeats=5,
    )
    yield Measurement(
        f"{images} images from the cache ({images / took['cached']:,.0f} images/s)",
        took["cached"],
        f"decoded afresh ({images / took['afresh']:,.0f} images/s)",
        took["afresh"],
        at_least_ratio=10.0,
    )


def _cached(folder: Path, images: int) -> tuple[list[Source], Transform, CachedSplit, torch.Tensor]:
    """Made-up images, how they are decoded, the same in a cache, and a random order."""
    sources, transform = write_images(folder, images), resized(224)
    rows = decoded(sources, transform, folder / "cache")
    split = CachedSplit(rows, torch.arange(images), torch.arange(images).float())
    return sources, transform, split, torch.randperm(images, generator=torch.Generator().manual_seed(0))


def loading(folder: Path) -> Iterator[Measurement]:
    """Reading, and augmenting what was read, as a share of a training step."""
    _, _, split, order = _cached(folder, IMAGES)
    encoder, dim = resnet50()
    head = torch.nn.Linear(dim, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-3)
    batch = split.inputs(order[:BATCH], CPU)

    def step() -> None:
        optimizer.zero_grad()
        head(encoder(batch)).abs().mean().backward()
        optimizer.step()

    took = seconds(
        {
            "load": lambda: split.inputs(order[:BATCH], CPU),
            "augment": lambda: crop_and_flip(batch),
            "step": step,
        },
        repeats=3,
    )
    for what, name in (("loading from the cache", "load"), ("loading and augmenting", "augment")):
        ours = took["load"] + (took["augment"] if name == "augment" else 0.0)
        yield Measurement(
            f"{what}, {BATCH} images", ours, "a ResNet-50 step at 224 px", took["step"], at_most_share=0.05
        )


def _filled(content: bytes, source: Source) -> Bytes:
    return np.full((3, 224, 224), content[0], dtype=np.uint8)


def _status(kind: str) -> float:
    """Memory of this process in MB; `VmHWM` is the most that was resident at any moment."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/self/status has no {kind}")


def memory(folder: Path) -> str:
    """What reading every row of a cache of AgeDB's size adds to the memory of this process; Linux only."""
    sources = []
    for number in range(AGEDB_ROWS):
        path = folder / str(number)
        path.write_bytes(bytes([number % 256]))
        sources.append(Source(path, path.name, path.name))
    transform = Transform("filled", (3, 224, 224), _filled)
    decoded(sources, transform, folder / "cache")
    size = sum(path.stat().st_size for path in (folder / "cache").glob("*.arrow"))

    Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark anew
    before, private = _status("VmRSS"), _status("RssAnon")
    rows = decoded(sources, transform, folder / "cache")
    highest = private
    for batch in torch.split(torch.randperm(AGEDB_ROWS), 256):
        x = rows.read(batch)
        highest = max(highest, _status("RssAnon"))
        del x
    return (
        f"{AGEDB_ROWS:,} images of 224 px, {size / 1e9:.2f} GB, read once in batches of 256: {_status('VmHWM'):.0f} MB "
        f"resident at most, {before:.0f} MB of them before reading; private memory grew by {highest - private:.0f} MB"
    )


def main() -> int:
    """Print every measurement; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="measure what a reader of 2.5 GB holds, on Linux")
    wanted = parser.parse_args()
    broken = False
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        if wanted.memory:
            sys.stdout.write(f"{memory(Path(made))}\n")
            return 0
        for measurement in chain(reading(Path(made), IMAGES), loading(Path(made))):
            sys.stdout.write(f"{measurement}\n")
            sys.stdout.flush()
            broken |= not measurement.holds
    return int(broken)


if __name__ == "__main__":
    raise SystemExit(main())
