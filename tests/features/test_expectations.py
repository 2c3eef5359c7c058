"""What a type wants is said in words, and a message never says its field twice."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from features.events import Event
from features.expectations import expected
from features.refusals import located, refusal
from infra.errors import BadInput
from tests.features.events import WHOLE

Word = Annotated[str, Meta(pattern=r"\A[a-z]+\Z")]


class Inner(msgspec.Struct):
    number: Annotated[float, Meta(ge=0)] | None = None
    kind: Literal["a", "b"] = "a"


class Pair(msgspec.Struct, array_like=True):
    kind: Literal["a", "b"]
    many: Annotated[int, Meta(ge=1, le=20)] = 1


class Outer(msgspec.Struct):
    inner: Inner | None = None
    many: Annotated[tuple[Inner, ...], Meta(max_length=3)] = ()
    by_name: Annotated[dict[str, Annotated[int, Meta(le=9)]], Meta(max_length=2)] = {}
    word: Word = "a"
    least: Annotated[int, Meta(ge=1)] = 1
    share: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.0
    part: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    pair: Pair | None = None
    yes: bool = True
    either: int | str = 0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "an object"),
        ("inner", "an object"),
        ("inner.number", "a number of at least 0"),
        ("share", "a number from 0 to 0.5"),
        ("part", "a number above 0 and at most 1"),
        ("pair", "a list of kind, many"),
        ("pair[0]", "one of a, b"),
        ("pair[1]", "a whole number from 1 to 20"),
        ("pair[2]", ""),
        ("inner.kind", "one of a, b"),
        ("many", "a list of at most 3 entries"),
        ("many[2].kind", "one of a, b"),
        ("by_name", "an object of at most 2 fields"),
        ("by_name[...]", "a whole number of at most 9"),
        ("word", "text of the form [a-z]+"),
        ("least", "a whole number of at least 1"),
        ("yes", "true or false"),
        ("either", "a whole number or text"),
        ("nothing", ""),
        ("inner.nothing.more", ""),
    ],
)
def test_words(path: str, words: str) -> None:
    assert expected(Outer, path) == words


def of_event(**changed: Any) -> BadInput:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(WHOLE | {"event_id": "e"} | changed, Event)
    return refusal(caught.value, Event)


def test_events_say_what_they_want() -> None:
    time = "a time with its offset, such as 2026-11-24T10:00:00Z"
    assert of_event(occurred_at="yesterday").message == f"occurred_at must be {time}."
    assert of_event(occurred_at="2026-05-01T10:00:00").message == f"occurred_at must be {time}."
    assert of_event(context=5).message == "context must be an object."
    wrong = of_event(items=[{"item_id": "a", "quantity": 0}])
    assert wrong.message == "items[0].quantity must be a whole number from 1 to 100,000."
    assert (wrong.path, wrong.reason) == ("items[0].quantity", "out_of_range")
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"event_name": "page_view"}, Event)
    assert refusal(caught.value, Event).message == f"occurred_at is missing: {time}."


@given(st.sampled_from(["user_id", "items[0].price"]), st.text("ab "))
def test_the_field_is_named_once(path: str, said: str) -> None:
    assert located(BadInput(f"{path} must be {said}", path=path)) == f"{path} must be {said}"
    assert located(BadInput(said, path=path)) == f"{path}: {said}"
    assert located(BadInput(said)) == said
