"""Which list a click, a cart or a purchase is owed to.

A line of an event is owed to the list that the event names, if that list showed the item; else to the newest list that
showed it to this shopper in the hours before. Each line is owed once. A shopper is known by both ids that an event
carries, so what was shown before a login counts for what was bought after it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter
from typing import Final, Literal

import msgspec

from features.events import Event, EventItem, event_time_ms
from serving.decisions import Decision

Kind = Literal["click", "cart", "purchase"]

CLICKS: Final = frozenset(("select_item", "view_item"))
IMPRESSION: Final = "view_item_list"
KINDS: Final[dict[str, Kind]] = {
    "select_item": "click",
    "view_item": "click",
    "add_to_cart": "cart",
    "purchase": "purchase",
}
HOURS: Final = 24  # a list is remembered for as long, if nothing else is asked for
RANKED: Final = "ranked"  # lists of items that the shop itself chose
_RANK_VERSION: Final = "rank-"
_at: Final = attrgetter("at")


class ShownList(msgspec.Struct, frozen=True, gc=False):
    """A list, as far as events are compared with it; `at` in ms, `shopper_id` as in keys."""

    id: str
    at: int
    shopper_id: str | None
    scenario: str
    items: tuple[str, ...]


class Credit(msgspec.Struct, frozen=True, gc=False):
    """One line of an event and the list that it is owed to. `event` tells events apart; `named`: the event named the
    list. `value` is price times quantity, None where price or currency is not known.
    """

    list: ShownList
    item_id: str
    kind: Kind
    event: int
    named: bool
    value: Decimal | None
    currency: str


@dataclass(slots=True)
class Lists:
    """The lists of a time."""

    by_id: dict[str, ShownList] = field(default_factory=dict)
    _of: dict[str, list[ShownList]] = field(default_factory=dict)
    _item_ids: dict[str, str] = field(default_factory=dict)  # each text once
    _sorted: bool = True

    def add(self, decision: Decision) -> ShownList:
        """Keep what was shown."""
        known = self._item_ids
        shown = ShownList(
            decision.recommendation_id,
            decision.at,
            decision.shopper_id,
            RANKED if decision.versions.policy.startswith(_RANK_VERSION) else decision.request.scenario,
            tuple(known.setdefault(one.item_id, one.item_id) for one in decision.shown),
        )
        self.put(shown)
        return shown

    def put(self, shown: ShownList) -> None:
        """Keep a list."""
        self.by_id[shown.id] = shown
        if shown.shopper_id is not None:
            self._of.setdefault(shown.shopper_id, []).append(shown)
            self._sorted = False

    def of(self, shopper_ids: Iterable[str], since_ms: int, until_ms: int) -> list[ShownList]:
        """The lists of a person from one time to another, both inclusive, newest first."""
        if not self._sorted:
            for its in self._of.values():
                its.sort(key=_at)
            self._sorted = True
        found: list[ShownList] = []
        for shopper_id in shopper_ids:
            its = self._of.get(shopper_id, [])
            found += its[bisect_left(its, since_ms, key=_at) : bisect_right(its, until_ms, key=_at)]
        return sorted(found, key=_at, reverse=True)

    def credits(self, event: Event, within_ms: int) -> Iterator[Credit | None]:
        """What each line of an event is owed to; None: to no list."""
        kind, at = KINDS[event.event_name], event_time_ms(event)
        mark = hash((event.source, event.event_id))
        named = self.by_id.get(event.recommendation_id or "")
        lately = self.of(ids_of(event), at - within_ms, at)
        for line in event.items:
            direct = named is not None and line.item_id in named.items
            found = named if direct else next((one for one in lately if line.item_id in one.items), None)
            yield (
                None
                if found is None
                else Credit(found, line.item_id, kind, mark, direct, worth(event, line), event.currency or "")
            )


def ids_of(event: Event) -> Sequence[str]:
    """The ids, as in keys, that an event says are one person."""
    user = () if event.user_id is None else (f"u-{event.user_id}",)
    return user if event.anonymous_id is None else (*user, f"a-{event.anonymous_id}")


def worth(event: Event, line: EventItem) -> Decimal | None:
    """What a line cost, in the event's currency."""
    if event.currency is None:
        return None
    if line.price is not None:
        return line.price * line.quantity
    return event.value if len(event.items) == 1 else None


def total(event: Event) -> Decimal | None:
    """What all lines of an event cost, or what the event says that it did."""
    if event.value is not None:
        return event.value
    lines = [worth(event, line) for line in event.items]
    return None if None in lines else sum((one for one in lines if one is not None), Decimal(0))
