"""Tidy data are the same numbers in every format, and say of each what it was made from."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from orchestrator.report.sections import sections
from orchestrator.report.tidy import TIDY, tidy, tidy_csv, tidy_json, tidy_parquet
from reported import filled


def test_csv_json_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    state = filled(tmp_path)
    (section,) = sections(state.study, state.planner, state.ledger)
    table = tidy([section.table])
    rows = table.to_pylist()
    assert json.loads(tidy_json(table)) == rows
    assert pq.read_table(io.BytesIO(tidy_parquet(table))).to_pylist() == rows
    read = pd.read_csv(io.StringIO(tidy_csv(table)))
    assert list(read.columns) == TIDY.names and len(read) == len(rows)
    for name in ("mean", "low", "p_table"):
        assert read[name].to_list() == pytest.approx(table.to_pandas()[name].to_list(), nan_ok=True, rel=1e-15)


def test_a_row_has_its_change_interval_p_values_and_numbers_of_seeds_and_rows(tmp_path: Path) -> None:
    state = filled(tmp_path)
    (section,) = sections(state.study, state.planner, state.ledger)
    table = section.table
    lines = list(csv.DictReader(io.StringIO(tidy_csv(tidy([table])))))
    by_key = {(line["recipe"], line["metric"], line["region"]): line for line in lines}
    ours, made = by_key["l1 + lds", "mae", "few"], table.comparisons["l1 + lds", ("mae", "few")]
    assert made.interval is not None
    expected = (made.value, made.interval.low, made.interval.high, made.p, made.p_column, made.p_table)
    assert tuple(float(ours[name]) for name in ("change", "low", "high", "p", "p_column", "p_table")) == expected
    assert (ours["base"], ours["scale"], ours["verdict"], ours["primary"]) == ("l1", "difference", made.verdict, "1")
    assert (int(ours["seeds"]), int(ours["rows"])) == (3, table.counts["few"])
    assert by_key["l1 + lds", "gm", "few"]["scale"] == "ratio"
    base = by_key["l1", "mae", "few"]
    assert (base["base"], base["change"], base["p"]) == ("", "", "")


def test_one_seed_has_scores_and_no_interval(tmp_path: Path) -> None:
    state = filled(tmp_path, evaluate={"seeds": 1})
    (section,) = sections(state.study, state.planner, state.ledger)
    rows = [row for row in tidy([section.table]).to_pylist() if row["recipe"] == "l1 + lds"]
    assert all(row["change"] is not None and row["low"] is None and row["p"] is None for row in rows)
