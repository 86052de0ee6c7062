"""tailsweep submit | logs | cancel, and status of what was submitted: parse, call one function each."""

import argparse
import time
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import say
from orchestrator.cli.guard import COMPLETE, SOME_FAILED
from orchestrator.cli.study import cluster_of, study_of
from orchestrator.errors import BadInput

if TYPE_CHECKING:
    from clusters.profile import Profile
    from clusters.submission import Submission, Target, Ticket
    from orchestrator.engine.heartbeat import Beat
    from orchestrator.storage.store import Store
    from orchestrator.study.spec import Study

POLL_S: Final = 5.0


def submit(args: argparse.Namespace) -> int:
    """Send a study to a cluster; sent twice, it runs once."""
    profile = cluster_of(args, "local")
    return send(study_of(args, profile), profile, args)


def send(study: "Study", profile: "Profile", args: argparse.Namespace) -> int:
    """Submit a study as the arguments say: `shards`, `steal`, `retry_failed`, `dry_run`, `replace`, `follow`."""
    if args.dry_run:
        from clusters.submission import target

        say(target(_made(study, profile, args), {}).preview())
        return COMPLETE
    made, new, store = start(study, profile, args)
    say(f"{made.name}: {made.cells} cells in {made.shards} shards, {'sent' if new else 'under way already'}")
    if args.follow:
        return follow(study, store, profile.name)
    say(f"tailsweep status|logs|cancel {study.study} --cluster {profile.name} --storage '{store.uri}'")
    return COMPLETE


def start(study: "Study", profile: "Profile", args: argparse.Namespace) -> "tuple[Submission, bool, Store]":
    """Send a study, unless it is under way; returns what runs, whether it was sent now, and the storage."""
    from clusters.submission import submit as send_once
    from clusters.submission import target
    from orchestrator.api import claim_name
    from orchestrator.engine.heartbeat import forget
    from orchestrator.storage.store import open_store

    store = open_store(study.storage)
    made = _made(study, profile, args)
    target(made, {}).preview()  # what cannot be sent is refused before anything is written
    claim_name(study, store, args.replace)
    made, new = send_once(made, store, lambda: forget(store, study.study))
    return made, new, store


def _made(study: "Study", profile: "Profile", args: argparse.Namespace) -> "Submission":
    from clusters.submission import Submission
    from orchestrator.storage.store import open_store
    from orchestrator.study.cells import sketch
    from orchestrator.study.sharding import check_steal

    if args.steal:
        check_steal(study.budget)
    own = {"shards": args.shards, "steal": args.steal or None}
    profile = profile.model_copy(update={key: value for key, value in own.items() if value is not None})
    place = open_store(study.storage, check=False).uri
    return Submission(study, profile, place, len(sketch(study)), retry_failed=args.retry_failed)


def follow(study: "Study", store: "Store", profile: str) -> int:
    """Say how a submission goes until it has ended, then print its tables; the exit code is that of a sweep."""
    ticket, chosen = _sent(study, store, profile)
    said: set[str] = set()
    while True:
        state = chosen.state()
        lines = (f"{ticket.submission.name}: {state.word}", *state.lines, *map(str, _beats(store, study)))
        for line in lines:
            if line not in said:
                say(line)
        said = set(lines)
        if not state.live:
            break
        time.sleep(POLL_S)
    table = store.get(f"{study.study}/table.md")
    if state.word != "ended" or table is None:  # a table may be there from an attempt before
        say(f"tailsweep logs {study.study} --cluster {profile} says why; submitting it again goes on from there")
        return SOME_FAILED
    say(table.decode(errors="replace"))
    say(f"{store.uri}: {study.study}/report.html")
    return SOME_FAILED if any(beat.failed for beat in _beats(store, study)) else COMPLETE


def status(args: argparse.Namespace) -> int:
    """What the cluster says of a submission, and how far its drivers are."""
    study, store, name = _asked(args)
    ticket, chosen = _sent(study, store, name)
    state = chosen.state()
    beats = (f"{beat}, said {beat.age}" for beat in _beats(store, study))
    say("\n".join((f"{ticket.submission.name}: {state.word}", *state.lines, *beats)))
    return SOME_FAILED if state.word == "failed" else COMPLETE


def logs(args: argparse.Namespace) -> int:
    """Logs of what was submitted."""
    _, chosen = _sent(*_asked(args))
    for line in chosen.logs(args.follow):
        say(line)
    return COMPLETE


def cancel(args: argparse.Namespace) -> int:
    """Stop what was submitted; what is in the ledger stays."""
    ticket, chosen = _sent(*_asked(args))
    chosen.cancel()
    say(f"{ticket.submission.name} is told to stop; submitting it again trains what is missing")
    return COMPLETE


def _asked(args: argparse.Namespace) -> tuple["Study", "Store", str]:
    from orchestrator.storage.store import open_store

    profile = cluster_of(args, "local")
    study = study_of(args, profile)
    return study, open_store(study.storage, write=False), profile.name


def _sent(study: "Study", store: "Store", profile: str) -> tuple["Ticket", "Target"]:
    from clusters.submission import find, sent, target

    ticket = find(store, study.study, profile)
    if ticket is None:
        there = ", ".join(sent(store, study.study)) or "nowhere"
        raise BadInput(f"study {study.study} was not submitted to {profile}; by {store.uri} it was sent to: {there}")
    return ticket, target(ticket.submission, ticket.sent)


def _beats(store: "Store", study: "Study") -> "list[Beat]":
    from orchestrator.engine.heartbeat import beats

    return beats(store, study.study)
