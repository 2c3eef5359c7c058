"""The proof that a release under load gives no wrong and no empty answer, and that two models never mix.

    python -m tests.proofs.swap [--quick] [--seed N] [--kafka SERVERS]

Two models know the same items and recommend disjoint halves of them, so each item of a list says which model it comes
from. While events keep coming and pages are read, by the commands that an operator types:

1. A is released, then B; then a release is refused (an artifact that is altered, and one that the gate finds worse);
   then B is rolled back.
2. Every answer is a full list without doubles, all of one model, which is the one that it names.
3. No shopper sees a model again that was replaced: A, then B, then after the rollback A.
4. Every shelf in Redis holds items of the model that it names alone, whenever one looks; after each swap all of them
   become the new model's.

Prints one line; ends with status 1 if anything is otherwise. A real Apache Kafka is started, unless --kafka names one;
--quick does with the embedded broker. Redis is the machine's redis-server, or the embedded one.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from features import catalog
from features.catalog import Content, FacetRecord
from features.events import Context, Event, EventItem, encode, record_key_of
from infra.clock import SystemClock
from infra.errors import Refused
from infra.kafka import Outgoing
from infra.keys import owner, partition_of, record_key
from infra.topics import CATALOG, EVENTS
from models.gate import Compared, Figures
from models.release import pointer, release
from serving import shelf
from streams.demo.site import Site
from streams.statistics_job import HOLD as STATISTICS_HOLD
from streams.terminal import sigterm_as_ctrl_c
from tests.benchmarks.page_servers import api
from tests.bulk import BulkProducer
from tests.proofs.live_shop import LiveShop
from tests.proofs.outcome import Outcome
from tests.proofs.outside import Broker, Embedded, Real, redis_server
from tests.proofs.swap_models import BROKEN, ITEMS, LETTER, WORSE, A, B, altered, written

PARTITIONS: Final = 8
COUNT: Final = 12
SCENARIOS: Final = ("home", "search_empty", "cart", "product", "category")
_READERS: Final = 2
_EVERY_S: Final = 0.05
_NO: Final = (0.0, 0.0)


@dataclass
class Read:
    """What the readers saw: how many answers of each model, what was wrong, and each shopper's models in turn."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    turns: dict[str, list[str]] = field(default_factory=dict)

    def note(self, shopper: str, scenario: str, answer: dict[str, Any]) -> None:
        items, version = [one["item_id"] for one in answer["items"]], answer["model_version"]
        self.answers[version] += 1
        if len(items) != COUNT or len(set(items)) != COUNT:
            self.wrong[f"{scenario}: a list of {len(set(items))}"] += 1
        if answer["fallback"]["used"]:
            self.wrong[f"{scenario}: fallback {answer['fallback']['why']}"] += 1
        if {item[0] for item in items} != {LETTER.get(version)}:
            self.wrong[f"{scenario}: names {LETTER.get(version)}, has items of {sorted({i[0] for i in items})}"] += 1
        turns = self.turns.setdefault(shopper, [])
        if not turns or turns[-1] != version:
            turns.append(version)


class Load:
    """Threads that send events and read pages until `end`."""

    def __init__(self, shop: LiveShop, port: int, shoppers: int, per_s: int, seed: int) -> None:
        self._shop, self._port, self._shoppers, self._per_s, self._seed = shop, port, shoppers, per_s, seed
        self._ending = threading.Event()
        self.read = [Read() for _ in range(_READERS)]
        self.sent = 0
        self._threads = [threading.Thread(target=self._send)]
        # Each shopper has one reader, so what it sees is in the order of time.
        self._threads += [threading.Thread(target=self._reading, args=(n,)) for n in range(_READERS)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _send(self) -> None:
        rng = random.Random(self._seed)
        bulk = BulkProducer(self._shop.settings.kafka, embedded=self._shop.settings.embedded_kafka)
        while not self._ending.wait(_EVERY_S):
            some = [viewed(rng.randrange(self._shoppers), rng.choice(ITEMS), f"{self.sent + n}") for n in range(5)]
            more = max(1, int(self._per_s * _EVERY_S)) - len(some)
            some += [
                viewed(rng.randrange(self._shoppers), rng.choice(ITEMS), f"{self.sent + 5 + n}") for n in range(more)
            ]
            bulk.send_all(some)
            self.sent += len(some)
        bulk.close()

    def _reading(self, number: int) -> None:
        rng, site = random.Random(self._seed + number), Site("127.0.0.1", self._port, SystemClock())
        while not self._ending.is_set():
            shopper = f"s{number + _READERS * rng.randrange(self._shoppers // _READERS)}"
            scenario = rng.choice(SCENARIOS)
            asked: dict[str, Any] = {"user_id": shopper, "scenario": scenario, "count": COUNT}
            if scenario in ("product", "cart", "category"):
                asked["item_ids"] = [rng.choice(ITEMS)]
            try:
                self.read[number].note(shopper, scenario, site.call("POST", "/v1/recommendations", asked))
            except Exception as error:  # a page that is not answered is what this is about
                self.read[number].wrong[f"{scenario}: {type(error).__name__}"] += 1


def viewed(shopper: int, item: str, event_id: str) -> Outgoing:
    """A shopper looks at an item, now."""
    now = datetime.now(UTC)
    one = Event(
        event_name="view_item",
        occurred_at=now,
        received_at=now,
        event_id=f"swap-{event_id}",
        user_id=f"s{shopper}",
        session_id="s",
        items=(EventItem(item_id=item),),
        context=Context(),
    )
    key = record_key_of(one)
    return Outgoing(EVENTS, partition_of(key, PARTITIONS), key, encode(one))


class Proof:
    """One shop, its worker and one API process."""

    def __init__(self, folder: Path, broker: Broker, stack: ExitStack, options: argparse.Namespace) -> None:
        self._options, self._stack = options, stack
        server = redis_server(folder / "redis", stack)
        self._shop = LiveShop(folder / "shop", broker.fresh(), server.url, PARTITIONS, 3600)
        stack.callback(self._shop.close)
        self._models = self._shop.settings.models_dir
        self.outcome = Outcome({"kafka": broker.name, "redis": server.name, "seed": options.seed})

    def run(self) -> None:
        """All of it."""
        self._models.mkdir(parents=True)
        for number, version in enumerate((A, B, BROKEN, WORSE)):
            written(self._models, version, self._options.seed * 10 + number)
        altered(self._models, BROKEN)
        # What the stream counts of items belongs to no model, and fills lists too: here it is left out.
        self._shop.client.zadd(owner(STATISTICS_HOLD), {"proof": 1e13})
        self._fill()
        worker = self._worker = self._shop.worker()
        self._stack.callback(worker.stop)
        self._shop.until_applied(worker)
        self._typed("release", A, "--force", "the first")
        self._until_all(A)
        cores = frozenset(os.sched_getaffinity(0))
        port, _ = self._stack.enter_context(api(self._shop.settings, Path.cwd(), cores))
        load = Load(self._shop, port, self._options.shoppers, self._options.per_s, self._options.seed)
        self._stack.callback(load.end)
        load.begin()
        self._swap()
        load.end()
        self._judge(load)

    def _swap(self) -> None:
        time.sleep(self._options.steady_s)
        self._typed("release", B, "--force", "the second")
        self._until_all(B)
        time.sleep(self._options.steady_s)
        self._refuse()
        time.sleep(self._options.steady_s)
        self._look_at_shelves({B})
        self._typed("rollback")
        self._until_all(A)
        time.sleep(self._options.steady_s)

    def _refuse(self) -> None:
        before = (self._models / "live.json").read_bytes()
        try:
            self._shop.typed.daogou("release", BROKEN, "--force", "it is altered")
            self.outcome.expect(False, "an altered artifact was released")
        except SystemExit as refused:
            self.outcome.expect("altered" in str(refused), f"refused for something else: {refused}")
        worse = Figures(candidate=0.1, floor=0.05, over_floor=_NO, in_service=0.2, over_in_service=(-0.11, -0.09))
        now = datetime.now(UTC)
        compared = Compared(begin=now, end=now, figures={"all/ndcg": worse}, in_service=pointer(self._models).live)
        try:
            release(self._models, WORSE, now, compared)
            self.outcome.expect(False, "a worse model was released")
        except Refused as refused:
            self.outcome.expect(refused.reason == "worse_than_in_service", f"refused for {refused.reason}")
        self.outcome.expect((self._models / "live.json").read_bytes() == before, "a refused release wrote the pointer")

    def _judge(self, load: Load) -> None:
        answers, wrong = Counter[str](), Counter[str]()
        for read in load.read:
            answers.update(read.answers)
            wrong.update(read.wrong)
            for shopper, turns in read.turns.items():
                self.outcome.expect(turns in _turns_allowed(), f"{shopper} saw {turns}")
        self.outcome.said |= {
            "events": load.sent,
            "answers": f"{answers.total()} ({answers[A]} of A, {answers[B]} of B)",
            "wrong_answers": wrong.total(),
        }
        self.outcome.expect(min(answers[A], answers[B]) > 0, "one of the models answered nothing")
        for what, often in wrong.most_common(5):
            self.outcome.expect(False, f"{often} × {what}")

    def _until_all(self, version: str) -> None:
        """Every shelf is of that model; until then each is of one model that was in service."""
        began = time.monotonic()
        self._shop.until(self._worker, lambda: self._look_at_shelves({A, B}) == {version}, f"shelves of {version}")
        self.outcome.said[f"all_{LETTER[version]}_after_s"] = round(time.monotonic() - began, 1)

    def _look_at_shelves(self, allowed: set[str]) -> set[str]:
        found = set()
        for key in self._shop.client.scan_iter("daogou:{p*}:live:*:shelf:*", count=1000):
            raw: Any = self._shop.client.get(key)
            one = shelf.decode(raw)
            found.add(one.model_version)
            letters = {item[0] for item in one.candidates.item_ids}
            sound = one.model_version in allowed and letters == {LETTER[one.model_version]}
            self.outcome.expect(sound, f"a shelf of {one.model_version} has items of {letters}")
        return found

    def _typed(self, *words: str) -> None:
        self._shop.typed.daogou(*words)

    def _fill(self) -> None:
        """The catalogue, and an event of each shopper."""
        bulk = BulkProducer(self._shop.settings.kafka, embedded=self._shop.settings.embedded_kafka)
        facets = [FacetRecord(tenant="default", item_id=i, content=Content(name=i, category=i[0])) for i in ITEMS]
        bulk.send_all(
            Outgoing(
                CATALOG,
                partition_of(record_key(one.tenant, one.item_id), PARTITIONS),
                catalog.key_of(one),
                catalog.encode_record(one),
            )
            for one in facets
        )
        bulk.send_all(viewed(n, ITEMS[n % len(ITEMS)], f"first-{n}") for n in range(self._options.shoppers))
        bulk.close()


def _turns_allowed() -> list[list[str]]:
    """A, B, A again, from any of them on and up to any of them."""
    whole = [A, B, A]
    return [whole[begin:end] for begin in range(3) for end in range(begin + 1, 4)]


def main() -> int:
    """Prove it; the exit status."""
    sigterm_as_ctrl_c()
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-proof-")))
        real = options.kafka or not options.quick
        broker = Real(options.kafka, folder / "kafka", PARTITIONS, stack) if real else Embedded(PARTITIONS, stack)
        proof = Proof(folder, broker, stack, options)
        proof.run()
        print(proof.outcome.line("swap"), flush=True)
        return 1 if proof.outcome.wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few shoppers, and no real Kafka unless --kafka")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kafka", default="", help="bootstrap servers of a real Kafka without our topics")
    options = parser.parse_args()
    options.shoppers, options.per_s, options.steady_s = (200, 100, 2) if options.quick else (5000, 300, 10)
    return options


if __name__ == "__main__":
    sys.exit(main())
