"""τ-normalisation after training."""

import numpy as np
import pytest
import torch

from workloads.labels import LabelGrid
from workloads.methods.taunorm import TauNorm, normalised
from workloads.seam import HeldOut, Output, TrainLabels

WEIGHT = np.array([[4.0, 0.0], [0.0, 1.0]])
BIAS = np.array([[0.5], [-0.5]])


def said(z: list[list[float]]) -> Output:
    out = np.asarray(z) @ WEIGHT.T + BIAS.T
    return Output(out, out.argmax(1).astype(np.float64), np.concatenate([WEIGHT, BIAS], axis=1))


def method() -> TauNorm:
    made = TauNorm(TauNorm.Hparams())
    made.fit(TrainLabels(torch.tensor([0.0, 1.0]), LabelGrid(0, 2, 2), 2, 4))
    return made


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_outputs_are_those_of_weights_divided_by_a_power_of_their_length(power: float) -> None:
    z = [[1.0, 3.0], [-2.0, 0.3]]
    loops = [
        [sum(w * x for w, x in zip(row, x, strict=True)) / np.linalg.norm(row) ** power for row in WEIGHT] for x in z
    ]
    assert np.allclose(normalised(said(z), power), loops, rtol=1e-12)


def test_the_least_power_that_serves_every_class_best_is_taken() -> None:
    # Class 1 wins where z₂ > 4 z₁ / 4^τ: of (1, 2) from τ = .6 on, of the rows of class 0, (1, .9), beyond τ = 1.
    z, y = [[1.0, 0.9], [1.0, 0.9], [1.0, 0.9], [1.0, 2.0]], np.array([0.0, 0.0, 0.0, 1.0])
    made = method().adjust(HeldOut(said(z), y, np.ones(4)))
    assert made(said(z)).pred.tolist() == y.tolist()
    assert np.allclose(made(said(z)).out, normalised(said(z), 0.6))
    assert said(z).pred.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_classes_count_alike_however_many_rows_they_have() -> None:
    # One row of class 1 outweighs two of five rows of class 0, and three of them outweigh it.
    z = [[1.0, 0.9], [1.0, 0.9], [1.0, 0.9], [1.0, 2.5], [1.0, 2.5], [1.0, 2.0]]
    y = np.array([0.0] * 5 + [1.0])
    assert method().adjust(HeldOut(said(z), y, np.ones(6)))(said(z)).pred.tolist() == [0, 0, 0, 1, 1, 1]
    z[:5] = [[1.0, 2.5]] * 5
    # Now no power serves both: the least of those that are as good.
    assert method().adjust(HeldOut(said(z), y, np.ones(6)))(said(z)).pred.tolist() == [0.0] * 6
