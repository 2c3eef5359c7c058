"""The topics as promised."""

import pytest

from infra import topics
from infra.errors import Refused
from infra.kafka_admin import _check_counts
from infra.topic_checks import Found, differences

DAY = 86_400_000
BY_NAME = {topic.name: topic for topic in topics.TOPICS}


def test_names_and_retention() -> None:
    assert {topic.name: topic.kept_days for topic in topics.TOPICS} == {
        "shop.events.v1": 30,
        "shop.catalog.v1": None,
        "shop.decisions.v1": 30,
        "shop.triggers.v1": 30,
        "shop.dead-letters.v1": 90,
        "shop.commands.v1": 365,
        "shop.settings.v1": None,
    }


def test_retention_in_kafkas_words() -> None:
    by_name = {topic.name: topic.config() for topic in topics.TOPICS}
    assert by_name[topics.CATALOG]["cleanup.policy"] == "compact"
    assert by_name[topics.CATALOG]["min.compaction.lag.ms"] == str(DAY)
    assert by_name[topics.EVENTS]["cleanup.policy"] == "delete"
    assert by_name[topics.EVENTS]["retention.ms"] == "2592000000"


def test_the_brokers_clock_stamps_what_anybody_may_produce() -> None:
    assert [topic.name for topic in topics.TOPICS if topic.config()["message.timestamp.type"] == "LogAppendTime"] == [
        topics.EVENTS
    ]


def test_of_three_copies_two_are_in_step() -> None:
    assert "min.insync.replicas" not in BY_NAME[topics.EVENTS].config()
    assert BY_NAME[topics.EVENTS].config(3)["min.insync.replicas"] == "2"


def found(name: str = topics.EVENTS, partitions: int = 8, replicas: int = 3, **config: str) -> Found:
    """A topic as it is wanted, but for this configuration (`_` for `.`)."""
    as_wanted = BY_NAME[name].config(replicas)
    return Found(name, partitions, replicas, as_wanted | {key.replace("_", "."): at for key, at in config.items()})


@pytest.mark.parametrize("name", sorted(BY_NAME))
@pytest.mark.parametrize("replicas", [1, 3, 5])
def test_a_topic_as_it_was_made_does_not_differ(name: str, replicas: int) -> None:
    made = found(name, replicas=replicas)
    config = {"min.insync.replicas": "1"} | made.config
    assert differences(Found(name, 8, replicas, config), BY_NAME[name], 8, 0) == []


def why_partitions(others: list[int]) -> str:
    [one] = differences(found(partitions=4), BY_NAME[topics.EVENTS], 8, 3, others)
    return one.why


def test_a_topic_that_alone_has_other_partitions_is_not_made_the_measure_of_all() -> None:
    assert "set DAOGOU_PARTITIONS=4" in why_partitions([4] * 6)
    alone = why_partitions([8] * 6)
    assert alone.startswith("this topic alone differs from the others")
    assert "DAOGOU_PARTITIONS" not in alone
    assert "(4, 8, 16)" in why_partitions([8] * 5 + [16])


def test_who_starts_is_told_of_the_setting_only_where_it_helps() -> None:
    counts = dict.fromkeys(BY_NAME, 8)
    _check_counts(counts, 8)
    with pytest.raises(Refused, match="DAOGOU_PARTITIONS=8"):
        _check_counts(counts, 4)
    with pytest.raises(Refused, match=r"it alone differs: `daogou topics check`") as refused:
        _check_counts(counts | {topics.TRIGGERS: 4}, 8)
    assert "DAOGOU_PARTITIONS" not in refused.value.message


@pytest.mark.parametrize("longer", ["-1", str(31 * DAY)])
def test_kept_longer_or_larger_is_allowed(longer: str) -> None:
    assert differences(found(topics.CATALOG, min_compaction_lag_ms=str(2 * DAY)), BY_NAME[topics.CATALOG], 8, 3) == []
    assert differences(found(retention_ms=longer, max_message_bytes="20000000"), BY_NAME[topics.EVENTS], 8, 3) == []


@pytest.mark.parametrize(
    ("one", "name", "safe"),
    [
        (found(retention_ms=str(29 * DAY)), "retention.ms", True),
        (found(message_timestamp_type="CreateTime"), "message.timestamp.type", True),
        (found(max_message_bytes="1000"), "max.message.bytes", True),
        (found(min_insync_replicas="1"), "min.insync.replicas", True),
        (found(min_insync_replicas="3"), "min.insync.replicas", False),
        (found(replicas=1, min_insync_replicas="2"), "min.insync.replicas", True),
        (found(topics.CATALOG, min_compaction_lag_ms="0"), "min.compaction.lag.ms", True),
        (found(cleanup_policy="compact"), "cleanup.policy", False),
        (found(topics.CATALOG, cleanup_policy="delete"), "cleanup.policy", False),
        (found(partitions=9), "partitions", False),
        (found(replicas=5), "replication", False),
    ],
)
def test_what_differs_is_named_and_only_set_where_nothing_is_lost(one: Found, name: str, safe: bool) -> None:
    wanted_copies = 3 if name == "replication" else 0
    [difference] = differences(one, BY_NAME[one.name], 8, wanted_copies)
    assert (difference.name, difference.safe) == (name, safe)
    assert difference.why
