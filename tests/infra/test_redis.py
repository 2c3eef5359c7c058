"""Redis clients: bytes, and one sentence when it is away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Connection, Redis

from infra.embedded.redis_server import free_port
from infra.errors import RedisAway, SettingWrong
from infra.redis import address, connect, connect_sync, packing


async def test_bytes_go_in_and_come_out(redis: Redis) -> None:
    await redis.set(b"k", b"\x00\xff")
    assert await redis.get("k") == b"\x00\xff"


async def test_a_client_of_ours_packs_fast_and_understands_what_the_stock_one_does(redis_url: str) -> None:
    client = await connect(SecretStr(redis_url), 1000)
    assert client.connection_pool.connection_class.pack_command is not Connection.pack_command
    try:
        sha = await client.script_load("return 7")
        assert await client.evalsha(sha, 0) == 7
        assert await client.eval("return {KEYS[1], ARGV[1], ARGV[2]}", 1, "k", 3, b"\xff") == [b"k", b"3", b"\xff"]
    finally:
        await client.aclose()


arguments = st.lists(st.text() | st.binary() | st.integers() | st.floats(), max_size=5)


@given(st.sampled_from(["GET", "SCRIPT LOAD", "CONFIG GET"]), arguments)
def test_commands_are_packed_to_the_bytes_of_the_stock_client(
    command: str, rest: list[str | bytes | int | float]
) -> None:
    ours, stock = packing(Connection)(), Connection()
    assert b"".join(ours.pack_command(command, *rest)) == b"".join(stock.pack_command(command, *rest))


def test_the_blocking_client_is_alike(redis_url: str) -> None:
    with connect_sync(SecretStr(redis_url), 1000) as client:
        client.set(b"blocking", b"\x00\xff")
        assert client.get("blocking") == b"\x00\xff"


async def test_redis_away_names_the_address_and_not_the_password() -> None:
    port = free_port()
    url = SecretStr(f"redis://someone:hush-hush@127.0.0.1:{port}/0")
    with pytest.raises(RedisAway, match=f"127.0.0.1:{port}") as caught:
        await connect(url, 500)
    assert "hush" not in str(caught.value)
    assert caught.value.retryable
    with pytest.raises(RedisAway, match=f"127.0.0.1:{port}") as caught:
        connect_sync(url, 500)
    assert "hush" not in str(caught.value)


async def test_a_wrong_password_is_said(redis_url: str) -> None:
    url = SecretStr(redis_url.replace("//", "//:hush-hush@"))
    with pytest.raises(RedisAway, match="password") as caught:
        await connect(url, 1000)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://:hush@:x/0", "redis://", "?"])
def test_what_is_no_redis_url_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingWrong, match="DAOGOU_REDIS") as caught:
        address(SecretStr(url))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://:p@h:1/2", "h:1"),
        ("rediss://h/0", "h:6379"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
    ],
)
def test_the_address_of_a_url(url: str, where: str) -> None:
    assert address(SecretStr(url)) == where
