"""The data folder: made and tried before anything relies on it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.errors import SettingWrong


def make_usable(folder: Path) -> None:
    """Make the folder if it is missing, and see that a file can be written in it.

    Raises:
        SettingWrong: it cannot be made or written to; the message says why.
    """
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder)


def try_out(folder: Path) -> None:
    """The same, and leave no trace: folders that were made for it are removed again.

    Raises:
        SettingWrong: as `make_usable`.
    """
    whole = folder.absolute()
    missing = [one for one in (whole, *whole.parents) if not _is_there(one)]
    try:
        make_usable(folder)
    finally:
        for one in missing:  # the innermost first
            with suppress(OSError):  # another process has begun to use it
                one.rmdir()


def _is_there(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:
        return True  # nothing of ours to remove


def _write(folder: Path) -> None:
    trial = folder / f".trial-{os.getpid()}"
    trial.write_bytes(b"daogou")
    trial.unlink()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingWrong(
            f"DAOGOU_DATA_DIR = {str(folder)!r}: nothing can be kept there ({error.strerror or error}). "
            "Allowed: a folder that this user can make and write to, also by --data-dir.",
            path="data_dir",
        ) from None
