"""What a report needs and no trial changes, made while trials run."""

import contextlib
import threading
from collections.abc import Iterator

from orchestrator.report.controls import fit_ahead
from orchestrator.storage.store import Store
from orchestrator.study.cells import data_root, load_data
from orchestrator.study.spec import Study
from workloads import WORKLOADS


@contextlib.contextmanager
def made_ahead(study: Study, store: Store) -> Iterator[None]:
    """Fit the controls in a thread while the body runs, and wait for them at its end.

    An error of theirs is left to the report, which fits again what is not there. Where the body fails, the thread is
    left to itself.
    """

    def fit() -> None:
        with contextlib.suppress(Exception):
            for name in study.names:
                fit_ahead(WORKLOADS[name], load_data(WORKLOADS[name], data_root(study), study.storage), store)

    thread = threading.Thread(target=fit, name="controls", daemon=True)
    thread.start()
    yield
    thread.join()
