"""A file of the archive that cannot be read: the library says what is wrong in it, and we say which file it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import pyarrow as pa

from infra.errors import Refused

_SAID: Final = 200  # characters of what a library says


class DamagedFile(Refused):
    """A file cannot be read; `said` is what the library says of it."""

    code = "archive_damaged"

    def __init__(self, path: str, said: str) -> None:
        super().__init__(
            f"{path}, a file of the archive, cannot be read ({said}): bring it back from a copy; `daogou archive "
            "verify` names every file that is not what was written"
        )
        self.said = said


@contextmanager
def damage_told(path: str) -> Iterator[None]:
    """Around what reads a file.

    Raises:
        DamagedFile: in the place of what the library raises.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, msgspec.DecodeError) as error:
        raise DamagedFile(path, str(error).partition("\n")[0][:_SAID]) from error
