"""Redis clients, bytes in and out. Whoever connects learns at once, and in one sentence, that Redis is away."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import redis as sync_redis
from pydantic import SecretStr
from redis import asyncio as async_redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from infra.errors import RedisAway, SettingWrong

_SCHEMES = ("redis", "rediss", "unix")


async def connect(url: SecretStr, timeout_ms: int) -> async_redis.Redis:
    """A client that has answered a ping; each command waits `timeout_ms` at most.

    Raises:
        RedisAway: names host and port, never the password.
        SettingWrong: not a Redis URL.
    """
    where = address(url)
    client = async_redis.Redis.from_url(
        url.get_secret_value(),
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        retry=AsyncRetry(NoBackoff(), 1),  # one fresh connection for one that the server has closed meanwhile
    )
    try:
        with told_as_away(where):
            async with client.pipeline(transaction=False) as pipe:
                pipe.ping()
                await pipe.execute()
    except BaseException:
        await client.aclose()
        raise
    return client


def connect_sync(url: SecretStr, timeout_ms: int) -> sync_redis.Redis:
    """The same for code that blocks."""
    where = address(url)
    client = sync_redis.Redis.from_url(
        url.get_secret_value(),
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        retry=Retry(NoBackoff(), 1),
    )
    try:
        with told_as_away(where):
            client.ping()
    except BaseException:
        client.close()
        raise
    return client


def address(url: SecretStr) -> str:
    """`host:port` of a Redis URL, fit for messages.

    Raises:
        SettingWrong: not a Redis URL; the message holds nothing of it.
    """
    try:
        parts = urlsplit(url.get_secret_value())
        port = parts.port or 6379
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in _SCHEMES or not (parts.hostname or parts.path.strip("/")):
        raise SettingWrong(
            "DAOGOU_REDIS = (secret): not a Redis URL. Allowed: redis://[:password@]host:port/db; empty: embedded.",
            path="redis",
        )
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{port}"


@contextmanager
def told_as_away(where: str) -> Iterator[None]:
    """Turn the client's connection errors into RedisAway with the address.

    The commands that it surrounds may have been carried out: only what may be repeated is tried again.
    """
    try:
        yield
    except AuthenticationError:
        raise RedisAway(f"Redis at {where} refuses the password; correct DAOGOU_REDIS") from None
    except BusyLoadingError:
        raise RedisAway(f"Redis at {where} is still loading its data; try again in a moment") from None
    except ReadOnlyError:
        raise RedisAway(f"Redis at {where} is a read-only replica; give DAOGOU_REDIS its primary") from None
    except (ConnectionError, TimeoutError, OSError) as error:
        reason = type(error).__name__
        raise RedisAway(
            f"Redis at {where} does not answer ({reason}); start it, or correct DAOGOU_REDIS (empty: embedded)"
        ) from None
    except RedisError as error:
        if "NOAUTH" not in str(error):
            raise
        raise RedisAway(f"Redis at {where} wants a password; put it into DAOGOU_REDIS") from None
