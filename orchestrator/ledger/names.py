"""Where the parts of a ledger lie, and which files below it are none of it."""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from orchestrator.ledger.records import Phase

Attempt: TypeAlias = tuple[str, int]
"""A trial id and the number of the attempt."""

PHASES: Final[tuple[Phase, ...]] = ("tune", "evaluate")
OF_PREDICTIONS: Final = "ledger/predictions/"
OF_VALIDATION: Final = "ledger/validation/"
OF_MODELS: Final = "ledger/models/"
OF_SPLITS: Final = "ledger/splits/"
OF_SAMPLES: Final = "ledger/samples/"
OF_DAMAGED: Final = "ledger/damaged/"
"""Where a repair puts what it sets aside."""
_NUMBER: Final = r"(0|[1-9]\d*)"
_RECORD: Final = re.compile(rf"ledger/(?:tune|evaluate)/([\w-]+)\.{_NUMBER}\.parquet", re.ASCII)
_SEGMENT: Final = re.compile(r"ledger/compact/(?:tune|evaluate)/(\d{6,})\.parquet", re.ASCII)
_PREDICTIONS: Final = re.compile(rf"ledger/predictions/([\w-]+)(?:\.({_NUMBER}\.[0-9a-f]{{16}}))?\.parquet", re.ASCII)

_VALIDATION: Final = re.compile(rf"ledger/validation/([\w-]+)\.({_NUMBER}\.[0-9a-f]{{16}})\.parquet", re.ASCII)
_MODEL: Final = re.compile(rf"ledger/models/([\w-]+)\.({_NUMBER}\.[0-9a-f]{{16}})\.safetensors", re.ASCII)
_SAMPLES: Final = re.compile(rf"ledger/samples/([\w-]+)\.{_NUMBER}\.parquet", re.ASCII)
_SPLIT: Final = re.compile(r"ledger/splits/([\w.-]+)\.parquet", re.ASCII)


def record_key(phase: Phase, attempt: Attempt) -> str:
    """Where a loose record lies."""
    return f"ledger/{phase}/{attempt[0]}.{attempt[1]}.parquet"


def segments_in(phase: Phase) -> str:
    """Where the segments of a phase lie."""
    return f"ledger/compact/{phase}/"


def predictions_key(trial_id: str, name: str | None) -> str:
    """Where predictions lie that a record calls `name`; without a name, those of an older record."""
    return f"{OF_PREDICTIONS}{trial_id}.parquet" if name is None else f"{OF_PREDICTIONS}{trial_id}.{name}.parquet"


def validation_key(trial_id: str, name: str) -> str:
    """Where predictions of validation rows lie, under the name that a record gives to those of test rows."""
    return f"{OF_VALIDATION}{trial_id}.{name}.parquet"


def model_key(trial_id: str, name: str) -> str:
    """Where the tensors of an evaluate trial lie, under the name that its record gives to its predictions."""
    return f"{OF_MODELS}{trial_id}.{name}.safetensors"


def split_key(workload: str, data: str) -> str:
    """Where the rows of a workload's splits lie, of data with this fingerprint."""
    return f"{OF_SPLITS}{workload}-{data}.parquet"


def samples_key(attempt: Attempt) -> str:
    """Where the samples of an attempt lie, where a study takes any."""
    return f"{OF_SAMPLES}{attempt[0]}.{attempt[1]}.parquet"


def attempt_of(key: str) -> Attempt | None:
    """The attempt whose record has this key; None for a file that is none of the ledger's."""
    found = _RECORD.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))


def segment_number(key: str) -> int | None:
    """The number of a segment; None for a file that is none of the ledger's."""
    found = _SEGMENT.fullmatch(key)
    return None if found is None else int(found[1])


def predicted_by(key: str) -> tuple[str, str | None] | None:
    """The trial id of predictions and their name in its record; None for a file that is none of the ledger's."""
    found = _PREDICTIONS.fullmatch(key)
    return None if found is None else (found[1], found[2])


def validated_by(key: str) -> tuple[str, str] | None:
    """The trial id of predictions of validation rows and their name; None for a file that is none of the ledger's."""
    found = _VALIDATION.fullmatch(key)
    return None if found is None else (found[1], found[2])


def modelled_by(key: str) -> tuple[str, str] | None:
    """The trial id of a model and the name of its predictions; None for a file that is none of the ledger's."""
    found = _MODEL.fullmatch(key)
    return None if found is None else (found[1], found[2])


def split_of(key: str) -> str | None:
    """The workload and fingerprint whose splits lie here; None for a file that is none of the ledger's."""
    found = _SPLIT.fullmatch(key)
    return None if found is None else found[1]


def sampled_by(key: str) -> Attempt | None:
    """The attempt whose samples lie here; None for a file that is none of the ledger's."""
    found = _SAMPLES.fullmatch(key)
    return None if found is None else (found[1], int(found[2]))


def foreign(keys: Iterable[str]) -> list[str]:
    """Files below `ledger/` that Tailsweep did not write: of file systems, desktops, programs that synchronise."""
    known = (attempt_of, segment_number, predicted_by, validated_by, modelled_by, split_of, sampled_by)
    return [key for key in keys if not key.startswith(OF_DAMAGED) and all(find(key) is None for find in known)]
