"""The comparison of what was told of the catalogue finds what is missing, doubled or otherwise."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.proofs.chaos.compare_changes import drops, faults, heard
from tests.proofs.chaos.truth import Record

PARTITIONS = 3
PRICES = [9, 8, 8, 7, 6, 9, 5, 4]
DROPS = [1, 3, 4, 6, 7]


def record(partition: int, offset: int, value: dict[str, Any]) -> Record:
    return Record(partition, offset, b"", json.dumps(value, separators=(",", ":")).encode(), {}, 0)


CATALOGUE = [
    record(0, n, {"item_id": "x1", "price": {"price": f"{price}.00", "currency": "EUR"}})
    for n, price in enumerate(PRICES)
]


def told(offset: int, into: int, **otherwise: object) -> Record:
    change = {
        "item_id": "x1",
        "kinds": ["price_dropped"],
        "offset": offset,
        "price_before": f"{PRICES[offset - 1]}",
        "price": f"{PRICES[offset]}",
        "currency": "EUR",
    } | otherwise
    changed = {"catalogue_partition": 0, "into": into, "items": [change]}
    return record(into, offset, {"event_name": "items_changed", "changed": changed})


def all_told(offsets: list[int]) -> list[Record]:
    return [told(offset, into) for offset in offsets for into in range(PARTITIONS)]


def found(events: list[Record]) -> list[str]:
    return faults(drops(CATALOGUE), heard(events), PARTITIONS)


def test_the_truth_has_every_lower_price() -> None:
    assert sorted(offset for _, offset in drops(CATALOGUE)) == DROPS


@pytest.mark.parametrize("offsets", [DROPS, DROPS[1:], [1, 6, 7], [3, 6, 7], []])
def test_what_was_first_read_may_be_untold_and_a_repeat_is_harmless(offsets: list[int]) -> None:
    assert found(all_told(offsets) * 2) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: good[:-1],
        lambda good: [*good, told(1, 0, price="8.50")],
        lambda good: [*good, told(1, 0, kinds=["out_of_stock"])],
        lambda good: [*good, *(told(5, into) for into in range(PARTITIONS))],
        lambda good: [*good, told(1, 0, item_id="x2")],
        lambda _: all_told(DROPS[:-1]),
        lambda _: all_told([3, 6]),
    ],
)
def test_what_is_told_otherwise_or_not_is_found(spoil: Callable[[list[Record]], list[Record]]) -> None:
    assert found(spoil(all_told(DROPS)))
