"""One shopper's live row and shelf, with the partition's fence and live namespace: one Redis round trip."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from features.events import Link
from features.links import known_of, unpack_link
from features.shoppers import State, decode, decode_state
from infra.errors import RedisAway
from infra.keys import LIVE, ShardKeys, split_row_key
from infra.redis_lane import RedisLane
from serving import shelf
from serving.fence_watch import FenceWatch
from serving.shelf import OpenShelf
from serving.unread import Unread

NO_FENCE: Final = -1
_SCANS: Final = 4  # per partition
_OTHER_VERSION: Final = "what Redis holds of a shopper was written by another version of this program"


class Unreadable(RedisAway):
    """Redis answers, and nobody can read what it holds of this one shopper; others are not concerned."""


class ShopperRef(msgspec.Struct, frozen=True):
    """A shopper, and where its keys are."""

    tenant: str
    shopper_id: str
    partition: int


class Known(msgspec.Struct, frozen=True):
    """What Redis holds of a shopper at one moment.

    `fence` is the last event applied in the partition; `outdated` says that the shelf was made of another row.
    """

    state: State | None
    shelf: OpenShelf | None
    fence: int
    outdated: bool = False
    link: Link | None = None  # of an anonymous id: the user who has its events now


class ShopperReader:
    """Reads what page views need. `log` is the log of `shop.events.v1` that fences are asked for; `unread` hears of
    what cannot be read.
    """

    def __init__(self, lane: RedisLane, partitions: int, log: str, unread: Unread | None = None) -> None:
        self._lane = lane
        self._unread = unread or Unread()
        self.log = log
        self._keys = [ShardKeys(partition, LIVE) for partition in range(partitions)]
        self._fences = FenceWatch(lane, lambda partition: self._keys[partition].fence, self)

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self._keys)

    def live_key(self, partition: int) -> str:
        """The key that names the namespace that a partition is served from."""
        return self._keys[partition].live

    def note(self, partition: int, live: bytes | None) -> bool:
        """Take what that key holds; whether it is another namespace than before."""
        try:
            namespace = LIVE if live is None else live.decode()
        except UnicodeDecodeError:
            raise self.unreadable("live", partition) from None
        if namespace == self._keys[partition].namespace:
            return False
        self._keys[partition] = ShardKeys(partition, namespace)
        return True

    async def read(self, ref: ShopperRef) -> Known:
        """The shopper as it stands; a second round trip only when another namespace has gone live.

        Raises:
            RedisAway: no answer within the deadline, or one that cannot be read.
        """
        while True:
            keys = self._keys[ref.partition]
            (row, list_, live, link), fence = await self._lane.ask(
                (
                    (
                        "MGET",
                        keys.row(ref.tenant, ref.shopper_id),
                        keys.shelf(ref.tenant, ref.shopper_id),
                        keys.live,
                        keys.link(ref.tenant, ref.shopper_id),
                    ),
                    ("HGET", keys.fence, self.log),
                )
            )
            if keys is self._keys[ref.partition] and not self.note(ref.partition, live):
                return self._known(ref.partition, row, list_, fence, link)

    async def links(self, refs: Sequence[ShopperRef]) -> list[Link | None]:
        """The links of anonymous ids, in one round trip: a short cut, which may not know of what was just linked.

        Raises:
            RedisAway.
        """
        found = await self._ask(
            [ref.partition for ref in refs],
            lambda: [("GET", self._keys[ref.partition].link(ref.tenant, ref.shopper_id)) for ref in refs],
        )
        return [_link(raw) for raw in found]

    async def has_absorbed(self, user: ShopperRef, anonymous: ShopperRef) -> bool:
        """Whether the user's row knows of the link that the anonymous id has now; true where that is to somebody else.

        Raises:
            RedisAway.
        """
        raw_link, row = await self._ask(
            (anonymous.partition, user.partition),
            lambda: [
                ("GET", self._keys[anonymous.partition].link(anonymous.tenant, anonymous.shopper_id)),
                ("GET", self._keys[user.partition].row(user.tenant, user.shopper_id)),
            ],
        )
        link = _link(raw_link)
        if link is None or f"u-{link.user_id}" != user.shopper_id:
            return True
        return row is not None and link.link_id in _absorbed_links(row)

    def unreadable(self, what: str, partition: int) -> Unreadable:
        """The error to raise, or to do without, for a part of a shopper that cannot be read; it is told."""
        self._unread.note(what, partition)
        return Unreadable(_OTHER_VERSION)

    def _known(
        self, partition: int, row: bytes | None, list_: bytes | None, fence: bytes | None, link: bytes | None
    ) -> Known:
        what = "shelf"
        try:
            found = None if list_ is None else shelf.opened(list_)
        except msgspec.DecodeError:  # a list can be made without it, and the row says what may not be in it
            self.unreadable(what, partition)
            found = None
        try:
            what = "row"
            state = None if row is None else decode_state(row)
            what = "fence"
            applied = NO_FENCE if fence is None else int(fence)
            what = "link"
            of_user = unpack_link(link)
        except (msgspec.DecodeError, ValueError, OverflowError):
            raise self.unreadable(what, partition) from None
        outdated = row is not None and found is not None and found.row_mark != shelf.mark_of(row)
        return Known(state, found, applied, outdated, of_user)

    async def _ask(self, partitions: Sequence[int], commands: Callable[[], Sequence[tuple[str, ...]]]) -> list[Any]:
        """The answers to commands about these partitions; once more where another namespace has gone live."""
        wanted = list(dict.fromkeys(partitions))
        while True:
            asked = commands()
            answers = await self._lane.ask([*asked, *(("GET", self._keys[partition].live) for partition in wanted)])
            moved = [self.note(partition, live) for partition, live in zip(wanted, answers[len(asked) :], strict=True)]
            if not any(moved):
                return answers[: len(asked)]

    async def some(self, tenant: str, most: int) -> list[str]:
        """User ids of a few shoppers with a row, for people who try things out.

        Raises:
            RedisAway.
        """
        found: set[str] = set()
        for partition, live in enumerate(await self._lane.ask([("GET", keys.live) for keys in self._keys])):
            self.note(partition, live)
        for keys in self._keys:
            cursor: bytes = b"0"
            for _ in range(_SCANS):
                scan = ("SCAN", cursor, "MATCH", keys.rows_pattern, "COUNT", "500")
                ((cursor, names),) = await self._lane.ask((scan,))
                of_tenant = (shopper for t, shopper in (split_row_key(n.decode()) for n in names) if t == tenant)
                found |= {shopper[2:] for shopper in of_tenant if shopper.startswith("u-")}
                if cursor == b"0" or len(found) >= most:
                    break
            if len(found) >= most:
                break
        return sorted(found, key=lambda user_id: (len(user_id), user_id))[:most]

    async def wait_for(self, partition: int, log: str, offset: int, within_ms: int) -> bool:
        """Wait until the partition has applied `log` up to `offset`; whether it has.

        Raises:
            RedisAway.
        """
        return await self._fences.wait_for(partition, log, offset, within_ms)


def _link(raw: bytes | None) -> Link | None:
    try:
        return unpack_link(raw)
    except msgspec.DecodeError:
        raise RedisAway(_OTHER_VERSION) from None


def _absorbed_links(row: bytes) -> set[str]:
    try:
        return {source.link_id for source in known_of(decode(row)).sources}
    except msgspec.DecodeError:
        raise RedisAway(_OTHER_VERSION) from None
