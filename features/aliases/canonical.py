"""Which vocabulary an event is told in, and the event in our names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.aliases.google_retail import GOOGLE_RETAIL, google_retail
from features.aliases.personalize import PERSONALIZE, opened, personalize
from features.aliases.segment import SEGMENT
from features.aliases.snowplow import ENRICHED, SNOWPLOW
from features.aliases.vocabulary import Vocabulary, in_their_words, simple, translated
from infra.errors import BadInput

VOCABULARIES: Final = (SEGMENT, GOOGLE_RETAIL, SNOWPLOW, PERSONALIZE)

_NAMES: Final[Mapping[str, str]] = {
    theirs: ours for vocabulary in VOCABULARIES for theirs, ours in vocabulary.known.items()
}


@dataclass(frozen=True, slots=True)
class Told:
    """An event in our names, and how it was told."""

    fields: Mapping[str, Any]
    obj: Mapping[str, Any]
    vocabulary: Vocabulary | None = None

    def refused(self, error: BadInput) -> BadInput:
        """The error in the words of the sender, who does not know ours."""
        return in_their_words(self.vocabulary, self.obj, error) if self.vocabulary else error


def canonical(obj: Mapping[str, Any]) -> Told:
    """The same event in our names. In our own form, the event's name alone may be another vocabulary's.

    Raises:
        BadInput: it is told in a known form that cannot be one event.
    """
    vocabulary = _vocabulary(obj)
    if vocabulary is None:
        return Told(_named(obj), obj)
    told = opened(obj) if vocabulary.title == PERSONALIZE.title else obj
    return Told(translated(vocabulary, told), told, vocabulary)


def _vocabulary(obj: Mapping[str, Any]) -> Vocabulary | None:
    if any(name in obj for name in ENRICHED):
        return SNOWPLOW
    if "event_name" in obj:
        return None
    if "eventType" in obj or "eventList" in obj:
        return google_retail(obj) or personalize(obj)
    return SEGMENT if "event" in obj or "type" in obj else None


def _named(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    name = obj.get("event_name")
    ours = _NAMES.get(simple(name), name) if isinstance(name, str) else name
    return obj if ours == name else {**obj, "event_name": ours}
