"""A changed feature, backfilled by a replay and promoted while 500 events a second keep coming: nothing is missing.

An old worker runs, and events keep coming until all is over. By a copy of the tree with other features (`other_code`):

1. A replay of the archive into a namespace. The old worker is asked to serve it, and refuses: it is other code.
2. The old worker is stopped, a new one started, the namespace promoted.
3. Every event of the log is in a row, by a plain reading of the log: none lost, none twice. Live is, byte for byte, a
   replay of the whole log by the new code. Each shopper's Feast row has the new features, as they follow from its row.
   The offline log, built anew, ends with the same values.
4. The new worker is stopped, an old one started, and rolled back: rows, timers, statistics and links are a replay of
   the whole log by the old code. How many shoppers still have a value of the new code is told.
5. No shopper got a second message of one abandoned cart: as the cart has to change after the first was due, the second
   is due a whole time of waiting later. A message that lies twice on its topic, for a worker ended between sending it
   and noting so, has the same id and the same bytes; how many do is told.
"""

import json
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.dataset as ds

from features import catalog, shoppers
from features.aggregates import SHOPPER_BEHAVIOUR
from features.catalog import Content, FacetRecord
from features.value_codec import decode_value, entity_key, hash_field
from infra.kafka import Follower, Outgoing
from infra.kafka_admin import end_offsets
from infra.keys import feast_project, partition_of, record_key
from infra.topics import CATALOG, EVENTS, TRIGGERS
from tests.bulk import BulkProducer
from tests.proofs.feeds import MadeEvents
from tests.proofs.live_shop import LiveShop
from tests.proofs.made_events import CORRUPT, records
from tests.proofs.other_code import CHANGED, NEW, written
from tests.proofs.outcome import Outcome
from tests.proofs.outside import Broker, redis_server
from tests.proofs.runs import Run
from tests.proofs.steady import Steady

_STEADY: Final = 500
_MOST: Final = 240_000
_ITEMS: Final = 300
_CART_ABANDONED_S: Final = 1800
_READ_S: Final = 5.0
_LEFT: Final = {f"feature {CHANGED}", "feature of another view"}


class _Id(msgspec.Struct):
    event_id: str


class Changed:
    """One shop, two codes."""

    def __init__(self, folder: Path, broker: Broker, stack: ExitStack, partitions: int, seed: int) -> None:
        self._seed = seed
        self._partitions = partitions
        server = redis_server(folder / "redis", stack)
        self._shop = LiveShop(folder / "shop", broker.fresh(), server.url, partitions, _CART_ABANDONED_S)
        stack.callback(self._shop.close)
        self._code = written(folder / "changed")
        self._old, self._new = self._shop.typed, self._shop.typed.by(self._code)
        self.outcome = Outcome({"kafka": broker.name, "redis": server.name, "seed": seed})

    def run(self, events: int, steady_s: float) -> None:
        """All of it; `steady_s` before and after each change."""
        self._catalogue()
        now = datetime.now(UTC)
        run = Run(self._shop.settings, MadeEvents(partial(records, events, self._seed, now, self._partitions)), 1)
        run.apply()
        run.close()
        self._old.daogou("features", "build")
        with Steady(self._shop.settings, _STEADY, self._seed, datetime.now(UTC), most=_MOST) as steady:
            self._go_over(steady, steady_s)
            self._judge(steady)
            self._go_back(steady, steady_s)
            sent = steady.end()
            self.outcome.said["while_changing"] = f"{sent} events, {sent / steady.busy_s:.0f}/s"
            self.outcome.expect(not steady.ran_out, "there were no more events to send before the end")
        self._judge_messages()

    def _catalogue(self) -> None:
        some = [
            FacetRecord(tenant="default", item_id=f"i{n}", content=Content(name=f"Item {n}")) for n in range(_ITEMS)
        ]
        bulk = BulkProducer(self._shop.settings.kafka, embedded=self._shop.settings.embedded_kafka)
        bulk.send_all(
            Outgoing(
                CATALOG,
                partition_of(record_key(one.tenant, one.item_id), self._partitions),
                catalog.key_of(one),
                catalog.encode_record(one),
            )
            for one in some
        )
        bulk.close()

    def _go_over(self, steady: Steady, steady_s: float) -> None:
        expect, worker = self.outcome.expect, self._shop.worker()
        try:
            steady.more(steady_s)
            self._new.run("run", "--into", "changed", "--source", "archive", "--code-label", "changed", "--no-score")
            status = self._new.run("promote", "changed", allowed=(0, 1))
            expect(status == 1 and "was made by other code" in self._new.said, "the old worker served other code")
        finally:
            expect(worker.stop() == 0, f"the old worker did not end well: {worker.last_words}")
        self._worker = self._shop.worker(self._code)
        self._new.run("promote", "changed", "--timeout", "120")
        steady.more(steady_s)

    def _judge(self, steady: Steady) -> None:
        """What is live now, against the log and against the whole log folded anew by the new code."""
        steady.pause()
        self._shop.until_applied(self._worker)
        self._judge_events()
        self._new.run("run", "--into", "truth", "--source", "kafka", "--no-score")
        status, found = self._new.diff("truth", "live")
        self.outcome.said["new_code"] = _said(found)
        self.outcome.expect(status == 0 and found["equal"], f"live is not the log by the new code: {found}")
        self._judge_features()
        steady.resume()

    def _judge_events(self) -> None:
        """Each distinct event of the log is in exactly one row."""
        wanted, twice, corrupt = self._on_log()
        found: Counter[str] = Counter()
        for row in self._shop.rows("changed").values():
            settled, recent = shoppers.unpacked(row)
            self.outcome.expect(settled.newest == 0, "an event is settled: its id cannot be looked for any more")
            found.update(step.event_id for step in recent)
        self.outcome.said["events"] = f"{len(wanted)} ({twice} twice, {corrupt} corrupt)"
        self.outcome.expect(found.keys() == wanted, f"{len(wanted - found.keys())} events are missing")
        self.outcome.expect(found.total() == len(found), f"{found.total() - len(found)} events are there twice")

    def _on_log(self) -> tuple[set[str], int, int]:
        settings, ids, corrupt = self._shop.settings, Counter[str](), 0
        left = sum(end_offsets(settings.brokers, EVENTS).values())
        follower = Follower(settings.brokers, EVENTS, "start", embedded=settings.embedded_kafka)
        while left > 0:
            for record in follower.read(5000, _READ_S):
                left -= 1
                if (record.value or b"").startswith(CORRUPT):
                    corrupt += 1
                else:
                    ids[msgspec.json.decode(record.value or b"", type=_Id).event_id] += 1
        follower.close()
        return set(ids), ids.total() - len(ids), corrupt

    def _judge_features(self) -> None:
        """Online and offline, each shopper's features follow from its row, by reckoning of our own."""
        wanted = {key: (2 * row.state.views, len(row.state.cart)) for key, row in self._shop.rows("changed").items()}
        online = {key: self._online(key) for key in wanted}
        self.outcome.said["online"] = sum(online[key] == values for key, values in wanted.items())
        self.outcome.expect(online == wanted, f"online features differ: {_first(online, wanted)}")
        self._new.daogou("features", "build")
        offline, rows, without = self._offline()
        self.outcome.said["offline"] = f"{sum(offline.get(k) == v for k, v in wanted.items())} of {rows} rows"
        self.outcome.expect(without == 0, f"{without} offline rows are without the new feature")
        self.outcome.expect(offline == wanted, f"offline features differ: {_first(offline, wanted)}")

    def _online(self, key: str) -> tuple[Any, Any]:
        view = SHOPPER_BEHAVIOUR
        fields = [hash_field(view.name, name) for name in (CHANGED, NEW)]
        raws: Any = self._shop.client.hmget(entity_key(view.entity, key, feast_project("changed")), fields)
        one, other = (decode_value(raw) for raw in raws)
        return one, other

    def _offline(self) -> tuple[dict[str, tuple[Any, Any]], int, int]:
        """The values of each shopper's last row, how many rows there are, and how many lack the new feature."""
        view = SHOPPER_BEHAVIOUR
        folder = self._shop.settings.offline_dir / "current" / view.name
        table: Any = ds.dataset(folder, format="parquet")
        table = table.to_table(columns=[view.entity, "known_timestamp", CHANGED, NEW]).sort_by("known_timestamp")
        keys, views, lines = (table.column(name).to_pylist() for name in (view.entity, CHANGED, NEW))
        last = dict(zip(keys, zip(views, lines, strict=True), strict=True))
        return last, table.num_rows, table.column(NEW).null_count

    def _go_back(self, steady: Steady, steady_s: float) -> None:
        expect, worker = self.outcome.expect, self._worker
        expect(worker.stop() == 0, f"the new worker did not end well: {worker.last_words}")
        worker = self._shop.worker()
        try:
            steady.more(steady_s)
            self._old.run("rollback", "--timeout", "120")
            steady.more(steady_s)
            steady.pause()
            self._shop.until_applied(worker)
            self._old.run("run", "--into", "old-truth", "--source", "kafka", "--no-score")
            _, found = self._old.diff("old-truth", "live")
        finally:
            expect(worker.stop() == 0, f"the old worker did not end well: {worker.last_words}")
        self.outcome.said["old_code"] = f"{_said(found)}, {found['features_different']} still with the new code's value"
        same = found["rows_equal"] == found["both"] > 0 and not found["only_one"] and not found["only_other"]
        expect(same and not _entries_differ(found), f"live is not the log by the old code: {found}")
        expect(set(found["changes"]) <= _LEFT, f"other features differ: {found['changes']}")

    def _judge_messages(self) -> None:
        settings, ids, whose = self._shop.settings, Counter[str](), dict[str, set[datetime]]()
        made = set[bytes]()
        left = sum(end_offsets(settings.brokers, TRIGGERS).values())
        follower = Follower(settings.brokers, TRIGGERS, "start", embedded=settings.embedded_kafka)
        while left > 0:
            for record in follower.read(1000, _READ_S):
                left -= 1
                message = json.loads(record.value or b"{}")
                made.add(record.value or b"")
                ids[message["trigger_id"]] += 1
                due = datetime.fromisoformat(message["eligible_at"])
                whose.setdefault(message["shopper_id"], set()).add(due)
        follower.close()
        self.outcome.said["messages"] = f"{len(ids)} to {len(whose)} shoppers, {ids.total() - len(ids)} of them twice"
        self.outcome.expect(len(ids) > 0, "no message was sent: budgets prove nothing")
        self.outcome.expect(len(made) == len(ids), f"{len(made) - len(ids)} messages have an id and other bytes, too")
        wait = timedelta(seconds=_CART_ABANDONED_S)
        soon = sum(later - earlier <= wait for dues in whose.values() for earlier, later in pairwise(sorted(dues)))
        self.outcome.expect(soon == 0, f"{soon} shoppers got two messages of one cart")


def _said(found: dict[str, Any]) -> str:
    entries = {name: found[name]["equal"] for name in ("timers", "statistics", "links")}
    return "/".join(f"{n}{name}" for name, n in {"rows": found["rows_equal"], **entries}.items())


def _entries_differ(found: dict[str, Any]) -> bool:
    return any(found[name][how] for name in ("timers", "statistics", "links") for how in ("different", "only_one"))


def _first(found: dict[str, Any], wanted: dict[str, Any]) -> object:
    return next(
        ((found.get(key), wanted.get(key)) for key in found | wanted if found.get(key) != wanted.get(key)), None
    )
