"""Methods from outside: modules with a METHODS dict, and installed `tailsweep.methods` entry points.

A plugin is code that runs. It is a module beside the study file, or an installed one. The folder of the study is not
put onto the path: nothing else that lies there can be imported, by whomever.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Final

from workloads.methods import METHODS
from workloads.recipe import PARTS
from workloads.seam import Method

GROUP: Final = "tailsweep.methods"
"""The entry point group: each entry is a method's name and its class."""


class PluginError(ValueError):
    """A plugin that cannot be loaded; the message names it, the reason and the way out."""


def load_plugins(modules: Iterable[str] = (), folder: str | Path | None = None) -> None:
    """Register the methods of all installed entry points and of the modules' METHODS; twice is as good as once.

    A module lies in `folder` or is installed. A name comes after the built-in ones in the canonical order. Raises
    PluginError.
    """
    for entry in entry_points(group=GROUP):
        place = f"entry point {entry.value}"
        _register(entry.name, _guarded(entry.load, place), place)
    for module in modules:
        place = f"plugin {module[:80]!r}"
        methods = getattr(_imported(module, folder), "METHODS", None)
        if not isinstance(methods, Mapping) or not methods:
            kind = "nothing" if methods is None else type(methods).__name__
            raise PluginError(f"{place} needs METHODS, a dict of names and Method classes: got {kind}")
        for name, method in methods.items():
            _register(name, method, place)


def _guarded(load: Callable[[], object], place: str) -> object:
    """What a plugin's code gives; raises PluginError for all that it may raise, the end of the program included."""
    try:
        return load()
    except (Exception, SystemExit) as err:
        raise PluginError(f"cannot use {place}: it raises {type(err).__name__}: {str(err)[:500]}") from err


def beside(module: str, folder: str | Path) -> bool:
    """Whether a plugin lies in a folder: `NAME.py`, or a package `NAME/`."""
    return _named(module) and _found(module.partition(".")[0], folder) is not None


def _named(module: str) -> bool:
    return all(part.isidentifier() for part in module.split("."))


def _imported(name: str, folder: str | Path | None) -> object:
    """The module of a plugin, which may do anything while it is imported: what it raises is its own fault."""
    if not _named(name):
        raise PluginError(f"a plugin is the name of a module, like my_method or package.my_method: got {name!r}")
    try:
        if folder is not None and (spec := _found(name.partition(".")[0], folder)) is not None:
            _load(spec)
        return importlib.import_module(name)
    except PluginError:
        raise
    except ImportError as err:
        itself = err.name is not None and f"{name}.".startswith(f"{err.name}.")
        way = "put it beside the study file, or install it" if itself else "install what it imports"
        raise PluginError(
            f"cannot import plugin {name!r}: {err}; {way}; a plugin of several files is a package, which imports its "
            "own by `from . import`"
        ) from err
    except (Exception, SystemExit) as err:
        raise PluginError(f"cannot import plugin {name!r}: {type(err).__name__}: {err}") from err


def _found(top: str, folder: str | Path) -> ModuleSpec | None:
    """A module of a folder; a folder without Python in it is none."""
    spec = PathFinder.find_spec(top, [str(folder)])
    if spec is None or (spec.origin is None and not any(Path(folder, top).glob("*.py"))):
        return None
    return spec


def _load(spec: ModuleSpec) -> None:
    """Load a module by its file, unless it is there; raises PluginError where its name is taken by another one."""
    installed = find_spec(spec.name)
    if installed is not None:
        if _sources(installed) == _sources(spec):
            return  # it is on the path as well, or this is a node that was sent a copy
        raise PluginError(
            f"a plugin beside the study file takes no name of an installed module: {_place(spec)} and "
            f"{_place(installed)} are both {spec.name!r}; rename the plugin"
        )
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise


def _place(spec: ModuleSpec) -> Path:
    """The file of a module, the folder of a package."""
    inside = [*(spec.submodule_search_locations or ())]
    return Path(inside[0] if inside else spec.origin or "")


def _sources(spec: ModuleSpec) -> dict[str, bytes] | str | None:
    """Python files of a module with what they hold; its origin where there are none, as for built-in ones."""
    place = _place(spec)
    files = [place] if place.is_file() else sorted(place.rglob("*.py")) if spec.submodule_search_locations else []
    return {path.name if path == place else str(path.relative_to(place)): path.read_bytes() for path in files} or (
        spec.origin
    )


def _register(name: object, method: object, place: str) -> None:
    if not isinstance(name, str):
        raise PluginError(f"{place}: a method's name is a word: got {name!r}")
    if METHODS.get(name) is method:
        return
    if not isinstance(method, type) or not issubclass(method, Method):
        raise PluginError(
            f"{place}: {name[:80]} must be a subclass of workloads.seam.Method: got {type(method).__name__}"
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name == "train":
        raise PluginError(f"{place}: a method's name is a word in lower case other than 'train': got {name!r}")
    if name in PARTS:
        raise PluginError(f"{place}: the name {name!r} is taken by {PARTS[name].__module__}; choose another")
    if not hasattr(method, "source"):
        raise PluginError(f"{place}: {name} must say its source: set `source`, the paper and section it follows")
    _guarded(method.Hparams.declared, f"{place}: the hyperparameters of {name}")
    METHODS[name] = PARTS[name] = method
