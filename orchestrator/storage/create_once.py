"""Giving a complete file its name only where nothing has that name, atomically, on the file systems that can."""

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

from orchestrator.errors import StorageFailed

WITHOUT_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV}
)
"""What link(2) answers on exFAT, on many FUSE and SMB mounts, and where a policy forbids it."""
AT_FDCWD: Final = -2 if sys.platform == "darwin" else -100
NO_REPLACE: Final = 4 if sys.platform == "darwin" else 1
"""RENAME_EXCL of macOS, RENAME_NOREPLACE of Linux."""


def name_once(made: Path, target: Path) -> bool:
    """Give a file the name `target` unless that exists; says whether it did. Of many callers at most one ever does.

    By a hard link, which fails where the name exists, unlike a rename; else by the rename that does not replace
    (`renameat2(2)`; exFAT, FAT and SMB have it). `made` may keep its old name as well. Raises StorageFailed on a file
    system that has neither, OSError for other failures.
    """
    try:
        os.link(made, target)
    except FileExistsError:
        return False
    except OSError as err:
        if err.errno not in WITHOUT_LINKS:
            raise
        return _renamed(made, target)
    return True


def _renamed(made: Path, target: Path) -> bool:
    """The same by a rename that does not replace."""
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renameatx_np" if sys.platform == "darwin" else "renameat2", None)
    if call is not None:
        if call(AT_FDCWD, os.fsencode(made), AT_FDCWD, os.fsencode(target), NO_REPLACE) == 0:
            return True
        code = ctypes.get_errno()
        if code == errno.EEXIST:
            return False
        if code not in WITHOUT_LINKS:
            raise OSError(code, os.strerror(code), str(target))
    raise StorageFailed(
        f"{target.parent} is on a file system without hard links and without a rename that does not replace: two "
        "drivers could overwrite each other's records; choose a folder on another disk, or s3://BUCKET/PREFIX"
    )
