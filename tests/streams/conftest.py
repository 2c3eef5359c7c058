"""A broker for tests that need a log of their own; an empty Redis and a file for those of loading."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from redis import Redis

from infra.embedded.kafka_broker import EmbeddedKafka
from infra.settings import Settings
from tests.streams.files import RETAIL_HEADER, retail_line, written
from tests.streams.shop import LOG, PARTITIONS

if TYPE_CHECKING:
    from tests.streams.trained import Shop


@pytest.fixture
def broker() -> Iterator[str]:
    """The bootstrap address of a broker whose log this test begins."""
    one = EmbeddedKafka(PARTITIONS, log_id=LOG)
    yield one.start()
    one.stop()


@pytest.fixture
def empty(redis_url: str) -> Iterator[Redis]:
    """A client of an empty Redis for code that blocks."""
    client = Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def retail(tmp_path: Path) -> Path:
    """Forty invoices of seven customers and some strangers, not in the order of time."""
    lines = [
        retail_line(
            f"5{n:05}", f"8{m}", m + 1, f"{m + 1}.50",
            at=f"2011-03-{1 + (n * 7) % 28:02} 10:00:00",
            customer=f"178{n % 7:02}.0" if n % 8 else "",
        )
        for n in range(40)
        for m in range(1 + n % 5)
    ]  # fmt: skip
    return written(tmp_path, "retail.csv.gz", RETAIL_HEADER, *lines, lines[0], retail_line("9", "POST"), packed=True)


@pytest.fixture(scope="session")
def trained_shop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> "Shop":
    """A shop with a trained model, for all who read it or copy it; torch comes in with it."""
    from tests.streams.trained import Shop, encoder

    root = tmp_path_factory.mktemp("trained")
    settings = Settings(
        redis=SecretStr(redis_url),
        data_dir=root / "data",
        tenant="default",
        partitions=2,
        text_encoder=encoder(root / "tiny-encoder"),
    )
    return Shop(settings, redis_url)
