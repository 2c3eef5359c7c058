"""One shop per data folder: a lock that `daogou up`, `daogou demo` and a worker with embedded servers hold.

The lock is the kernel's (flock): it ends with the process that holds it, however that one ends, and no child gets it.
Workers that are given Kafka and Redis do not take it: there may be many.
"""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from infra.data_folder import make_usable
from infra.errors import Refused

FILE: Final = "shop.lock"


class AlreadyRuns(Refused):
    """Another process runs the shop of this data folder."""

    code = "already_running"


class OneShop:
    """`with OneShop(folder) as held:` before anything starts; `held.opened(url)` tells others where it answers.

    Raises:
        AlreadyRuns: another process holds the folder; the message says where it answers.
        SettingWrong: nothing can be kept in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def opened(self, url: str) -> None:
        """Note where the shop answers."""
        self._note({"pid": os.getpid(), "url": url})

    def __enter__(self) -> "OneShop":
        make_usable(self._folder)
        file = (self._folder / FILE).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise _already(file, self._folder) from None
        self._file = file
        self._note({"pid": os.getpid()})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    def _note(self, told: dict[str, object]) -> None:
        assert self._file is not None, "only while it is held"
        self._file.truncate(0)
        self._file.write(json.dumps(told))
        self._file.flush()


def _already(file: IO[str], folder: Path) -> AlreadyRuns:
    file.seek(0)
    told: dict[str, object] = {}
    with suppress(ValueError):  # it is just being written
        told = json.loads(file.read())
    where = f" at {told['url']}" if "url" in told else ""
    who = f" (pid {told['pid']})" if "pid" in told else ""
    return AlreadyRuns(f"a shop already runs{where}{who} on {folder}; stop it or take another --data-dir")
