"""How a study stands, printed: once, or as long as somebody looks."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import say
from orchestrator.cli.guard import COMPLETE, SOME_FAILED

if TYPE_CHECKING:
    from orchestrator.engine.status import Status

POLL_S: Final = 5.0


def code_of(made: "Status") -> int:
    """The exit code: whether something failed, not whether something is missing."""
    return SOME_FAILED if made.failed or made.unselected else COMPLETE


def show(made: "Status", as_json: bool) -> None:
    """Print it, as JSON or as lines."""
    if as_json:
        say(made.model_dump_json(indent=1))
        return
    say("\n".join((*map(str, made.cells), made.summary)))


def watch(found: "Iterator[Status]", done: "Callable[[Status], bool]", as_json: bool = False) -> "Status":
    """Show how a study stands until it is `done`; returns the last.

    On a terminal a table is kept up to date; else a line is printed when something changed, or an object of JSON.
    """
    from rich.console import Console
    from rich.live import Live

    from orchestrator.cli.terminal import standing

    console, last = Console(), ""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for made in found:
            if console.is_terminal and not as_json:
                live.update(standing(made, console.height), refresh=True)
            elif (line := made.model_dump_json(exclude={"drivers"}) if as_json else made.summary) != last:
                last = line
                say(line)
            if done(made):
                break
            time.sleep(POLL_S)
    if not as_json:
        show(made, as_json)
    return made
