"""One topic as this process follows it: which log it is, where it begins and ends, a reader from a position
on.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from infra import kafka_admin
from infra.brokers import Bootstrap
from infra.kafka import Follower, Record


@dataclass(frozen=True, slots=True)
class Topic:
    """Every call blocks: make it in a thread."""

    bootstrap: Bootstrap
    name: str
    log: str
    embedded: bool

    def starts(self) -> dict[int, int]:
        """The first offset kept, by partition.

        Raises:
            KafkaAway, NotFound.
        """
        return kafka_admin.start_offsets(self.bootstrap, self.name)

    def ends(self) -> dict[int, int]:
        """The offset that is written next, by partition.

        Raises:
            KafkaAway, NotFound.
        """
        return kafka_admin.end_offsets(self.bootstrap, self.name)

    def follow(self, positions: Mapping[int, int]) -> Follower:
        """A reader from these offsets on."""
        return Follower(self.bootstrap, self.name, positions, embedded=self.embedded)


def open_topic(bootstrap: Bootstrap, name: str, embedded_log: str) -> Topic:
    """The topic, its log looked up.

    Raises:
        KafkaAway, NotFound.
    """
    log = kafka_admin.log_id(bootstrap, name, embedded_log)
    return Topic(bootstrap, name, log, embedded=bool(embedded_log))


async def read(follower: Follower, most: int, within_s: float) -> list[Record]:
    """The next records, read in a thread; when cancelled, the thread is out of the client before this
    returns.
    """
    reading = asyncio.ensure_future(asyncio.to_thread(follower.read, most, within_s))
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await reading
        raise
