"""`daogou topics list` and `check`: the topics in words."""

from collections.abc import Callable

from infra.clock import DAY_MS
from infra.kafka_admin import check_topics, partition_counts
from infra.settings import Settings
from infra.topic_checks import Difference, Found, differences, look, mend
from infra.topics import IN_STEP, POLICY, RETENTION, STAMPED, TOPICS, Topic

_BY_NAME = {topic.name: topic for topic in TOPICS}


def listed(settings: Settings) -> list[str]:
    """A line for each topic; the embedded broker can only be asked for partitions.

    Raises:
        KafkaAway, Refused.
    """
    if settings.embedded_kafka:
        counts = partition_counts(settings.brokers)
        return [f"{one.name:<22} {counts[one.name]} partitions, in memory: {one.holds}" for one in TOPICS]
    found = {one.name: one for one in look(settings.brokers)}
    return [
        f"{topic.name:<22} {_said(found[topic.name]) if topic.name in found else 'missing'}: {topic.holds}"
        for topic in TOPICS
    ]


def checked(settings: Settings, say: Callable[[str], None], *, fix: bool) -> bool:
    """Whether all is as it is wanted, or was made so; says what differs.

    Raises:
        KafkaAway, Refused; with the embedded broker NotFound, too.
    """
    if settings.embedded_kafka:
        check_topics(settings.brokers, settings.partition_count)
        for line in listed(settings):
            say(f"ok     {line}")
        return True
    before = differing(settings)
    if fix:
        mend(settings.brokers, before)
        for one in before:
            if one.safe:
                say(f"set    {one.topic}: {one.name} {one.found} → {one.wanted}")
        before = differing(settings)
    there = look(settings.brokers)
    missing = sorted(_BY_NAME.keys() - {found.name for found in there})
    for found in there:
        _say_of(found, [one for one in before if one.topic == found.name], say)
    for name in missing:
        say(f"missing {name}: {_BY_NAME[name].holds}; daogou topics create makes it")
    if any(found.replicas == 1 for found in there):
        say("note   there is one copy only: what is on a broker is lost with it (new topics: DAOGOU_REPLICATION=3)")
    return not before and not missing


def differing(settings: Settings) -> list[Difference]:
    """Where the topics that are there are otherwise than wanted.

    Raises:
        KafkaAway, Refused.
    """
    count, replication, there = settings.partition_count, settings.replication, look(settings.brokers)
    return [
        one
        for found in there
        for one in differences(
            found, _topic(found), count, replication, [other.partitions for other in there if other is not found]
        )
    ]


def _say_of(found: Found, differs: list[Difference], say: Callable[[str], None]) -> None:
    if not differs:
        say(f"ok     {found.name:<22} {_said(found)}: {_topic(found).holds}")
    for one in differs:
        how = "; daogou topics check --fix sets it" if one.safe else ""
        say(f"differs {found.name}: {one.name} is {one.found}, wanted {one.wanted}: {one.why}{how}")


def _topic(found: Found) -> Topic:
    return _BY_NAME[found.name]


def _said(found: Found) -> str:
    kept = found.config.get(RETENTION, "")
    days = "for good" if kept == "-1" else f"{int(kept or 0) / DAY_MS:g} d"
    how = "compacted" if found.config.get(POLICY) == "compact" else f"kept {days}"
    stamp = ", stamped by the broker" if found.config.get(STAMPED) == "LogAppendTime" else ""
    copies = f"{found.replicas} {'copy' if found.replicas == 1 else 'copies'}, {found.config.get(IN_STEP)} in step"
    return f"{found.partitions} partitions, {copies}, {how}{stamp}"
