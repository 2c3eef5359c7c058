"""Sockets that are free, and the word that says ready."""

import pytest

from infra.errors import SettingWrong
from infra.ports import is_loopback, listen, port_of
from infra.ready import VARIABLE, ReadyListener, tell_ready


def test_a_used_port_takes_another() -> None:
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", port_of(first)) as second:
        assert port_of(first) != port_of(second)
        assert port_of(second) > 0


def test_a_port_that_was_let_go_is_taken_again() -> None:
    with listen("127.0.0.1", 0) as first:
        port = port_of(first)
    with listen("127.0.0.1", port) as again:
        assert port_of(again) == port


def test_an_address_that_is_not_ours_is_a_wrong_setting() -> None:
    with pytest.raises(SettingWrong, match=r"192\.0\.2\.1:8000"):
        listen("192.0.2.1", 8000)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("shop.example", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_ready_is_heard_once_it_is_said() -> None:
    with ReadyListener() as listener:
        assert not listener.heard(0.0)
        tell_ready({VARIABLE: listener.address})
        assert listener.heard(5.0)
        assert not listener.heard(0.0)


def test_ready_said_to_nobody_is_nothing() -> None:
    tell_ready({})
    with ReadyListener() as listener:
        gone = listener.address
    tell_ready({VARIABLE: gone})
