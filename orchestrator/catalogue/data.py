"""What `tailsweep data` does: which data sets there are, whether their files are right, and how to get them."""

import hashlib
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from orchestrator.errors import BadInput, shown
from orchestrator.storage.archives import unpack
from orchestrator.storage.data_roots import at_hand, local_root, needed
from orchestrator.storage.store import followed
from orchestrator.study.cells import places
from orchestrator.study.spec import Study
from workloads import WORKLOADS, unknown
from workloads.data.custom import rows as yours
from workloads.held_out import told
from workloads.hparams import UnknownName
from workloads.labels import REGIONS
from workloads.workload import DataError, Download, Split, Workload, rows_in

BLOCK: Final = 1 << 20
TIMEOUT_S: Final = 30.0


def named(name: str) -> Workload:
    """A workload by its name; raises BadInput with the nearest known one."""
    if name not in WORKLOADS:
        raise BadInput(str(unknown(name)))
    return WORKLOADS[name]


def declared(name: str, file: str, root: str | None) -> tuple[Workload, Path | None]:
    """A data set that a study declares, and the data root on this machine: `root`, else the study's.

    Raises BadInput.
    """
    study = Study.load(file)
    own = {each.name: each for each in study.custom}
    if name not in own:
        raise BadInput(str(UnknownName("data set", name, own, f"those that study {study.study} declares")))
    try:
        folder = local_root(root or study.data, places(own[name].model_dump()))
        return yours.build(yours.located(own[name], folder), folder), folder
    except DataError as err:
        raise BadInput(f"workload {name}: {err}") from None


@dataclass(frozen=True)
class Listing:
    """A workload in a list: whether its files are at hand, its terms, and where to get it."""

    name: str
    title: str
    at_hand: bool
    licence: str
    where: str


def listing(root: str | None) -> list[Listing]:
    """Every workload; its data count as at hand where all that it needs is there, or where a package brings them."""
    return [
        Listing(
            w.name,
            w.title,
            all(at_hand(root, name) for name in needed(w)),
            w.origin.licence,
            w.origin.page or w.origin.source,
        )
        for w in WORKLOADS.values()
    ]


@dataclass(frozen=True)
class Check:
    """What was found of a data set: rows by split and region beside the expected ones, problems and notes in words.

    `test_set` says what its test set is, in the sentences that stand under its tables.
    """

    counts: dict[str, int]
    expected: dict[str, int]
    fingerprint: str
    duplicates: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    test_set: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the data can be used and have the expected numbers of rows."""
        return not self.problems and not self.differing

    @property
    def differing(self) -> list[str]:
        """Counts that are not the expected ones."""
        return [name for name, count in self.expected.items() if self.counts.get(name) != count]


def check(workload: Workload, root: Path | None) -> Check:
    """Load a data set, count it, and look for inputs that are both in train and in test."""
    try:
        data = workload.load(root)
    except DataError as err:
        return Check({}, dict(workload.counts), "", 0, err.problems)
    splits = {"train": data.train, "val": data.val, "test": data.test}
    counts: dict[str, int] = {}
    for name, split in splits.items():
        where = workload.regions(data, split)
        counts[name] = rows_in(split)
        counts |= {f"{name}/{region}": int((where == place).sum()) for place, region in enumerate(REGIONS)}
    trained = Counter(_digests(data.train))
    twice = sum(d in trained for d in _digests(data.test))
    return Check(counts, dict(workload.counts), data.fingerprint, twice, (), data.notes, tuple(told(workload, data)))


def _digests(split: Split) -> Iterator[bytes]:
    """A checksum of every row's inputs."""
    for rows in torch.split(torch.arange(rows_in(split)), 256):
        for row in split.inputs(rows, torch.device("cpu")):
            yield hashlib.blake2b(row.contiguous().numpy().tobytes(), digest_size=16).digest()


def fetch(workload: Workload, root: Path, progress: Callable[[str], None]) -> list[Path]:
    """Fetch the files that may be redistributed, below the root; returns them.

    A file that is there with its checksum is left alone; one that broke off is continued; a file takes its name when it
    is whole. An archive is unpacked, unless what it makes is there. Raises BadInput when there is nothing to fetch,
    with the steps and terms, and when a download fails.
    """
    origin = workload.origin
    if not origin.files:
        steps = origin.steps or ("it comes with a package" if not origin.folder else "see its page")
        raise BadInput(f"{workload.name} cannot be fetched: {steps}. Terms: {origin.licence}. {origin.page}".rstrip())
    try:
        return [_got(file, root, progress) for file in origin.files]
    except OSError as err:
        raise _unwritable(root, err) from None


def _got(file: Download, root: Path, progress: Callable[[str], None]) -> Path:
    if not file.makes:
        return _download(file, root, progress)
    made = root / file.makes
    if made.exists():
        progress(f"{file.makes} is there")
        return made
    archive = _download(file, root, progress)
    progress(f"{file.path}: unpacking to {file.makes}")
    unpack(archive, made)
    return made


def _download(file: Download, root: Path, progress: Callable[[str], None]) -> Path:
    target, part = root / file.path, root / f"{file.path}.part"
    if target.is_file() and (not file.sha256 or _sha256(target) == file.sha256):
        progress(f"{file.path} is there")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            continued = answer.status == 206
            expected = answer.headers.get("Content-Length")
            total = None if expected is None else int(expected) + (have if continued else 0)
            with part.open("ab" if continued else "wb") as stream:
                while block := answer.read(BLOCK):
                    stream.write(block)
                    progress(f"{file.path}: {stream.tell() >> 20} of {'?' if total is None else total >> 20} MiB")
    except urllib.error.HTTPError as err:
        if err.code != 416:  # 416: the part is whole already
            raise BadInput(f"{file.url} cannot be fetched: {err.code} {err.reason}") from None
        total = have
    except (OSError, urllib.error.URLError) as err:
        raise BadInput(f"{file.url} cannot be fetched: {err}; the same command continues") from None
    if total is not None and part.stat().st_size != total:
        raise BadInput(f"{file.path} broke off at {part.stat().st_size} of {total} bytes; the same command continues")
    if file.sha256 and (found := _sha256(part)) != file.sha256:
        part.unlink()
        raise BadInput(f"{file.path} has SHA-256 {found}, expected {file.sha256}: it was thrown away; fetch it again")
    part.replace(target)
    return target


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def make_fixture(workload: Workload, root: Path) -> None:
    """Write small made-up files in the official layout below a root; raises BadInput for data of a package."""
    if workload.fixture is None:
        raise BadInput(f"{workload.name} has no fixture: its data come with a package; use it as it is")
    try:
        workload.fixture(followed(root))
    except OSError as err:
        raise _unwritable(root, err) from None


def _unwritable(root: Path, err: OSError) -> BadInput:
    reason = err.strerror or err
    return BadInput(
        f"the data root must be a folder that can be written: got {shown(str(root))}: {reason}; choose another"
    )
