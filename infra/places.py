"""Where an archive lies: a folder of this machine, or a part of a bucket behind S3's protocol.

Either shows a file only once it is whole: a folder by a rename; S3, where nothing is renamed or added to, because an
object is there when its upload is complete. What S3 refuses is told in our own errors, which name the setting and
hold no key.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from infra.errors import Refused, SettingWrong
from infra.store_errors import SETTING, no_bucket, ours
from infra.whole_files import put_whole

PROBE: Final = ".daogou-probe"
_PROBED: Final = b"daogou writes this to see that it may"


class Place(Protocol):
    """A folder in which files come into sight whole. Paths are the file system's own, names are below the folder.

    All of it, where it is S3:

    Raises:
        ArchiveAway: the store does not answer.
        Refused: it says no (`archive_denied`, `archive_no_bucket`, `archive_refused`).
    """

    def __truediv__(self, name: str) -> "Place":
        """A folder in it."""
        ...

    def __str__(self) -> str:
        """What people call it, without secrets."""
        ...

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one of this machine."""
        ...

    def files(self) -> list[Any]:
        """The files right in it (`pyarrow.fs.FileInfo`), none if there is no such folder."""
        ...

    def inside(self, wanted: Callable[[str], bool]) -> Iterator[Any]:
        """The files right in those of its folders whose names are wanted."""
        ...

    def open(self, path: str) -> Any:
        """A file, to be read at any place."""
        ...

    def size(self, path: str) -> int:
        """The bytes of a file."""
        ...

    def put(self, name: str, buffer: Any) -> None:
        """Make a file, whole or not at all, in the place of one of the same name; it is safe when this returns."""
        ...

    def told(self) -> Any:
        """A context in which the store's own errors become ours: around what is read from an open file."""
        ...

    def probe(self) -> None:
        """See that it can be listed, written to and read.

        Raises:
            SettingWrong: it is a folder that cannot be used.
        """
        ...


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __truediv__(self, name: str) -> "Folder":
        return Folder(self._path / name)

    def __str__(self) -> str:
        return str(self._path)

    @property
    def folder(self) -> Path | None:
        """Itself."""
        return self._path

    def files(self) -> list[Any]:
        """The files right in it."""
        return [one for one in self._in(self._path) if one.is_file]

    def inside(self, wanted: Callable[[str], bool]) -> Iterator[Any]:
        """The files of some of its folders."""
        for one in self._in(self._path):
            if not one.is_file and wanted(one.base_name):
                yield from (file for file in self._in(one.path) if file.is_file)

    def open(self, path: str) -> Any:
        """A file."""
        return _local().open_input_file(path)

    def size(self, path: str) -> int:
        """Its bytes."""
        return os.stat(path).st_size

    def put(self, name: str, buffer: Any) -> None:
        """Make a file, by a rename."""
        put_whole(self._path, self._path / name, buffer)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Nothing to be told: the errors of a folder are the system's."""
        yield

    def probe(self) -> None:
        """Write and remove a file."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            trial = self._path / f"{PROBE}-{os.getpid()}"
            trial.write_bytes(_PROBED)
            trial.unlink()
        except OSError as error:
            raise SettingWrong(
                f"{SETTING}: nothing can be kept in {self} ({error.strerror or error}); name a folder that this user "
                "can make and write to",
                path="archive",
            ) from None

    def _in(self, folder: Path | str) -> list[Any]:
        from pyarrow import fs

        found: list[Any] = _local().get_file_info(fs.FileSelector(str(folder), allow_not_found=True))
        return found


class Store:
    """A part of an object store, or of any other PyArrow file system that shows a file when it is whole.

    Args:
        root: the path of it in the file system.
        opener: gives the file system; called once it is needed.
        shown: what people call it.
        bucket: what must be there already; empty: nothing must.
    """

    def __init__(self, root: str, opener: Callable[[], Any], shown: str, bucket: str = "") -> None:
        self._root = root
        self._opener = opener
        self._shown = shown
        self._bucket = bucket

    def __truediv__(self, name: str) -> "Store":
        return Store(self._path(name), self._opener, f"{self._shown}/{name}", self._bucket)

    def __str__(self) -> str:
        return self._shown

    @property
    def folder(self) -> Path | None:
        """It is none."""
        return None

    def files(self) -> list[Any]:
        """The files right in it."""
        return [one for one in self._found(recursive=False) if one.is_file]

    def inside(self, wanted: Callable[[str], bool]) -> Iterator[Any]:
        """The files of some of its folders, by one listing: a request for each folder takes longer."""
        depth = len(parts_of(self._root)) + 2
        for one in self._found(recursive=True):
            parts = parts_of(one.path)
            if one.is_file and len(parts) == depth and wanted(parts[-2]):
                yield one

    def open(self, path: str) -> Any:
        """A file."""
        with self.told():
            return self._opener().open_input_file(path)

    def size(self, path: str) -> int:
        """Its bytes."""
        with self.told():
            return int(self._opener().get_file_info(path).size or 0)

    def put(self, name: str, buffer: Any) -> None:
        """Upload a file: nobody sees it before all of it is there."""
        path = self._path(name)
        with self.told():
            files = self._opener()
            if not self._bucket:  # a store with buckets has no folders
                files.create_dir(path.rpartition("/")[0], recursive=True)
            stream = files.open_output_stream(path)
            # No `with`: it would close the stream after an error, too, and closing completes an upload.
            stream.write(buffer)
            stream.close()

    @contextmanager
    def told(self) -> Iterator[None]:
        """What the store says, in our own errors."""
        try:
            yield
        except OSError as error:
            meant = ours(str(error), self._shown)
            if meant is None:
                raise
            raise meant from None  # whose text may hold more than we would say

    def probe(self) -> None:
        """Write a small file of its own and read it. It stays: an archive needs no right to delete."""
        self.files()
        self.put(PROBE, _PROBED)
        with self.told(), self._opener().open_input_file(self._path(PROBE)) as file:
            found = file.read()
        if found != _PROBED:
            raise Refused(f"{SETTING}: {self} gives back other bytes than were written there", code="archive_refused")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if self._root else name

    def _found(self, *, recursive: bool) -> list[Any]:
        from pyarrow import fs

        with self.told():
            files = self._opener()
            found: list[Any] = files.get_file_info(
                fs.FileSelector(self._root, allow_not_found=True, recursive=recursive)
            )
            # A bucket that is not there looks like an empty one.
            if not found and self._bucket and files.get_file_info(self._bucket).type == fs.FileType.NotFound:
                raise no_bucket(self._shown)
        return found


def place_of(where: Place | Path | str) -> Place:
    """A path is a folder of this machine."""
    return Folder(Path(where)) if isinstance(where, Path | str) else where


def parts_of(path: str) -> list[str]:
    """The names that a path is made of."""
    return [part for part in path.split("/") if part]


@cache
def _local() -> Any:
    from pyarrow import fs

    return fs.LocalFileSystem()
