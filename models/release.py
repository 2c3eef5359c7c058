"""Which artifact is in service: a pointer file beside the artifacts, replaced in one step, with its history."""

from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from infra.errors import ArtifactBroken, BadInput, Conflict, NotFound
from models.artifact import MANIFEST, Artifact
from models.gate import Compared, judge
from models.on_disk import alone, replaced

POINTER: Final = "live.json"
ROLLBACK: Final = "rollback"  # the reason that is kept for one
_HISTORY: Final = 100


class Release(msgspec.Struct, frozen=True):
    """One swap: `forced` is the reason why the gate was passed over, `compared` what it was decided on, `by` the
    account that asked for it.
    """

    version: str
    at: datetime
    forced: str | None = None
    compared: Compared | None = None
    by: str | None = None


class Pointer(msgspec.Struct, frozen=True):
    """The artifact in service and the releases before, oldest first."""

    releases: tuple[Release, ...] = ()

    @property
    def live(self) -> str | None:
        """The version in service."""
        return self.releases[-1].version if self.releases else None


def pointer(models_dir: Path) -> Pointer:
    """The pointer as it stands.

    Raises:
        ArtifactBroken: the file is there and cannot be read.
    """
    file = models_dir / POINTER
    try:
        return msgspec.json.decode(file.read_bytes(), type=Pointer)
    except FileNotFoundError:
        return Pointer()
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactBroken(
            f"{file}, which names the model in service, cannot be read ({error}); put a copy back, or remove it and "
            "release a version (daogou models list shows them)",
            code="pointer_broken",
        ) from None


def released(models_dir: Path) -> Path | None:
    """The directory of the artifact in service; None before the first release.

    Raises:
        ArtifactBroken: the pointer cannot be read.
    """
    live = pointer(models_dir).live
    return None if live is None else models_dir / live


def artifacts(models_dir: Path) -> list[str]:
    """The versions that there are, oldest first."""
    return sorted(file.parent.name for file in models_dir.glob(f"[!.]*/{MANIFEST}"))


def candidate(models_dir: Path, version: str) -> Artifact:
    """An artifact that may be released, its files whole.

    Raises:
        NotFound: no such artifact.
        ArtifactBroken: a file of it is missing or altered.
    """
    if version not in artifacts(models_dir):
        raise NotFound(f"there is no artifact {version!r} in {models_dir}", path="version")
    return Artifact.open(models_dir / version)


def release(
    models_dir: Path,
    version: str,
    at: datetime,
    compared: Compared | None,
    *,
    unfair_beyond: float = 1.0,
    force: str | None = None,
    by: str | None = None,
) -> Release:
    """Put an artifact into service, if its files are whole and the gate lets it.

    Args:
        models_dir: of all artifacts.
        version: the candidate.
        at: now.
        compared: how it does beside the one in service; kept in the record. None only with `force`.
        unfair_beyond: the share that a group of shoppers may lose; 1: no limit.
        force: the reason why the gate is passed over.
        by: the account that asks for it; kept in the record.

    Raises:
        NotFound: no such artifact.
        ArtifactBroken: a file of it is missing or altered.
        Refused: the gate's; `force` passes.
        Conflict: another release came between the comparison and this one.
    """
    if force is not None and not force.strip():
        raise BadInput("--force needs a reason; it is kept", path="force", code="reason_required")
    candidate(models_dir, version)
    if force is None:
        if compared is None:
            raise BadInput("nothing is released without a comparison", path="compared", code="not_compared")
        judge(version, compared, unfair_beyond)
    with alone(models_dir):
        before = pointer(models_dir)
        if force is None and compared is not None and compared.in_service != before.live:
            raise Conflict(f"{before.live} was released meanwhile: release {version} again to compare it with that")
        done = Release(version, at, force, compared, by)
        _write(models_dir, Pointer((*before.releases, done)[-_HISTORY:]))
    return done


def rollback(models_dir: Path, at: datetime, *, by: str | None = None) -> Release:
    """Put the artifact that was in service before this one back into service; again: the one before that.

    Raises:
        BadInput: there was none before.
        ArtifactBroken: a file of it is missing or altered, or the pointer cannot be read.
    """
    if not models_dir.is_dir():
        raise _nothing_before()
    with alone(models_dir):
        before = pointer(models_dir)
        others = [place for place, one in enumerate(before.releases) if one.version != before.live]
        if not others:
            raise _nothing_before()
        kept = before.releases[: others[-1] + 1]
        version = kept[-1].version
        Artifact.open(models_dir / version)
        done = Release(version, at, ROLLBACK, by=by)
        _write(models_dir, Pointer((*kept, done)[-_HISTORY:]))
    return done


def _nothing_before() -> BadInput:
    return BadInput("there is no release before this one", path="version", code="no_release_before")


def _write(models_dir: Path, new: Pointer) -> None:
    replaced(models_dir / POINTER, msgspec.json.format(msgspec.json.encode(new)))
