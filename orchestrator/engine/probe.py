"""A short probe: a few epochs of one trial of every recipe, trained here and now; nothing is written to the ledger."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

import torch

from orchestrator.engine.devices import device_for
from orchestrator.engine.faults import brief, said
from orchestrator.study.cells import Trial, data_root, load_data
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.trainers import start
from workloads.workload import Data

EPOCHS: Final = 2
"""The first one warms up; where there is time for no other, it is what counts."""


class _TimeUp(BaseException):
    """No error of anything that trains, so that nothing takes it for one."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise _TimeUp in the body when its time is up; in the main thread only."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def probe(
    study: Study, trials: Sequence[Trial], seconds: float, told: Callable[[str], None]
) -> dict[tuple[str, str], float]:
    """Seconds of an epoch by workload and recipe, of the trials that had an epoch in their share of `seconds`.

    Every trial may take its share of the time that is left. What cannot be trained, or takes longer, is `told`.
    """
    end, found = time.monotonic() + seconds, dict[tuple[str, str], float | None]()
    threads, waiting = torch.get_num_threads(), [*trials, *trials]  # what takes longer is tried again in what is left
    try:
        for number, trial in enumerate(waiting):
            name, left = _name(trial), end - time.monotonic()
            missing = [
                other for other in waiting[number : len(trials)] or waiting[number:] if _name(other) not in found
            ]
            if name in found or left <= 0:
                continue
            data = load_data(WORKLOADS[trial.cell.workload], data_root(study), study.storage)
            try:
                took = _epochs(study, trial, data, left / len(missing))
            except Exception as err:  # whatever it is, a sweep would record the trial as failed
                told(f"{trial.cell.name}: {brief(said(err))}")
                found[name] = None
                continue
            if took:
                processes = study.resources.share(trial.cell.workload).processes
                found[name] = min(took[1:] or took) / processes  # it was alone, and they share the work
    finally:
        torch.set_num_threads(threads)
    for trial in trials:
        if _name(trial) not in found:
            told(f"{trial.cell.name}: an epoch takes longer than the time that the probe had for it")
    return {name: seconds for name, seconds in found.items() if seconds is not None}


def _name(trial: Trial) -> tuple[str, str]:
    return trial.cell.workload, str(trial.cell.recipe)


def _epochs(study: Study, trial: Trial, data: Data, seconds: float) -> list[float]:
    """Seconds of the first epochs of a trial, as many as the time allows.

    Each is validated, whatever `train.validate_every` says: a trial may take less, and not more.
    """
    workload, took = WORKLOADS[trial.cell.workload], list[float]()
    share = study.resources.share(workload.name)
    device = device_for(share.cpus / share.processes, share.gpus / share.processes, trial.settings)
    settings = {name: value for name, value in trial.settings.items() if name != "train.validate_every"}
    try:
        with _at_most(max(seconds, 0.001)), torch.random.fork_rng():
            run = iter(start(workload, data, trial.cell.recipe, settings, trial.seed, device))
            while len(took) < EPOCHS:
                begun = time.monotonic()
                if next(run, None) is None:
                    break
                took.append(time.monotonic() - begun)
    except _TimeUp:
        pass
    return took
