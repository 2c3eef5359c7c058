"""What was told of the catalogue (`items_changed`) against the catalogue's log, read by a plain consumer.

A lower price is told once in every partition of the events, by the offset that made it, with the price before; again
only as it was told first. What lies on a log when it is read for the first time is no news, and after Redis came back
empty it is read for the first time again. So of each partition of the catalogue, drops that nobody is told of lie
together, at the begin or where Redis was emptied, and never at the end.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import groupby
from typing import Final

from tests.proofs.chaos.catalogue_made import CATALOG
from tests.proofs.chaos.found import Found
from tests.proofs.chaos.truth import EVENTS, Record, read_log

# At the begin, and where Redis came back empty, once in a schedule.
_FIRST_READINGS: Final = 2

Place = tuple[int, int]  # partition and offset on the catalogue's log
Drop = tuple[str, Decimal, Decimal, str]  # item, price before and now, currency


def changes(found: Found) -> None:
    """Every change that was told is one, the same everywhere; none is missing after the last first reading."""
    wanted, told = drops(read_log(found.settings.kafka, CATALOG)), heard(read_log(found.settings.kafka, EVENTS))
    found.said |= {"price_drops": len(wanted), "price_drops_told": len(told)}
    found.wrong += faults(wanted, told, found.settings.partition_count)


def drops(records: Iterable[Record]) -> dict[Place, Drop]:
    """Each record that made an item cheaper."""
    prices: dict[str, tuple[Decimal, str]] = {}
    made: dict[Place, Drop] = {}
    for record in records:
        facet = json.loads(record.value or b"")
        if "price" not in facet:
            continue
        item, now = facet["item_id"], (Decimal(facet["price"]["price"]), facet["price"]["currency"])
        before = prices.get(item)
        if before is not None and before[1] == now[1] and now[0] < before[0]:
            made[record.partition, record.offset] = (item, before[0], *now)
        prices[item] = now
    return made


def heard(records: Iterable[Record]) -> dict[Place, dict[int, set[Drop | None]]]:
    """What each partition of the events was told of each place; None: something else than a lower price."""
    told: dict[Place, dict[int, set[Drop | None]]] = {}
    for record in records:
        if b'"event_name":"items_changed"' not in (record.value or b""):
            continue
        changed = json.loads(record.value or b"")["changed"]
        for one in changed["items"]:
            at = (changed["catalogue_partition"], one["offset"])
            in_place = told.setdefault(at, {}).setdefault(record.partition, set())
            in_place.add(_drop(one) if changed["into"] == record.partition else None)
    return told


def faults(
    wanted: Mapping[Place, Drop], told: Mapping[Place, Mapping[int, set[Drop | None]]], partitions: int
) -> list[str]:
    """What is wrong, in words."""
    wrong = []
    for at, places in sorted(told.items()):
        said = {drop for of in places.values() for drop in of}
        if said != {wanted.get(at)} or at not in wanted:
            wrong.append(f"of the catalogue's record {at}, {wanted.get(at)}, was told {said}")
        if len(places) != partitions:
            wrong.append(f"of the catalogue's record {at} only the partitions {sorted(places)} were told")
    for partition, of_it in groupby(sorted(wanted), lambda at: at[0]):
        runs = [was_told for was_told, _ in groupby(at in told for at in of_it)]
        if runs.count(False) > _FIRST_READINGS or (True in runs and not runs[-1]):
            wrong.append(f"price drops of the catalogue's partition {partition} are not told, amid others that are")
    return wrong


def _drop(told: dict[str, object]) -> Drop | None:
    if told["kinds"] != ["price_dropped"]:
        return None
    before, now = (Decimal(str(told[name])) for name in ("price_before", "price"))
    return str(told["item_id"]), before, now, str(told["currency"])
