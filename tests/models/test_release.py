"""Which artifact is in service: the gate, the pointer, the way back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from infra.errors import ArtifactBroken, BadInput, Conflict, NotFound, Refused
from models.artifact import write
from models.gate import METRIC, Compared, Figures
from models.release import POINTER, Pointer, Release, artifacts, pointer, release, released, rollback
from tests.models.test_artifact import IDS, TOWER, arrays, manifest

START = datetime(2026, 11, 1, tzinfo=UTC)
WEEKS = (START - timedelta(days=28), START)


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def made(folder: Path, version: str) -> None:
    write(folder, manifest(version), arrays(), TOWER, IDS)


def beside(in_service: str | None, mine: float = 0.3, old: float = 0.2) -> Compared:
    figures = Figures(candidate=mine, floor=0.1, over_floor=(mine - 0.11, mine - 0.09))
    if in_service is not None:
        lead = (mine - old - 0.01, mine - old + 0.01)
        figures = msgspec.structs.replace(figures, in_service=old, over_in_service=lead)
    return Compared(begin=WEEKS[0], end=WEEKS[1], figures={METRIC: figures}, in_service=in_service)


def swapped(folder: Path, version: str, at: datetime) -> Release:
    """A release that the gate lets pass."""
    return release(folder, version, at, beside(pointer(folder).live))


def shown(folder: Path) -> list[str]:
    return [one.version for one in pointer(folder).releases]


def test_before_the_first_release_nothing_is_in_service(tmp_path: Path) -> None:
    assert pointer(tmp_path) == Pointer()
    assert pointer(tmp_path).live is None
    assert released(tmp_path) is None
    assert artifacts(tmp_path / "not there") == []


def test_a_release_points_at_the_artifact(tmp_path: Path) -> None:
    made(tmp_path, "a")
    assert swapped(tmp_path, "a", at(0)) == Release("a", at(0), None, beside(None))
    assert released(tmp_path) == tmp_path / "a"
    assert pointer(tmp_path) == Pointer((Release("a", at(0), None, beside(None)),))


def test_artifacts_are_listed_by_name_and_nothing_else_is(tmp_path: Path) -> None:
    made(tmp_path, "b")
    made(tmp_path, "a")
    (tmp_path / ".c.new").mkdir()
    (tmp_path / ".c.new" / "manifest.json").write_text("{}")
    (tmp_path / "d").mkdir()
    assert artifacts(tmp_path) == ["a", "b"]


def test_the_figures_are_kept_with_the_release(tmp_path: Path) -> None:
    for version in "ab":
        made(tmp_path, version)
    release(tmp_path, "a", at(0), beside(None))
    release(tmp_path, "b", at(1), beside("a"))
    assert [one.compared for one in pointer(tmp_path).releases] == [beside(None), beside("a")]


def test_what_the_gate_refuses_is_not_in_service(tmp_path: Path) -> None:
    for version in "ab":
        made(tmp_path, version)
    with pytest.raises(Refused, match="decayed popularity"):
        release(tmp_path, "a", at(0), beside(None, mine=0.05))
    swapped(tmp_path, "a", at(0))
    with pytest.raises(Refused, match=r"b has all/ndcg 0.1500, a in service 0.2000.*--force"):
        release(tmp_path, "b", at(1), beside("a", mine=0.15))
    assert shown(tmp_path) == ["a"]


def test_force_passes_the_gate_and_its_reason_is_kept_with_the_figures(tmp_path: Path) -> None:
    for version in "ab":
        made(tmp_path, version)
    swapped(tmp_path, "a", at(0))
    worse = beside("a", mine=0.15)
    assert release(tmp_path, "b", at(1), worse, force="a trial") == Release("b", at(1), "a trial", worse)
    assert pointer(tmp_path).releases[-1] == Release("b", at(1), "a trial", worse)
    assert release(tmp_path, "a", at(2), None, force="no archive").compared is None


@pytest.mark.parametrize("force", ["", "  "])
def test_force_without_a_reason_is_refused(tmp_path: Path, force: str) -> None:
    made(tmp_path, "a")
    with pytest.raises(BadInput, match="--force needs a reason"):
        release(tmp_path, "a", at(0), beside(None), force=force)
    assert shown(tmp_path) == []


def test_nothing_is_released_without_a_comparison(tmp_path: Path) -> None:
    made(tmp_path, "a")
    with pytest.raises(BadInput, match="without a comparison"):
        release(tmp_path, "a", at(0), None)


def test_a_comparison_with_what_is_not_in_service_any_more_says_nothing(tmp_path: Path) -> None:
    for version in "abc":
        made(tmp_path, version)
    swapped(tmp_path, "a", at(0))
    with_a = beside("a")
    swapped(tmp_path, "b", at(1))
    with pytest.raises(Conflict, match="b was released meanwhile"):
        release(tmp_path, "c", at(2), with_a)
    assert pointer(tmp_path).live == "b"


def test_a_pointer_of_a_version_before_is_read(tmp_path: Path) -> None:
    (tmp_path / POINTER).write_text('{"releases": [{"version": "a", "at": "2026-11-01T00:00:00Z", "forced": null}]}')
    assert pointer(tmp_path) == Pointer((Release("a", START),))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"releases": [{"version": 1}]}', b"\x00" * 40])
def test_a_broken_pointer_says_what_to_do(tmp_path: Path, raw: bytes) -> None:
    made(tmp_path, "a")
    (tmp_path / POINTER).write_bytes(raw)
    for call in (
        lambda: pointer(tmp_path),
        lambda: released(tmp_path),
        lambda: release(tmp_path, "a", at(0), beside(None)),
        lambda: rollback(tmp_path, at(0)),
    ):
        with pytest.raises(
            ArtifactBroken, match=rf"{POINTER}, which names the model .* remove it and release"
        ) as caught:
            call()
        assert caught.value.reason == "pointer_broken"
    assert (tmp_path / POINTER).read_bytes() == raw


def test_what_a_crash_left_lying_does_not_stop_a_release(tmp_path: Path) -> None:
    made(tmp_path, "a")
    (tmp_path / f"{POINTER}.new").write_text("half")
    swapped(tmp_path, "a", at(0))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", POINTER]


@pytest.mark.parametrize("force", [None, "I want it"])
def test_what_is_not_there_or_not_whole_is_never_released(tmp_path: Path, force: str | None) -> None:
    with pytest.raises(NotFound, match="there is no artifact 'a'"):
        release(tmp_path, "a", at(0), beside(None), force=force)
    made(tmp_path, "a")
    (tmp_path / "a" / "vectors.npy").write_bytes(b"")
    with pytest.raises(ArtifactBroken, match=r"vectors\.npy"):
        release(tmp_path, "a", at(0), beside(None), force=force)
    assert not (tmp_path / POINTER).exists()


def test_a_rollback_puts_the_one_before_back(tmp_path: Path) -> None:
    for hour, version in enumerate("ab"):
        made(tmp_path, version)
        swapped(tmp_path, version, at(hour))
    assert rollback(tmp_path, at(2)) == Release("a", at(2), "rollback")
    assert released(tmp_path) == tmp_path / "a"


def test_each_rollback_goes_one_artifact_further_back(tmp_path: Path) -> None:
    for hour, version in enumerate("abc"):
        made(tmp_path, version)
        swapped(tmp_path, version, at(hour))
    assert [rollback(tmp_path, at(hour)).version for hour in (3, 4)] == ["b", "a"]
    with pytest.raises(BadInput, match="no release before"):
        rollback(tmp_path, at(5))
    assert pointer(tmp_path).live == "a"
    assert pointer(tmp_path).releases[0] == Release("a", at(0), None, beside(None)), "what was before is kept"


def test_after_a_rollback_a_release_can_be_rolled_back_again(tmp_path: Path) -> None:
    for version in "abc":
        made(tmp_path, version)
    swapped(tmp_path, "a", at(0))
    swapped(tmp_path, "b", at(1))
    rollback(tmp_path, at(2))
    swapped(tmp_path, "c", at(3))
    assert rollback(tmp_path, at(4)).version == "a"


@pytest.mark.parametrize("times", [0, 1, 2])
def test_without_another_one_before_there_is_no_way_back(tmp_path: Path, times: int) -> None:
    made(tmp_path, "a")
    for hour in range(times):
        swapped(tmp_path, "a", at(hour))
    with pytest.raises(BadInput, match="no release before") as caught:
        rollback(tmp_path, at(9))
    assert caught.value.reason == "no_release_before"
    assert shown(tmp_path) == ["a"] * times


def test_a_broken_one_is_not_gone_back_to(tmp_path: Path) -> None:
    for hour, version in enumerate("ab"):
        made(tmp_path, version)
        swapped(tmp_path, version, at(hour))
    (tmp_path / "a" / "popularity.npy").unlink()
    with pytest.raises(ArtifactBroken, match=r"popularity\.npy"):
        rollback(tmp_path, at(2))
    assert pointer(tmp_path).live == "b"


def test_the_last_hundred_releases_are_kept(tmp_path: Path) -> None:
    made(tmp_path, "a")
    for hour in range(103):
        swapped(tmp_path, "a", at(hour))
    assert [one.at for one in pointer(tmp_path).releases] == [at(hour) for hour in range(3, 103)]
