"""The order in which logs were applied: whatever was interrupted, the entries give it back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.archive_order import ArchiveOrder, Begun, Window, in_order
from infra.errors import Refused
from infra.places import Place

WHOLE = [Window(0, "k", 0, 9), Window(0, "load-a", 0, 4), Window(0, "load-b", 0, 4)]


def spans(
    entries: list[Begun], windows: list[Window] = WHOLE, others: tuple[str, ...] = ()
) -> list[tuple[str, int, int]]:
    logs = others or ("load-a", "load-b", "k")
    return [(one.log, one.first, one.last) for one in in_order(windows, entries, logs)]


def begun(log: str, **fences: int) -> Begun:
    return Begun(log, {0: {name.replace("_", "-"): at for name, at in fences.items()}})


def test_without_entries_the_given_order() -> None:
    assert spans([]) == [("load-a", 0, 4), ("load-b", 0, 4), ("k", 0, 9)]


def test_a_load_in_the_midst_of_a_log() -> None:
    entries = [begun("load-a"), begun("k", load_a=4), begun("load-b", load_a=4, k=3)]
    assert spans(entries) == [("load-a", 0, 4), ("k", 0, 3), ("load-b", 0, 4), ("k", 4, 9)]


def test_a_load_that_was_interrupted_and_taken_up_again() -> None:
    entries = [begun("k"), begun("load-b", k=2), begun("load-b", k=5, load_b=1)]
    windows = [WHOLE[0], WHOLE[2]]
    assert spans(entries, windows, ("load-b", "k")) == [
        ("k", 0, 2), ("load-b", 0, 1), ("k", 3, 5), ("load-b", 2, 4), ("k", 6, 9),
    ]  # fmt: skip


def test_what_was_archived_and_never_applied_comes_last() -> None:
    entries = [begun("k"), begun("load-b", k=2), begun("", k=7, load_b=1)]
    windows = [WHOLE[0], WHOLE[2]]
    assert spans(entries, windows, ("load-b", "k")) == [
        ("k", 0, 2), ("load-b", 0, 1), ("k", 3, 7), ("k", 8, 9), ("load-b", 2, 4),
    ]  # fmt: skip


def test_a_load_that_an_emptied_redis_has_forgotten_stays_in_its_place() -> None:
    entries = [begun("k"), begun("load-b", k=2), begun("", k=9)]
    windows = [WHOLE[0], WHOLE[2]]
    in_place = [("k", 0, 2), ("load-b", 0, 4), ("k", 3, 9)]
    assert spans(entries, windows, ("load-b", "k")) == in_place
    assert spans([*entries[:2], begun("load-a", k=9), begun("", k=9, load_a=4)])[:3] == in_place


def test_a_load_that_was_begun_and_taken_up_again_later_is_not_over() -> None:
    entries = [begun("k"), begun("load-b", k=2), begun("load-b", k=5), begun("", k=9, load_b=4)]
    windows = [WHOLE[0], WHOLE[2]]
    assert spans(entries, windows, ("load-b", "k")) == [("k", 0, 2), ("k", 3, 5), ("load-b", 0, 4), ("k", 6, 9)]


def test_an_embedded_log_ends_when_the_next_begins() -> None:
    entries = [begun("embedded-1"), begun("load-a", embedded_1=2), begun("embedded-2", load_a=4)]
    windows = [Window(0, "embedded-1", 0, 5), Window(0, "embedded-2", 0, 3), WHOLE[1]]
    assert spans(entries, windows) == [
        ("embedded-1", 0, 2), ("load-a", 0, 4), ("embedded-1", 3, 5), ("embedded-2", 0, 3),
    ]  # fmt: skip


def test_a_partition_that_an_entry_does_not_name() -> None:
    entries = [begun("k"), begun("load-b", k=3)]
    windows = [Window(1, "k", 0, 2), Window(1, "load-b", 0, 1)]
    assert spans(entries, windows) == [("load-b", 0, 1), ("k", 0, 2)]


@given(st.lists(st.tuples(st.sampled_from("kab"), st.integers(0, 12)), max_size=12), st.integers(0, 8))
def test_any_story_is_given_back(story: list[tuple[str, int]], first: int) -> None:
    """One log advances at a time; each turn is noted as it begins, and so is where all were."""
    done = {"k": -1, "a": -1, "b": -1}
    entries, applied = [], list[tuple[str, int]]()
    for log, count in story:
        entries.append(Begun(log, {0: {name: at for name, at in done.items() if at >= 0}}))
        for offset in range(done[log] + 1, done[log] + 1 + count):
            applied.append((log, offset))
        done[log] += count
    windows = [Window(0, log, first, last) for log, last in done.items() if last >= first]
    told = [(one.log, offset) for one in in_order(windows, entries, "kab") for offset in range(one.first, one.last + 1)]
    assert told == [(log, offset) for log, offset in applied if offset >= first]


def test_entries_are_kept_in_order_and_the_same_one_only_once(at: Place) -> None:
    order = ArchiveOrder(at)
    order.begin("load-a", {0: {}})
    order.begin("load-a", {0: {"load-a": 3}})
    order.begin("k", {0: {"load-a": 4}})
    order.begin("load-a", {0: {"load-a": 4, "k": 1}})
    assert [(one.log, one.fences) for one in ArchiveOrder(at).entries()] == [
        ("load-a", {}),
        ("k", {0: {"load-a": 4}}),
        ("load-a", {0: {"load-a": 4, "k": 1}}),
    ]
    assert order.knows("k")
    assert not order.knows("x")
    assert len((at / "order").files()) == 3, "nothing is left of writing them"


def test_two_who_note_at_the_same_moment_are_both_kept(at: Place) -> None:
    """Neither sees the other's entry: in a folder the second takes the next number, elsewhere both have one number."""
    order = ArchiveOrder(at)
    order.begin("load-a", {})
    for log in ("k", "k", "load-b"):
        blind = ArchiveOrder(_Blind(at, behind=1))
        blind.begin(log, {0: {"load-a": 4}})
    assert sorted({one.log for one in order.entries()}) == ["k", "load-a", "load-b"]
    assert order.entries()[0].log == "load-a"
    order.begin("load-c", {0: {"load-a": 4}})
    assert order.entries()[-1].log == "load-c"


class _Blind:
    """A place as one sees it who looked before others wrote."""

    def __init__(self, at: Place, behind: int) -> None:
        self._at, self._behind = at, behind

    def __truediv__(self, name: str) -> "_Blind":
        return _Blind(self._at / name, self._behind)

    def files(self) -> list[Any]:
        return sorted(self._at.files(), key=lambda file: str(file.path))[: self._behind]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._at, name)


def test_an_entry_that_cannot_be_read_is_named(at: Place) -> None:
    order = ArchiveOrder(at)
    order.begin("k", {0: {}})
    [file] = (at / "order").files()
    (at / "order").put(file.base_name, b"{")
    with pytest.raises(Refused, match=r"order/000001.*\.json") as error:
        order.entries()
    assert error.value.reason == "order_broken"
