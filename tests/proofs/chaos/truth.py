"""The truth: the log read by a plain consumer, parsed and folded without anything of the project.

python -m tests.proofs.chaos.truth BOOTSTRAP --lateness-h N    # the counts alone
"""

import argparse
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.proofs.chaos.truth_fold import DAY_MS, MAX_QUANTITY, Admission, Happened
from tests.proofs.chaos.truth_identity import Device, Entry, HandedOver, Linked, Tally, User
from tests.proofs.chaos.truth_statistics import Change, Sums, sums_of

EVENTS: Final = "shop.events.v1"
DEAD_LETTERS: Final = "shop.dead-letters.v1"
TRIGGERS: Final = "shop.triggers.v1"

# Kinds of events: what lasts of their lines, and whether one without items is refused.
_WITHOUT_ITEMS: Final = frozenset(
    (
        "page_view",
        "view_item_list",
        "search",
        "view_cart",
        "begin_checkout",
        "identify",
        "consent_updated",
        "refund",
    )
)
_WITH_DETAILS: Final = frozenset(
    ("select_item", "view_item", "add_to_wishlist", "add_to_cart", "purchase", "dislike_item")
)
_WITH_LINES: Final = _WITH_DETAILS | {"remove_from_cart", "refund", "remove_from_wishlist"}
_NEED_ITEMS: Final = (_WITH_LINES | {"review_item"}) - _WITHOUT_ITEMS
_IDENTITY: Final = ("identity_linked", "shopper_absorbed")
_NAMES: Final = _WITHOUT_ITEMS | _NEED_ITEMS | set(_IDENTITY)
_MAX_AGE_MS: Final = 30 * DAY_MS
_EARLIEST_MS, _LATEST_MS = DAY_MS, 7_258_118_400_000


class Refused(Exception):
    """The record is no event that can be applied; its text is the reason's code."""


class Record(NamedTuple):
    """One record of a log."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp_ms: int


Who = tuple[int, str, str]


@dataclass
class Truth:
    """What the log comes to: shoppers by (partition, tenant, id), dead records by position with their reason.

    `handed` is what devices hand over, by the id of its record; `statistics` are by partition, tenant and item.
    """

    shoppers: dict[Who, Admission] = field(default_factory=dict)
    dead: dict[tuple[int, int], str] = field(default_factory=dict)
    handed: dict[str, HandedOver] = field(default_factory=dict)
    statistics: dict[tuple[int, str], dict[str, Sums]] = field(default_factory=dict)
    became: Counter[str] = field(default_factory=Counter)
    records: int = 0

    def counts(self) -> dict[str, int]:
        """What became of the records; they add up."""
        dead = len(self.dead)
        assert self.became.total() + dead == self.records, "the truth does not add up"
        names = ("applied", "duplicates", "late", "links", "handed_on", "absorbed", "news")
        became = {name: self.became[name] for name in names}
        return {"records": self.records, "shoppers": len(self.shoppers), **became, "dead": dead}


def truth_of(log: Iterator[Record], partitions: int, lateness_ms: int) -> Truth:
    """Read a log; within a partition its records come in order."""
    truth = Truth()
    entries: dict[Who, list[Entry]] = {}
    for record in log:
        truth.records += 1
        if record.value is not None and b'"event_name":"items_changed"' in record.value:
            truth.became["news"] += 1  # of the catalogue: nothing of a shopper follows from it here
            continue
        try:
            tenant, shopper, entry = _read(record, partitions)
        except Refused as refused:
            truth.dead[record.partition, record.offset] = str(refused)
            continue
        entries.setdefault((record.partition, tenant, shopper), []).append(entry)
    counted: dict[tuple[int, str], list[tuple[int, Change]]] = {}
    for who in sorted(entries, key=lambda who: who[2].startswith("u-")):  # devices hand over to users
        tally = Tally()
        if who[2].startswith("u-"):
            user = User(lateness_ms, Admission(lateness_ms))
            for entry in entries[who]:
                user.hear(entry, truth.handed, tally)
            truth.shoppers[who] = user.row
        else:
            device = Device(lateness_ms, Admission(lateness_ms))
            for entry in entries[who]:
                device.hear(entry, tally)
            truth.shoppers[who] = device.row
            truth.handed.update(device.handed)
        truth.became += tally.became
        counted.setdefault(who[:2], []).extend(tally.changes)
    for place, changes in counted.items():
        changes.sort(key=lambda one: one[0])
        truth.statistics[place] = sums_of(change for _, change in changes)
    return truth


def read_log(bootstrap: str, topic: str) -> Iterator[Record]:
    """Everything on a topic up to its end as it is now, by a plain consumer without a group's commits."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "truth", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(settings)
    try:
        listed = consumer.list_topics(topic, timeout=20.0).topics[topic].partitions
        bounds = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20.0) for p in listed}
        left = {p: high for p, (low, high) in bounds.items() if high > low}
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
        while left:
            for message in consumer.consume(5000, timeout=10.0):
                if message.error() is not None:
                    continue  # a broker that was just started; the client goes on by itself
                partition, offset = message.partition(), message.offset()
                assert partition is not None, "a record has a place"
                assert offset is not None, "a record has a place"
                told: Any = message.headers() or ()
                headers = {name: bytes(value or b"") for name, value in told}
                yield Record(partition, offset, message.key(), message.value(), headers, message.timestamp()[1])
                if partition in left and offset + 1 >= left[partition]:
                    del left[partition]
    finally:
        consumer.close()


def _read(record: Record, partitions: int) -> tuple[str, str, Entry]:
    told = _told(record)
    user, anonymous = told.get("user_id"), told.get("anonymous_id")
    if user is None and anonymous is None:
        raise Refused("shopper_required")
    times = {name: _ms(told[name]) for name in ("occurred_at", "sent_at", "received_at") if name in told}
    if not all(_EARLIEST_MS <= time <= _LATEST_MS for time in times.values()):
        raise Refused("time_out_of_range")
    if told["event_name"] in _NEED_ITEMS and not told.get("items"):
        raise Refused("items_required")
    times.setdefault("received_at", record.timestamp_ms)
    tenant, shopper = told.get("tenant", "default"), f"u-{user}" if user is not None else f"a-{anonymous}"
    key = f"{quote(tenant, safe='')}|{quote(shopper, safe='')}".encode()
    if zlib.crc32(key) % partitions != record.partition:
        raise Refused("wrong_partition")
    link = told.get("link")
    linked = Linked(link["link_id"], link["user_id"], _ms(link["since"])) if link else None
    name, event = told["event_name"], None
    if name not in _IDENTITY:
        event = _happened(told, _event_time(times, loaded="load_id" in told))
    return tenant, shopper, Entry(record.offset, name, told["event_id"], event, linked)


def _told(record: Record) -> dict[str, Any]:
    if record.value is None:
        raise Refused("empty")
    try:
        told = json.loads(record.value.decode(), parse_float=Decimal)
    except ValueError:
        raise Refused("not_json") from None
    if not isinstance(told, dict):
        raise Refused("wrong_type")
    if told.get("schema_version", 1) != 1:
        raise Refused("unknown_version")
    if told["event_name"] not in _NAMES:
        raise Refused("unknown_event")
    return told


def _event_time(times: dict[str, int], *, loaded: bool) -> int:
    """received - (sent - occurred), never later than received, nor 30 days earlier unless it is loaded.

    An event that does not say when it was received was when its record was written.
    """
    at, received = times["occurred_at"], times["received_at"]
    if "sent_at" in times:
        at = received - (times["sent_at"] - at)
    return min(received, at if loaded else max(at, received - _MAX_AGE_MS))


def _happened(told: dict[str, Any], at: int) -> Happened:
    return Happened(
        at=at,
        source=told.get("source", "site"),
        event_id=told["event_id"],
        name=told["event_name"],
        live="load_id" not in told,
        session_id=told.get("session_id"),
        lines=_lines(told),
        currency=told.get("currency"),
        search_term=told.get("search_term"),
        consent=told.get("consent") or {},
        context=told.get("context") or {},
        rating=told.get("rating") if told["event_name"] == "review_item" else None,
        rated=tuple(dict.fromkeys(item["item_id"] for item in told.get("items", ()))),
    )


def _lines(told: dict[str, Any]) -> tuple[tuple[str, str | None, int, str | None, str | None], ...]:
    """One line for each item: the last one's details, the sum of the quantities."""
    if told["event_name"] not in _WITH_LINES:
        return ()
    details: Callable[[dict[str, Any], str], str | None] = (
        (lambda item, name: item.get(name)) if told["event_name"] in _WITH_DETAILS else (lambda _item, _name: None)
    )
    lines: dict[str, tuple[str, str | None, int, str | None, str | None]] = {}
    for item in told.get("items", ()):
        name, quantity = item["item_id"], item.get("quantity", 1)
        if name in lines:
            quantity = min(quantity + lines[name][2], MAX_QUANTITY)
        price = _price(details(item, "price"))
        lines[name] = (name, price, quantity, details(item, "category"), details(item, "brand"))
    return tuple(lines.values())


def _price(told: object) -> str | None:
    try:
        return None if told is None else f"{Decimal(str(told)):f}"
    except InvalidOperation:
        raise Refused("wrong_number") from None


def _ms(text: str) -> int:
    at = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (at.days * 86_400 + at.seconds) * 1000 + at.microseconds // 1000


def main() -> None:
    """The counts of a log."""
    parser = argparse.ArgumentParser(description="What the event log comes to, by the truth.")
    parser.add_argument("bootstrap")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--lateness-h", type=int, default=24)
    given = parser.parse_args()
    truth = truth_of(read_log(given.bootstrap, EVENTS), given.partitions, given.lateness_h * 3_600_000)
    print(json.dumps(truth.counts() | {"reasons": Counter(truth.dead.values())}))


if __name__ == "__main__":
    main()
