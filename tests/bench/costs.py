"""What every objective and method costs beside the plainest recipe: an epoch of real training, in turns.

An epoch has all that a part does: rows are drawn, steps made, statistics updated, adjustments fitted with their models.
"""

import time
import warnings
from collections.abc import Iterator
from statistics import median
from typing import Final

import torch

from workloads import WORKLOADS
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.recipe import PARTS, Recipe
from workloads.seam import NoEffectWarning
from workloads.trainers import start
from workloads.training import settle
from workloads.workload import Data, Workload

ROUNDS: Final = 7
BASES: Final = {"regression": ("nhanes-sbp", "l1"), "classification": ("digits-lt", "cross_entropy")}
"""By task: where parts are timed, and the objective beside which; a part for both is timed on the first."""


def recipes() -> Iterator[tuple[str, Recipe]]:
    """The plainest recipe of every objective and method but the bases, each with its task."""
    for name in (*OBJECTIVES, *METHODS):
        task = next(task for task in BASES if task in PARTS[name].tasks)
        base = BASES[task][1]
        if name != base:
            yield task, Recipe(name) if name in OBJECTIVES else Recipe(base, (name,))


def _epochs(workload: Workload, data: Data, recipe: Recipe) -> Iterator[float]:
    """Seconds of the processor for each epoch of a run, but for its first, which makes what the others use."""
    settings = settle(recipe, workload.defaults(recipe.objective), {"train.epochs": ROUNDS + 1})
    run = iter(start(workload, data, recipe, settings, 0, torch.device("cpu")))
    next(run)
    for _ in range(ROUNDS):
        began = time.process_time()
        next(run)
        yield time.process_time() - began


def cost_of_parts() -> list[tuple[str, str]]:
    """An epoch of every part's plainest recipe on one core, alternating with epochs of the base."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    loaded = {task: WORKLOADS[name].load(None) for task, (name, _) in BASES.items()}
    rows = []
    for task, recipe in recipes():
        name, base = BASES[task]
        both = (_epochs(WORKLOADS[name], loaded[task], each) for each in (recipe, Recipe(base)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoEffectWarning)
            took = [median(times) for times in zip(*zip(*both, strict=True), strict=True)]
        rows.append(
            (f"epoch of {recipe} on {name}", f"{1000 * took[0]:.0f} ms; {took[0] / took[1]:.2f} times that of {base}")
        )
    torch.set_num_threads(threads)
    return rows
