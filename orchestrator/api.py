"""The study as a whole: sweep it, report it, say how it stands. What the command line and Python both call."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from clusters import Profile, profile
from orchestrator.cells import difference, expand
from orchestrator.errors import BadInput
from orchestrator.ledger import Ledger
from orchestrator.outputs import write_outputs
from orchestrator.planner import Planner
from orchestrator.progress import Display
from orchestrator.spec import Study


@dataclass(frozen=True)
class Outcome:
    """A study and what the ledger knows of it."""

    study: Study
    planner: Planner
    ledger: Ledger

    @property
    def failed(self) -> int:
        """Number of failed trials."""
        return sum(len(plan.failures()) for plan in self.planner.plans)


def outcome(study: Study, retry_failed: bool = False) -> Outcome:
    """A study's plan against the ledger of its storage; raises BadInput for a study that cannot run."""
    ledger = Ledger(study.storage)
    return Outcome(study, Planner(study, expand(study), ledger.find, retry_failed), ledger)


def sweep(
    study: Study,
    cluster: Profile | None = None,
    console: Console | None = None,
    retry_failed: bool = False,
    replace: bool = False,
) -> Outcome:
    """Train what the ledger misses, then write the tables and the page.

    A study is known in its storage by its name: another definition under the same name raises BadInput, unless
    `replace`. Raises StorageFailed when the ledger cannot be written.
    """
    cluster = cluster or profile("local")
    console = console or Console()
    state = outcome(study, retry_failed)
    _claim_name(study, state.ledger, replace)
    cluster.apply()
    from orchestrator import engine  # Ray takes a second to import: bad input is answered before

    with _tracker(study, state, console):
        with Display(state.planner, console) as display:
            engine.sweep(study, state.planner, state.ledger, cluster, display)
        write_outputs(study, state.planner, state.ledger)
    return state


def report(study: Study) -> dict[str, str]:
    """Write the tables and the page again from the ledger; returns them by file name."""
    state = outcome(study)
    return write_outputs(study, state.planner, state.ledger)


def _claim_name(study: Study, ledger: Ledger, replace: bool) -> None:
    """Keep the study's definition beside its outputs, and refuse another one under its name."""
    key = f"{study.study}/study.json"
    written = ledger.store.get(key)
    if written is not None and not replace:
        changes = difference(Study.of(json.loads(written), key).definition(), study.definition())
        if changes:
            raise BadInput(
                f"a study's name belongs to one definition in a storage: {study.study!r} in {ledger.store.uri} "
                f"differs in {'; '.join(changes)}. Rename this one (--set study=NAME), take another storage, or pass "
                "--replace; trained trials are kept and used either way"
            )
    ledger.store.put(key, study.model_dump_json(indent=1).encode())


@contextlib.contextmanager
def _tracker(study: Study, state: Outcome, console: Console) -> Iterator[None]:
    """MLflow in a process of its own: it follows the ledger, and ends when its standard input does."""
    if not study.tracking.enabled:
        yield
        return
    folder = Path(state.ledger.store.uri) / study.study
    command = [sys.executable, "-m", "orchestrator.cli", "track", str(folder / "study.json"), "--follow"]
    with (folder / "track.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the sweep; the tracker ends when its input does
        )
        assert process.stdin is not None
        try:
            yield
        except BaseException:
            process.stdin.close()  # it ends by itself; whoever interrupts does not wait for it
            raise
        process.communicate()
        if process.returncode:
            log.seek(0)
            last = (log.read().strip().splitlines() or ["no reason given"])[-1]
            console.print(
                f"MLflow is behind: {last}\n`tailsweep track {study.study}` completes it; the results are safe.",
                highlight=False,
                markup=False,
            )
