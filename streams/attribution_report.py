"""`daogou attribution report`: what the lists of each scenario brought."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from features.events import Event
from serving.decisions import Decision
from streams.attribution import IMPRESSION, KINDS, Credit, Lists

NAMES = (*KINDS, IMPRESSION)


class ScenarioReport(msgspec.Struct, frozen=True):
    """`clicks` and `carts` count an item of a list once, however often; `purchases` are orders, `bought` their lines.
    `named` is the share of all these that an event owed to the list by its id.
    """

    scenario: str
    lists: int
    impressions: int
    clicks: int
    carts: int
    purchases: int
    bought: int
    revenue: dict[str, Decimal]
    without_price: int
    named: float | None


class AttributionReport(msgspec.Struct, frozen=True):
    """By scenario. `not_owed`: lines of events, by kind, that no list showed; `unknown_lists`: events that name a list
    of which there is no record in the time asked for.
    """

    scenarios: list[ScenarioReport]
    not_owed: dict[str, int]
    unknown_lists: int


@dataclass(slots=True)
class _Of:
    lists: int = 0
    seen: set[str] = field(default_factory=set)
    met: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: {"click": set(), "cart": set()})
    orders: set[int] = field(default_factory=set)
    bought: int = 0
    revenue: dict[str, Decimal] = field(default_factory=dict)
    without_price: int = 0
    named: int = 0
    all: int = 0

    def take(self, credit: Credit) -> None:
        self.all += 1
        self.named += credit.named
        if credit.kind != "purchase":
            self.met[credit.kind].add((credit.list.id, credit.item_id))
            return
        self.orders.add(credit.event)
        self.bought += 1
        if credit.value is None:
            self.without_price += 1
        else:
            self.revenue[credit.currency] = self.revenue.get(credit.currency, Decimal(0)) + credit.value


class Attribution:
    """Counts: first all lists, then all events."""

    def __init__(self, within_ms: int) -> None:
        self._within_ms = within_ms
        self._lists = Lists()
        self._of: dict[str, _Of] = {}
        self._not_owed: Counter[str] = Counter()
        self._unknown = 0

    def shown(self, decision: Decision) -> None:
        """A list."""
        shown = self._lists.add(decision)
        self._of.setdefault(shown.scenario, _Of()).lists += 1

    def event(self, event: Event) -> None:
        """One of `NAMES`."""
        named = self._lists.by_id.get(event.recommendation_id or "")
        self._unknown += event.recommendation_id is not None and named is None
        if event.event_name == IMPRESSION:
            if named is not None:
                self._of[named.scenario].seen.add(named.id)
            return
        for credit in self._lists.credits(event, self._within_ms):
            if credit is None:
                self._not_owed[KINDS[event.event_name]] += 1
            else:
                self._of[credit.list.scenario].take(credit)

    def report(self) -> AttributionReport:
        """What came of it."""
        return AttributionReport([*self._told()], dict(sorted(self._not_owed.items())), self._unknown)

    def _told(self) -> Iterator[ScenarioReport]:
        for scenario, of in sorted(self._of.items()):
            yield ScenarioReport(
                scenario=scenario,
                lists=of.lists,
                impressions=len(of.seen),
                clicks=len(of.met["click"]),
                carts=len(of.met["cart"]),
                purchases=len(of.orders),
                bought=of.bought,
                revenue=dict(sorted(of.revenue.items())),
                without_price=of.without_price,
                named=of.named / of.all if of.all else None,
            )
