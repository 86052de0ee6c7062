"""A study on its way to a cluster: what is sent, to whom, and how to find it again.

A submission is a function of the study, the profile and the number of shards: sent twice, it is found, not doubled.
What the cluster answered is kept in the storage, so that status, logs and cancel work from any machine.

    <study>/study.json                       the definition, which `tailsweep sweep NAME --stored` reads
    <study>/submissions/<profile>.json       the last submission under that profile
"""

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Final, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from clusters.profile import Profile
from orchestrator.errors import BadInput, StorageFailed, one_line, shown
from orchestrator.laws import broken
from orchestrator.ledger.records import canonical
from orchestrator.storage.store import Store, need_aws, remote
from orchestrator.study.spec import Study

NAME_CHARS: Final = 24
"""Of the study's name in the name of a submission, which Kubernetes bounds at 47 for a RayJob."""


@dataclass(frozen=True)
class Submission:
    """What is sent. `storage` is the store's address as every machine of the cluster knows it.

    With `retry_failed` its drivers train failed trials again, in every turn that they get.
    """

    study: Study
    profile: Profile
    storage: str
    cells: int
    attempt: int = 1
    retry_failed: bool = False

    @property
    def shards(self) -> int:
        """Drivers: no more than there are cells."""
        return min(self.profile.shards, self.cells)

    @property
    def name(self) -> str:
        """`tailsweep-quickstart-1f3a9c2e-1`: lower-case letters, digits and dashes, at most 47."""
        sent = {
            "study": self.study.model_dump(mode="json"),
            "profile": self.profile.model_dump(mode="json"),
            "storage": self.storage,
            "shards": self.shards,
            **({"retry_failed": True} if self.retry_failed else {}),
        }
        digest = hashlib.blake2b(canonical(sent).encode(), digest_size=4).hexdigest()
        short = re.sub(r"[^a-z0-9]+", "-", self.study.study)[:NAME_CHARS].strip("-")
        return f"tailsweep-{short}-{digest}-{self.attempt}"

    def driver(self, shard: int | str) -> list[str]:
        """The command that trains a shard; `shard` is a number, or a variable like `$SLURM_ARRAY_TASK_ID`.

        Under a budget, which drivers share by their cells, they take none of others, whatever the profile says.
        """
        steal = self.profile.steal and not self.study.budget.bounds
        chosen = {"--steal": steal, "--retry-failed": self.retry_failed}
        flags = [flag for flag, given in chosen.items() if given]
        return ["tailsweep", "sweep", *self._stored, "--shard", f"{shard}/{self.shards}", *flags]

    @property
    def reporter(self) -> list[str]:
        """The command that makes the tables once all drivers have ended, and updates a tracker that outlives it."""
        lasting = self.study.tracking.uri is not None or not remote(self.storage)
        return ["tailsweep", "report", *self._stored, *(["--track"] if lasting else [])]

    @property
    def start(self) -> list[str]:
        """Arguments of a driver that hand on what the profile says of its Ray."""
        start = self.profile.start.items()
        return [word for key, value in start for word in ("--cluster-set", f"start.{key}={json.dumps(value)}")]

    @property
    def _stored(self) -> list[str]:
        return [self.study.study, "--stored", "--storage", self.storage]


Word = Literal["waiting", "running", "ended", "failed", "stopped", "unknown"]


@dataclass(frozen=True)
class State:
    """What a cluster says of a submission: a word, readable lines with the reasons, and the exit code where known."""

    word: Word
    lines: tuple[str, ...] = ()
    code: int | None = None

    @property
    def live(self) -> bool:
        """Whether it may still run; an unknown state counts as live."""
        return self.word in {"waiting", "running", "unknown"}


class Target(Protocol):
    """Where submissions run. Made with the submission, and with what `submit` returned if it was sent before.

    Every call raises ClusterFailed when the other side does not answer, and BadInput when it refuses.
    """

    def __init__(self, submission: Submission, sent: Mapping[str, Any]) -> None: ...

    def preview(self) -> str:
        """Exactly what would be sent; connects to nothing."""

    def submit(self) -> dict[str, Any]:
        """Send it; returns what finds it again. What was sent under the same name before is found, not sent twice."""

    def state(self) -> State:
        """Its state."""

    def logs(self, follow: bool) -> Iterator[str]:
        """Lines of its logs, until now, or until it ends."""

    def cancel(self) -> None:
        """Stop it; what is in the ledger stays. Nothing happens where it has ended."""


def targets() -> list[str]:
    """Names of the targets: of every folder of `clusters` that has a `target.py`."""
    folders = resources.files("clusters").iterdir()
    return sorted(item.name.replace("_", "-") for item in folders if (item / "target.py").is_file())


def target(submission: Submission, sent: Mapping[str, Any]) -> Target:
    """The target of a submission's profile: `TARGET` of the `target.py` in the folder of its name.

    It is imported only now: some need boto3 or Ray. Raises BadInput for a name that is not known.
    """
    name = submission.profile.target
    if name not in targets():
        raise BadInput(f"profile {submission.profile.name}: target is one of {', '.join(targets())}: got {name!r}")
    if name.startswith("aws-"):
        need_aws()
    kind = importlib.import_module(f"clusters.{name.replace('-', '_')}.target").TARGET
    made: Target = kind(submission, sent)
    return made


class Options(BaseModel):
    """The keys of a profile's `options`: targets subclass it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


O = TypeVar("O", bound=Options)  # noqa: E741


def options(kind: type[O], profile: Profile) -> O:
    """A profile's `options` as a target declares them; raises BadInput."""
    try:
        return kind.model_validate(dict(profile.options))
    except ValidationError as err:
        unset = [".".join(("options", *map(str, each["loc"]))) for each in err.errors() if _unset(each)]
        if unset:
            raise BadInput(
                f"profile {profile.name}: {', '.join(unset)} must be set: by --cluster-set {unset[0]}=..., or in a "
                f"file with `extends: {profile.name}`"
            ) from None
        found = broken(err, profile.options)
        known = f"; known: {', '.join(kind.model_fields)}" if found.kind == "extra_forbidden" else ""
        law = str(found.cause) if found.cause is not None else f"{found.law}: got {shown(found.value)}"
        raise BadInput(f"profile {profile.name}: {'.'.join(('options', *found.keys))}: {law}{known}") from None


def _unset(error: Mapping[str, Any]) -> bool:
    """Whether a key is missing, or null where it may not be."""
    return error["type"] == "missing" or error["input"] is None


class Ticket(BaseModel):
    """What is kept of a submission."""

    model_config = ConfigDict(frozen=True)

    study: dict[str, Any]
    profile: Profile
    storage: str
    cells: int
    attempt: int
    sent: dict[str, Any]
    retry_failed: bool = False

    @property
    def submission(self) -> Submission:
        """The submission that was sent."""
        study = Study.of(self.study)
        return Submission(study, self.profile, self.storage, self.cells, self.attempt, self.retry_failed)


def find(store: Store, study: str, profile: str) -> Ticket | None:
    """The last submission of a study under a profile."""
    key = _key(study, profile)
    written = store.get(key)
    if written is None:
        return None
    try:
        ticket = Ticket.model_validate_json(written)
        _ = ticket.submission
    except (ValidationError, BadInput) as err:
        raise StorageFailed(
            f"{store.locate(key)} is not what tailsweep submit wrote: {one_line(err, 300)}; if nothing of it runs any "
            "more, delete it, and submit the study again"
        ) from None
    return ticket


def sent(store: Store, study: str) -> list[str]:
    """Names of the profiles under which a study was submitted."""
    return [key.rsplit("/", 1)[1].removesuffix(".json") for key in store.keys(f"{study}/submissions/")]


def submit(submission: Submission, store: Store, first: Callable[[], object] = lambda: None) -> tuple[Submission, bool]:
    """Send a submission, unless it is under way; returns the one that is, and whether this call sent it.

    Another submission of the study under the same profile that is under way raises BadInput: it would do the same
    work. One that has ended is followed by the next attempt, which trains what is missing. `first` is done before
    anything is sent.
    """
    before = find(store, submission.study.study, submission.profile.name)
    if before is not None:
        submission = replace(submission, attempt=before.attempt)
        earlier = target(before.submission, before.sent)
        if earlier.state().live:
            if before.submission.name != submission.name:
                raise BadInput(
                    f"study {submission.study.study} is under way on {submission.profile.name} as "
                    f"{before.submission.name}, with another definition, profile, --shards or --retry-failed; wait, or "
                    f"tailsweep cancel {submission.study.study} --cluster {submission.profile.name}"
                )
            return submission, False
        submission = replace(submission, attempt=before.attempt + 1)
    chosen = target(submission, {})
    first()
    ticket = Ticket(
        study=submission.study.model_dump(mode="json"),
        profile=submission.profile,
        storage=submission.storage,
        cells=submission.cells,
        attempt=submission.attempt,
        sent=chosen.submit(),
        retry_failed=submission.retry_failed,
    )
    store.put(_key(submission.study.study, submission.profile.name), ticket.model_dump_json(indent=1).encode())
    return submission, True


def _key(study: str, profile: str) -> str:
    return f"{study}/submissions/{profile}.json"
