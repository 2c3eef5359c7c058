"""One question about a partition of Kafka: where its next record is. Marks of transactions fill offsets, too."""

import time
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from infra.brokers import Bootstrap
from infra.errors import KafkaAway, Refused
from infra.kafka_admin import fault_of
from infra.kafka_client import Heard, consumer_config

_WITHIN_S: Final = 10.0


class Next(NamedTuple):
    """The offset of a record, or of the partition's end where `there` is false."""

    offset: int
    there: bool


def next_record(
    bootstrap: Bootstrap, topic: str, partition: int, offset: int, *, embedded: bool, within_s: float = _WITHIN_S
) -> Next:
    """The first record at or after `offset`, of those whose transaction is not open any more; blocks.

    Raises:
        KafkaAway: nobody says so within `within_s` seconds.
        Refused, NotFound: the offset is not on the log any more; the topic is gone, or may not be read.
    """
    heard = Heard()
    config = consumer_config(bootstrap, embedded) | {"enable.partition.eof": True, "error_cb": heard}
    consumer = Consumer(config)
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        until = time.monotonic() + within_s
        while (left_s := until - time.monotonic()) > 0:
            message = consumer.poll(left_s)
            if message is None:
                continue
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:
                return Next(int(message.offset() or 0), error is None)
            if error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise Refused(
                    f"{topic} partition {partition}: offset {offset} is not on the log ({error.str()})",
                    code="offset_gone",
                )
            if fault := fault_of(bootstrap, topic, error):
                raise fault
    finally:
        consumer.close()
    said = f": {heard.last.str()}" if heard.last else ""
    raise KafkaAway(f"{topic} partition {partition}: nobody says what lies at offset {offset}{said}")
