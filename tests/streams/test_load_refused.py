"""What is refused of a load, and that it is refused before a long file is read."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest
from redis import Redis

from features.events import EVENT_NAMES
from infra import redis as infra_redis
from infra.errors import BadInput, Refused
from infra.keys import LIVE
from infra.settings import Settings
from streams.holds import Hold
from streams.load import LoadRequest, load_command
from streams.load_report import Example, _example
from streams.spool import Window
from tests.streams.files import written
from tests.streams.loads import direct, rows, run


def test_refused_while_a_worker_holds_the_namespace(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    async def held() -> None:
        client = await infra_redis.connect(settings.redis, 5000)
        await Hold(client, LIVE, "worker", alone=False).take()
        await client.aclose()

    asyncio.run(held())
    with pytest.raises(Refused, match="held by a worker"):  # before the file is read, which is none of this kind
        run(settings, direct(written(tmp_path, "a.csv", "no,such,header")))
    assert rows(empty) == {}


def test_refused_before_anything_is_read_while_topics_differ(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    other = settings.model_copy(update={"partitions": 4})
    request = LoadRequest(str(written(tmp_path, "a.csv", "no,such,header")), "online-retail")
    with pytest.raises(Refused, match="has 8 partitions, the settings say 4"):
        run(other, request)


def test_a_file_of_which_every_line_is_refused_is_no_success(settings: Settings, empty: Redis, retail: Path) -> None:
    with pytest.raises(BadInput, match="all of its 123 lines were refused, 123 as 'cut'; is --mapping taobao"):
        load_command(settings, str(retail), "taobao", direct=True, quiet=True)


def test_a_catalogue_of_which_every_row_is_refused_is_no_success(
    settings: Settings, empty: Redis, tmp_path: Path
) -> None:
    catalogue = written(tmp_path, "a.csv", "id,name,price", "1,Tea,1", "2,,1 EUR")
    with pytest.raises(BadInput, match=r"all of its 2 rows were refused, 1 as .*docs/formats\.md") as caught:
        load_command(settings, items=catalogue, direct=True, quiet=True)
    assert caught.value.reason == "nothing_taken"


def test_a_long_example_is_cut_at_a_word_or_not_at_all(tmp_path: Path) -> None:
    known = ", ".join(EVENT_NAMES)
    assert _example(Example(1, f"event_name must be one of {known}, or another.")).endswith(", or another.")
    assert _example(Example(1, "word " * 200)).endswith("word …")


def test_a_file_needs_a_mapping_and_its_report_a_folder(settings: Settings, empty: Redis, retail: Path) -> None:
    with pytest.raises(BadInput, match=r"say how .*retail\.csv\.gz is read: --mapping online-retail"):
        load_command(settings, str(retail), direct=True)
    with pytest.raises(BadInput, match="there is no folder"):
        load_command(settings, str(retail), "online-retail", direct=True, json_file=retail / "report.json")


@pytest.mark.parametrize(
    "request_",
    [
        LoadRequest(),
        LoadRequest("a.csv", "nothing"),
        LoadRequest("a.csv", "taobao", live=True, direct=True),
        LoadRequest("a.csv", "taobao", window=Window(limit=-1)),
        LoadRequest("a.csv", "taobao", window=Window(since=datetime(2017, 1, 1))),
    ],
)
def test_requests_that_do_not_fit_together(settings: Settings, request_: LoadRequest) -> None:
    window = request_.window
    with pytest.raises(BadInput):
        load_command(
            settings,
            request_.source,
            request_.mapping,
            live=request_.live,
            direct=request_.direct,
            since=window.since,
            limit=window.limit,
        )
