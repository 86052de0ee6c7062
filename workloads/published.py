"""Settings and numbers of the papers, read from `published.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

from workloads.hparams import Value
from workloads.recipe import Recipe

REGIONS: Final = ("all", "many", "medium", "few")
"""Order of the numbers in the file."""


@dataclass(frozen=True)
class Published:
    """One row of a paper: the recipe, its name there, settings, and test scores by metric and region."""

    workload: str
    recipe: Recipe
    label: str
    settings: Mapping[str, Value]
    results: Mapping[str, Mapping[str, float]]
    source: str


@cache
def _tree() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((resources.files("workloads") / "published.yaml").read_text("utf-8"))
    return tree


def protocol(workload: str) -> str:
    """How the published numbers of a workload were made: split, network, epochs, selection; empty where not known."""
    return " ".join(_tree()["protocols"].get(workload, "").split())


@cache
def published() -> tuple[Published, ...]:
    """Every row of the file."""
    sources = _tree()["sources"]
    return tuple(
        Published(
            workload,
            Recipe.parse(row["recipe"]),
            row["as"],
            row.get("settings", {}),
            {metric: _printed(numbers) for metric, numbers in row["results"].items()},
            sources[row["source"]],
        )
        for workload, rows in _tree().items()
        if workload not in ("protocols", "sources")
        for row in rows
    )


def _printed(numbers: Sequence[float | None]) -> dict[str, float]:
    """Numbers by region, without those that the source does not print."""
    return {region: number for region, number in zip(REGIONS, numbers, strict=False) if number is not None}


def first_settings(workload: str, recipe: Recipe) -> dict[str, Value]:
    """The settings of the paper for what a recipe trains, searched ones and others; empty where none are published."""
    for row in published():
        if row.workload == workload and row.recipe == recipe.trained and row.settings:
            return dict(row.settings)
    return {}
