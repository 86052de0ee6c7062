"""What is learnt does not depend on the unit and the offset of the labels."""

import warnings
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from toys import TOYS
from workloads.hparams import Value
from workloads.labels import LabelGrid
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.metrics import shot_metrics
from workloads.objectives import OBJECTIVES
from workloads.recipe import Recipe
from workloads.seam import NoEffectWarning
from workloads.training import settle
from workloads.workload import Data, Table, Units, Workload

CPU = torch.device("cpu")
SCALES = [1e-9, 1e9]
OFFSET = 4.6e6
REGRESSION = [name for name, part in OBJECTIVES.items() if "regression" in part.tasks]
CASES: list[tuple[str, Mapping[str, Value]]] = [
    *((name, {}) for name in REGRESSION),
    *((f"l1 + {name}", {}) for name in METHODS),
    ("mse + lds + fds + ranksim + distloss", {}),
    ("bmse", {"bmse.variant": "gai"}),
    ("bmse", {"bmse.variant": "bni"}),
    ("l1 + lds", {"lds.scheme": "inverse"}),
    ("l1 + fds", {"fds.variant": "official", "fds.empty": "neighbours"}),
    ("l1 + fds", {"fds.statistics": "streaming"}),
    ("l1 + distloss", {"distloss.pseudo": "kde", "distloss.strength": 0.1}),
    ("l1 + ot", {"ot.solver": "closed"}),
    ("mse + rrt", {"train.optimizer": "sgd", "train.lr": 1e-5, "train.grad_clip": 1.0}),
]


def moved(split: Table, scale: float, offset: float, dtype: torch.dtype) -> Table:
    x = split.inputs(torch.arange(len(split.y)), CPU)
    return Table(x, (split.y.double() * scale + offset).to(dtype))


def in_unit(scale: float, offset: float = 0.0, dtype: torch.dtype = torch.float64) -> tuple[Workload, Data]:
    """The toy with its labels in another unit, bins and all."""
    toy = TOYS["regression"]
    data = toy.load(None)
    grid = LabelGrid(offset, offset + 30 * scale, 30)
    parts = (moved(split, scale, offset, dtype) for split in (data.train, data.val, data.test))  # type: ignore[arg-type]
    units = Units(offset + data.units.offset * scale, data.units.scale * scale)
    return replace(toy, grid=grid), Data(*parts, units, "moved")


def errors(workload: Workload, data: Data, recipe: str, settings: Mapping[str, Value]) -> dict[str, float]:
    """Test scores of a short run, in units."""
    parsed = Recipe.parse(recipe)
    complete = settle(parsed, workload.settings, {"train.epochs": 3}, settings)
    run = Fit(workload, data, parsed, complete, 0, CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoEffectWarning)
        for _ in run:
            pass
    where = workload.regions(data, data.test)
    scores = shot_metrics(
        run.predict(data.test), run.labels(data.test), where, ("mae", "gm", "rmse"), workload.grid.unit
    )
    return {
        f"{name}/{region}": score.value / workload.grid.unit
        for region, metrics in scores.items()
        for name, score in metrics.items()
        if score.value is not None
    }


@pytest.mark.parametrize(("recipe", "settings"), CASES, ids=str)
def test_neither_the_unit_nor_the_offset_of_labels_changes_what_is_learnt(recipe, settings):
    plain = errors(*in_unit(1.0), recipe, settings)
    for scale in SCALES:
        assert errors(*in_unit(scale), recipe, settings) == pytest.approx(plain, rel=1e-5), scale
    # An offset far from labels of a small unit is the harder the smaller that is.
    assert errors(*in_unit(1e-3, OFFSET), recipe, settings) == pytest.approx(plain, rel=1e-5), "offset"
