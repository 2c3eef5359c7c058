"""The lane to Redis: answers in order, deadlines, coming back by itself; real servers and a mute one."""

import asyncio
import contextlib
import os
import signal
import time
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


async def test_a_server_that_stands_still_costs_one_deadline_until_it_goes_on(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    lane = RedisLane(SecretStr(server.start()), 50)
    await lane.start()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        first = await asyncio.gather(*(lane.ask((("PING",),)) for _ in range(20)), return_exceptions=True)
        assert {str(one).rpartition("(")[2] for one in first} == {"no answer in time)"}
        for _ in range(20):
            asked = asyncio.ensure_future(lane.ask((("PING",),)))
            await asyncio.sleep(0)  # one turn: nothing is waited for
            assert asked.done()
            with pytest.raises(RedisAway, match="connection lost"):
                asked.result()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    async with asyncio.timeout(5):
        while not lane.connected:
            await asyncio.sleep(0.01)
    assert await lane.ask((("PING",),)) == [b"PONG"]
    await lane.close()
    server.stop()


async def test_an_answer_that_came_while_this_process_was_busy_is_in_time(redis: Redis, redis_url: str) -> None:
    await redis.set("x", "1")
    lane = RedisLane(SecretStr(redis_url), 20)
    await lane.start()
    asked = asyncio.ensure_future(lane.ask((("GET", "x"),)))
    asyncio.get_running_loop().call_later(0.001, time.sleep, 0.1)  # the event loop stands still
    assert await asked == [b"1"]
    await lane.close()


async def test_a_server_that_answers_too_late_is_not_taken_back(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    port = int(server.start().rpartition(":")[2].split("/")[0])
    held = Slow(port)
    async with await asyncio.start_server(held.carry, "127.0.0.1", 0) as between:
        lane = RedisLane(SecretStr(f"redis://127.0.0.1:{between.sockets[0].getsockname()[1]}/0"), 50)
        await lane.start()
        held.by_s = 0.2
        with pytest.raises(RedisAway, match="no answer in time"):
            await lane.ask((("PING",),))
        async with asyncio.timeout(20):
            while held.answers < 6:  # hello, and the first try of each of some connections
                assert not lane.connected
                await asyncio.sleep(0.01)
        held.by_s = 0.0
        await until_connected(lane)
        assert await lane.ask((("PING",),)) == [b"PONG"]
        await lane.close()
        await held.ended()
    server.stop()


class Slow:
    """Carries bytes to a server, and its answers back so much later."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.by_s = 0.0
        self.answers = 0
        self._carrying: set[asyncio.Task[None] | None] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carrying.add(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(ConnectionError):
            while asked := await reader.read(65536):
                back.write(asked)
                answer = await there.read(65536)
                await asyncio.sleep(self.by_s)
                writer.write(answer)
                self.answers += 1
        for one in (writer, back):
            one.close()
            with contextlib.suppress(ConnectionError):
                await one.wait_closed()

    async def ended(self) -> None:
        """Until every connection has ended."""
        await asyncio.wait([one for one in self._carrying if one is not None])


async def test_a_wrong_address_or_password_is_said_without_the_password(redis_url: str) -> None:
    with pytest.raises(RedisAway, match=r"127\.0\.0\.1:1 ") as caught:
        await RedisLane(SecretStr("redis://:hidden@127.0.0.1:1/0"), 500).start()
    assert "hidden" not in str(caught.value)
    with pytest.raises(RedisAway) as caught:
        await RedisLane(SecretStr(redis_url.replace("//", "//:hidden@")), 500).start()
    assert "hidden" not in str(caught.value)
