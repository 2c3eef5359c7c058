"""What this process has put on the catalogue's log and not yet heard from there.

A change of a change must not be made from what was before the first one.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from features import catalog
from features.catalog import FacetRecord, Item
from infra.errors import Unavailable
from serving.catalogue import Catalogue

MOST: Final = 100_000


class CatalogueBehind(Unavailable):
    """Changes of items go out, and do not come back from the log."""

    code = "catalogue_behind"


class Known(NamedTuple):
    """An item as this process knows it. `version` is the offset that it is at; `moving`: a change is on its way."""

    item: Item | None
    version: int
    moving: bool


class _Change:
    """One record on its way; `offset` is None until Kafka has acknowledged it."""

    __slots__ = ("offset", "partition", "record")

    def __init__(self, partition: int, record: FacetRecord) -> None:
        self.partition = partition
        self.record = record
        self.offset: int | None = None


class Unheard:
    """`begin` before records are written, then `acknowledged` or `failed`; they are forgotten once they are heard."""

    def __init__(self, catalogue: Catalogue, most: int = MOST) -> None:
        """At most so many records are held."""
        self._catalogue = catalogue
        self._most = most
        self._changes: dict[str, list[_Change]] = {}
        self._count = 0

    def begin(self, records: Sequence[tuple[int, FacetRecord]]) -> list[_Change]:
        """Records, each with its partition, go out in this order.

        Raises:
            CatalogueBehind: too many have not come back.
        """
        if self._count + len(records) > self._most:
            self._forget_heard()
        if self._count + len(records) > self._most:
            raise CatalogueBehind("This server does not hear its changes of items; its log and /health/ready say why.")
        changes = [_Change(partition, record) for partition, record in records]
        for change in changes:
            self._changes.setdefault(change.record.item_id, []).append(change)
        self._count += len(changes)
        return changes

    def acknowledged(self, changes: Sequence[_Change], offsets: Sequence[int]) -> None:
        """They are on the log, at these offsets."""
        for change, offset in zip(changes, offsets, strict=True):
            change.offset = offset

    def failed(self, changes: Sequence[_Change]) -> None:
        """Whether they are on the log is not known: if they are, they will be heard."""
        for change in changes:
            self._drop(change)

    def known(self, item_id: str, partition: int) -> Known:
        """The item with all that was written of it here."""
        item, version = self._catalogue.item(item_id), self._catalogue.version(item_id, partition)
        moving = False
        for change in tuple(self._changes.get(item_id, ())):
            if self._is_heard(change):
                self._drop(change)
                continue
            item = catalog.apply(item, change.record)
            moving = moving or change.offset is None
            version = version if change.offset is None else max(version, change.offset)
        return Known(item, version, moving)

    def _is_heard(self, change: _Change) -> bool:
        return change.offset is not None and change.offset <= self._catalogue.positions.get(change.partition, -1)

    def _drop(self, change: _Change) -> None:
        of_item = self._changes[change.record.item_id]
        of_item.remove(change)
        self._count -= 1
        if not of_item:
            del self._changes[change.record.item_id]

    def _forget_heard(self) -> None:
        heard = [one for of_item in self._changes.values() for one in of_item if self._is_heard(one)]
        for change in heard:
            self._drop(change)
