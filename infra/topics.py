"""The topics: names and configuration, each written once."""

from dataclasses import dataclass
from typing import Final

from infra.clock import DAY_MS

EVENTS: Final = "shop.events.v1"
CATALOG: Final = "shop.catalog.v1"
DECISIONS: Final = "shop.decisions.v1"
TRIGGERS: Final = "shop.triggers.v1"
DEAD_LETTERS: Final = "shop.dead-letters.v1"
COMMANDS: Final = "shop.commands.v1"
SETTINGS: Final = "shop.settings.v1"


POLICY: Final = "cleanup.policy"
RETENTION: Final = "retention.ms"
MAX_BYTES: Final = "max.message.bytes"
STAMPED: Final = "message.timestamp.type"
IN_STEP: Final = "min.insync.replicas"
COMPACTION_LAG: Final = "min.compaction.lag.ms"
_COPIES_FOR_TWO: Final = 3
# So long a compacted topic keeps what was written over. A Redis that comes back from a second ago reads on from there:
# what compaction had taken meanwhile would be a step of an item that nobody is told of.
_KEPT_WHOLE_DAYS: Final = 1


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: `kept_days` of None is a compacted topic.

    `by_broker`: the broker's clock stamps its records, not the producer's. Anybody may produce events, and a record's
    time decides when it is deleted, and when it was received if the event does not say so.
    """

    name: str
    kept_days: int | None
    key: str
    holds: str
    by_broker: bool = False

    def config(self, replication: int = 0) -> dict[str, str]:
        """Kafka topic configuration; with three copies or more, two must have a record before it is acknowledged."""
        found = {MAX_BYTES: "1048588", STAMPED: "LogAppendTime" if self.by_broker else "CreateTime"}
        if replication >= _COPIES_FOR_TWO:
            found[IN_STEP] = "2"
        if self.kept_days is None:
            return found | {POLICY: "compact", COMPACTION_LAG: str(_KEPT_WHOLE_DAYS * DAY_MS)}
        return found | {POLICY: "delete", RETENTION: str(self.kept_days * DAY_MS)}


TOPICS: Final = (
    Topic(EVENTS, 30, "tenant, shopper id", "behaviour of shoppers", by_broker=True),
    Topic(CATALOG, None, "tenant, item id, facet", "items: content, price and stock as whole facets"),
    Topic(DECISIONS, 30, "tenant, shopper id", "what was shown and why"),
    Topic(TRIGGERS, 30, "tenant, shopper id", "one record per message that is due"),
    Topic(DEAD_LETTERS, 90, "source topic, partition", "what could not be processed, with its bytes and reason"),
    Topic(COMMANDS, 365, "command id", "what an operator asked for and what became of it"),
    Topic(SETTINGS, None, "tenant, kind, id", "scenarios, rules, experiments, offers, hashed keys"),
)
