"""A model artifact: a directory whose manifest names every file with its checksum. numpy alone, no torch.

manifest.json            version, data window, code, metrics, fusion weights, checksums
items.json               item ids; the rows of every array below
vectors.npy              float32 [items, width]: the item tower's output, the last column its log popularity
popularity.npy           float32 [items]: decayed purchases
neighbours.npy           int32 [items, 50]: item-to-item neighbours, best first, -1 where there are no more
neighbour_scores.npy     float32 [items, 50]
candidates.npy           int32 [candidates]: the items that lists are made of
user_tower.npz           the user tower's parameters by name
card.md                  the model card
cold.npz                 what vectors of items without a history are made of (`models.cold`); older artifacts lack it
lexical.npz              the text encoder, where it is one that was fitted on the catalogue
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np

from infra.errors import ArtifactBroken
from models.fusion import Weights
from models.interactions import Floats
from models.on_disk import alone, synced, told_as_full

FORMAT: Final = 2
MANIFEST: Final = "manifest.json"
NEIGHBOURS: Final = 50
_CHUNK: Final = 1 << 20


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the artifact is and what it was made from. Metrics are by model, then `task/metric`.

    `recency` is how loud an interaction is, of the next newer one, in the sum of item-to-item scores; `options` is how
    it was fitted, empty where an older version did not say.
    """

    version: str
    format: int
    made_at: datetime
    fitted_before: datetime
    tested_until: datetime
    events: int
    code: str
    seed: int
    text_encoder: str
    weights: dict[str, Weights]
    recency: float = 0.97
    metrics: dict[str, dict[str, float]]
    shape: dict[str, int]
    options: dict[str, bool | int | float] = {}
    checksums: dict[str, str]


class Artifact:
    """An artifact that is opened: arrays are mapped from disk when they are first used."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> "Artifact":
        """Open a directory.

        Raises:
            ArtifactBroken: a file is missing or altered (named), or the format is another version's.
        """
        try:
            manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactBroken(f"{path / MANIFEST} cannot be read ({error}); train again") from None
        if manifest.format != FORMAT:
            raise ArtifactBroken(f"{path.name} has format {manifest.format}, this version reads {FORMAT}; train again")
        for name, wanted in manifest.checksums.items() if verify else ():
            file = path / name
            if not file.is_file() or checksum(file) != wanted:
                raise ArtifactBroken(f"{file} is missing or altered; train again, or release another version")
        return cls(path, manifest)

    @property
    def version(self) -> str:
        """Its name."""
        return self.manifest.version

    @cached_property
    def item_ids(self) -> list[str]:
        """The items, in the order of every array."""
        return msgspec.json.decode((self.path / "items.json").read_bytes(), type=list[str])

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id to row."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @cached_property
    def vectors(self) -> Floats:
        """[items, width]."""
        found: Floats = self._array("vectors")
        return found

    @cached_property
    def popularity(self) -> Floats:
        """[items]: decayed purchases."""
        found: Floats = self._array("popularity")
        return found

    @cached_property
    def neighbours(self) -> Any:
        """[items, 50] rows of the neighbours, -1 for none."""
        return self._array("neighbours")

    @cached_property
    def neighbour_scores(self) -> Floats:
        """[items, 50]."""
        found: Floats = self._array("neighbour_scores")
        return found

    @cached_property
    def candidates(self) -> Any:
        """Rows of the items that lists are made of."""
        return self._array("candidates")

    def user_tower(self) -> Mapping[str, Any]:
        """Parameters by name."""
        with np.load(self.path / "user_tower.npz", allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def similar(self, item_id: str, k: int) -> list[tuple[str, float]]:
        """Items that go with it, best first: bought by the same shoppers, else alike by what they are."""
        row = self.index.get(item_id)
        if row is None:
            return []
        rows = self.neighbours[row]
        known = rows >= 0
        if known.any():
            pairs = zip(rows[known][:k].tolist(), self.neighbour_scores[row][known][:k].tolist(), strict=True)
            return [(self.item_ids[other], score) for other, score in pairs]
        return self._alike(row, k)

    def likeness(self, item_ids: Sequence[str]) -> Floats:
        """[items, items]: cosines of their vectors; an item that is not known has nothing in common with any."""
        rows = [self.index.get(item_id, -1) for item_id in item_ids]
        directions = self._directions[rows] * (np.array(rows) >= 0)[:, None]
        found: Floats = directions @ directions.T
        return found

    def popular(self, k: int) -> list[tuple[str, float]]:
        """The k items of most decayed purchases, best first."""
        best = np.argsort(-self.popularity, kind="stable")[:k]
        return [(self.item_ids[row], float(self.popularity[row])) for row in best if self.popularity[row] > 0]

    def _alike(self, row: int, k: int) -> list[tuple[str, float]]:
        cosines = self._directions @ self._directions[row]
        cosines[row] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(k, len(cosines) - 1)]  # itself comes last
        return [(self.item_ids[other], float(cosines[other])) for other in best]

    @cached_property
    def _directions(self) -> Floats:
        vectors = self.vectors[:, :-1]
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)

    def _array(self, name: str) -> Any:
        return np.load(self.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def write(
    folder: Path,
    manifest: Manifest,
    arrays: Mapping[str, Any],
    tower: Mapping[str, Any],
    ids: list[str],
    texts: Mapping[str, str] | None = None,
    files: Mapping[str, Callable[[Path], None]] = MappingProxyType({}),
) -> Path:
    """Write an artifact below `folder`, under its version; it appears whole or not at all.

    Where there is one of that version, this one becomes `VERSION-2`, then `-3`: two trainings that began in one second.

    Args:
        folder: of all artifacts.
        manifest: its checksums and, where need be, its version are filled in here.
        arrays: the .npy files by name.
        tower: the user tower's parameters.
        ids: item ids.
        texts: further files by name: the card.
        files: further files by name, each with what writes it.

    Returns:
        The directory, named as the version.

    Raises:
        Refused: the disk is full (`disk_full`); nothing of it is left.
    """
    with told_as_full(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            final = _free(folder, manifest.version)
            work = folder / f".{final.name}.new"
            shutil.rmtree(work, ignore_errors=True)
            try:
                work.mkdir()
                _fill(work, msgspec.structs.replace(manifest, version=final.name), arrays, tower, ids, texts, files)
                os.replace(work, final)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
            synced(folder)
    return final


def _fill(
    work: Path,
    manifest: Manifest,
    arrays: Mapping[str, Any],
    tower: Mapping[str, Any],
    ids: list[str],
    texts: Mapping[str, str] | None,
    files: Mapping[str, Callable[[Path], None]],
) -> None:
    for name, array in arrays.items():
        np.save(work / f"{name}.npy", array, allow_pickle=False)
    np.savez(work / "user_tower.npz", **tower)
    (work / "items.json").write_bytes(msgspec.json.encode(ids))
    for name, text in (texts or {}).items():
        (work / name).write_text(text, encoding="utf-8")
    for name, save in files.items():
        save(work / name)
    sums = {file.name: checksum(file) for file in sorted(work.iterdir())}
    full = msgspec.structs.replace(manifest, checksums=sums)
    (work / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(full)))
    for path in (*work.iterdir(), work):
        synced(path)


def _free(folder: Path, version: str) -> Path:
    names = chain([version], (f"{version}-{number}" for number in count(2)))
    return next(folder / name for name in names if not (folder / name).exists())


def checksum(file: Path) -> str:
    """SHA-256, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as raw:
        while chunk := raw.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
