"""A partition that stands still though records wait: noticed, told, and ended by a new start."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Stand:
    fence: int
    since_s: float


class Standing:
    """Knows since when each fence has not moved though there is something behind it. `now_s`: monotonic seconds."""

    def __init__(self) -> None:
        self._stands: dict[int, _Stand] = {}

    def look(self, now_s: float, behind: Mapping[int, int], fences: Mapping[int, int]) -> dict[int, float]:
        """How long each partition has stood, in seconds; 0 where it moves, or nothing is `behind` its fence."""
        stands = {}
        for partition, fence in fences.items():
            before = self._stands.get(partition)
            stays = before is not None and before.fence == fence and behind.get(partition, 0) > 0
            stands[partition] = before if before is not None and stays else _Stand(fence, now_s)
        self._stands = stands
        return {partition: now_s - stand.since_s for partition, stand in stands.items()}

    def forget(self) -> None:
        """Nobody may move now, or nobody knows: the time begins anew."""
        self._stands = {}
