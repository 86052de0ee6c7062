"""How a job is trained as a member of a pack: where it stops, what is noted, and where it may wait."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

from orchestrator.ledger.records import CurveRow


@dataclass
class Notes:
    """What a record will say in its log: what was `said` while somebody was `listening`."""

    said: dict[str, None] = field(default_factory=dict)
    listening: bool = False


@dataclass(frozen=True)
class Paused:
    """A job that wrote its checkpoint where it has to wait for others: the seconds so far, and the device."""

    wall_s: float
    device: str


Training: TypeAlias = Generator[Tensor | CurveRow | None, None, Paused | None]
"""A job as a member of a pack: it stops where others may go first, and at the row of every epoch."""
