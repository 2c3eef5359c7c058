"""What Kafka will never take as it is goes to the dead letters: all of its bytes, in pieces, and work goes on."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from infra.errors import KafkaAway, TooLarge
from infra.kafka import Outgoing
from infra.topics import DEAD_LETTERS
from streams.dead_letters import letters_of_effect


class Sending(Protocol):
    """What effects are sent with: a `Producer`."""

    async def send(self, record: Outgoing) -> int:
        """Write one."""
        ...

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        """Write several."""
        ...


async def sent_or_buried(producer: Sending, records: Sequence[Outgoing]) -> Counter[str]:
    """Produce them; how many are larger than Kafka takes, which no repeat would change, by topic.

    Raises:
        KafkaAway: some of them may be on the log; not even the dead letters take what is too large.
    """
    too_large: Counter[str] = Counter()
    try:
        await producer.send_many(records)
    except TooLarge:
        for record in records:
            try:
                await producer.send(record)
            except TooLarge:
                await bury(producer, letters_of_effect(record))
                too_large[record.topic] += 1
    return too_large


async def bury(producer: Sending, letters: Sequence[Outgoing]) -> None:
    """Write dead letters.

    Raises:
        KafkaAway: also where their topic is too small for them.
    """
    try:
        await producer.send_many(letters)
    except TooLarge as error:
        most = max(len(one.value or b"") for one in letters)
        raise KafkaAway(
            f"{DEAD_LETTERS} does not take a record of {most:,} bytes; raise its max.message.bytes"
        ) from error
