"""The shelf in Redis: what the worker puts there is what a page view finds, however far it looks."""

from itertools import islice

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.candidates import Candidate, Candidates
from serving import shelf
from serving.shelf import Shelf

candidates = st.builds(
    Candidate,
    item_id=st.text(max_size=5),
    score=st.floats(allow_nan=False, width=32),
    repeat_score=st.floats(allow_nan=False, width=32),
    source=st.sampled_from(["tower", "item_to_item", "repeat", "popular"]),
    because=st.none() | st.text(max_size=5),
)
shelves = st.builds(
    Shelf,
    model_version=st.text(max_size=5),
    log=st.text(max_size=5),
    offset=st.integers(-1, 2**62),
    scored_at=st.integers(0, 2**50),
    candidates=st.integers(0, 200).flatmap(
        lambda n: st.lists(candidates, max_size=3).map(lambda some: Candidates.of(some * n))
    ),
)


@given(shelves, st.integers(0, 300))
def test_a_shelf_comes_back_whole_and_its_candidates_in_their_order(made: Shelf, looked_at: int) -> None:
    packed = shelf.encode(made)
    assert shelf.decode(packed) == made
    found = shelf.opened(packed)
    assert list(islice(found, looked_at)) == list(made.candidates)[:looked_at]
    assert list(found) == list(made.candidates)


EARLIER = ["m", "log", 0, 0, [["i", 1.0, 0.5, "tower"]], [], b"12345678"]  # candidates as rows


COLUMNS = [["i", "j"], b"\0" * 8, b"\0" * 8, b"\0\1", [None, None]]
UNLIKE = [
    msgspec.msgpack.encode(["m", "log", 0, 0, [*COLUMNS[:n], cut, *COLUMNS[n + 1 :]], [], b"12345678"])
    for n, cut in enumerate((["i"], b"\0" * 7, b"\0" * 4, b"\0", [None]))
]
STRANGE = msgspec.msgpack.encode(["m", "log", 0, 0, [*COLUMNS[:3], b"\0\4", COLUMNS[4]], [], b"12345678"])


@pytest.mark.parametrize("raw", [b"", b"junk", msgspec.msgpack.encode(EARLIER), *UNLIKE, STRANGE])
def test_other_bytes_are_no_shelf(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        shelf.opened(raw)


def test_the_mark_of_a_row_is_the_same_wherever_it_is_made() -> None:
    """Another mark would have every list made anew once."""
    assert shelf.mark_of(b"a row").hex() == "7105f65111ab2739"


@given(st.binary(min_size=1, max_size=8000), st.integers(0, 2**32 - 1))
def test_rows_that_differ_in_one_byte_have_other_marks(row: bytes, at: int) -> None:
    changed = bytearray(row)
    changed[at % len(row)] ^= 1 + at % 255
    assert shelf.mark_of(bytes(changed)) != shelf.mark_of(row)
    assert len(shelf.mark_of(row)) == 8
