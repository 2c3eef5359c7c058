"""The truth about item statistics: what each event changes, and the decayed sums of a partition. Own code throughout.

Everything is done in the order of the log, bounds included: the ten nearest lines on either side, as far as the last
fifty interactions of what is settled reach, and the fifty neighbours of an item, of which the ten of least weight and
the newcomer go.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp2
from typing import Final, NamedTuple

from tests.proofs.chaos.truth_fold import DAY_MS, INTERACTIONS, MAX_INTERACTIONS, Admission, Happened

HALF_LIFE_MS: Final = 14 * DAY_MS
TREND_HALF_LIFE_MS: Final = DAY_MS
ERA_MS: Final = 896 * DAY_MS
ORDER_TREND: Final = 5.0
MAX_NEIGHBOURS, KEPT_NEIGHBOURS = 50, 40
_NEAREST: Final = 10
_WITHIN: Final = {"view_item": 30 * 60 * 1000, "purchase": 7 * DAY_MS}

Met = list[tuple[str, int]]


class Change(NamedTuple):
    """What becomes of one item; `since` is when its views and purchases decay from."""

    item: str
    at: int
    since: int
    views: int = 0
    purchases: int = 0
    buyers: int = 0
    stars: int = 0
    ratings: int = 0
    seen: Sequence[tuple[str, int]] = ()
    bought: Sequence[tuple[str, int]] = ()


@dataclass
class Sums:
    """One item in one partition; sums weigh from the begin of the era of `at` on.

    `gross` is what the sums would be were nothing taken back: what their rounding is measured by.
    """

    at: int = 0
    views: float = 0.0
    purchases: float = 0.0
    trend: float = 0.0
    buyers: int = 0
    stars: int = 0
    ratings: int = 0
    seen: dict[str, float] = field(default_factory=dict)
    bought: dict[str, float] = field(default_factory=dict)
    gross: float = 0.0
    gross_trend: float = 0.0
    most: int = 0  # neighbours that it ever had


def changes(row: Admission, event: Happened) -> list[Change]:
    """What an event changes that is about to be admitted to a row."""
    if event.rating is not None:
        return [Change(item, event.at, event.at, stars=event.rating, ratings=1) for item in event.rated]
    if event.name not in ("view_item", "purchase", "refund"):
        return []
    items = [line[0] for line in event.lines]
    newest = event.at > row.newest
    if event.name == "view_item":
        near = _before_newest(row, event) if newest else _around(row, event)
        return [Change(item, event.at, event.at, views=1, seen=_others(near, item)) for item in items]
    near = []
    if event.name == "purchase":
        near = _before_newest(row, event) if newest else _around(row, event)
    found = []
    for number, item in enumerate(items):
        own = [(other, event.at) for other in items[:number]] if event.name == "purchase" else []
        found += _deal(row, event, item, _others([*near, *own], item))
    return found


def _deal(row: Admission, event: Happened, item: str, met: Met) -> list[Change]:
    """An order, or what is given back: which orders are left before and after it."""
    settled = row.admitted[: row.settled()]
    recent = row.admitted[row.settled() :]
    place = bisect_left(recent, event.place, key=lambda one: one.place)
    before = _left(_settled_orders(settled, item), recent, item)
    after = _left(_settled_orders(settled, item), [*recent[:place], event, *recent[place:]], item)
    found = [Change(item, event.at, event.at, buyers=bool(after) - bool(before), bought=met)]
    gone, come = _less(before, after), _less(after, before)
    found += [Change(item, event.at, since, purchases=-1) for since in gone]
    found += [Change(item, event.at, since, purchases=1) for since in come]
    return [one for one in found if one.buyers or one.bought or one.purchases]


def _settled_orders(settled: Sequence[Happened], item: str) -> list[int]:
    """Of settled orders a row knows the first and the last time and how many are left: as if evenly spread."""
    orders = first = last = 0
    for one in settled:
        if one.name not in ("purchase", "refund") or all(line[0] != item for line in one.lines):
            continue
        if one.name == "purchase":
            first = one.at if orders == 0 else first
            orders, last = orders + 1, one.at
        else:
            orders = max(0, orders - 1)
    if orders < 2:
        return [first] * orders
    return [round(first + (last - first) / (orders - 1) * number) for number in range(orders)]


def _left(orders: list[int], recent: Sequence[Happened], item: str) -> list[int]:
    for one in recent:
        if one.name == "purchase" and any(line[0] == item for line in one.lines):
            orders.append(one.at)
        elif one.name == "refund" and orders and any(line[0] == item for line in one.lines):
            orders.pop()
    return orders


def _less(one: list[int], other: list[int]) -> list[int]:
    rest = list(one)
    for at in other:
        if at in rest:
            rest.remove(at)
    return rest


def _others(met: Met, item: str) -> Met:
    return [one for one in met if one[0] != item]


def _before_newest(row: Admission, event: Happened) -> Met:
    """Of an event newer than all others: lines of its kind, nearest first."""
    since = event.at - _WITHIN[event.name]
    near: Met = []
    for item, kind, at in _backwards(row.admitted):
        if at < since or len(near) == _NEAREST:
            break
        if kind == event.name:
            near.append((item, event.at))
    return near


def _around(row: Admission, event: Happened) -> Met:
    """Of an event that comes late: lines of its kind before it, oldest first, and after it."""
    settled, recent = row.admitted[: row.settled()], row.admitted[row.settled() :]
    place = bisect_left(recent, event.place, key=lambda one: one.place)
    within = _WITHIN[event.name]
    before = [(item, at) for item, kind, at in reversed([*_backwards(settled)]) if kind == event.name]
    before += [(line[0], one.at) for one in recent[:place] if one.name == event.name for line in one.lines]
    after = [(line[0], one.at) for one in recent[place:] if one.name == event.name for line in one.lines]
    near = [(item, event.at) for item, at in before[-_NEAREST:] if at >= event.at - within]
    return near + [(item, at) for item, at in after[:_NEAREST] if at <= event.at + within]


def _backwards(events: Sequence[Happened]) -> Iterator[tuple[str, str, int]]:
    """The last fifty interactions, newest first; a click is one with the view of the same item right after it."""
    count, viewed = 0, None
    for one in reversed(events):
        if one.name not in INTERACTIONS or not one.lines:
            continue
        items = [line[0] for line in one.lines]
        if one.name == "select_item" and items[-1] == viewed:
            items = items[:-1]
        viewed = one.lines[0][0] if one.name == "view_item" else None
        for item in reversed(items):
            if count == MAX_INTERACTIONS:
                return
            count += 1
            yield item, one.name, one.at


def sums_of(of_partition: Iterable[Change]) -> dict[str, Sums]:
    """The sums of a partition's items, by changes in the order of the log."""
    sums: dict[str, Sums] = {}
    for change in of_partition:
        _add(sums.setdefault(change.item, Sums()), change)
    return sums


def _into_era(sums: Sums, later: int) -> None:
    """Loaded history may be of an era before."""
    by, by_trend = exp2(-later * ERA_MS / HALF_LIFE_MS), exp2(-later * ERA_MS / TREND_HALF_LIFE_MS)
    sums.views, sums.purchases, sums.gross = sums.views * by, sums.purchases * by, sums.gross * by
    sums.trend, sums.gross_trend = sums.trend * by_trend, sums.gross_trend * by_trend
    for known in (sums.seen, sums.bought):
        known.update({item: weight * by for item, weight in known.items()})


def _add(sums: Sums, change: Change) -> None:
    if sums.at and change.at // ERA_MS > sums.at // ERA_MS:
        _into_era(sums, change.at // ERA_MS - sums.at // ERA_MS)
    sums.at = max(sums.at, change.at)
    era = sums.at // ERA_MS * ERA_MS
    weight = exp2((change.since - era) / HALF_LIFE_MS)
    trend = exp2((change.since - era) / TREND_HALF_LIFE_MS) * (change.views + ORDER_TREND * change.purchases)
    sums.views += change.views * weight
    sums.purchases += change.purchases * weight
    sums.trend += trend
    sums.gross += abs(change.views + change.purchases) * weight
    sums.gross_trend += abs(trend)
    sums.buyers += change.buyers
    sums.stars += change.stars
    sums.ratings += change.ratings
    for known, met in ((sums.seen, change.seen), (sums.bought, change.bought)):
        for item, at in met:
            known[item] = known.get(item, 0.0) + exp2((at - era) / HALF_LIFE_MS)
            sums.most = max(sums.most, len(known))
            if len(known) > MAX_NEIGHBOURS:
                for least in sorted(known, key=lambda one: (-known[one], one))[KEPT_NEIGHBOURS:]:
                    del known[least]
