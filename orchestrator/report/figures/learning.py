"""Learning curves of selected settings."""

import warnings
from collections.abc import Mapping
from itertools import cycle

import numpy as np

from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import BLUE, GREEN, INK, PURPLE, VERMILION, Drawing, lines, panels
from orchestrator.report.search.learning import LearningCurves

LINES = ("-", "--", ":")


def learning_curves(curves: Mapping[str, LearningCurves], rule: str) -> Drawing:
    """Validation score and training loss by epoch: the mean over seeds, and for scores the range."""
    figure, (left, right) = panels(10.0, 3.6, 2)
    looks = zip(cycle((INK, BLUE, VERMILION, GREEN, PURPLE)), cycle(LINES), strict=False)
    for (recipe, curve), (colour, line) in zip(curves.items(), looks, strict=False):
        epochs = np.arange(curve.score.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # an epoch without any score
            low, mean, high = (f(curve.score, axis=0) for f in (np.nanmin, np.nanmean, np.nanmax))
            loss = np.nanmean(curve.loss, axis=0)
        scored = np.isfinite(mean)  # lines pass over epochs that were not validated
        left.plot(epochs[scored], mean[scored], line, color=colour, label=figure_text(recipe), linewidth=1.2)
        left.fill_between(epochs[scored], low[scored], high[scored], color=colour, alpha=0.12, linewidth=0)
        right.plot(epochs, loss, line, color=colour, linewidth=1.2)
    left.set_ylabel(rule)
    right.set_ylabel("training loss (of its own objective)")
    if all((curve.loss[np.isfinite(curve.loss)] > 0).all() for curve in curves.values()):
        right.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        lines(axes)
    left.legend(fontsize=7, frameon=False)
    text = f"Validation score and training loss of {', '.join(curves)} by epoch, over seeds."
    return Drawing("learning", "Learning curves", text, figure)
