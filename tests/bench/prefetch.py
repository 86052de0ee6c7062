"""An epoch whose batches a thread reads ahead, against one that reads each when it is asked for.

`python -m bench.prefetch`. Images of 64 px from a cache on the disk, and a network that takes as long as reading or
much longer; on a CPU, whose cores both share.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.methods import seconds
from toys import TOYS
from workloads.cache import CachedSplit, Source, Transform, decoded
from workloads.encoders.small import conv_net
from workloads.loop import Fit
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import Data, Units

IMAGES, PIXELS, ROUNDS = 512, 64, 5
WIDTHS = {"a small network": (4,), "a larger one": (16, 32, 64)}


def data(folder: Path, ahead: bool) -> Data:
    """Made-up images in a cache."""
    shape, random = (3, PIXELS, PIXELS), np.random.default_rng(0)
    for row in range(IMAGES):
        path = folder / f"{row}.bin"
        if not path.is_file():
            path.write_bytes(random.integers(0, 256, shape, np.uint8).tobytes())
    sources = [Source(folder / f"{row}.bin", f"{row}.bin") for row in range(IMAGES)]
    transform = Transform("bytes", shape, lambda content, _: np.frombuffer(content, np.uint8).reshape(shape))
    rows = decoded(sources, transform, folder / "cache")
    y = torch.arange(IMAGES) % 30 * 1.0
    train, few = CachedSplit(rows, torch.arange(IMAGES), y), CachedSplit(rows, torch.arange(8), y[:8])
    train.read_ahead = ahead
    return Data(train, few, few, Units(8.0, 8.0), "images")


def main() -> None:
    """Print the times of both."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, widths in WIDTHS.items():
            encoder = conv_net([0.0] * 3, [1.0] * 3, widths, [1, *[2] * (len(widths) - 1)])
            toy = replace(TOYS["regression"], encoder=lambda _, made=encoder: made)
            settings = settle(Recipe("l1"), {"train.epochs": 100, "train.batch_size": 64})
            epochs = {
                ahead: iter(Fit(toy, data(Path(folder), ahead), Recipe("l1"), settings, 0, torch.device("cpu")))
                for ahead in (False, True)
            }
            work = {str(ahead): lambda run=run: next(run) for ahead, run in epochs.items()}
            took = seconds(work, ROUNDS)
            plain, thread = took["False"], took["True"]
            sys.stdout.write(f"{name}: {1e3 * plain:.0f} ms an epoch, with a thread × {thread / plain:.2f}\n")


if __name__ == "__main__":
    main()
