"""The text of an item as text encoder and search read it: by the merchant alone, or enriched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from features.catalog import EnrichedItem, Item
from models.enrichment_reading import Reading, reading_of
from models.enrichment_store import EnrichmentStore, stored
from models.item_features import text_of

_MAX_TEXT: Final = 600
_TOLD: Final = ("type", "material", "pattern", "audience", "use", "style", "feature", "compatible_with")


def texts_of(items: Sequence[Item], folder: Path) -> list[str]:
    """What the text encoder reads of items: enriched where their content is kept in `folder`, else the merchant's."""
    if not stored(folder):
        return [text_of(item) for item in items]
    readings = [reading_of(item) for item in items]
    with EnrichmentStore(folder) as store:
        known = store.of_contents(reading.content_key for reading in readings)
    return [
        enriched_text(reading, known[reading.content_key]) if reading.content_key in known else text_of(item)
        for item, reading in zip(items, readings, strict=True)
    ]


def enriched_text(reading: Reading, enriched: EnrichedItem) -> str:
    """What it is first: encoders read the begin of a text. Without prices, sizes and codes."""
    own = reading.language
    phrase = next((one.text for one in enriched.phrases if one.language == own), "")
    told = [str(one.value) for one in enriched.attributes if one.name in _TOLD]
    described = next((one.text for one in enriched.descriptions if one.language == own), "")
    parts = [phrase, reading.name, reading.brand, *reading.categories[-2:], ", ".join(told), described]
    return ". ".join(dict.fromkeys(part for part in parts if part))[:_MAX_TEXT]
