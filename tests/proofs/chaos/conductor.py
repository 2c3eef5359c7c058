"""Carries the schedule out, one fault after the other, while the log grows and the workers follow it."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.archive import EventArchive
from infra.errors import KafkaAway
from infra.kafka_admin import end_offsets
from infra.keys import ShardKeys, items_at
from infra.topics import CATALOG, EVENTS
from streams import lua
from tests.kafka import Cluster
from tests.proofs.chaos.crew import Crew, Member
from tests.proofs.chaos.feeder import Feeder
from tests.proofs.chaos.monitor import Stale
from tests.proofs.chaos.redis_node import RedisNode
from tests.proofs.chaos.schedule import Fault

_CUT_S: Final = 1.5
_PAUSE_S: Final = 8.0  # beyond the session of 6 s
_RECOVERED_WITHIN_S: Final = 180.0
_APPLIED_WITHIN_S: Final = 600.0
_LEAVE_WITHIN_S: Final = 15.0
_SETTLED_S: Final = 2.0  # with the seconds before a fault it is more than what is cut off
_DUE_IN_RUN_MS: Final = 3_600_000  # whatever is due so soon is to fire before the end
_LOOK_S: Final = 0.25
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class World:
    """What the faults happen to; `log` is the id of the event log, `commit` the script that the workers commit with."""

    cluster: Cluster
    redis: RedisNode
    crew: Crew
    feeder: Feeder
    log: str
    commit: lua.Script
    partitions: int


@dataclass
class Seen:
    """What can be said of the faults afterwards."""

    kinds: list[str]
    cut_back: int = 0
    stale_tried: int = 0
    stale_wrote: int = 0
    slow_leaves: int = 0


class Conductor:
    """`run` returns when all faults are over and everything on the log is applied."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = random.Random(f"conductor {seed}")
        self._client = redis.Redis.from_url(world.redis.url, socket_timeout=5.0, retry=Retry(NoBackoff(), 0))
        self._began_s = time.monotonic()
        self.seen = Seen([])

    def run(self, faults: list[Fault], records: int) -> None:
        """Let the log grow to each fault's share, strike on the way, wait until it is over.

        Raises:
            SystemExit: something does not recover.
        """
        crew, feeder = self._world.crew, self._world.feeder
        self.wait(lambda: crew.ready, _RECOVERED_WITHIN_S, "the workers are ready")
        self.wait(self._catalogue_applied, _RECOVERED_WITHIN_S, "the catalogue is applied")
        feeder.start()
        for fault in faults:
            if fault.alone:
                self._settle()
            reached = self.applied()
            feeder.allow(int(fault.share * records))
            struck_s = time.monotonic() + fault.after_s
            self.wait(lambda: crew.ready, _RECOVERED_WITHIN_S, "the workers are ready")
            self.wait(lambda reached=reached: self.applied() > reached, _RECOVERED_WITHIN_S, "events are applied")
            self.wait(lambda struck_s=struck_s: time.monotonic() >= struck_s, _RECOVERED_WITHIN_S, "it is time")
            self._strike(fault)
        feeder.allow(2 * records)
        self.wait(lambda: feeder.done, _APPLIED_WITHIN_S, "all records are on the log")
        self.wait(self._catalogue_applied, _APPLIED_WITHIN_S, "the catalogue is applied")
        self.wait(self._all_applied, _APPLIED_WITHIN_S, "all records are applied and what came of them is out")
        self.wait(self._nothing_due, _RECOVERED_WITHIN_S, "all timers that were due have fired")
        self.wait(self._all_applied, _RECOVERED_WITHIN_S, "what the timers said is out")
        wanted = self._fences()
        archive = EventArchive(self._world.crew.settings.archive_dir)
        self.wait(lambda: archive.through(self._world.log) == wanted, _RECOVERED_WITHIN_S, "all records are archived")
        self._say(f"everything is applied and archived: {sum(wanted.values()) + len(wanted):,} records")

    def wait(self, enough: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait and keep the workers running.

        Raises:
            SystemExit: it does not come, or the log cannot be written.
        """
        until = time.monotonic() + within_s
        while not _answered(enough):
            self._world.crew.look()
            if self._world.feeder.failed:
                raise SystemExit(f"the log could not be written: {self._world.feeder.failed}")
            if time.monotonic() > until:
                words = "\n".join(map(self._world.crew.last_words, self._world.crew.members))
                raise SystemExit(f"after {within_s:g} s it is not so that {what}; the workers say: {words}")
            time.sleep(_POLL_S)

    def until(self, enough: Callable[[], bool], within_s: float) -> None:
        """Wait so long at most, and keep the workers running; whether it was enough is for others to judge."""
        until = time.monotonic() + within_s
        while not enough() and time.monotonic() < until:
            self._world.crew.look()
            time.sleep(_LOOK_S)

    def applied(self) -> int:
        """Records at or below the fences; 0 while Redis is away."""
        try:
            return sum(fence + 1 for fence in self._fences().values())
        except redis.RedisError:
            return 0

    def close(self) -> None:
        """Let go of Redis."""
        self._client.close()

    def _strike(self, fault: Fault) -> None:
        self.seen.kinds.append(fault.kind)
        before, on_log = self.applied(), self._world.feeder.acknowledged
        began = time.monotonic()
        said = _FAULTS[fault.kind](self)
        took = time.monotonic() - began
        self._say(f"{fault.kind}: {before:,} of {on_log:,} applied when it came; {said} ({took:.1f} s)")

    def _kill_worker(self) -> str:
        member = self._rng.choice(self._world.crew.members)
        self._world.crew.kill(member)
        member.ready = False
        self._recovered()
        return f"worker {member.number} killed and started again"

    def _kill_brokers(self) -> str:
        cluster = self._world.cluster
        order = self._rng.sample(cluster.names, len(cluster.names))
        for name in order:
            cluster.kill(name)
            self._sleep(self._rng.uniform(1.0, 4.0))
            cluster.restart(name, wait=False)
            self.wait(cluster.in_step, _RECOVERED_WITHIN_S, "every replica is in step")
        self._recovered()
        return f"brokers {', '.join(order)} killed one after the other"

    def _cut_redis(self) -> str:
        node = self._world.redis
        before = self.applied()
        node.kill()
        cut = node.cut(_CUT_S)
        node.start()
        back = before - self.applied()
        self.seen.cut_back += max(0, back)
        self._recovered()
        return f"Redis killed, {cut.lost_bytes:,} bytes ({cut.lost_s:.1f} s) cut off, {back:,} or more events back"

    def _empty_redis(self) -> str:
        node = self._world.redis
        before = self.applied()
        node.kill()
        node.empty()
        node.start()
        self.wait(lambda: self.applied() >= before, _APPLIED_WITHIN_S, "the rows are made anew")
        self._recovered()
        return f"Redis empty, {before:,} events applied anew"

    def _join(self) -> str:
        member = self._world.crew.join()
        self._recovered()
        return f"worker {member.number} joined: {len(self._world.crew.members)} now"

    def _leave(self) -> str:
        # One that is just being started again has nothing to leave yet: the signal itself ends it.
        self._settle()
        member = self._rng.choice(self._world.crew.members)
        status, seconds = self._world.crew.leave(member, _LEAVE_WITHIN_S)
        self.seen.slow_leaves += status != 0 or seconds > 10.0
        self._recovered()
        return f"worker {member.number} left with status {status} after {seconds:.1f} s"

    def _pause_worker(self) -> str:
        """Pause one until the others have its partitions, and longer than its session; then see what it does."""
        crew, member, old = self._world.crew, self._paused(), self._epochs()
        gone_s = time.monotonic() + _PAUSE_S
        self.wait(lambda: time.monotonic() >= gone_s, _RECOVERED_WITHIN_S, "its session is over")
        self.wait(
            lambda: all(epoch > old[key] for key, epoch in self._epochs().items()),
            _RECOVERED_WITHIN_S,
            "the others have claimed the partitions of the paused one",
        )
        claimed, process = self._epochs(), member.process
        epoch_at = {
            self._world.commit.sha.encode(): 3,
            lua.FIRE.sha.encode(): 0,
            lua.SENT.sha.encode(): 0,
        }
        held = {key: str(epoch).encode() for key, epoch in old.items()}
        with Stale(self._world.redis.url, epoch_at, held) as stale:
            crew.go_on(member)
            self.wait(
                lambda: process.poll() is not None or any(e > claimed[k] for k, e in self._epochs().items()),
                _RECOVERED_WITHIN_S,
                "the one that was paused has ended or come back",
            )
            self._sleep(2.0)
        self.seen.stale_tried += stale.tried
        self.seen.stale_wrote += stale.wrote
        self._recovered()
        ended = process.poll()
        did = "came back by itself" if ended is None else f"ended itself with status {ended}"
        return f"worker {member.number} paused; {stale.tried} calls refused, {stale.wrote} written; it {did}"

    def _paused(self) -> Member:
        # One that is just being started again has nothing that others could claim.
        self._settle()
        member = self._rng.choice(self._world.crew.members)
        self._world.crew.pause(member)
        return member

    def _recovered(self) -> None:
        self.wait(lambda: self._world.crew.ready, _RECOVERED_WITHIN_S, "every worker is ready again")

    def _settle(self) -> None:
        """Until nobody has claimed a partition for a while."""
        since, epochs = time.monotonic(), self._epochs()
        while time.monotonic() < since + _SETTLED_S:
            self._sleep(_LOOK_S)
            self._recovered()
            if (now := self._epochs()) != epochs:
                since, epochs = time.monotonic(), now

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= until, _RECOVERED_WITHIN_S, "the pause is over")

    def _shards(self) -> list[ShardKeys]:
        return [ShardKeys(partition) for partition in range(self._world.partitions)]

    def _fences(self) -> dict[int, int]:
        pipe = self._client.pipeline(transaction=False)
        for keys in self._shards():
            pipe.hget(keys.fence, self._world.log)
        return {p: int(raw) for p, raw in enumerate(pipe.execute()) if raw is not None}

    def _epochs(self) -> dict[bytes, int]:
        keys = [shard.epoch.encode() for shard in self._shards()]
        return {key: int(raw or 0) for key, raw in zip(keys, self._client.mget(keys), strict=True)}

    def _catalogue_applied(self) -> bool:
        """A message needs the items' names: all of them are known before the first event."""
        at = {p: self._client.hget(items_at(p), "offset") for p in range(self._world.partitions)}
        ends = end_offsets(self._world.cluster.bootstrap, CATALOG)
        return all(end == int(at[partition] or -1) + 1 for partition, end in ends.items())

    def _nothing_due(self) -> bool:
        now_ms = int(time.time() * 1000)
        soon_ms = now_ms + _DUE_IN_RUN_MS
        due = [self._client.zcount(keys.timers, "-inf", soon_ms) for keys in self._shards()]
        return not any(due)

    def _all_applied(self) -> bool:
        """Up to the ends as they are now: what leaves the outboxes may be more events."""
        if any(self._client.llen(keys.outbox) for keys in self._shards()):
            return False
        ends = end_offsets(self._world.cluster.bootstrap, EVENTS)
        return self._fences() == {partition: end - 1 for partition, end in ends.items() if end}

    def _say(self, line: str) -> None:
        print(f"{time.monotonic() - self._began_s:6.1f} s  {line}", flush=True)


def _answered(enough: Callable[[], bool]) -> bool:
    """False, too, while the brokers come back and nobody answers."""
    try:
        return enough()
    except KafkaAway:
        return False


_FAULTS: Final = {
    "kill_worker": Conductor._kill_worker,
    "kill_brokers": Conductor._kill_brokers,
    "cut_redis": Conductor._cut_redis,
    "empty_redis": Conductor._empty_redis,
    "join": Conductor._join,
    "leave": Conductor._leave,
    "pause_worker": Conductor._pause_worker,
}
