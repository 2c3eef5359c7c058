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


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: `kept_days` of None is a compacted topic."""

    name: str
    kept_days: int | None
    key: str
    holds: str

    def config(self) -> dict[str, str]:
        """Kafka topic configuration."""
        common = {"max.message.bytes": "1048588"}
        if self.kept_days is None:
            return common | {"cleanup.policy": "compact"}
        return common | {"cleanup.policy": "delete", "retention.ms": str(self.kept_days * DAY_MS)}


TOPICS: Final = (
    Topic(EVENTS, 30, "tenant, shopper id", "behaviour of shoppers"),
    Topic(CATALOG, None, "tenant, item id, facet", "items: content, price and stock as whole facets"),
    Topic(DECISIONS, 30, "tenant, shopper id", "what was shown and why"),
    Topic(TRIGGERS, 30, "tenant, shopper id", "one record per message that is due"),
    Topic(DEAD_LETTERS, 90, "source topic, partition", "what could not be processed, with its bytes and reason"),
    Topic(COMMANDS, 365, "command id", "what an operator asked for and what became of it"),
    Topic(SETTINGS, None, "tenant, kind, id", "scenarios, rules, experiments, offers, hashed keys"),
)
