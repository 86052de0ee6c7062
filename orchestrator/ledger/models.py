"""Tensors of evaluate trials, where a study keeps them: written once, under the name of the predictions they gave."""

from collections.abc import Collection, Iterator, Mapping

import safetensors.torch
from torch import Tensor

from orchestrator.ledger.names import OF_MODELS, model_key, modelled_by
from orchestrator.ledger.parquet import RESTORE, Damaged
from orchestrator.storage.envelope import NotWhole, unwrapped, wrapped
from orchestrator.storage.store import Store


def write(store: Store, trial_id: str, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Keep the tensors of the trial whose record calls its predictions `name`."""
    key = model_key(trial_id, name)
    data = wrapped(key, safetensors.torch.save(dict(tensors)))
    if not store.create(key, data) and _problem(key, store.get(key) or b""):
        store.put(key, data)  # the name says what was there


def find(store: Store, trial_id: str, name: str | None) -> dict[str, Tensor] | None:
    """Tensors that were kept; None where none were. Raises Damaged."""
    if name is None or (data := store.get(key := model_key(trial_id, name))) is None:
        return None
    try:
        return safetensors.torch.load(unwrapped(key, data))
    except NotWhole as err:
        raise Damaged(f"{err}; delete it, and `tailsweep fit` trains the model again") from err


def drop(store: Store, trials: Collection[str]) -> None:
    """Delete the tensors of these trials, by id."""
    for key in store.keys(OF_MODELS) if trials else ():
        if (of := modelled_by(key)) and of[0] in trials:
            store.delete(key)


def damaged(store: Store) -> Iterator[tuple[str, str]]:
    """Keys of damaged tensors, and what is wrong with them; they cost no result, and can be made again."""
    for key in filter(modelled_by, store.keys(OF_MODELS)):
        if problem := _problem(key, store.get(key) or b""):
            yield key, f"{problem}; {RESTORE}"


def _problem(key: str, data: bytes) -> str:
    try:
        unwrapped(key, data)
    except NotWhole as err:
        return str(err)
    return ""
