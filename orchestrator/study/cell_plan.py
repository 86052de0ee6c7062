"""The trials of one cell and what became of them: what a planner keeps, and what reports read."""

from dataclasses import dataclass, field
from typing import Final

from orchestrator.errors import one_line
from orchestrator.ledger.records import Phase, Record
from orchestrator.study.cells import Cell, Trial
from orchestrator.study.halving import Halving
from orchestrator.study.keys import Tune
from orchestrator.study.selection import Candidate
from workloads.hparams import Value

REASON_CHARS: Final = 500
"""Of the reason why a trial failed, in tables, on the page and on a terminal."""


@dataclass(frozen=True)
class UnderWay:
    """How many trials are being trained, and how many of their epochs they have."""

    trials: int
    epochs: int
    of: int

    def __str__(self) -> str:
        return f"{self.trials} running" + (f" ({self.epochs}/{self.of} epochs)" if self.trials else "")


@dataclass
class CellPlan:
    """The trials of one cell and what became of them, by number.

    Trials of the tune phase are those of the search, whose settings are `suggested`, and behind them those that train
    the best of these settings again with other seeds.
    """

    cell: Cell
    halving: Halving = field(default_factory=lambda: Halving(Tune()))
    """Populations of the search, where it is stopped early by successive halving."""
    trials: dict[Phase, list[Trial]] = field(default_factory=lambda: {"tune": [], "evaluate": []})
    outcomes: dict[Phase, dict[int, Record]] = field(default_factory=lambda: {"tune": {}, "evaluate": {}})
    running: dict[tuple[Phase, int], int] = field(default_factory=dict)
    """Trials under way, with the epochs that they have so far."""
    waiting: list[Trial] = field(default_factory=list)
    """Trials that can be given out, in their order."""
    suggested: list[dict[str, Value]] = field(default_factory=list)
    """Active settings of every trial of the search, defaults included."""
    repeats: dict[int, int] = field(default_factory=dict)
    """Trials of the search whose settings an earlier one has, by number: they take its outcome."""
    numbers: dict[str, int] = field(default_factory=dict)
    """The first trial of the search with some settings, by the id that they have in common."""
    rescoring: dict[int, int] | None = None
    """The trial of the search whose settings a rescoring trial has, by number; None before the search has ended."""
    chosen: Candidate | None = None
    """The setting that is evaluated."""
    unselected: str = ""
    """Why tuning ended without a selected trial, beside failures."""
    charged: int = 0
    """Epochs that were given out, the unit of a fair budget."""
    study: str = ""
    """Whose it is, in a table that has the recipe of several studies."""
    replicated: bool = False
    """Whether the study repeats its tuning: then replicates stand in the report where seeds do else."""

    @property
    def row(self) -> str:
        """The name of its row in tables, which replicates share."""
        return f"{self.cell.recipe} ({self.study})" if self.study else str(self.cell.recipe)

    @property
    def label(self) -> str:
        """Its name where every replicate has a line of its own."""
        return f"{self.row}{self.cell.again}"

    def unit(self, number: int) -> int:
        """What the evaluation run with a number counts as in the report: its replicate, or itself."""
        return self.cell.replicate if self.replicated else number

    def records(self, phase: Phase) -> list[Record]:
        """Outcomes in the order of their numbers, each trial once."""
        outcomes = self.outcomes[phase]
        return [outcomes[number] for number in sorted(outcomes) if phase != "tune" or number not in self.repeats]

    @property
    def searched(self) -> list[Record]:
        """Outcomes of the search, which rescoring follows."""
        return [record for record in self.records("tune") if record.number not in (self.rescoring or {})]

    @property
    def selected(self) -> Record | None:
        """The trial of the search that has the setting that is evaluated."""
        return None if self.chosen is None else self.chosen.record

    @property
    def settings(self) -> dict[str, Value] | None:
        """The selected settings, defaults included."""
        return None if self.chosen is None else self.suggested[self.chosen.record.number]

    def failures(self) -> list[Record]:
        """Trials that failed, tuning before evaluation."""
        return [r for phase in ("tune", "evaluate") for r in self.records(phase) if r.status == "failed"]

    def missing(self) -> str:
        """Why there is no result, or fewer seeds than planned: empty when nothing is missing."""
        failed = self.failures()
        told = f"{len(failed)} failed: {reason(failed[-1])}" if failed else ""
        return "; ".join(text for text in (told, self.unselected) if text)


def reason(record: Record) -> str:
    """Why a trial failed: the first line of its error, cut, without control characters."""
    return one_line(next(iter((record.error or "").strip().splitlines()), "unknown"), REASON_CHARS)
