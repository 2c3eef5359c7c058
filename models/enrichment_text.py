"""The text of an item as text encoder and search read it: by the merchant alone, or enriched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from features.catalog import EnrichedItem, Item
from models.enrichment_reading import Reading, reading_of
from models.enrichment_rules import RULE
from models.enrichment_store import EnrichmentStore, stored
from models.item_features import text_of

_MAX_DESCRIPTION: Final = 300
_TOLD: Final = ("type", "material", "use", "style", "feature", "compatible_with")


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
    """What it is first, for encoders read the begin of a text; without prices, sizes and codes."""
    own = reading.language
    phrase = next((one.text for one in enriched.phrases if one.language == own), "")
    told = [str(one.value) for one in enriched.attributes if one.name in _TOLD]
    written = next((one.text for one in enriched.descriptions if one.language == own and one.source != RULE), "")
    # As `text_of` does: behind the comma is the size of a package.
    name = reading.name.split(",")[0]
    parts = [name, f"{reading.brand} {phrase}".strip(), *reading.categories[-2:], ", ".join(told)]
    parts.append((written or reading.description)[:_MAX_DESCRIPTION])
    return ". ".join(dict.fromkeys(part for part in parts if part))
