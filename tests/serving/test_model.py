"""The released model: what failed once is tried again, what is broken is not, and both are told."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.errors import ArtifactBroken
from infra.metrics import Metrics
from serving import model
from serving.model import KEPT_EACH, MAX_SIMILAR, NO_MODEL, SIMILAR_KEPT, ModelInService


class Known:
    """An artifact of no items."""

    def __init__(self, path: Path) -> None:
        self.version = path.name
        self.item_ids: Sequence[str] = ()
        self.popularity: Sequence[float] = ()

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        return ()


class Disk:
    """Where the release points, and what opening it says; what was opened is counted."""

    def __init__(self) -> None:
        self.release: Path | None = None
        self.fails: dict[str, Exception] = {}
        self.opened: list[str] = []
        self.metrics = Metrics()
        self.model = ModelInService(lambda: self.release, self._open, self.metrics)

    def _open(self, path: Path) -> Known:
        self.opened.append(path.name)
        if path.name in self.fails:
            raise self.fails[path.name]
        return Known(path)

    def waits(self) -> bool:
        return b"daogou_model_waits 1.0" in self.metrics.text()


class Neighbours(Known):
    """An artifact of very many items that are all alike; what it is asked is noted."""

    def __init__(self) -> None:
        super().__init__(Path("m1"))
        self.asked: list[tuple[str, int]] = []

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        self.asked.append((item_id, k))
        return [(f"{item_id}-{n}", 1 / (1 + n)) for n in range(min(k, 1000))]


def test_what_goes_with_an_item_is_found_once_and_only_so_much_is_kept() -> None:
    artifact = Neighbours()
    known = model.Known(artifact)
    assert known.similar("a", 50) == known.similar("a", KEPT_EACH)[:50]
    assert artifact.asked == [("a", KEPT_EACH)]
    assert len(known.similar("a", KEPT_EACH + 1)) == KEPT_EACH + 1  # a long list about one item
    assert len(known.similar("a", MAX_SIMILAR + 1)) == MAX_SIMILAR
    assert len(known.similar("a", 1)) == 1
    assert artifact.asked[1:] == [("a", MAX_SIMILAR)]
    artifact.asked.clear()
    for n in range(SIMILAR_KEPT):
        known.similar(str(n), 1)
    known.similar("0", MAX_SIMILAR)  # is kept in the place of what was kept of it
    known.similar("1", 1)
    assert len(artifact.asked) == SIMILAR_KEPT + 1
    known.similar("a", 1)
    assert artifact.asked[-1] == ("a", KEPT_EACH)


async def test_a_release_that_could_not_be_read_once_is_taken_over_later() -> None:
    disk = Disk()
    disk.release, disk.fails = Path("m1"), {"m1": OSError("the share is away")}
    await disk.model.try_to_look()
    assert (disk.model.version, disk.model.wanted, disk.waits()) == (NO_MODEL, "m1", True)
    disk.fails.clear()
    await disk.model.try_to_look()
    assert (disk.model.version, disk.model.wanted, disk.waits()) == ("m1", None, False)
    assert await disk.model.look() is False
    assert disk.opened == ["m1", "m1"]


async def test_a_broken_one_is_not_tried_again_until_another_is_released() -> None:
    disk = Disk()
    disk.release = Path("m1")
    assert await disk.model.look() is True
    disk.release, disk.fails = Path("m2"), {"m2": ArtifactBroken("altered")}
    with pytest.raises(ArtifactBroken):
        await disk.model.look()
    assert await disk.model.look() is False
    assert disk.opened == ["m1", "m2"]
    assert (disk.model.version, disk.model.wanted, disk.waits()) == ("m1", "m2", True)
    disk.release = Path("m3")
    assert await disk.model.look() is True
    assert (disk.model.version, disk.model.wanted, disk.waits()) == ("m3", None, False)


async def test_a_broken_one_that_is_taken_back_leaves_nothing_wanted() -> None:
    disk = Disk()
    disk.release = Path("m1")
    await disk.model.look()
    disk.release, disk.fails = Path("m2"), {"m2": ArtifactBroken("altered")}
    await disk.model.try_to_look()
    disk.release = Path("m1")
    await disk.model.try_to_look()
    assert (disk.model.version, disk.model.wanted) == ("m1", None)
    # The same version may be released again once it was put right.
    disk.release = Path("m2")
    disk.fails.clear()
    await disk.model.try_to_look()
    assert disk.model.version == "m2"


async def test_an_error_of_the_program_does_not_end_looking() -> None:
    disk = Disk()
    disk.release, disk.fails = Path("m1"), {"m1": KeyError("x")}
    await disk.model.try_to_look()
    assert disk.model.wanted == "m1"
    disk.fails.clear()
    await disk.model.try_to_look()
    assert disk.model.version == "m1"


async def test_the_release_before_is_known_by_its_version_and_no_other() -> None:
    """Shelves are of it until the worker has made them anew; one that a worker has and this process has not is none."""
    disk = Disk()
    assert disk.model.known_of(NO_MODEL).version == NO_MODEL
    for version in ("m1", "m2", "m3"):
        disk.release = Path(version)
        await disk.model.look()
    assert [disk.model.known_of(one).version for one in ("m1", "m2", "m3", "m4")] == [NO_MODEL, "m2", "m3", NO_MODEL]
    assert disk.model.known_of("m1").similar("tea", 9) == ()
    disk.release = Path("m2")
    await disk.model.look()
    assert disk.model.known_of("m3").version == "m3", "a rollback is a swap, too"
