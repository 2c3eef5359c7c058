"""Which code rows and features were made by: a replay by other code than the workers run gives other rows."""

from hashlib import blake2b
from pathlib import Path
from typing import Final

import features
from infra.errors import Refused
from streams.replay.wishes import OTHER_CODE

_LEFT_OUT: Final = "repo"  # Feast's own command line reads it, and nobody else


def code_of_rows(folder: Path = Path(features.__file__).parent) -> str:
    """A digest of the sources that say what a row and its features are; empty where they do not lie open."""
    digest, found = blake2b(digest_size=8), False
    for file in sorted(folder.rglob("*.py")):
        place = file.relative_to(folder)
        if place.parts[0] != _LEFT_OUT:
            digest.update(f"{place.as_posix()}\n".encode() + file.read_bytes())
            found = True
    return digest.hexdigest() if found else ""


def differs(one: str, other: str) -> bool:
    """Whether two are known, and not the same."""
    return bool(one and other) and one != other


def refuse_other(namespace: str, made_by: str, mine: str) -> None:
    """See that the worker that is to serve a namespace has the code that made it.

    Raises:
        Refused: it has other code (`other_code`).
    """
    if differs(made_by, mine):
        raise Refused(
            f"the namespace {namespace!r} was made by other code of features/ ({made_by}) than this worker runs "
            f"({mine}): what comes from here on would be folded otherwise than what is there. Start the workers of the "
            "code that made it, then ask again; or replay with the code that runs, into another name; or promote it "
            f"all the same with --force {OTHER_CODE}",
            code=OTHER_CODE,
        )
