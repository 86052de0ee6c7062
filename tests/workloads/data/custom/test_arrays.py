"""Custom arrays: plain real numbers of a bounded size, or one message."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from own import inputs, labels, loaded, own, told
from workloads.data.custom.arrays import LARGEST, read_npy
from workloads.workload import DataError

ROWS = 60
X = np.random.default_rng(0).normal(size=(ROWS, 4))


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **{"x": X, "y": labels(), **arrays})
    return path


def declared(path: Path, **changes: Any) -> Any:
    return own(path, type="arrays", **changes)


def header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def zipped(folder: Path, **members: bytes) -> Path:
    path = folder / "data.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.asarray(array))
    return sink.getvalue()


def test_arrays_of_every_real_type_are_read_as_the_same_numbers(tmp_path: Path) -> None:
    whole = np.arange(ROWS * 4).reshape(ROWS, 4) ** 2 % 23
    wanted = inputs(loaded(declared(npz(tmp_path, x=whole))).train)
    for kind in ("u1", "i2", "<i8", ">f8", ">i4", "f2", "f4", "longdouble"):
        assert torch.equal(inputs(loaded(declared(npz(tmp_path, x=whole.astype(kind)))).train), wanted), kind
    assert torch.equal(inputs(loaded(declared(npz(tmp_path, x=np.asfortranarray(whole)))).train), wanted)
    assert torch.equal(inputs(loaded(declared(npz(tmp_path, x=whole.astype("m8[s]")))).train), wanted)


def test_a_duration_that_is_missing_is_a_gap(tmp_path: Path) -> None:
    gapped = X.round(1) * 10
    gapped[5, 1] = np.nan
    lapse = np.where(np.isnan(gapped), np.timedelta64("NaT"), gapped.astype("m8[s]"))
    found, wanted = (inputs(loaded(declared(npz(tmp_path, x=x))).train) for x in (lapse, gapped.round()))
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": X + 1j}, "array 'x' must hold real numbers: got complex128"),
        ({"y": np.array(labels()) + 1j}, "array 'y' must hold real numbers: got complex128"),
        ({"x": X.astype("U8")}, "array 'x' must hold real numbers: got <U8"),
        ({"x": X.astype("M8[s]")}, "array 'x' must hold real numbers: got datetime64[s]"),
        ({"x": np.array(1.0)}, "array 'x' must have one row each: got a single number"),
        ({"y": np.array(1.0)}, "got shape []"),
        ({"y": np.array(labels())[:, None]}, "array 'y' must hold one number or word for each row: got shape [60, 1]"),
        ({"x": X[:, :0]}, "array 'x' has no columns: it is [60, 0]"),
        ({"x": X[:0], "y": labels()[:0]}, "array 'x' has no rows: it is [0, 4]"),
        ({"x": X[:9]}, "arrays must have one row each: got {'x': 9, 'y': 60}"),
        ({"y": np.array(labels()).astype("m8[s]")}, "column 'y' must hold numbers: got duration[s]"),
        ({"y": np.array(labels()).astype("M8[D]")}, "column 'y' must hold numbers: got date32[day]"),
        ({"y": np.where(np.arange(ROWS) == 3, np.nan, labels())}, "row 4: y is nan"),
        ({"x": np.full((ROWS, 4), np.nan)}, "no column of inputs varies"),
        ({"x": np.zeros(ROWS, [("a", "f8")])}, "an array must hold plain numbers or text"),
        ({"x": np.array([{}] * ROWS)}, "an array must hold plain numbers or text"),
        ({"x": np.zeros((ROWS, 4), "V8")}, "an array must hold plain numbers or text"),
    ],
)
def test_arrays_that_are_no_rows_of_real_numbers_are_told(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    (problem,) = told(declared(npz(tmp_path, **changes)))
    assert said in problem and str(tmp_path) in problem


@pytest.mark.parametrize("encoder", ["mlp", "conv1d"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_numbers_that_are_not_finite_are_told_with_their_row_and_place(tmp_path: Path, kind: str, encoder: str) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 2, 5))
    with np.errstate(over="ignore"):
        x[[3, 44], 1, 2] = 1e39 if kind != "f8" else np.inf  # beyond what half and single floats hold
        path = npz(tmp_path, x=x.astype(kind))
    assert told(declared(path, encoder=encoder)) == tuple(f"{path}: row {row}: x[1, 2] is inf" for row in (4, 45))


def test_a_number_that_is_too_far_from_those_of_training_is_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 2, 5))
    x[1, 1, 2] = 1e200
    path = npz(tmp_path, x=x, part=np.array(["train", "val", "test"] * (ROWS // 3)))
    for encoder, name in (("mlp", "x[7]"), ("conv1d", "channel 1")):
        (problem,) = told(declared(path, encoder=encoder, split="part"))
        assert f"row 2: {name} is too far from the numbers of the training rows" in problem


@pytest.mark.parametrize("value", [0.1, 1e15])
def test_a_channel_that_is_the_same_but_for_rounding_is_zero_and_noted(tmp_path: Path, value: float) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 3, 5))
    x[:, 1] = value * (1 + 2**-52 * (np.arange(ROWS) % 2))[:, None]
    x[59, 1], x[:, 2] = 2 * value, np.nan
    part = np.array(["train"] * 41 + ["val"] * 9 + ["test"] * 10)
    data = loaded(declared(npz(tmp_path, x=x, part=part), split="part", encoder="conv1d"))
    assert inputs(data.test)[:, 1:].abs().max() == 0 < inputs(data.test)[:, 0].abs().max()
    assert data.notes == ("0 throughout, for they do not vary on the training rows: channels 1, 2",)
    (problem,) = told(declared(npz(tmp_path, x=x[:, 1:], part=part), split="part", encoder="conv1d"))
    assert "no channel of inputs varies on the training rows; there are 2" in problem


def test_splits_and_groups_may_be_text_or_numbers(tmp_path: Path) -> None:
    part, people = np.array(["train", "train", "val", "test"] * 15), np.arange(ROWS) // 4 + np.arange(ROWS) % 4 * 100
    for kind in ("U8", "S8"):
        data = loaded(declared(npz(tmp_path, part=part.astype(kind), p=people), split="part", group="p"))
        assert len(data.train.y) == 30
    (problem, *_) = told(declared(npz(tmp_path, part=np.array([b"\xff"] * ROWS)), split="part"))
    assert "array 'part' must hold one number or word for each row" in problem


def broken(folder: Path) -> dict[str, bytes]:
    """Files that are no NPZ of plain arrays, in many ways."""
    whole = npz(folder).read_bytes()
    flipped = bytearray(whole)
    flipped[500] ^= 1
    locked = bytearray(whole)
    for at in (6, whole.rindex(b"PK\x01\x02") + 8):
        locked[at] |= 1  # says that it takes a password
    members = {
        "text": b"no array",
        "lies": header("(1000000000000,)") + bytes(480),
        "overflows": header(f"({2**62}, {2**62})") + bytes(480),
        "negative": header("(-60, 4)") + bytes(480),
        "many zeros": header("(60, 4)") + bytes(60 * 4 * 8 + 1),
        "short": header("(60, 4)") + bytes(7),
        "bad header": header("(60, 4"),
        "no header": b"\x93NUMPY\x01\x00",
        "version 3": b"\x93NUMPY\x03\x00" + header("(60, 4)")[8:],
        "empty text": header("(60, 4)", "<U0"),
        "long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31) + b"{" * 1000,
        "pickled": npy(X)[:10] + b"(lp0\n.",
    }
    found = {name: zipped(folder, x=content, y=npy(labels())).read_bytes() for name, content in members.items()}
    files = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "npy": npy(X),
        "text file": b"x,y",
    }
    return {**found, **files, "locked": bytes(locked), "zip of nothing": b"PK\x05\x06" + bytes(18)}


def test_a_broken_npz_is_told_in_one_message(tmp_path: Path) -> None:
    for name, content in broken(tmp_path).items():
        path = tmp_path / "broken.npz"
        path.write_bytes(content)
        problems = told(declared(path))
        assert len(problems) == (2 if name == "zip of nothing" else 1), name
        law = "array 'x' is missing" if name == "zip of nothing" else "must be an NPZ of plain arrays: "
        assert f"{path}: {law}" in problems[0] and len(problems[0]) < 600, name


def test_what_would_unpack_to_more_than_is_read_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    size = 2 * LARGEST
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("y.npy", npy(labels()))
        archive.writestr("x.npy", header(f"(60, {size // 480})") + bytes(1 << 20))
    tracemalloc.start()
    (problem,) = told(declared(path))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert "takes 8.6 GB, and at most 4.3 GB are read" in problem


def test_only_the_arrays_that_are_named_are_read(tmp_path: Path) -> None:
    path = zipped(tmp_path, x=npy(X), y=npy(labels()), other=header(f"({2**40},)"), text=b"notes")
    assert len(loaded(declared(path)).train.y) > 0
    (problem,) = told(declared(path, target="z"))
    assert problem == f"{path}: array 'z' is missing; the file has x, y, other, text"


def test_an_npy_file_is_read_in_any_order_and_empty(tmp_path: Path) -> None:
    for array in (X, np.asfortranarray(X), X.astype(">f4"), np.zeros((0, 3)), np.array(2.0), X.astype("U4")):
        assert np.array_equal(read_npy(io.BytesIO(npy(array))), array)


def test_memory_errors_of_a_reader_are_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(stream: object) -> object:
        raise MemoryError

    monkeypatch.setattr("workloads.data.custom.arrays.read_npy", none)
    with pytest.raises(DataError, match="must be an NPZ of plain arrays: MemoryError"):
        loaded(declared(npz(tmp_path)))
