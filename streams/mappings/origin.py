"""Where a load comes from: the source, opened and known by the hash of its content."""

import csv
import gzip
import hashlib
import importlib.util
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final, cast

from infra.errors import NotFound, Undecodable

_CHUNK: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
MAX_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """The files of one load and what every event of it carries."""

    files: tuple[Path, ...]
    source: str
    tenant: str
    received_at: datetime
    load_id: str | None

    @property
    def file(self) -> Path:
        """The one file of a mapping that reads one."""
        return self.files[0]


def open_bytes(path: Path) -> IO[bytes]:
    """A file for reading, unpacked when it is gzip, whatever its name says."""
    with path.open("rb") as raw:
        packed = raw.read(2) == _GZIP
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 text, unpacked on the way, with a byte order mark dropped.

    Bytes that are no UTF-8 become U+FFFD: one bad byte spoils its own field, not the file. What a line has
    beyond 1 Mi characters is left out.
    """
    with (
        told_as_broken(path),
        open_bytes(path) as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="") as text,
    ):
        while line := text.readline(MAX_LINE):
            yield line
            while len(line) == MAX_LINE and not line.endswith("\n"):  # the rest of a line beyond the bound
                line = text.readline(MAX_LINE)


@contextmanager
def told_as_broken(path: Path) -> Iterator[None]:
    """Turn the errors of a gzip file that is cut or altered into ours."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Undecodable(
            f"{path}: the gzip file is cut or altered ({error}); nothing of it was loaded, fetch it again",
            path="source",
            code="broken_gzip",
        ) from None


def count_lines(origin: Origin) -> int:
    """Lines of the one file."""
    return sum(1 for _ in text_lines(origin.file))


def count_below_header(origin: Origin) -> int:
    """Lines of the one file without its first."""
    return max(0, count_lines(origin) - 1)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row of a CSV file: the line that it begins in (counted from 1), how many it spans, its fields."""

    line: int
    lines: int
    fields: list[str]


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[CsvRow]:
    """The rows of a CSV file; one that cannot be read as CSV has no fields, an empty line neither."""
    rows = csv.reader(text_lines(path), delimiter=delimiter)
    before = 0
    while True:
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error:  # a field over the csv module's bound, as an unclosed quote makes
            fields = []
        yield CsvRow(before + 1, rows.line_num - before, fields)
        before = rows.line_num


def content_hash(name: str, files: tuple[Path, ...]) -> str:
    """16 hexadecimal digits that follow from the name and the bytes of the files."""
    digest = hashlib.blake2b(name.encode(), digest_size=8)
    for path in files:
        with path.open("rb") as raw:
            while chunk := raw.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def existing(path: Path) -> Path:
    """The path, if a file is there.

    Raises:
        NotFound: no file is there.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}; give the file to load", path="source")
    return path


def package_files(package: str, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Data files of an installed package, found without importing it.

    Raises:
        NotFound: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise NotFound(f"the data package {package} is not installed; install daogou[demo]", path="source")
    folder = Path(spec.submodule_search_locations[0])
    return tuple(existing(folder / name) for name in names)
