"""How often a key may call: a bucket of tokens per key and process. Several processes let through several times as
much, since they ask nobody: a page view has no time for it.
"""

import math
from typing import Final

from serving.problems import Refusal

# Without a burst of its own a key may make up for so many seconds in which it did not call.
_BURST_S: Final = 2.0


class TooMany(Refusal):
    """A key calls more often than it may; `retry_after_s`: whole seconds until the next call is let through."""

    retryable = True

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            429,
            "rate_limited",
            "This key calls more often than it may. Wait as long as Retry-After says, or have its limit raised.",
            retry_after_s=max(1, math.ceil(wait_s)),
        )


class Bucket:
    """Holds up to `burst` calls (0: two seconds' worth) and gains `per_s` a second; full in the beginning."""

    __slots__ = ("_at_s", "_held", "burst", "per_s")

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self.per_s = per_s
        self.burst = float(burst) if burst else max(1.0, _BURST_S * per_s)
        self._held = self.burst
        self._at_s = now_s

    def take(self, now_s: float) -> None:
        """One call at this moment of a monotonic clock.

        Raises:
            TooMany: 429, says when to come again.
        """
        held = min(self.burst, self._held + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        if held < 1.0:
            self._held = held
            raise TooMany((1.0 - held) / self.per_s)
        self._held = held - 1.0
