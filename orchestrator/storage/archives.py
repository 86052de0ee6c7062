"""Archives of data sets, unpacked below one folder or not at all."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, TypeAlias

from orchestrator.errors import BadInput

MOST_BYTES: Final = 20 << 30
"""Unpacked; the largest data set that is fetched has 5.6 GB."""
MOST_FILES: Final = 200_000
BLOCK: Final = 1 << 20

BROKEN: Final = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
"""What the libraries raise over an archive that is not whole, or that asks for a password."""

Read: TypeAlias = Callable[[str], IO[bytes] | None]
"""The open content of a member."""


@dataclass(frozen=True)
class Member:
    """A name in an archive: whether it is a folder, and what it is if it is neither a folder nor a file."""

    name: str
    folder: bool
    other: str = ""


def unpack(archive: Path, made: Path) -> None:
    """Unpack what the archive holds under the name of `made` to that place, whole or not at all.

    It is written to a temporary folder beside `made` and then takes its name; one that an interrupted call left is
    thrown away. Other members of the archive are left out. Raises BadInput, before anything is written, for an archive
    with a name that leaves its folder, a link, a device, or more than `MOST_FILES`; and for one that is broken or
    larger than `MOST_BYTES`, whatever its header says.
    """
    temporary = made.parent / f".{made.name}.unpacking"
    if temporary.exists():
        shutil.rmtree(temporary)
    try:
        with _opened(archive) as (members, read):
            wanted = _checked(archive, members, made.name)
            temporary.mkdir(parents=True)
            room = min(MOST_BYTES, shutil.disk_usage(temporary).free)
            for member in wanted:
                target = temporary / PurePosixPath(member.name)
                (target if member.folder else target.parent).mkdir(parents=True, exist_ok=True)
                if not member.folder:
                    room = _write(archive, read(member.name), target, room)
        (temporary / made.name).replace(made)
    except BROKEN as err:
        reason = str(err).partition("\n")[0]
        raise BadInput(f"{archive} cannot be unpacked: {reason}; delete it and fetch it again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[Member], Read]]:
    """The members of an archive and how to read one, by what its first bytes say it is."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield map(_of_zip, zipped.infolist()), zipped.open
        return
    with tarfile.open(archive) as tape:
        yield map(_of_tar, tape), tape.extractfile


def _of_zip(info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    odd = kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    return Member(info.filename, info.is_dir(), "a link or device" if odd else "")


def _of_tar(info: tarfile.TarInfo) -> Member:
    return Member(info.name, info.isdir(), "" if info.isreg() or info.isdir() else "a link or device")


def _checked(archive: Path, members: Iterator[Member], top: str) -> list[Member]:
    """The members under `top`; raises BadInput when any member is not to be trusted."""
    wanted: list[Member] = []
    for number, member in enumerate(members):
        parts = PurePosixPath(member.name).parts
        if number >= MOST_FILES:
            raise BadInput(f"{archive} must hold at most {MOST_FILES:,} files; it was not unpacked")
        if member.name.startswith("/") or ".." in parts or "\\" in member.name or ":" in member.name.partition("/")[0]:
            raise BadInput(f"{archive} must stay in its folder: got the name {member.name!r}; it was not unpacked")
        if member.other:
            raise BadInput(f"{archive} must hold files only: {member.name!r} is {member.other}; it was not unpacked")
        if parts and parts[0] == top:
            wanted.append(member)
    if not wanted:
        raise BadInput(f"{archive} must hold {top}, and does not; delete it and fetch it again")
    return wanted


def _write(archive: Path, source: IO[bytes] | None, target: Path, room: int) -> int:
    """Copy a file and return the bytes that are left; raises BadInput when there are none."""
    assert source is not None
    with source, target.open("xb") as stream:
        while block := source.read(BLOCK):
            room -= len(block)
            if room < 0:
                raise BadInput(f"{archive} holds more than fits: the disk, or the bound of {MOST_BYTES >> 30} GiB")
            stream.write(block)
    return room
