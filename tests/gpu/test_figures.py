"""Figures of the card: what methods cost on ResNet-50 at 224 px, images per second, and shares of a GPU."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from orchestrator import Ledger
from running import HUNG_S, write
from steps import backward_of
from toys import TOYS
from workloads.cache import CachedSplit, Source, Transform, decoded
from workloads.encoders.images import crop_and_flip, resnet18, resnet50
from workloads.loop import Fit
from workloads.recipe import Recipe
from workloads.speed import repeat_exactly
from workloads.training import settle
from workloads.workload import Data, Units

FOUR = ("lds", "fds", "ranksim", "distloss")
MOST = 1.05
"""What all four methods together may cost, as a multiple of a step of the base."""
LEAST = 0.9
"""Images per second, as a share of those of a plain loop."""
ROUNDS = 5
TELL = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How large a measurement is."""

    images: int
    batch: int
    pixels: int
    steps: int


CARD, TRIAL = Size(2048, 128, 224, 20), Size(16, 4, 32, 1)


@pytest.fixture(scope="module")
def size() -> Size:
    return CARD if torch.cuda.is_available() else TRIAL


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, size: Size) -> Data:
    """Made-up photographs in a cache on the disk, with ages."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    shape = (3, size.pixels, size.pixels)
    for row in range(size.images):
        (folder / f"{row}.bin").write_bytes(random.integers(0, 256, shape, np.uint8).tobytes())
    sources = [Source(folder / f"{row}.bin", f"{row}.bin") for row in range(size.images)]
    transform = Transform("bytes", shape, lambda content, _: np.frombuffer(content, np.uint8).reshape(shape))
    rows = decoded(sources, transform, folder / "cache")
    y = torch.from_numpy(np.floor(30 * random.random(size.images) ** 3)).float()
    held_out = torch.arange(max(4, size.images // 128))
    small = CachedSplit(rows, held_out, y[held_out])
    return Data(CachedSplit(rows, torch.arange(size.images), y), small, small, Units(8.0, 8.0), "photographs")


@pytest.fixture
def fast(device: torch.device) -> Iterator[torch.device]:
    """The device, with the fastest algorithms instead of repeatable ones."""
    repeat_exactly(False)
    yield device


def run_of(recipe: str, data: Data, size: Size, device: torch.device) -> Fit:
    make = resnet50 if size == CARD else resnet18
    toy = replace(TOYS["regression"], encoder=lambda _: make(), augment=crop_and_flip)
    parsed = Recipe.parse(recipe)
    settings = {
        "train.epochs": 10,
        "train.batch_size": size.batch,
        "train.precision": "bf16",
        "train.channels_last": True,
        "train.lr": 1e-4,
    }
    return Fit(toy, data, parsed, settle(parsed, settings), 0, device)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def took(work: Callable[[], object], device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def steps(run: Fit, size: Size) -> None:
    """Steps on one batch that lies on the device, past every warm-up."""
    rows = torch.arange(size.batch)
    read = run.train.read(rows)
    run.model.train()
    for _ in range(size.steps):
        run.optimizer.zero_grad(set_to_none=True)
        backward_of(run, run.train.batch(rows, 3, 0, 0.3, read))
        run.optimizer.step()


def test_all_four_methods_cost_a_twentieth_of_a_step_at_most(
    data: Data, size: Size, fast: torch.device, tell: TELL
) -> None:
    recipes = {"l1": "l1", **{name: f"l1 + {name}" for name in FOUR}, "all four": "l1 + " + " + ".join(FOUR)}
    runs = {name: run_of(recipe, data, size, fast) for name, recipe in recipes.items()}
    for run in runs.values():
        for epoch in range(2):
            run.model.end_epoch(epoch, 0, run._features(epoch))  # FDS moves features from here on
        steps(run, size)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):  # in turn, so that a clock that slows down slows all
        for name, run in runs.items():
            times[name].append(took(lambda run=run: steps(run, size), fast) / size.steps)
    base = median(times["l1"])
    tell(f"a step of ResNet-50, {size.pixels} px, {size.batch} images, bf16: {1e3 * base:.1f} ms")
    for name in (*FOUR, "all four"):
        tell(f"{name}: × {median(times[name]) / base:.3f}")
    if size == CARD:
        assert median(times["all four"]) <= MOST * base


def plain_epoch(images: Tensor, y: Tensor, size: Size, network: nn.Module, device: torch.device) -> None:
    """An epoch as one would write it without this project: pinned images, a gather, a copy, a step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    network.train()
    for rows in torch.randperm(len(y)).split(size.batch):
        picked = images[rows]
        picked = picked.pin_memory() if device.type == "cuda" else picked
        x = crop_and_flip(picked.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            loss = (network(x).squeeze(1) - y[rows].to(device, non_blocking=True)).abs().mean()
        loss.backward()
        optimizer.step()


def test_an_epoch_trains_as_many_images_a_second_as_a_plain_loop(
    data: Data, size: Size, fast: torch.device, tell: TELL
) -> None:
    encoder, dim = (resnet50 if size == CARD else resnet18)()
    network = nn.Sequential(encoder, nn.Linear(dim, 1)).to(fast, memory_format=torch.channels_last)
    images = data.train.inputs(torch.arange(size.images), torch.device("cpu"))
    epochs = iter(run_of("l1", data, size, fast))
    work: dict[str, Callable[[], object]] = {
        "here": lambda: next(epochs),
        "a plain loop": lambda: plain_epoch(images, data.train.y, size, network, fast),
    }
    for each in work.values():
        each()
    times = {name: median(took(each, fast) for _ in range(3)) for name, each in work.items()}
    for name, seconds in times.items():
        tell(f"{name}: {size.images / seconds:,.0f} images a second")
    if size == CARD:
        assert times["a plain loop"] >= LEAST * times["here"]


def test_statistics_of_fds_take_less_than_an_epoch_of_training(
    data: Data, size: Size, fast: torch.device, tell: TELL
) -> None:
    times = []
    for recipe in ("l1", "l1 + fds"):
        epochs = iter(run_of(recipe, data, size, fast))
        next(epochs)
        times.append(median(took(lambda epochs=epochs: next(epochs), fast) for _ in range(3)))
    tell(f"an epoch with the statistics of FDS: × {times[1] / times[0]:.2f}")
    if size == CARD:
        assert times[1] < 2 * times[0]


SHARED = """
study: shared
workloads: [nhanes-sbp]
recipes: {also: [l1 + lds, l1 + fds]}
tune: {trials: 3, parallel: 2, rescore: 1}
evaluate: {seeds: 2}
train: {epochs: 3}
resources: {cpus: 1, gpus: 0.5}
tracking: {enabled: false}
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
def test_two_trials_share_a_gpu_and_each_takes_its_share_of_the_memory_at_most(tmp_path: Path, tell: TELL) -> None:
    args = ["-m", "orchestrator.cli", "sweep", str(write(tmp_path, SHARED)), "--storage", str(tmp_path / "results")]
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = Ledger(str(tmp_path / "results")).read("evaluate").to_pylist()
    assert {row["device"] for row in rows} == {torch.cuda.get_device_name(0)}
    assert all(row["device_memory_mb"] > 0 for row in rows)
    spans = sorted((row["started"], row["finished"]) for row in rows)
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans)), "two at a time"
    tell(f"two trials on one GPU: {max(row['device_memory_mb'] for row in rows):.0f} MB each at most")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
def test_a_share_of_a_gpu_bounds_the_memory_and_memory_comes_back(device: torch.device) -> None:
    whole = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(0.25)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(whole // 2, dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved(device) < whole // 4
