"""A shop while a proof changes what it serves: how far it is, and what it holds."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import redis
from pydantic import SecretStr

from features import shoppers
from features.archive import EventArchive
from infra.kafka_admin import end_offsets, log_id
from infra.keys import ShardKeys, feast_project
from infra.settings import Settings
from infra.topics import EVENTS
from tests.proofs.outside import Log
from tests.proofs.typed import Typed
from tests.streams.workers import Worker

_WITHIN_S: Final = 240.0
_POLL_S: Final = 0.05
_AT_ONCE: Final = 1000


class LiveShop:
    """One Redis, one data folder, and at most one worker, on a log that others may follow, too."""

    def __init__(self, folder: Path, log: Log, url: SecretStr, partitions: int, cart_abandoned_s: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(
            kafka=log.bootstrap,
            redis=url,
            embedded_log=log.embedded,
            data_dir=folder / "data",
            partitions=partitions,
            group=f"proof-{folder.parent.name}-{folder.name}",
            cart_abandoned_s=cart_abandoned_s,
        )
        self.client = redis.Redis.from_url(url.get_secret_value())
        self.log = log_id(log.bootstrap, EVENTS, log.embedded)
        self.typed = Typed(self.settings, folder)

    def close(self) -> None:
        """Let Redis go."""
        self.client.close()

    def worker(self, more: Mapping[str, str] | None = None) -> Worker:
        """A worker, with these variables beside the settings."""
        return Worker(self.settings, more or {})

    def ends(self) -> dict[int, int]:
        """The offset after the last record, by partition."""
        return {p: end for p, end in end_offsets(self.settings.brokers, EVENTS).items() if end}

    def served(self, partition: int) -> str:
        """The namespace that is served."""
        live: Any = self.client.get(ShardKeys(partition).live)
        return "live" if live is None else str(live.decode())

    def fence(self, partition: int) -> int:
        """The last offset applied of what is served; -1: none."""
        raw: Any = self.client.hget(ShardKeys(partition, self.served(partition)).fence, self.log)
        return -1 if raw is None else int(raw)

    def until(self, worker: Worker | None, enough: Callable[[], bool], what: str) -> None:
        """Wait for something while the worker runs.

        Raises:
            SystemExit: it does not come.
        """
        until = time.monotonic() + _WITHIN_S
        while not enough():
            if time.monotonic() > until or (worker is not None and not worker.runs):
                words = "" if worker is None else worker.last_words
                raise SystemExit(f"{what}: not so; the worker's last words: {words}")
            time.sleep(_POLL_S)

    def until_applied(self, worker: Worker) -> None:
        """Wait until the log, as it ends now, is applied and archived."""
        ends = self.ends()
        self.until(worker, lambda: all(self.fence(p) + 1 >= end for p, end in ends.items()), "applied")
        archive = EventArchive(self.settings.archive_dir)

        def archived() -> bool:
            reached = archive.through(self.log)
            return all(reached.get(p, -1) + 1 >= end for p, end in ends.items())

        self.until(worker, archived, "archived")

    def rows(self, namespace: str) -> dict[str, shoppers.Row]:
        """Each shopper's row, by record key."""
        found = {}
        for key in self.client.scan_iter(f"daogou:{{p*}}:{namespace}:*:row:*", count=_AT_ONCE):
            tenant, _, shopper = key.decode().split(":", 5)[3:]
            raw: Any = self.client.get(key)
            found[f"{tenant}|{shopper}"] = shoppers.decode(raw)
        return found

    def held(self, namespace: str) -> dict[str, Any]:
        """Rows, links, timers, statistics and shoppers' Feast values, by names that depend on no namespace."""
        found: dict[str, Any] = {}
        read: dict[str, Callable[[bytes], Any]] = {
            "row": self.client.get,
            "link": lambda key: self.client.get(key) or None,
            "timers": lambda key: self.client.zrange(key, 0, -1, withscores=True),
            "partials": lambda key: self.client.hgetall(key.decode()),
        }
        for key in self.client.scan_iter(f"daogou:{{p*}}:{namespace}:*", count=_AT_ONCE):
            _, shard, _, *rest = key.decode().split(":")
            of_it = read.get(rest[1])
            value = of_it(key) if of_it else None
            if value:
                found[f"{rest[1]} {shard} {rest}"] = value
        project = feast_project(namespace).encode()
        for key in self.client.scan_iter(b"*" + project, count=_AT_ONCE):
            if key.endswith(project) and b"shopper" in key[:24]:
                values: Any = self.client.hgetall(key)
                name = f"features {key.removesuffix(project)!r}"
                found[name] = {field: held for field, held in values.items() if not field.startswith(b"_log:")}
        return found


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, int]:
    """How many things of each family differ, or are on one side alone."""
    found: dict[str, int] = {}
    for name in one.keys() | other.keys():
        if one.get(name) != other.get(name):
            family = name.partition(" ")[0]
            found[family] = found.get(family, 0) + 1
    return found


def families(held: Mapping[str, Any]) -> str:
    """How many of each."""
    found: dict[str, int] = {}
    for name in held:
        family = name.partition(" ")[0]
        found[family] = found.get(family, 0) + 1
    return "/".join(f"{count}{family}" for family, count in sorted(found.items()))
