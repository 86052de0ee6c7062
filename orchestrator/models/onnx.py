"""A model's network as an ONNX file, compared with the model when it is written."""

import warnings
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from orchestrator.errors import BadInput, one_line
from orchestrator.models.folder import TrainedModel
from workloads.extras import need
from workloads.predictor import Predictor
from workloads.recipe import Recipe

FILE: Final = "model.onnx"
TOLERANCE: Final = 1e-4
"""Of predictions, in bins: runtimes add up in another order."""


def export_onnx(model: TrainedModel, x: Tensor, folder: Path) -> float:
    """Write `model.onnx`: from inputs `x` `[N, …]`, as `preprocessing.json` makes them, to `prediction` `[N]`.

    Returns the largest difference to the model's own predictions of `x`, in label units. Raises BadInput for a recipe
    with an adjustment, which is no network, for what ONNX cannot say, and for a file that differs.
    """
    adjustment = Recipe.parse(model.about.recipe).adjustment
    if adjustment is not None:
        raise BadInput(f"--onnx writes what a network says: {adjustment} is fitted after training; leave it out")
    if not isinstance(model.predictor, Predictor) or model.about.maps is not None:
        raise BadInput("--onnx writes networks that predict a label a row, no trees and no maps: leave it out")
    need("onnx", "onnxscript", "onnxruntime")
    import onnxruntime

    path = folder / FILE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model.predictor,
                (x[:2],),
                str(path),
                input_names=["x"],
                output_names=["prediction"],
                dynamic_shapes={"x": {0: torch.export.Dim("rows")}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as err:  # exporters raise what they like
        raise BadInput(f"--onnx cannot write the model: {one_line(err, 300)}") from err
    runtime = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (said,) = runtime.run(["prediction"], {"x": x.numpy()})
    differs = float(np.abs(said.astype(np.float64) - model.predictor.predict(x)).max())
    if not differs <= TOLERANCE * model.about.labels.grid.width:
        raise BadInput(f"--onnx must give the model's predictions: they differ by up to {differs:.3g}")
    return differs
