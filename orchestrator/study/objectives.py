"""Several objectives: which settings no other one beats, and which of these is picked.

Imported with every study file, so it needs neither Optuna nor NumPy.
"""

from collections.abc import Callable, Sequence
from math import hypot
from typing import Final, TypeAlias

Point: TypeAlias = tuple[float, ...]
"""The errors of a setting, one per objective: less is better."""


def beats(a: Point, b: Point) -> bool:
    """Whether a is nowhere worse than b and somewhere better."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Numbers of the points that none beats (the Pareto set), then of those that only these beat, and so on."""
    left, found = list(range(len(points))), []
    while left:
        front = [i for i in left if not any(beats(points[j], points[i]) for j in left)]
        found.append(front)
        left = [i for i in left if i not in set(front)]
    return found


def _scaled(front: Sequence[Point]) -> list[Point]:
    """Each objective from 0, the best of the set, to 1, the worst."""
    low, high = ([end(column) for column in zip(*front, strict=True)] for end in (min, max))
    return [
        tuple((x - a) / (b - a) if b > a else 0.0 for x, a, b in zip(point, low, high, strict=True)) for point in front
    ]


def _ideal(front: Sequence[Point]) -> list[float]:
    return [hypot(*point) for point in _scaled(front)]


def _knee(front: Sequence[Point]) -> list[float]:
    return [sum(point) for point in _scaled(front)]


def _first(front: Sequence[Point]) -> list[float]:
    return [point[0] for point in front]


def _worst_rank(front: Sequence[Point]) -> list[float]:
    columns = [sorted(column) for column in zip(*front, strict=True)]
    return [max(column.index(x) for x, column in zip(point, columns, strict=True)) for point in front]


PICKS: Final[dict[str, Callable[[Sequence[Point]], Sequence[float]]]] = {
    "ideal": _ideal,
    "knee": _knee,
    "first": _first,
    "worst_rank": _worst_rank,
}
"""What the points of a Pareto set are ordered by, least first, the first two with every objective scaled to the set:

`ideal` the distance to the point that has the best of every objective, `knee` how far behind the plane through the
best of each, `first` the first objective alone, `worst_rank` the worst of their ranks.
"""


def order(points: Sequence[Point], pick: str) -> list[int]:
    """Numbers of points, the picked one first: by front, then by the rule; of equal ones the first first."""
    if points and len(points[0]) == 1:
        return sorted(range(len(points)), key=lambda i: (points[i], i))
    found: list[int] = []
    for front in fronts(points):
        keys = PICKS[pick]([points[i] for i in front])
        found += [i for _, i in sorted(zip(keys, front, strict=True))]
    return found


def listed(tree: object) -> object:
    """`select_by: [a, b]` as the first rule and those `beside` it; raises ValueError."""
    if not isinstance(tree, dict) or not isinstance(rules := tree.get("select_by"), list | tuple):
        return tree
    if not rules or tree.get("beside"):
        raise ValueError(f"tune.select_by lists at least one rule, and then needs no tune.beside: got {list(rules)}")
    return {**tree, "select_by": rules[0], "beside": list(rules[1:])}


def check(rules: Sequence[str], pick: str, scheduler: str) -> None:
    """Raises ValueError where several objectives contradict the rest of a search."""
    if pick not in PICKS:
        raise ValueError(f"tune.pick is one of {', '.join(PICKS)}: got {pick!r}")
    if len(set(rules)) < len(rules):
        raise ValueError(f"tune.select_by names every rule once: got {list(rules)}; remove one")
    if len(rules) > 1 and scheduler != "none":
        raise ValueError(
            f"tune.scheduler stops trials by one rule: got {scheduler} with {len(rules)} in tune.select_by; "
            "select by one, or set tune.scheduler: none"
        )
