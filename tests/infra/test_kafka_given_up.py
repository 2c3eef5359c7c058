"""A producer that has given up for good is made anew, and not again and again."""

import ctypes

import pytest
from confluent_kafka import KafkaError

from infra.embedded.kafka_broker import _library
from infra.errors import KafkaAway
from infra.kafka import Outgoing, Producer
from infra.topics import EVENTS

_FORBIDDEN = KafkaError.CLUSTER_AUTHORIZATION_FAILED
_INIT_PRODUCER_ID = 22  # the request by which a producer gets the number that its sequences count under


class Strict:
    """A broker in this process that forbids `times` producers to write for good, as one without the right ACL."""

    def __init__(self, times: int) -> None:
        library, said = _library(), ctypes.create_string_buffer(512)
        refuse = library.rd_kafka_mock_push_request_errors_array
        refuse.argtypes = [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)]
        conf = library.rd_kafka_conf_new()
        for name, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"0")):
            library.rd_kafka_conf_set(conf, name, value, said, 512)
        cluster = library.rd_kafka_handle_mock_cluster(library.rd_kafka_new(0, conf, said, 512))
        assert library.rd_kafka_mock_topic_create(cluster, EVENTS.encode(), 1, 1) == 0
        refuse(cluster, _INIT_PRODUCER_ID, times, (ctypes.c_int * times)(*([_FORBIDDEN] * times)))
        self.bootstrap = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()


def record(value: bytes) -> Outgoing:
    return Outgoing(EVENTS, 0, "default|u-1", value)


async def given_up(times: int, now_s: list[float]) -> Producer:
    """A producer whose first client has given up."""
    producer = Producer(Strict(times).bootstrap, embedded=False, monotonic=lambda: now_s[0])
    await producer.start()
    with pytest.raises(KafkaAway):
        await producer.send(record(b"lost"))
    return producer


async def test_another_client_does_its_work() -> None:
    now_s = [100.0]
    producer = await given_up(1, now_s)
    with pytest.raises(KafkaAway, match=r"has given up .*; another one is made in 5 s"):
        producer.check()
    now_s[0] = 105.0
    producer.check()
    assert await producer.send(record(b"a")) >= 0
    assert await producer.send_many([record(b"b"), record(b"c")])
    producer.close()


async def test_one_that_gives_up_again_is_not_made_anew_at_once() -> None:
    now_s = [100.0]
    producer = await given_up(2, now_s)
    now_s[0] = 105.0
    with pytest.raises(KafkaAway):
        await producer.send(record(b"lost, too"))
    for now_s[0] in (105.0, 109.9):
        with pytest.raises(KafkaAway, match="has given up"):
            await producer.send(record(b"not tried"))
    now_s[0] = 110.0
    assert await producer.send(record(b"a")) >= 0
    producer.close()
