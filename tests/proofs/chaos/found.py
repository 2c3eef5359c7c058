"""What is compared with the truth, and what came of it."""

from dataclasses import dataclass, field
from typing import Any, Final

import redis

from infra.settings import Settings
from tests.proofs.chaos.truth import Truth

_SHOWN: Final = 5

Who = tuple[int, str, str]


@dataclass
class Found:
    """What is compared, and what came of it: `said` for the summary, `wrong` is empty when all is well.

    Timers that were due before `ended_ms` have fired; `log` is the id of the event log.
    """

    truth: Truth
    client: "redis.Redis"
    settings: Settings
    log: str
    began_ms: int
    ended_ms: int
    said: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    differing: dict[Who, dict[str, tuple[Any, Any]]] = field(default_factory=dict)

    def expect_equal(self, what: str, wanted: dict[Any, Any], found: dict[Any, Any]) -> None:
        """Note entries that only one has, or that differ."""
        bad = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
        self.said[f"{what}_differing"] = len(bad)
        if bad:
            shown = ", ".join(f"{key}: {wanted.get(key)} was {found.get(key)}" for key in bad[:_SHOWN])
            self.wrong.append(f"{len(bad)} {what} differ, such as {shown}")
