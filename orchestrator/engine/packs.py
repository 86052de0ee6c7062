"""Packs of trials: which are trained in step in one process, and how they are."""

import warnings
from collections.abc import Callable, Collection, Generator, Sequence
from typing import Final

import torch

from orchestrator.engine.training import Notes, Paused
from orchestrator.engine.trial import Job, train
from orchestrator.errors import Preempted
from orchestrator.ledger.records import CurveRow
from orchestrator.ledger.telling import tell as note
from orchestrator.study.cells import Trial
from orchestrator.study.planner import Planner
from orchestrator.study.resources import MEMBERS
from workloads import WORKLOADS
from workloads.pack import Pack

IN_STEP: Final = ("train.epochs", "train.batch_size", "train.deterministic")
"""Settings that members share: they have the same number of steps, and algorithms are chosen for the process."""


class Packer:
    """Takes trials from a planner in packs; those in `alone` are packs of their own.

    While fewer trials wait than the workers could take, packs are smaller, so that no worker is idle. Trials of another
    kind are put aside for the next ones. `stops`: a scheduler of Tune's may stop trials of the search, which are alone;
    those that the planner halves are trained to their rung together.
    """

    def __init__(self, planner: Planner, workers: int, stops: bool, alone: Collection[str]) -> None:
        self._planner, self._workers, self._stops, self._alone = planner, workers, stops, alone
        self._aside: list[Trial] = []

    def next(self) -> list[Trial]:
        """The next pack; empty when all trials wait for results, or for other drivers."""
        first = self._aside.pop(0) if self._aside else self._planner.next()
        if first is None:
            return []
        size = self._size(first)
        pack = [first, *(trial for trial in self._aside if size > 1 and self._joins(trial, first))][:size]
        self._aside = [trial for trial in self._aside if trial not in pack]
        while len(pack) < size and len(self._aside) < MEMBERS:
            trial = self._planner.next()
            if trial is None:
                break
            (pack if self._joins(trial, first) else self._aside).append(trial)
        return pack

    def _size(self, first: Trial) -> int:
        """Most members of a trial's pack now."""
        waiting = self._planner.waiting + len(self._aside) + 1
        return max(1, min(self._most(first), -(-waiting // self._workers)))

    def _most(self, trial: Trial) -> int:
        """Most members of a trial's pack ever. One of Tune's schedulers looks at each trial by itself."""
        if (self._stops and self._planner.searches(trial)) or trial.id in self._alone:
            return 1
        name = trial.cell.workload
        return self._planner.study.resources.members(name, WORKLOADS[name].light)

    def _joins(self, trial: Trial, first: Trial) -> bool:
        return self._most(trial) > 1 and self._kind(trial) == self._kind(first)

    def _kind(self, trial: Trial) -> tuple[object, ...]:
        """What members share, also the epochs from and until which they train, so that they end together."""
        settings = (trial.settings.get(name) for name in IN_STEP)
        return (trial.cell.workload, *settings, len(self._planner.curve(trial)), self._planner.until(trial))


class Jobs:
    """Jobs that a worker trains in step; each commits its own record at its end, whatever becomes of the others.

    `tell` is told what a user must know of a job.
    """

    def __init__(self, jobs: Sequence[Job], tell: Callable[[Job, str], None]) -> None:
        self.jobs = jobs
        self._notes = [Notes() for _ in jobs]
        self._caught: list[warnings.WarningMessage] = []
        cuda = [torch.device("cuda", 0)] if jobs[0].gpus > 0 and torch.cuda.is_available() else []
        works = [
            train(job, lambda words, job=job: tell(job, words), self._notes[k], lambda k=k: self._seconds(k))  # type: ignore[misc]
            for k, job in enumerate(jobs)
        ]
        self._pack = Pack(works, cuda, after=self._note)

    @property
    def done(self) -> bool:
        """Whether all have ended."""
        return self._pack.ended

    @property
    def ended(self) -> list[tuple[Job, Paused | None]]:
        """Those that have, and where they wait that are to go on later."""
        pairs = zip(self.jobs, self._pack.members, strict=True)
        return [
            (job, member.value if isinstance(member.value, Paused) else None) for job, member in pairs if member.ended
        ]

    def advance(self) -> list[tuple[Job, CurveRow]]:
        """Train every job for an epoch, or to its end after its last; the rows of the epochs."""
        with warnings.catch_warnings(record=True) as self._caught:
            warnings.simplefilter("always")
            return [(self.jobs[k], row) for k, row in self._pack.advance()]

    def preempt(self) -> None:
        """Write the checkpoints of the jobs, whose machine is taken away; nothing can follow."""
        self._pack.throw(Preempted())

    def close(self) -> None:
        """Let go of what the jobs hold."""
        self._pack.close()

    def _seconds(self, k: int) -> float:
        return self._pack.members[k].seconds()

    def _note(self, positions: Sequence[int]) -> None:
        """Keep the warnings of training: a worker's standard error is read by nobody."""
        if self._caught:
            said = dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in self._caught)
            self._caught.clear()
            for k in positions:
                if self._notes[k].listening:
                    self._notes[k].said.update(said)


def run(job: Job, tell: Callable[[str], None] = note) -> Generator[CurveRow, None, Paused | None]:
    """Train a job by itself, as `train` does, epoch by epoch; yields the row of every epoch and returns as it does.

    Preempted, thrown into it, has it write its checkpoint and end.
    """
    alone = Jobs([job], lambda _, words: tell(words))
    try:
        while not alone.done:
            for _, row in alone.advance():
                try:
                    yield row
                except Preempted:
                    alone.preempt()
                    return None
        return alone.ended[0][1]
    finally:
        alone.close()
