"""The faults that only a real Kafka shows, one after the other, each with the answer that is promised.

    python -m tests.proofs.faults [--quick] [--seed N] [--kafka HOST:PORT]

end        a worker is asked to end in the middle of its work, and ends well within ten seconds; another goes on
empty      a worker on topics without a record is ready and ends well
retention  records are gone before they were applied, while no worker ran: told, counted, the rest is applied
behind     the same under a worker that is paused and then goes on
marks      a producer writes in transactions: a mark at the end holds no timer up, what was taken back is not applied
deleted    the topic is deleted under a running worker: it ends and says what to do; on a new one it begins anew

Needs Java 17 and Maven, unless --kafka names a Kafka whose topics may be deleted. Prints a line for each and ends with
status 1 if one of them was otherwise.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import redis
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from features.events import EventName
from infra.clock import SystemClock
from infra.embedded.redis_server import free_port
from infra.kafka_admin import end_offsets, log_id
from infra.kafka_client import client_config
from infra.keys import ShardKeys
from infra.settings import Settings
from infra.topics import EVENTS
from streams import pause_asking
from tests.bulk import BulkProducer
from tests.proofs.outside import Real, redis_server
from tests.streams.shop import event, outgoing, partition_of_event
from tests.streams.workers import Worker

PARTITIONS: Final = 8  # as tests.streams.shop spreads its shoppers
_END_WITHIN_S: Final = 10.0
_GONE_WITHIN_S: Final = 90.0
_WAIT_S: Final = 120.0
_POLL_S: Final = 0.02
_AHEAD: Final = 2000  # what an inbox holds, with batches of 500


class Wrong(Exception):
    """An answer was otherwise than promised."""


class Shop:
    """A fresh log and an empty Redis, and at most one worker."""

    def __init__(self, broker: Real, folder: Path, stack: ExitStack, rng: random.Random, events: int) -> None:
        folder.mkdir()
        self.rng, self.events = rng, events
        self.settings = Settings(
            kafka=broker.fresh().bootstrap,
            redis=redis_server(folder / "redis", stack).url,
            data_dir=folder / "data",
            partitions=PARTITIONS,
            group=f"faults-{folder.name}-{time.time_ns()}",
            metrics_port=free_port(),
        )
        self.admin = AdminClient(client_config(self.settings.brokers))
        self._redis = redis.Redis.from_url(self.settings.redis.get_secret_value())
        self._log = log_id(self.settings.brokers, EVENTS, "")
        self._stack = stack

    def worker(self) -> Worker:
        one = Worker(self.settings)
        self._stack.callback(one.stop)
        return one

    def produce(self, count: int, *, shopper: str = "") -> None:
        """Events of many shoppers, or all of one."""
        bulk = BulkProducer(self.settings.kafka, embedded=False)
        said = self.rng.random()
        bulk.send_all(
            outgoing(event(shopper or f"s{n % 200}", "view_item", f"i{n}", minute=n / 1000, event_id=f"{said}-{n}"))
            for n in range(count)
        )
        bulk.close()

    def in_transaction(self, name: EventName, item: str, *, minute: float, commit: bool) -> None:
        """One event of ann's, in a transaction of its own."""
        record = outgoing(event("ann", name, item, minute=minute))
        writer = Producer(client_config(self.settings.brokers) | {"transactional.id": f"faults-{self.rng.random()}"})
        writer.init_transactions(_WAIT_S)
        writer.begin_transaction()
        writer.produce(record.topic, record.value, record.key, record.partition)
        writer.flush(_WAIT_S)
        (writer.commit_transaction if commit else writer.abort_transaction)(_WAIT_S)

    def applied(self) -> dict[int, int]:
        """The next offset to apply, by partition."""
        found = {p: self._redis.hget(ShardKeys(p).fence, self._log) for p in range(PARTITIONS)}
        return {p: 0 if raw is None else int(raw) + 1 for p, raw in found.items()}

    def all_applied(self) -> bool:
        return self.applied() == end_offsets(self.settings.brokers, EVENTS)

    def delete_before(self, partition: int, offset: int) -> None:
        """As retention does."""
        answers: dict[Any, Any] = self.admin.delete_records([TopicPartition(EVENTS, partition, offset)])
        for future in answers.values():
            future.result()

    def until(self, worker: Worker, enough: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _WAIT_S
        while not enough():
            if not worker.runs or time.monotonic() > until:
                raise Wrong(f"{what}: not so; the worker's last words: {worker.last_words}")
            time.sleep(_POLL_S)


def expect(sound: bool, otherwise: str) -> None:
    """Go on if it is sound."""
    if not sound:
        raise Wrong(otherwise)


def end(shop: Shop) -> str:
    shop.produce(shop.events)
    first, at_work = shop.worker(), shop.rng.randrange(shop.events // 20, shop.events // 2)
    shop.until(first, lambda: sum(shop.applied().values()) > at_work, "at work")
    began = time.monotonic()
    first.ask_to_end()
    try:
        status = first.ended(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise Wrong("it did not end within ten seconds") from None
    took, left_at = time.monotonic() - began, sum(shop.applied().values())
    expect(status == 0, f"status {status}: {first.last_words}")
    expect(left_at < shop.events, "everything was applied: the end proves nothing")
    second = shop.worker()
    shop.until(second, shop.all_applied, "the rest is applied")
    shop.until(second, lambda: second.sum_of("daogou_events_applied_total") == shop.events - left_at, "each once")
    return f"ended at {left_at:,} of {shop.events:,} events after {took:.1f} s; the rest applied once"


def empty(shop: Shop) -> str:
    worker = shop.worker()
    expect(worker.health("ready") == (200, {"status": "ready"}), "not ready")
    worker.ask_to_end()
    expect(worker.ended(_END_WITHIN_S) == 0, worker.last_words)
    return "ready, and ended well"


def retention(shop: Shop) -> str:
    home = partition_of_event(event("ann", "page_view"))
    shop.produce(100, shopper="ann")
    first = shop.worker()
    shop.until(first, shop.all_applied, "the first are applied")
    expect(first.stop() == 0, first.last_words)
    shop.produce(300, shopper="ann")
    kept = shop.rng.randrange(150, 390)
    shop.delete_before(home, kept)
    second = shop.worker()
    shop.until(second, shop.all_applied, "the rest is applied")
    lost = second.sum_of("daogou_records_lost_total")
    expect(lost == kept - 100, f"{lost} are counted as lost, {kept - 100} are")
    expect("records were lost" in second.last_words, "nothing was said")
    applied = second.sum_of("daogou_events_applied_total")
    expect(applied == 400 - kept, f"{applied} were applied, {400 - kept} were kept")
    return f"{kept - 100} records lost and told, {400 - kept} applied"


def behind(shop: Shop) -> str:
    home = partition_of_event(event("ann", "page_view"))
    worker, said = shop.worker(), list[str]()
    shop.produce(100, shopper="ann")
    shop.until(worker, shop.all_applied, "the first are applied")
    pause_asking.pause(shop.settings, "faults", "", 30.0, SystemClock(), said.append)
    shop.produce(30_000, shopper="ann")
    shop.until(worker, lambda: worker.sum_of("daogou_waiting_records") >= _AHEAD, "it reads ahead")
    shop.delete_before(home, 29_000)
    pause_asking.resume(shop.settings, "faults", SystemClock(), said.append)
    shop.until(worker, shop.all_applied, "it goes on")
    lost, applied = worker.sum_of("daogou_records_lost_total"), worker.sum_of("daogou_events_applied_total")
    expect(lost + applied == 30_100, f"{lost} lost and {applied} applied are not 30,100")
    if lost:
        expect("records were lost" in worker.last_words, "nothing was said")
    return f"{lost:.0f} records lost and told, {applied:.0f} applied (the client had fetched some before)"


def marks(shop: Shop) -> str:
    worker = shop.worker()
    shop.in_transaction("add_to_cart", "tea", minute=0, commit=True)
    shop.until(worker, lambda: worker.sum_of("daogou_triggers_decided_total") == 1, "a mark holds no timer up")
    shop.in_transaction("view_item", "taken-back", minute=1, commit=False)
    shop.in_transaction("view_item", "cup", minute=2, commit=True)
    home = partition_of_event(event("ann", "page_view"))
    shop.until(worker, lambda: shop.applied()[home] == 5, "the last record, behind four offsets, is applied")
    applied = worker.sum_of("daogou_events_applied_total")
    expect(applied == 2, f"{applied:.0f} events were applied, 2 were committed")
    return "the timer behind a mark was decided; 2 committed events applied, the one taken back was not"


def deleted(shop: Shop) -> str:
    shop.produce(100)
    worker = shop.worker()
    shop.until(worker, shop.all_applied, "the first are applied")
    answers: dict[str, Any] = shop.admin.delete_topics([EVENTS])
    for future in answers.values():
        future.result()
    began = time.monotonic()
    try:
        status = worker.ended(_GONE_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise Wrong(f"it still runs after {_GONE_WITHIN_S:.0f} s: {worker.last_words}") from None
    took, words = time.monotonic() - began, worker.last_words
    expect(status == 1, f"status {status}: {words}")
    expect(f"no topic {EVENTS}; make it: daogou topics create" in words, f"it does not say what to do: {words}")
    again = shop.worker()  # its start makes what is missing
    shop.produce(50)
    shop.until(again, lambda: again.sum_of("daogou_events_applied_total") == 50, "the new topic is applied")
    return f"ended with a sentence after {took:.0f} s; on the new topic 50 of 50 applied"


FAULTS: Final = (end, empty, retention, behind, marks, deleted)


def main() -> int:
    """Try all; 0 when each was answered as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 events instead of 100,000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", default="", help="bootstrap servers of a real Kafka without our topics")
    parser.add_argument("--only", default="", choices=("", *(fault.__name__ for fault in FAULTS)))
    options = parser.parse_args()
    wrong = 0
    with ExitStack() as all_of_it:
        folder = Path(all_of_it.enter_context(tempfile.TemporaryDirectory(prefix="daogou-faults-")))
        broker = Real(options.kafka, folder / "kafka", PARTITIONS, all_of_it)
        for fault in FAULTS:
            if options.only in ("", fault.__name__):
                with ExitStack() as stack:
                    rng = random.Random(f"{options.seed} {fault.__name__}")
                    shop = Shop(broker, folder / fault.__name__, stack, rng, 20_000 if options.quick else 100_000)
                    try:
                        print(f"{fault.__name__:<10} ok: {fault(shop)}", flush=True)
                    except Wrong as error:
                        wrong += 1
                        print(f"{fault.__name__:<10} WRONG: {error}", flush=True)
    print(f"faults: kafka={broker.name} seed={options.seed} {'FAILED' if wrong else 'ok'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
