"""Items over HTTP: what goes with one, and changes, all through `shop.catalog.v1` as whole facets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from features import catalog
from features.catalog import Content, FacetRecord, Item, Price, Stock
from features.events import MAX_ID
from infra.errors import BadInput, NotFound
from infra.kafka import Outgoing, Producer
from infra.keys import partition_of, record_key
from infra.topics import CATALOG
from serving import tokens
from serving.catalogue import Catalogue, Property
from serving.statistics_reader import ItemKnowledge

MAX_SIMILAR: Final = 100


class ItemBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An item. A facet that is left out stays as it is."""

    content: Content
    price: Price | None = None
    stock: Stock | None = None


class ItemChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New price, new stock, or both; each as a whole."""

    price: Price | None = None
    stock: Stock | None = None


class ItemChanged(msgspec.Struct, frozen=True):
    """The change is on the log; a list asked for with this token as min_token knows of it."""

    item_id: str
    consistency_token: str


class SimilarItem(msgspec.Struct, frozen=True):
    """An item that goes with another."""

    item_id: str
    position: int
    score: float
    properties: msgspec.Raw


class SimilarItems(msgspec.Struct, frozen=True):
    """Items that go with one, best first; none where nothing is known to go with it."""

    item_id: str
    items: list[SimilarItem]
    model_version: str


class SimilarQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many, and which properties of each (names with commas between)."""

    count: Annotated[int, Meta(ge=1, le=MAX_SIMILAR)] = 20
    include_properties: Annotated[tuple[Property, ...], Meta(max_length=20)] = ()


def similar(item_id: str, query: SimilarQuery, catalogue: Catalogue, knowledge: ItemKnowledge) -> SimilarItems:
    """Items that go with one and may be shown.

    Raises:
        NotFound: neither the catalogue nor the model knows it.
    """
    # Some of them may not be shown: twice as many and some more are asked for.
    found = knowledge.similar(item_id, 2 * query.count + 50)
    if not found and catalogue.item(item_id) is None:
        raise NotFound("There is no such item here; /v1/recommendations names some.", path="item_id")
    shown = [(i, score) for i, score in found if i != item_id and catalogue.may_be_shown(i)][: query.count]
    items = [
        SimilarItem(i, position, round(score, 6), catalogue.properties(i, query.include_properties))
        for position, (i, score) in enumerate(shown, 1)
    ]
    return SimilarItems(item_id, items, knowledge.version)


@dataclass(frozen=True, slots=True)
class CatalogueLog:
    """Where changes go: the log's id and its number of partitions."""

    log: str
    partitions: int
    tenant: str


class ItemWriter:
    """Puts changes of items on the log."""

    def __init__(self, to: CatalogueLog, producer: Producer, catalogue: Catalogue) -> None:
        self._to = to
        self._producer = producer
        self._catalogue = catalogue

    async def put(self, item_id: str, body: ItemBody) -> ItemChanged:
        """Add an item, or replace its facets.

        Raises:
            BadInput: does not validate.
            KafkaAway: not acknowledged.
        """
        return await self._send(Item(item_id=item_id, content=body.content, price=body.price, stock=body.stock))

    async def patch(self, item_id: str, change: ItemChange) -> ItemChanged:
        """Change price or stock of an item that is known.

        Raises:
            NotFound: this server does not know the item.
            BadInput: neither is given.
            KafkaAway: not acknowledged.
        """
        if change.price is None and change.stock is None:
            raise BadInput("Give price, stock or both.", path="price", code="missing_field")
        if self._catalogue.item(item_id) is None:
            raise NotFound("There is no such item; PUT it first.")
        return await self._send(Item(item_id=item_id, price=change.price, stock=change.stock))

    async def remove(self, item_id: str) -> ItemChanged:
        """Take an item out of the catalogue: a tombstone for each facet.

        Raises:
            KafkaAway: not acknowledged.
        """
        return await self._written(item_id, [(key, None) for key in catalog.record_keys(self._to.tenant, item_id)])

    async def _send(self, item: Item) -> ItemChanged:
        facets = catalog.facets(item, self._to.tenant)
        return await self._written(item.item_id, [(self._key(facet), catalog.encode_record(facet)) for facet in facets])

    async def _written(self, item_id: str, values: Sequence[tuple[str, bytes | None]]) -> ItemChanged:
        partition = partition_of(record_key(self._to.tenant, item_id), self._to.partitions)
        for key, value in values:
            catalog.decode_record(key.encode(), value)  # what the log's readers would refuse is refused here
        offsets = await self._producer.send_many([Outgoing(CATALOG, partition, k, v) for k, v in values])
        return ItemChanged(item_id, tokens.encode({self._to.log: {partition: max(offsets)}}))

    def _key(self, facet: FacetRecord) -> str:
        return catalog.key_of(facet)


def check_item_id(item_id: str) -> str:
    """An item's id from a path.

    Raises:
        BadInput: out of bounds.
    """
    if not 1 <= len(item_id) <= MAX_ID or not item_id.isprintable():
        raise BadInput(f"An item id has 1 to {MAX_ID} printable characters.", path="item_id", code="wrong_form")
    return item_id
