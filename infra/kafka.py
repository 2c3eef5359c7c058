"""Kafka on confluent-kafka: producing with an acknowledgement, following partitions, bulk loads.

Partitions are always named by the caller (`infra.keys.partition_of`), so whoever reads the log and whoever writes it
agree on the shard. Topics are made and asked about in `infra.kafka_admin`.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.acknowledgements import Acknowledgements
from infra.brokers import Bootstrap
from infra.errors import BadInput, KafkaAway, Refused, TooLarge
from infra.kafka_admin import create_topics, end_offsets, fault_of, log_id, start_offsets
from infra.kafka_client import Heard, consumer_config, producer_config
from infra.kafka_sending import Outgoing, Sending
from infra.logs import logger

__all__ = [
    "Follower",
    "Outgoing",
    "Producer",
    "Record",
    "create_topics",
    "end_offsets",
    "log_id",
    "producer_config",
    "start_offsets",
]

_log = logger(__name__)

_LINGER_MS: Final = 5
_MADE_ANEW_S: Final = 5.0
_QUIET_S: Final = 10.0
_ASK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic, as it lies on the log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def timestamp(self) -> int:
        """`timestamp_ms`, as other Kafka clients call it."""
        return self.timestamp_ms


class Producer:
    """Writes from asyncio and returns when Kafka has acknowledged with acks=all.

    A record that fails may still have reached the log (the acknowledgement was lost): its id makes the repeat harmless.
    A client that has given up for good is replaced by another one, not more often than every five seconds.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        *,
        embedded: bool,
        timeout_ms: int = 5000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bootstrap = bootstrap
        self._timeout_s = timeout_ms / 1000
        self._config = producer_config(bootstrap, embedded, timeout_ms, _LINGER_MS)
        self._monotonic = monotonic
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()  # whoever asks whether it may succeed need not be on the loop
        self._sending = Sending(self._config, self._timeout_s)
        self._made_s = monotonic()

    async def start(self) -> None:
        """Begin to serve acknowledgements; a broker that is away shows at the first send, not here."""
        self._loop = asyncio.get_running_loop()
        self._sending.start()

    async def send(self, record: Outgoing) -> int:
        """Write one record; its offset.

        Raises:
            KafkaAway: not acknowledged in time, or too much is waiting already.
            TooLarge: over the topic's bound.
        """
        return (await self.send_many((record,)))[0]

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        """Write several; their offsets, in order, when the last is acknowledged.

        Raises:
            KafkaAway, TooLarge: as `send`; some of them may be on the log.
        """
        if not records:
            return []
        assert self._loop is not None, "start() comes first"
        self.check()
        sending, answers = self._sending, Acknowledgements(len(records), self._loop)
        for index, record in enumerate(records):
            try:
                sending.produce(record, answers.callback(index))
            except (BufferError, KafkaException) as error:
                answers.refuse(error)
        await answers.done
        if answers.failed is not None:
            raise _told(answers.failed, self._bootstrap, sending.heard.last)
        sending.heard.forget()
        return answers.offsets

    def check(self) -> None:
        """Whether it may still succeed; a client that has given up is replaced.

        Raises:
            KafkaAway: it has given up again, too soon for yet another one.
        """
        with self._lock:
            why = self._sending.given_up
            if why is None:
                return
            wait_s = self._made_s + _MADE_ANEW_S - self._monotonic()
            if wait_s > 0:
                raise KafkaAway(
                    f"the client that writes to Kafka at {self._bootstrap} has given up ({why.str()}); another one is "
                    f"made in {wait_s:.0f} s; if it gives up, too, see what the brokers' logs say"
                )
            _log.error("the client that writes to Kafka has given up and is made anew", why=why.str())
            self._sending.retire()
            self._sending, self._made_s = Sending(self._config, self._timeout_s), self._monotonic()
            if self._loop is not None:
                self._sending.start()

    def close(self) -> None:
        """Send what waits, at most as long as one send may take, and end."""
        self._sending.close()


class Follower:
    """Reads partitions from given positions on, without a group. `read` blocks: call it in a thread."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        topic: str,
        positions: Mapping[int, int] | Literal["start", "end"],
        *,
        embedded: bool,
        quiet_s: float = _QUIET_S,
    ) -> None:
        """`positions`: the next offset to read, by partition; `quiet_s`: seconds without a record after which the
        brokers are asked whether the topic is still there.

        Raises:
            KafkaAway, NotFound: for `start` and `end`, which ask the broker.
        """
        if positions == "end":
            positions = end_offsets(bootstrap, topic)
        elif positions == "start":
            positions = start_offsets(bootstrap, topic)
        assert not isinstance(positions, str)
        self._bootstrap = bootstrap
        self._topic = topic
        self._quiet_s = quiet_s
        self._heard_at = time.monotonic()
        self._heard = Heard()
        self._consumer = Consumer(consumer_config(bootstrap, embedded) | {"error_cb": self._heard})
        self._consumer.assign([TopicPartition(topic, p, offset) for p, offset in sorted(positions.items())])

    def read(self, max_records: int, within_s: float) -> list[Record]:
        """Up to `max_records`, in order within each partition, waiting `within_s` at most (a second more when the
        topic has been silent for long). A broker that is away gives none, and reading goes on by itself when it is
        back.

        Raises:
            Refused: a position is not on the log any more (`offset_gone`), this user may not read the topic
                (`kafka_forbidden`), is turned away (`kafka_login`), or the client has given up (`kafka_fatal`).
            NotFound: the topic is gone.
        """
        until = time.monotonic() + within_s
        try:
            taken = self._consumer.consume(max_records, timeout=0)
            if not taken and within_s > 0:
                first = self._consumer.poll(max(0.0, until - time.monotonic()))
                taken = [] if first is None else [first]
                if taken and max_records > 1:
                    taken += self._consumer.consume(max_records - 1, timeout=0)
        except KafkaException as error:
            raise fault_of(self._bootstrap, self._topic, error.args[0]) or _told(error, self._bootstrap, None) from None
        records = [record for record in map(self._record, taken) if record is not None]
        if records:
            self._heard_at = time.monotonic()
        else:
            self._look_if_silent()
        return records

    def close(self) -> None:
        """End; positions are the caller's."""
        self._consumer.close()

    def _record(self, message: Message) -> Record | None:
        """The record of a message; None for news of the client about something that mends itself."""
        error = message.error()
        if error is None:
            return Record(
                topic=self._topic,
                partition=int(message.partition() or 0),
                offset=int(message.offset() or 0),
                key=_bytes(message.key()),
                value=_bytes(message.value()),
                timestamp_ms=message.timestamp()[1],
                headers=_headers(message),
            )
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Refused(
                f"{self._topic} partition {message.partition()}: the position to read on from is not on the log "
                f"any more ({error.str()}); begin anew from its start",
                code="offset_gone",
            )
        self._check(error)
        return None

    def _look_if_silent(self) -> None:
        """A topic that is deleted, or may not be read any more, is mere silence to the client: it has to be asked."""
        if time.monotonic() - self._heard_at < self._quiet_s:
            return
        self._heard_at = time.monotonic()
        try:
            found = self._consumer.list_topics(self._topic, timeout=_ASK_S).topics[self._topic]
        except KafkaException:  # away: reading goes on when it is back, unless the brokers turn this client away
            if self._heard.last is not None:
                self._check(self._heard.last)
            return
        self._heard.forget()
        if found.error is not None:
            self._check(found.error)

    def _check(self, error: KafkaError) -> None:
        fault = fault_of(self._bootstrap, self._topic, error)
        if fault is not None:
            raise fault


def _told(error: Exception | KafkaError, bootstrap: Bootstrap, heard: KafkaError | None) -> KafkaAway | BadInput:
    cause = error.args[0] if isinstance(error, KafkaException) else error
    if isinstance(cause, BufferError):
        return KafkaAway(f"too many records wait for Kafka at {bootstrap}; try again in a moment")
    if isinstance(cause, KafkaError) and cause.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return TooLarge("a record is larger than its topic allows (1 MiB)")
    said = cause.str() if isinstance(cause, KafkaError) else str(cause)
    if heard is not None:  # a client that is turned away says of a record only that its time is over
        said = f"{said}: {heard.str()}"
    return KafkaAway(f"Kafka at {bootstrap} did not acknowledge ({said}); start it, or correct DAOGOU_KAFKA")


def _headers(message: Message) -> tuple[tuple[str, bytes], ...]:
    found: Any = message.headers()  # as a list of pairs; the type says more
    return tuple((name, _bytes(value) or b"") for name, value in found or ())


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw
