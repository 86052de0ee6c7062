"""The further processes of a trial that is trained by several: actors of Ray in the placement group of the trial.

Why not `ray.train`: its workers are placed by a group of their own, beside that of the trial. So a trial would hold
nothing of what it trains on, two trials that start at a time could wait for each other for ever, and a detached actor
would have to clean up behind a trial that is stopped. Actors of the trial's process end with it, however it ends.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias

import torch
from torch.distributed import distributed_c10d

from orchestrator.engine.faults import brief
from workloads.memory import out_of_memory
from workloads.ranks import ALONE, Ranks, join, meeting

LOOK_S: Final = 0.5
"""How often the other processes are looked at."""
CAUSE_S: Final = 5.0
"""So long is waited for the reason of another process when this one has failed."""
LEAVE_S: Final = 60.0
"""When another process has failed, this one has so long to notice: a device may wait in an exchange for ever."""
Follow: TypeAlias = Callable[[int, int], None]
"""What another process does, given its number and the port at which all meet."""


class RankLost(ConnectionError):
    """A process of a trial is gone, so that the others cannot go on: the trial is tried again, as for a lost worker."""


class Follower:
    """A process beside that of a trial."""

    def do(self, work: Callable[..., None], *args: Any) -> None:
        """Do as told."""
        work(*args)


@contextmanager
def several(size: int, device: torch.device, prepare: Callable[[], object], follow: Follow) -> Iterator[Ranks]:
    """This process as the first of `size` that train a trial; the others `prepare`, then `follow`.

    What ends the body is raised as the error of the process that failed first. Raises RankLost where one is gone.
    """
    if size == 1:
        yield ALONE
        return
    import ray  # by workers only: the rest of this package must not need it
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = ray.util.get_current_placement_group()
    others = []
    for place, bundle in enumerate(group.bundle_specs[1:size], start=1):
        where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=place)
        given = {"num_cpus": bundle.get("CPU", 0), "num_gpus": bundle.get("GPU", 0)}
        others.append(ray.remote(Follower).options(**given, scheduling_strategy=where).remote())
    watch = _Watch()
    try:
        watch.wait([other.do.remote(prepare) for other in others])
        store = meeting(size)
        watch.begin([other.do.remote(follow, rank, store.port) for rank, other in enumerate(others, start=1)], others)
        watch.ranks = join(0, size, store, device)
        yield watch.ranks
    except Exception as err:
        cause = watch.cause(CAUSE_S)  # before this one closes, upon which all others fail
        if cause is None or cause is err:
            raise
        raise cause from err
    finally:
        if watch.ranks is not None:
            with suppress(Exception):  # of an exchange that was ended already (`_release`)
                watch.ranks.close()
        watch.end()
        for other in others:
            ray.kill(other)


class _Watch:
    """Whether the other processes of a trial are at work, as long as its `ranks` are several."""

    def __init__(self) -> None:
        self.ranks: Ranks | None = None
        self._failed: list[BaseException] = []
        self._ended, self._known = threading.Event(), threading.Event()

    def wait(self, tasks: Sequence[Any]) -> None:
        """Until all have ended; raises what one of them raised."""
        import ray

        waiting = list(tasks)
        while waiting:
            done, waiting = ray.wait(waiting)
            self._failed += [error for task in done if (error := _error(task)) is not None]
            if self._failed:
                raise _first(self._failed)

    def begin(self, tasks: Sequence[Any], actors: Sequence[Any]) -> None:
        """Watch tasks of actors from now on; when one fails, all actors are ended, so that this process notices."""
        thread = threading.Thread(target=self._watch, args=(list(tasks), actors), name="ranks", daemon=True)
        thread.start()

    def _watch(self, waiting: list[Any], actors: Sequence[Any]) -> None:
        import ray

        while waiting and not self._over:
            done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=LOOK_S)
            self._failed += [error for task in done if (error := _error(task)) is not None]
            if self._failed:
                self._known.set()
                self._release(actors)
                return

    def _release(self, actors: Sequence[Any]) -> None:
        """End an exchange in which this process may wait for others that will never come."""
        import ray

        for actor in actors:
            ray.kill(actor)
        if torch.cuda.is_available():
            with suppress(Exception):
                distributed_c10d._abort_process_group()
        deadline = time.monotonic() + LEAVE_S
        while not self._over:
            time.sleep(LOOK_S)
            if time.monotonic() > deadline:
                os._exit(1)  # a lost worker, which is given out again

    @property
    def _over(self) -> bool:
        return self._ended.is_set() or (self.ranks is not None and self.ranks.size == 1)

    def cause(self, seconds: float) -> BaseException | None:
        """Why another process failed; None where none did in so many seconds."""
        deadline = time.monotonic() + seconds
        while not self._failed and not self._known.wait(LOOK_S) and time.monotonic() < deadline:
            pass
        return _first(self._failed) if self._failed else None

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()


def _error(task: Any) -> BaseException | None:
    """What a task that has ended was ended by: its own error, or RankLost."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        ray.get(task)
    except RayTaskError as err:
        return err.cause if isinstance(err.cause, BaseException) else err
    except Exception as err:
        why, _, _ = str(err).strip().partition("\n")
        return RankLost(f"a process of the trial was lost: {brief(why)}")
    return None


def _first(errors: Sequence[BaseException]) -> BaseException:
    """The error of which others are the consequence: an exchange fails in all processes when one is gone."""
    return min(errors, key=lambda error: (not out_of_memory(error), not isinstance(error, RankLost)))
