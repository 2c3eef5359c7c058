"""Changes of items over HTTP, all through `shop.catalog.v1` as whole facets."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from features import catalog
from features.catalog import Content, FacetRecord, Item, Price, Stock
from infra.errors import BadInput, Conflict, NotFound
from infra.kafka import Outgoing, Producer
from infra.keys import partition_of, record_key
from infra.topics import CATALOG
from serving import tokens
from serving.catalogue import Catalogue
from serving.unheard import Unheard

Version = Annotated[int, Meta(ge=-1, le=2**63 - 1)]

_WAIT_S: Final = 2.0
_POLL_S: Final = 0.005


class ItemBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An item. A facet that is left out stays as it is."""

    content: Content
    price: Price | None = None
    stock: Stock | None = None


class ContentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be different in an item's content. Lists and attributes are replaced as a whole."""

    name: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    category: str | UnsetType | None = UNSET
    categories: tuple[str, ...] | UnsetType = UNSET
    brand: str | UnsetType | None = UNSET
    url: str | UnsetType | None = UNSET
    image_url: str | UnsetType | None = UNSET
    attributes: dict[str, str] | UnsetType = UNSET
    hidden: bool | UnsetType = UNSET


class ItemChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of the content, a new price, a new stock; price and stock each as a whole.

    With the `version` that an answer about the item gave, the change is refused if the item has changed since.
    """

    content: ContentChange | None = None
    price: Price | None = None
    stock: Stock | None = None
    version: Version | None = None


class ItemChanged(msgspec.Struct, frozen=True):
    """The change is on the log; a list asked for with this token as min_token knows of it.

    `version` is where: the item's place on the catalogue's log, for a change that must follow this one.
    """

    item_id: str
    consistency_token: str
    version: int


class ItemKnown(msgspec.Struct, frozen=True, omit_defaults=True):
    """An item as this server knows it, and the version that a change of it may name."""

    item_id: str
    version: int
    content: Content | None = None
    price: Price | None = None
    stock: Stock | None = None


@dataclass(frozen=True, slots=True)
class CatalogueLog:
    """Where changes go: the log's id and its number of partitions."""

    log: str
    partitions: int
    tenant: str

    def partition(self, item_id: str) -> int:
        """Where all records of an item are."""
        return partition_of(record_key(self.tenant, item_id), self.partitions)


class ItemWriter:
    """Puts changes of items on the log."""

    def __init__(self, to: CatalogueLog, producer: Producer, catalogue: Catalogue) -> None:
        self._to = to
        self._producer = producer
        self._catalogue = catalogue
        self._unheard = Unheard(catalogue)

    def get(self, item_id: str) -> ItemKnown:
        """An item, with what was changed of it here and is not heard yet.

        Raises:
            NotFound: this server does not know it.
        """
        item, version, _ = self._unheard.known(item_id, self._to.partition(item_id))
        if item is None:
            raise NotFound("There is no such item; PUT it first.", path="item_id")
        return ItemKnown(item_id, version, item.content, item.price, item.stock)

    async def put(self, item_id: str, body: ItemBody) -> ItemChanged:
        """Add an item, or replace its facets.

        Raises:
            BadInput: does not validate.
            KafkaAway: not acknowledged.
        """
        item = Item(item_id=item_id, content=body.content, price=body.price, stock=body.stock)
        return await self._one(item_id, self.records(item))

    async def patch(self, item_id: str, change: ItemChange) -> ItemChanged:
        """Change fields of the content, price or stock of an item that is known.

        Raises:
            NotFound: this server does not know the item.
            Conflict: it has changed since the version that the change names.
            BadInput: no facet is given.
            KafkaAway: not acknowledged.
        """
        if change.content is None and change.price is None and change.stock is None:
            raise BadInput("Give content, price or stock.", path="price", code="missing_field")
        if change.version is not None:
            await self._at(item_id, change.version)
        # From here to the producer nothing is awaited: no other change comes in between.
        known = self._unheard.known(item_id, self._to.partition(item_id)).item
        if known is None:
            raise NotFound("There is no such item; PUT it first.")
        content = None if change.content is None else completed(known.content, change.content)
        item = Item(item_id=item_id, content=content, price=change.price, stock=change.stock)
        return await self._one(item_id, self.records(item))

    async def remove(self, item_id: str) -> ItemChanged:
        """Take an item out of the catalogue: a tombstone for each facet.

        Raises:
            KafkaAway: not acknowledged.
        """
        record = FacetRecord(tenant=self._to.tenant, item_id=item_id)
        catalog.decode_record(catalog.record_keys(self._to.tenant, item_id)[0].encode(), None)
        return await self._one(item_id, [record])

    def records(self, item: Item) -> list[FacetRecord]:
        """The records that say it; what the log's readers would refuse is refused here, and so is a name that is
        empty, which they take for none.

        Raises:
            BadInput.
        """
        if item.content is not None and not item.named:
            raise BadInput("content.name must be text of at least 1 character.", path="content.name", code="empty")
        records = catalog.facets(item, self._to.tenant)
        for record in records:
            catalog.decode_record(catalog.key_of(record).encode(), catalog.encode_record(record))
        return records

    def knows(self, item_id: str) -> bool:
        """Whether a change of price or stock alone has an item to change."""
        return self._unheard.known(item_id, self._to.partition(item_id)).item is not None

    def token(self, offsets: Iterable[tuple[str, int]]) -> str:
        """The consistency token of items at these offsets."""
        reached: dict[int, int] = {}
        for item_id, offset in offsets:
            partition = self._to.partition(item_id)
            reached[partition] = max(offset, reached.get(partition, -1))
        return tokens.encode({self._to.log: reached})

    async def write(self, records: Sequence[FacetRecord]) -> list[int]:
        """Put records on the log in this order; the offset that each item is at with them.

        Raises:
            KafkaAway: not acknowledged; some may be on the log, and writing them again changes nothing.
            CatalogueBehind.
        """
        outgoing = [self._outgoing(record) for record in records]
        changes = self._unheard.begin([(self._to.partition(record.item_id), record) for record in records])
        offsets: list[int] = []
        try:
            reached = iter(await self._producer.send_many([one for of_it in outgoing for one in of_it]))
            offsets = [max(next(reached) for _ in of_it) for of_it in outgoing]
        finally:
            if offsets:
                self._unheard.acknowledged(changes, offsets)
            else:
                self._unheard.failed(changes)
        return offsets

    def _outgoing(self, record: FacetRecord) -> list[Outgoing]:
        partition = self._to.partition(record.item_id)
        if not catalog.facets_of(record):
            gone = catalog.record_keys(record.tenant, record.item_id)
            return [Outgoing(CATALOG, partition, key, None) for key in gone]
        return [Outgoing(CATALOG, partition, catalog.key_of(record), catalog.encode_record(record))]

    async def _one(self, item_id: str, records: Sequence[FacetRecord]) -> ItemChanged:
        version = max(await self.write(records))
        return ItemChanged(item_id, self.token([(item_id, version)]), version)

    async def _at(self, item_id: str, version: int) -> None:
        """Wait until this process has heard of that version; the item must not be beyond it."""
        partition = self._to.partition(item_id)
        until = asyncio.get_running_loop().time() + _WAIT_S
        while True:
            known = self._unheard.known(item_id, partition)
            if known.moving or known.version > version:
                raise Conflict(
                    f"The item has changed since version {version}: GET it, and change what it is now.", path="version"
                )
            if known.version == version or self._catalogue.positions.get(partition, -1) >= version:
                return
            if asyncio.get_running_loop().time() > until:
                raise Conflict(
                    "This server has not heard of that version: try again in a moment.",
                    path="version",
                    code="version_ahead",
                )
            await asyncio.sleep(_POLL_S)


def completed(content: Content | None, change: ContentChange) -> Content:
    """The whole content after a change of some of its fields.

    Raises:
        BadInput: nothing is known of the content, and the change names the item not either.
    """
    given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
    if content is not None:
        return msgspec.structs.replace(content, **given)
    if "name" not in given:
        raise BadInput("Nothing is known of its content yet: give a name.", path="content.name", code="missing_field")
    return Content(**given)
