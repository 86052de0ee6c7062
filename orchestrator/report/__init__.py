"""What came out: statistics, tables, figures and the page.

Who imports this room makes it an attribute of `orchestrator`, whose function `report` has the same name. So the room
can be called as that function: `from orchestrator import report; report(study)`, whatever was imported first.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """A package that is called as `orchestrator.api.report`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Write the tables and the page of a study again."""
        return import_module("orchestrator.api").report(*args, **options)


sys.modules[__name__].__class__ = _Room
