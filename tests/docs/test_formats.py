"""docs/formats.md against the code: every name that it gives is read, and every name that is read is given."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from features.aliases.canonical import VOCABULARIES
from features.event_rules import NEEDS_ITEMS
from features.events import EVENT_NAMES, parse
from streams.items import SYNONYMS
from streams.mappings.table import MAPPINGS

TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
# In the tables of events the same words are fields of another thing.
CATALOGUE = TEXT.partition("## A catalogue")[2]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def test_the_example_is_an_event() -> None:
    [raw] = re.findall(r"```json\n(.+)\n```", TEXT)
    event = parse(msgspec.json.decode(raw), tenant="t", received_at=datetime(2026, 11, 25, tzinfo=UTC), new_id=str)
    assert (event.event_name, event.event_id, event.source) == ("purchase", "e-1", "site")
    assert (event.value, event.items[0].quantity) == (Decimal("5.38"), 2)
    assert event.context is not None


def test_every_event_and_mapping_is_named() -> None:
    assert set(EVENT_NAMES) <= quoted(TEXT)
    assert all(f"`{name}`" in TEXT or f"`--mapping {name}`" in TEXT for name in MAPPINGS)
    [row] = re.findall(r"^\| `items` \|.*$", TEXT, re.M)
    said = quoted(row.split("|")[2])
    assert said == {name for name in NEEDS_ITEMS if "wishlist" not in name}


def test_the_columns_of_a_catalogue_are_those_that_are_read() -> None:
    rows = [line.split("|")[2] for line in CATALOGUE.splitlines() if line.startswith("| ")][1:]
    told = [tuple(re.findall(r"`([^`]+)`", names)) for names in rows if "`" in names]
    assert sorted(told) == sorted(SYNONYMS.values())


def test_names_of_other_vocabularies_are_known() -> None:
    rows = {line.split("|")[1].strip(): line.split("|")[3] for line in TEXT.splitlines() if line.startswith("| ")}
    for vocabulary in VOCABULARIES:
        assert quoted(rows[vocabulary.title]) <= set(vocabulary.names), vocabulary.title
