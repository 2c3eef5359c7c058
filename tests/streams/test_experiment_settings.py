"""An experiment as it was set last, from the log of settings."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra import setting_records
from infra.errors import Refused
from infra.kafka import Outgoing
from infra.keys import partition_of, record_key
from infra.settings import Settings
from infra.topics import SETTINGS
from streams.experiment_settings import experiment
from tests.bulk import BulkProducer
from tests.streams.shop import LOG, PARTITIONS

KEY = record_key("default", "experiment", "e")
AT = datetime(2026, 11, 1, tzinfo=UTC)


def stored(weight: int) -> bytes:
    value = b'{"scenario":"home","variations":[{"id":"b"},{"id":"a","weight":%d}]}' % weight
    return setting_records.encode(value, AT, "me")


def test_the_last_one_holds_and_what_is_removed_is_gone(broker: str, tmp_path: Path) -> None:
    settings = Settings(kafka=broker, redis=SecretStr("redis://127.0.0.1:1/0"), embedded_log=LOG, data_dir=tmp_path)

    def put(value: bytes | None) -> None:
        bulk = BulkProducer(broker, embedded=True)
        bulk.send_all([Outgoing(SETTINGS, partition_of(KEY, PARTITIONS), KEY, value)])
        bulk.close()

    assert experiment(settings, "e") is None
    put(stored(3))
    put(stored(4))
    found = experiment(settings, "e")
    assert found is not None
    assert (list(found.weights.items()), found.version) == ([("b", 1.0), ("a", 4.0)], 3)
    assert experiment(settings, "f") is None
    put(b"{}")
    with pytest.raises(Refused) as refused:
        experiment(settings, "e")
    assert refused.value.reason == "setting_unreadable"
    put(None)
    assert experiment(settings, "e") is None
