"""The catalogue of the made shop: its records, and what a message may say of an item. Nothing of the project.

Items that lie in no cart change their prices all the while.
"""

import json
import random
import zlib
from typing import Final

from confluent_kafka import Producer

from tests.proofs.chaos.shoppers_made import ITEMS

CATALOG: Final = "shop.catalog.v1"
_BESIDE: Final = 60
_WITHIN_S: Final = 60.0


def shown(item: str) -> tuple[str, str] | None:
    """Name and price of an item as a message has them; None: it is not for sale, or not known."""
    number = int(item[1:]) if item[0] == "i" else ITEMS
    return None if number >= ITEMS or number % 7 == 0 else (f"item {number} – 茶", f"{number}.50")


def changed_price(rng: random.Random, partitions: int) -> tuple[int, bytes, bytes]:
    """Partition, key and value of another price of an item beside those of the carts."""
    item = f"x{rng.randrange(_BESIDE)}"
    facet = {"price": f"{rng.randrange(1, 900)}.00", "currency": "EUR"}
    value = json.dumps({"tenant": "default", "item_id": item, "price": facet}).encode()
    return zlib.crc32(f"default|{item}".encode()) % partitions, f"default|{item}|price".encode(), value


def put_on_log(bootstrap: str, partitions: int) -> None:
    """Two or three facets of each item.

    Raises:
        SystemExit: they were not acknowledged.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "log_level": 0})
    for item in [*(f"i{number}" for number in range(ITEMS)), *(f"x{number}" for number in range(_BESIDE))]:
        number = int(item[1:])
        facets = {
            "content": {"name": f"item {number} – 茶"},
            "price": {"price": f"{number}.50", "currency": "EUR"},
        }
        if shown(item) is None and item[0] == "i":
            facets["stock"] = {"available": False}  # type: ignore[dict-item]
        partition = zlib.crc32(f"default|{item}".encode()) % partitions
        for name, facet in facets.items():
            value = json.dumps({"tenant": "default", "item_id": item, name: facet}).encode()
            producer.produce(CATALOG, value, f"default|{item}|{name}".encode(), partition=partition)
    if left := producer.flush(_WITHIN_S):
        raise SystemExit(f"{left} records of the catalogue were not acknowledged")
