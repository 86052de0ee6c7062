"""Laws between hyperparameters, or with the grid, end at `plan` with one message, whatever the search could draw."""

from typing import Any

import pytest
import torch

from builders import study
from orchestrator.errors import BadInput
from orchestrator.study.cells import expand, load_data
from orchestrator.study.space import suggest
from workloads import WORKLOADS
from workloads.loop import Fit
from workloads.recipe import PARTS

BINS = WORKLOADS["nhanes-sbp"].grid.bins

BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("lds", {"lds.first_bin": 9999}, f"lds.first_bin must be a bin of the grid, 0 … {BINS - 1}: got 9999; take one"),
    ("lds", {"lds.first_bin": BINS}, f"got {BINS}"),
    ("lds", {"lds.first_bin": {"low": 0, "high": BINS}}, f"got {BINS}, which the search may draw"),
    ("lds", {"lds.first_bin": [3, 500]}, "got 500, which the search may draw"),
    (
        "lds",
        {"lds.scheme": "inverse", "lds.clip_low": 500, "lds.clip_high": 10},
        "lds.clip_low must not exceed clip_high: got clip_low = 500 and clip_high = 10; lower clip_low or raise",
    ),
    ("lds", {"lds.scheme": ["sqrt_inv", "inverse"], "lds.clip_low": 1001}, "clip_low = 1001 and clip_high = 1000"),
    (
        "lds",
        {"lds.scheme": "inverse", "lds.clip_low": {"low": 1, "high": 20}, "lds.clip_high": {"low": 10, "high": 100}},
        "clip_low = 20 and clip_high = 10, which the search may draw",
    ),
    ("inv", {"inv.clip_high": 4}, "inv.clip_low must not exceed clip_high: got clip_low = 5 and clip_high = 4"),
    ("inv", {"inv.clip_low": [0, 2000]}, "clip_low = 2000 and clip_high = 1000"),
    ("fds", {"fds.first_bin": 5, "fds.last_bin": 3}, "fds.first_bin must not exceed last_bin"),
    ("fds", {"fds.first_bin": {"low": 0, "high": 9}, "fds.last_bin": {"low": 8, "high": 99}}, "first_bin = 9 and"),
    ("fds", {"fds.first_bin": BINS}, f"fds.first_bin must be a bin of the grid, 0 … {BINS - 1}: got {BINS}"),
    ("rrt", {"train.epochs": 1}, "rrt.head_share must leave every stage an epoch: got head_share = 0.5"),
    ("rrt", {"train.epochs": [1, 30]}, "must leave every stage an epoch"),
    ("rrt", {"rrt.head_share": {"low": 0.1, "high": 0.5}}, "head_share = 0.1, which the search may draw"),
]


@pytest.mark.parametrize(("part", "space", "message"), BROKEN, ids=str)
def test_a_law_over_several_keys_or_with_the_grid_ends_at_plan(part: str, space: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        expand(study(recipes={"also": [f"l1 + {part}"]}, space=space))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("part", "space"),
    [
        ("lds", {"lds.scheme": "sqrt_inv", "lds.clip_low": 500, "lds.clip_high": 10}),  # neither acts
        ("lds", {"lds.scheme": "inverse", "lds.clip_low": 2000, "lds.clip_high": {"low": 2000, "high": 9000}}),
        ("lds", {"lds.first_bin": {"low": 0, "high": BINS - 1}}),
        ("fds", {"fds.first_bin": 5, "fds.last_bin": 5}),
        ("fds", {"fds.last_bin": {"low": 50, "high": 100_000}}),  # the last bin of the grid ends the buckets
        ("rrt", {"train.epochs": {"low": 2, "high": 4}}),
    ],
    ids=str,
)
def test_what_no_trial_can_break_is_planned_and_every_suggestion_holds_the_laws(
    part: str, space: dict[str, Any]
) -> None:
    (cell,) = expand(study(recipes={"also": [f"l1 + {part}"]}, space=space))
    data = load_data(WORKLOADS["nhanes-sbp"], None, "")
    for number in range(4):
        trial = cell.trial("tune", number, suggest(cell, "random", "val/mae/all", number, []))
        run = Fit(WORKLOADS["nhanes-sbp"], data, cell.recipe, trial.settings, trial.seed, torch.device("cpu"))
        assert set(run.stages) == set(range(len(run.model.stages())))  # every part takes its settings and has a turn


def test_every_part_with_bounds_or_a_place_on_the_grid_declares_their_law() -> None:
    for part, kind in PARTS.items():
        names = set(kind.Hparams.declared())
        laws = {law.names for law in kind.Hparams.laws}
        assert ("first_bin" in names) == (("first_bin",) in laws), part
        assert ({"first_bin", "last_bin"} <= names) == (("first_bin", "last_bin") in laws), part
        meets = {"clip_low", "clip_high"} <= names and part not in (
            "fds",
            "vir",
        )  # ranges, 0 … 1 and 1 … meet at 1 only
        assert meets == (("clip_low", "clip_high") in laws), part
