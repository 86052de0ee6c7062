"""The study as a whole: sweep it, report it, say how it stands. What the command line and Python both call."""

import contextlib
import json
import platform
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

from rich.console import Console

from clusters.profile import Profile, profile
from orchestrator.engine.heartbeat import Heartbeat, beats, forget
from orchestrator.engine.leaving import interruptible
from orchestrator.engine.progress import Display, preparing
from orchestrator.engine.status import Status, status_of
from orchestrator.engine.streaming import Through, streamed
from orchestrator.errors import BadInput, StorageFailed
from orchestrator.ledger.index import Index
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import PHASES
from orchestrator.ledger.records import Record
from orchestrator.ledger.segments import READERS
from orchestrator.ledger.several import one
from orchestrator.models.fitting import keep_best
from orchestrator.report.ahead import made_ahead
from orchestrator.report.asked import WHOLE, Asked
from orchestrator.report.outputs import write_outputs
from orchestrator.report.sections import Results, Section, assembled, sections
from orchestrator.report.sources import Source
from orchestrator.storage.leases import TTL_S, Leases
from orchestrator.storage.store import Store, open_store
from orchestrator.study.allowance import check_reach
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.sharding import Shard, Share, Stealing, check_steal
from orchestrator.study.spec import Study
from orchestrator.study.stored import definition, definition_key, difference
from orchestrator.tracking._beside import beside


@dataclass(frozen=True)
class Outcome:
    """A study and what the ledger knows of it."""

    study: Study
    planner: Planner
    ledger: Ledger

    @cached_property
    def sections(self) -> list[Section]:
        """What the report says of every workload; made once, when asked for."""
        return sections(self.study, self.planner, self.ledger)

    @property
    def results(self) -> Results:
        """The study with its sections."""
        return Results(self.study, self.ledger, self.sections)

    @property
    def failed(self) -> int:
        """Number of failed trials."""
        return sum(len(plan.failures()) for plan in self.planner.plans)

    @property
    def whole(self) -> bool:
        """Whether nothing failed or was too expensive, and every cell that was tuned has a selected trial."""
        poor = self.planner.spent
        return not (self.failed or poor or any(plan.unselected for plan in self.planner.plans))


def outcome(
    study: Study,
    retry_failed: bool = False,
    share: Callable[[Sequence[str]], Share] | None = None,
    console: Console | None = None,
    write: bool = True,
) -> Outcome:
    """A study's plan against the ledger of its storage; `share` makes the driver's share of the cells.

    Without `write` nothing is made in the storage. Raises BadInput for a study that cannot run.
    """
    ledger = Ledger(open_store(study.storage, write=write))
    with preparing(console or Console(stderr=True)):
        cells = expand(study)
    check_reach(study, cells)
    mine = None if share is None else share([cell.name for cell in cells])
    return Outcome(study, Planner(study, cells, ledger.find, retry_failed, mine, Index(ledger)), ledger)


def statuses(study: Study, console: Console | None = None) -> Iterator[Status]:
    """How a study stands in its storage, where nothing is made: now, and each time that another one is asked for."""
    ledger = Ledger(open_store(study.storage, write=False))
    with preparing(console or Console(stderr=True)):
        cells = expand(study)
    index, planner = Index(ledger), None
    while True:
        if planner is None or index.refresh():  # where a failed trial was trained again, what follows may change
            planner = Planner(study, cells, ledger.find, known=index)
        planner.catch_up()
        yield status_of(planner, ledger.store.uri, beats(ledger.store, study.study))


@interruptible()
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
    return _swept(study, cluster or profile("local"), console or Console(), retry_failed, replace)


def stream(
    study: Study,
    cluster: Profile | None = None,
    console: Console | None = None,
    retry_failed: bool = False,
    replace: bool = False,
    known: bool = True,
) -> Generator[Record, None, None]:
    """Sweep a study, and yield the record of every trial as it is committed: `for record in stream(study)`.

    First come those that are in the ledger already, unless `known` is False. The sweep goes on while the body of the
    loop runs. Leaving the loop (break, an exception, `close()`) stops the sweep as Ctrl-C does: what was committed
    stays, and the next sweep goes on. A loop that ends by itself leaves the tables and the page, as `sweep` does. What
    `sweep` raises is raised in the loop; but where a call of Ray hangs because its head is gone, only the end of the
    process ends it (exit code 3). Nothing is shown, unless on a `console`.
    """

    def run(through: Through) -> Planner:
        shown = console or Console(quiet=True)
        return _swept(study, cluster or profile("local"), shown, retry_failed, replace, through).planner

    yield from streamed(run, known)


def _swept(
    study: Study,
    cluster: Profile,
    console: Console,
    retry_failed: bool,
    replace: bool,
    through: Through = lambda planner, observer: observer,
) -> Outcome:
    """A sweep, with what `through` makes of its observer."""
    tidy(Ledger(study.storage), console)  # what a killed sweep left is quicker to find
    state = outcome(study, retry_failed, console=console)
    claim_name(study, state.ledger.store, replace)
    cluster.apply()
    from orchestrator.engine import tune  # Ray takes a second to import: bad input is answered before

    with beside(study, console):
        with Display(state.planner, console) as display:
            forget(state.ledger.store, study.study)
            heartbeat = Heartbeat(display, state.planner, state.ledger.store, 0, 1)
            with heartbeat.until_end(), made_ahead(study, state.ledger.store):
                tune.sweep(study, state.planner, state.ledger, cluster, through(state.planner, heartbeat))
        confirm(state)
        keep_best(study, state.planner.plans, state.ledger)
        write_outputs(study, state.planner, state.ledger, state.sections)
    tidy(state.ledger, console)
    return state


@interruptible()
def sweep_shard(
    study: Study,
    number: int,
    count: int,
    steal: bool = False,
    cluster: Profile | None = None,
    console: Console | None = None,
    retry_failed: bool = False,
    replace: bool = False,
    lease_s: float = TTL_S,
) -> Outcome:
    """Train what the ledger misses of a shard; the tables are left to `report`, once all drivers have ended.

    With `steal`, cells that no other driver works on are trained as well, until the whole study is complete; a driver
    that is silent for `lease_s` seconds has lost its cells.
    """
    cluster = cluster or profile("local")
    if steal:
        check_steal(study.budget)
    store = open_store(study.storage)
    leases = Leases(store, study.study, f"{platform.node()}-{uuid.uuid4().hex}", lease_s)

    def share(cells: Sequence[str]) -> Share:
        shard = Shard(number, count, cells)
        return Stealing(shard, leases) if steal else shard

    state = outcome(study, retry_failed, share, console)
    claim_name(study, store, replace)
    cluster.apply()
    from orchestrator.engine import tune

    with Display(state.planner, console or Console()) as display:
        heartbeat = Heartbeat(display, state.planner, store, number, count)
        with leases.renewed() if steal else contextlib.nullcontext():
            tune.sweep(study, state.planner, state.ledger, cluster, heartbeat)
        confirm(state)
        keep_best(study, state.planner.mine, state.ledger)
        heartbeat.beat(ended=True)
    return state


def confirm(state: Outcome) -> None:
    """Read the ledger again, past all that this process remembers of it.

    Raises StorageFailed where a trial of this driver's cells is not there: a storage that was deleted or emptied during
    the sweep, or a disk that lost what it had taken.
    """
    fresh = Ledger(state.ledger.store)
    lost = total = 0
    with ThreadPoolExecutor(READERS) as pool:
        for phase in PHASES:
            records = [record for plan in state.planner.mine for record in plan.records(phase)]
            segments = fresh.segments(phase)  # whose bytes were checked as they were read
            alone = [r.trial_id for r in records if (r.trial_id, r.attempt) not in segments]
            lost += sum(found is None for found in pool.map(fresh.find, alone, repeat(phase)))
            total += len(records)
    if lost:
        raise StorageFailed(
            f"{lost} of {total} trials that were trained are no longer in {state.ledger.store.uri}: was it "
            "deleted or emptied during the sweep? The same command trains them again"
        )


def report(study: Study) -> dict[str, str]:
    """Write the tables and the page again from the ledger; returns them by file name."""
    state = outcome(study)
    return write_outputs(study, state.planner, state.ledger, state.sections)


def merged(outcomes: Sequence[Outcome], asked: Asked = WHOLE) -> Results:
    """Several studies as one report, or a part of one; nothing is written. The first says what is primary.

    Raises BadInput where rows of one table would be of different data.
    """
    first = outcomes[0]
    sources = [Source(state.study, state.planner, state.ledger) for state in outcomes]
    names = {name: alias for state in reversed(outcomes) for name, alias in state.study.report.names.items()}
    study = first.study.model_copy(
        update={
            "study": " + ".join(state.study.study for state in outcomes),
            "report": first.study.report.model_copy(update={"names": names}),
        }
    )
    return Results(study, one([state.ledger for state in outcomes]), assembled(sources, asked))


def claim_name(study: Study, store: Store, replace: bool = False) -> None:
    """Keep the study's definition beside its outputs, and refuse another one under its name."""
    key, content = definition_key(study.study), study.model_dump_json(indent=1).encode()
    if not replace and store.create(key, content):
        return  # of two drivers that start at once, one gets here
    written = None if replace else definition(store, study.study)
    if written is not None:
        changes = difference(Study.of(json.loads(written), key).definition(), study.definition())
        if changes:
            raise BadInput(
                f"a study's name belongs to one definition in a storage: {study.study!r} in {store.uri} "
                f"differs in {'; '.join(changes)}. Set these keys as they are there to go on (--set KEY=VALUE), rename "
                "this one (--set study=NAME), take another storage, or pass --replace; trained trials are kept and "
                "used either way"
            )
    store.put(key, content)


def tidy(ledger: Ledger, console: Console) -> None:
    """Compact a ledger of many small files; that it fails costs nothing but time later."""
    try:
        moved = ledger.tidy()
    except StorageFailed as err:
        console.print(f"The ledger was not compacted: {err}", highlight=False, markup=False, soft_wrap=True)
        return
    if moved:
        console.print(f"{moved} records compacted in {ledger.store.locate('ledger/compact/')}", highlight=False)
