"""Which artifact is in service: the gate, the pointer, the way back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from infra.errors import ArtifactBroken, BadInput, NotFound, Refused
from models.artifact import write
from models.release import POINTER, Pointer, Release, artifacts, pointer, release, released, rollback
from tests.models.test_artifact import IDS, TOWER, arrays, manifest

START = datetime(2026, 11, 1, tzinfo=UTC)
WEEKS = (START - timedelta(days=28), START)


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def made(folder: Path, version: str, ndcg: float, weeks: tuple[datetime, datetime] = WEEKS) -> None:
    told = msgspec.structs.replace(
        manifest(version),
        metrics={"fused": {"all/ndcg": ndcg}, "popularity": {"all/ndcg": 9.0}},
        fitted_before=weeks[0],
        tested_until=weeks[1],
    )
    write(folder, told, arrays(), TOWER, IDS)


def shown(folder: Path) -> list[str]:
    return [one.version for one in pointer(folder).releases]


def test_before_the_first_release_nothing_is_in_service(tmp_path: Path) -> None:
    assert pointer(tmp_path) == Pointer()
    assert pointer(tmp_path).live is None
    assert released(tmp_path) is None
    assert artifacts(tmp_path / "not there") == []


def test_a_release_points_at_the_artifact(tmp_path: Path) -> None:
    made(tmp_path, "a", 0.2)
    assert release(tmp_path, "a", at(0)) == Release("a", at(0))
    assert released(tmp_path) == tmp_path / "a"
    assert pointer(tmp_path) == Pointer((Release("a", at(0)),))


def test_artifacts_are_listed_by_name_and_nothing_else_is(tmp_path: Path) -> None:
    made(tmp_path, "b", 0.2)
    made(tmp_path, "a", 0.2)
    (tmp_path / ".c.new").mkdir()
    (tmp_path / ".c.new" / "manifest.json").write_text("{}")
    (tmp_path / "d").mkdir()
    assert artifacts(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("ndcg", [0.1, 0.1979])
def test_a_worse_one_on_the_same_weeks_is_refused(tmp_path: Path, ndcg: float) -> None:
    made(tmp_path, "a", 0.2)
    made(tmp_path, "b", ndcg)
    release(tmp_path, "a", at(0))
    with pytest.raises(Refused, match=rf"b has all/ndcg {ndcg:.4f}, a in service 0.2000.*--force") as caught:
        release(tmp_path, "b", at(1))
    assert caught.value.reason == "worse_than_in_service"
    assert shown(tmp_path) == ["a"]


@pytest.mark.parametrize("ndcg", [0.1981, 0.2, 0.3])
def test_one_that_is_less_than_a_hundredth_worse_passes(tmp_path: Path, ndcg: float) -> None:
    made(tmp_path, "a", 0.2)
    made(tmp_path, "b", ndcg)
    release(tmp_path, "a", at(0))
    release(tmp_path, "b", at(1))
    assert shown(tmp_path) == ["a", "b"]


def test_force_passes_the_gate_and_its_reason_is_kept(tmp_path: Path) -> None:
    made(tmp_path, "a", 0.2)
    made(tmp_path, "b", 0.1)
    release(tmp_path, "a", at(0))
    assert release(tmp_path, "b", at(1), force="a trial") == Release("b", at(1), "a trial")
    assert pointer(tmp_path).releases == (Release("a", at(0)), Release("b", at(1), "a trial"))


@pytest.mark.parametrize("weeks", [(WEEKS[0], WEEKS[1] + timedelta(days=7)), (WEEKS[0] - timedelta(days=7), WEEKS[1])])
def test_figures_of_other_weeks_are_not_compared(tmp_path: Path, weeks: tuple[datetime, datetime]) -> None:
    made(tmp_path, "a", 0.2)
    made(tmp_path, "b", 0.1, weeks)
    release(tmp_path, "a", at(0))
    release(tmp_path, "b", at(1))
    assert pointer(tmp_path).live == "b"


@pytest.mark.parametrize("force", [None, "I want it"])
def test_what_is_not_there_or_not_whole_is_never_released(tmp_path: Path, force: str | None) -> None:
    with pytest.raises(NotFound, match="there is no artifact 'a'"):
        release(tmp_path, "a", at(0), force=force)
    made(tmp_path, "a", 0.2)
    (tmp_path / "a" / "vectors.npy").write_bytes(b"")
    with pytest.raises(ArtifactBroken, match=r"vectors\.npy"):
        release(tmp_path, "a", at(0), force=force)
    assert not (tmp_path / POINTER).exists()


def test_a_rollback_puts_the_one_before_back(tmp_path: Path) -> None:
    for hour, version in enumerate("ab"):
        made(tmp_path, version, 0.2 + hour)
        release(tmp_path, version, at(hour))
    assert rollback(tmp_path, at(2)) == Release("a", at(2), "rollback")
    assert released(tmp_path) == tmp_path / "a"


def test_each_rollback_goes_one_artifact_further_back(tmp_path: Path) -> None:
    for hour, version in enumerate("abc"):
        made(tmp_path, version, 0.2 + hour)
        release(tmp_path, version, at(hour))
    assert [rollback(tmp_path, at(hour)).version for hour in (3, 4)] == ["b", "a"]
    with pytest.raises(BadInput, match="no release before"):
        rollback(tmp_path, at(5))
    assert pointer(tmp_path).live == "a"
    assert pointer(tmp_path).releases[0] == Release("a", at(0)), "what was before is kept"


def test_after_a_rollback_a_release_can_be_rolled_back_again(tmp_path: Path) -> None:
    for hour, version in enumerate("abc"):
        made(tmp_path, version, 0.2 + hour)
    release(tmp_path, "a", at(0))
    release(tmp_path, "b", at(1))
    rollback(tmp_path, at(2))
    release(tmp_path, "c", at(3))
    assert rollback(tmp_path, at(4)).version == "a"


@pytest.mark.parametrize("times", [0, 1, 2])
def test_without_another_one_before_there_is_no_way_back(tmp_path: Path, times: int) -> None:
    made(tmp_path, "a", 0.2)
    for hour in range(times):
        release(tmp_path, "a", at(hour))
    with pytest.raises(BadInput, match="no release before") as caught:
        rollback(tmp_path, at(9))
    assert caught.value.reason == "no_release_before"
    assert shown(tmp_path) == ["a"] * times


def test_a_broken_one_is_not_gone_back_to(tmp_path: Path) -> None:
    for hour, version in enumerate("ab"):
        made(tmp_path, version, 0.2)
        release(tmp_path, version, at(hour))
    (tmp_path / "a" / "popularity.npy").unlink()
    with pytest.raises(ArtifactBroken, match=r"popularity\.npy"):
        rollback(tmp_path, at(2))
    assert pointer(tmp_path).live == "b"


def test_the_last_hundred_releases_are_kept(tmp_path: Path) -> None:
    made(tmp_path, "a", 0.2)
    for hour in range(103):
        release(tmp_path, "a", at(hour))
    assert [one.at for one in pointer(tmp_path).releases] == [at(hour) for hour in range(3, 103)]
