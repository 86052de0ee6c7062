"""Where a study runs: profiles as data, and their one reader."""

import difflib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any, Final

import yaml

ADDRESS_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True)
class Profile:
    """How to reach or start Ray.

    `address` is that of a running cluster (`host:port`, `ray://host:port` or `auto`); without one, a Ray is started
    on this machine with the options of `ray.init` in `start`, and stopped at the end.
    """

    name: str
    address: str | None = None
    start: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def apply(self) -> None:
        """Set the environment in which Ray is to be imported."""
        os.environ.update(self.environment)

    def check(self) -> None:
        """Raises ValueError at once when nothing listens at `host:port`; Ray itself would try for half a minute."""
        if self.address is None or self.address == "auto":
            return
        host, _, port = self.address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"a Ray address is host:port, ray://host:port or auto: got {self.address!r}")
        try:
            socket.create_connection((host, int(port)), timeout=ADDRESS_TIMEOUT_S).close()
        except OSError as err:
            raise ValueError(
                f"the Ray cluster at {self.address} must answer: {err}; start it (ray start --head), or leave the "
                "address out to use this machine"
            ) from None


def profiles() -> list[str]:
    """Names of the profiles that come with the package."""
    folder = resources.files("clusters")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def profile(name: str, address: str | None = None) -> Profile:
    """Read a profile; `address` replaces the one that it holds. Raises ValueError for an unknown name or key."""
    if name not in profiles():
        near = difflib.get_close_matches(name, profiles(), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no cluster profile {name!r}; known: {', '.join(profiles())}{hint}")
    tree = yaml.safe_load((resources.files("clusters") / f"{name}.yaml").read_text("utf-8"))
    known = {item.name for item in fields(Profile)} - {"name"}
    if unknown := set(tree) - known:
        raise ValueError(
            f"profile {name}: unknown keys {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
        )
    return Profile(name, **{**tree, **({"address": address} if address else {})})
