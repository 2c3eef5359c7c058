"""Artifacts on disk: what is written is what is opened, whole or not at all."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from infra.errors import ArtifactBroken, Refused
from models.artifact import FORMAT, MANIFEST, NEIGHBOURS, Artifact, Manifest, checksum, write
from models.fusion import Weights

THEN = datetime(2026, 11, 1, 12, 30, 0, 123000, tzinfo=UTC)
IDS = ["cup", "jar", "pot", "tea"]
FILES = [
    "candidates.npy",
    "items.json",
    "neighbour_scores.npy",
    "neighbours.npy",
    "popularity.npy",
    "user_tower.npz",
    "vectors.npy",
]
TOWER = {"head.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "head.bias": np.ones(2, np.float32)}


def manifest(version: str = "v1", format_: int = FORMAT) -> Manifest:
    return Manifest(
        version=version,
        format=format_,
        made_at=THEN,
        fitted_before=THEN,
        tested_until=THEN,
        events=7,
        code="0.1.0",
        seed=1,
        text_encoder="none",
        weights={"all": Weights(1.0, 0.5, 0.1, 0.0), "new": Weights()},
        metrics={"fused": {"all/ndcg": 0.25}},
        shape={"items": 4, "width": 2},
        checksums={},
    )


def arrays() -> dict[str, Any]:
    """Cup goes with tea and pot; nothing goes with the others. Jar is like pot by what it is, and unlike tea."""
    neighbours = np.full((4, NEIGHBOURS), -1, np.int32)
    neighbours[0, :2] = 3, 2
    scores = np.zeros((4, NEIGHBOURS), np.float32)
    scores[0, :2] = 0.75, 0.5
    return {
        "vectors": np.array([[0, 1, 9], [1, 0, -9], [2, 0.2, 9], [-1, 0.1, 0]], np.float32),
        "popularity": np.array([2, 0, 5, 2], np.float32),
        "neighbours": neighbours,
        "neighbour_scores": scores,
        "candidates": np.array([0, 2, 3], np.int32),
    }


def written(folder: Path, version: str = "v1") -> Path:
    return write(folder, manifest(version), arrays(), TOWER, IDS)


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def test_what_is_written_is_what_is_opened(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert path == tmp_path / "v1"
    opened = Artifact.open(path)
    assert opened.version == "v1"
    assert msgspec.structs.replace(opened.manifest, checksums={}) == manifest()
    assert opened.item_ids == IDS
    assert opened.index == {"cup": 0, "jar": 1, "pot": 2, "tea": 3}
    assert same({name: getattr(opened, name) for name in arrays()}, arrays())
    assert same(opened.user_tower(), TOWER)


def test_the_manifest_names_every_file_with_its_checksum(tmp_path: Path) -> None:
    path = written(tmp_path)
    sums = Artifact.open(path).manifest.checksums
    assert sorted(sums) == FILES
    assert sorted(file.name for file in path.iterdir()) == sorted([*FILES, MANIFEST])
    assert all(checksum(path / name) == value for name, value in sums.items())


def test_a_checksum_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert checksum(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named(tmp_path: Path, name: str) -> None:
    file = written(tmp_path) / name
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ArtifactBroken, match=f"{name} is missing or altered; train again"):
        Artifact.open(tmp_path / "v1")
    assert Artifact.open(tmp_path / "v1", verify=False).version == "v1"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (written(tmp_path) / name).unlink()
    with pytest.raises(ArtifactBroken, match=f"{name} is missing or altered"):
        Artifact.open(tmp_path / "v1")


@pytest.mark.parametrize("raw", [None, b"", b"{", b"[]", b'{"version": "v1"}'])
def test_without_a_manifest_there_is_no_artifact(tmp_path: Path, raw: bytes | None) -> None:
    file = written(tmp_path) / MANIFEST
    file.unlink() if raw is None else file.write_bytes(raw)
    with pytest.raises(ArtifactBroken, match=f"{MANIFEST} cannot be read .*; train again"):
        Artifact.open(tmp_path / "v1")


def test_another_versions_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, manifest(format_=FORMAT + 1), arrays(), TOWER, IDS)
    with pytest.raises(ArtifactBroken, match=rf"v1 has format {FORMAT + 1}, this version reads {FORMAT}; train again"):
        Artifact.open(path)


class Unsaveable:
    """An array that cannot be written: the disk is full, say."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise OSError("no space left")


def test_nothing_half_written_is_to_be_seen(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no room for .*no space left") as caught:
        write(tmp_path, manifest(), arrays() | {"vectors": Unsaveable()}, TOWER, IDS)
    assert caught.value.reason == "disk_full"
    assert list(tmp_path.iterdir()) == [], "it takes up no room"
    (tmp_path / ".v1.new").mkdir()
    written(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["v1"], "what a kill left lying is cleared away"


def test_a_version_is_never_written_over_the_second_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """Two trainings that began in one second."""
    before = checksum(written(tmp_path) / MANIFEST)
    changed = arrays() | {"popularity": np.zeros(4, np.float32)}
    names = [write(tmp_path, manifest(), changed, TOWER, IDS).name for _ in range(2)]
    assert names == ["v1-2", "v1-3"]
    assert checksum(tmp_path / "v1" / MANIFEST) == before
    assert Artifact.open(tmp_path / "v1").popularity.sum() > 0
    for name in names:
        assert Artifact.open(tmp_path / name).version == name
        assert not Artifact.open(tmp_path / name).popularity.any()


def test_similar_items_are_those_bought_together(tmp_path: Path) -> None:
    opened = Artifact.open(written(tmp_path))
    assert opened.similar("cup", 5) == [("tea", 0.75), ("pot", 0.5)]
    assert opened.similar("cup", 1) == [("tea", 0.75)]


def test_without_neighbours_they_are_those_alike(tmp_path: Path) -> None:
    """By the angle of the vectors without their last number, the popularity."""
    opened = Artifact.open(written(tmp_path))
    (first, angle), (second, right), (third, _) = opened.similar("jar", 3)
    assert (first, second, third) == ("pot", "cup", "tea")
    assert angle == pytest.approx(2 / np.sqrt(4.04))
    assert right == pytest.approx(0, abs=1e-6)
    assert opened.similar("jar", 1) == [(first, angle)]


def test_an_item_is_never_similar_to_itself_however_many_are_asked_for(tmp_path: Path) -> None:
    opened = Artifact.open(written(tmp_path))
    for item_id in IDS:
        found = opened.similar(item_id, 100)
        assert found
        assert item_id not in {other for other, _ in found}
        assert all(np.isfinite(score) for _, score in found)


def test_nothing_is_similar_to_what_is_unknown(tmp_path: Path) -> None:
    assert Artifact.open(written(tmp_path)).similar("hat", 5) == []


def test_popular_items_are_the_most_bought_and_never_the_unbought(tmp_path: Path) -> None:
    opened = Artifact.open(written(tmp_path))
    assert opened.popular(10) == [("pot", 5.0), ("cup", 2.0), ("tea", 2.0)]
    assert opened.popular(2) == [("pot", 5.0), ("cup", 2.0)]
