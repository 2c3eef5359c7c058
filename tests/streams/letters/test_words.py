"""Letters in words: nothing that a producer sent does anything to a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.letters.letter import Letter
from streams.letters.words import one_line, readable, to_do
from tests.streams.letters.made import letter


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"a":"tea"}', '{"a":"tea"}'),
        ("茶 – süß".encode(), "茶 – süß"),
        (b"\x1b[2Jgone", "\\x1b[2Jgone"),
        (b"\xff\x00", "\\xff\\x00"),
        (b"a\r\nb\tc", "a\\x0d\nb\tc"),
        ("abc\u202edef\u200b".encode(), "abc\\u202edef\\u200b"),
        ("\x9b31m".encode(), "\\x9b31m"),
    ],
)
def test_bytes_are_shown_escaped(raw: bytes, shown: str) -> None:
    assert readable(raw) == shown


def test_long_bytes_are_cut_and_say_so() -> None:
    assert readable(b"x" * 5000, 10) == "xxxxxxxxxx… (5,000 bytes, the first 10 shown)"


@given(st.binary(max_size=200))
def test_no_bytes_reach_the_terminal_as_orders(raw: bytes) -> None:
    for character in readable(raw):
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


@given(st.text(max_size=50))
def test_a_line_stays_one(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


def test_every_reason_has_something_to_do() -> None:
    assert "upgrade" in to_do(letter(reason="unknown_version"))
    assert "right partition" in to_do(letter(reason="wrong_partition"))
    assert "docs/schemas" in to_do(letter(reason="some_rule_of_tomorrow"))
    cut: Letter = letter(reason="missing_field", cut_from=2_000_000)
    assert "not all here" in to_do(cut)
