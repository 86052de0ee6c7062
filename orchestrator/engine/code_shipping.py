"""What travels to the nodes of a cluster: this code and the plugins of a study, so that they need dependencies only."""

import hashlib
import platform
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from orchestrator.errors import BadInput
from workloads.plugins import GROUP

PACKAGES: Final = ("clusters", "orchestrator", "workloads")
SOURCES: Final = (".py", ".yaml", ".j2")


class OtherCode(Exception):
    """A worker that runs another version of this code than the driver: its numbers would not be comparable."""


@lru_cache(maxsize=1)
def code() -> str:
    """Version and digest of this code, `0.1.0 (3f2a9c81)`: the same wherever the same files are."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        root = _place(package)
        for path in sorted(root.rglob("*")):
            if path.suffix in SOURCES:
                digest.update(f"{package}/{path.relative_to(root).as_posix()}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{distribution('tailsweep').version} ({digest.hexdigest()[:8]})"


def check_code(driver: str) -> None:
    """Raises OtherCode on a worker whose code is not the driver's."""
    if code() != driver:
        raise OtherCode(
            f"a worker must run the driver's code: {platform.node()} has tailsweep {code()}, the driver {driver}; "
            "install the same on all nodes, or let the driver ship it (`ship: true` in the cluster profile)"
        )


def parcel(folder: Path, plugins: Iterable[str]) -> list[str]:
    """What a worker is to import, as the `py_modules` of a Ray runtime environment; what has to be made is in `folder`.

    These are the three packages, the plugins' top-level packages or files, those of installed entry points, and a
    `dist-info` that tells version and entry points. What plugins import beyond that must be on the nodes. Raises
    BadInput for a plugin that is no plain Python file or folder.
    """
    entries = entry_points(group=GROUP)
    modules = [*plugins, *(entry.module for entry in entries)]
    own = distribution("tailsweep")
    told = folder / f"tailsweep-{own.version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tailsweep\nVersion: {own.version}\n", encoding="utf-8"
    )
    named = "".join(f"{entry.name} = {entry.value}\n" for entry in entries)
    (told / "entry_points.txt").write_text(f"[{GROUP}]\n{named}", encoding="utf-8")
    tops = dict.fromkeys([*PACKAGES, *(module.partition(".")[0] for module in modules)])
    return [*(str(_place(name)) for name in tops), str(told)]


def _place(name: str) -> Path:
    """The folder of a top-level package, or the file of a module."""
    spec = find_spec(name)
    places = [*((spec and spec.submodule_search_locations) or ())] or [(spec and spec.origin) or ""]
    place = Path(places[0])
    if len(places) > 1 or not (place.is_dir() or place.suffix == ".py"):
        raise BadInput(
            f"a plugin that is shipped to a cluster must be one folder or one Python file: got {name!r} at "
            f"{', '.join(places) or 'no place'}; install it on the nodes and set `ship: false` in the cluster profile"
        )
    return place
