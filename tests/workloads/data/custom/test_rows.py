from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from workloads.data.custom.rows import build, load
from workloads.data.custom.schema import CustomData, kind_of
from workloads.data.split import balanced_split, grouped_split
from workloads.workload import DataError

ROWS = 400


def columns() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS)
    return {
        "x": x,
        "sex": np.where(rng.random(ROWS) < 0.5, "f", "m"),
        "subject": rng.integers(0, 150, ROWS),
        "y": (5 + x + rng.normal(size=ROWS)).clip(0, 10).round(1),
    }


def own(path: Path, **changes: Any) -> CustomData:
    tree = {"name": "mine", "type": "table", "file": str(path), "target": "y", "bin_width": 1.0, **changes}
    return kind_of(tree).model_validate(tree)


def table(folder: Path, suffix: str = ".csv", **changes: Any) -> Path:
    path = folder / f"data{suffix}"
    made = pa.table({**columns(), **changes})
    pyarrow.parquet.write_table(made, path) if suffix == ".parquet" else pyarrow.csv.write_csv(made, path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_becomes_a_workload_with_words_as_columns(tmp_path: Path, suffix: str) -> None:
    made = build(own(table(tmp_path, suffix), drop=("subject",)), None)
    data = made.load(None)
    assert (made.grid.low, made.grid.width) == (0.0, 1.0)
    assert len(data.train.y) + len(data.val.y) + len(data.test.y) == ROWS
    _, dim = made.encoder(data)
    assert dim == 64
    import torch

    assert data.train.inputs(torch.tensor([0]), torch.device("cpu")).shape == (1, 3)  # x, sex=f, sex=m


def test_arrays_of_any_shape_are_flattened(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "data.npz"
    np.savez(path, signal=np.random.default_rng(0).normal(size=(ROWS, 2, 5)), y=columns()["y"])
    data = load(own(path, type="arrays", inputs="signal"), None)
    assert data.train.inputs(torch.tensor([0, 1]), torch.device("cpu")).shape == (2, 10)


def test_the_file_is_found_below_the_data_root_and_its_place_is_not_part_of_its_identity(tmp_path: Path) -> None:
    path = table(tmp_path)
    assert load(own(Path("data.csv")), tmp_path).fingerprint == load(own(path), None).fingerprint
    assert load(own(path, cap=3), None).fingerprint != load(own(path), None).fingerprint


def test_a_split_column_is_followed(tmp_path: Path) -> None:
    split = np.array(["train", "val", "test", "train"] * (ROWS // 4))
    data = load(own(table(tmp_path, split=split), split="split"), None)
    assert (len(data.train.y), len(data.val.y), len(data.test.y)) == (200, 100, 100)


def test_held_out_rows_are_balanced_and_always_the_same() -> None:
    bins = np.repeat([0, 1, 2, 3], [200, 60, 9, 2])
    train, val, test = balanced_split(bins, 10, "name")
    assert np.bincount(bins[val], minlength=4).tolist() == [10, 10, 3, 0]
    assert np.bincount(bins[test], minlength=4).tolist() == [10, 10, 3, 0]
    assert sorted([*train, *val, *test]) == list(range(len(bins)))
    assert all((a == b).all() for a, b in zip(balanced_split(bins, 10, "name"), (train, val, test), strict=True))
    assert (balanced_split(bins, 10, "other")[1] != val).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_in_two_splits_and_no_bin_beyond_its_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bins, groups = rng.integers(0, 8, 600), rng.integers(0, 250, 600)
    parts = grouped_split(bins, groups, 10, "name")
    assert sorted(np.concatenate(parts)) == list(range(600))
    seen = [set(groups[part]) for part in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    quota = np.minimum(np.bincount(bins) // 3, 10)
    for part in parts[1:]:
        assert len(part) > 0
        assert (np.bincount(bins[part], minlength=8) <= quota).all()


@pytest.mark.parametrize(
    ("changes", "declared", "message"),
    [
        ({}, {"target": "z"}, "column 'z' is missing; the file has x, sex, subject, y"),
        ({}, {"file": "nowhere.csv"}, "nowhere.csv is missing; give its path"),
        ({"y": np.r_[np.nan, np.ones(ROWS - 1)]}, {}, "row 1: y is nan"),
        ({"y": np.array(["a"] * ROWS)}, {}, "column 'y' must hold numbers"),
        ({}, {"low": 4.0, "high": 6.0}, r"row \d+: y = .* lies outside 4 … 6"),
        ({"sex": np.arange(ROWS).astype(str)}, {}, None),
        ({"sex": np.array([f"id{n}" for n in range(ROWS)])}, {}, "column 'sex' has 400 distinct words, at most 50"),
        ({"s": np.array(["train"] * ROWS)}, {"split": "s"}, "the val split is empty"),
        ({"s": np.array(["trian"] * ROWS)}, {"split": "s"}, "row 1: s must be one of train, val, test: got 'trian'"),
        ({"s": np.array(["train", "val"] * (ROWS // 2))}, {"split": "s", "group": "subject"}, "in more than one split"),
        ({}, {"drop": ("x", "sex", "subject")}, "no column of inputs varies"),
    ],
)
def test_bad_data_is_named_by_file_and_row(
    tmp_path: Path, changes: dict[str, Any], declared: dict[str, Any], message: str | None
) -> None:
    path = table(tmp_path, **changes)
    if message is None:  # numbers that were written as text are numbers in a CSV
        load(own(path, **declared), None)
        return
    with pytest.raises(DataError, match=message):
        load(own(path, **declared), None)


def test_an_archive_with_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{"a": 1}] * 9, dtype=object), y=np.arange(9.0))
    with pytest.raises(DataError, match="must be an NPZ of plain arrays"):
        load(own(path, type="arrays"), None)


def test_every_bad_label_is_in_one_report(tmp_path: Path) -> None:
    y = columns()["y"]
    y[[3, 7, 11]] = np.nan
    with pytest.raises(DataError) as caught:
        load(own(table(tmp_path, y=y)), None)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == ["row 4", "row 8", "row 12"]


def test_a_declaration_keeps_the_identity_that_it_had_before_there_were_more_keys() -> None:
    assert own(Path("a.csv"), drop=["z"], title="t", encoder="mlp", hidden=[128, 64]).identity() == (
        "Own(name='mine', type='table', file='', target='y', bin_width=1.0, low=None, high=None, inputs='x', "
        "split=None, group=None, drop=('z',), cap=10, many=100, few=20, hidden=(128, 64), title='', unit='')"
    )
    assert own(Path("a.npz"), type="arrays", encoder="lstm").identity().endswith("unit='', encoder='lstm')")
