"""How scores depend on one hyperparameter, or on the kernel and its bandwidth, over all cells that search them.

Cells differ in level, so a trial counts with what it lies behind the best of its own cell, in units of the score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.report.search.tried import best_of, tried
from orchestrator.study.axes import Axis
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.space import sign_of
from workloads.hparams import Choice, Value
from workloads.labels import Floats, Ints


@dataclass(frozen=True)
class Response:
    """Trials of all cells of a workload that search a hyperparameter: its value, and how far each is behind."""

    name: str
    log: bool
    cells: tuple[str, ...]
    values: Floats
    behind: Floats


@dataclass(frozen=True)
class HeatMap:
    """By kernel and bandwidth: how far behind trials are on average, `[K, B]`, NaN where there are none; `[K, B]` how
    many. `edges` `[B + 1]` are those of the bandwidth's bins, equal ones, of its logarithm where `log`.
    """

    part: str
    bandwidth: str
    kernels: tuple[str, ...]
    edges: Floats
    log: bool
    behind: Floats
    counts: Ints


Trial = tuple[str, dict[str, Value], float]
"""Its recipe, its settings, and how far it is behind."""


def _behind(plans: Sequence[CellPlan], rule: str) -> list[Trial]:
    found: list[Trial] = []
    for plan in plans:
        trials = tried(plan, rule)
        best = best_of(trials, rule)
        if best is not None:
            found += [(plan.row, dict(one.settings), sign_of(rule) * (one.score - best.score)) for one in trials]
    return found


def _axes(plans: Sequence[CellPlan]) -> dict[str, Axis]:
    return {axis.name: axis for plan in plans for axis in plan.cell.axes}


def responses(plans: Sequence[CellPlan], rule: str) -> list[Response]:
    """Of every number that the cells of one workload search, where at least two values were tried."""
    every, found = _behind(plans, rule), []
    for name, axis in _axes(plans).items():
        if isinstance(axis.range, Choice):
            continue
        points = [
            (cell, float(axis.inside(settings[name])), behind) for cell, settings, behind in every if name in settings
        ]
        if len({value for _, value, _ in points}) > 1:
            cells, values, behind = zip(*points, strict=True)
            found.append(Response(name, axis.range.log, cells, np.array(values), np.array(behind)))
    return found


def heat_maps(plans: Sequence[CellPlan], rule: str, bins: int = 4) -> list[HeatMap]:
    """Kernel × bandwidth, of every part of which both are searched, for the cells of one workload.

    A kernel that a bandwidth does not act on has no trials in that map.
    """
    axes, every, found = _axes(plans), _behind(plans, rule), []
    for name, kernel in axes.items():
        part, _, word = name.partition(".")
        for other in (f"{part}.sigma", f"{part}.width") if word == "kernel" else ():
            limits = axes[other].range if other in axes else None
            if limits is None or isinstance(limits, Choice) or not isinstance(kernel.range, Choice):
                continue
            kernels = tuple(str(option) for option in kernel.range.options)
            space = np.geomspace if limits.log else np.linspace
            edges = space(float(limits.low), float(limits.high), bins + 1)
            sums, counts = np.zeros((len(kernels), bins)), np.zeros((len(kernels), bins), dtype=np.int64)
            for _, settings, behind in every:
                if name in settings and other in settings:
                    value = float(settings[other])
                    place = kernels.index(str(settings[name])), int(np.searchsorted(edges[1:-1], value, side="right"))
                    sums[place] += behind
                    counts[place] += 1
            if counts.any():
                mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
                found.append(HeatMap(part, other, kernels, edges, limits.log, mean, counts))
    return found
