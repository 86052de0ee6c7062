"""tailsweep fit and predict: parse, call one function each."""

import argparse
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.console import progress, say
from orchestrator.cli.guard import COMPLETE
from orchestrator.cli.study import add_study, study_of
from orchestrator.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from orchestrator.models.fitting import Extra


def fit(args: argparse.Namespace) -> int:
    """Make the model of a recipe again, as a folder with weights, preprocessing, setting and card."""
    study = study_of(args)
    from orchestrator.models.fitting import evaluated, fit_model
    from orchestrator.models.folder import check_free

    out = Path(args.out)
    check_free(out)
    chosen = evaluated(study, args.recipe, args.workload, args.seed)
    progress(f"{chosen.plan.cell.name}, trial {chosen.record.trial_id}")
    model = fit_model(chosen, out, _extras(args))
    said = "equal those of the ledger to the bit" if model.about.equal else "differ from those of the ledger"
    say(f"{out}: the model of trial {model.about.trial}; its test predictions {said}")
    if not model.about.equal:
        made = f"the ledger's were made on {model.about.device}"
        progress(f"note: {made}; only a trial of one process gives the same bits, on the same kind of CPU")
    return COMPLETE


def _extras(args: argparse.Namespace) -> "list[Extra]":
    """Further files, as asked for."""
    found: list[Extra] = []
    if args.mlflow:
        from orchestrator.models.served import describe

        found.append(lambda model, _, folder: describe(model, folder))
    if args.onnx:
        from orchestrator.models.onnx import export_onnx

        found.append(export_onnx)
    return found


def predict(args: argparse.Namespace) -> int:
    """Predictions of new rows by a model's folder, with intervals where it is calibrated; CSV, or a file."""
    out = None if args.out is None else Path(args.out)
    if out is not None and out.suffix not in {".csv", ".parquet", ".npz"}:
        raise BadInput(f"--out names a .csv or .parquet file, or .npz for maps: got {args.out}")
    from orchestrator.models.folder import load_model

    model = load_model(args.model, args.plugin or ())
    if (model.about.maps is not None) != (out is not None and out.suffix == ".npz"):
        raise BadInput(f"--out names an .npz file where labels are maps, and only there: got {args.out}")
    if model.about.maps is not None:
        maps = model.maps(args.rows)
        data, count = _arrays(maps), f"{len(maps['prediction'])} maps"
    else:
        table = model.predict(args.rows, args.level)
        data, count = _written(table, "csv" if out is None else out.suffix[1:]), f"{len(table)} predictions"
    if out is None:
        sys.stdout.write(data.decode())
        return COMPLETE
    partial = out.with_name(f".{out.name}.partial")
    partial.write_bytes(data)
    partial.replace(out)
    progress(f"{out}: {count}")
    return COMPLETE


def _arrays(arrays: "Mapping[str, npt.NDArray[Any]]") -> bytes:
    import numpy as np

    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)  # type: ignore[arg-type]  # names are not its own keywords
    return sink.getvalue()


def _written(table: "pa.Table", kind: str) -> bytes:
    import pyarrow.csv
    import pyarrow.parquet

    sink = io.BytesIO()
    if kind == "csv":
        pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
    else:
        pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def add_fit(command: argparse.ArgumentParser) -> None:
    """The study, and which of its models goes where."""
    add_study(command)
    command.add_argument("--recipe", required=True, metavar="NAME", help="which row, as `l1 + lds`")
    command.add_argument("--workload", metavar="NAME", help="of several, which data set")
    command.add_argument("--seed", type=int, metavar="K", help="the K-th seed, from 0 (the best on validation)")
    command.add_argument("--out", required=True, metavar="DIR", help="a new folder for the model")
    command.add_argument("--mlflow", action="store_true", help="as a model of MLflow, too: mlflow models serve")
    command.add_argument("--onnx", action="store_true", help="write model.onnx, too, compared with the model")


def add_predict(command: argparse.ArgumentParser) -> None:
    """The model and the rows."""
    command.add_argument("model", metavar="DIR", help="a folder that `tailsweep fit` made")
    command.add_argument("rows", metavar="FILE", help="new rows: .csv, .tsv or .parquet; arrays in .npz")
    command.add_argument("--out", metavar="FILE", help="write there: .csv or .parquet; .npz for maps")
    command.add_argument("--level", type=float, default=0.9, metavar="SHARE", help="of labels in intervals (0.9)")
    command.add_argument("--plugin", action="append", metavar="MODULE", help="a module with methods that it uses")
