"""The ledgers of several storages, read as one."""

from collections.abc import Sequence

import pyarrow as pa

from orchestrator.errors import StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record


class Several(Ledger):
    """Predictions are read from the first storage that has them; what is kept goes to the first of all."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        super().__init__(ledgers[0].store)
        self._ledgers = ledgers

    def predictions(self, trial: str | Record) -> pa.Table:
        """Those of `Ledger.predictions`; raises StorageFailed as the last storage does, where none has them."""
        for ledger in self._ledgers[:-1]:
            try:
                return ledger.predictions(trial)
            except StorageFailed:
                continue
        return self._ledgers[-1].predictions(trial)

    def validation(self, record: Record) -> pa.Table | None:
        """Those of `Ledger.validation`."""
        found = (ledger.validation(record) for ledger in self._ledgers)
        return next((table for table in found if table is not None), None)


def one(ledgers: Sequence[Ledger]) -> Ledger:
    """One ledger for all of these, of which some may be of the same storage."""
    apart = list({ledger.store.uri: ledger for ledger in ledgers}.values())
    return apart[0] if len(apart) == 1 else Several(apart)
