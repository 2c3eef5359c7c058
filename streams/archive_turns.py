"""Whose turn it is to archive: one process at a time writes an archive, whatever the number of workers.

In a folder a lock of the system says so, which ends with its process. An object store has none: there a hold in Redis
keeps honest archivers apart, and one that is late all the same can only write records once more that are there already
(`features.archive`).
"""

import asyncio
import fcntl
from pathlib import Path
from typing import IO, Final, Protocol

from infra.errors import Refused
from streams.holds import Hold
from streams.patience import patiently

HOLD: Final = "job:archive"


class Turn(Protocol):
    """Who may archive."""

    async def take(self) -> bool:
        """Whether it is ours: now, or still.

        Raises:
            OSError: the folder cannot be written.
            RedisAway: it stayed away.
        """
        ...

    async def give_back(self) -> None:
        """Let somebody else have it."""
        ...


class FolderTurn:
    """By a lock on a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: IO[bytes] | None = None

    async def take(self) -> bool:
        """Lock the folder; a lock that is ours stays ours."""
        if self._lock is None:
            self._lock = await asyncio.to_thread(_try_lock, self._folder)
        return self._lock is not None

    async def give_back(self) -> None:
        """Unlock it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class HeldTurn:
    """By a hold in Redis, which lapses half a minute after it was last taken."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    async def take(self) -> bool:
        """Hold it, or hold it on."""
        return await patiently("holding the archive", self._held)

    async def give_back(self) -> None:
        """Let go, so that the next one need not wait.

        Raises:
            RedisAway: it lapses by itself.
        """
        await self._hold.release()

    async def _held(self) -> bool:
        try:
            await self._hold.take()
        except Refused:
            return False
        return True


def _try_lock(folder: Path) -> IO[bytes] | None:
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "archiver.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
