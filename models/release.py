"""Which artifact is in service: a pointer file beside the artifacts, replaced in one step, with its history."""

from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from infra.errors import BadInput, NotFound, Refused
from models.artifact import MANIFEST, Artifact

POINTER: Final = "live.json"
GATE: Final = ("fused", "all/ndcg")
_TOLERANCE: Final = 0.01
_HISTORY: Final = 100


class Release(msgspec.Struct, frozen=True):
    """One swap; `forced` is the reason why the gate was passed over."""

    version: str
    at: datetime
    forced: str | None = None


class Pointer(msgspec.Struct, frozen=True):
    """The artifact in service and the releases before, oldest first."""

    releases: tuple[Release, ...] = ()

    @property
    def live(self) -> str | None:
        """The version in service."""
        return self.releases[-1].version if self.releases else None


def pointer(models_dir: Path) -> Pointer:
    """The pointer as it stands."""
    try:
        return msgspec.json.decode((models_dir / POINTER).read_bytes(), type=Pointer)
    except FileNotFoundError:
        return Pointer()


def released(models_dir: Path) -> Path | None:
    """The directory of the artifact in service; None before the first release."""
    live = pointer(models_dir).live
    return None if live is None else models_dir / live


def artifacts(models_dir: Path) -> list[str]:
    """The versions that there are, oldest first."""
    return sorted(file.parent.name for file in models_dir.glob(f"[!.]*/{MANIFEST}"))


def release(models_dir: Path, version: str, at: datetime, *, force: str | None = None) -> Release:
    """Put an artifact into service, if its files are whole and the gate lets it.

    The gate compares the fused NDCG with that of the artifact in service where both were tested on the same weeks;
    more than 1 % worse is refused.

    Raises:
        NotFound: no such artifact.
        ArtifactBroken: a file of it is missing or altered.
        Refused: it is worse than the one in service; `force` with a reason passes.
    """
    if not (models_dir / version).is_dir():
        raise NotFound(f"there is no artifact {version!r} in {models_dir}", path="version")
    candidate = Artifact.open(models_dir / version)
    in_service = released(models_dir)
    if in_service is not None and force is None:
        _gate(candidate, Artifact.open(in_service, verify=False))
    done = Release(version, at, force)
    _write(models_dir, Pointer((*pointer(models_dir).releases, done)[-_HISTORY:]))
    return done


def rollback(models_dir: Path, at: datetime) -> Release:
    """Put the artifact that was in service before this one back into service; again: the one before that.

    Raises:
        BadInput: there was none before.
        ArtifactBroken: a file of it is missing or altered.
    """
    before = pointer(models_dir)
    others = [place for place, one in enumerate(before.releases) if one.version != before.live]
    if not others:
        raise BadInput("there is no release before this one", path="version", code="no_release_before")
    kept = before.releases[: others[-1] + 1]
    version = kept[-1].version
    Artifact.open(models_dir / version)
    done = Release(version, at, "rollback")
    _write(models_dir, Pointer((*kept, done)[-_HISTORY:]))
    return done


def _gate(candidate: Artifact, in_service: Artifact) -> None:
    ours, theirs = candidate.manifest, in_service.manifest
    if (ours.fitted_before, ours.tested_until) != (theirs.fitted_before, theirs.tested_until):
        return  # figures of other weeks say nothing about each other
    model, metric = GATE
    new, old = ours.metrics[model][metric], theirs.metrics[model][metric]
    if new < old * (1 - _TOLERANCE):
        raise Refused(
            f"{ours.version} has {metric} {new:.4f}, {theirs.version} in service {old:.4f}: not released. "
            "Give --force with a reason to release it all the same",
            code="worse_than_in_service",
        )


def _write(models_dir: Path, new: Pointer) -> None:
    work = models_dir / f"{POINTER}.new"
    work.write_bytes(msgspec.json.format(msgspec.json.encode(new)))
    work.replace(models_dir / POINTER)
