"""Files that come into sight whole, and are still there after the power was cut."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.errors import Refused

DISK_FULL: Final = "disk_full"
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None)  # numpy tells a short write without a number


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process is in such a block for this folder meanwhile; a process that dies lets go of it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replaced(file: Path, raw: bytes) -> None:
    """Write beside, make durable, rename, make the rename durable."""
    work = file.with_name(f"{file.name}.new")
    work.write_bytes(raw)
    synced(work)
    work.replace(file)
    synced(file.parent)


def synced(path: Path) -> None:
    """What is in a file, or which files are in a folder, is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told_as_full(folder: Path) -> Iterator[None]:
    """What is written into a folder in such a block, and finds no room, is told as such.

    Raises:
        Refused: there is no room (`disk_full`).
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise Refused(
            f"there is no room for {folder} ({error.strerror or error}): make room on that disk, then do it again",
            code=DISK_FULL,
        ) from error
