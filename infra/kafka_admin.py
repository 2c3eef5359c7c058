"""What is asked of the brokers: topics, their offsets, the identity of a log."""

import time
from collections.abc import Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from infra import topics
from infra.brokers import Bootstrap
from infra.errors import DaogouError, KafkaAway, NotFound, Refused
from infra.kafka_client import Heard, client_config
from infra.logs import logger

TIMEOUT_S: Final = 10.0
_TOLD_AFTER_S: Final = 2.0
_POLL_S: Final = 0.05
_SPECS: Any = OffsetSpec  # its own methods are untyped
_UNKNOWN: Final = frozenset(
    (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    )
)
_FORBIDDEN: Final = frozenset(
    (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    )
)
_TURNED_AWAY: Final = frozenset((KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL))

_log = logger(__name__)


def partition_counts(bootstrap: Bootstrap, within_s: float = TIMEOUT_S) -> dict[str, int]:
    """Partitions of every topic that the brokers have.

    Raises:
        KafkaAway: no broker answers within `within_s` seconds.
        Refused: they turn this user away (`kafka_login`).
    """
    return {name: len(topic.partitions) for name, topic in Admin(bootstrap).topics(within_s).items()}


def check_topics(bootstrap: Bootstrap, partitions: int, within_s: float = TIMEOUT_S) -> None:
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


def create_topics(bootstrap: Bootstrap, partitions: int, replication: int, within_s: float = 30.0) -> list[str]:
    """Make the topics that are missing, with their configuration; the names of those made.

    Raises:
        KafkaAway: no broker answers, or too few for the replication.
        Refused: a topic is there with another partition count (`partitions_differ`).
    """
    found = partition_counts(bootstrap, TIMEOUT_S)
    _check_counts(found, partitions)
    new = [
        NewTopic(topic.name, partitions, replication_factor=replication or -1, config=topic.config(replication))
        for topic in topics.TOPICS
        if topic.name not in found
    ]
    if not new:
        return []
    admin = Admin(bootstrap)
    made = []
    for name, future in admin.client.create_topics(new, operation_timeout=within_s, request_timeout=within_s).items():
        try:
            future.result()
            made.append(name)
        except KafkaException as error:
            code = error.args[0].code()
            if code in _FORBIDDEN:
                raise _forbidden(bootstrap, name) from None
            if code != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was first
                raise KafkaAway(f"Kafka at {bootstrap} did not make the topic {name}: {_said(error)}") from None
    _await_topics(bootstrap, within_s)
    return made


def end_offsets(bootstrap: Bootstrap, topic: str) -> dict[int, int]:
    """The offset after the last record, by partition.

    Raises:
        KafkaAway, NotFound: no broker answers; it has no such topic.
    """
    return _offsets(bootstrap, topic, _SPECS.latest())


class EndOffsets:
    """The same for some partitions of one topic, again and again over one connection."""

    def __init__(self, bootstrap: Bootstrap, topic: str, admin: "Admin | None" = None) -> None:
        self._topic = topic
        self._admin = admin or Admin(bootstrap)
        self._answered = True

    def of(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last record, by partition; blocks for twelve seconds at most.

        Raises:
            KafkaAway, NotFound: no broker answers; it has no such topic.
        """
        if not self._answered:
            # The client does not ask by itself who leads now: after brokers changed it would be refused for minutes.
            self._admin.topics(_TOLD_AFTER_S, self._topic)
        self._answered = False
        found = self._admin.offsets(self._topic, partitions, _SPECS.latest())
        self._answered = True
        return found


def start_offsets(bootstrap: Bootstrap, topic: str) -> dict[int, int]:
    """The offset of the first record that is kept, by partition.

    Raises:
        KafkaAway, NotFound: no broker answers; it has no such topic.
    """
    return _offsets(bootstrap, topic, _SPECS.earliest())


def offsets_at(bootstrap: Bootstrap, topic: str, at_ms: int) -> dict[int, int]:
    """The offset of the first record at or after a time (ms), by partition; the end where there is none.

    Raises:
        KafkaAway, NotFound: no broker answers; it has no such topic.
    """
    found, ends = _offsets(bootstrap, topic, _SPECS.for_timestamp(at_ms)), end_offsets(bootstrap, topic)
    return {partition: end if found[partition] < 0 else found[partition] for partition, end in ends.items()}


def log_id(bootstrap: Bootstrap, topic: str, embedded_log: str) -> str:
    """The identity of the log that offsets of the topic count in: Kafka's topic id, another after every re-creation.

    Raises:
        KafkaAway, NotFound: no broker answers; it has no such topic.
    """
    if embedded_log:
        return f"{embedded_log}:{topic}"
    admin = Admin(bootstrap)
    future = admin.client.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)[topic]
    # The client writes it in plain base64; Kafka itself, and file names, want the URL-safe alphabet.
    return str(admin.result(topic, future).topic_id).replace("+", "-").replace("/", "_")


def fault_of(bootstrap: Bootstrap, topic: str, error: KafkaError) -> DaogouError | None:
    """What an error of a client means if time alone does not mend it; None if it does."""
    if error.code() in _UNKNOWN:
        return _no_topic(bootstrap, topic)
    if error.code() in _FORBIDDEN:
        return _forbidden(bootstrap, topic)
    if error.code() in _TURNED_AWAY:
        return Refused(
            f"Kafka at {bootstrap} turns this client away ({error.str()}); correct DAOGOU_KAFKA_SECURITY, "
            "DAOGOU_KAFKA_USERNAME, DAOGOU_KAFKA_PASSWORD or DAOGOU_KAFKA_CA_FILE",
            code="kafka_login",
        )
    if error.fatal():
        return Refused(f"the client of Kafka at {bootstrap} has given up ({error.str()})", code="kafka_fatal")
    return None


class Admin:
    """One client for questions, with what it said about being turned away."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._heard = Heard()
        self.client = AdminClient(client_config(bootstrap, self._heard))

    def topics(self, within_s: float, topic: str | None = None) -> dict[str, Any]:
        """What the brokers have, or what they say of one topic. A wait of some seconds is told while it lasts."""
        first_s = min(within_s, _TOLD_AFTER_S)
        began = time.monotonic()
        try:
            return self._listed(topic, first_s)
        except KafkaException as error:
            turned_away = self._turned_away(topic or "")
            if turned_away is not None:
                raise turned_away from None
            left_s = within_s - first_s
            if not left_s or time.monotonic() - began < first_s:  # the client itself sees no use in waiting
                raise _away(self._bootstrap, error) from None
        _log.warning("Kafka does not answer yet; still trying", servers=str(self._bootstrap), seconds_left=left_s)
        try:
            return self._listed(topic, left_s)
        except KafkaException as error:
            raise self._turned_away(topic or "") or _away(self._bootstrap, error) from None

    def offsets(self, topic: str, partitions: Iterable[int], spec: Any) -> dict[int, int]:
        """One offset of each partition of a topic."""
        wanted = {TopicPartition(topic, partition): spec for partition in partitions}
        answers = self.client.list_offsets(wanted, request_timeout=TIMEOUT_S)
        return {where.partition: int(self.result(topic, f).offset) for where, f in answers.items()}

    def result(self, topic: str, future: Any) -> Any:
        """What a question about a topic was answered."""
        try:
            return future.result()
        except KafkaException as error:
            fault = fault_of(self._bootstrap, topic, error.args[0]) or self._turned_away(topic)
            raise fault or _away(self._bootstrap, error) from None

    def _listed(self, topic: str | None, within_s: float) -> dict[str, Any]:
        asked = {} if topic is None else {"topic": topic}
        return dict(self.client.list_topics(timeout=within_s, **asked).topics)

    def _turned_away(self, topic: str) -> DaogouError | None:
        try:
            self.client.poll(0)  # what the client has to say is handed over here
        except KafkaException as error:
            self._heard(error.args[0])
        return None if self._heard.last is None else fault_of(self._bootstrap, topic, self._heard.last)


def _offsets(bootstrap: Bootstrap, topic: str, spec: Any) -> dict[int, int]:
    admin = Admin(bootstrap)
    listed = admin.topics(TIMEOUT_S, topic)[topic]
    if listed.error is not None:
        raise fault_of(bootstrap, topic, listed.error) or _no_topic(bootstrap, topic)
    if not listed.partitions:
        raise _no_topic(bootstrap, topic)
    return admin.offsets(topic, listed.partitions, spec)


def _await_topics(bootstrap: Bootstrap, within_s: float) -> None:
    """Until the broker that answers knows them all: the controller made them, the others hear of it."""
    until = time.monotonic() + within_s
    while any(topic.name not in partition_counts(bootstrap) for topic in topics.TOPICS):
        if time.monotonic() > until:
            raise KafkaAway(f"Kafka at {bootstrap} has made the topics but does not show them after {within_s:g} s")
        time.sleep(_POLL_S)


def _check_counts(found: dict[str, int], partitions: int) -> None:
    counts = {topic.name: found[topic.name] for topic in topics.TOPICS if topic.name in found}
    wrong = {name: count for name, count in counts.items() if count != partitions}
    if not wrong:
        return
    name, count = next(iter(wrong.items()))
    if len(set(counts.values())) == 1:
        advice = f"the number is chosen once: set DAOGOU_PARTITIONS={count}, or start on new topics"
    else:
        others = f", and {len(wrong) - 1} more topics differ" if len(wrong) > 1 else ", and it alone differs"
        advice = f"other topics have another number{others}: `daogou topics check` says what to do about each"
    raise Refused(
        f"the topic {name} has {count} partitions, the settings say {partitions}; {advice}", code="partitions_differ"
    )


def _away(bootstrap: Bootstrap, error: KafkaException) -> KafkaAway:
    return KafkaAway(
        f"Kafka at {bootstrap} does not answer ({_said(error)}); start it, or correct DAOGOU_KAFKA (empty: embedded)"
    )


def _no_topic(bootstrap: Bootstrap, topic: str) -> NotFound:
    return NotFound(f"Kafka at {bootstrap} has no topic {topic}; make it: daogou topics create")


def _forbidden(bootstrap: Bootstrap, topic: str) -> Refused:
    return Refused(
        f"Kafka at {bootstrap} does not let this user at the topic {topic}; have its access lists allow it, or correct "
        "DAOGOU_KAFKA_USERNAME",
        code="kafka_forbidden",
    )


def _said(error: KafkaException) -> str:
    return str(error.args[0].str())
