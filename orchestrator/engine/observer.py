"""Who watches a sweep: the display, and a shard's heartbeat."""

from typing import Protocol

from orchestrator.ledger.records import Record
from orchestrator.study.cells import Trial


class Observer(Protocol):
    """Who is told what happens: the display. Its errors never stop a sweep."""

    def began(self, trial: Trial) -> None:
        """A trial was given to a worker."""

    def finished(self, trial: Trial, record: Record) -> None:
        """A trial is in the ledger."""

    def lost(self, trial: Trial, reason: str) -> None:
        """A trial's worker was lost; the trial is given out again."""

    def told(self, trial: Trial, words: str) -> None:
        """A worker says something of a trial under way that a user must know."""

    def tick(self) -> None:
        """Time passed."""


class Passing:
    """An observer that passes everything on to another one: for those that do something of their own beside."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner

    def began(self, trial: Trial) -> None:
        """Passed on."""
        self._inner.began(trial)

    def finished(self, trial: Trial, record: Record) -> None:
        """Passed on."""
        self._inner.finished(trial, record)

    def lost(self, trial: Trial, reason: str) -> None:
        """Passed on."""
        self._inner.lost(trial, reason)

    def told(self, trial: Trial, words: str) -> None:
        """Passed on."""
        self._inner.told(trial, words)

    def tick(self) -> None:
        """Passed on."""
        self._inner.tick()
