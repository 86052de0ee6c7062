"""What a planner is told of the ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from orchestrator.ledger.records import Phase, Record

Find = Callable[[str, Phase], Record | None]
"""Looks a trial id up in the ledger."""


class Known(Protocol):
    """What was read of the ledger at once, and is not asked for trial by trial."""

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        """The record of a trial."""

    def searched(self, key: str) -> Record | None:
        """The record of a trial of a search, by the key of its suggestion (`orchestrator.study.lineage`)."""


@dataclass(frozen=True)
class Asked:
    """A ledger that is asked for every trial, and keeps no suggestions."""

    find: Find

    def searched(self, key: str) -> Record | None:
        """None."""
        return None
