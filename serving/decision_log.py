"""Decision records: put on `shop.decisions.v1` after the answer, and found again by the id of their list."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import msgspec

from infra import kafka_admin
from infra.errors import KafkaAway, NotFound
from infra.kafka import Outgoing
from infra.kafka_posting import Poster
from infra.keys import record_key
from infra.logs import logger
from infra.metrics import DECISIONS_RECORDED, Metrics
from infra.topics import DECISIONS
from serving.decisions import Decision, Home, decode, encode, home_of
from serving.topic import Topic

_KEPT: Final = 2_000  # of this process, in memory
MAX_KEPT_BYTES: Final = 16_777_216  # callers decide how large their requests are, and a record holds its request
_READ_MOST: Final = 500
_READ_S: Final = 2.0
_LATE_MS: Final = 120_000  # a record lies on the log at most so much later than its list was made
_EARLY_MS: Final = 1_000

_log = logger(__name__)


class DecisionLog:
    """Takes records in and finds them. `lost` of the poster is to be `count_lost`."""

    def __init__(self, poster: Poster, topic: Topic, tenant: str, partitions: int, metrics: Metrics) -> None:
        self._poster = poster
        self._topic = topic
        self._tenant = tenant
        self._partitions = partitions
        self._metrics = metrics
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self.kept_bytes = 0
        self._one_reader = asyncio.Semaphore(1)

    def take(self, decision: Decision) -> bool:
        """Record a decision; whether the buffer took it. Does not wait."""
        raw = encode(decision)
        home = home_of(decision.recommendation_id)
        key = record_key(decision.tenant, decision.shopper_id or "")
        taken = self._poster.post(Outgoing(DECISIONS, home.partition, key, raw))
        self._metrics.count(DECISIONS_RECORDED, outcome="taken" if taken else "refused")
        if taken:
            self._kept[decision.recommendation_id] = raw
            self.kept_bytes += len(raw)
            while len(self._kept) > _KEPT or self.kept_bytes > MAX_KEPT_BYTES:
                self.kept_bytes -= len(self._kept.popitem(last=False)[1])
        return taken

    def forget(self) -> None:
        """Keep none in memory: what is asked for is read from the log."""
        self._kept.clear()
        self.kept_bytes = 0

    async def find(self, recommendation_id: str) -> Decision:
        """The record of a list.

        Raises:
            BadInput: it is no id of a list.
            NotFound: there is no such record any more, or not yet.
            KafkaAway: it is not one of this process' last, and Kafka does not answer.
        """
        home = home_of(recommendation_id)
        raw = self._kept.get(recommendation_id)
        if raw is not None:
            return decode(raw)
        if home.partition < self._partitions:
            async with self._one_reader:
                found = await asyncio.to_thread(self._on_log, recommendation_id, home)
            if found is not None and found.tenant == self._tenant:
                return found
        raise NotFound(
            f"There is no record of {recommendation_id[:64]!r}: it is older than the log keeps, or the list was "
            "answered with recorded: false.",
            path="recommendation_id",
            code="decision_not_found",
        )

    def _on_log(self, recommendation_id: str, home: Home) -> Decision | None:
        """Blocks. Records lie in the order in which they were sent, each within two minutes of its list."""
        for raw in self._records_of(home):
            try:
                found = decode(raw)
            except msgspec.DecodeError:
                _log.warning("a record is no decision", partition=home.partition)
                continue
            if found.recommendation_id == recommendation_id:
                return found
        return None

    def _records_of(self, home: Home) -> Iterator[bytes]:
        start, end = self._span(home)
        if start >= end:
            return
        follower = self._topic.follow({home.partition: start})
        try:
            while True:
                records = follower.read(_READ_MOST, _READ_S)
                if not records:
                    raise KafkaAway(f"Kafka at {self._topic.bootstrap} does not deliver {DECISIONS}; try again")
                for record in records:
                    if record.value is not None:
                        yield record.value
                last = records[-1]
                if last.offset + 1 >= end or last.timestamp_ms > home.at_ms + _LATE_MS:
                    return
        finally:
            follower.close()

    def _span(self, home: Home) -> tuple[int, int]:
        """The offsets between which the record lies, if it is there."""
        if self._topic.embedded:  # it cannot be asked by time, and holds little
            return self._topic.starts()[home.partition], self._topic.ends()[home.partition]
        since = kafka_admin.offsets_at(self._topic.bootstrap, DECISIONS, home.at_ms - _EARLY_MS)
        return since[home.partition], self._topic.ends()[home.partition]


def count_lost(metrics: Metrics) -> None:
    """A record that was taken could not be delivered."""
    metrics.count(DECISIONS_RECORDED, outcome="lost")
