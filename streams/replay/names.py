"""What a replay's namespace may be called."""

import re
from typing import Final

from infra.errors import BadInput
from infra.keys import LIVE

MAX_NAME: Final = 40
BEFORE: Final = "before"
"""What was served before what is live; no replay is called so."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*").fullmatch


def checked_name(name: str, path: str = "into") -> str:
    """The name, if a replay may have it.

    Raises:
        BadInput: it may not; says what is allowed (`name_wrong`).
    """
    if name in (LIVE, BEFORE) or len(name) > MAX_NAME or not _NAME(name):
        raise BadInput(
            f"{name[:80]!r} is no name for a replay: letters, digits, - and _, the first a letter or a digit, "
            f"{MAX_NAME} at most, and neither {LIVE!r} nor {BEFORE!r}",
            path=path,
            code="name_wrong",
        )
    return name


def held_as(name: str) -> str:
    """What a namespace is held as by who drops or promotes it: the hold called `live` is that of whoever serves, and
    the first namespace has the same name.
    """
    return f"first:{name}" if name == LIVE else name
