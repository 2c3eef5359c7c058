"""Other vocabularies: their tables name what we have, and never contradict each other."""

import pytest

from features.aliases.canonical import VOCABULARIES
from features.aliases.vocabulary import Vocabulary
from features.events import EVENT_NAMES, Context, Event, EventItem
from tests.features.told import (
    parsed,
)


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.title)
def test_a_vocabulary_names_only_events_and_fields_that_we_have(vocabulary: Vocabulary) -> None:
    assert set(vocabulary.names.values()) <= set(EVENT_NAMES)
    fields = set(Event.__struct_fields__) | {f"context.{name}" for name in Context.__struct_fields__}
    assert set(vocabulary.fields) <= fields
    assert set(vocabulary.line) <= set(EventItem.__struct_fields__)


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.title)
def test_names_of_two_vocabularies_never_contradict(vocabulary: Vocabulary) -> None:
    for theirs, ours in vocabulary.names.items():
        for other in VOCABULARIES:
            assert other.names.get(theirs, ours) == ours


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_our_own_names_stay_as_they_are_and_a_foreign_one_may_stand_in_their_place(name: str) -> None:
    told = {
        "occurred_at": "2026-05-01T10:00:00Z",
        "user_id": "u",
        "anonymous_id": "a",
        "items": [{"item_id": "x"}],
        "search_term": "tea",
        "rating": 4,
        "consent": {"email": True},
    }
    ours = parsed(told | {"event_name": name})
    assert ours.event_name == name
    for vocabulary in VOCABULARIES:
        for theirs in (theirs for theirs, meant in vocabulary.names.items() if meant == name):
            assert parsed(told | {"event_name": theirs}) == ours
