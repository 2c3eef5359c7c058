"""Identities across partitions on a real Redis: what is handed over arrives once in effect, whatever crashes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from features.aggregates import shopper_values
from features.events import Event, encode, record_key_of, shopper_id
from features.history import History
from features.identity import linked_of, unlinked
from features.links import entry_of, unpack_link
from features.shopper_merge import is_empty
from features.shoppers import Row, decode
from features.shoppers import encode as pack
from infra.keys import ShardKeys, partition_of, record_key
from infra.settings import Settings
from infra.topics import DEAD_LETTERS, EVENTS
from streams.batch import PartitionBatch
from streams.commit import PartitionStore
from streams.marketing.timers import CART_ABANDONED, member
from streams.outbox import unpack
from streams.pipeline import Pipeline, build_pipeline
from streams.replay.store import ReplayStore
from tests.features.people import MINUTE, alone, event, login
from tests.features.steps import LATENESS, T
from tests.streams.marketing.till import stocked_pipeline, turn
from tests.streams.models import Popular
from tests.streams.shop import LOG, PARTITIONS, Log
from tests.streams.shop import event as event_of

PHONE, ANN = "phone", "ann"
BEFORE = (
    event("view_item", "tea", minute=1, anonymous_id=PHONE),
    event("add_to_cart", "cup", minute=2, anonymous_id=PHONE),
)
STRAGGLER = event("view_item", "pot", minute=1.5, anonymous_id=PHONE)
LATER = event("view_item", "tray", minute=5, anonymous_id=PHONE)
MINE = event("view_item", "milk", minute=4, anonymous_id=PHONE, user_id=ANN)


def partition(whose: str) -> int:
    return partition_of(record_key("default", whose), PARTITIONS)


def told(*events: Event) -> list[Event]:
    """With what the collector says of logins beside."""
    return [each for one in events for each in (one, linked_of(one)) if each is not None]


@dataclass
class Worker:
    """A worker that may die and be started again: the log and Redis are what is left of it."""

    settings: Settings
    redis: Redis
    log: Log = field(default_factory=Log)
    store: PartitionStore | None = None
    pipeline: Pipeline | None = None

    async def started(self) -> Pipeline:
        if self.pipeline is None:
            self.pipeline = build_pipeline(self.settings, self.redis, self.store)
            await self.pipeline.claim(range(PARTITIONS), LOG)
        return self.pipeline

    async def apply(self, most: int | None = None) -> int:
        """Apply what is on the log above the fences; how many records that were."""
        pipeline = await self.started()
        batches: list[PartitionBatch] = []
        for batch in self.log.batches():
            start = pipeline.owned[batch.partition].fence + 1
            batches += self.one(batch.partition, start, None if most is None else start + most)
        return (await pipeline.apply(batches)).taken

    def one(self, partition: int, start: int, stop: int | None) -> Sequence[PartitionBatch]:
        return [batch for batch in self.log.batches(start, stop) if batch.partition == partition]

    def die(self) -> None:
        """Forget everything that is not in Redis or on the log."""
        self.pipeline = None

    async def drain(self, *, dies_before_removal: bool = False) -> int:
        """Send what waits in the outboxes; how much that was."""
        sent = 0
        for of in range(PARTITIONS):
            raws = await self.redis.lrange(ShardKeys(of).outbox, 0, -1)
            for raw in raws:
                record = unpack(raw)
                assert record.topic == EVENTS, dict(record.headers)
                self.log.append_raw(record.partition, record.value, record.key.encode())
            sent += len(raws)
            if dies_before_removal and raws:
                self.die()
                return sent
            if raws:
                await self.redis.ltrim(ShardKeys(of).outbox, len(raws), -1)
        return sent

    async def settle(self) -> None:
        while await self.apply() + await self.drain():
            pass

    async def row(self, whose: str, namespace: str = "live") -> Row:
        raw = await self.redis.get(ShardKeys(partition(whose), namespace).row("default", whose))
        assert raw is not None, whose
        return decode(raw)

    async def bytes_of(self, whose: str) -> bytes:
        row = await self.row(whose)
        return pack(Row(row.state, row.floor, row.recent, row.settled))

    async def met(self, whose: str) -> list[str]:
        return [one.item_id for one in (await self.row(whose)).state.interactions]


def test_the_two_ids_of_these_tests_are_in_two_partitions() -> None:
    assert partition("a-phone") != partition("u-ann")


async def test_a_login_hands_the_row_over_to_the_users_partition(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE, login(PHONE, ANN, 3)))
    await worker.apply()
    assert is_empty(await worker.row("a-phone")), "its row and the hand-over are written together"
    assert await worker.met("u-ann") == []
    assert await redis.llen(ShardKeys(partition("a-phone")).outbox) == 1
    await worker.settle()
    worker.log.append(*told(STRAGGLER, LATER, MINE))
    await worker.settle()
    everything = sorted((*BEFORE, STRAGGLER, login(PHONE, ANN, 3), MINE, LATER), key=lambda one: one.occurred_at)
    assert await worker.bytes_of("u-ann") == alone("u-ann", everything)
    assert is_empty(await worker.row("a-phone"))
    raw = await redis.get(ShardKeys(partition("a-phone")).link("default", "a-phone"))
    link = unpack_link(raw)
    assert link is not None
    assert link.user_id == ANN


async def test_the_carts_timer_goes_along(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE))
    await worker.settle()
    device = ShardKeys(partition("a-phone")).timers, member("default", CART_ABANDONED, "a-phone")
    user = ShardKeys(partition("u-ann")).timers, member("default", CART_ABANDONED, "u-ann")
    due = await redis.zscore(*device)
    assert due is not None
    worker.log.append(*told(login(PHONE, ANN, 3)))
    await worker.settle()
    assert await redis.zscore(*device) is None
    assert await redis.zscore(*user) == due + MINUTE, "the login was part of the visit"


@tries(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(st.sampled_from(["tell", "apply one", "apply", "drain", "die", "send and die"]), max_size=30))
async def test_whatever_dies_between_the_user_is_as_if_it_had_been_one_id(
    settings: Settings, redis: Redis, script: list[str]
) -> None:
    await redis.flushall()
    worker = Worker(settings, redis)
    waiting = told(*BEFORE, login(PHONE, ANN, 3), STRAGGLER, MINE, LATER)
    for act in script:
        match act:
            case "tell" if waiting:
                worker.log.append(waiting.pop(0))
            case "apply one":
                await worker.apply(1)
            case "apply":
                await worker.apply()
            case "drain":
                await worker.drain()
            case "die":
                worker.die()
            case "send and die":
                await worker.drain(dies_before_removal=True)
    worker.log.append(*waiting)
    await worker.settle()
    everything = sorted((*BEFORE, STRAGGLER, login(PHONE, ANN, 3), MINE, LATER), key=lambda one: one.occurred_at)
    assert await worker.bytes_of("u-ann") == alone("u-ann", everything)
    assert is_empty(await worker.row("a-phone"))


async def test_undone_both_rows_are_as_if_it_had_never_been(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE, login(PHONE, ANN, 3), MINE))
    await worker.settle()
    worker.log.append(STRAGGLER, unlinked("default", PHONE, ANN, T + 6 * MINUTE))
    await worker.settle()
    assert await worker.bytes_of("u-ann") == alone("u-ann", [login(PHONE, ANN, 3), MINE])
    assert await worker.bytes_of("a-phone") == alone("a-phone", [BEFORE[0], STRAGGLER, BEFORE[1]])
    assert await redis.get(ShardKeys(partition("a-phone")).link("default", "a-phone")) == b""


async def test_a_replay_folds_what_was_handed_over_and_hands_over_nothing(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE, login(PHONE, ANN, 3), MINE, STRAGGLER))
    await worker.settle()
    worker.log.append(*told(event("view_item", "x", minute=7, anonymous_id="desk"), login("desk", ANN, 8)))
    worker.log.append(unlinked("default", PHONE, ANN, T + 9 * MINUTE))
    await worker.settle()
    before = {p: len(records) for p, records in worker.log.records.items()}
    store = ReplayStore(redis, "again")
    await store.open(range(PARTITIONS))
    replayed = Worker(settings, redis, worker.log, store)
    while await replayed.apply(2):
        pass
    for whose in ("u-ann", "a-phone", "a-desk"):
        live, again = [ShardKeys(partition(whose), n).row("default", whose) for n in ("live", "again")]
        assert await redis.get(live) == await redis.get(again)
    links = [ShardKeys(partition("a-desk"), n).link("default", "a-desk") for n in ("live", "again")]
    assert await redis.get(links[0]) == await redis.get(links[1])
    assert {p: len(records) for p, records in worker.log.records.items()} == before
    for of in range(PARTITIONS):
        assert await redis.llen(ShardKeys(of).outbox) == 0


async def test_the_lists_of_both_are_made_anew(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    (await worker.started()).derived.scorer = Popular("m1")
    worker.log.append(*told(*BEFORE))
    await worker.settle()
    before = await redis.get(ShardKeys(partition("a-phone")).shelf("default", "a-phone"))
    worker.log.append(*told(login(PHONE, ANN, 3)))
    await worker.settle()
    assert await redis.get(ShardKeys(partition("a-phone")).shelf("default", "a-phone")) != before
    assert await redis.get(ShardKeys(partition("u-ann")).shelf("default", "u-ann")) is not None


async def test_a_hand_over_that_cannot_be_read_goes_to_the_dead_letters(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE, login(PHONE, ANN, 3)))
    await worker.apply()
    (raw,) = await redis.lrange(ShardKeys(partition("a-phone")).outbox, 0, -1)
    whole = unpack(raw).value or b""
    at = whole.index(b'"part":"') + 8
    broken = whole[:at] + b"AAAA" + whole[at + 4 :]
    worker.log.append_raw(partition("u-ann"), broken)
    worker.log.append(MINE)
    counts = await (await worker.started()).apply(worker.log.batches())
    assert counts.reasons == {"wrong_part": 1}
    assert await worker.met("u-ann") == ["milk"]
    (letter,) = await redis.lrange(ShardKeys(partition("u-ann")).outbox, 0, -1)
    assert unpack(letter).topic == DEAD_LETTERS


class Kept:
    """Where the offline history puts rows."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, object]] = {}

    def add(self, key: str, at: int, known_us: int, values: object) -> None:
        self.last[key] = (at, values)


async def test_the_offline_history_says_the_same(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE, login(PHONE, ANN, 3), MINE, STRAGGLER))
    await worker.settle()
    kept, nothing = Kept(), Nothing()
    history = History(kept, nothing, LATENESS)
    records = [(record.value or b"", record.timestamp) for of in worker.log.records.values() for record in of]
    history.take(records, lambda _: None)
    for whose in ("u-ann", "a-phone"):
        state = (await worker.row(whose)).state
        assert kept.last[record_key("default", whose)] == (state.newest, shopper_values(state))


class Nothing:
    """Where item statistics would go."""

    def add(self, *_: object) -> None:
        """Nothing."""


def test_what_these_tests_tell_is_keyed_by_whose_it_is() -> None:
    (identify, linked) = told(login(PHONE, ANN, 3))
    assert (shopper_id(identify), shopper_id(linked)) == ("u-ann", "a-phone")
    assert record_key_of(linked) == "default|a-phone"
    assert entry_of(linked) == entry_of(linked)
    assert encode(linked) == encode(linked)


async def test_a_cart_that_the_device_was_told_of_is_not_told_again_to_its_user(
    settings: Settings, redis: Redis
) -> None:
    """Login the next day: the cart is the user's now, and its time is long past."""
    log, pipeline = Log(), await stocked_pipeline(settings, redis)
    at_home = replace(event_of("ann", "add_to_cart", "tea"), user_id=None, anonymous_id=PHONE)
    log.append(at_home)
    await pipeline.apply(log.batches())
    assert await turn(pipeline, redis, settings, 60) == {"ok": 1}
    worker = Worker(settings, redis, log, pipeline=pipeline)
    await redis.delete(*(ShardKeys(of).outbox for of in range(PARTITIONS)))
    next_day = replace(event_of("ann", "identify", minute=600), anonymous_id=PHONE, session_id="s2")
    log.append(*told(next_day))
    await worker.settle()
    assert set((await worker.row("u-ann")).state.cart) == {"tea"}
    assert await turn(pipeline, redis, settings, 601) == {"duplicate": 1}
    log.append(event_of("ann", "add_to_cart", "cup", minute=610))
    await worker.settle()
    assert await turn(pipeline, redis, settings, 671) == {"ok": 1}, "another change of it, another message"
