"""The released model: what failed once is tried again, what is broken is not, and both are told."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.errors import ArtifactBroken
from infra.metrics import Metrics
from serving.model import NO_MODEL, ModelInService


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
