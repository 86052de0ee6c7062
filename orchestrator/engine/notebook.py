"""A table in a notebook that is shown once and updated in place."""

import time
from collections.abc import Callable
from typing import Any, Final

from rich.table import Table

EVERY_S: Final = 0.5


class NotebookTable:
    """One output of the cell that runs, made by `render`; it stays, as it was at the end.

    rich's own live display needs ipywidgets in a notebook; Jupyter's updates of an output need nothing.
    """

    def __init__(self, render: Callable[[], Table]) -> None:
        self._render = render
        self._next = 0.0
        self._output: Any = None

    def start(self) -> None:
        """Show it."""
        from IPython.display import display  # there, in a notebook

        self._output = display(self._render(), display_id=True)  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Show what changed, at most every half second."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_S
            self._output.update(self._render())

    def stop(self) -> None:
        """Show the end."""
        self._output.update(self._render())
