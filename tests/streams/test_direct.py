"""A direct load counts what it did: each event once, and dead letters by reason."""

import asyncio
from io import StringIO
from pathlib import Path

from redis import Redis
from rich.console import Console

from infra import redis as infra_redis
from infra.settings import Settings
from streams.direct import DirectLoad, Written
from streams.load_report import print_report
from tests.features.past import made_events
from tests.streams.loads import direct, quietly, rows, run


def loaded(settings: Settings, count: int, total: int) -> Written:
    """A load that was to bring `total` events, of which all but `count` turned out to be none."""

    async def write() -> Written:
        client = await infra_redis.connect(settings.redis, 5000)
        try:
            events = made_events(count, seed=1)
            return await DirectLoad(settings, client, "load-of-the-test", quietly()).run([], events, total)
        finally:
            await client.aclose()

    return asyncio.run(write())


def test_what_was_refused_on_the_way_was_not_applied_before(settings: Settings, empty: Redis) -> None:
    first = loaded(settings, count=20, total=25).counts()
    assert (first["archived"], first["applied before"]) == (20, 0)
    assert first["applied"] + first["duplicates"] + first["late"] == 20
    again = loaded(settings, count=20, total=25).counts()
    assert (again["archived"], again["applied"], again["applied before"]) == (0, 0, 20)


def test_dead_letters_are_told_by_reason(settings: Settings, empty: Redis, retail: Path) -> None:
    """A row that nobody can read: every event of that shopper goes to the dead letters, and the report says why."""
    run(settings, direct(retail))
    broken = next(iter(rows(empty)))
    empty.flushall()
    empty.set(broken, b"no row")
    report = run(settings.model_copy(update={"data_dir": settings.data_dir / "again"}), direct(retail))
    dead = report.applied["dead letters"]
    assert dead > 0
    assert report.dead_letters == {"row_unreadable": dead}
    assert report.applied["applied"] + dead == 40
    shown = StringIO()
    print_report(report, Console(file=shown, width=120))
    assert f"dead letters: row_unreadable {dead}" in shown.getvalue()
