"""The log that the proof writes: visits of several thousand shoppers, with everything that goes wrong on the way.

Beside them are the plots of `made_people`: logins, and carts that are left alone. Records come twice (soon after, and
long after), late within the allowed lateness, too late, out of order; some are no events, of unknown names or versions,
or in another shopper's partition. The same seed and the same times give the same records. Nothing of the project is
imported.
"""

import json
import random
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from tests.proofs.chaos.catalogue_made import CATALOG, changed_price
from tests.proofs.chaos.made_people import People
from tests.proofs.chaos.shoppers_made import Shopper, event, written

EVENTS: Final = "shop.events.v1"
EVENTS_PER_HOUR: Final = 1250
_HOUR_MS: Final = 3_600_000
_VISITORS: Final = 60
_VISIT: Final = 6
# One shopper makes more events within the lateness than a row keeps ids of.
_HEAVY_EVENTS: Final = 2_400


class Made(NamedTuple):
    """One record; `value` None is a tombstone."""

    partition: int
    key: bytes
    value: bytes | None
    topic: str = EVENTS


@dataclass
class Recipe:
    """What the log is made of; times in ms. About `due_ms` timers are to be due, `abandoned_ms` after their carts."""

    count: int
    seed: int
    begin_ms: int
    lateness_ms: int
    partitions: int
    due_ms: int
    abandoned_ms: int
    made: Counter[str] = field(default_factory=Counter)

    @property
    def shoppers(self) -> int:
        """How many there are at most."""
        return max(3000, self.count // 60)


def records(recipe: Recipe) -> Iterator[Made]:
    """At least `recipe.count` events, in the order of the log, some of the catalogue; `recipe.made` counts kinds."""
    return _Maker(recipe).records()


class _Maker:
    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._rng = rng = random.Random(recipe.seed)
        self._shoppers = [Shopper(number, rng) for number in range(recipe.shoppers)]
        self._heavy = Shopper(recipe.shoppers, rng)
        self._site: list[tuple[Shopper, int]] = []
        self._visits = self._events = 0
        self._soon: deque[tuple[int, Made]] = deque()
        self._past: list[Made] = []
        self._people = People(rng, recipe.made, recipe.due_ms, recipe.abandoned_ms)

    def records(self) -> Iterator[Made]:
        count, rng = self._recipe.count, self._rng
        heavy_from = rng.randrange(count // 4, count // 2)
        number = 0
        while number < count:
            now_ms = self._recipe.begin_ms + number * _HOUR_MS // EVENTS_PER_HOUR
            if heavy_from <= number < heavy_from + 2 * _HEAVY_EVENTS and number % 2:
                # More than a record's share of time: the whole burst lies within the lateness.
                share = (number - heavy_from) / (2 * _HEAVY_EVENTS)
                at_ms = self._recipe.begin_ms + heavy_from * _HOUR_MS // EVENTS_PER_HOUR
                at_ms += int(share * self._recipe.lateness_ms * 0.9)
                one = self._event(self._heavy, at_ms, now_ms + 2 * _HOUR_MS)
            else:
                one = self._event(self._visitor(), now_ms, now_ms)
            self._people.begin(now_ms)
            if rng.random() < 0.01:
                self._recipe.made["catalogue"] += 1
                yield Made(*changed_price(rng, self._recipe.partitions), topic=CATALOG)
            plots = map(self._told, self._people.due(now_ms))
            for record in (one, *self._beside(one, number), *plots):
                number += 1
                yield record
        yield from map(self._told, self._people.due(None))

    def _visitor(self) -> Shopper:
        rng = self._rng
        while len(self._site) < _VISITORS:
            who = rng.choice(self._shoppers)
            self._visits += 1
            who.begins_visit(self._visits, rng)
            self._site.append((who, rng.randrange(1, 2 * _VISIT)))
        place = rng.randrange(len(self._site))
        who, left = self._site[place]
        if left > 1:
            self._site[place] = (who, left - 1)
        else:
            del self._site[place]
        return who

    def _event(self, who: Shopper, now_ms: int, received_ms: int) -> Made:
        rng, newest = self._rng, who.newest_ms
        at_ms, kind, chance = now_ms - rng.randrange(60_000), "in_order", rng.random()
        if newest and chance < 0.05:
            at_ms, kind = newest - rng.randrange(int(self._recipe.lateness_ms * 0.95)), "late"
        elif newest and chance < 0.06:
            at_ms, kind = newest - self._recipe.lateness_ms - rng.randrange(1, 10 * _HOUR_MS), "too_late"
        elif newest and chance < 0.064:
            at_ms, kind = newest - self._recipe.lateness_ms + rng.randrange(-1, 2), "at_the_bound"
        elif newest and chance < 0.066:
            at_ms, kind = newest, "at_the_same_ms"
        who.newest_ms = max(newest, at_ms)
        self._events += 1
        self._recipe.made[kind] += 1
        return self._told(event(who, self._events, at_ms, received_ms, rng))

    def _told(self, made: dict[str, Any]) -> Made:
        who = f"u-{made['user_id']}" if "user_id" in made else f"a-{made['anonymous_id']}"
        key = f"default|{quote(who, safe='')}".encode()
        value = json.dumps(made, ensure_ascii=self._rng.random() < 0.5).encode()
        return Made(zlib.crc32(key) % self._recipe.partitions, key, value)

    def _beside(self, one: Made, number: int) -> Iterator[Made]:
        """Repetitions and corrupt records that come beside a record."""
        rng, made = self._rng, self._recipe.made
        if rng.random() < 0.02:
            self._soon.append((number + rng.randrange(30), one))
        if rng.random() < 0.05:
            self._past.append(one)
        while self._soon and self._soon[0][0] <= number:
            made["twice_soon"] += 1
            yield self._soon.popleft()[1]
        if self._past and rng.random() < 0.01:
            made["twice_far"] += 1
            yield rng.choice(self._past)
        if rng.random() < 0.006:
            kind = rng.choice(list(_CORRUPT))
            made[f"corrupt_{kind}"] += 1
            yield _CORRUPT[kind](one, self._recipe.partitions)


def _altered(one: Made, **fields: Any) -> Made:
    return one._replace(value=json.dumps({**json.loads(one.value or b"{}"), **fields}).encode())


# Changed copies get ids of their own by the name of the source: they would count if they could be read.
_CORRUPT: Final = {
    "bytes": lambda one, _: one._replace(value=b"\x00\xff corrupt"),
    "cut": lambda one, _: one._replace(value=(one.value or b"")[:-9]),
    "tombstone": lambda one, _: one._replace(value=None),
    "list": lambda one, _: one._replace(value=b"[1, 2]"),
    "name": lambda one, _: _altered(one, source="x", event_name="item_teleported"),
    "version": lambda one, _: _altered(one, source="x", schema_version=99),
    "nobody": lambda one, _: _altered(one, source="x", user_id=None, anonymous_id=None),
    "no_items": lambda one, _: _altered(one, source="x", event_name="add_to_cart", items=[]),
    "far_time": lambda one, _: _altered(one, source="x", occurred_at=written(-86_400_000 * 400)),
    "elsewhere": lambda one, many: _altered(one, source="x")._replace(partition=(one.partition + 1) % many),
}
