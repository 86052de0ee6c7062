"""Columns of every Arrow type: the values and gaps that a plain column of the same content has, or one message."""

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from own import ROWS, csv, inputs, labels, loaded, own, parquet, told
from workloads.data.custom.arrow import coded
from workloads.data.custom.columns import WORDS

X = [float(row * row % 17) for row in range(ROWS)]
GAPPED = [None if row % 3 == 0 else float(row % 7) for row in range(ROWS)]
WORDED = [None if row % 3 == 0 else "abc"[row % 7 % 3] for row in range(ROWS)]


def same(folder: Path, cells: Any, control: Any) -> None:
    """A column of any type gives the inputs that plain numbers or strings give."""
    found = loaded(own(parquet(folder, x=X, c=cells)))
    wanted = loaded(own(parquet(folder, x=X, c=control)))
    for part in ("train", "val", "test"):
        assert torch.equal(inputs(getattr(found, part)), inputs(getattr(wanted, part)))


def dictionary(values: list[Any], index: pa.DataType | None = None) -> pa.Array:
    return pa.array(values).dictionary_encode().cast(pa.dictionary(index or pa.int8(), pa.array(values).type))


@pytest.mark.parametrize(
    "cells",
    [
        dictionary(WORDED),
        dictionary(WORDED, pa.int64()),
        pa.array(WORDED, pa.large_string()),
        pa.array(WORDED, pa.string_view()),
        pa.array(WORDED, pa.binary()),
        pa.array(WORDED, pa.large_binary()),
        pa.array([None if word is None else word.encode() for word in WORDED], pa.binary(1)),
        pa.DictionaryArray.from_arrays(
            pa.array([None if word is None else "xabc".index(word) for word in WORDED]), pa.array(["never", *"abc"])
        ),
    ],
    ids=lambda cells: str(cells.type),
)
def test_a_missing_word_is_no_word_whatever_type_the_words_have(tmp_path: Path, cells: pa.Array) -> None:
    same(tmp_path, cells, WORDED)


def test_chunks_of_dictionaries_are_one_column_and_nulls_among_their_values_are_gaps() -> None:
    chunks = [
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2]), pa.array(["a", None, "b"])),
        pa.DictionaryArray.from_arrays(pa.array([1, 1, 0]), pa.array(["b", "c"])),
        pa.DictionaryArray.from_arrays(pa.array([], pa.int64()), pa.array(["never"])),
    ]
    codes, values = coded(pa.chunked_array(chunks))
    assert [None if code < 0 else values[code].as_py() for code in codes] == ["a", None, None, "b", "c", "c", "b"]
    assert sorted(values.to_pylist()) == ["a", "b", "c"]
    codes, values = coded(pa.chunked_array([], chunks[0].type))
    assert len(codes) == len(values) == 0


@pytest.mark.parametrize(
    "cells",
    [
        *(pa.array(GAPPED).cast(kind) for kind in (pa.int8(), pa.uint16(), pa.int64(), pa.float32(), pa.float16())),
        *(
            pa.array([None if v is None else Decimal(int(v)) for v in GAPPED], kind)
            for kind in (pa.decimal32(3, 1), pa.decimal64(9, 2), pa.decimal128(8, 3), pa.decimal256(50, 9))
        ),
        *(
            pa.array([None if v is None else int(v) for v in GAPPED], pa.duration(unit))
            for unit in ("s", "ms", "us", "ns")
        ),
        dictionary([None if v is None else int(v) for v in GAPPED]),
        dictionary(GAPPED),
        pa.array([np.nan if v is None else v for v in GAPPED]),
        pa.array([None if v is None else f" {v:g}" for v in GAPPED]),
    ],
    ids=lambda cells: str(cells.type),
)
def test_a_gap_is_a_gap_whatever_type_the_numbers_have(tmp_path: Path, cells: pa.Array) -> None:
    same(tmp_path, cells, GAPPED)


def test_decimals_are_the_nearest_numbers(tmp_path: Path) -> None:
    cells = [Decimal(row) / 1000 + Decimal("0.126") for row in range(ROWS)]
    same(tmp_path, pa.array(cells, pa.decimal128(8, 3)), [float(cell) for cell in cells])


def test_a_column_of_true_and_false_is_one_of_ones_and_zeros(tmp_path: Path) -> None:
    flags = [None if v is None else v > 3 for v in GAPPED]
    same(tmp_path, flags, [None if v is None else float(v) for v in flags])


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("ns"), pa.timestamp("s", "Europe/Berlin")])
def test_a_missing_date_is_no_word(tmp_path: Path, kind: pa.DataType) -> None:
    days = [None if row % 3 == 0 else datetime.date(2020, 1, 1 + row % 7) for row in range(ROWS)]
    same(tmp_path, pa.array(days).cast(kind), [None if day is None else str(day) for day in days])


def test_many_dates_are_told_with_their_type(tmp_path: Path) -> None:
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(row) for row in range(ROWS)]
    (problem,) = told(own(parquet(tmp_path, x=X, day=days)))
    assert "column 'day' has 60 distinct values of type date32[day], at most 50 make columns" in problem


UNREADABLE = {
    "list": pa.array([[1.0]] * ROWS),
    "struct": pa.array([{"a": 1}] * ROWS),
    "map": pa.array([[("a", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())),
    "null list": pa.array([None] * ROWS, pa.list_(pa.float64())),
    "fixed list": pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32(), 2)),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_cells_that_are_neither_numbers_nor_words_are_told_unless_they_are_dropped(tmp_path: Path, name: str) -> None:
    path = parquet(tmp_path, x=X, c=UNREADABLE[name])
    (problem,) = told(own(path))
    assert f"{path}: column 'c' holds " in problem and "neither numbers nor words; list it under drop" in problem
    assert inputs(loaded(own(path, drop=["c"])).train).shape[1] == 1
    (problem,) = told(own(path, target="c"))
    assert "column 'c' holds" in problem


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (problem,) = told(own(parquet(tmp_path, x=X, c=[b"\xff", b"a"] * (ROWS // 2))))
    assert "column 'c' holds bytes that are no UTF-8 text" in problem


def test_a_split_that_is_missing_is_told_with_its_row_whatever_type_the_column_has(tmp_path: Path) -> None:
    parts: list[str | None] = [("train", "val", "test")[row % 3] for row in range(ROWS)]
    parts[3] = parts[9] = None
    for cells in (parts, dictionary(parts)):
        path = parquet(tmp_path, x=X, part=cells)
        assert told(own(path, split="part")) == tuple(
            f"{path}: row {row}: part must be one of train, val, test: got None" for row in (4, 10)
        )


def test_rows_without_a_group_stay_together_and_are_noted(tmp_path: Path) -> None:
    people = [None if row % 10 == 0 else f"p{row // 2}" for row in range(ROWS)]
    for cells in (people, dictionary(people)):
        data = loaded(own(parquet(tmp_path, x=list(range(ROWS)), p=cells), group="p"))
        x = [inputs(part)[:, 0] for part in (data.train, data.val, data.test)]
        scaled = (torch.arange(0, ROWS, 10).double() - 29.5) / 17
        assert sum(len(part) > 0 for part in x) == 3 and len(scaled) == 6
        assert data.notes == ("column 'p': 6 rows without a name are kept together as one group",)


def test_groups_that_are_numbers_are_one_however_they_are_written(tmp_path: Path) -> None:
    lines = [
        f"{row},{row % 5},{'0' if row % 2 else ''}{row // 2},{'train' if row < 40 else 'val'}" for row in range(60)
    ]
    lines[59] = lines[59].replace("val", "test")
    path = csv(tmp_path, "x,y,p,part", lines)
    assert told(own(path, group="p", split="part")) == (f"{path}: p '29' lies in more than one split",)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "gap", ["?", "-", "NA", "n/a", "N/A", "NaN", "null", "None", "--", ".", " ", "#N/A", "missing"]
)
def test_a_stray_sign_for_a_gap_is_a_gap_where_the_rest_are_numbers(tmp_path: Path, gap: str, suffix: str) -> None:
    values = [None if row % 11 == 8 else row * row % 41 for row in range(ROWS)]
    written = [gap if value is None else str(value) for value in values]
    lines = [f"{x},{v},{y:g}" for x, v, y in zip(X, written, labels(), strict=True)]
    path = csv(tmp_path, "x,hp,y", lines) if suffix == ".csv" else parquet(tmp_path, x=X, hp=written)
    found, wanted = loaded(own(path)), loaded(own(parquet(tmp_path, x=X, hp=values)))
    assert torch.equal(inputs(found.train), inputs(wanted.train))
    assert torch.equal(inputs(found.test), inputs(wanted.test))
    if gap.strip():
        assert f"column 'hp': {gap} counts as a gap: the others are numbers" in found.notes


def test_a_slip_in_a_column_of_numbers_is_told_with_its_row(tmp_path: Path) -> None:
    lines = [f"{'<0.1' if row == 8 else row},{row % 5}" for row in range(ROWS)]
    path = csv(tmp_path, "hp,y", lines)
    (problem,) = told(own(path))
    assert problem.startswith(f"{path}: row 9: 'hp' is '<0.1' in a column of numbers")


def test_a_few_numbers_among_words_are_words_and_noted(tmp_path: Path) -> None:
    words = ["crew" if row % 4 == 0 else str(1 + row % 4) for row in range(ROWS)]
    path = csv(tmp_path, "c,y", [f"{word},{row // 4 % 5}" for row, word in enumerate(words)])
    data = loaded(own(path))
    assert inputs(data.train).shape[1] == 4
    assert data.notes == ("column 'c' holds numbers and words (row 1): each counts as a word",)


def test_a_word_that_means_a_gap_elsewhere_is_a_word_among_words(tmp_path: Path) -> None:
    path = csv(tmp_path, "c,y", [f"{('none', 'mild', 'NA')[row % 3]},{row % 5}" for row in range(ROWS)])
    assert inputs(loaded(own(path)).train).shape[1] == 3


@pytest.mark.parametrize("header", [",x,y", " ,x,y", "Unnamed: 0,x,y", "__index_level_0__,x,y"])
def test_the_index_that_pandas_writes_into_a_csv_is_no_input(tmp_path: Path, header: str) -> None:
    path = csv(tmp_path, header, [f"{row},{x},{row // 12}" for row, x in enumerate(X)])
    data = loaded(own(path))
    assert inputs(data.train).shape[1] == 1
    assert "is an index or has no name, and is no input" in data.notes[0]


@pytest.mark.parametrize("name", ["__index_level_0__", "patient"])
def test_the_index_that_pandas_writes_into_parquet_is_no_input_unless_it_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.parquet"
    table = pa.table({"x": X, "y": labels(), name: list(range(ROWS))})
    told_by_pandas = json.dumps({"index_columns": [name], "columns": [], "column_indexes": []})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"pandas": told_by_pandas}), path)
    data = loaded(own(path))
    assert inputs(data.train).shape[1] == 1 and repr(name) in data.notes[0]
    assert loaded(own(path, group=name)).notes == ()
    for broken in (b"{", b"[]", b'{"index_columns": 3}', b"\xff"):
        pyarrow.parquet.write_table(pa.table({"x": X, "y": labels()}).replace_schema_metadata({"pandas": broken}), path)
        assert loaded(own(path)).notes == ()


def test_a_dot_in_a_name_is_part_of_it_and_a_folder_with_an_equals_sign_brings_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "year=2020"
    folder.mkdir()
    path = parquet(folder, **{"a": X, "a.b": [value + row % 2 for row, value in enumerate(X)]})
    assert inputs(loaded(own(path)).train).shape[1] == 2


@pytest.mark.parametrize("header", ["x,y,x", "y,x,y", ",x,,y"])
def test_two_columns_of_one_name_are_told(tmp_path: Path, header: str) -> None:
    count = header.count(",") + 1
    path = csv(tmp_path, header, [",".join(str(row % 5 + at) for at in range(count)) for row in range(ROWS)])
    (problem,) = told(own(path))
    which = "have no name" if header.startswith(",") else f"are called '{header[0]}'"
    assert problem == f"{path}: 2 columns {which}; give each a name of its own"


def test_two_columns_of_one_name_in_parquet_are_told(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pa.table([pa.array(X), pa.array(labels()), pa.array(X)], ["x", "y", "x"]), path)
    assert told(own(path)) == (f"{path}: 2 columns are called 'x'; give each a name of its own",)


def test_a_column_that_is_called_as_a_word_of_another_stands_beside_it(tmp_path: Path) -> None:
    sex = ["f" if row % 2 else "m" for row in range(ROWS)]
    data = loaded(own(parquet(tmp_path, **{"sex=f": X, "sex": sex})))
    assert inputs(data.train).shape[1] == 3
    assert len({tuple(column.tolist()) for column in inputs(data.train).T}) == 3


@pytest.mark.parametrize("cell", ["inf", "-inf", "Infinity", "1e999"])
def test_a_cell_that_is_not_finite_is_told_with_file_row_and_column(tmp_path: Path, cell: str) -> None:
    lines = [f"{cell if row in (3, 30) else row},{row % 5}" for row in range(ROWS)]
    path = csv(tmp_path, "x,y", lines)
    problems = told(own(path))
    assert [problem.split(": ")[:2] for problem in problems] == [[str(path), "row 4"], [str(path), "row 31"]]
    assert all("x is " in problem for problem in problems)
    path = csv(tmp_path, "y,x", lines)
    assert len(told(own(path))) == 2


def test_a_number_that_is_too_far_from_those_of_training_is_told(tmp_path: Path) -> None:
    parts = ["train", "val", "test"] * (ROWS // 3)
    values = [float(row) for row in range(ROWS)]
    values[5] = 1e300
    path = parquet(tmp_path, x=values, part=parts)
    assert told(own(path, split="part"))[0].startswith(f"{path}: row 6: x is too far from the numbers of the training")


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1.0])
def test_inputs_do_not_depend_on_their_unit(tmp_path: Path, scale: float) -> None:
    plain = inputs(loaded(own(parquet(tmp_path, x=X))).train)
    found = inputs(loaded(own(parquet(tmp_path, x=[value * scale for value in X]))).train)
    assert torch.allclose(found, plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e15, -0.7, 1e-300])
def test_a_column_that_is_the_same_but_for_rounding_is_left_out_and_noted(tmp_path: Path, value: float) -> None:
    parts = ["train"] * 41 + ["val"] * 9 + ["test"] * 10
    dose = [value * (1 + 2**-52 * (row % 2)) for row in range(59)] + [2 * value]
    data = loaded(own(parquet(tmp_path, x=X, dose=dose, part=parts), split="part"))
    assert inputs(data.test).shape == (10, 1)
    assert data.notes == ("no inputs, for they do not vary on the training rows: dose",)
    (problem,) = told(own(parquet(tmp_path, dose=dose, part=parts), split="part"))
    assert "no column of inputs varies on the training rows; it has dose" in problem


def test_times_with_a_large_offset_do_vary(tmp_path: Path) -> None:
    plain = inputs(loaded(own(parquet(tmp_path, x=X))).train)
    found = inputs(loaded(own(parquet(tmp_path, x=[1_700_000_000 + value for value in X]))).train)
    assert torch.allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (pa.array([datetime.date(2020, 1, 1)] * ROWS), "got date32[day]"),
        (pa.array([datetime.date(2020, 1, 1)] * ROWS).cast(pa.timestamp("ns")), "got timestamp[ns]"),
        (pa.array([5] * ROWS, pa.duration("s")), "got duration[s]"),
        (pa.array(["2020-01-01"] * ROWS), "got '2020-01-01' in row 1"),
        (pa.array(["a"] * ROWS).dictionary_encode(), "got 'a' in row 1"),
        (pa.array([[1.0]] * ROWS), "holds list"),
    ],
)
def test_dates_durations_words_and_lists_are_no_labels(tmp_path: Path, cells: pa.Array, said: str) -> None:
    (problem,) = told(own(parquet(tmp_path, x=X, y=cells)))
    assert said in problem and "column 'y'" in problem


def test_a_date_with_a_gap_in_a_csv_is_no_label(tmp_path: Path) -> None:
    path = csv(tmp_path, "x,y", [f"{row},{'' if row == 9 else '2020-01-01'}" for row in range(ROWS)])
    assert told(own(path)) == (f"{path}: column 'y' must hold numbers: got '2020-01-01' in row 1",)


def test_labels_of_every_type_of_number_are_read_and_their_gaps_told(tmp_path: Path) -> None:
    wanted = loaded(own(parquet(tmp_path, x=X))).train.y
    whole = [int(label) for label in labels()]
    for cells in (
        pa.array(whole, pa.uint8()),
        pa.array([Decimal(value) for value in whole], pa.decimal128(5, 1)),
        dictionary(whole),
        pa.array(labels(), pa.float16()),
        pa.array([str(value) for value in whole]),
    ):
        assert torch.equal(loaded(own(parquet(tmp_path, x=X, y=cells))).train.y, wanted)
        gapped = pa.array([None if row in (3, 7) else value for row, value in enumerate(cells.to_pylist())], cells.type)
        path = parquet(tmp_path, x=X, y=gapped)
        assert told(own(path)) == (f"{path}: row 4: y is nan", f"{path}: row 8: y is nan")


def test_a_label_that_is_no_number_is_told_as_it_is_written(tmp_path: Path) -> None:
    path = csv(
        tmp_path, "x,y", [f"{row},{'?' if row == 2 else 'high' if row == 5 else row % 5}" for row in range(ROWS)]
    )
    assert told(own(path)) == (f"{path}: row 3: y is '?'", f"{path}: row 6: y is 'high'")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_without_rows_is_told(tmp_path: Path, suffix: str) -> None:
    empty = pa.array([], pa.float64())
    path = csv(tmp_path, "x,y", []) if suffix == ".csv" else parquet(tmp_path, x=empty, y=empty)
    assert told(own(path)) == (f"{path}: has no rows",)


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = csv(tmp_path, "größe,y", [f"{row},{row % 5}" for row in range(ROWS)])
    text = path.read_text()
    assert inputs(loaded(own(path)).train).shape[1] == 1
    path.write_bytes(text.encode("latin-1"))
    assert "must be UTF-8: line 1 is not" in told(own(path))[0]
    path.write_bytes((text + "für,3\n").replace("größe", "x").encode("latin-1"))
    assert str(path) in told(own(path))[0] and "UTF" in told(own(path))[0].upper()
    path.write_bytes(text.encode("utf-16"))
    assert "it begins as UTF-16 does" in told(own(path))[0]


def test_a_byte_order_mark_line_ends_of_windows_and_capitals_in_the_suffix_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "DATA.CSV"
    lines = ["x,y", *(f"{row},{row % 5}" for row in range(ROWS))]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert inputs(loaded(own(path)).train).shape[1] == 1


def test_cells_may_hold_line_breaks_and_rows_be_long(tmp_path: Path) -> None:
    lines = [f'{row},"two\nlines {"w" * 30_000}",{row % 5}' for row in range(400)]
    assert len(loaded(own(csv(tmp_path, "x,note,y", lines))).train.y) == 300


def test_control_characters_and_long_values_are_told_escaped_and_cut(tmp_path: Path) -> None:
    for header in ("x\x1b[31m,y", f"{'n' * 100_000},y"):
        path = csv(tmp_path, header, [f"{'inf' if row == 3 else row},{row % 5}" for row in range(ROWS)])
        for declared in (own(path), own(path, target="z"), own(path, drop=["q"])):
            text = "\n".join(told(declared))
            assert text.isprintable() and len(text) < 1_000 + len(str(path))


def test_too_many_words_are_told_whatever_the_type(tmp_path: Path) -> None:
    words = [f"id{row}" for row in range(WORDS + 10)]
    for cells in (pa.array(words), pa.array(words).dictionary_encode()):
        (problem,) = told(own(parquet(tmp_path, c=cells)))
        assert "column 'c' has 60 distinct words, at most 50 make columns" in problem
