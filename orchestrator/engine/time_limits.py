"""How long a trial, and an epoch of it, may take."""

from dataclasses import dataclass
from typing import Final

LOOK_S: Final = 0.5
"""How often limits are looked at."""


@dataclass
class _Clock:
    """Of one attempt at a trial: when it began and when it was last heard of, in seconds."""

    attempt: str
    began: float
    heard: float
    members: int


@dataclass(frozen=True)
class Exceeded:
    """A limit that a trial has exceeded."""

    reason: str
    log: str


class Clocks:
    """The clocks of the trials under way, against two limits in seconds; None is no limit.

    A trial's time is that of one attempt: from when it is handed to a worker, reading the data included, to its record.
    An epoch's time is that between two reports of epochs. Members of a pack have so many times as long.
    """

    def __init__(self, trial_s: float | None, epoch_s: float | None) -> None:
        self._trial_s, self._epoch_s = trial_s, epoch_s
        self._clocks: dict[str, _Clock] = {}
        self._exceeded: dict[str, Exceeded] = {}
        self._next = 0.0

    def due(self, moment: float) -> bool:
        """Whether it is time to look."""
        if (self._trial_s is None and self._epoch_s is None) or moment < self._next:
            return False
        self._next = moment + LOOK_S
        return True

    def start(self, trial_id: str, attempt: str, moment: float, members: int = 1) -> None:
        """An attempt at a trial is with a worker; it counts from when that is said for the first time."""
        if trial_id not in self._clocks or self._clocks[trial_id].attempt != attempt:
            self._clocks[trial_id] = _Clock(attempt, moment, moment, members)

    def came(self, trial_id: str, moment: float) -> None:
        """Epochs of a trial were reported."""
        if trial_id in self._clocks:
            self._clocks[trial_id].heard = moment

    def overdue(self, trial_id: str, moment: float) -> bool:
        """Whether a limit is exceeded, for the first time."""
        clock = self._clocks[trial_id]
        if trial_id in self._exceeded:
            return False
        for key, limit, since in (
            ("time_limit_s", self._trial_s, clock.began),
            ("epoch_time_limit_s", self._epoch_s, clock.heard),
        ):
            if limit is not None and moment - since > limit * clock.members:
                what = "" if key == "time_limit_s" else " in one epoch"
                self._exceeded[trial_id] = Exceeded(
                    f"Timed out after {limit:g} s{what}",
                    f"tune.{key} is {limit:g}: its worker was killed after {moment - since:.1f} s. "
                    "--retry-failed trains it again, with another limit if need be",
                )
                return True
        return False

    def exceeded(self, trial_id: str) -> Exceeded | None:
        """The limit that a trial has exceeded, if any."""
        return self._exceeded.get(trial_id)

    def stop(self, trial_id: str) -> None:
        """Forget a trial that has ended or is given out again."""
        self._clocks.pop(trial_id, None)
        self._exceeded.pop(trial_id, None)
