"""What is installed on a worker: looked for once per process, since that takes as long as a small trial."""

from functools import lru_cache
from importlib.metadata import version
from typing import Final

from workloads.plugins import load_plugins

PACKAGES: Final = ("tailsweep", "torch", "numpy", "ray", "optuna", "pyarrow")
"""Whose versions are kept with a trial."""


@lru_cache(maxsize=2)
def plugins(modules: tuple[str, ...], folder: str | None) -> None:
    """Load the plugins of a study and those of entry points."""
    load_plugins(modules, folder)


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of the packages that a trial's numbers may depend on."""
    return {name: version(name) for name in PACKAGES}
