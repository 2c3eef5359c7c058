"""The topics as the brokers have them against how they are wanted: what differs, what it means, what may be changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from infra.brokers import Bootstrap
from infra.kafka_admin import TIMEOUT_S, Admin
from infra.topics import COMPACTION_LAG, IN_STEP, MAX_BYTES, POLICY, RETENTION, STAMPED, TOPICS, Topic

_FOR_GOOD: Final = -1
_WRITES_STOP: Final = "with one broker away nothing can be written any more"


@dataclass(frozen=True, slots=True)
class Found:
    """One topic as the brokers have it."""

    name: str
    partitions: int
    replicas: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is otherwise than wanted; `safe`: setting it loses nothing and stops nobody."""

    topic: str
    name: str
    found: str
    wanted: str
    why: str
    safe: bool = False


def look(bootstrap: Bootstrap) -> list[Found]:
    """Those of our topics that are there.

    Raises:
        KafkaAway, Refused: no broker answers, or they do not let this user look.
    """
    admin = Admin(bootstrap)
    names = [topic.name for topic in TOPICS if topic.name in admin.topics(TIMEOUT_S)]
    if not names:
        return []
    described: dict[str, Any] = admin.client.describe_topics(TopicCollection(names), request_timeout=TIMEOUT_S)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    configs: dict[Any, Any] = admin.client.describe_configs(resources, request_timeout=TIMEOUT_S)
    found = []
    for resource, future in configs.items():
        config = {key: str(entry.value) for key, entry in admin.result(resource.name, future).items()}
        partitions = admin.result(resource.name, described[resource.name]).partitions
        found.append(Found(resource.name, len(partitions), min(len(p.replicas) for p in partitions), config))
    return sorted(found, key=lambda one: names.index(one.name))


def differences(
    found: Found, topic: Topic, partitions: int, replication: int, others: Sequence[int] = ()
) -> list[Difference]:
    """Where a topic is otherwise than the settings and `infra.topics` want it; `replication` 0: as it is. `others` are
    the partition counts of the other topics.
    """
    differs = [*_shape(found, partitions, replication, others), *_kept(found, topic), *_in_step(found)]
    for name in (MAX_BYTES, STAMPED):
        is_, wanted = found.config.get(name, ""), topic.config()[name]
        if name == MAX_BYTES and is_.isdigit() and int(is_) >= int(wanted):
            continue
        if is_ != wanted:
            differs.append(Difference(found.name, name, is_, wanted, _WHY[name], safe=True))
    return differs


def mend(bootstrap: Bootstrap, wanted: Sequence[Difference]) -> None:
    """Set what is safe to set.

    Raises:
        KafkaAway, Refused: no broker answers, or they do not let this user change it.
    """
    admin = Admin(bootstrap)
    by_topic: dict[str, list[ConfigEntry]] = {}
    for one in (each for each in wanted if each.safe):
        entry = ConfigEntry(one.name, one.wanted, incremental_operation=AlterConfigOpType.SET)
        by_topic.setdefault(one.topic, []).append(entry)
    resources = [
        ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries) for name, entries in by_topic.items()
    ]
    if not resources:
        return
    answers: dict[Any, Any] = admin.client.incremental_alter_configs(resources, request_timeout=TIMEOUT_S)
    for resource, future in answers.items():
        admin.result(resource.name, future)


def partitions_advice(count: int, wanted: int, others: Sequence[int]) -> str:
    """What to do about a topic of `count` partitions where `wanted` are set and the other topics have these."""
    if all(other == count for other in others):
        said = "the number is chosen once, for keys are spread by it"
        return f"{said}: set DAOGOU_PARTITIONS={count}, or start on new topics"
    if all(other == wanted for other in others):
        return (
            "this topic alone differs from the others: stop the workers, delete it with Kafka's own kafka-topics (what "
            "is on it goes, too), and let `daogou topics create` make it anew"
        )
    return (
        f"the topics differ among themselves, too ({', '.join(map(str, sorted({count, *others})))}): no setting fits "
        "all; delete those that are wrong with Kafka's own kafka-topics, and let `daogou topics create` make them anew"
    )


_WHY: Final = {
    MAX_BYTES: "records as large as this version writes them would be refused",
    STAMPED: (
        "a producer whose clock is wrong decides when its records are deleted, and when they count as received if "
        "it does not say so itself"
    ),
}


def _shape(found: Found, partitions: int, replication: int, others: Sequence[int]) -> list[Difference]:
    differs = []
    if found.partitions != partitions:
        why = partitions_advice(found.partitions, partitions, others)
        differs.append(Difference(found.name, "partitions", str(found.partitions), str(partitions), why))
    if replication and found.replicas != replication:
        why = "Kafka's own kafka-reassign-partitions changes it, while all goes on"
        differs.append(Difference(found.name, "replication", str(found.replicas), str(replication), why))
    return differs


def _kept(found: Found, topic: Topic) -> list[Difference]:
    wanted = topic.config()
    policy = found.config.get(POLICY, "")
    if policy != wanted[POLICY]:
        why = (
            "changing it deletes what the other policy keeps: look what is on the topic, then set it by kafka-configs"
            if wanted[POLICY] == "delete"
            else "old items and settings are deleted with time: set it by kafka-configs, and load the catalogue again"
        )
        return [Difference(found.name, POLICY, policy, wanted[POLICY], why)]
    if topic.kept_days is None:
        return _kept_whole(found, wanted[COMPACTION_LAG])
    kept, least = int(found.config.get(RETENTION, "0")), int(wanted[RETENTION])
    if _FOR_GOOD < kept < least:
        why = "workers that stand still, or replays, may find records gone; longer is always allowed"
        return [Difference(found.name, RETENTION, str(kept), str(least), why, safe=True)]
    return []


def _kept_whole(found: Found, least: str) -> list[Difference]:
    """What was written over stays a while: whoever reads again from a moment ago reads each step."""
    kept = int(found.config.get(COMPACTION_LAG, "0"))
    if kept >= int(least):
        return []
    why = "a step of an item is told to nobody where Redis comes back from the past and compaction was quicker"
    return [Difference(found.name, COMPACTION_LAG, str(kept), least, why, safe=True)]


def _in_step(found: Found) -> list[Difference]:
    """Of three copies two must have a record before it is acknowledged, and one may be away."""
    is_, wanted = int(found.config.get(IN_STEP, "1")), 2 if found.replicas >= 3 else 1
    if is_ < wanted:
        why = "an acknowledged record may be on one broker only, and be lost with it"
        return [Difference(found.name, IN_STEP, str(is_), str(wanted), why, safe=True)]
    if is_ >= found.replicas > 1:
        return [Difference(found.name, IN_STEP, str(is_), str(found.replicas - 1), _WRITES_STOP)]
    if is_ > found.replicas:
        why = "more copies are wanted than there are: nothing can be written"
        return [Difference(found.name, IN_STEP, str(is_), str(found.replicas), why, safe=True)]
    return []
