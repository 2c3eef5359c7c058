"""Items over HTTP, with a secret key: many at once, and one as this server knows it."""

from typing import Final

from serving import item_batches
from serving.item_batches import Batch, ItemsTaken
from serving.item_lists import check_item_id
from serving.items import ItemKnown, ItemWriter
from serving.operations import Call, Operation

_ITEM: Final = "/v1/items/{item_id}"


class ItemHandlers:
    """One method per operation."""

    def __init__(self, writer: ItemWriter) -> None:
        self._writer = writer

    async def batch(self, call: Call) -> ItemsTaken:
        """Add or change many."""
        return await item_batches.take(self._writer, call.raw)

    async def get(self, call: Call) -> ItemKnown:
        """One."""
        return self._writer.get(check_item_id(call.path("item_id")))


def operations(writer: ItemWriter) -> list[Operation]:
    """The rows of the table. They come after the lists about an item: an id may hold slashes."""
    do = ItemHandlers(writer)
    return [
        Operation(
            "POST",
            "/v1/items:batch",
            "Add or change up to 1,000 items: each facet that is given is replaced. 202: the good ones are on the log.",
            do.batch,
            ItemsTaken,
            status=202,
            body=Batch,
            refusals=(503,),
            once=True,
        ),
        Operation("GET", _ITEM, "An item, and its version.", do.get, ItemKnown, refusals=(404,)),
    ]
