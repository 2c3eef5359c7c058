"""The lane to Redis: answers in order, deadlines, coming back by itself; real servers and a mute one."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from infra.embedded.redis_server import EmbeddedRedis
from infra.errors import RedisAway
from infra.redis_lane import RedisLane


async def until_connected(lane: RedisLane) -> None:
    async with asyncio.timeout(20):
        while not lane.connected:
            await asyncio.sleep(0.01)


async def test_many_callers_get_their_own_answers(redis: Redis, redis_url: str) -> None:
    await redis.mset({f"k{n}": f"v{n}" for n in range(200)})
    lane = RedisLane(SecretStr(redis_url), 5000)
    await lane.start()
    answers = await asyncio.gather(*(lane.ask((("GET", f"k{n}"), ("MGET", f"k{n}", "none"))) for n in range(200)))
    assert answers == [[f"v{n}".encode(), [f"v{n}".encode(), None]] for n in range(200)]
    with pytest.raises(RedisAway, match="WRONGTYPE"):
        await lane.ask((("LPUSH", "k1", "x"),))
    assert await lane.ask((("GET", "k1"),)) == [b"v1"]
    await lane.close()
    with pytest.raises(RedisAway):
        await lane.ask((("PING",),))


async def test_a_server_that_ends_is_away_until_it_is_back(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    lane = RedisLane(SecretStr(url), 1000)
    await lane.start()
    assert await lane.ask((("PING",),)) == [b"PONG"]
    client = Redis.from_url(url)
    # The server closes the connection; the lane makes another.
    await client.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
    await client.aclose()
    async with asyncio.timeout(20):
        while lane.connected:
            await asyncio.sleep(0)
    with pytest.raises(RedisAway, match="does not answer"):
        await lane.ask((("PING",),))
    await until_connected(lane)
    assert await lane.ask((("PING",),)) == [b"PONG"]
    server.stop()
    async with asyncio.timeout(20):
        while lane.connected:
            await asyncio.sleep(0)
    with pytest.raises(RedisAway, match="connection lost"):
        await lane.ask((("PING",),))
    await lane.close()


async def test_a_mute_server_costs_one_deadline() -> None:
    heard = asyncio.Event()

    async def answer_hello_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(b"+PONG\r\n")
        await reader.read(100)
        heard.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer_hello_only, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lane = RedisLane(SecretStr(f"redis://127.0.0.1:{port}/"), 50)
    await lane.start()
    with pytest.raises(RedisAway, match="no answer in time"):
        await lane.ask((("GET", "x"),))
    assert heard.is_set()
    await lane.close()
    server.close()


async def test_a_wrong_address_or_password_is_said_without_the_password(redis_url: str) -> None:
    with pytest.raises(RedisAway, match=r"127\.0\.0\.1:1 ") as caught:
        await RedisLane(SecretStr("redis://:hidden@127.0.0.1:1/0"), 500).start()
    assert "hidden" not in str(caught.value)
    with pytest.raises(RedisAway) as caught:
        await RedisLane(SecretStr(redis_url.replace("//", "//:hidden@")), 500).start()
    assert "hidden" not in str(caught.value)
