"""The card of a model: what it was trained on, how well it does where, what it is for, and its limits."""

from typing import Final

import numpy as np

from orchestrator.models.about import About
from orchestrator.models.conformal import Calibration
from orchestrator.report.escape import markdown_text
from orchestrator.report.formats import grid
from workloads.labels import REGIONS, Floats

RANGES: Final = 8
"""Rows of the table of errors by label."""


def card(about: About, y: Floats, pred: Floats, calibration: Calibration | None, source: str, level: float) -> str:
    """The card as Markdown; `y` and `pred` `[N]` are test labels and predictions, in label units."""
    labels, unit = about.labels, f" {about.labels.unit}" if about.labels.unit else ""
    rows = np.array(labels.counts)
    said = "equal to the bit those of the ledger" if about.equal else "do not equal those of the ledger to the bit"
    of = "rows" if about.maps is None else "pixels"
    parts = [
        f"# {markdown_text(about.target)} by `{about.recipe}`",
        f"Trained by Tailsweep {about.tailsweep} in the study `{about.study}` on {markdown_text(source)} "
        f"(`{about.workload}`, data {about.data}), seed {about.seed}, trial {about.trial}, on {about.device}. "
        f"Its test predictions {said}.",
        "## Data",
        f"{int(rows.sum()):,} training {of}, labels from {labels.low:g} to {labels.high:g}{unit} in {labels.bins} "
        f"bins. A bin counts as many, medium, few or zero by how many training {of} it has.",
        _table(["region", f"training {of}", f"test {of}", "mean absolute error"], _by_region(about, y, pred)),
        "## Errors by label",
        _table(["label", f"test {of}", "mean absolute error", "mean error"], _by_label(y, pred)),
        "## Intervals",
        _intervals(calibration, level, unit),
        "## Intended use",
        f"Predictions of {markdown_text(about.target)} for rows that are drawn as the training rows were, by people "
        "who know how they were collected. `tailsweep predict` and `orchestrator.load_model` read the folder; "
        "`setting.yaml` trains it again.",
        "## Limits",
        "- Errors of rare labels are larger, and predictions of them are drawn towards common ones: see the tables.\n"
        "- Nothing is known of rows from elsewhere, of labels beyond the range, or of regions without test rows.\n"
        "- A word that training lacks counts as none of its column's words, a gap as the column's mean.\n"
        "- The scores of one seed are above; how much seeds differ is in the study's report.",
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(grid(head, rows, {0}))


def _error(errors: Floats) -> str:
    return f"{np.abs(errors).mean():.4g}" if len(errors) else "–"


def _by_region(about: About, y: Floats, pred: Floats) -> list[list[str]]:
    of_bin, counts = about.labels.by_bin, np.array(about.labels.counts)
    of_row = of_bin[about.labels.grid.bin(y)]
    rows = [
        [
            name,
            f"{int(counts[of_bin == at].sum()):,}",
            f"{int((of_row == at).sum()):,}",
            _error((pred - y)[of_row == at]),
        ]
        for at, name in enumerate(REGIONS)
    ]
    return [["all", f"{int(counts.sum()):,}", f"{len(y):,}", _error(pred - y)], *rows]


def _by_label(y: Floats, pred: Floats) -> list[list[str]]:
    edges = np.linspace(y.min(), y.max(), RANGES + 1)
    place = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, RANGES - 1)
    rows = []
    for at in range(RANGES):
        errors = (pred - y)[place == at]
        mean = f"{errors.mean():+.4g}" if len(errors) else "–"
        rows.append([f"{edges[at]:.4g} … {edges[at + 1]:.4g}", str(len(errors)), _error(errors), mean])
    return rows


def _intervals(calibration: Calibration | None, level: float, unit: str) -> str:
    if calibration is None:
        return "Not calibrated: no predictions of validation rows were kept, or labels are classes or maps."
    widths = calibration.widths(level)
    by_region = ", ".join(
        f"{name} ± {widths[at]:.4g}{unit}" if at in widths else f"{name} none (too few rows)"
        for at, name in enumerate(REGIONS)
        if (calibration.regions == at).any()
    )
    return (
        f"By split conformal prediction from {len(calibration.errors):,} validation rows, by the region of the "
        f"predicted label; for {level:.0%}: {by_region}. Validation rows also chose epoch and setting, so intervals "
        "are slightly too narrow."
    )
