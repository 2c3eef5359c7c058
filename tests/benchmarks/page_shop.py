"""A shop for page views, made with a seed: catalogue, model, shoppers with rows and shelves, in the real formats."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from redis.asyncio import Redis

from features import shoppers
from features.catalog import Content, Item, Price, Stock
from features.events import Event, EventItem, EventName
from infra.keys import ShardKeys, partition_of, record_key
from infra.settings import Settings
from models.candidates import Candidate, Candidates
from serving import shelf
from serving.shelf import Shelf
from tests.serving.artifacts import released
from tests.serving.shop import stocked

COUNT = 20
PROPERTIES = ("name", "price")
CANDIDATES = 200
EVENTS_EACH = 60
MODEL = "bench"
NEIGHBOURS_EACH = 20
NEW = 50
LATENESS_MS = 86_400_000
WORDS = ("Oolong", "Jasmine", "Roast", "Golden", "Mountain", "Spring", "Ginger", "Plum", "Honey", "Walnut", "Sesame")
NOUNS = ("tea", "cake", "biscuits", "noodles", "soy sauce", "rice", "coffee", "soap", "candles", "teapot", "bowl")
LOOKS: tuple[EventName, ...] = ("view_item", "view_item", "view_item", "select_item", "add_to_wishlist")


@dataclass(frozen=True)
class Shopper:
    """What a page of this shopper must not show."""

    user_id: str
    cart: frozenset[str]
    bought: frozenset[str]

    @property
    def body(self) -> bytes:
        """The page view."""
        return msgspec.json.encode({"user_id": self.user_id, "count": COUNT, "include_properties": PROPERTIES})


class PageShop:
    """Everything is drawn from the seed; the newest event is an hour before `now`."""

    def __init__(self, seed: int, items: int, shopper_count: int, now: datetime) -> None:
        self._rng = random.Random(seed)
        self._now = now
        self.items = {item.item_id: item for item in self._items(items)}
        self._ids = list(self.items)
        self.sold_out = {item_id for item_id, item in self.items.items() if not item.may_be_shown}
        self._values: list[tuple[str, bytes, bytes]] = []
        self.shoppers = [self._shopper(number) for number in range(shopper_count)]

    async def write(self, settings: Settings, client: Redis) -> None:
        """Put everything where the API reads it, as loader, worker and training do."""
        await stocked(settings, client, self.items)
        released(settings.models_dir, MODEL, self._similar(), self._popularity())
        pipe = client.pipeline(transaction=False)
        for shopper_id, row, made in self._values:
            key = record_key(settings.tenant, shopper_id)
            keys = ShardKeys(partition_of(key, settings.partition_count))
            pipe.set(keys.row(settings.tenant, shopper_id), row)
            pipe.set(keys.shelf(settings.tenant, shopper_id), made)
        await pipe.execute()

    def faults(self, shopper: Shopper, answer: dict[str, Any]) -> list[str]:
        """What is wrong with a page that this shopper got."""
        shown = [item["item_id"] for item in answer["items"]]
        found = [] if len(shown) == len(set(shown)) == COUNT else [f"{len(set(shown))} different items of {len(shown)}"]
        for why, forbidden in (("cart", shopper.cart), ("bought", shopper.bought), ("sold out", self.sold_out)):
            found += [f"{item_id} is {why}" for item_id in shown if item_id in forbidden]
        for item in answer["items"]:
            known = self.items[item["item_id"]]
            assert known.content is not None
            assert known.price is not None
            if item["properties"] != {"name": known.content.name, "price": str(known.price.price)}:
                found.append(f"{item['item_id']} has {item['properties']}")
            if not item["reasons"]:
                found.append(f"{item['item_id']} has no reason")
        if answer["fallback"]["used"] or answer["model_version"] != MODEL:
            found.append(f"made by {answer['model_version']}, {answer['fallback']}")
        return found

    def _items(self, count: int) -> Iterator[Item]:
        rng = self._rng
        for number in range(count):
            noun = rng.choice(NOUNS)
            yield Item(
                item_id=f"i{number}",
                content=Content(
                    name=f"{rng.choice(WORDS)} {rng.choice(WORDS).lower()} {noun}, {rng.randrange(1, 20) * 50} g",
                    description=" ".join(rng.choices(WORDS, k=20)),
                    category=f"{noun} {number % 10}",
                    brand=f"Maison {rng.randrange(200)}",
                ),
                price=Price(price=Decimal(rng.randrange(99, 9999)) / 100, currency="EUR"),
                stock=Stock(available=rng.random() > 0.05),
            )

    def _similar(self) -> dict[str, list[tuple[str, float]]]:
        scores = [1 - n / NEIGHBOURS_EACH for n in range(NEIGHBOURS_EACH)]
        return {
            item_id: list(zip(self._rng.sample(self._ids, NEIGHBOURS_EACH), scores, strict=True))
            for item_id in self._ids
        }

    def _popularity(self) -> dict[str, float]:
        """Nobody has met the newest items yet."""
        return {item_id: self._rng.paretovariate(1.2) for item_id in self._ids[:-NEW]}

    def _shopper(self, number: int) -> Shopper:
        """Makes row and shelf of one shopper, keeps them for writing, and tells what they hold."""
        user_id, met = f"s{number}", self._rng.sample(self._ids, 40)
        cart, bought = met[:2], met[2:10]
        steps = [shoppers.step_of(event) for event in self._events(user_id, cart, bought, met[10:])]
        row = shoppers.fold(shoppers.empty(), steps, LATENESS_MS).row
        assert row.state.cart.keys() == set(cart)
        packed = shoppers.encode(row)
        candidates = Candidates.of(self._candidates(cart, bought, met))
        made = Shelf(MODEL, "", 0, row.state.newest, candidates, shelf.mark_of(packed))
        self._values.append((f"u-{user_id}", packed, shelf.encode(made)))
        return Shopper(user_id, frozenset(cart), frozenset(bought))

    def _events(self, user_id: str, cart: Sequence[str], bought: Sequence[str], rest: Sequence[str]) -> Iterator[Event]:
        looks = [(self._rng.choice(LOOKS), self._rng.choice(rest)) for _ in range(EVENTS_EACH - 10)]
        done: list[tuple[EventName, str]] = [*(("purchase", i) for i in bought), *looks]
        done += [("add_to_cart", item_id) for item_id in cart]
        for number, (name, item_id) in enumerate(done):
            at = self._now - timedelta(hours=1 + 6 * (len(done) - number))
            content = self.items[item_id].content
            yield Event(
                event_name=name,
                occurred_at=at,
                received_at=at,
                event_id=str(number),
                user_id=user_id,
                session_id=f"v{number // 10}",
                items=(EventItem(item_id=item_id, category=content and content.category),),
                transaction_id=str(number) if name == "purchase" else None,
            )

    def _candidates(self, cart: Sequence[str], bought: Sequence[str], met: Sequence[str]) -> list[Candidate]:
        """Mostly other items; the cart, and what was bought, would be first if they were not kept out."""
        others = self._rng.sample(self._ids, CANDIDATES)
        ids = list(dict.fromkeys([*cart, *bought, *others]))[:CANDIDATES]
        return [
            Candidate(item_id, 1 - n / CANDIDATES, self._rng.random(), source, because)
            for n, item_id in enumerate(ids)
            for source, because in [self._rng.choice([("tower", None), ("item_to_item", self._rng.choice(met))])]
        ]


def this_hour() -> datetime:
    """The present hour: the same rows all through it."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
