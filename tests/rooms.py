"""The rooms of the packages by floor, and which of them import which: `python tests/rooms.py` writes docs/design.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DESIGN = ROOT / "docs" / "design.md"
MARKED = re.compile(r"(<!-- imports -->\n)(.*)(<!-- end of imports -->\n)", re.DOTALL)
PACKAGES = ("workloads", "orchestrator", "clusters")

FLOORS = [
    {"workloads", "orchestrator.errors"},
    {"orchestrator.laws", "orchestrator.yaml12"},
    {"clusters.profile"},
    {"orchestrator.storage"},
    {"orchestrator.ledger"},
    {"orchestrator.study"},
    {"orchestrator.engine", "orchestrator.report", "clusters.submission"},
    {"orchestrator.tracking", "orchestrator.catalogue", "orchestrator.models", "clusters.shared", "clusters.aws"},
    {"orchestrator.api", "orchestrator.export", "clusters"},
    {"orchestrator.cli", "orchestrator"},
]
"""The rooms, from the ground up. A package without a row of its own stands on the row of the package that holds it."""
FIRST = (
    "batches",
    "distances",
    "extras",
    "flat",
    "groups",
    "heads",
    "hparams",
    "labels",
    "losses",
    "messages",
    "pack",
    "prefetch",
    "relevance",
    "seeds",
    "windows",
)
INSIDE = [
    {f"workloads.{name}" for name in FIRST},
    {f"workloads.{name}" for name in ("density", "laws", "metrics", "recalibration", "seam")},
    {f"workloads.{name}" for name in ("contrast", "diverged", "epoch", "memory", "ranks", "speed")},
    {"workloads.objectives", "workloads.methods", "workloads.plans", "workloads.encoders", "workloads.workload"},
    {"workloads.cache_checks"},
    {"workloads.cache"},
    {"workloads.data", "workloads.recipe"},
    {
        "workloads.adjusting",
        "workloads.advice",
        "workloads.held_out",
        "workloads.plugins",
        "workloads.published",
        "workloads.views",
    },
    {"workloads.features", "workloads.model", "workloads.training"},
    {"workloads.loop"},
    {"workloads.predictor"},
    {"workloads.trees"},
    {"workloads.trainers"},
    {"workloads"},
    {"workloads.catalog"},
]
"""The same within `workloads`."""


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


MODULES = dict(modules())


def place(module: str, table: list[set[str]]) -> tuple[int, str]:
    """The floor and the room of a module; -1 where the table does not have it."""
    name = module
    while name:
        for floor, rooms in enumerate(table):
            if name in rooms and (name == module or name != "orchestrator"):
                return floor, name
        name = name.rpartition(".")[0]
    return -1, ""


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def ours(path: Path) -> list[str]:
    return [name for name in imported(path) if name.split(".")[0] in PACKAGES]


def arrows(table: list[set[str]]) -> dict[str, set[str]]:
    """Rooms of a table with the other rooms that their files import."""
    found: dict[str, set[str]] = {room: set() for row in table for room in row}
    for module, path in MODULES.items():
        _, room = place(module, table)
        if room:
            found[room] |= {other for name in ours(path) if (other := place(name, table)[1]) not in {room, ""}}
    return found


def picture() -> str:
    """The imports between rooms as Markdown: one row per room, the top floor first."""
    lines: list[str] = []
    for head, table in (("room of `orchestrator` or `clusters`", FLOORS), ("room of `workloads`", INSIDE)):
        found = arrows(table)
        lines += [f"| floor | {head} | imports |", "|--:|---|---|"]
        for floor in range(len(table), 0, -1):
            for room in sorted(table[floor - 1]):
                below = sorted(found[room], key=lambda name: (-place(name, table)[0], name))
                lines.append(f"| {floor} | {_short(room)} | {' '.join(['→', *map(_short, below)]) if below else '–'} |")
        lines.append("")
    return "\n".join(["", *lines, ""])


def _short(room: str) -> str:
    """`orchestrator.cli` as `cli`; `clusters` without more are the kinds of clusters."""
    short = room.removeprefix("workloads.").removeprefix("orchestrator.").replace(".", "/")
    return "`clusters/<kind>`" if room == "clusters" else f"`{short}`"


def shown() -> str:
    """The picture that the document holds."""
    return MARKED.split(DESIGN.read_text("utf-8"))[2]


if __name__ == "__main__":
    before, start, _, end, after = MARKED.split(DESIGN.read_text("utf-8"))
    DESIGN.write_text("".join((before, start, picture(), end, after)), encoding="utf-8")
