"""100,001 bins: windows are bands, so that nothing has a size of bins × bins, in memory or in a checkpoint."""

import importlib
import tracemalloc
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from toys import TOYS
from workloads.hparams import Value
from workloads.labels import LabelGrid
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.recipe import Recipe
from workloads.seam import NoEffectWarning
from workloads.training import settle

BINS = 100_001
BYTES = 400 * 2**20
"""Far below one number per pair of bins, 37 GiB; D is 6, and batches have 60 rows."""
REGRESSION = [name for name, part in OBJECTIVES.items() if "regression" in part.tasks]
CASES: list[tuple[str, Mapping[str, Value]]] = [
    *((name, {}) for name in REGRESSION),
    *((f"l1 + {name}", {}) for name in METHODS),
    ("bmse", {"bmse.variant": "bni"}),
    ("bmse", {"bmse.variant": "gai"}),
    ("l1 + lds", {"lds.scheme": "inverse", "lds.border": "reflect", "lds.width": 15}),
    ("l1 + fds", {"fds.variant": "official", "fds.empty": "neighbours", "fds.width": 15}),
    ("l1 + fds", {"fds.statistics": "streaming"}),
    ("l1 + distloss", {"distloss.pseudo": "kde"}),
    ("l1 + ot", {"ot.solver": "closed"}),
]


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    """What torch imports at its first step would be traced for seconds."""
    importlib.import_module("torch._dynamo")


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that is made."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, list | tuple) else [made]:
            if isinstance(one, Tensor):
                self.bytes = max(self.bytes, one.untyped_storage().nbytes())
        return made


def held(state: object) -> int:
    """Bytes of all tensors in a tree."""
    if isinstance(state, Tensor):
        return state.untyped_storage().nbytes()
    inner = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return sum(map(held, inner))


@pytest.mark.parametrize(("recipe", "settings"), CASES, ids=str)
def test_a_hundred_thousand_bins_are_trained_in_memory_that_grows_with_their_number_only(
    recipe: str, settings: Mapping[str, Value]
) -> None:
    toy, parsed = replace(TOYS["regression"], grid=LabelGrid(0, 30, BINS)), Recipe.parse(recipe)
    complete = settle(parsed, toy.settings, {"train.epochs": 2, "train.batch_size": 60}, settings)
    tracemalloc.start()
    try:
        with Largest() as largest, warnings.catch_warnings():
            warnings.simplefilter("ignore", NoEffectWarning)
            fit = Fit(toy, toy.load(None), parsed, complete, 0, torch.device("cpu"))
            epochs = list(fit)
        peak = tracemalloc.get_traced_memory()[1]  # numpy's arrays are traced, torch's are not
    finally:
        tracemalloc.stop()
    assert len(epochs) == 2
    assert largest.bytes < BYTES
    assert peak < BYTES
    assert held(fit.state_dict()) < 100 * BINS * 6
