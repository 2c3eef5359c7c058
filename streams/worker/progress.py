"""How far behind a worker is, by partition: in records, and in event time."""

from collections.abc import Mapping

from infra import metrics
from infra.clock import Clock
from infra.metrics import Metrics
from streams.applied import Applied


class Progress:
    """Remembers the newest live event applied of each partition, and sets the gauges."""

    def __init__(self, clock: Clock, measured: Metrics) -> None:
        self._clock = clock
        self._metrics = measured
        self._newest: dict[int, int] = {}
        self._told: set[int] = set()

    def applied(self, counts: Applied) -> None:
        """A batch is applied."""
        for partition, at_ms in counts.newest.items():
            self._newest[partition] = max(at_ms, self._newest.get(partition, 0))

    def measure(self, ends: Mapping[int, int], fences: Mapping[int, int]) -> None:
        """The log ends there, and is applied so far; 0 is told of partitions that are somebody else's now."""
        now_ms = self._clock.now_ms()
        for partition, fence in fences.items():
            label = str(partition)
            self._metrics.set(metrics.LAG_RECORDS, max(0, ends.get(partition, 0) - fence - 1), partition=label)
            if partition in self._newest:
                delay_s = max(0, now_ms - self._newest[partition]) / 1000
                self._metrics.set(metrics.WATERMARK_SECONDS, delay_s, partition=label)
        for partition in self._told - fences.keys():
            self._newest.pop(partition, None)
            for metric in (metrics.LAG_RECORDS, metrics.WATERMARK_SECONDS):
                self._metrics.set(metric, 0, partition=str(partition))
        self._told = set(fences)
