"""Feast's rows in Redis against the truth, read with Feast's own keys and messages: nothing of the project's codec.

A row says from which record of the log it comes. That is the last one that changed the shopper, or a later one of
theirs that changed nothing (a repeat that came in the same batch): never an earlier one.
"""

from itertools import islice
from math import exp2
from typing import Any, Final
from urllib.parse import quote

from feast.infra.online_stores.helpers import _mmh3, _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.proofs.chaos.compare_rows import same
from tests.proofs.chaos.found import Found
from tests.proofs.chaos.truth_fold import (
    AFFINITY_HALF_LIFE_MS,
    DAY_MS,
    PURCHASE_HALF_LIFE_MS,
    Admission,
    Person,
    decayed,
    person,
)
from tests.proofs.chaos.truth_statistics import ERA_MS, HALF_LIFE_MS, Sums

_TOLERANCE: Final = 1e-9
_VIEW: Final = "shopper_behaviour"
_PROJECT: Final = "daogou_live"
_PURCHASES: Final = 50
_AT_ONCE: Final = 500
_EXACT: Final = (
    "views",
    "orders",
    "last_event_at",
    "recent_items",
    "recent_kinds",
    "recent_times",
    "cart_items",
    "session_events",
)
_WEIGHED: Final = (
    ("purchased_items", "purchased_weights"),
    ("top_categories", "top_category_weights"),
    ("top_brands", "top_brand_weights"),
)


def feast_rows(found: Found) -> None:
    """Every shopper's."""
    bad: dict[tuple[int, str, str], list[str]] = {}
    every = iter(found.truth.shoppers.items())
    while chunk := list(islice(every, _AT_ONCE)):
        pipe = found.client.pipeline(transaction=False)
        for (_, tenant, shopper), _ in chunk:
            pipe.hgetall(entity(f"{quote(tenant, safe='')}|{quote(shopper, safe='')}"))
        for (who, admission), row in zip(chunk, pipe.execute(), strict=True):
            differing = _differing(found, admission, row)
            if differing:
                bad[who] = differing
    found.said |= {"feast_rows": len(found.truth.shoppers), "feast_differing": len(bad)}
    if bad:
        found.wrong.append(f"{len(bad)} Feast rows differ, such as {list(bad.items())[:5]}")


def feast_items(found: Found) -> None:
    """Every item's, once the last merge is through."""
    bad = items_differing(found)
    found.said["feast_items_differing"] = len(bad)
    if bad:
        found.wrong.append(f"{len(bad)} Feast rows of items differ, such as {bad[:5]}")


def items_differing(found: Found) -> list[str]:
    """Items of which Feast's store has others than the sums of all partitions, as of the end of their newest day."""
    of: dict[str, list[Sums]] = {}
    for items in found.truth.statistics.values():
        for item, sums in items.items():
            of.setdefault(item, []).append(sums)
    pipe = found.client.pipeline(transaction=False)
    for item in of:
        pipe.hgetall(entity(f"default|{quote(item, safe='')}", "item"))
    rows = zip(of.items(), pipe.execute(), strict=True)
    return [item for (item, every), row in rows if not (row and _item_alike(every, row))]


def _item_alike(every: list[Sums], row: dict[bytes, bytes]) -> bool:
    at = (max(sums.at for sums in every) // DAY_MS + 1) * DAY_MS
    left = [exp2((sums.at // ERA_MS * ERA_MS - at) / HALF_LIFE_MS) for sums in every]
    stars, ratings = sum(sums.stars for sums in every), sum(sums.ratings for sums in every)
    wanted = {
        "decayed_purchases": max(0.0, sum(sums.purchases * by for sums, by in zip(every, left, strict=True))),
        "decayed_views": sum(sums.views * by for sums, by in zip(every, left, strict=True)),
        "buyers": sum(sums.buyers for sums in every),
        "rating_mean": (5 * 3.5 + stars) / (5 + ratings),
        "rating_count": ratings,
        "counted_at": at,
    }
    gross = sum(sums.gross * by for sums, by in zip(every, left, strict=True))
    told = {name: value_of(row, "item_statistics", name) for name in wanted}
    return all(
        told[name] is not None and abs(told[name] - value) <= _TOLERANCE * max(abs(value), gross)
        for name, value in wanted.items()
    )


def _differing(found: Found, truth: Admission, row: dict[bytes, bytes]) -> list[str]:
    if not truth.admitted and not truth.told:
        return ["a row of nobody"] if row else []
    if not row:
        return ["missing"]
    offset, _, log = row[f"_log:{_VIEW}".encode()].decode().partition(" ")
    differing = []
    if log != found.log or int(offset) not in truth.offsets:
        differing.append(f"of {offset} {log}, not of {truth.offsets}")
    at = Timestamp.FromString(row[f"_ts:{_VIEW}".encode()])
    if at.seconds * 1000 + at.nanos // 1_000_000 != truth.newest:
        differing.append(f"as of {at}, not {truth.newest}")
    wanted, names = _wanted(person(truth.admitted), truth.newest)
    told = {name: value_of(row, _VIEW, name) for name in names}
    for name in _EXACT:
        one, other = wanted[name], told[name]
        if name == "cart_items":
            one, other = sorted(one), sorted(other)
        if one != other:
            differing.append(f"{name}: {one} was {other}")
    if not same(wanted["mean_log_price"], told["mean_log_price"]):
        differing.append(f"mean_log_price: {wanted['mean_log_price']} was {told['mean_log_price']}")
    for items, weights in _WEIGHED:
        if not _weighed(wanted[items], told[items], told[weights]):
            differing.append(f"{items}: {wanted[items]} was {told[items]} {told[weights]}")
    return differing


def _wanted(who: Person, now: int) -> tuple[dict[str, Any], list[str]]:
    """Values by name (of those with weights the weight of each), and the names of all features."""
    purchased = {
        item: bought.weight * exp2((bought.last_at - now) / PURCHASE_HALF_LIFE_MS)
        for item, bought in who.purchased.items()
    }
    total, weight = who.log_price_sum[0], who.log_price_weight[0]
    wanted: dict[str, Any] = {
        "views": who.views,
        "orders": who.orders,
        "last_event_at": now,
        "recent_items": [item for item, _, _ in who.interactions],
        "recent_kinds": [kind for _, kind, _ in who.interactions],
        "recent_times": [at for _, _, at in who.interactions],
        "cart_items": [*who.cart],
        "purchased_items": purchased,
        "top_categories": _liked(who.categories, now),
        "top_brands": _liked(who.brands, now),
        "mean_log_price": total / weight if weight > 0 else None,
        "session_events": who.session[3] if who.session else 0,
    }
    return wanted, [*wanted, *(weights for _, weights in _WEIGHED)]


def _liked(sums: dict[str, tuple[float, int]], now: int) -> dict[str, float]:
    return {name: decayed(*sum_, now, AFFINITY_HALF_LIFE_MS) for name, sum_ in sums.items() if sum_[0] > 0}


def _weighed(wanted: dict[str, float], items: list[str], weights: list[float]) -> bool:
    """Heaviest first, of those of purchases the heaviest fifty; weights have 32 bits."""
    most = sorted(wanted.values(), reverse=True)[:_PURCHASES]
    return (
        len(set(items)) == len(items) == len(weights) == len(most)
        and all(_near(one, other) for one, other in zip(most, weights, strict=True))
        and all(item in wanted and _near(wanted[item], weight) for item, weight in zip(items, weights, strict=True))
    )


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * max(abs(one), abs(other), 1e-6)


def value_of(row: dict[bytes, bytes], view: str, name: str) -> Any:
    """The value of a feature in a row; a list as a list, None where it is not known."""
    message = Value.FromString(row.get(_mmh3(f"{view}:{name}"), b""))
    kind = message.WhichOneof("val")
    value = getattr(message, kind) if kind else None
    return list(value.val) if hasattr(value, "val") else value


def entity(name: str, of: str = "shopper") -> bytes:
    """The key of an entity's row."""
    value = Value(string_val=name)
    return _redis_key(_PROJECT, EntityKey(join_keys=[of], entity_values=[value]), 3)
