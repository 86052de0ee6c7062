"""Methods from outside: modules with a METHODS dict, and installed `tailsweep.methods` entry points."""

import importlib
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Final

from workloads.methods import METHODS
from workloads.recipe import PARTS
from workloads.seam import Method

GROUP: Final = "tailsweep.methods"
"""The entry point group: each entry is a method's name and its class."""


class PluginError(ValueError):
    """A plugin that cannot be loaded; the message names it, the reason and the way out."""


def load_plugins(modules: Iterable[str] = ()) -> None:
    """Register the methods of all installed entry points and of the modules' METHODS; twice is as good as once.

    A name comes after the built-in ones in the canonical order. Raises PluginError.
    """
    for entry in entry_points(group=GROUP):
        _register(entry.name, entry.load(), f"entry point {entry.value}")
    for module in modules:
        try:
            found = importlib.import_module(module)
        except ImportError as err:
            raise PluginError(f"cannot import plugin {module!r}: {err}; it must be on the Python path") from err
        methods = getattr(found, "METHODS", None)
        if not isinstance(methods, Mapping) or not methods:
            raise PluginError(f"plugin {module!r} needs METHODS, a dict of names and Method classes: got {methods!r}")
        for name, method in methods.items():
            _register(name, method, f"plugin {module!r}")


def _register(name: str, method: object, place: str) -> None:
    if METHODS.get(name) is method:
        return
    if not isinstance(method, type) or not issubclass(method, Method):
        raise PluginError(f"{place}: {name} must be a subclass of workloads.seam.Method: got {method!r}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name == "train":
        raise PluginError(f"{place}: a method's name is a word in lower case other than 'train': got {name!r}")
    if name in PARTS:
        raise PluginError(f"{place}: the name {name!r} is taken by {PARTS[name].__module__}; choose another")
    if not hasattr(method, "source"):
        raise PluginError(f"{place}: {name} must say its source: set `source`, the paper and section it follows")
    METHODS[name] = PARTS[name] = method
