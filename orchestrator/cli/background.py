"""tailsweep sweep --detach and attach: a sweep of this machine that outlives its terminal, and who looks at it."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import say
from orchestrator.cli.guard import COMPLETE, INTERRUPTED, SOME_FAILED
from orchestrator.cli.standing import watch
from orchestrator.cli.study import study_of
from orchestrator.cli.submit import start
from orchestrator.errors import BadInput

if TYPE_CHECKING:
    from clusters.profile import Profile
    from clusters.submission import State, Target, Ticket
    from orchestrator.storage.store import Store
    from orchestrator.study.spec import Study

HERE: Final = "processes"
"""The target whose drivers run on this machine."""


@dataclass(frozen=True)
class Background:
    """The word of a detached sweep, as of a submission, and a line for people; both empty where there is none."""

    word: str = ""
    told: str = ""


def detach(study: "Study", profile: "Profile", args: argparse.Namespace) -> int:
    """Start the sweep in a session of its own, unless it is under way."""
    made, new, store = start(study, profile, args)
    found = _last(store, study)
    assert found is not None, "it was sent just now"
    ticket, _ = found
    say(f"{made.name}: {made.cells} cells, {'started' if new else 'under way already'}")
    say(f"log: {_log(ticket)}")
    for what, command in (("follow it", "attach"), ("stop it", "cancel")):
        there = f" --cluster {profile.name}" if command == "cancel" and profile.name != "local" else ""
        say(f"{what}: tailsweep {command} {study.study} --stored --storage '{store.uri}'{there}")
    return COMPLETE


def attach(args: argparse.Namespace) -> int:
    """Follow a sweep that was detached; Ctrl-C leaves it running."""
    study = study_of(args)
    from orchestrator.api import statuses
    from orchestrator.storage.store import open_store

    store = open_store(study.storage, write=False)
    found = _last(store, study)
    if found is None:
        raise BadInput(
            f"no sweep of study {study.study} was detached on this machine, by {store.uri}; tailsweep sweep "
            f"{study.study} --detach starts one"
        )
    ticket, target = found
    try:
        if not sys.stdout.isatty():
            for line in target.logs(follow=True):
                say(line)
        elif target.state().live:
            watch(statuses(ticket.submission.study), lambda _: not target.state().live)
    except KeyboardInterrupt:
        say(f"detached from {ticket.submission.name}, which goes on; tailsweep attach {study.study} comes back")
        return INTERRUPTED
    return _ended(ticket, target.state(), store)


def background(study: "Study") -> Background:
    """The detached sweep of a study on this machine."""
    from orchestrator.storage.store import open_store

    found = _last(open_store(study.storage, write=False), study)
    if found is None:
        return Background()
    ticket, target = found
    state = target.state()
    after = f"tailsweep attach {study.study} follows it" if state.live else "; ".join(state.lines)
    return Background(state.word, f"{ticket.submission.name}: {state.word}{after and f', {after}'}")


def _ended(ticket: "Ticket", state: "State", store: "Store") -> int:
    """Say how a sweep ended; returns its exit code."""
    study = ticket.submission.study.study
    table = store.get(f"{study}/table.md")
    if state.word == "ended" and table is not None:
        say(table.decode(errors="replace"))
        say(f"{store.uri}: {study}/report.html")
    else:
        why = "; ".join(state.lines)
        say(f"{ticket.submission.name} {state.word}: {why}; its log is {_log(ticket)}; the same sweep continues")
    return SOME_FAILED if state.code is None else state.code


def _log(ticket: "Ticket") -> str:
    several = ticket.submission.shards > 1
    return str(Path(str(ticket.sent["folder"])) / ("shard-*.log" if several else "shard-0.log"))


def _last(store: "Store", study: "Study") -> "tuple[Ticket, Target] | None":
    """What was sent of a study to this machine: the one under way, or else the last."""
    from clusters.submission import find, sent, target

    found: list[tuple[Ticket, Target]] = []
    for name in sent(store, study.study):
        ticket = find(store, study.study, name)
        if ticket is None or ticket.profile.target != HERE:
            continue
        try:
            found.append((ticket, target(ticket.submission, ticket.sent)))
        except BadInput:  # another machine's
            continue
    live = [pair for pair in found if pair[1].state().live]
    return (live or found)[-1] if found else None
