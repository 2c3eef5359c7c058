"""Which candidate is tried beside the model in service: a file beside the artifacts, replaced in one step."""

from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from infra.errors import ArtifactBroken, BadInput
from models.on_disk import alone, replaced
from models.release import candidate, pointer

FILE: Final = "shadow.json"


class Order(msgspec.Struct, frozen=True):
    """Try `version` on a `share` of the shoppers, 0 to 1. `at` names the order: the same version tried again is
    another one.
    """

    version: str
    share: float
    at: datetime
    by: str | None = None

    @property
    def name(self) -> str:
        """What its figures are kept under."""
        return f"{self.version}@{round(self.at.timestamp() * 1000)}"


def shadowed(models_dir: Path) -> Order | None:
    """What is tried now; None: nothing.

    Raises:
        ArtifactBroken: the file is there and cannot be read (`shadow_broken`).
    """
    file = models_dir / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Order)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactBroken(
            f"{file}, which names the candidate that is tried, cannot be read ({error}); daogou models shadow --off "
            "removes it",
            code="shadow_broken",
        ) from None


def begin(models_dir: Path, order: Order) -> None:
    """Try a candidate from now on; it takes the place of the one that was tried before.

    Raises:
        BadInput: the share is none (`share_range`), or the version is in service (`in_service`).
        NotFound: there is no such artifact.
        ArtifactBroken: a file of it is missing or altered.
    """
    if not 0 < order.share <= 1:
        raise BadInput(
            f"--share is {order.share:g}; it is a part of the shoppers, above 0 and at most 1: 0.1 is a tenth",
            path="share",
            code="share_range",
        )
    candidate(models_dir, order.version)
    if pointer(models_dir).live == order.version:
        raise BadInput(
            f"{order.version} is in service: name a candidate to try beside it (daogou models list shows them)",
            path="version",
            code="in_service",
        )
    with alone(models_dir):
        replaced(models_dir / FILE, msgspec.json.format(msgspec.json.encode(order)))


def end(models_dir: Path) -> bool:
    """Try nothing any more; whether something was tried."""
    try:
        (models_dir / FILE).unlink()
    except FileNotFoundError:
        return False
    return True
