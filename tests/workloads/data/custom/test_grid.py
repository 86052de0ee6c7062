"""Bins of custom labels: every label is in one, and there are not too many of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from own import csv, own, told
from workloads.data.custom.bins import BINS
from workloads.data.custom.grid import grid_of
from workloads.data.custom.rows import build
from workloads.workload import DataError

WIDTHS = (0.1, 0.2, 0.3, 0.7, 1.0, 6.0, 1e-6, 1e-9)


@example(17, 0.1)
@example(34, 0.1)
@example(39, 0.1)
@example(68, 0.1)
@given(st.integers(-1000, 1000), st.sampled_from(WIDTHS))
def test_the_smallest_label_is_accepted_and_is_in_the_first_bin(start: int, width: float) -> None:
    for smallest in (start * width, float(f"{start * width:.12g}"), start / (1 / width)):
        y = np.array([smallest + width * step for step in (0, 1, 2, 2.5, 5)])
        grid = grid_of(own(Path("x.csv"), bin_width=width), y, Path("x.csv"))
        assert grid.low <= smallest < grid.low + grid.width
        assert grid.high >= y.max()
        assert grid.bins == 6
        assert grid.width == pytest.approx(width)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.floats(1e-6, 1e6),
)
def test_labels_have_bins_or_one_message(labels: list[float], width: float) -> None:
    y = np.array(labels)
    try:
        grid = grid_of(own(Path("x.csv"), bin_width=width), y, Path("x.csv"))
    except DataError as err:
        assert len(err.problems) == 1 and np.ptp(y) / width > BINS / 2
        return
    assert grid.bins <= BINS and grid.low <= y.min() and grid.high >= y.max()


def test_labels_far_from_zero_have_as_many_bins_as_near_it(tmp_path: Path) -> None:
    for offset in (0.0, 4_600_000.0, 1e9):
        y = np.array([offset + step / 10 for step in range(10)] * 6)
        grid = grid_of(own(Path("x.csv"), bin_width=0.1), y, Path("x.csv"))
        assert (grid.low, grid.bins) == (offset, 10)


@pytest.mark.parametrize(
    ("labels", "declared", "said"),
    [
        ([0, 1, 2, 3, 4, 5e9], {}, "bin_width 1 makes 5,000,000,000 bins from 0 to 5e+09, at most 262,144"),
        ([0, 1, 2, 3, 4], {"bin_width": 1e-9}, "bin_width 1e-09 makes 4,000,000,000 bins"),
        ([0, 1, 2, 3, 4], {"bin_width": 5e-324}, "makes inf bins from 0 to 4"),
        ([0, 1, 2, 3, 1e300], {}, "bin_width 1 makes 1e+300 bins"),
        ([-1.7e308, 0, 1, 2, 1.7e308], {}, "bin_width 1 makes inf bins"),
        ([1e17, 1e17 + 64], {}, "bin_width 1 is less than what numbers near 1e+17 can tell apart"),
        ([0, 1, 2], {"low": -1e9}, "bin_width 1 makes 1,000,000,002 bins"),
    ],
)
def test_too_many_bins_are_told_with_the_row_that_makes_them(
    tmp_path: Path, labels: list[float], declared: dict[str, float], said: str
) -> None:
    path = csv(tmp_path, "x,y", [f"{row},{label!r}" for row, label in enumerate(labels)])
    (problem,) = told(own(path, **declared))
    assert said in problem
    assert "give another bin_width, or low and high" in problem
    if labels[-1] == 5e9:
        assert problem.endswith("Row 6 has the label that is farthest from the others: y = 5e+09")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 5, "high": 5}, "low < high must hold: got 5 and 5"),
        ({"low": 0, "high": 1e9}, "bin_width 1 makes 1,000,000,000 bins from 0 to 1e\\+09"),
        ({"low": -1.7e308, "high": 1.7e308}, "makes inf bins"),
    ],
)
def test_a_declaration_of_too_many_bins_is_refused_before_any_file_is_read(
    changes: dict[str, float], message: str
) -> None:
    for kind in ("table", "arrays", "images", "maps"):
        with pytest.raises(ValueError, match=message):
            own(Path("x.csv"), type=kind, **changes)


def test_labels_at_the_edges_of_bins_of_a_tenth_make_a_workload(tmp_path: Path) -> None:
    path = csv(tmp_path, "x,y", [f"{row % 7},{1.7 + row % 5 / 10:.1f}" for row in range(30)])
    made = build(own(path, bin_width=0.1), None)
    assert (made.grid.low, made.grid.bins) == (1.7, 5)
    assert made.bin_counts(made.load(None)).tolist() == [2] * 5
