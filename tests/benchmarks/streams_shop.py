"""Made shoppers with full rows, and the events that they send: what the benchmarks of the stream put on the log."""

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from features.events import Context, Event, EventItem, EventName, encode, record_key_of
from features.shoppers import MAX_AFFINITIES, MAX_INTERACTIONS, State
from infra.kafka import Outgoing
from infra.keys import partition_of, record_key
from infra.settings import Settings
from infra.topics import EVENTS
from models import artifact, release
from models.artifact import NEIGHBOURS, Manifest
from models.fusion import Weights
from models.user_tower import UserTower
from streams.mappings.origin import Origin
from streams.mappings.outcomes import Taken
from streams.mappings.taobao import TAOBAO

ITEMS: Final = 20_000
PURCHASES: Final = 30
TEN: Final = 10
BEFORE_TAOBAO: Final = datetime(2017, 11, 24, tzinfo=UTC)
MODEL: Final = "bench-random"
_WIDTH: Final = 64
_CATEGORIES, _BRANDS = 200, 500
_BEGIN: Final = datetime(2025, 1, 1, tzinfo=UTC)
_PREPARED: Final = timedelta(days=40)
_KINDS: Final[tuple[EventName, ...]] = ("view_item", "add_to_cart", "remove_from_cart", "purchase")
_SHARES: Final = (85, 8, 4, 3)
_DRAWN: Final = 4096  # kinds and items are drawn once and gone through again and again: drawing is slow


def made_items() -> list[EventItem]:
    """The catalogue: each item with the category, brand and price that its events carry."""
    return [
        EventItem(
            item_id=f"i{number}",
            price=Decimal(199 + number * 37 % 9000) / 100,
            category=f"category {number % _CATEGORIES}",
            brand=f"Maison {number % _BRANDS}",
        )
        for number in range(ITEMS)
    ]


class Shoppers:
    """Shoppers by name, spread over the partitions; everything is drawn from the seed."""

    def __init__(self, names: Sequence[str], seed: int, partitions: int, begin: datetime = _BEGIN) -> None:
        """`begin` is the event time of what comes after the rows are prepared."""
        self.names = names
        self._begin = begin
        self._rng = random.Random(seed)
        self._items = made_items()
        self._partitions = partitions
        keys = [record_key("default", f"u-{name}") for name in names]
        self._places = [(partition_of(key, partitions), key) for key in keys]
        self._owned = [self._rng.sample(self._items, PURCHASES) for _ in names]
        self._numbers = range(len(names))
        self._kinds = self._rng.choices(_KINDS, _SHARES, k=_DRAWN)
        self._looks = self._rng.choices(self._items, k=_DRAWN)
        self._sent = count()

    def prepared(self, *, live: bool = False) -> Iterator[Outgoing]:
        """Three events each, days apart: an order of 30 items, 50 items looked at, one more. Then a row is full, and so
        is the settled state in it.

        As `live` ones they are scored at once where there is a model.
        """
        at = self._begin - _PREPARED
        for number in self._numbers:
            seen = tuple(self._rng.sample(self._items, MAX_INTERACTIONS))
            yield self._record(number, "purchase", tuple(self._owned[number]), at, live=live)
            yield self._record(number, "view_item", seen, at + timedelta(days=3), live=live)
            yield self._record(number, "view_item", seen[:1], at + timedelta(days=6), live=live)

    def all_different(self) -> Iterator[Outgoing]:
        """For ever: each shopper once, then each again an hour (of event time) later: 24 are within the lateness."""
        for turn in count():
            at = self._begin + turn * timedelta(hours=1)
            for number in self._numbers:
                yield self._sending(number, at)

    def ten_each(self) -> Iterator[Outgoing]:
        """For ever: ten events of a shopper in ten minutes, one after the other on the log; then the next shopper.
        Each comes back twelve hours later: 20 or 30 events are within the lateness."""
        for turn in count():
            at = self._begin + turn * timedelta(hours=12)
            for number in self._numbers:
                for minute in range(TEN):
                    yield self._sending(number, at + timedelta(minutes=minute))

    def now(self, number: int, at: datetime) -> Outgoing:
        """One live event of a shopper."""
        return self._sending(number, at)

    def _sending(self, number: int, at: datetime) -> Outgoing:
        """The kinds keep a full row as it is: what is bought was bought before, the cart holds three items at most."""
        drawn = next(self._sent)
        kind = self._kinds[drawn % _DRAWN]
        if kind == "view_item":
            item = self._looks[drawn * 7 % _DRAWN]
        else:
            item = self._owned[number][drawn % (PURCHASES if kind == "purchase" else 3)]
        return self._record(number, kind, (item,), at, live=True)

    def _record(
        self, number: int, kind: EventName, items: tuple[EventItem, ...], at: datetime, *, live: bool
    ) -> Outgoing:
        partition, key = self._places[number]
        # 36 characters, as most senders' ids are.
        event_id = f"{number:012d}-{kind[:4]}-{int(at.timestamp() * 1000):018d}"
        event = Event(
            event_name=kind,
            event_id=event_id,
            occurred_at=at,
            received_at=at,
            user_id=self.names[number],
            session_id=f"{self.names[number]}-{at:%Y%m%d%H}",
            items=items,
            currency="EUR",
            transaction_id=event_id if kind == "purchase" else None,
            context=Context(page=f"https://shop.example/p/{items[0].item_id}", locale="en-GB"),
            load_id=None if live else "bench",
        )
        return Outgoing(EVENTS, partition, key, encode(event))


def taobao(file: Path, partitions: int, most: int | None) -> list[Outgoing]:
    """The events of a file in the order of the file, each as if it was received when it happened."""
    origin = Origin((file,), "taobao", "default", datetime(2026, 1, 1, tzinfo=UTC), "bench")
    found: list[Outgoing] = []
    for outcome in TAOBAO.outcomes(origin):
        if len(found) == most:
            break
        if isinstance(outcome, Taken):
            event = msgspec.structs.replace(outcome.event, received_at=outcome.event.occurred_at, load_id=None)
            key = record_key_of(event)
            found.append(Outgoing(EVENTS, partition_of(key, partitions), key, encode(event)))
    return found


def not_full(states: Iterable[State]) -> list[str]:
    """What is missing in rows that should be full."""
    found = []
    for state in states:
        has = (len(state.interactions), len(state.purchased), len(state.categories), len(state.brands))
        if has != (MAX_INTERACTIONS, PURCHASES, MAX_AFFINITIES, MAX_AFFINITIES):
            found.append(f"{has[0]} interactions, {has[1]} purchases, {has[2]} + {has[3]} affinities")
    return found


def release_random(settings: Settings, seed: int) -> None:
    """A model of 20,000 items whose vectors and parameters are random, in service: it costs what a real one does."""
    import torch

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    then = datetime(2026, 1, 1, tzinfo=UTC)
    tower = {name: value.numpy() for name, value in UserTower(_WIDTH).state_dict().items()}
    arrays = {
        "vectors": rng.normal(size=(ITEMS, _WIDTH + 1)).astype(np.float32),
        "popularity": rng.pareto(1.2, ITEMS).astype(np.float32),
        "neighbours": rng.integers(0, ITEMS, (ITEMS, NEIGHBOURS), dtype=np.int32),
        "neighbour_scores": -np.sort(-rng.random((ITEMS, NEIGHBOURS), dtype=np.float32)),
        "candidates": np.arange(ITEMS, dtype=np.int32),
    }
    manifest = Manifest(
        version=MODEL,
        format=artifact.FORMAT,
        made_at=then,
        fitted_before=then,
        tested_until=then,
        events=0,
        code="",
        seed=seed,
        text_encoder="",
        weights={"new": Weights(1.0, 0.5, 0.2, 0.0), "all": Weights(1.0, 0.5, 0.2, 1.0)},
        metrics={"fused": {"all/ndcg": 0.0}},
        shape={"width": _WIDTH},
        checksums={},
    )
    artifact.write(settings.models_dir, manifest, arrays, tower, [f"i{number}" for number in range(ITEMS)])
    release.release(settings.models_dir, MODEL, then, None, force="made at random, to be measured")
