"""How far a driver is, kept in the storage: a reader needs neither the driver nor the data.

<study>/shards/<number>-of-<count>.json
"""

import contextlib
import json
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final

from orchestrator.engine.observer import Observer, Passing
from orchestrator.errors import StorageFailed, one_line
from orchestrator.ledger.records import now
from orchestrator.storage.store import Store
from orchestrator.study.cell_plan import UnderWay
from orchestrator.study.planner import Planner

EVERY_S: Final = 10.0


@dataclass(frozen=True)
class Beat:
    """What a driver says of itself: trials of its cells, and when and where it said so."""

    shard: int
    shards: int
    done: int
    failed: int
    running: int
    total: int
    ended: bool
    host: str
    at: datetime
    epochs: int = 0
    of_epochs: int = 0
    """Of the trials that are running: those that they have, and all."""
    cells: Mapping[str, int] = field(default_factory=dict)
    """Of every cell that is at work, how many trials run."""

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        state = "ended" if self.ended else str(UnderWay(self.running, self.epochs, self.of_epochs))
        return f"shard {self.shard}/{self.shards} on {self.host}: {self.done}/{self.total} trials{failed}, {state}"

    @property
    def age(self) -> str:
        """When it said so."""
        return f"{round(self.silent_s)} s ago"

    @property
    def silent_s(self) -> float:
        """Seconds since then."""
        return max(0.0, (now() - self.at).total_seconds())


class Heartbeat(Passing):
    """An observer that keeps a driver's beat in the storage and passes everything on."""

    def __init__(self, inner: Observer, planner: Planner, store: Store, shard: int, shards: int) -> None:
        super().__init__(inner)
        self._planner, self._store = planner, store
        self._shard, self._shards = shard, shards
        self._next = 0.0

    def tick(self) -> None:
        """A beat now and then."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_S
            self.beat()
        super().tick()

    def beat(self, ended: bool = False) -> None:
        """Write the beat."""
        plans = self._planner.mine
        records = [record for plan in plans for phase in ("tune", "evaluate") for record in plan.records(phase)]
        running = self._planner.under_way
        beat = Beat(
            shard=self._shard,
            shards=self._shards,
            done=len(records),
            failed=sum(record.status == "failed" for record in records),
            running=running.trials,
            total=self._planner.total,
            ended=ended,
            host=platform.node(),
            at=now(),
            epochs=running.epochs,
            of_epochs=running.of,
            cells={plan.cell.name: len(plan.running) for plan in plans if plan.running},
        )
        self._store.put(self._key, json.dumps(asdict(beat), default=str).encode())

    @contextlib.contextmanager
    def until_end(self) -> Iterator[None]:
        """Say at the end that it has ended; where an error ends it, take back what was said."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(StorageFailed):
                self._store.delete(self._key)
            raise
        self.beat(ended=True)

    @property
    def _key(self) -> str:
        return f"{_folder(self._planner.study.study)}{self._shard:05d}-of-{self._shards:05d}.json"


def beats(store: Store, study: str) -> list[Beat]:
    """The last beat of every driver of a study, by shard."""
    found = []
    for key in store.keys(_folder(study)):
        written = store.get(key)
        if written is None:  # forgotten since they were listed
            continue
        try:
            tree = json.loads(written)
            found.append(Beat(**{**tree, "at": datetime.fromisoformat(tree["at"])}))
        except (ValueError, TypeError, KeyError) as err:
            raise StorageFailed(
                f"{store.locate(key)} is not what a driver wrote: {one_line(err, 200)}; delete it"
            ) from None
    return found


def forget(store: Store, study: str) -> None:
    """Remove the beats of earlier drivers."""
    for key in store.keys(_folder(study)):
        store.delete(key)


def _folder(study: str) -> str:
    return f"{study}/shards/"
