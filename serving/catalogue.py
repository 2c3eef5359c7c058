"""The catalogue in this process: loaded from Redis, then followed on `shop.catalog.v1` from where Redis
stood.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from features import catalog
from features.catalog import FacetRecord, Item
from serving.expressions import item_facts
from serving.ranking import WhyNot

Property = Literal[
    "name",
    "description",
    "category",
    "categories",
    "brand",
    "url",
    "image_url",
    "attributes",
    "price",
    "currency",
    "available",
    "quantity",
]

_encode: Final = msgspec.json.Encoder().encode
_NO_PROPERTIES: Final = msgspec.Raw(b"{}")


class _Entry:
    """An item, and what every page view asks of it, made once."""

    __slots__ = ("_asked", "_facts", "_joined", "_rendered", "category", "item", "name", "shown")

    def __init__(self, item: Item) -> None:
        content = item.content
        self.item = item
        self.shown = item.may_be_shown
        self.name = content.name if content else item.item_id
        self.category = content.category if content else None
        self._rendered: dict[str, bytes] | None = None  # made when the item is first shown
        self._facts: dict[str, Any] | None = None  # made when an expression first reads the item
        self._asked: Sequence[str] = ()
        self._joined = _NO_PROPERTIES

    @property
    def facts(self) -> Mapping[str, Any]:
        """What expressions read of it."""
        if self._facts is None:
            self._facts = item_facts(self.item)
        return self._facts

    def properties(self, names: Sequence[str]) -> msgspec.Raw:
        """A JSON object of those properties that are known; most pages ask for the same ones."""
        if names != self._asked:
            rendered = self._rendered
            if rendered is None:
                rendered = self._rendered = _rendered(self.item)
            wanted = [rendered[name] for name in dict.fromkeys(names) if name in rendered]
            self._asked, self._joined = names, msgspec.Raw(b"{" + b",".join(wanted) + b"}")
        return self._joined


class Catalogue:
    """All items of one tenant; `positions` are the last offsets that they contain, by partition."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._shown: dict[str, None] = {}
        self._by_category: dict[str, dict[str, None]] = {}
        self._changed_at: dict[str, int] = {}  # since they were loaded
        self._loaded_at: dict[int, int] = {}
        self.positions: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def replace_all(self, items: Mapping[str, Item], positions: Mapping[int, int]) -> None:
        """Begin with these items, as of these positions."""
        self._entries.clear()
        self._shown.clear()
        self._by_category.clear()
        for item in items.values():
            self._put(item)
        self._changed_at.clear()
        self._loaded_at = dict(positions)
        self.positions = dict(positions)

    def apply(self, record: FacetRecord, offset: int = -1) -> None:
        """One record of the log."""
        held = self._entries.get(record.item_id)
        item = catalog.apply(held.item if held else None, record)
        if held is not None:
            self._take_out(held, shown_after=item is not None and item.may_be_shown)
        if item is not None:
            self._put(item)
            self._changed_at[record.item_id] = offset
        else:
            self._changed_at.pop(record.item_id, None)

    def version(self, item_id: str, partition: int) -> int:
        """The offset of the last record that this item is made of.

        Of an item that has not changed since it was loaded only the offset that its partition was loaded at is known:
        none of its records is beyond it.
        """
        return self._changed_at.get(item_id, self._loaded_at.get(partition, -1))

    def item(self, item_id: str) -> Item | None:
        """The item as a whole."""
        entry = self._entries.get(item_id)
        return entry.item if entry else None

    def may_be_shown(self, item_id: str) -> bool:
        """Named, not hidden, in stock."""
        entry = self._entries.get(item_id)
        return entry is not None and entry.shown

    def why_not(self, item_id: str) -> WhyNot:
        """Why an item may not be shown."""
        item = self.item(item_id)
        if item is None or item.content is None:
            return "unknown_item"
        return "hidden" if item.content.hidden else "out_of_stock"

    def category(self, item_id: str) -> str | None:
        """The most specific category."""
        entry = self._entries.get(item_id)
        return entry.category if entry else None

    def name(self, item_id: str) -> str:
        """What shoppers call it; the id where nothing is known."""
        entry = self._entries.get(item_id)
        return entry.name if entry else item_id

    @property
    def shown_count(self) -> int:
        """How many items may be shown."""
        return len(self._shown)

    def told_apart(self, item_id: str, other_id: str) -> str:
        """What two items of one name differ in, of the first of them: brand, else an attribute, else the id."""
        one, other = self.item(item_id), self.item(other_id)
        if one is None or other is None or one.content is None or other.content is None:
            return item_id
        if one.content.brand and one.content.brand != other.content.brand:
            return one.content.brand
        theirs = other.content.attributes
        told = (text for key, text in one.content.attributes.items() if text and text != theirs.get(key))
        return next(told, item_id)

    def facts(self, item_id: str) -> Mapping[str, Any]:
        """What expressions read of an item."""
        entry = self._entries.get(item_id)
        return entry.facts if entry else {}

    def in_category(self, category: str) -> Collection[str]:
        """Items of a category that may be shown."""
        return self._by_category.get(category, ())

    def all_items(self) -> Iterable[str]:
        """Every item that may be shown."""
        return self._shown

    def newest_first(self) -> Iterable[str]:
        """The same, those that came last first."""
        return reversed(self._shown)

    def properties(self, item_id: str, names: Sequence[str]) -> msgspec.Raw:
        """Those properties of an item that are known, as JSON."""
        entry = self._entries.get(item_id)
        return entry.properties(names) if entry else _NO_PROPERTIES

    def _put(self, item: Item) -> None:
        entry = _Entry(item)
        self._entries[item.item_id] = entry
        if entry.shown:
            self._shown[item.item_id] = None
            if entry.category is not None:
                self._by_category.setdefault(entry.category, {})[item.item_id] = None

    def _take_out(self, entry: _Entry, *, shown_after: bool) -> None:
        """An item that goes on being shown keeps its place: a new price does not make it a new arrival."""
        item_id = entry.item.item_id
        del self._entries[item_id]
        if not shown_after:
            self._shown.pop(item_id, None)
        if entry.category is not None and entry.category in self._by_category:
            of_category = self._by_category[entry.category]
            of_category.pop(item_id, None)
            if not of_category:
                del self._by_category[entry.category]


def _rendered(item: Item) -> dict[str, bytes]:
    """`"name":value` in JSON, by property."""
    values: dict[str, Any] = {"available": item.stock is None or item.may_be_shown}
    if item.content is not None:
        values |= {name: getattr(item.content, name) for name in msgspec.structs.asdict(item.content)}
    if item.price is not None:
        values |= {"price": item.price.price, "currency": item.price.currency}
    if item.stock is not None:
        values |= {
            "available": item.stock.available and item.stock.quantity != 0,
            "quantity": item.stock.quantity,
        }
    return {
        name: _encode(name) + b":" + _encode(value)
        for name, value in values.items()
        if value is not None and name != "hidden"
    }
