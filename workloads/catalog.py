"""The table of all parts, made from the registries: `python -m workloads.catalog > docs/methods.md`."""

import inspect
import sys
from collections.abc import Iterable, Mapping

from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.plans import PLANS
from workloads.seam import SLOTS, Method, Part

HEAD = """\
# Objectives, methods and plans

Made from the code by `python -m workloads.catalog > docs/methods.md`; do not edit.

A recipe is one objective, any number of methods and one plan, written `l1 + lds + fds`. Defaults are the published
settings for ages unless a part says otherwise; a workload or a study sets others. *Searched* hyperparameters are varied
by default, the others only if a study lists them under `space`.

Letters: B samples of a batch, N training rows, D features, K outputs of the head, M bins of the label grid; z features,
h calibrated features, y labels, w weights.
"""


def catalog() -> str:
    """The document: an overview, then each part with its formula, sources and hyperparameters."""
    kinds: Mapping[str, Mapping[str, type[Part]]] = {"Objectives": OBJECTIVES, "Methods": METHODS, "Plans": PLANS}
    lines = [HEAD, "| name | what it does | for | source | to know |", "|---|---|---|---|---|"]
    for parts in kinds.values():
        for name, part in parts.items():
            first = _paragraphs(part)[0].removesuffix(".")
            cells = (f"[`{name}`](#{name})", first, " and ".join(part.tasks), part.source, part.note or "–")
            lines.append(_row(cells))
    for kind, parts in kinds.items():
        lines += ["", f"## {kind}"]
        for name, part in parts.items():
            lines += ["", *_section(name, part)]
    return "\n".join(lines) + "\n"


def _section(name: str, part: type[Part]) -> Iterable[str]:
    yield f"### {name}"
    for paragraph in _paragraphs(part):
        yield from ("", paragraph)
    yield from ("", f"Source: {part.source}.")
    if issubclass(part, Method) and part.slot is not None:
        rivals = [f"`{other}`" for other, method in METHODS.items() if method.slot == part.slot and other != name]
        yield from ("", f"Not together with {', '.join(rivals)}: each sets {SLOTS.get(part.slot, part.slot)}.")
    if not part.dense:
        yield from ("", f"Not where labels are maps: it {part.needs_rows}.")
    if issubclass(part, Method) and part.joins:
        yield from ("", "Under `rrt` it acts in the second stage only.")
    declared = part.Hparams.declared()
    if not declared:
        return
    yield from ("", "| hyperparameter | range | default | searched | acts if |", "|---|---|---|---|---|")
    for field in declared.values():
        searched = "yes" if field.range.tune else "–"
        yield _row((f"`{name}.{field.name}`", str(field.range), f"{field.default}", searched, str(field.only) or "–"))
    if part.Hparams.__doc__:
        yield from ("", inspect.cleandoc(part.Hparams.__doc__))


def _paragraphs(part: type[Part]) -> list[str]:
    return [text.strip("\n") for text in inspect.cleandoc(part.__doc__ or "").split("\n\n")]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(catalog())
