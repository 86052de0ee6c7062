"""What is said of a test set, before training and under tables."""

from dataclasses import replace

import pytest
import torch

from toys import TOYS
from workloads import WORKLOADS
from workloads.held_out import natural_weights, rows_by_region, told
from workloads.workload import Data, Table, Units

TOY = TOYS["regression"]


def data_of(train: list[float], test: list[float]) -> Data:
    splits = [Table(torch.zeros(len(y), 1), torch.tensor(y)) for y in (train, test, test)]
    return Data(*splits, Units(), "made up")


def test_a_balanced_test_set_is_told_from_one_that_is_distributed_as_the_data() -> None:
    train = [1.0] * 60 + [20.0] * 40
    natural, balanced = data_of(train, [1.0] * 30 + [20.0] * 20), data_of(train, [1.0] * 40 + [20.0] * 40)
    assert natural_weights(TOY, natural) is None
    assert told(TOY, natural)[0].startswith("The test set is distributed as the data")
    weights = natural_weights(TOY, balanced)
    assert weights is not None and weights.mean() == pytest.approx(1.0)
    assert weights[0] / weights[-1] == pytest.approx((60 + 80) / (40 + 80))
    assert told(TOY, balanced)[0].startswith("The test set is not distributed as the data")


def test_labels_that_are_not_tested_and_thin_regions_are_told() -> None:
    found = told(TOY, data_of([1.0] * 100 + [5.0] * 2 + [25.0] * 4, [2.0] * 40 + [5.0] * 29))
    assert found[1:] == [
        "Test labels lie in 2 … 5, training labels in 1 … 25: the rest is not tested.",
        "Fewer than 30 test rows: few 29: read these columns with care.",
        "No test rows in many and medium, where training has some: nothing is said of them.",
    ]
    assert told(TOY, data_of([1.0] * 100, [1.0] * 30))[1:] == ["Test labels lie in 1 … 1, training labels in 1 … 1."]


def test_of_the_shipped_blood_pressures_it_says_what_the_report_does() -> None:
    workload = WORKLOADS["nhanes-sbp"]
    data = workload.load(None)
    assert rows_by_region(workload, data) == {"many": 210, "medium": 140, "few": 123}
    drawn, labels = told(workload, data)
    assert "is not distributed as the data" in drawn
    assert labels == "Test labels lie in 80 … 214, training labels in 72 … 236: the rest is not tested."
    same = replace(data, train=data.test, val=data.test)
    assert told(workload, same) == [
        told(workload, same)[0],
        "Test labels lie in 80 … 214, training labels in 80 … 214.",
    ]


def test_of_classes_it_tells_thin_regions_only() -> None:
    workload = WORKLOADS["digits-lt"]
    assert all("test rows" in line for line in told(workload, workload.load(None)))
