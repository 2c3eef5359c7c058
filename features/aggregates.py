"""Features: every name and value type, declared once, and the values that follow from a state or an item.

The Feast definitions, the encoding of Feast's online rows and the Parquet schema of the offline log are all derived
from the tables here. A value follows from the row alone: sums that decay are given as of the shopper's newest event,
never as of the hour of processing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from math import exp2, inf, log2
from typing import Final

from features.catalog import Item
from features.shoppers import AFFINITY_HALF_LIFE_MS, PURCHASE_HALF_LIFE_MS, Decayed, Purchased, State

PURCHASES_IN_ROW: Final = 50
"""Purchased items in a feature row, heaviest first. A state weighs up to 200, but as arrays in each row of a year's
log they would weigh more than all the rest; own repeats past the fiftieth do not reach a list of twenty."""

Scalar = bool | int | float | str | bytes | datetime
Value = Scalar | list[bool] | list[int] | list[float] | list[str] | list[bytes] | list[datetime] | None
"""A value of a feature; None where it is not known. A UnixTimestamp is an aware datetime in whole seconds."""


class Kind(Enum):
    """Feast's name of a scalar, by its field number in Feast's `Value` message."""

    Bytes = 1
    String = 2
    Int32 = 3
    Int64 = 4
    Float64 = 5
    Float32 = 6
    Bool = 7
    UnixTimestamp = 8


@dataclass(frozen=True, slots=True)
class ValueType:
    """A scalar, or a list of one."""

    kind: Kind
    many: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """Features that belong to one entity and are written together."""

    name: str
    entity: str
    fields: Mapping[str, ValueType]


def _one(kind: Kind) -> ValueType:
    return ValueType(kind)


def _many(kind: Kind) -> ValueType:
    return ValueType(kind, many=True)


SHOPPER_BEHAVIOUR: Final = View(
    "shopper_behaviour",
    "shopper",
    {
        "views": _one(Kind.Int64),
        "orders": _one(Kind.Int64),
        "last_event_at": _one(Kind.Int64),  # ms, like every time below
        "recent_items": _many(Kind.String),  # the last interactions, oldest first
        "recent_kinds": _many(Kind.String),
        "recent_times": _many(Kind.Int64),
        "cart_items": _many(Kind.String),
        "purchased_items": _many(Kind.String),  # heaviest first
        "purchased_weights": _many(Kind.Float32),
        "purchased_last_at": _many(Kind.Int64),
        "top_categories": _many(Kind.String),  # heaviest first
        "top_category_weights": _many(Kind.Float32),
        "top_brands": _many(Kind.String),
        "top_brand_weights": _many(Kind.Float32),
        "mean_log_price": _one(Kind.Float64),
        "session_events": _one(Kind.Int64),
    },
)

ITEM_STATISTICS: Final = View(
    "item_statistics",
    "item",
    {
        "decayed_purchases": _one(Kind.Float64),  # as of `counted_at`; less what was given back
        "decayed_views": _one(Kind.Float64),
        "buyers": _one(Kind.Int64),
        "rating_mean": _one(Kind.Float64),  # smoothed
        "rating_count": _one(Kind.Int64),
        "counted_at": _one(Kind.Int64),
    },
)

ITEM_CONTENT: Final = View(
    "item_content",
    "item",
    {
        "category": _one(Kind.String),
        "brand": _one(Kind.String),
        "price": _one(Kind.Float64),
        "currency": _one(Kind.String),
        "available": _one(Kind.Bool),
    },
)

VIEWS: Final = {view.name: view for view in (SHOPPER_BEHAVIOUR, ITEM_STATISTICS, ITEM_CONTENT)}

SERVICES: Final[Mapping[str, tuple[View, ...]]] = {
    "shopper_history": (SHOPPER_BEHAVIOUR,),
    "ranking": (SHOPPER_BEHAVIOUR, ITEM_STATISTICS, ITEM_CONTENT),
}
"""Feature services: what a model asks for by one name. No two views of one have a feature of the same name."""


def shopper_values(state: State) -> dict[str, Value]:
    """The values of `shopper_behaviour`."""
    now, met = state.newest, state.interactions
    bought = _heaviest_purchases(state.purchased)
    categories = _liked(state.categories, now)
    brands = _liked(state.brands, now)
    return {
        "views": state.views,
        "orders": state.orders,
        "last_event_at": now,
        "recent_items": [each.item_id for each in met],
        "recent_kinds": [each.kind for each in met],
        "recent_times": [each.at for each in met],
        "cart_items": list(state.cart),
        "purchased_items": [item_id for _, item_id, _, _ in bought],
        "purchased_weights": [weight * exp2((at - now) / PURCHASE_HALF_LIFE_MS) for _, _, weight, at in bought],
        "purchased_last_at": [at for _, _, _, at in bought],
        "top_categories": [name for _, name in categories],
        "top_category_weights": [-weight for weight, _ in categories],
        "top_brands": [name for _, name in brands],
        "top_brand_weights": [-weight for weight, _ in brands],
        "mean_log_price": _mean(state.log_price_sum, state.log_price_weight),
        "session_events": state.session.events if state.session else 0,
    }


def item_values(item: Item) -> dict[str, Value]:
    """The values of `item_content`."""
    content, price, stock = item.content, item.price, item.stock
    return {
        "category": content.category if content else None,
        "brand": content.brand if content else None,
        "price": float(price.price) if price else None,
        "currency": price.currency if price else None,
        "available": stock is None or (stock.available and stock.quantity != 0),
    }


# The two below are `purchase_weight_at` and `affinity_at` for many: a call for each would cost as much as the rest.


def _heaviest_purchases(purchased: Mapping[str, Purchased]) -> list[tuple[float, str, float, int]]:
    """What they are sorted by, item, weight, and as of when."""
    # The order by weight is the same at every moment, so the logarithm at time 0 decides it without a power each.
    order = []
    for item_id, each in purchased.items():
        weight, at = each.weight, each.last_at
        order.append((-(log2(weight) + at / PURCHASE_HALF_LIFE_MS) if weight > 0 else inf, item_id, weight, at))
    order.sort()
    return order[:PURCHASES_IN_ROW]


def _liked(sums: Mapping[str, Decayed], now: int) -> list[tuple[float, str]]:
    """Negative weights, so that equal ones are in the order of their names."""
    return sorted(
        [
            (-value * exp2((each.at - now) / AFFINITY_HALF_LIFE_MS), name)
            for name, each in sums.items()
            if (value := each.value) > 0
        ]
    )


def _mean(total: Decayed, weight: Decayed) -> float | None:
    # Both are as of one time and halve alike: their ratio is the same at every moment, also where both are nearly 0.
    return total.value / weight.value if weight.value > 0 else None
