"""What a suggestion depends on, as a key: a record that has it keeps the settings that a sampler would give again.

The k-th suggestion of a cell is a function of the cell, the search, k, and the outcomes of the trials before
k - parallel + 1. Their settings need not be in the key: by induction they follow from the same.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from optuna.trial import TrialState

from orchestrator.ledger.records import Record, Settings, canonical
from orchestrator.study.cells import Cell, Trial
from orchestrator.study.hyperparameters import declared
from orchestrator.study.samplers import sampler_named
from orchestrator.study.space import Observation, acts, first_setting
from orchestrator.study.spec import Study
from workloads.hparams import Value

SEARCH: Final = 1
"""Version of what goes into a key: another one where the same key would have to mean other settings."""


class Lineage:
    """The keys of one cell's suggestions, in the order of their numbers."""

    def __init__(self, study: Study, cell: Cell) -> None:
        self._study, self._cell = study, cell
        self._outcomes = b""
        self.told: list[Observation] = []
        """Outcomes of the first trials, which the next suggestion knows."""

    @cached_property
    def _alone(self) -> bytes:
        """What every suggestion depends on."""
        cell = self._cell
        axes = [
            [axis.name, repr(axis.range), axis.first, {k: list(v) for k, v in axis.only.items()}] for axis in cell.axes
        ]
        identity = {
            "search": SEARCH,
            "sampler": self._study.tune.sampler,
            "protocol": cell.protocol,
            **cell.identity,
            "fixed": dict(cell.fixed),
            "axes": axes,
            "published": dict(cell.published),
            "copy": [cell.copy, cell.replicate],
        }
        return _digest(canonical(identity).encode())

    @cached_property
    def _learning(self) -> bytes:
        """What those depend on that results shape, beside the results."""
        tune = self._study.tune
        beside = {"beside": list(tune.beside)} if tune.beside else {}
        return _digest(
            self._alone, canonical({"parallel": tune.parallel, "select_by": tune.select_by, **beside}).encode()
        )

    def tell(self, settings: Settings, record: Record) -> None:
        """The settings and the outcome of the next trial."""
        seen = observed(settings, record, self._study.tune.rules)
        self.told.append(seen)
        self._outcomes = _digest(self._outcomes, f"{seen.state.name} {seen.value!r} {seen.curve!r}".encode())

    def key(self, number: int) -> str:
        """That of the number-th suggestion, which knows what was told so far."""
        tune = self._study.tune
        shaped = sampler_named(tune.sampler).learns(number, self._cell.protocol)
        parts = (self._learning, self._outcomes) if shaped else (self._alone,)
        return _digest(*parts, str(number).encode()).hex()


def observed(settings: Settings, record: Record, rules: Sequence[str]) -> Observation:
    """What a sampler learns of a trial: stopped ones, which one rule judged, as pruned with their curve."""
    values = tuple(value for rule in rules if (value := record.score(rule)) is not None)
    if record.status == "completed" and len(values) == len(rules):
        return Observation(settings, TrialState.COMPLETE, values if len(rules) > 1 else values[0])
    if record.status != "stopped":
        return Observation(settings, TrialState.FAIL)
    return Observation(settings, TrialState.PRUNED, None, curve_of(record, rules[0]))


def curve_of(record: Record, rule: str) -> tuple[tuple[int, float], ...]:
    """A score by epoch, where it is defined."""
    return tuple((row.epoch, value) for row in record.curve if (value := row.score(rule)) is not None)


def kept(cell: Cell, number: int, record: Record, seed: int) -> tuple[dict[str, Value], Trial] | None:
    """The active settings, defaults included, and the trial of a suggestion that a record keeps.

    None where the record is of another trial: the code that trained it gave other numbers.
    """
    trial = Trial(cell, "tune", number, record.settings, seed, record.search)
    if trial.id != record.trial_id:
        return None
    return first_setting(cell) if number == 0 else _active(cell, record.settings), trial


def _active(cell: Cell, settings: Settings) -> dict[str, Value]:
    """What was suggested, from the settings of a record, which lack those that have their default."""
    values: dict[str, Value] = {}
    for axis in cell.axes:
        if acts(cell, axis, values):
            part, _, hparam = axis.name.partition(".")
            values[axis.name] = settings.get(axis.name, declared(part)[hparam].default)
    return values


def _digest(*parts: bytes) -> bytes:
    """A hash of some byte strings, each of which has one length or stands last."""
    return hashlib.blake2b(b"".join(parts), digest_size=16).digest()
