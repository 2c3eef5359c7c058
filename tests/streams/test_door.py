"""The door of an API process, over real sockets: clients that are slow, silent, too many, or too long-winded."""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from infra.errors import SettingWrong
from infra.settings import Settings
from streams.api_server import bounds_of
from streams.connections import HEAD_BYTES
from tests.conftest import EMBEDDED_LOG, PARTITIONS
from tests.streams.api_process import AnApi, running

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def heard(connection: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    told = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            told += part
    return told


@pytest.fixture(scope="module")
def door(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnApi]:
    """A process with little patience, and with the connections that it may have by default."""
    settings = Settings(
        kafka=kafka,
        redis=SecretStr(redis_url),
        embedded_log=EMBEDDED_LOG,
        data_dir=tmp_path_factory.mktemp("door"),
        partitions=PARTITIONS,
        request_s=1,
        idle_s=2,
    )
    with running(settings) as api:
        yield api


def test_a_client_that_says_nothing_is_let_go(door: AnApi) -> None:
    with door.connect() as silent, door.connect() as once:
        once.sendall(GET)
        assert heard(once).startswith(b"HTTP/1.1 200")  # and after that, nothing more
        assert heard(silent) == b""


def test_a_client_that_dribbles_its_request_is_told_so_and_let_go(door: AnApi) -> None:
    body = b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
    for begun in (b"GET /", GET[:-2] + b"X-Slow: ", body):
        with door.connect() as slow:
            slow.sendall(begun)
            slow.settimeout(0.1)
            told = b""
            while not told:  # it never stops, and never ends
                with contextlib.suppress(TimeoutError):
                    told = slow.recv(65536)
                if not told:
                    slow.sendall(b"x")
            assert told.startswith(b"HTTP/1.1 408 ")
            assert b'"code": "too_slow"' in told
            assert door.get("/health/live")[0] == 200


def test_blank_lines_keep_no_connection_open(door: AnApi) -> None:
    with door.connect() as blank, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        blank.settimeout(0.1)
        for _ in range(600):
            blank.sendall(b"\r\n")
            with contextlib.suppress(TimeoutError):
                assert blank.recv(100) == b""
                return
        pytest.fail("it is still open")


def test_a_head_has_a_bound(door: AnApi) -> None:
    for head in (
        b"GET /health/live HTTP/1.1\r\nX-Long: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(HEAD_BYTES // 6)) + b"\r\n",
        b"GET /" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nX-Endless: " + b"x" * (4 * HEAD_BYTES),
    ):
        with door.connect() as long_winded:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                long_winded.sendall(head)
            told = heard(long_winded)
            assert told == b"" or told.startswith(b"HTTP/1.1 431 ")
    with door.connect() as fits:
        fits.sendall(b"GET /health/live HTTP/1.1\r\nX-Long: " + b"x" * (HEAD_BYTES - 100) + b"\r\n\r\n")
        assert fits.recv(12) == b"HTTP/1.1 200"


def test_a_long_body_behind_a_short_head_is_no_long_head(door: AnApi) -> None:
    body = b'{"user_id": "ann", "count": 1' + b" " * (3 * HEAD_BYTES) + b"}"
    assert door.ask("POST", "/v1/recommendations", body.decode())[0] == 200


def test_who_goes_away_in_the_middle_holds_nothing(door: AnApi) -> None:
    before = open_files(door.process.pid)
    for _ in range(50):
        with door.connect() as gone:
            gone.sendall(b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
    assert door.get("/health/live")[0] == 200
    deadline = time.monotonic() + 30
    while open_files(door.process.pid) > before + 5:
        assert time.monotonic() < deadline
        assert door.get("/health/live")[0] == 200


def test_ten_thousand_who_say_nothing_keep_nobody_else_from_an_answer(door: AnApi) -> None:
    wanted = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1000)
    with contextlib.ExitStack() as stack:
        for _ in range(wanted):
            stack.enter_context(door.connect())
        assert door.page(user_id="ann")[0] == 200
        assert door.get("/health/live")[0] == 200


def test_connections_have_a_bound_and_room_comes_back(settings: Settings) -> None:
    with running(settings.model_copy(update={"connections_max": 3, "request_s": 1})) as api:
        with api.connect() as one, api.connect() as two, api.connect() as three:
            one.sendall(GET)
            two.sendall(GET)
            three.sendall(GET)
            assert [it.recv(12) for it in (one, two, three)] == [b"HTTP/1.1 200"] * 3
            with api.connect() as fourth:
                told = heard(fourth)
            assert told.startswith(b"HTTP/1.1 503 ")
            assert b"too_many_connections" in told
            assert b"retry-after: 1" in told
        deadline = time.monotonic() + 30
        while api.get("/health/live")[0] != 200:
            assert time.monotonic() < deadline


def test_more_connections_than_open_files_are_refused_by_name() -> None:
    with pytest.raises(SettingWrong, match=r"DAOGOU_CONNECTIONS_MAX = 999999.*ulimit -n") as caught:
        bounds_of(Settings(connections_max=999_999))
    assert caught.value.path == "connections_max"
    assert bounds_of(Settings()).connections >= 256


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
