"""Who was told of a cart before: the shopper, or the device that the cart was filled on before its login."""

from collections.abc import Sequence

from features.links import known_of
from features.shoppers import decode
from infra.keys import partition_of, record_key
from streams.commit import PartitionStore
from streams.marketing.timers import split_member
from streams.partition import Due


async def told(
    store: PartitionStore, partitions: int, timers: Sequence[Due], rows: Sequence[bytes | None]
) -> list[int | None]:
    """For each timer when its last message was due, or that of a device whose history is in its row, ms; None: never.

    Raises:
        RedisAway.
    """
    asked = [[timer, *_devices(partitions, timer, row)] for timer, row in zip(timers, rows, strict=True)]
    answers = iter(await store.told([one for of_timer in asked for one in of_timer]))
    heard = [[next(answers) for _ in of_timer] for of_timer in asked]
    return [max((at for at in of_timer if at is not None), default=None) for of_timer in heard]


def _devices(partitions: int, timer: Due, row: bytes | None) -> list[Due]:
    tenant, kind, _ = split_member(timer.member)
    try:
        sources = known_of(decode(row)).sources if row is not None else []
    except Exception:  # whatever lies there: such a row makes no message; its events go to the dead letters
        return []
    ids = [f"a-{source.anonymous_id}" for source in sources if not source.ended]
    return [
        Due(partition_of(record_key(tenant, one), partitions), record_key(tenant, kind, one), timer.due_ms)
        for one in ids
    ]
