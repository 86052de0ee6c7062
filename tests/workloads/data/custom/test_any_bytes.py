"""Whatever bytes a file has: data, or one message within bounds; never another exception."""

import io
import resource
import time
import warnings
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from own import inputs, labels, own
from workloads.data.custom.rows import build
from workloads.data.custom.schema import CustomData
from workloads.workload import DataError

ROWS = 30
MEMORY: int = 1 << 30
"""More than a file of a few kilobytes may take."""
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAILSWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path


def check(declared: CustomData) -> None:
    """Data of finite numbers, or messages that a terminal shows; soon, and without much memory."""
    began, held = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        data = build(declared, None).load(None)
    except DataError as err:
        text = "\n".join(err.problems)
        assert 0 < len(err.problems) <= 60
        assert all(line.isprintable() and len(line) < 2_000 for line in err.problems), text
    else:
        for split in (data.train, data.val, data.test):
            assert len(split.y) > 0 and np.isfinite(split.y.numpy()).all()
            assert np.isfinite(inputs(split).float().numpy()).all()
    assert time.monotonic() - began < 20
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) < MEMORY


def changed(content: bytes, changes: list[tuple[int, int]], cut: float) -> bytes:
    """Content with some of its bytes replaced, cut off."""
    made = bytearray(content)
    for place, value in changes:
        made[place % len(made)] = value
    return bytes(made[: max(1, round(len(made) * cut))])


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6)
CUT = st.one_of(st.just(1.0), st.floats(0.0, 1.0))
CELLS = st.one_of(
    st.sampled_from(
        ["", "?", "-", "NA", "nan", "inf", "-inf", "1e999", "0.1", "1", "true", "False", "2020-01-01", '"']
    ),
    st.floats(width=64).map(repr),
    st.integers().map(str),
    st.text(max_size=6),
    st.text(alphabet="\x00\x1b\t\r\n,;\"'é", max_size=4),
)


@fuzz
@given(st.sampled_from([".csv", ".tsv", ".parquet"]), st.binary(max_size=2000))
@example(".csv", b"x,y\n" + b"1," * 3_000_000)
@example(".csv", b"\xef\xbb\xbf")
@example(".csv", b"\x00" * 5000)
@example(".csv", b'"')
@example(".csv", b"y" * 20_000_000)
def test_any_bytes_are_a_table_or_messages(folder: Path, suffix: str, content: bytes) -> None:
    path = folder / f"data{suffix}"
    path.write_bytes(content)
    check(own(path))


@fuzz
@given(
    st.lists(CELLS, min_size=1, max_size=4),
    st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=8),
    st.sampled_from([".csv", ".tsv"]),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
)
def test_any_cells_are_a_table_or_messages(
    folder: Path, names: list[str], rows: list[list[str]], suffix: str, code: str
) -> None:
    mark = "," if suffix == ".csv" else "\t"
    lines = [mark.join(["y", *names]), *(mark.join([str(at % 3), *row]) for at, row in enumerate(rows * 4))]
    path = folder / f"data{suffix}"
    path.write_bytes("\n".join(lines).encode(code, errors="replace"))
    check(own(path))


KINDS = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string()),
    *(pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary(3), pa.date32(), pa.date64()),
    *(pa.time32("s"), pa.time64("ns"), pa.timestamp("us"), pa.timestamp("ns", "Europe/Berlin"), pa.duration("ms")),
    *(pa.decimal32(5, 2), pa.decimal64(12, 3), pa.decimal128(30, 10), pa.decimal256(70, 20)),
    *(pa.list_(pa.float64()), pa.large_list(pa.string()), pa.list_(pa.int8(), 2), pa.struct([("a", pa.int64())])),
    *(pa.map_(pa.string(), pa.int8()), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64())),
]


def cells(draw: Any, kind: pa.DataType, rows: int) -> pa.Array:
    """Cells of a type: any bits where they have a fixed width, else a few values; some of them null."""
    gaps = draw(st.sampled_from([0.0, 0.3, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    missing = rng.random(rows) < gaps
    if pa.types.is_dictionary(kind):
        values = cells(draw, kind.value_type, 4)
        index = pa.array(rng.integers(0, 4, rows), kind.index_type, mask=missing)
        values = values.fill_null("a" if pa.types.is_string(kind.value_type) else 0)
        return pa.DictionaryArray.from_arrays(index, values)
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return pa.array([None] * rows, kind)
    if pa.types.is_decimal(kind):
        made = [Decimal(int(value)) / 10 for value in rng.integers(-999, 999, rows)]
        return pa.array([None if gap else value for gap, value in zip(missing, made, strict=True)], kind)
    if pa.types.is_boolean(kind):
        return pa.array(rng.random(rows) < 0.5, kind, mask=missing)
    try:
        width = kind.bit_width
    except ValueError:
        texts = draw(st.lists(CELLS, min_size=1, max_size=5))
        picked = [texts[at] for at in rng.integers(0, len(texts), rows)]
        binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        made = [text.encode("utf-8", "replace") if binary else text for text in picked]
        return pa.array([None if gap else value for gap, value in zip(missing, made, strict=True)], kind)
    bits = rng.bytes(rows * width // 8)
    valid = pa.array(~missing).buffers()[1]
    array = pa.Array.from_buffers(kind, rows, [valid, pa.py_buffer(bits)])
    if pa.types.is_date64(kind) or pa.types.is_time(kind):  # which may not have any bits
        array = pa.array(rng.integers(0, 80_000, rows) * (86_400_000 if kind == pa.date64() else 1), mask=missing)
        array = array.cast(pa.int32() if kind == pa.time32("s") else pa.int64()).view(kind)
    return array


@settings(fuzz, max_examples=120)
@given(st.data())
def test_any_values_of_any_arrow_type_are_a_table_or_messages(folder: Path, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    columns = {f"c{at}": cells(data.draw, kind, ROWS) for at, kind in enumerate(kinds)}
    path = folder / "data.parquet"
    pyarrow.parquet.write_table(pa.table({"y": labels(ROWS), "x": list(range(ROWS)), **columns}), path)
    role = data.draw(st.sampled_from(["inputs", "target", "group", "split"]))
    check(own(path) if role == "inputs" else own(path, **{role: "c0"}))


@fuzz
@given(CHANGES, CUT)
def test_a_damaged_parquet_file_is_a_table_or_messages(
    folder: Path, changes: list[tuple[int, int]], cut: float
) -> None:
    path = folder / "data.parquet"
    words = ["a", "b", None] * (ROWS // 3)
    pyarrow.parquet.write_table(pa.table({"y": labels(ROWS), "x": list(range(ROWS)), "w": words}), path)
    path.write_bytes(changed(path.read_bytes(), changes, cut))
    check(own(path))


@fuzz
@given(CHANGES, CUT, st.booleans())
def test_a_damaged_npz_is_data_or_messages(
    folder: Path, changes: list[tuple[int, int]], cut: float, packed: bool
) -> None:
    path = folder / "data.npz"
    (np.savez_compressed if packed else np.savez)(path, x=np.arange(ROWS * 2.0).reshape(ROWS, 2), y=labels(ROWS))
    path.write_bytes(changed(path.read_bytes(), changes, cut))
    check(own(path, type="arrays"))


@fuzz
@given(CHANGES, CUT, st.binary(max_size=300))
def test_a_damaged_array_in_a_whole_npz_is_data_or_messages(
    folder: Path, changes: list[tuple[int, int]], cut: float, tail: bytes
) -> None:
    sink = io.BytesIO()
    np.save(sink, np.arange(ROWS * 2.0).reshape(ROWS, 2))
    path = folder / "data.npz"
    np.savez(path, y=labels(ROWS))
    changes = [(place % 128, value) for place, value in changes]  # the header, where shape and type stand
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", changed(sink.getvalue(), changes, cut) + tail)
    check(own(path, type="arrays"))


@settings(fuzz, max_examples=25)
@given(CHANGES, CUT, st.sampled_from([".npy", ".png", ".tif"]))
def test_a_damaged_map_is_data_or_messages(
    folder: Path, changes: list[tuple[int, int]], cut: float, suffix: str
) -> None:
    from PIL import Image

    values = np.arange(1, 65, dtype=np.uint16).reshape(8, 8)
    for row in range(4):
        Image.fromarray(values.astype(np.uint8)).save(folder / f"{row}.png")
        path = folder / f"{row}d{suffix}"
        np.save(path, values) if suffix == ".npy" else Image.fromarray(values).save(path)
    path.write_bytes(changed(path.read_bytes(), changes, cut))
    table = folder / "data.csv"
    table.write_text("file,d\n" + "".join(f"{row}.png,{row}d{suffix}\n" for row in range(4)))
    declared = own(table, type="maps", target="d", low=0, high=70, size=8, map_size=8, bin_width=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow's, of files that it reads all the same
        check(declared)


def test_a_page_that_holds_a_long_word_once_for_all_rows_takes_little_memory(folder: Path) -> None:
    rows, word = 40_000, "w" * 100_000  # 4 GB, were it written out for every row
    path = folder / "data.parquet"
    once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([word])).cast(
        pa.dictionary(pa.int32(), pa.string())
    )
    values = (np.arange(rows) % 5).astype(float)
    table = pa.table({"y": values, "x": values, "w": once})
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), path, store_schema=False)
    assert path.stat().st_size < 1 << 20
    check(own(path))


def test_a_file_of_more_than_is_read_is_refused_without_reading_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workloads.data.custom.tables.LARGEST", 1 << 20)
    path = folder / "data.parquet"
    zeros = np.zeros(100_000, np.int8)
    pyarrow.parquet.write_table(pa.table({"x": zeros, "y": zeros}), path)
    assert path.stat().st_size < 5_000
    with pytest.raises(DataError, match=r"100,000 rows × 2 columns take 0\.0 GB, and at most 0\.0 GB are read"):
        build(own(path), None)
    path = folder / "data.csv"
    path.write_text("x,y\n" + "1,2\n" * 300_000)
    with pytest.raises(DataError, match=r"it has 0\.0 GB, and at most 0\.0 GB are read"):
        build(own(path), None)
