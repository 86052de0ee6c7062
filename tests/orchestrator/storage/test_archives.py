"""Archives are unpacked whole and below their folder, or not at all."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import BadInput
from orchestrator.storage import archives
from orchestrator.storage.archives import unpack

GOOD = {"top/a.txt": b"a" * 3000, "top/below/b.txt": b"b", "README": b"left out"}


def make_tar(path: Path, files: dict[str, bytes], *odd: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return path


def make_zip(path: Path, files: dict[str, bytes], *odd: zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info in odd:
            archive.writestr(info, "../../outside")
    return path


MAKERS: list[Callable[[Path, dict[str, bytes]], Path]] = [make_tar, make_zip]


def tar_info(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_wanted_is_unpacked_and_the_rest_left_out(tmp_path: Path, make: Callable[..., Path]) -> None:
    unpack(make(tmp_path / "archive", GOOD), tmp_path / "data" / "top")
    assert everything(tmp_path / "data") == ["top", "top/a.txt", "top/below", "top/below/b.txt"]
    assert (tmp_path / "data" / "top" / "a.txt").read_bytes() == GOOD["top/a.txt"]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "name", ["../outside", "top/../../outside", "/tmp/outside-of-it", "top\\..\\outside", "C:/outside"]
)
def test_a_name_that_leaves_the_folder_is_refused_before_anything_is_written(
    tmp_path: Path, make: Callable[..., Path], name: str
) -> None:
    archive = make(tmp_path / "archive", {**GOOD, name: b"evil"})
    with pytest.raises(BadInput, match="must stay in its folder: got the name"):
        unpack(archive, tmp_path / "data" / "top")
    assert everything(tmp_path) == ["archive"]
    assert not Path("/tmp/outside-of-it").exists()


@pytest.mark.parametrize(
    "archive",
    [
        lambda path: make_tar(path, GOOD, tar_info("top/link", tarfile.SYMTYPE, "../../outside")),
        lambda path: make_tar(path, GOOD, tar_info("top/hard", tarfile.LNKTYPE, "/etc/hostname")),
        lambda path: make_tar(path, GOOD, tar_info("top/pipe", tarfile.FIFOTYPE)),
        lambda path: make_tar(path, GOOD, tar_info("top/null", tarfile.CHRTYPE)),
        lambda path: make_zip(path, GOOD, zip_link("top/link")),
    ],
    ids=["symlink", "hard link", "pipe", "device", "zip symlink"],
)
def test_links_and_devices_are_refused(tmp_path: Path, archive: Callable[[Path], Path]) -> None:
    with pytest.raises(BadInput, match=r"must hold files only: 'top/\w+' is a link or device"):
        unpack(archive(tmp_path / "archive"), tmp_path / "top")
    assert everything(tmp_path) == ["archive"]


@pytest.mark.parametrize("make", MAKERS)
def test_too_much_is_refused_and_nothing_kept(
    tmp_path: Path, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(tmp_path / "archive", GOOD)
    monkeypatch.setattr(archives, "MOST_BYTES", 2000)
    with pytest.raises(BadInput, match="holds more than fits"):
        unpack(archive, tmp_path / "top")
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    with pytest.raises(BadInput, match="at most 2 files"):
        unpack(archive, tmp_path / "top")
    assert everything(tmp_path) == ["archive"]


@pytest.mark.parametrize("make", MAKERS)
def test_a_broken_archive_or_another_one_leaves_nothing(tmp_path: Path, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / "archive", {**GOOD, "top/noise": os.urandom(100_000)})
    whole = archive.read_bytes()
    for content in (whole[:50_000], whole[:40_000] + bytes(20_000) + whole[60_000:], b"<html>Not found</html>", b""):
        archive.write_bytes(content)
        with pytest.raises(BadInput, match=r"cannot be unpacked: .*; delete it and fetch it again"):
            unpack(archive, tmp_path / "top")
        assert everything(tmp_path) == ["archive"]
    archive.write_bytes(whole)
    with pytest.raises(BadInput, match="must hold other, and does not"):
        unpack(archive, tmp_path / "other")


def test_what_an_interrupted_call_left_is_thrown_away(tmp_path: Path) -> None:
    left = tmp_path / ".top.unpacking" / "top"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    unpack(make_zip(tmp_path / "archive", GOOD), tmp_path / "top")
    assert everything(tmp_path) == ["archive", "top", "top/a.txt", "top/below", "top/below/b.txt"]
