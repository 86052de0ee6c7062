"""Projections of the ledger into tracking servers: every file of this folder is a tracker, found by its name.

`tracking.tracker` of a study names the file, whose `TRACKER` is the class. Nothing reads the projections back.
"""

import contextlib
import importlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, Protocol

from orchestrator.errors import BadInput, StorageFailed, TrackingFailed, one_line
from orchestrator.ledger.index import Index
from orchestrator.ledger.ledger import Ledger
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads.extras import MissingExtra

POLL_S: Final = 5.0


class Tracker(Protocol):
    """One study in one tracking server; the constructor connects to it.

    The ledger may be sent at any time, any number of times, and by a new process: a tracker finds what it sent before
    and adds the rest. Every call may raise what its library raises when the server does not answer.
    """

    title: ClassVar[str]
    """Its name in messages."""

    def __init__(self, study: Study, ledger: Ledger) -> None: ...

    @staticmethod
    def address(study: Study) -> str:
        """Where the study is tracked: `tracking.uri`, or the tracker's default."""

    def update(self, plans: Iterable[CellPlan]) -> int:
        """Send the trials that the server does not have yet; returns their number."""

    def upload(self) -> None:
        """Attach the tables and the page of the study, when the sweep has ended."""


def tracker(study: Study) -> type[Tracker]:
    """The tracker that a study names, imported only now: MLflow takes seconds."""
    try:
        kind: type[Tracker] = importlib.import_module(f"{__name__}.{study.tracking.tracker}").TRACKER
    except MissingExtra as err:
        raise BadInput(str(err)) from None
    return kind


def track(study: Study, ledger: Ledger) -> int:
    """Bring the tracking server up to date with the ledger; returns the number of trials sent.

    Raises TrackingFailed for whatever the tracker's library raises.
    """
    kind = tracker(study)
    plans = Planner(study, expand(study), ledger.find, known=Index(ledger)).plans
    with _told(kind, study):
        projection = kind(study, ledger)
        sent = projection.update(plans)
        projection.upload()
    return sent


@contextlib.contextmanager
def _told(kind: type[Tracker], study: Study) -> Iterator[None]:
    try:
        yield
    except (BadInput, StorageFailed):
        raise
    except Exception as err:  # libraries of servers and databases raise what they like
        raise TrackingFailed(
            f"{kind.title} at {kind.address(study)} must take the study: {type(err).__name__}: {one_line(err, 500)}; "
            f"`tailsweep track` completes it once it does, and the results are safe"
        ) from err


def follow(study: Study, ledger: Ledger) -> int:
    """Track while a sweep runs, until standard input ends: at the end of the sweep, or with its death.

    A server that does not answer is tried again; only the last attempt's error is raised.
    """
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    kind = tracker(study)
    cells = expand(study)
    index: Index | None = None
    planner: Planner | None = None
    projection: Tracker | None = None
    sent = 0
    while not ended.wait(POLL_S):
        try:
            index = index or Index(ledger)
            if index.refresh() or planner is None:  # where a failed trial was trained again, what follows may change
                planner = Planner(study, cells, ledger.find, known=index)
            planner.catch_up()
            projection = projection or kind(study, ledger)
            sent += projection.update(planner.plans)
        except Exception:
            planner = projection = None
            time.sleep(POLL_S)
    return sent + track(study, ledger)
