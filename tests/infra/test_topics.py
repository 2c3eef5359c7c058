"""The topics as promised."""

from infra import topics


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
    assert by_name[topics.EVENTS]["cleanup.policy"] == "delete"
    assert by_name[topics.EVENTS]["retention.ms"] == "2592000000"
