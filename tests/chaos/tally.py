"""What was done, and what must stay at nought."""

import contextlib
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


def say(line: str) -> None:
    """A line of the log, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@dataclass
class Tally:
    """Counts of faults by what they were, and of whatever went wrong, with words for each."""

    faults: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)
    runs: int = 0

    @property
    def kills(self) -> int:
        """Processes that were killed."""
        return sum(number for name, number in self.faults.items() if name.startswith("kill "))

    def went_wrong(self, what: str, words: str) -> None:
        """Note it: lost, doubled, hung, different, charged, unclear, left."""
        self.wrong[what] += 1
        self.words.append(f"{what}: {words}")

    @contextlib.contextmanager
    def counted(self, where: str) -> Iterator[None]:
        """Count an exception as unclear, with its traceback: it costs neither the counts nor the scenes to come."""
        try:
            yield
        except Exception:
            self.went_wrong("unclear", f"{where}: {traceback.format_exc()}")

    def __str__(self) -> str:
        kinds = ("lost", "doubled", "hung", "different", "charged", "unclear", "left")
        done = ", ".join(f"{number} {name}" for name, number in sorted(self.faults.items()))
        counts = ", ".join(f"{self.wrong[kind]} {kind}" for kind in kinds)
        return f"{self.kills} kills in {self.runs} runs ({done}): {counts}"


MEANING = """
lost        a committed record is no longer there, or a trial of the plan is not at the end
doubled     a trial is there more than once, in the ledger or in MLflow
hung        a command did not end within its bound
different   tables, scores or predictions are not those of an undisturbed run, and nobody said so
charged     a trial is recorded as failed, which none is
unclear     an exit code or an output that does not say what happened: a traceback, say
left        processes of a driver that is dead are still there after 90 s
"""
