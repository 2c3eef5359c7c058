"""Expressions: the same values as the CEL library gives, slower; and what is refused, and why."""

from typing import Any

import celpy
import pytest
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import BadInput
from serving.cel import compiled
from serving.cel_steps import Scope
from serving.cel_values import WrongError
from serving.expressions import ITEM_FIELDS, SHOPPER_FIELDS, booster_of, filter_of

FIELDS = {"item": ITEM_FIELDS, "shopper": SHOPPER_FIELDS}
ITEM = {
    "id": "a",
    "name": "Green tea",
    "category": "tea",
    "categories": ["food", "tea"],
    "attributes": {"size": "L"},
    "price": 12.5,
    "available": True,
    "quantity": 3,
}
SHOPPER: dict[str, Any] = {"known": True, "cart": ["a", "b"], "orders": 2, "categories": []}

numbers = st.sampled_from(["item.price", "item.quantity", "shopper.orders", "1", "-2", "2.5", "0", "size(item.name)"])
texts = st.sampled_from(["item.name", "item.category", "item.brand", '"tea"', "item.attributes.size", "'L'"])
lists = st.sampled_from(["item.categories", "shopper.cart", '["tea", "x"]', "[1, 2]", "[]"])
values = numbers | texts | lists | st.just("null")
truths = st.sampled_from(["true", "false", "item.available"])  # to the library they are numbers, too
arithmetic = st.builds("({} {} {})".format, numbers, st.sampled_from("+-*/%"), numbers)
tests = (
    st.builds("{} {} {}".format, numbers | arithmetic, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers)
    | st.builds("{} {} {}".format, texts, st.sampled_from(["<", "==", "!="]), texts)
    | st.builds("{} in {}".format, texts, lists)
    | st.builds("{}.{}({})".format, texts, st.sampled_from(["contains", "startsWith", "endsWith"]), texts)
    | st.builds("{}.{}(x, x == {})".format, lists, st.sampled_from(["exists", "all"]), texts | numbers)
    | st.builds("{} == {}".format, values, values)
    | st.builds("{} == {}".format, truths, truths)
    | st.sampled_from(["has(item.brand)", "has(item.name)", "item.available", "true"])
)
expressions = st.recursive(
    tests,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner)
        | st.builds("!({})".format, inner)
        | st.builds("({} ? {} : {})".format, inner, inner, inner)
    ),
    max_leaves=5,
)


def by_library(text: str) -> Any:
    environment = celpy.Environment()
    program = environment.program(environment.compile(text))
    try:
        return bool(program.evaluate({"item": json_to_cel(ITEM), "shopper": json_to_cel(SHOPPER)}))
    except (CELEvalError, IndexError):  # where both sides of && are errors it fails while it words its own
        return WrongError


def by_us(text: str) -> Any:
    try:
        return compiled(text, FIELDS, "filter").compute(Scope(ITEM, SHOPPER))
    except WrongError:
        return WrongError


@pytest.fixture(scope="module", autouse=True)
def _library_is_set_up() -> None:
    """At its first use it raises Python's limit of recursion, which hypothesis wants to stay."""
    by_library("true")


@settings(max_examples=150, deadline=None)
@given(expressions)
def test_the_same_value_as_the_library_gives(text: str) -> None:
    """Where both have one: the library adds numbers of different types, which CEL's specification does not, and does
    not compare values of different types, which it does.
    """
    ours, theirs = by_us(text), by_library(text)
    assert ours == theirs or WrongError in (ours, theirs), (text, ours, theirs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('item.category == "tea" && item.price < 20.0', True),
        ("item.brand == 'x' || item.quantity > 2", True),
        ("item.quantity > 2 || item.brand == 'x'", True),
        ("item.brand == 'x' && item.quantity > 5", False),
        ("item.brand == 'x' && item.quantity > 2", WrongError),
        ("has(item.brand)", False),
        ("item.attributes.size == 'L' && item.attributes['size'] == 'L'", True),
        ("item.categories.exists(c, c.startsWith('te'))", True),
        ("item.categories.all(c, c == 'tea')", False),
        ("item.name.matches('^Green')", True),
        (r"item.name.matches(r'^\p{L}+ [a-z]{2,5}$')", True),
        ("-7 / 2 == -3 && -7 % 2 == -1", True),
        ("9223372036854775807 + 1 > 0", WrongError),
        ("1 == 1.0 && 1 < 1.5 && !('1' == 'x')", True),
        ("true == 1", False),
        ("item.id in shopper.cart ? item.price > 1.0 : false", True),
        ("double(item.quantity) * item.price > 37.0", True),
        ("size(item.categories) == 2 && item.name.size() == 9", True),
        ("item.price / 0.0 > 1e300", True),
        ('"\\u8336" == "茶"', True),
        (r"'\x41\X42\103\U00000044' == 'ABCD'", True),
        (r"""'\?\`\"\'\\' == "?`\"'\\" """, True),
        (r"size('\a\b\f\n\r\t\v') == 7", True),
        (r"r'\d\n' == '\\d\\n' && R'\'' == '\\\''", True),
        ("'''a\nb''' == 'a\\nb' && \"\"\"a\r\nb\"\"\" == 'a\\nb'", True),
        ("'' == '' && size(r'') == 0", True),
    ],
)
def test_known_answers(text: str, value: Any) -> None:
    assert by_us(text) == value


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("item.price <", "expression_wrong", "no CEL expression at line 1"),
        ("item.colour == 'red'", "expression_wrong", "item.colour"),
        ("os.environ == 'x'", "expression_wrong", "item and shopper"),
        ("item", "expression_wrong", "no value of its own"),
        ("item.__class__ == 'x'", "expression_wrong", "item.__class__"),
        ("item.price < 'x'", "expression_wrong_type", "comparison"),
        ("item.price * 2 > 1.0", "expression_wrong_type", "2.0"),
        ("item.price", "expression_wrong_type", "true or false"),
        ("item.categories.map(x, x) == []", "expression_wrong", ".map()"),
        ("item.categories.exists(x, item.categories.exists(y, x == y))", "expression_wrong", "macro inside"),
        ("item.name.matches(item.name)", "expression_wrong", "written out"),
        ("item.name.matches('(')", "expression_wrong", "RE2"),
        ("(" * 450 + "true" + ")" * 450, "expression_too_large", "nested"),
        ("!" * 999 + "true", "expression_too_large", "nested"),
        (f"item.quantity in [{','.join(['1'] * 450)}]", "expression_too_large", "parts"),
        (f"item.categories.exists(x, {'||'.join(['x==item.name'] * 60)})", "expression_too_costly", "steps"),
        (f"[{','.join('1' * 60)}].exists(x, {'||'.join(['x==2'] * 60)})", "expression_too_costly", "each of them"),
        (f"item.name.matches('{'a{999}' * 100}')", "expression_wrong", "too large"),
        (f"item.name.matches('{'a{99}' * 50}')", "expression_wrong", "count less"),
        ("b'x' == b'x'", "expression_wrong", "bytes"),
        ("1u == 1u", "expression_wrong", "uint"),
        ("9223372036854775808 > 1", "expression_wrong", "64 bits"),
        (r"item.name.matches('\d')", "expression_wrong", r"no escape \d"),
        (r"item.name == '\N{DIGIT ONE}'", "expression_wrong", r"no escape \N"),
        (r"item.name == '\0'", "expression_wrong", r"no escape \0"),
        (r"item.name == '\777'", "expression_wrong", r"no escape \7"),
        (r"item.name == '\u12'", "expression_wrong", r"no escape \u"),
        (r"item.name == '\ud800'", "expression_wrong", "no character"),
        (r"item.name == '\U00110000'", "expression_wrong", "no character"),
        ("item.name == 'a\\'", "expression_wrong", "no escape \\,"),
        ("item.name == 'a\rb'", "expression_wrong", "a line ends"),
    ],
)
def test_what_is_refused_says_why(text: str, code: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        filter_of(text, lambda _: ITEM, SHOPPER)
    assert refused.value.reason == code
    assert said in refused.value.message
    assert refused.value.path == "filter"


def test_an_expression_looks_at_no_more_items_than_its_list_may_take_time_for() -> None:
    """A page looks at tens of thousands of items where few pass; nobody else is answered meanwhile."""
    views = f"shopper.viewed.exists(v, {'||'.join(['v==item.id'] * 9)})"
    looked: list[str] = []

    def facts(item_id: str) -> dict[str, Any]:
        looked.append(item_id)
        return ITEM

    passes = filter_of(views, facts, {"viewed": ["b"] * 50})
    assert not any(passes("a") for _ in range(40_000))
    assert 100 < len(looked) < 400
    looked.clear()
    simple = filter_of('item.category == "tea" && item.price < 20.0', facts, {})
    assert all(simple("a") for _ in range(40_000))
    factor = booster_of(views + " ? 2.0 : 3.0", facts, {"viewed": ["b"] * 50})
    assert [factor("a"), *(factor("a") for _ in range(40_000))][::40_000] == [3.0, 1.0]


def test_a_pattern_takes_no_longer_for_a_wicked_text() -> None:
    wicked = {**ITEM, "name": "a" * 20_000}
    assert filter_of("item.name.matches('^(a+)+$x')", lambda _: wicked, {})("a") is False


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("item.price > 10.0 ? 2.0 : 1.0", 2.0),
        ("3", 3.0),
        ("item.quantity", 3.0),
        ("-1.0", 0.0),
        ("1e9", 1000.0),
        ("double(item.attributes.weight)", 1.0),
        ("0.0 / 0.0", 1.0),
    ],
)
def test_a_factor_is_bounded_and_one_where_there_is_none(text: str, factor: float) -> None:
    assert booster_of(text, lambda _: ITEM, SHOPPER)("a") == factor
