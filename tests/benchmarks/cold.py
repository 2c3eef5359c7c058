"""Cold start: from a new item's event to its being in lists, and from a new visitor's first click to a changed list.

    make bench-cold ARGS="--quick --seed 1 --encoder lexical"

A made shop: worker and API as they are started by hand, Kafka and Redis where DAOGOU_KAFKA and DAOGOU_REDIS name them,
else embedded ones. The model has weights at random, and so few candidates that every list holds all of them: whether an
item is in a list says whether the worker has a vector of it. (Where it stands in a list is a matter of the model, which
`make bench-models` measures.)

New items, one after the other: PUT /v1/items/…, then again and again an event of a known shopper and that shopper's
list with the consistency token of it, until the item is in it. The clock goes from the moment at which the PUT is sent;
it counts the looks, so it is longer than what a worker takes.

New visitors: an anonymous id that nobody knew looks at one item; the list with the token of that event is compared with
the list before.

Beside it, in this process: the processor time in which a model of many items takes up 1 and 256 more.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from features import catalog
from features.catalog import Content, Item, Price
from infra.clock import SystemClock
from infra.kafka import Outgoing
from infra.keys import partition_of, record_key
from infra.settings import Settings
from infra.topics import CATALOG
from models.artifact import FORMAT, NEIGHBOURS, Artifact, Manifest, write
from models.cold import FILE, ColdItems
from models.fusion import Weights
from models.item_features import features_of, names_of, text_of
from models.release import release
from models.scorer import Scorer, opened
from models.text import Whitening, encoder_name, open_encoder
from models.text_lexical import LEXICAL, LexicalEncoder
from models.two_tower import ItemTower, all_vectors, without_history
from models.user_tower import UserTower
from streams.demo.site import Site
from tests.benchmarks.page_servers import api, outside
from tests.bulk import BulkProducer
from tests.streams.workers import Worker

WIDTH: Final = 64
KNOWN: Final = 40
VERSION: Final = "20261101-000000"
COUNT: Final = 100
_WITHIN_S: Final = 120.0
_WORDS: Final = ("tea", "pot", "cup", "jar", "lamp", "chair", "scarf", "shoe", "knife", "bowl")


def item(number: int) -> Item:
    """An item of a few words."""
    words = [_WORDS[number // 10**place % 10] for place in range(3)]
    name = f"{words[0]} with {words[1]} for {words[2]} {number}"
    return Item(
        item_id=f"i{number:05}",
        content=Content(name=name, category=words[0], description=f"A {name}."),
        price=Price(price=Decimal(1 + number % 50), currency="EUR"),
    )


def model_of(items: list[Item], setting: str, folder: Path, models_dir: Path) -> None:
    """An artifact of these items, with weights at random."""
    texts = [text_of(one) for one in items]
    encoder = open_encoder(setting, texts, folder, lambda _: None)
    vectors = encoder.encode(texts, lambda _: None)
    whitening = Whitening.of(vectors)
    torch.manual_seed(1)
    rng, count = np.random.default_rng(1), len(items)
    tower = ItemTower(
        features_of(items, whitening.whitened(vectors)), np.zeros(count, np.float32), np.ones(count), WIDTH, 0.0
    )
    users = UserTower(WIDTH)
    cold = ColdItems(without_history(tower), whitening, *names_of(items), texts=whitening.whitened(vectors))
    arrays = {
        "vectors": all_vectors(tower, count),
        "popularity": rng.random(count).astype(np.float32),
        "neighbours": np.full((count, NEIGHBOURS), -1, np.int32),
        "neighbour_scores": np.zeros((count, NEIGHBOURS), np.float32),
        "candidates": np.arange(count, dtype=np.int32),
    }
    at = datetime(2026, 11, 1, tzinfo=UTC)
    manifest = Manifest(
        version=VERSION, format=FORMAT, made_at=at, fitted_before=at, tested_until=at, events=0, code="bench", seed=1,
        text_encoder=encoder_name(setting), weights={task: Weights(1, 1, 1, 0) for task in ("new", "all")}, metrics={},
        shape={"items": count, "width": WIDTH}, checksums={},
    )  # fmt: skip
    files = {FILE: cold.save}
    if isinstance(encoder, LexicalEncoder):
        files[f"{LEXICAL}.npz"] = encoder.save
    parameters = {name: value.detach().numpy() for name, value in users.state_dict().items()}
    write(models_dir, manifest, arrays, parameters, [one.item_id for one in items], files=files)
    release(models_dir, VERSION, at, None, force="the first")


def new_items(site: Site, many: int) -> list[float]:
    """Seconds from the PUT of each new item to a list that holds it."""
    taken: list[float] = []
    before: list[str] = []
    for number in range(KNOWN, KNOWN + many):
        one = item(number)
        body = msgspec.to_builtins({"content": one.content, "price": one.price}, str_keys=True)
        begin = time.perf_counter()
        site.call("PUT", f"/v1/items/{one.item_id}", {k: _sparse(v) for k, v in body.items()})
        while one.item_id not in listed(site, "known", before[-400:]):
            if time.perf_counter() - begin > _WITHIN_S:
                raise SystemExit(f"{one.item_id} is in no list after {_WITHIN_S:.0f} s")
        taken.append(time.perf_counter() - begin)
        before.append(one.item_id)
    return taken


def listed(site: Site, shopper: str, left_out: list[str]) -> set[str]:
    """The shopper's list after one more event."""
    token = site.post_event(shopper, "view_item", {"item_id": "i00001"})
    asked = {"user_id": shopper, "count": COUNT, "min_token": token, "max_wait_ms": 2000, "exclude_item_ids": left_out}
    answer = site.call("POST", "/v1/recommendations", asked)
    # What fills a list from the catalogue needs no vector.
    return {one["item_id"] for one in answer["items"] if one["source"] != "catalogue"}


def new_visitors(site: Site, many: int) -> tuple[list[float], int]:
    """Milliseconds from the first click to the list that knows of it; how many lists changed."""
    taken, changed = [], 0
    for number, visitor in enumerate(site.visitors(many)):
        before = [one["item_id"] for one in site.list_for(visitor)["items"]]
        begin = time.perf_counter()
        token = site.post_event(visitor, "view_item", {"item_id": f"i{number % KNOWN:05}"})
        answer = site.list_for(visitor, token)
        taken.append((time.perf_counter() - begin) * 1000)
        fresh = not answer["freshness"]["stale"] and not answer["fallback"]["used"]
        changed += fresh and [one["item_id"] for one in answer["items"]] != before
    return taken, changed


def taking_up(many: int) -> dict[int, float]:
    """Processor milliseconds in which a model of so many items takes up 1 and 256 more."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="daogou-bench-") as folder:
        model_of([item(number) for number in range(1000)], LEXICAL, Path(folder), Path(folder) / "models")
        small = opened(Artifact.open(Path(folder) / "models" / VERSION))
    times = many // 1000
    wide = msgspec.structs.replace(
        small,
        item_ids=[f"x{number}" for number in range(many)],
        vectors=np.tile(small.vectors, (times, 1)),
        popularity=np.tile(small.popularity, times),
        neighbours=np.tile(small.neighbours, (times, 1)),
        neighbour_scores=np.tile(small.neighbour_scores, (times, 1)),
        candidates=np.arange(many, dtype=np.int32),
    )
    scorer, found = Scorer(wide), {}
    for more in (1, 256):
        vectors = np.zeros((more, WIDTH + 1), np.float32)
        spent = []
        for _ in range(5):
            begin = time.process_time()
            scorer.with_items([f"y{number}" for number in range(more)], vectors)
            spent.append((time.process_time() - begin) * 1000)
        found[more] = float(np.median(spent))
    return found


def main() -> int:
    """Measure and print; 1 when an item took more than 5 s at p99, or a list did not change with the first click."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-bench-")))
        settings, servers = stack.enter_context(outside(folder))
        settings = settings.model_copy(update={"data_dir": folder / "data", "text_encoder": options.encoder})
        settings.data_dir.mkdir()
        items = [item(number) for number in range(KNOWN)]
        model_of(items, options.encoder, folder / "text", settings.models_dir)
        _stocked(settings, items)
        stack.callback(Worker(settings).stop)
        port, _ = stack.enter_context(api(settings, Path.cwd(), frozenset(os.sched_getaffinity(0))))
        site = Site("127.0.0.1", port, SystemClock())
        _until_known(site)
        until = time.monotonic() + options.settle
        while time.monotonic() < until:  # asked now and then, that the connection stays
            time.sleep(min(1.0, options.settle))
            listed(site, "known", [])
        began = new_items(site, 1)[0] if options.encoder != LEXICAL else None
        items_s = new_items_after(site, options.items, began is not None)
        clicks_ms, changed = new_visitors(site, options.visitors)
    print(f"cold start: {servers}, encoder {options.encoder}, seed {options.seed}")
    if began is not None:
        print(f"  the first new item, {options.settle:.0f} s after the worker's first list: {began:.2f} s")
    p50, p95, p99 = np.percentile(items_s, (50, 95, 99))
    shown = f"p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s, max {max(items_s):.2f} s"
    print(f"  {len(items_s)} new items, event to lists: {shown}")
    p50, p99 = np.percentile(clicks_ms, (50, 99))
    shown = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms; {changed} lists changed"
    print(f"  {len(clicks_ms)} new visitors, first click to list: {shown}")
    for many in options.sizes:
        told = ", ".join(f"{more}: {ms:.0f} ms" for more, ms in taking_up(many).items())
        print(f"  processor time in which a model of {many:,} items takes up more: {told}")
    good = float(np.percentile(items_s, 99)) <= 5.0 and changed == len(clicks_ms)
    print(f"cold start: {'ok' if good else 'FAILED'}")
    return 0 if good else 1


def new_items_after(site: Site, many: int, one_is_there: bool) -> list[float]:
    """The others, behind the first."""
    return new_items(site, many + one_is_there)[int(one_is_there) :]


def _sparse(value: Any) -> Any:
    return {name: of_it for name, of_it in value.items() if of_it not in (None, [], {}, "")}


def _stocked(settings: Settings, items: list[Item]) -> None:
    bulk = BulkProducer(settings.kafka, embedded=settings.embedded_kafka)
    facets = [facet for one in items for facet in catalog.facets(one, "default")]
    bulk.send_all(
        Outgoing(
            CATALOG,
            partition_of(record_key(one.tenant, one.item_id), settings.partition_count),
            catalog.key_of(one),
            catalog.encode_record(one),
        )
        for one in facets
    )
    bulk.close()


def _until_known(site: Site) -> None:
    until = time.monotonic() + _WITHIN_S
    while not listed(site, "known", []):
        if time.monotonic() > until:
            raise SystemExit("the shop does not come up")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="From a new item's event to lists, from a first click to a list.")
    parser.add_argument("--encoder", default=LEXICAL, help="as DAOGOU_TEXT_ENCODER")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settle", type=float, default=0.0, help="seconds between the first list and the first item")
    parser.add_argument("--quick", action="store_true", help="20 items and visitors")
    options = parser.parse_args()
    options.items, options.visitors = (20, 20) if options.quick else (150, 200)
    options.sizes = [24_000] if options.quick else [24_000, 100_000]
    return options


if __name__ == "__main__":
    sys.exit(main())
