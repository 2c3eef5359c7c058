"""What shoppers of an experiment saw and did. Lists are taken first, then events; the shopper is the unit.

A shopper is who was assigned: the id that the list was asked for. Purchases count from the first list on that was
shown, wherever they come from: what a variation takes from other pages is not its gain.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import msgspec

from features.events import Event, event_time_ms
from serving.decisions import Decision
from streams.attribution import CLICKS, IMPRESSION, Lists, ShownList, ids_of, total

NAMES: Final = (*sorted(CLICKS), IMPRESSION, "purchase", "refund")


class Assigned(msgspec.Struct, frozen=True, gc=False):
    """A list of the experiment."""

    id: str
    at: int
    shopper_id: str
    unit: str
    variation: str
    version: int
    fallback: bool
    empty: bool


@dataclass(slots=True)
class Person:
    """What one shopper saw and did; `refunds` are of orders that count here."""

    variation: str
    lists: int = 0
    clicks: int = 0
    fallback: int = 0
    empty: int = 0
    orders: int = 0
    refunds: int = 0
    revenue: dict[str, Decimal] = field(default_factory=dict)
    bought: set[str] = field(default_factory=set)  # transaction ids


@dataclass(slots=True)
class Counted:
    """An experiment counted. `asked`: shoppers by variation before it is looked at what was shown."""

    version: int
    people: dict[str, Person]
    asked: Counter[str]
    lists: Counter[str]
    impressions: bool
    not_shown: int = 0
    other_versions: int = 0
    overridden: int = 0
    in_two: int = 0
    unknown_lists: int = 0
    without_price: int = 0


class Counting:
    """Counts one experiment; `version` of None is the newest that made a list."""

    def __init__(self, experiment_id: str, within_ms: int, version: int | None = None) -> None:
        self._id = experiment_id
        self._within_ms = within_ms
        self._version = version
        self._told = re.compile(rf"\+{re.escape(experiment_id)}-(\d+)\.")
        self._lists = Lists()
        self._assigned: dict[str, Assigned] = {}
        self._overridden = 0
        self._shown: set[str] = set()
        self._clicks: set[tuple[str, str]] = set()
        self._unknown = 0
        self._orders: list[Event] = []
        self._refunds: list[Event] = []

    def shown(self, decision: Decision) -> None:
        """A list: of any scenario, for a click is owed to the newest that showed the item."""
        shown = self._lists.add(decision)
        variation = next((one.variation for one in decision.experiments if one.experiment_id == self._id), None)
        if variation is None or shown.shopper_id is None:
            return
        asked = decision.request
        if self._id in asked.experiment_overrides:
            self._overridden += 1
            return
        version = self._told.search(decision.versions.policy)
        self.put(
            Assigned(
                id=shown.id,
                at=shown.at,
                shopper_id=shown.shopper_id,
                unit=f"a-{asked.anonymous_id}" if asked.user_id is None else f"u-{asked.user_id}",
                variation=variation,
                version=int(version[1]) if version else 0,
                fallback=decision.fallback.used,
                empty=not shown.items,
            )
        )

    def put(self, assigned: Assigned) -> None:
        """A list of the experiment."""
        self._assigned[assigned.id] = assigned

    def event(self, event: Event) -> None:
        """One of `NAMES`."""
        named = event.recommendation_id
        self._unknown += named is not None and named not in self._lists.by_id
        if event.event_name == IMPRESSION:
            if named in self._assigned:
                self._shown.add(named)
        elif event.event_name == "purchase":
            self._orders.append(event)
        elif event.event_name == "refund":
            self._refunds.append(event)
        else:
            found = self._lists.credits(event, self._within_ms)
            self._clicks.update((one.list.id, one.item_id) for one in found if one is not None)

    def counted(self) -> Counted | None:
        """Everything by shopper; None: there was no list of this experiment (and version)."""
        versions = Counter(one.version for one in self._assigned.values())
        version = self._version if self._version is not None else max(versions, default=0)
        of_version = [one for one in self._assigned.values() if one.version == version]
        if not of_version:
            return None
        one_only, in_two = _of_one_variation(of_version)
        seen = [one for one in one_only if not self._shown or one.id in self._shown]
        people: dict[str, Person] = {}
        for one in seen:
            person = people.setdefault(one.unit, Person(one.variation))
            person.lists += 1
            person.fallback += one.fallback
            person.empty += one.empty
        counted = Counted(
            version=version,
            people=people,
            asked=Counter({one.unit: one.variation for one in one_only}.values()),
            lists=Counter(one.variation for one in seen),
            impressions=bool(self._shown),
            not_shown=len(one_only) - len(seen),
            other_versions=len(self._assigned) - len(of_version),
            overridden=self._overridden,
            in_two=in_two,
            unknown_lists=self._unknown,
        )
        self._add_clicks(counted, {one.id: one.unit for one in seen})
        self._add_orders(counted, seen)
        return counted

    def _add_clicks(self, counted: Counted, unit_of: dict[str, str]) -> None:
        for list_id, _ in self._clicks:
            unit = unit_of.get(list_id)
            if unit is not None:
                counted.people[unit].clicks += 1

    def _add_orders(self, counted: Counted, seen: Iterable[Assigned]) -> None:
        lists, unit_of = Lists(), dict[str, str]()
        for one in seen:
            unit_of[one.id] = one.unit
            lists.put(ShownList(one.id, one.at, one.shopper_id, "", ()))
        for order in self._orders:
            person = _who(counted, lists, unit_of, order)
            if person is None:
                continue
            person.orders += 1
            person.bought.add(order.transaction_id or "")
            value = total(order)
            if value is None or order.currency is None:
                counted.without_price += 1
            else:
                person.revenue[order.currency] = person.revenue.get(order.currency, Decimal(0)) + value
        for refund in self._refunds:
            person = _who(counted, lists, unit_of, refund)
            if person is not None and (refund.transaction_id or "") in person.bought:
                person.refunds += 1


def _of_one_variation(lists: Iterable[Assigned]) -> tuple[list[Assigned], int]:
    """The lists of those who saw one variation alone, and how many saw more: which moved them nobody can say."""
    of: dict[str, set[str]] = {}
    for one in lists:
        of.setdefault(one.unit, set()).add(one.variation)
    return [one for one in lists if len(of[one.unit]) == 1], sum(len(its) > 1 for its in of.values())


def _who(counted: Counted, lists: Lists, unit_of: dict[str, str], event: Event) -> Person | None:
    """Whose event it is: of the shopper whose list was the newest before it, by any id of the event."""
    newest = next(iter(lists.of(ids_of(event), 0, event_time_ms(event))), None)
    return None if newest is None else counted.people[unit_of[newest.id]]
