"""Everything that tables hold as tidy data: one row per recipe, metric and region, as CSV, JSON and Parquet."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.report.comparisons import Comparison
from orchestrator.report.escape import csv_text
from orchestrator.report.tables import Table

TIDY: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("workload", "recipe", "metric", "region")),
        *((name, pa.float64()) for name in ("mean", "sd")),
        *((name, pa.int64()) for name in ("seeds", "rows")),
        ("in_best_set", pa.bool_()),
        *((name, pa.string()) for name in ("base", "scale")),
        *((name, pa.float64()) for name in ("change", "low", "high", "p", "p_column", "p_table")),
        ("primary", pa.bool_()),
        ("verdict", pa.string()),
        *((name, pa.int64()) for name in ("trials", "epochs")),
        ("device_s", pa.float64()),
    ]
)
"""`change` is against `base`: a difference, or a ratio as `scale` says, with the ends of its 95 % interval. `p` is that
of the one comparison, `p_column` and `p_table` are adjusted by Holm for all of the column and of the table. `seeds` and
`rows` are those behind the mean; `trials`, `epochs` and `device_s` are what the recipe used in all. Null where a row
has no base, or one seed says nothing of the error."""


def tidy(tables: Sequence[Table]) -> pa.Table:
    """The rows of all tables (schema `TIDY`), unrounded, in units of the tables.

    SERA and the tails of Few (`report.tails`) follow, which are corrected among themselves.
    """
    rows: list[dict[str, Any]] = []
    for table in tables:
        for row in table.rows:
            for metric, region in (*table.columns, *table.further):
                score = row.scores.get((metric, region))
                if score is None:
                    continue
                made = table.comparison(row.recipe, (metric, region))
                rows.append(
                    {
                        **{"workload": table.workload, "recipe": row.recipe, "metric": metric, "region": region},
                        **{"mean": score.mean, "sd": score.sd, "seeds": score.n},
                        "rows": table.further.get((metric, region), table.counts.get(region, table.counts.get("all"))),
                        "in_best_set": table.is_best(row.recipe, (metric, region)),
                        **({} if made is None else _compared(made)),
                        **({} if row.spent is None else vars(row.spent)),
                    }
                )
    return pa.Table.from_pylist(rows, schema=TIDY)


def _compared(made: Comparison) -> dict[str, Any]:
    interval = made.interval
    tested = interval is not None
    return {
        "base": made.base,
        "scale": "ratio" if made.ratio else "difference",
        "change": math.exp(made.value) if made.ratio else made.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "p": made.p if tested else None,
        "p_column": made.p_column if tested else None,
        "p_table": made.p_table if tested else None,
        "primary": made.primary,
        "verdict": made.verdict,
    }


def tidy_csv(table: pa.Table) -> str:
    """As CSV: null is an empty cell, true is 1; no cell is a formula of a spreadsheet."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        writer.writerow([_cell(value) for value in row.values()])
    return sink.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return csv_text(value)
    return int(value) if isinstance(value, bool) else value


def tidy_json(table: pa.Table) -> str:
    """As a JSON list of rows."""
    return json.dumps(table.to_pylist(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def tidy_parquet(table: pa.Table) -> bytes:
    """As a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
