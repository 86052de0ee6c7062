"""A sweep in a thread, whose records a loop in another one takes as they are committed."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeAlias

from orchestrator.engine.observer import Observer, Passing
from orchestrator.ledger.records import Phase, Record
from orchestrator.study.cells import Trial
from orchestrator.study.planner import PHASES, Planner

Through: TypeAlias = Callable[[Planner, Observer], Observer]
"""What a sweep calls before its first trial: the observer that it gets back takes the place of its own."""
Item: TypeAlias = Record | BaseException | threading.Event | None
"""What the loop is told: a record, an error that ended the sweep, that the sweep waits for the loop, or the end."""


class Left(KeyboardInterrupt):
    """The loop was left: the sweep ends as on Ctrl-C. No Exception, since those of observers stop nothing."""


class Streamed(Passing):
    """An observer that passes records on to a loop, and ends the sweep when the loop was `left`."""

    def __init__(self, inner: Observer, take: Callable[[Phase, Record], None], left: threading.Event) -> None:
        super().__init__(inner)
        self._take, self._left = take, left

    def finished(self, trial: Trial, record: Record) -> None:
        """The loop is told first."""
        self._take(trial.phase, record)
        super().finished(trial, record)

    def tick(self) -> None:
        """Raises Left."""
        if self._left.is_set():
            raise Left
        super().tick()


def streamed(sweep: Callable[[Through], Planner], known: bool = True) -> Generator[Record, None, None]:
    """The records of a sweep, each trial once: those that are there before it (with `known`), then every new one.

    `sweep` runs in a thread of its own, which waits until the loop has taken what was there: while Ray starts, the
    process is in another folder, in which no code of a user should run. What other drivers commit meanwhile comes at
    the end. An error of the sweep is raised in the loop; a loop that is left ends the sweep, and waits for that.
    """
    items: queue.SimpleQueue[Item] = queue.SimpleQueue()
    left, go = threading.Event(), threading.Event()
    seen: set[tuple[Phase, str]] = set()

    def take(phase: Phase, record: Record) -> None:
        if (phase, record.trial_id) not in seen:
            seen.add((phase, record.trial_id))
            items.put(record)

    def take_all(planner: Planner) -> None:
        for phase in PHASES:
            for plan in planner.mine:
                for record in plan.records(phase):
                    take(phase, record)

    def through(planner: Planner, observer: Observer) -> Observer:
        if known:
            take_all(planner)
        else:
            seen.update((phase, r.trial_id) for phase in PHASES for plan in planner.mine for r in plan.records(phase))
        items.put(go)
        go.wait()
        if left.is_set():
            raise Left
        return Streamed(observer, take, left)

    def run() -> None:
        try:
            take_all(sweep(through))
        except BaseException as err:
            items.put(err)
        else:
            items.put(None)

    thread = threading.Thread(target=run, name="sweep", daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        left.set()
        go.set()
        thread.join()
