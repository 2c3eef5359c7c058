"""Brokers for tests that need a log of their own."""

from collections.abc import Iterator

import pytest

from infra.embedded.kafka_broker import EmbeddedKafka
from tests.streams.shop import LOG, PARTITIONS


@pytest.fixture
def broker() -> Iterator[str]:
    """The bootstrap address of a broker whose log this test begins."""
    one = EmbeddedKafka(PARTITIONS, log_id=LOG)
    yield one.start()
    one.stop()
