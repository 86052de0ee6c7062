"""The records that count, read at once and kept as columns: for planners of tens of thousands of trials.

A record of an index is made when it is asked for, and decodes what is large of it when that is looked at. Learning
curves stay in the ledger until then.
"""

import json
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ledger.flat import scores_of
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import PHASES, Attempt
from orchestrator.ledger.records import SCHEMAS, CurveRow, Phase, Record, scores_in

COLUMNS: Final[dict[Phase, list[str]]] = {
    phase: [name for name in schema.names if name != "curve"] for phase, schema in SCHEMAS.items()
}
SPLITS: Final = ("val", "test")


class Rows:
    """A table of records, whose columns become Python's values when they are asked for."""

    def __init__(self, ledger: Ledger, phase: Phase, table: pa.Table) -> None:
        self.table, self._ledger, self._phase = table, ledger, phase
        self._lists: dict[str, list[Any]] = {}
        self._scores: dict[str, dict[str, pa.Array]] = {}

    def values(self, name: str) -> list[Any]:
        """A column of plain values; None throughout for one that older records lack."""
        if name not in self._lists:
            there = name in self.table.column_names
            self._lists[name] = self.table[name].to_pylist() if there else [None] * len(self.table)
        return self._lists[name]

    def score(self, name: str, row: int) -> float | None:
        """A score by its name, `val/mae/few`."""
        if name not in self._lists:
            split = name.partition("/")[0]
            if split not in self._scores:
                there = split in self.table.column_names
                self._scores[split] = scores_of(self.table[split], split) if there else {}
            column = self._scores[split].get(name)
            self._lists[name] = [None] * len(self.table) if column is None else column.to_pylist()
        value: float | None = self._lists[name][row]
        return value

    def scores(self, split: str, row: int) -> Any:
        """All scores of a record; None where it has none of that split."""
        found = self.table[split][row].as_py() if split in self.table.column_names else None
        return None if found is None else scores_in(found)

    def curve(self, row: int) -> tuple[CurveRow, ...]:
        """The learning curve, which is read now."""
        attempt = self.values("trial_id")[row], self.values("attempt")[row]
        return self._ledger.record(self._phase, attempt).curve

    @cached_property
    def odd(self) -> frozenset[int]:
        """Rows with a score that is no finite number: earlier releases wrote such, and `Record.from_row` mends them."""
        found: set[int] = set()
        for split in SPLITS:
            if split in self.table.column_names:
                lists = self.table[split].combine_chunks()
                values = lists.flatten().field("value")
                wrong = pc.fill_null(pc.invert(pc.is_finite(values)), False)
                found.update(pc.filter(pc.list_parent_indices(lists), wrong).to_pylist())
        return frozenset(found)


class Kept(Record):
    """A record of an index."""

    @classmethod
    def of(cls, rows: Rows, row: int, **known: Any) -> "Kept":
        """That of a row; `known` are values that are not those of the row."""
        made = cls.__new__(cls)
        vars(made).update(_rows=rows, _row=row, **known)
        return made

    def score(self, name: str) -> float | None:
        """As `Record.score`, without decoding the others."""
        rows: Rows = vars(self)["_rows"]
        return rows.score(name, vars(self)["_row"])

    def renumbered(self, number: int) -> "Kept":
        """The same under another number."""
        return Kept.of(vars(self)["_rows"], vars(self)["_row"], number=number)

    def __eq__(self, other: object) -> bool:
        names = self.__dataclass_fields__
        return isinstance(other, Record) and all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]  # as that of a record, which holds mappings


@lru_cache(maxsize=1024)
def _versions(text: str) -> Mapping[str, str]:
    found: Mapping[str, str] = json.loads(text)
    return found


DECODED: Final[dict[str, Callable[[Rows, int], Any]]] = {
    "settings": lambda rows, row: json.loads(rows.values("settings")[row]),
    "versions": lambda rows, row: _versions(rows.values("versions")[row]),
    "val": lambda rows, row: rows.scores("val", row),
    "test": lambda rows, row: rows.scores("test", row),
    "curve": lambda rows, row: rows.curve(row),
}
"""How fields are made that are not the values of their columns."""


class _Field:
    """A field of `Kept`, made when it is first looked at."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, record: Any, owner: type | None = None) -> Any:
        known = vars(record)
        rows, row = known["_rows"], known["_row"]
        make = DECODED.get(self._name)
        value = known[self._name] = rows.values(self._name)[row] if make is None else make(rows, row)
        return value


for _name in Record.__dataclass_fields__:
    setattr(Kept, _name, _Field(_name))


Place: TypeAlias = tuple[Rows, int]
Rank: TypeAlias = tuple[bool, int]


class Index:
    """The records of a ledger as they were when it was last refreshed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._attempts: dict[Phase, set[Attempt]] = {phase: set() for phase in PHASES}
        self._segments: dict[Phase, int] = dict.fromkeys(PHASES, 0)
        self._ranks: dict[tuple[str, Phase], Rank] = {}
        self._places: dict[tuple[str, Phase], Place] = {}
        self._searched: dict[str, str] = {}
        self._made: dict[tuple[str, Phase], Record | None] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read what is new; says whether that changes the outcome of a trial that was known."""
        changed = [self._take(phase) for phase in PHASES]
        return any(changed)

    def _take(self, phase: Phase) -> bool:
        known, changed = self._attempts[phase], False
        table = self._ledger.since(phase, COLUMNS[phase], known, self._segments[phase])
        self._segments[phase] = len(self._ledger.segments(phase).keys)
        rows = Rows(self._ledger, phase, table)
        columns = (rows.values(name) for name in ("trial_id", "attempt", "status", "search"))
        for row, (trial_id, attempt, status, search) in enumerate(zip(*columns, strict=True)):
            if (trial_id, attempt) in known:
                continue
            known.add((trial_id, attempt))
            short = status != "completed" or row in rows.odd
            rank, trial = (short, -attempt if short else attempt), (trial_id, phase)
            if trial in self._ranks and self._ranks[trial] <= rank:
                continue
            changed = changed or trial in self._ranks
            self._ranks[trial], self._places[trial] = rank, (rows, row)
            self._made.pop(trial, None)
            if search is not None:
                self._searched[search] = min(trial_id, self._searched.get(search, trial_id))
        return changed

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        """The record of a trial that counts, or None, as `Ledger.find`."""
        trial = trial_id, phase
        place = self._places.get(trial)
        if place is None:
            return None
        if trial not in self._made:
            rows, row = place
            self._made[trial] = self._ledger.find(trial_id, phase) if row in rows.odd else Kept.of(rows, row)
        return self._made[trial]

    def searched(self, key: str) -> Record | None:
        """The record of a trial of a search that has this key."""
        trial_id = self._searched.get(key)
        found = None if trial_id is None else self.find(trial_id, "tune")
        return None if found is None or found.search != key else found
