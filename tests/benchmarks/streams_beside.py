"""Beside the worker, on the same kind of log: a plain consumer, and a stock Faust agent, that decode and no more.

    python -m tests.benchmarks.streams_beside consumer|faust --kafka SERVERS --events N --folder DIR

As a command it reads N events and prints how many a second it had, from the first tenth of them to the last.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from features.events import Event
from infra.children import end_child, start_child
from infra.topics import EVENTS
from tests.benchmarks.machine import on_cores
from tests.benchmarks.streams_figures import Found
from tests.benchmarks.streams_shop import Shoppers
from tests.benchmarks.streams_stage import PARTITIONS, Ground, stage

_AT_ONCE: Final = 500
_WITHIN_S: Final = 300.0
_WAYS: Final = {"consumer": "confluent-kafka alone", "faust": "a stock Faust agent"}


class _Count:
    """Counts events; the clock runs from the first tenth to the last."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._seen = 0
        self._began = self._ended = 0.0
        self._begun_at = 0

    def add(self, many: int) -> bool:
        """So many more; whether all are there."""
        self._seen += many
        if not self._began and self._seen >= self._wanted // 10:
            self._began, self._begun_at = time.monotonic(), self._seen
        if self._seen < self._wanted:
            return False
        self._ended = time.monotonic()
        return True

    @property
    def rate(self) -> float:
        return (self._seen - self._begun_at) / (self._ended - self._began)


def beside(ground: Ground) -> Found:
    """The rate of each of them, alone on the measured core; no rows, no Redis, no effects."""
    many = 30_000 if ground.quick else 500_000
    found: dict[str, list[float]] = {way: [] for way in _WAYS}
    with stage(ground, "beside") as on:
        shoppers = Shoppers(ground.names(), ground.seed, PARTITIONS)
        on.fill(islice(shoppers.all_different(), many))
        for number in range(1 if ground.quick else 3):
            for way in _WAYS:
                folder = ground.folder / "beside" / f"{way}-{number}"
                with on_cores(ground.cores.measured):
                    found[way].append(_measured(way, on.settings.kafka, many, folder))
    summary = []
    for way, rates in found.items():
        text = f"{sorted(rates)[len(rates) // 2]:,.0f} events/s"
        print(f"{'beside':<10} {_WAYS[way]}, decoding: {text} ({min(rates):,.0f} to {max(rates):,.0f})", flush=True)
        summary.append(f"{_WAYS[way]} {text}")
    return Found(", ".join(summary))


def _measured(way: str, kafka: str, many: int, folder: Path) -> float:
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.benchmarks.streams_beside", way, "--kafka", kafka]
    output = folder / "said"
    with output.open("wb") as said:
        process = start_child(
            [*command, "--events", str(many), "--folder", str(folder)], env=dict(os.environ), output=said
        )
    try:
        status = process.wait(_WITHIN_S)
    except subprocess.TimeoutExpired:
        status = -1
    finally:
        end_child(process, 5.0)
    text = output.read_text()
    if status:
        raise SystemExit(f"{_WAYS[way]} ended with {status}: {text[-2000:]}")
    return float(text.split()[-1])


def _decoder() -> Callable[[bytes], Event]:
    return msgspec.json.Decoder(Event).decode


def _consume(kafka: str, many: int) -> float:
    from confluent_kafka import Consumer

    config = {"bootstrap.servers": kafka, "group.id": f"bench-plain-{time.time_ns()}", "auto.offset.reset": "earliest"}
    consumer, decode, count = Consumer(config), _decoder(), _Count(many)
    consumer.subscribe([EVENTS])
    try:
        while True:
            messages = consumer.consume(_AT_ONCE, timeout=1.0)
            for message in messages:
                if message.error() is not None:
                    raise SystemExit(str(message.error()))
                decode(message.value() or b"")
            if count.add(len(messages)):
                return count.rate
    finally:
        consumer.close()


def _agent(kafka: str, many: int, folder: Path) -> float:
    """As Faust's own documents make one: an agent takes one event at a time, and acknowledges it."""
    import faust
    import uvloop

    decode, count = _decoder(), _Count(many)

    async def run() -> float:
        ended = asyncio.Event()
        app = faust.App(
            f"bench-stock-{time.time_ns()}",
            broker=f"kafka://{kafka}",
            datadir=folder / "data",
            autodiscover=False,
            web_enabled=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
        )
        topic = app.topic(EVENTS, value_type=bytes, value_serializer="raw")

        async def each(stream: Any) -> None:
            async for value in stream:
                decode(value)
                if count.add(1):
                    ended.set()

        app.agent(topic)(each)
        await app.start()
        await ended.wait()
        rate = count.rate
        await app.stop()
        return rate

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def main() -> int:
    """Read, print the rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=tuple(_WAYS))
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    way = given.way
    rate = _consume(given.kafka, given.events) if way == "consumer" else _agent(given.kafka, given.events, given.folder)
    print(rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
