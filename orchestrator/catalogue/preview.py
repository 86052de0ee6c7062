"""What a data set looks like: its labels by shot region, and some training rows of every region."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from orchestrator.errors import BadInput
from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import REGION_COLOURS
from orchestrator.report.figures.label_histogram import histogram
from workloads.labels import REGIONS
from workloads.workload import Data, DataError, Maps, Workload, images_of

SHOWN: Final = 5
"""Rows of a region."""
NUMBERS: Final = 6
"""Numbers shown of a row that is neither a picture nor text."""


@dataclass(frozen=True)
class Sample:
    """A training label, and the inputs `x` `[…]` of its row, with its `words` where the data set describes rows.

    Where labels are maps, `pixel` is its place in the map, as shares of height and width.
    """

    region: str
    row: int
    label: str
    x: Tensor
    words: str = ""
    pixel: tuple[float, float] | None = None

    def __str__(self) -> str:
        place = f"row {self.row}" if self.pixel is None else f"image {self.row}"
        return f"{self.region:7} {place}: {self.label} ← {self.words or self._numbers()}"

    @property
    def is_picture(self) -> bool:
        """Whether the inputs are channels of an image, `[C, H, W]`."""
        return self.x.dim() == 3

    def _numbers(self) -> str:
        shape = "×".join(map(str, self.x.shape))
        if self.is_picture:
            return f"a picture ({shape})"
        values = ", ".join(f"{value:.3g}" for value in self.x.flatten()[:NUMBERS].tolist())
        return f"[{values}, …] ({shape})"


def preview(workload: Workload, root: Path | None, target: Path) -> list[Sample]:
    """Draw labels and pictures into a PNG, and return the samples; raises BadInput for data that cannot be read."""
    try:
        data = workload.load(root)
    except DataError as err:
        raise BadInput(f"workload {workload.name}: {err}") from None
    found = samples(workload, data)
    sink = io.BytesIO()
    _figure(workload, data, found).savefig(sink, format="png", dpi=120, bbox_inches="tight")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(sink.getvalue())
    except OSError as err:
        raise BadInput(f"the PNG must be written to {target}: {err.strerror}; choose another place by --out") from None
    return found


def samples(workload: Workload, data: Data) -> list[Sample]:
    """Training labels of every region, evenly spaced; where labels are maps, those of different images."""
    where, images = workload.regions(data, data.train), images_of(data.train)
    found = []
    for place, region in enumerate(REGIONS):
        labels = np.flatnonzero(where == place)
        if images is not None:
            _, first, count = np.unique(images[labels], return_index=True, return_counts=True)
            labels = labels[first + count // 2]
        kept = min(len(labels), SHOWN)
        spaced = labels[np.arange(kept) * len(labels) // max(kept, 1)]
        found += [_sample(workload, data, region, int(number)) for number in spaced]
    return found


def _sample(workload: Workload, data: Data, region: str, number: int) -> Sample:
    train, row, pixel = data.train, number, None
    if isinstance(train, Maps):
        height, width = train.shape
        row, place = divmod(int(train.at[number]), height * width)
        pixel = ((place // width + 0.5) / height, (place % width + 0.5) / width)
    y = float(train.y[number])
    label = f"class {y:g}" if workload.task == "classification" else f"{y:g} {workload.unit}".strip()
    x = train.inputs(torch.tensor([row]), torch.device("cpu"))[0]
    return Sample(region, row, label, x, "" if data.describe is None else data.describe(row), pixel)


def _figure(workload: Workload, data: Data, found: Sequence[Sample]) -> Figure:
    """The histogram, and below it a line of pictures for every region that has some."""
    pictures = {region: [s for s in found if s.region == region and s.is_picture] for region in REGIONS}
    lines = [shown for shown in pictures.values() if shown]
    figure = Figure(figsize=(7.5, 2.6 + 1.6 * len(lines)), layout="constrained")
    grid = figure.add_gridspec(1 + len(lines), SHOWN, height_ratios=[2.6, *[1.6] * len(lines)])
    histogram(figure.add_subplot(grid[0, :]), workload, data)
    for below, shown in enumerate(lines, start=1):
        for column, sample in enumerate(shown):
            _picture(figure.add_subplot(grid[below, column]), sample)
    return figure


def _picture(axes: Axes, sample: Sample) -> None:
    pixels = _visible(sample.x)
    axes.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None)
    if sample.pixel is not None:
        down, right = (share * side - 0.5 for share, side in zip(sample.pixel, pixels.shape, strict=False))
        axes.plot(right, down, "o", markersize=6, markerfacecolor="none", color=REGION_COLOURS[sample.region])
    axes.set_title(figure_text(sample.label), fontsize=7, color=REGION_COLOURS[sample.region])
    axes.set_xticks([])
    axes.set_yticks([])


def _visible(x: Tensor) -> npt.NDArray[np.float32]:
    """Channels `[C, H, W]` as `[H, W, 3]`, or `[H, W]` of one or two, in 0 … 1: bytes as they are, others spread."""
    values = x.float()[:3] if len(x) >= 3 else x.float()[:1]
    if x.dtype == torch.uint8:
        values = values / 255.0
    else:
        low, high = values.min(), values.max()
        values = (values - low) / (high - low).clamp(min=1e-9)
    shown: npt.NDArray[np.float32] = values.permute(1, 2, 0).squeeze(2).numpy()
    return shown
