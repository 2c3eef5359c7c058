"""Asking for the ends of a log again and again, over brokers that come and go."""

from collections.abc import Iterable
from typing import Any

import pytest

from infra.errors import KafkaAway
from infra.kafka_admin import Admin, EndOffsets


class MovedLeader(Admin):
    """Refuses like brokers whose leaders moved, until it is asked who leads now."""

    def __init__(self) -> None:
        self.knows = True

    def topics(self, within_s: float, topic: str | None = None) -> dict[str, Any]:
        assert within_s > 0
        self.knows = True
        return {topic or "": None}

    def offsets(self, topic: str, partitions: Iterable[int], spec: Any) -> dict[int, int]:
        if not self.knows:
            raise KafkaAway("Kafka does not answer (Broker: Leader epoch is older than broker epoch)")
        return dict.fromkeys(partitions, 7)


def test_who_leads_is_asked_anew_after_a_refusal() -> None:
    admin = MovedLeader()
    ends = EndOffsets("nowhere:1", "shop.events.v1", admin)
    assert ends.of([0, 1]) == {0: 7, 1: 7}
    admin.knows = False
    with pytest.raises(KafkaAway):
        ends.of([0, 1])
    assert ends.of([0, 1]) == {0: 7, 1: 7}
