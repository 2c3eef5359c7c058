"""A model's other seeds: artifacts that differ from it in nothing else, found or made, to tell luck from skill.

Those that are made lie in a folder beside the models, so that none is ever released by mistake; deleting it loses
nothing but time.
"""

from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from infra.errors import DaogouError, Refused
from infra.settings import Settings
from models.artifact import Artifact, Manifest
from models.fitting import Options
from models.release import artifacts, candidate
from models.rivals import usable
from streams.progress import Phases
from streams.trainer import Again, train

_SAME: Final = ("fitted_before", "tested_until", "code", "text_encoder", "shape")


def others(settings: Settings, artifact: Artifact, most: int, phases: Phases) -> list[Artifact]:
    """Other seeds of an artifact, the newest of each; what cannot be used is said, and how many are missing.

    Args:
        settings: name the folder of models.
        artifact: one of them.
        most: how many.
        phases: hears what is said.
    """
    found = _found(settings, artifact, most, phases)
    if len(found) < most:
        phases.say(f"{len(found) + 1} of {most + 1} seeds of the model: with --train-seeds the others are trained")
    return found


def train_missing(settings: Settings, artifact: Artifact, most: int, phases: Phases, made_at: datetime) -> None:
    """Make the other seeds of an artifact that are not there, as it was made and on what happened before its end.

    Raises:
        Refused: it does not say how it was fitted, is of another code, or what is made is not like it, because what it
            was made from has changed (`seeds_not_comparable`).
    """
    there = {one.manifest.seed for one in _found(settings, artifact, most, phases)}
    missing = most - len(there)
    told = artifact.manifest
    if missing and (not told.options or told.code != version("daogou")):
        raise Refused(_not_comparable(told, "it is of another version of daogou"), code="seeds_not_comparable")
    seed = told.seed
    while missing:
        seed += 1
        if seed in there:
            continue
        phases.say(f"seed {seed} of {told.version} is trained")
        options = Options(**{**told.options, "seed": seed})  # type: ignore[arg-type]
        made = train(settings, options, phases, made_at, again=Again(told.tested_until, _folder(settings))).manifest
        if differing := _differing(made, told):
            raise Refused(_not_comparable(told, f"other {', '.join(differing)}"), code="seeds_not_comparable")
        missing -= 1


def _found(settings: Settings, artifact: Artifact, most: int, phases: Phases) -> list[Artifact]:
    found: dict[int, Artifact] = {}
    for folder, name in _all(settings) if most else ():
        try:
            other = Artifact.open(folder / name, verify=False)
            if len(found) == most or other.manifest.seed in {artifact.manifest.seed, *found}:
                continue
            if _differing(other.manifest, artifact.manifest):
                continue
            usable(candidate(folder, name))
        except DaogouError as error:
            phases.say(f"{name} is passed over as another seed: {error.message}")
            continue
        found[other.manifest.seed] = other
    return [found[seed] for seed in sorted(found)]


def _all(settings: Settings) -> Iterator[tuple[Path, str]]:
    """The newest first, models before those that are seeds alone."""
    for folder in (settings.models_dir, _folder(settings)):
        yield from ((folder, name) for name in reversed(artifacts(folder)))


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "seeds" / settings.tenant


def _differing(one: Manifest, other: Manifest) -> list[str]:
    """In what, but for the seed."""
    fields = [field for field in _SAME if getattr(one, field) != getattr(other, field)]
    return fields if _fitted(one) == _fitted(other) else [*fields, "options"]


def _fitted(manifest: Manifest) -> dict[str, Any]:
    return {name: value for name, value in manifest.options.items() if name != "seed"}


def _not_comparable(manifest: Manifest, why: str) -> str:
    return (
        f"another seed of {manifest.version} cannot be made: {why}. Train a model on what there is now (daogou train), "
        "and evaluate that one"
    )
