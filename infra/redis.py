"""Redis clients, bytes in and out. Whoever connects learns at once, and in one sentence, that Redis is away."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

import redis as sync_redis
from pydantic import SecretStr
from redis import asyncio as async_redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from infra.errors import RedisAway, Refused, SettingWrong

CA_FILE: Final = "ssl_ca_certs"
NO_CLUSTER: Final = "is a Redis Cluster, which this version cannot use; give DAOGOU_REDIS a Redis of one primary"
_SCHEMES: Final = ("redis", "rediss", "unix")
_Connection = TypeVar("_Connection", bound=async_redis.connection.AbstractConnection)


async def connect(url: SecretStr, timeout_ms: int) -> async_redis.Redis:
    """A client that has answered a ping; each command waits `timeout_ms` at most.

    Raises:
        RedisAway: names host and port, never the password.
        Refused: it is a Redis Cluster (`redis_cluster`).
        SettingWrong: not a Redis URL.
    """
    where = address(url)
    client = async_redis.Redis.from_url(
        url.get_secret_value(),
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        retry=AsyncRetry(NoBackoff(), 1),  # one fresh connection for one that the server has closed meanwhile
    )
    pool = client.connection_pool
    pool.connection_class = packing(pool.connection_class)
    try:
        with told_as_away(where):
            async with client.pipeline(transaction=False) as pipe:
                pipe.ping()
                pipe.info("cluster")
                _greeted(await pipe.execute(raise_on_error=False), where)
    except BaseException:
        await client.aclose()
        raise
    return client


def packing(connection: type[_Connection]) -> type[_Connection]:
    """The same kind of connection, whose commands hiredis packs: the async client would do it in Python, which is most
    of what a command of many arguments costs (its sync twin uses hiredis of itself).
    """
    packer = HiredisRespSerializer()
    return type(connection.__name__, (connection,), {"pack_command": lambda _, *args: packer.pack(*args)})


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
        with told_as_away(where), client.pipeline(transaction=False) as pipe:
            pipe.ping()
            pipe.info("cluster")
            _greeted(pipe.execute(raise_on_error=False), where)
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
        raise _wrong("not a Redis URL")
    _check_query(parts)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{port}"


def _check_query(parts: SplitResult) -> None:
    """What follows `?` would be understood by one of our clients and passed over by another."""
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != CA_FILE or parts.scheme != "rediss":
            raise _wrong(f"after `?` only {CA_FILE} is understood, and that with rediss://")
        if not Path(value).is_file():
            raise _wrong(f"{CA_FILE} names no file")


def _wrong(why: str) -> SettingWrong:
    return SettingWrong(
        f"DAOGOU_REDIS = (secret): {why}. Allowed: redis://[:password@]host:port/db, "
        f"rediss://[:password@]host:port/db[?{CA_FILE}=FILE]; empty: embedded.",
        path="redis",
    )


def _greeted(answers: list[Any], where: str) -> None:
    """Whether a server can be used, by its answers to PING and INFO (which a user may not be allowed to ask)."""
    pong, about = answers
    if isinstance(pong, Exception):
        raise pong
    if isinstance(about, dict) and about.get("cluster_enabled"):
        raise Refused(f"Redis at {where} {NO_CLUSTER}", code="redis_cluster")


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
    except (AskError, ClusterCrossSlotError, ClusterDownError):  # MOVED is an AskError, too
        raise Refused(f"Redis at {where} {NO_CLUSTER}", code="redis_cluster") from None
    except (ConnectionError, TimeoutError, OSError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise RedisAway(untrusted(where)) from None
        reason = type(error).__name__
        raise RedisAway(
            f"Redis at {where} does not answer ({reason}); start it, or correct DAOGOU_REDIS (empty: embedded)"
        ) from None
    except RedisError as error:
        if "NOAUTH" not in str(error):
            raise
        raise RedisAway(f"Redis at {where} wants a password; put it into DAOGOU_REDIS") from None


def untrusted(where: str) -> str:
    """What is said of a server whose certificate does not hold."""
    return (
        f"Redis at {where} shows a certificate that is not trusted, or another's; name who signed it: "
        f"DAOGOU_REDIS=rediss://…?{CA_FILE}=FILE"
    )
