"""A model's folder as a model of MLflow, beside what it holds already: `mlflow models serve --model-uri DIR`.

The file `MLmodel` names `_load_pyfunc` below, which reads the folder as `load_model` does: nothing is pickled.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from orchestrator.errors import BadInput
from orchestrator.models.folder import LEVEL, TrainedModel, load_model
from workloads.data.custom.new_rows import ArrayRows, PreparedRows, TableRows
from workloads.data.new_pairs import NAMES, Pairs

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.types import Schema

MLMODEL, EXAMPLE, REQUIREMENTS = "MLmodel", "serving_input_example.json", "requirements.txt"
COLUMNS: Final = {"row": "long", "prediction": "double", "region": "string", "low": "double", "high": "double"}
"""Of `PREDICTIONS`, with the types that MLflow knows."""


class Served:
    """What MLflow asks for predictions: a pandas table with the columns of `PREDICTIONS`."""

    def __init__(self, model: TrainedModel) -> None:
        self._model = model

    def predict(self, rows: Any, params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """Predictions of a pandas table or of an array; `params` may set `level`."""
        return self._model.predict(rows, float((params or {}).get("level", LEVEL))).to_pandas()


def _load_pyfunc(folder: str) -> Served:
    """What MLflow calls with the place of the folder."""
    return Served(load_model(folder))


def describe(model: TrainedModel, folder: Path) -> None:
    """Write `MLmodel`, with signature and input example, beside the files of a model; raises BadInput for images."""
    import mlflow.pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    made = Model()
    mlflow.pyfunc.add_to_model(made, loader_module=__name__, data=".")
    outputs = Schema([ColSpec(kind, name) for name, kind in COLUMNS.items()])
    made.signature = ModelSignature(_inputs(model), outputs, ParamSchema([ParamSpec("level", "double", LEVEL)]))
    if example := model.example():
        content = {"dataframe_split": {"columns": list(example), "data": [list(example.values())]}}
        (folder / EXAMPLE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        saved = {"artifact_path": EXAMPLE, "serving_input_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"}
        made.saved_input_example_info = saved
    (folder / REQUIREMENTS).write_text(f"tailsweep=={model.about.tailsweep}\n", encoding="utf-8")
    made.save(str(folder / MLMODEL))


def _inputs(model: TrainedModel) -> "Schema":
    from mlflow.types import ColSpec, Schema, TensorSpec

    rows = model.rows
    if isinstance(rows, TableRows):
        return Schema(
            [
                ColSpec("double" if rows.sources[name] is None else "string", name, required=name not in rows.gappy)
                for name in rows.needed
            ]
        )
    if isinstance(rows, Pairs):
        return Schema([ColSpec("string", name) for name in NAMES])
    if isinstance(rows, ArrayRows):
        return Schema([TensorSpec(np.dtype("float64"), (-1, *rows.shape))])
    if isinstance(rows, PreparedRows) and model.about.maps is None:
        return Schema([TensorSpec(np.dtype(rows.type), (-1, *rows.shape))])
    raise BadInput(
        "--mlflow serves tables, arrays and sentences: a model of image files or of maps is read by tailsweep predict"
    )
