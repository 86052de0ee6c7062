"""What the labels of a data set say about its settings, in words, as a picture, and as YAML to paste."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.errors import BadInput
from orchestrator.report.figures.label_advice import label_advice
from workloads.advice import PLAIN, Advice, advise
from workloads.workload import DataError, Workload

FORMATS: Final = ("png", "svg", "pdf")


def advice(workload: Workload, root: Path | None, target: Path) -> list[str]:
    """Draw the labels and what they say into a file, and return the advice with its reasons, line by line.

    Raises BadInput for data that cannot be read, for classes, and for a file that cannot be written.
    """
    format = target.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        raise BadInput(f"the picture is a file of .{', .'.join(FORMATS)}: got {target.name!r}")
    if workload.task != "regression":
        raise BadInput(f"{workload.name} has classes, which have no order: there is nothing to smooth or to bin")
    if workload.dense:
        raise BadInput(
            f"{workload.name} has maps of labels: neighbouring pixels tell one another, and no rule here knows"
        )
    try:
        data = workload.load(root)
    except DataError as err:
        raise BadInput(f"workload {workload.name}: {err}") from None
    found = advise(workload, data)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(label_advice(workload, data, found).file(format))
    except OSError as err:
        raise BadInput(
            f"the picture must be written to {target}: {err.strerror}; choose another place by --out"
        ) from None
    return [*words(workload, found), "", *yaml(found)]


def words(workload: Workload, found: Advice) -> Iterator[str]:
    """Each setting with the reason for it."""
    unit = f" {workload.unit}" if workload.unit else ""
    width = workload.grid.width
    heap = f"labels are read on steps of {found.heap:g}{unit}" if found.heap else "labels are continuous"
    yield f"{workload.name}: {found.rows:,} training labels in {workload.grid.bins} bins of {width:g}{unit}"
    yield f"bin width {found.bin_width:g}{unit}: {heap}; 2 IQR N^(-1/3) is {found.rule:.3g} (Freedman & Diaconis 1981)"
    if not math.isclose(width, found.bin_width, rel_tol=1e-6):
        yield f"  the data set has {width:g}{unit}: what follows is for that; change bin_width and ask again"
    if found.empty > 0:
        yield f"  {found.empty:.0%} of the bins between the first and the last label have no rows"
    best = found.best
    sigma = "" if best.kernel == "triang" else f", sigma {best.sigma:g}"
    yield f"LDS window: {best.kernel}, {best.width} bins{sigma}: of {len(found.tried)} it tells held-out labels best"
    yield (
        f"  log density of a label under the smoothed histogram of all others (Duin 1976), nats a row: {best.score:.4f}"
        f"; {PLAIN[0]} {PLAIN[1]}/{PLAIN[2]:g} {found.published:.4f}, not smoothed {found.unsmoothed:.4f}"
    )
    if not found.smooths:
        yield "  no window is better than the histogram as it is: labels pile up on some bins, and smoothing blurs them"
        yield "  Compare with inv or sqinv, or take wider bins"
    yield (
        f"  with it and 1/sqrt(n) the rarest label weighs {found.ratio:.3g} times the commonest; "
        f"{found.ess:.0%} of the rows count ((sum w)^2 / (N sum w^2))"
    )
    many, medium, few = found.in_regions
    why = "the papers' thresholds leave 30 test rows or more in each" if found.shots_fit else "thirds of the test rows"
    yield f"shots: {found.shots}: {why}; test rows: many {many:,}, medium {medium:,}, few {few:,}"
    phi = found.relevance
    yield f"relevance (SERA): 0 at the median, {phi.median:g}{unit}; {_tails(found, unit)} (Ribeiro & Moniz 2020)"


def _tails(found: Advice, unit: str) -> str:
    phi = found.relevance
    ends = [
        f"1 {where} {end:g}{unit}, the whisker of the box plot ({share:.1%} of the labels lie beyond)"
        for where, end, share in (("below", phi.low, found.beyond[0]), ("above", phi.high, found.beyond[1]))
        if math.isfinite(end)
    ]
    return " and ".join(ends)


def yaml(found: Advice) -> Iterator[str]:
    """What to paste into a study."""
    yield "# Into the study; a data set of your own takes the first line where it is declared."
    yield f"# bin_width: {found.bin_width:g}, many: {found.shots.many}, few: {found.shots.few}"
    lead = "" if found.smooths else "# "
    yield f"{lead}first: {{{', '.join(f'{name}: {value}' for name, value in found.settings.items())}}}"
