"""Changes of items over HTTP, all through `shop.catalog.v1` as whole facets."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from features import catalog
from features.catalog import Content, FacetRecord, Item, Price, Stock
from infra.errors import BadInput, NotFound
from infra.kafka import Outgoing, Producer
from infra.keys import partition_of, record_key
from infra.topics import CATALOG
from serving import tokens
from serving.catalogue import Catalogue


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
