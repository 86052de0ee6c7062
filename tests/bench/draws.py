"""Networks beside ridge regression and boosting on several draws of validation and test rows.

`python -m bench.draws nhanes-bmi` prints the mean absolute error on the test rows of five draws, the first of
which is the data set's own. Every model has a line fitted on validation, a network one seed in a draw. It takes some
four minutes of one core.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import numpy as np
import torch

from orchestrator.report.controls import MODELS
from workloads import WORKLOADS
from workloads.data import nhanes
from workloads.data.split import balanced_split
from workloads.labels import Floats
from workloads.loop import Fit
from workloads.recalibration import affine
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.trees import columns
from workloads.workload import Data, Split

CPU = torch.device("cpu")
ENCODERS = ("", "@ple-mlp", "@tabm")
LOSSES = ("l1", "mse")
Predict = Callable[[Split], Floats]
Fitted = Callable[[Data, int], Predict]


def drawn(name: str, draw: int) -> Data:
    """A data set with other rows of validation and test, of as many of each bin."""
    again = f" again {draw}" if draw else ""
    with patch.object(nhanes, "balanced_split", lambda bins, cap, known: balanced_split(bins, cap, known + again)):
        return WORKLOADS[name].load(None)


def control(name: str, data: Data, seed: int) -> Predict:
    """What needs no training budget, as `orchestrator.report.controls` fits it; it draws nothing."""
    y = data.train.y.numpy().astype(np.float64)
    predict = MODELS[name](columns(data.train), y, np.ones(len(y)))
    return lambda split: predict(columns(split))


def network(name: str, loss: str, data: Data, seed: int) -> Predict:
    """A network under the settings of its workload."""
    workload, recipe = WORKLOADS[name], Recipe(loss)
    run = Fit(workload, data, recipe, settle(recipe, workload.settings), seed, CPU)
    list(run)
    return run.predict


def error(predict: Predict, data: Data) -> float:
    """Mean absolute error on test, the predictions recalibrated by a line that is fitted on validation."""
    line = affine(predict(data.val), data.val.y.numpy().astype(np.float64))
    return float(np.abs(line(predict(data.test)) - data.test.y.numpy()).mean())


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[workload.name for workload in nhanes.WORKLOADS])
    parser.add_argument("--draws", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    all_draws = [drawn(asked.name, draw) for draw in range(asked.draws)]
    sys.stdout.write("| what | MAE by draw | mean | seconds |\n|---|---|--:|--:|\n")
    fits: dict[str, Fitted] = {name: partial(control, name) for name in MODELS}
    for full in (asked.name + encoder for encoder in ENCODERS):
        fits |= {f"{full}, {loss}": partial(network, full, loss) for loss in LOSSES}
    for row, fit in fits.items():
        began = time.process_time()
        errors = [error(fit(data, draw), data) for draw, data in enumerate(all_draws)]
        cost = (time.process_time() - began) / asked.draws
        each = " ".join(f"{value:.3f}" for value in errors)
        sys.stdout.write(f"| {row} | {each} | {np.mean(errors):.3f} | {cost:.1f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
