"""Logs of several parts in one folder, as lines."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

POLL_S: Final = 0.5


def tail(folder: Path, alive: Callable[[], bool], follow: bool, poll_s: float = POLL_S) -> Iterator[str]:
    """Lines of all `*.log` by the names of their parts, until now, or until nothing is `alive` any more."""
    at: dict[Path, int] = {}
    while True:
        more = alive()
        for path in sorted(folder.glob("*.log")):
            with path.open("rb") as stream:
                stream.seek(at.get(path, 0))
                text = stream.read()
            whole = text if not more else text[: text.rfind(b"\n") + 1]
            at[path] = at.get(path, 0) + len(whole)
            yield from (f"{path.stem}: {line}" for line in whole.decode(errors="replace").splitlines())
        if not (follow and more):
            return
        time.sleep(poll_s)
