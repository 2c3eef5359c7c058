"""The key schema: Kafka record keys, partitions, and every Redis key with its type and time to live.

A Redis key reads `daogou:{tag}:namespace:tenant:family[:id]`. The braces are Redis Cluster's hash tag: all keys of
one partition lie in one slot, so one Lua call covers them. Keys of a whole partition have `_` where others have the
tenant; keys outside of namespaces (what a replay must not touch) have `_` where others have the namespace.

| family    | type   | lives    | holds                                               | owner                    |
|-----------|--------|----------|-----------------------------------------------------|--------------------------|
| row       | string | for good | a shopper row (msgpack)                             | streams.commit           |
| shelf     | string | for good | packed recommendation list                          | streams.commit           |
| link      | string | for good | the user to whom an anonymous id is linked (packed) | streams.commit           |
| fence     | hash   | for good | log id → the last offset applied of that log        | streams.commit           |
| timers    | zset   | for good | timer member → due, ms                              | streams.commit           |
| partials  | hash   | for good | item's record key → its statistics here (msgpack)   | streams.commit           |
| counted   | set    | for good | record keys of items that have statistics in Feast  | streams.statistics_rows  |
| watchers  | zset   | for good | shopper who watches an item → since when, ms        | streams.commit           |
| heard     | hash   | for good | catalogue partition → the last change of it heard   | streams.commit           |
| epoch     | string | for good | counts assignments of the partition                 | streams.commit           |
| live      | string | for good | name of the namespace that is served                | streams.commit           |
| before    | string | for good | name of the namespace that was served before        | streams.replay.promotion |
| promoting | string | until so | the namespace that an operator wants to be served   | streams.replay.wishes    |
| replaying | string | until so | a namespace's own name, while a replay may write it | streams.replay.store     |
| replays   | hash   | for good | namespace → what its replay is (JSON)               | streams.replay.records   |
| outbox    | list   | for good | effects not yet acknowledged by Kafka               | streams.outbox           |
| told      | zset   | 64 days  | timer member → when its last message was due, ms    | streams.commit           |
| sent      | string | for good | how far `told` knows the topic of messages (offset)  | streams.commit           |
| shown     | string | a week   | what a shopper was shown lately → when (msgpack)    | serving.shown            |
| once      | string | 24 hours | answer to a call with an Idempotency-Key (msgpack)  | serving.idempotency      |
| items     | hash   | for good | item id → item (msgpack), one catalogue partition   | features.catalog_store   |
| items_at  | hash   | for good | `log`, `offset` that the items are at               | features.catalog_store   |
| began     | string | for good | when a tenant's catalogue began, ms                 | features.catalog_news    |
| changes   | list   | until so | changes of items not yet put on the log of events   | features.catalog_store   |
| merged    | hash   | for good | `version`, `number` of the newest snapshot          | features.snapshot_store  |
| snapshot  | string | 10 min   | statistics of items; for so long after a newer one  | features.snapshot_store  |
| shards    | string | for good | number of partitions that all keys are spread over  | infra.shards             |
| owner     | zset   | 30 s     | who holds a namespace: holder → until, ms           | streams.holds            |
| stopped   | hash   | for good | topic → a stop for too many bad records             | streams.bad_stop         |
| paused    | string | until so | the pause of all workers (JSON)                     | streams.pausing          |
| resting   | hash   | until so | worker → the pause that it stands still in          | streams.pausing          |
| shadow    | hash   | 90 days  | figure and model in service → count, of a candidate | streams.shadow_counts    |
"""

import re
import zlib
from dataclasses import dataclass
from urllib.parse import quote, unquote

LIVE = "live"
_NONE = "_"
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch  # most ids; quote() takes ten times as long to say so


def escape(text: str) -> str:
    """Text as one part of a key: everything but letters, digits and `_.-~` percent-encoded."""
    return text if _PLAIN(text) else quote(text, safe="")


def record_key(tenant: str, *parts: str) -> str:
    """A Kafka record key and Feast entity value, `tenant|part|part`, each part escaped."""
    return "|".join(map(escape, (tenant, *parts)))


def split_record_key(key: str) -> tuple[str, ...]:
    """The inverse of `record_key`: (tenant, part, …)."""
    return tuple(map(unquote, key.split("|")))


def partition_of(key: str, partitions: int) -> int:
    """The partition of a record key: CRC-32 modulo, librdkafka's `consistent` partitioner."""
    return zlib.crc32(key.encode()) % partitions


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """The Redis keys of one partition of `shop.events.v1` in one namespace."""

    partition: int
    namespace: str = LIVE

    def row(self, tenant: str, shopper_id: str) -> str:
        """The shopper row."""
        return self._of(tenant, "row", shopper_id)

    def shelf(self, tenant: str, shopper_id: str) -> str:
        """The recommendation list, prepared."""
        return self._of(tenant, "shelf", shopper_id)

    def link(self, tenant: str, shopper_id: str) -> str:
        """To whom an anonymous id is linked; empty or missing: to nobody."""
        return self._of(tenant, "link", shopper_id)

    def shown(self, tenant: str, shopper_id: str) -> str:
        """What was shown lately; of no namespace: a replay shows nothing."""
        return f"daogou:{{p{self.partition}}}:{_NONE}:{escape(tenant)}:shown:{escape(shopper_id)}"

    def watchers(self, tenant: str, interest: str, item_id: str) -> str:
        """Who watches an item because of one interest (`features.watching`)."""
        return self._of(tenant, "watchers", interest) + f":{escape(item_id)}"

    @property
    def heard(self) -> str:
        """Up to where the changes of each catalogue partition were taken."""
        return self._shard(self.namespace, "heard")

    @property
    def rows_pattern(self) -> str:
        """A SCAN pattern over the rows of all tenants."""
        return f"daogou:{{p{self.partition}}}:{escape(self.namespace)}:*:row:*"

    @property
    def fence(self) -> str:
        """The last offset applied, by the log that it counts in."""
        return self._shard(self.namespace, "fence")

    @property
    def timers(self) -> str:
        """Durable timers by due time."""
        return self._shard(self.namespace, "timers")

    @property
    def partials(self) -> str:
        """Statistics of items over the shoppers of this partition."""
        return self._shard(self.namespace, "partials")

    @property
    def counted(self) -> str:
        """The items, of all partitions, whose statistics Feast has a row of; partition 0 has it for the namespace."""
        return self._shard(self.namespace, "counted")

    @property
    def epoch(self) -> str:
        """Raised by every assignment."""
        return self._shard(_NONE, "epoch")

    @property
    def live(self) -> str:
        """The name of the namespace that is served; a missing key means `live`."""
        return self._shard(_NONE, "live")

    @property
    def before(self) -> str:
        """The name of the namespace that was served before the present one."""
        return self._shard(_NONE, "before")

    @property
    def promoting(self) -> str:
        """What an operator wants to be served."""
        return self._shard(_NONE, "promoting")

    @property
    def replaying(self) -> str:
        """The namespace's own name while a replay may write it; missing: none may."""
        return self._shard(self.namespace, "replaying")

    @property
    def outbox(self) -> str:
        """Effects that wait for Kafka's acknowledgement."""
        return self._shard(_NONE, "outbox")

    @property
    def told(self) -> str:
        """When the last message of each timer was due, whichever namespace it came from."""
        return self._shard(_NONE, "told")

    @property
    def sent(self) -> str:
        """The offset of the topic of messages that `told` was read on to."""
        return self._shard(_NONE, "sent")

    def _of(self, tenant: str, family: str, key: str) -> str:
        return f"daogou:{{p{self.partition}}}:{escape(self.namespace)}:{escape(tenant)}:{family}:{escape(key)}"

    def _shard(self, namespace: str, family: str) -> str:
        return f"daogou:{{p{self.partition}}}:{escape(namespace)}:{_NONE}:{family}"


def all_rows_pattern(namespace: str | None) -> str:
    """A SCAN pattern over the rows of all partitions and tenants of a namespace; None: of every namespace."""
    return f"daogou:{{p*}}:{'*' if namespace is None else escape(namespace)}:*:row:*"


def shoppers_pattern(namespace: str, family: str) -> str:
    """A SCAN pattern over the keys of one family of shoppers (row, shelf, link), all partitions and tenants."""
    return f"daogou:{{p*}}:{escape(namespace)}:*:{family}:*"


@dataclass(frozen=True, slots=True)
class ReplayKeys(ShardKeys):
    """The keys of one partition as a replay sees them.

    What guards its writes, and the outbox that stays empty, lie inside the namespace: nothing else is touched.
    """

    @property
    def epoch(self) -> str:
        """Raised by every replay that takes the partition up."""
        return self._shard(self.namespace, "epoch")

    @property
    def live(self) -> str:
        """Where the namespace's own name stands while it may be written."""
        return self.replaying

    @property
    def outbox(self) -> str:
        """No effect leaves a replay."""
        return self._shard(self.namespace, "outbox")


def split_row_key(key: str) -> tuple[str, str]:
    """(tenant, shopper id) of a row or shelf key."""
    _, tenant, shopper_id = split_shard_key(key)
    return tenant, shopper_id


def split_shard_key(key: str) -> tuple[int, str, str]:
    """(partition, tenant, shopper id) of a row or shelf key."""
    _, tag, _, tenant, _, shopper_id = key.split(":")
    return int(tag[2:-1]), unquote(tenant), unquote(shopper_id)


def once(tenant: str, hashed: str) -> str:
    """The answer to a call that may be made again."""
    return f"daogou:{{once-{hashed[:2]}}}:{_NONE}:{escape(tenant)}:once:{hashed}"


def items(tenant: str, partition: int) -> str:
    """The items of one catalogue partition."""
    return f"daogou:{{c{partition}}}:{_NONE}:{escape(tenant)}:items"


def items_at(partition: int) -> str:
    """The position that the items of a catalogue partition are at, all tenants."""
    return f"daogou:{{c{partition}}}:{_NONE}:{_NONE}:items_at"


def catalogue_began(tenant: str) -> str:
    """When the first facet of a tenant's catalogue was written, as far as is known."""
    return f"daogou:{{catalogue}}:{_NONE}:{escape(tenant)}:began"


def changes(partition: int) -> str:
    """Changes of a catalogue partition's items that wait for Kafka's acknowledgement."""
    return f"daogou:{{c{partition}}}:{_NONE}:{_NONE}:changes"


def merged(tenant: str) -> str:
    """Which merged statistics of items are the newest."""
    return f"daogou:{{statistics}}:{_NONE}:{escape(tenant)}:merged"


def snapshot(tenant: str, version: str) -> str:
    """One version of the merged statistics of items."""
    return f"daogou:{{statistics}}:{_NONE}:{escape(tenant)}:snapshot:{version}"


def shards() -> str:
    """The number of partitions that everything in this Redis is spread over."""
    return f"daogou:{{shards}}:{_NONE}:{_NONE}:shards"


def stopped() -> str:
    """The topics whose bad records stopped the workers."""
    return f"daogou:{{stopped}}:{_NONE}:{_NONE}:stopped"


def paused() -> str:
    """The pause of all workers."""
    return f"daogou:{{paused}}:{_NONE}:{_NONE}:paused"


def resting() -> str:
    """The workers that stand still because of the pause."""
    return f"daogou:{{paused}}:{_NONE}:{_NONE}:resting"


def shadow(order: str) -> str:
    """What became of a candidate that is or was tried beside the model in service."""
    return f"daogou:{{shadow}}:{_NONE}:{_NONE}:shadow:{escape(order)}"


def owner(namespace: str) -> str:
    """Who holds a whole namespace."""
    return f"daogou:{{owner}}:{escape(namespace)}:{_NONE}:owner"


def replays() -> str:
    """What is known of each replay, by its namespace."""
    return f"daogou:{{replays}}:{_NONE}:{_NONE}:replays"


def namespace_pattern(namespace: str) -> str:
    """A SCAN pattern over everything in a namespace, all partitions."""
    return f"daogou:{{p*}}:{escape(namespace)}:*"


def feast_project(namespace: str) -> str:
    """The Feast project of a namespace: letters, digits and underscores."""
    safe = "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in namespace)
    return f"daogou_{safe}"
