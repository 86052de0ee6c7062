"""Where a study runs: profiles, and the function that reads them."""

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from orchestrator import yaml12
from orchestrator.errors import shown
from orchestrator.laws import broken, unknown

ADDRESS_TIMEOUT_S: Final = 1.0
EXTENDS: Final = "extends"
EXTENDED: Final = 10
PROFILE: Final = "profile.yaml"
"""In the folder of a kind of cluster."""
SHARDS: Final = 10_000
SOCKET_CHARS: Final = 107
"""What Unix allows for the path of a socket."""
RAY_CHARS: Final = 68
"""What Ray appends to its folder: /ray/session_<date>_<time>_<microseconds>_<pid>/sockets/plasma_store."""
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _one_line(value: str) -> str:
    """Raises ValueError for control characters: the value becomes a line of a script, or a word of a command."""
    if not value.isprintable():
        raise ValueError("a value of one line without control characters")
    return value


def _variable(name: str) -> str:
    """Raises ValueError for what is no name of a variable; scripts export it without quotes."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("a variable has a name of ASCII letters, digits and _, no digit first")
    return name


def _reference(reference: str) -> str:
    """Raises ValueError for a reference to a secret that no kind of cluster could read."""
    kind, colon, where = _one_line(reference).partition(":")
    if kind == "env" and colon:
        _variable(where)
    return reference


OneLine: TypeAlias = Annotated[str, AfterValidator(_one_line)]
Variable: TypeAlias = Annotated[str, AfterValidator(_variable)]
Reference: TypeAlias = Annotated[str, AfterValidator(_reference)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
"""Part of a key of the storage."""


def _start(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options of `ray.init`: those that are sizes are numbers, which Ray itself finds out late."""
    for name in ("num_cpus", "num_gpus", "memory", "object_store_memory"):
        value = tree.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18
        ):
            raise ValueError(f"{name} must be a number of at least 0")
    return tree


class Profile(BaseModel):
    """How a study reaches its machines.

    `target` names the folder of `clusters/` whose target runs it and `options` are that target's own keys.
    `study` sets keys of the study for this place: storage, resources, tracking; the study file's own values come
    before it, the environment and the command line after. `shards` drivers share the cells, each with a Ray of its
    own; with `steal` an idle one takes cells that nobody works on. `environment` goes along in plain; `secrets` map a
    variable to a reference that the target resolves, so that no secret is written down.

    For Ray: `address` is that of a running cluster (`host:port` or `auto`); without one, a Ray is started on the
    driver's machine with the options of `ray.init` in `start`, and stopped at the end. `ship` sends this code and the
    study's plugins to the workers, which then need the dependencies only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    target: str = "processes"
    address: OneLine | None = None
    start: Annotated[Mapping[str, Any], AfterValidator(_start)] = {}
    ship: bool = False
    environment: Mapping[Variable, str] = {}
    secrets: Mapping[Variable, Reference] = {}
    study: Mapping[str, Any] = {}
    shards: Annotated[int, Field(ge=1, le=SHARDS)] = 1
    steal: bool = False
    image: OneLine | None = None
    options: Mapping[str, Any] = {}

    def apply(self) -> None:
        """Set the environment in which Ray is to be imported.

        A token that is at hand is used, as `ray start --head` does; Ray itself leaves it out at an explicit address.
        """
        os.environ.update(self.environment)
        if self.address is not None and _token_at_hand():
            os.environ.setdefault("RAY_AUTH_MODE", "token")

    def unreachable(self) -> str:
        """The message for a Ray that does not answer: what must hold, and the way out."""
        if self.address is None:
            return "a Ray must start on this machine"
        return (
            f"the Ray cluster at {self.address} must answer. This machine must be a node of it (ray start "
            f"--address={self.address} --num-cpus=0 --num-gpus=0 makes it one that trains nothing), and have its token "
            "(RAY_AUTH_MODE=token with RAY_AUTH_TOKEN or ~/.ray/auth_token); or leave the address out to use this "
            "machine alone"
        )

    def check(self) -> None:
        """Raises ValueError at once when nothing listens at `host:port`, or this machine is no node of a cluster.

        Ray itself would try for a minute.
        """
        if self.address is None:
            self._check_folder()
        if self.address is None or self.address == "auto":
            return
        host, _, port = self.address.rpartition(":")
        if "://" in self.address or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
            raise ValueError(
                f"a Ray address is host:port or auto: got {self.address!r}; ray:// is not for Tune, use the port of "
                "ray start (6379)"
            )
        try:
            socket.create_connection((host, int(port)), timeout=ADDRESS_TIMEOUT_S).close()
        except (OSError, UnicodeError) as err:  # a name that is none is told in several ways
            raise ValueError(
                f"the Ray cluster at {self.address} must answer: {err}; start it (ray start --head), or leave the "
                "address out to use this machine"
            ) from None
        if not _has_node():
            raise ValueError(f"{self.unreachable()}: no Ray node runs here")

    def _check_folder(self) -> None:
        """Raises ValueError where the sockets of a Ray that starts here would have paths longer than Unix allows."""
        folder = str(self.start.get("_temp_dir") or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
        if len(os.fsencode(folder)) > SOCKET_CHARS - RAY_CHARS:
            raise ValueError(
                f"Ray's folder must have a path of at most {SOCKET_CHARS - RAY_CHARS} bytes, for Unix bounds those of "
                f"sockets: got {shown(folder)}; set RAY_TMPDIR to a shorter one, such as /tmp"
            )


def _has_node() -> bool:
    """Whether a Ray node runs on this machine, as far as can be seen."""
    if not Path("/proc").is_dir():
        return True
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # processes end while they are looked at
            if path.read_bytes() == b"raylet\n":
                return True
    return False


def _token_at_hand() -> bool:
    """Whether Ray would find a token: its two variables, or the file that `ray get-auth-token --generate` writes."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()


def profiles() -> list[str]:
    """Names of the profiles that come with the package."""
    folders = resources.files("clusters").iterdir()
    return sorted(item.name.replace("_", "-") for item in folders if (item / PROFILE).is_file())


def profile(source: str, overrides: Iterable[str] = (), address: str | None = None) -> Profile:
    """Read a profile: a shipped name, or a file, which may extend another one by `extends: NAME`.

    `overrides` are `a.b=c`; `address` replaces the one that the profile holds. Raises ValueError that names the law,
    the value and the way out.
    """
    tree = _tree(source, ())
    for written in overrides:
        path, equals, value = written.partition("=")
        if not equals:
            raise ValueError(f"a key of the profile is set by A.B=C: got {shown(written)}")
        given = yaml12.load(value, f"--cluster-set {shown(path)}: the value")
        tree = _merged(tree, _nested(path.split("."), given))
    if address:
        tree["address"] = address
    tree = {"name": Path(source).stem, **tree}
    try:
        return Profile.model_validate(tree)
    except ValidationError as err:
        found = broken(err, tree)
        if found.kind == "extra_forbidden":
            raise ValueError(unknown(found.where, sorted({*Profile.model_fields, EXTENDS}), source, "key")) from None
        if found.cause is not None:
            raise ValueError(f"profile {source}: {found.where}: {found.cause}: got {shown(found.value)}") from None
        raise ValueError(f"profile {source}: {found.where}: {found.law}: got {shown(found.value)}") from None


def _tree(source: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """A profile with those that it extends below it."""
    if source in seen or len(seen) > EXTENDED:
        raise ValueError(f"a profile extends others, not itself: got {' -> '.join((*seen, source))}")
    if Path(source).suffix in {".yaml", ".yml"}:
        tree = yaml12.load_file(Path(source), "the cluster profile")
    elif source in profiles():
        text = (resources.files("clusters") / source.replace("-", "_") / PROFILE).read_text("utf-8")
        tree = yaml12.load(text, source)
    else:
        raise ValueError(unknown(source, profiles(), "clusters, or give a .yaml file", "cluster profile"))
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ValueError(f"the cluster profile {source} must hold a mapping: got {shown(tree)}")
    below = tree.pop(EXTENDS, None)
    return tree if below is None else _merged(_tree(str(below), (*seen, source)), tree)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; anything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    return dict(value)
