"""What is asked of the brokers: topics, their offsets, the identity of a log."""

import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from infra import topics
from infra.errors import KafkaAway, NotFound, Refused

TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.05
_SPECS: Any = OffsetSpec  # its own methods are untyped


def client_config(bootstrap: str) -> dict[str, Any]:
    """What every client of the project sets."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": "daogou",
        "log_level": 0,  # librdkafka writes to stderr by itself; whatever matters comes back as an error
        "socket.timeout.ms": 10_000,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "allow.auto.create.topics": False,
    }


def partition_counts(bootstrap: str, within_s: float = TIMEOUT_S) -> dict[str, int]:
    """Partitions of every topic that the brokers have.

    Raises:
        KafkaAway: no broker answers within `within_s` seconds.
    """
    try:
        listed = AdminClient(client_config(bootstrap)).list_topics(timeout=within_s)
    except KafkaException as error:
        raise _away(bootstrap, error) from None
    return {name: len(topic.partitions) for name, topic in listed.topics.items()}


def check_topics(bootstrap: str, partitions: int, within_s: float = TIMEOUT_S) -> None:
    """Every topic is there with that many partitions.

    Raises:
        NotFound: a topic is missing.
        Refused: a topic has another partition count (`partitions_differ`).
    """
    found = partition_counts(bootstrap, within_s)
    missing = [topic.name for topic in topics.TOPICS if topic.name not in found]
    if missing:
        raise NotFound(f"Kafka at {bootstrap} has no topic {', '.join(missing)}; make them: daogou topics create")
    _check_counts(found, partitions)


def create_topics(bootstrap: str, partitions: int, replication: int, within_s: float = 30.0) -> list[str]:
    """Make the topics that are missing, with their configuration; the names of those made.

    Raises:
        KafkaAway: no broker answers, or too few for the replication.
        Refused: a topic is there with another partition count (`partitions_differ`).
    """
    found = partition_counts(bootstrap, TIMEOUT_S)
    _check_counts(found, partitions)
    new = [
        NewTopic(topic.name, partitions, replication_factor=replication or -1, config=topic.config())
        for topic in topics.TOPICS
        if topic.name not in found
    ]
    if not new:
        return []
    admin = AdminClient(client_config(bootstrap))
    made = []
    for name, future in admin.create_topics(new, operation_timeout=within_s, request_timeout=within_s).items():
        try:
            future.result()
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was first
                raise KafkaAway(f"Kafka at {bootstrap} did not make the topic {name}: {_said(error)}") from None
    _await_topics(bootstrap, within_s)
    return made


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """The offset after the last record, by partition.

    Raises:
        KafkaAway, NotFound: no broker answers; it has no such topic.
    """
    return _offsets(bootstrap, topic, _SPECS.latest())


class EndOffsets:
    """The same for some partitions of one topic, again and again over one connection."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._admin = AdminClient(client_config(bootstrap))

    def of(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last record, by partition; blocks for ten seconds at most.

        Raises:
            KafkaAway, NotFound: no broker answers; it has no such topic.
        """
        return _listed(self._admin, self._bootstrap, self._topic, partitions, _SPECS.latest())


def start_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """The offset of the first record that is kept, by partition.

    Raises:
        KafkaAway, NotFound: no broker answers; it has no such topic.
    """
    return _offsets(bootstrap, topic, _SPECS.earliest())


def log_id(bootstrap: str, topic: str, embedded_log: str) -> str:
    """The identity of the log that offsets of the topic count in: Kafka's topic id, another after every re-creation.

    Raises:
        KafkaAway, NotFound: no broker answers; it has no such topic.
    """
    if embedded_log:
        return f"{embedded_log}:{topic}"
    admin = AdminClient(client_config(bootstrap))
    future = admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)[topic]
    # The client writes it in plain base64; Kafka itself, and file names, want the URL-safe alphabet.
    return str(_result(bootstrap, topic, future).topic_id).replace("+", "-").replace("/", "_")


def _offsets(bootstrap: str, topic: str, spec: Any) -> dict[int, int]:
    admin = AdminClient(client_config(bootstrap))
    try:
        listed = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise _away(bootstrap, error) from None
    if listed.error is not None or not listed.partitions:
        raise _no_topic(bootstrap, topic)
    return _listed(admin, bootstrap, topic, listed.partitions, spec)


def _listed(admin: AdminClient, bootstrap: str, topic: str, partitions: Iterable[int], spec: Any) -> dict[int, int]:
    wanted = {TopicPartition(topic, partition): spec for partition in partitions}
    answers = admin.list_offsets(wanted, request_timeout=TIMEOUT_S)
    return {where.partition: int(_result(bootstrap, topic, f).offset) for where, f in answers.items()}


def _result(bootstrap: str, topic: str, future: Any) -> Any:
    try:
        return future.result()
    except KafkaException as error:
        if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            raise _no_topic(bootstrap, topic) from None
        raise _away(bootstrap, error) from None


def _await_topics(bootstrap: str, within_s: float) -> None:
    """Until the broker that answers knows them all: the controller made them, the others hear of it."""
    until = time.monotonic() + within_s
    while any(topic.name not in partition_counts(bootstrap) for topic in topics.TOPICS):
        if time.monotonic() > until:
            raise KafkaAway(f"Kafka at {bootstrap} has made the topics but does not show them after {within_s:g} s")
        time.sleep(_POLL_S)


def _check_counts(found: dict[str, int], partitions: int) -> None:
    for topic in topics.TOPICS:
        count = found.get(topic.name, partitions)
        if count != partitions:
            raise Refused(
                f"the topic {topic.name} has {count} partitions, the settings say {partitions}; the number is chosen "
                f"once: set DAOGOU_PARTITIONS={count}, or start on new topics",
                code="partitions_differ",
            )


def _away(bootstrap: str, error: KafkaException) -> KafkaAway:
    return KafkaAway(
        f"Kafka at {bootstrap} does not answer ({_said(error)}); start it, or correct DAOGOU_KAFKA (empty: embedded)"
    )


def _no_topic(bootstrap: str, topic: str) -> NotFound:
    return NotFound(f"Kafka at {bootstrap} has no topic {topic}; make it: daogou topics create")


def _said(error: KafkaException) -> str:
    return str(error.args[0].str())
