"""Files that come into sight whole, or not at all."""

import os
from pathlib import Path
from typing import Any, Final

HALF_WRITTEN: Final = ".half-written"


def put_whole(root: Path, target: Path, buffer: Any) -> None:
    """Write beside, make durable, rename, make the rename durable."""
    aside = root / HALF_WRITTEN / target.name
    for folder in (aside.parent, target.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with aside.open("wb") as file:
        file.write(buffer)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(target)
    for folder in (target.parent, root):
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
