"""The catalogue in Redis and in Feast's store against its log, read by a plain consumer."""

import json
from typing import Any
from urllib.parse import quote

from features.catalog import decode
from infra.keys import items
from tests.proofs.chaos.catalogue_made import CATALOG
from tests.proofs.chaos.compare_feast import entity, value_of
from tests.proofs.chaos.found import Found
from tests.proofs.chaos.truth import read_log


def catalogue(found: Found) -> None:
    """Every item is as the last of its facets say, wherever it stands."""
    wanted: dict[str, dict[str, Any]] = {}
    for record in read_log(found.settings.kafka, CATALOG):
        told = json.loads(record.value or b"")
        item = wanted.setdefault(told["item_id"], {"name": None, "price": None, "available": True})
        if "content" in told:
            item["name"] = told["content"]["name"]
        elif "price" in told:
            item["price"] = float(told["price"]["price"])
        else:
            item["available"] = told["stock"]["available"]
    there = {}
    for partition in range(found.settings.partition_count):
        for packed in found.client.hgetall(items("default", partition)).values():
            one = decode(packed)
            there[one.item_id] = {
                "name": one.content and one.content.name,
                "price": one.price and float(one.price.price),
                "available": one.stock is None or one.stock.available,
            }
    found.said["items"] = len(wanted)
    found.expect_equal("items", wanted, there)
    content = {name: {key: item[key] for key in ("price", "available")} for name, item in wanted.items()}
    found.expect_equal("feast_content", content, {name: _content(found, name) for name in wanted})


def _content(found: Found, item: str) -> dict[str, Any]:
    row = found.client.hgetall(entity(f"default|{quote(item, safe='')}", "item"))
    return {name: value_of(row, "item_content", name) for name in ("price", "available")}
