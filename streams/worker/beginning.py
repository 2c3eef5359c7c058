"""What a worker does with partitions of the events that it was assigned, before it reads them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from infra.metrics import Metrics
from infra.topics import EVENTS
from streams.applying import Applying
from streams.bad_stop import BadStop
from streams.continuity import NOTHING_READ
from streams.draining import Drainer
from streams.patience import patiently
from streams.pipeline import Pipeline
from streams.worker.positions import Logs, after_fences


@dataclass(slots=True)
class Beginning:
    """Claims partitions; `positions` is where reading began in those claimed last.

    `note_begun` writes down in which order logs were read.
    """

    pipeline: Pipeline
    applying: Applying
    drainer: Drainer
    bad_stop: BadStop
    note_begun: Callable[[], Awaitable[None]]
    logs: Logs
    measured: Metrics
    positions: Mapping[int, int] = field(default_factory=dict)

    async def begin(self, partitions: Sequence[int]) -> dict[tuple[str, int], int]:
        """Claim these; where to read on in each.

        Raises:
            Refused: too many records were bad, or another namespace is served since just now.
            Unavailable: Redis or Kafka stayed away.
        """
        logs = self.logs
        await patiently("asking for a stop", self.bad_stop.begin, EVENTS, logs.events)
        self.applying.begin(NOTHING_READ)  # chunks of the claim before this one must not meet the new epoch
        await patiently("noting the order of logs", self.note_begun)
        claim = self.pipeline.claim
        claimed = await patiently("claiming partitions", claim, partitions, logs.events, forget_logs=logs.forget)
        fences = {partition: owned.fence for partition, owned in claimed.items()}
        positions = await patiently("reading offsets", after_fences, logs, EVENTS, fences, self.measured)
        await patiently("reading outboxes", self.drainer.look)
        self.positions = positions
        self.applying.begin(positions)
        return {(EVENTS, partition): offset for partition, offset in positions.items()}
