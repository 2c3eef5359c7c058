"""Producing and following, on the embedded broker."""

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from infra import topics
from infra.errors import KafkaAway, NotFound, Refused, TooLarge
from infra.kafka import Follower, Outgoing, Producer, end_offsets, log_id, start_offsets
from infra.kafka_admin import EndOffsets, check_topics, create_topics, fault_of, partition_counts
from tests.bulk import BulkProducer


def outgoing(partition: int, value: bytes | None, key: str = "default|u-1") -> Outgoing:
    return Outgoing(topics.EVENTS, partition, key, value, headers=(("traceparent", b"00-1"),))


def read_all(follower: Follower, count: int) -> list[tuple[int, int, bytes | None]]:
    """Reads until `count` records are there; a broker that loses one ends in the test's time limit."""
    seen: list[tuple[int, int, bytes | None]] = []
    while len(seen) < count:
        seen += [(r.partition, r.offset, r.value) for r in follower.read(100, 1.0)]
    return seen


async def test_offsets_come_back_in_order_and_a_follower_reads_what_was_sent(kafka: str) -> None:
    before = end_offsets(kafka, topics.EVENTS)
    producer = Producer(kafka, embedded=True)
    await producer.start()
    offsets = await producer.send_many([outgoing(3, b"a"), outgoing(3, b"b"), outgoing(5, None)])
    assert await producer.send_many([]) == []
    last = await producer.send(outgoing(3, b"c"))
    producer.close()
    assert offsets == [before[3], before[3] + 1, before[5]]
    assert last == before[3] + 2

    follower = Follower(kafka, topics.EVENTS, before, embedded=True)
    seen = read_all(follower, 4)
    follower.close()
    assert [s for s in seen if s[0] == 3] == [(3, before[3] + i, v) for i, v in enumerate((b"a", b"b", b"c"))]
    assert [s for s in seen if s[0] == 5] == [(5, before[5], None)]
    after = end_offsets(kafka, topics.EVENTS)
    assert after == before | {3: before[3] + 3, 5: before[5] + 1}
    some = EndOffsets(kafka, topics.EVENTS)
    assert [some.of(partitions) for partitions in ([3, 5], [3], [])] == [{3: after[3], 5: after[5]}, {3: after[3]}, {}]


def test_a_follower_from_the_end_reads_only_what_comes_after(kafka: str) -> None:
    bulk = BulkProducer(kafka, embedded=True)
    bulk.send_all([outgoing(1, b"old")])
    follower = Follower(kafka, topics.EVENTS, "end", embedded=True)
    last = bulk.send_all(outgoing(1, b"new") for _ in range(250))
    seen = read_all(follower, 250)
    assert follower.read(10, 0.0) == []
    follower.close()
    bulk.close()
    assert {value for _, _, value in seen} == {b"new"}
    assert [offset for _, offset, _ in seen] == sorted({offset for _, offset, _ in seen})
    assert last == {(topics.EVENTS, 1): seen[-1][1]}


def test_a_follower_from_the_start_reads_everything(kafka: str) -> None:
    bulk = BulkProducer(kafka, embedded=True)
    bulk.send_all([Outgoing(topics.COMMANDS, 2, "c-1", b"x")])
    follower = Follower(kafka, topics.COMMANDS, "start", embedded=True)
    assert (2, 0, b"x") in read_all(follower, sum(end_offsets(kafka, topics.COMMANDS).values()))
    follower.close()
    bulk.close()


def test_a_follower_beyond_the_end_of_the_log_says_so(kafka: str) -> None:
    end = end_offsets(kafka, topics.SETTINGS)[0]
    follower = Follower(kafka, topics.SETTINGS, {0: end + 100}, embedded=True)
    with pytest.raises(Refused, match=r"shop\.settings\.v1") as caught:
        read_all(follower, 1)
    follower.close()
    assert caught.value.reason == "offset_gone"


async def test_a_record_over_the_bound_is_refused_by_name(kafka: str) -> None:
    producer = Producer(kafka, embedded=True)
    await producer.start()
    with pytest.raises(TooLarge):
        await producer.send(outgoing(0, bytes(2 << 20)))
    producer.close()


async def test_kafka_away_is_said_within_the_bound_and_names_the_address() -> None:
    producer = Producer("127.0.0.1:1", embedded=False, timeout_ms=300)
    await producer.start()
    with pytest.raises(KafkaAway, match=r"127\.0\.0\.1:1"):
        await producer.send(outgoing(0, b"x"))
    producer.close()
    bulk = BulkProducer("127.0.0.1:1", embedded=False, timeout_ms=300)
    with pytest.raises(KafkaAway, match=r"127\.0\.0\.1:1"):
        bulk.send_all([outgoing(0, b"x")])
    bulk.close()
    with pytest.raises(KafkaAway, match=r"127\.0\.0\.1:1"):
        partition_counts("127.0.0.1:1", within_s=0.3)


def test_topics_are_there_with_the_count_asked_for(kafka: str) -> None:
    counts = partition_counts(kafka)
    assert {topic.name: counts[topic.name] for topic in topics.TOPICS} == {t.name: 8 for t in topics.TOPICS}
    assert create_topics(kafka, 8, 0) == []
    check_topics(kafka, 8)


def test_another_partition_count_is_a_clear_error(kafka: str) -> None:
    with pytest.raises(Refused, match=r"has 8 partitions, the settings say 64.*DAOGOU_PARTITIONS=8") as caught:
        create_topics(kafka, 64, 0)
    assert caught.value.reason == "partitions_differ"
    with pytest.raises(Refused):
        check_topics(kafka, 64)


def test_a_topic_that_is_not_there_is_named(kafka: str) -> None:
    with pytest.raises(NotFound, match=r"shop\.nothing\.v1"):
        end_offsets(kafka, "shop.nothing.v1")
    with pytest.raises(NotFound, match=r"shop\.nothing\.v1"):
        start_offsets(kafka, "shop.nothing.v1")


def test_the_log_id_names_the_start_of_the_broker_and_the_topic(kafka: str) -> None:
    assert log_id(kafka, topics.EVENTS, "embedded-1") != log_id(kafka, topics.EVENTS, "embedded-2")
    assert log_id(kafka, topics.EVENTS, "embedded-1") != log_id(kafka, topics.CATALOG, "embedded-1")


def test_a_topic_that_is_gone_is_no_silence(kafka: str) -> None:
    follower = Follower(kafka, "shop.nothing.v1", {0: 0}, embedded=True, quiet_s=0)
    with pytest.raises(NotFound, match=r"no topic shop\.nothing\.v1"):
        read_all(follower, 1)
    follower.close()


def test_a_silent_topic_that_is_there_and_a_broker_that_is_away_are_no_errors(kafka: str) -> None:
    here = Follower(kafka, topics.SETTINGS, "end", embedded=True, quiet_s=0)
    away = Follower("127.0.0.1:1", topics.SETTINGS, {0: 0}, embedded=True, quiet_s=0)
    for follower in (here, away):
        assert follower.read(10, 0.01) == []
        follower.close()


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "not_found"),
        (KafkaError._UNKNOWN_PARTITION, "not_found"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "kafka_forbidden"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "kafka_forbidden"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "kafka_login"),
        (KafkaError._AUTHENTICATION, "kafka_login"),
        (KafkaError._TRANSPORT, None),
        (KafkaError._ALL_BROKERS_DOWN, None),
        (KafkaError.NOT_LEADER_FOR_PARTITION, None),
    ],
)
def test_what_time_does_not_mend_is_an_error(code: int, wanted: str | None) -> None:
    fault = fault_of("k:1", "t", KafkaError(code))
    assert (fault.reason if fault else None) == wanted


def test_a_client_that_has_given_up_is_an_error() -> None:
    fault = fault_of("k:1", "t", KafkaError(KafkaError._FENCED, "fenced", fatal=True))
    assert fault is not None
    assert fault.reason == "kafka_fatal"


def test_a_broker_that_is_away_is_told_while_it_is_still_waited_for() -> None:
    with capture_logs() as said, pytest.raises(KafkaAway):
        partition_counts("127.0.0.1:1", within_s=2.3)
    (line,) = said
    assert (line["event"], line["servers"]) == ("Kafka does not answer yet; still trying", "127.0.0.1:1")
