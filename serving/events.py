"""The collector: what the shop's site tells, validated, completed from the catalogue, and put on the log.

A 202 means that Kafka has every accepted event (acks=all).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from features import events
from features.catalog import complete
from features.events import Event, Id, Link, Traits
from features.identity import linked_of
from infra.clock import Clock
from infra.errors import BadInput, RedisAway
from infra.kafka import Outgoing, Producer
from infra.keys import partition_of, record_key
from infra.metrics import EVENTS_REFUSED, EVENTS_TAKEN, Metrics
from infra.topics import EVENTS
from serving import bodies, tokens
from serving.catalogue import Catalogue
from serving.problems import Fault, Refusal
from serving.shopper_reader import ShopperRef
from serving.shopper_tokens import TOKEN_STATUSES, MayBe

MAX_EVENTS: Final = 500

_decoder: Final = msgspec.json.Decoder()


class Rejected(msgspec.Struct, frozen=True):
    """An event that was not taken: its index in the array, and what is wrong with it."""

    index: int
    event_id: str | None
    code: str
    path: str
    message: str


class Accepted(msgspec.Struct, frozen=True):
    """How many events are on the log, which are not, and the token that later calls may wait for."""

    accepted: int
    rejected: list[Rejected]
    consistency_token: str


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A visitor has logged in: these two ids are one person."""

    anonymous_id: Id
    user_id: Id
    traits: Traits | None = None


@dataclass(frozen=True, slots=True)
class EventLog:
    """Where events go: the log's id and its number of partitions."""

    log: str
    partitions: int
    tenant: str


class Links(Protocol):
    """Where links of anonymous ids are looked up (`serving.shopper_reader.ShopperReader`)."""

    async def links(self, refs: Sequence[ShopperRef], /) -> list[Link | None]:
        """The links of anonymous ids."""
        ...


class Collector:
    """Takes events. `new_id` makes ids for events that come without."""

    def __init__(
        self,
        to: EventLog,
        producer: Producer,
        catalogue: Catalogue,
        acknowledged: tokens.Acknowledged,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        metrics: Metrics,
        links: Links | None = None,
    ) -> None:
        """Without `links` every event goes by the ids that it came with."""
        self._links = links
        self._to = to
        self._producer = producer
        self._catalogue = catalogue
        self._acknowledged = acknowledged
        self._clock = clock
        self._new_id = new_id
        self._metrics = metrics

    async def collect(self, raw: bytes, may_be: MayBe, trace: str | None) -> Accepted:
        """Put the good events of a body on the log; name the others. `may_be` raises for users that the caller may not
        speak for, `trace` is a traceparent to carry along.

        Raises:
            Undecodable: not JSON.
            BadInput: none was good, or their number is out of bounds.
            KafkaAway: not acknowledged; some may be on the log, which their ids make harmless.
        """
        return await self.take(_objects(bodies.decode(_decoder, raw)), may_be, trace)

    async def take(self, objects: Sequence[Any], may_be: MayBe, trace: str | None) -> Accepted:
        """The same for decoded objects: a list of them, or one alone in a tuple.

        Raises:
            BadInput, KafkaAway: as `collect`.
        """
        return await self._taken(objects, may_be, trace, self._clock.now_ms())

    async def identify(self, who: Identity, may_be: MayBe, trace: str | None, event_id: str | None) -> Accepted:
        """Put a login on the log, as an event of this moment; `event_id` lets it be sent again.

        Raises:
            BadInput: a rule of events is broken.
            KafkaAway: as `collect`.
        """
        given = {name: value for name, value in msgspec.structs.asdict(who).items() if value is not None}
        now_ms = self._clock.now_ms()
        occurred_at = datetime.fromtimestamp(now_ms / 1000, UTC)
        event = given | {"event_name": "identify", "event_id": event_id, "occurred_at": occurred_at}
        return await self._taken((event,), may_be, trace, now_ms)

    async def _taken(self, objects: Sequence[Any], may_be: MayBe, trace: str | None, now_ms: int) -> Accepted:
        good, rejected = self._sorted_out(objects, may_be, datetime.fromtimestamp(now_ms / 1000, UTC))
        for one in rejected:
            self._metrics.count(EVENTS_REFUSED, code=one.code)
        if not good:
            raise _none_good(rejected, single=not isinstance(objects, list))
        headers = (("traceparent", trace.encode()),) if trace else ()
        logins = [linked for event in good if (linked := linked_of(event)) is not None]
        records = [self._record(event, headers) for event in (*await self._by_links(good), *logins)]
        offsets = await self._sent(records, now_ms)
        for event in good:
            self._metrics.count(EVENTS_TAKEN, event_name=event.event_name)
        return Accepted(len(good), rejected, tokens.encode(self._reached(records, offsets, logins)))

    async def _by_links(self, good: Sequence[Event]) -> list[Event]:
        """Events of anonymous ids that are linked go straight to their user.

        A short cut: where Redis does not answer, or does not know yet, the id's own partition hands them on.
        """
        asked = {event.anonymous_id for event in good if event.user_id is None and event.anonymous_id is not None}
        if self._links is None or not asked:
            return list(good)
        refs = [self._ref(f"a-{anonymous_id}") for anonymous_id in asked]
        try:
            found = dict(zip(asked, await self._links.links(refs), strict=True))
        except RedisAway:
            return list(good)
        return [_by_link(event, found.get(event.anonymous_id or "")) for event in good]

    def _reached(
        self, records: Sequence[Outgoing], offsets: Sequence[int], logins: Sequence[Event]
    ) -> tokens.Positions:
        """How far the log is with these: the highest offset by partition, and each login's own."""
        positions: tokens.Positions = {self._to.log: {}}
        for record, offset in zip(records, offsets, strict=True):
            reached = positions[self._to.log]
            reached[record.partition] = max(offset, reached.get(record.partition, 0))
        last = zip(logins, records[len(records) - len(logins) :], offsets[len(records) - len(logins) :], strict=True)
        for login, record, offset in last:
            positions[f"{tokens.LINK}{events.shopper_id(login)}"] = {record.partition: offset}
        return positions

    async def _sent(self, records: Sequence[Outgoing], now_ms: int) -> list[int]:
        """Write records; their offsets."""
        offsets = await self._producer.send_many(records)
        reached: dict[int, int] = {}
        for record, offset in zip(records, offsets, strict=True):
            reached[record.partition] = max(offset, reached.get(record.partition, 0))
        for partition, offset in reached.items():
            self._acknowledged.add(partition, offset, now_ms)
        return offsets

    def _sorted_out(
        self, objects: Sequence[Any], may_be: MayBe, received_at: datetime
    ) -> tuple[list[Event], list[Rejected]]:
        good, rejected = [], []
        for index, obj in enumerate(objects):
            try:
                event = events.parse(obj, tenant=self._to.tenant, received_at=received_at, new_id=self._new_id)
                if event.user_id is not None:
                    may_be(event.user_id)
                good.append(complete(event, self._catalogue.item))
            except BadInput as error:
                rejected.append(Rejected(index, _event_id(obj), error.reason, error.path, error.message))
        return good, rejected

    def _record(self, event: Event, headers: tuple[tuple[str, bytes], ...]) -> Outgoing:
        key = events.record_key_of(event)
        partition = partition_of(key, self._to.partitions)
        return Outgoing(EVENTS, partition, key, events.encode(event), headers)

    def _ref(self, shopper_id: str) -> ShopperRef:
        partition = partition_of(record_key(self._to.tenant, shopper_id), self._to.partitions)
        return ShopperRef(self._to.tenant, shopper_id, partition)


def _by_link(event: Event, link: Link | None) -> Event:
    if event.user_id is not None or link is None or events.event_time_ms(event) < events.to_ms(link.since):
        return event
    return msgspec.structs.replace(event, user_id=link.user_id, link=link)


def _objects(body: Any) -> Sequence[Any]:
    """The events of a body: an array of them, or one alone (a tuple tells the two apart)."""
    if not isinstance(body, list):
        return (body,)
    if not 1 <= len(body) <= MAX_EVENTS:
        raise BadInput(f"Send 1 to {MAX_EVENTS} events in one call.", code="wrong_number_of_events")
    return body


def _none_good(rejected: Sequence[Rejected], *, single: bool) -> BadInput:
    faults = tuple(Fault(one.path if single else _place(one), one.message) for one in rejected)
    codes = {one.code for one in rejected}
    code = codes.pop() if len(codes) == 1 else "no_valid_event"
    if code in TOKEN_STATUSES:
        return Refusal(TOKEN_STATUSES[code], code, rejected[0].message)
    return Refusal(
        422,
        code,
        "None of the events was taken; errors says why." if not single else faults[0].message,
        faults=faults,
    )


def _place(one: Rejected) -> str:
    return f"[{one.index}].{one.path}" if one.path else f"[{one.index}]"


def _event_id(obj: Any) -> str | None:
    given = obj.get("event_id", obj.get("messageId", obj.get("eventId"))) if isinstance(obj, dict) else None
    return given if isinstance(given, str) and len(given) <= events.MAX_ID else None
