"""Tokens, keys and problems: what is let in, and how a refusal reads."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.errors import BadInput, DaogouError, KafkaAway, SettingWrong, TooLarge
from serving import tokens
from serving.keys import Keys, demand_operator, demand_secret
from serving.problems import Fault, NotReady, Refusal, describe, render

positions = st.dictionaries(
    st.text(max_size=30),
    st.dictionaries(st.integers(0, 4095), st.integers(0, 2**62), max_size=20),
    max_size=3,
)


@given(positions)
def test_a_token_holds_its_positions(given: dict[str, dict[int, int]]) -> None:
    token = tokens.encode(given)
    assert tokens.decode(token) == given
    assert token.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=60))
def test_any_other_text_is_refused_or_decodes_to_positions(text: str) -> None:
    try:
        decoded = tokens.decode(text)
    except BadInput as error:
        refused = (error.reason, error.path)
    else:
        refused = ("wrong_token", "min_token")
        assert tokens.decode(tokens.encode(decoded)) == decoded
    assert refused == ("wrong_token", "min_token")


def test_the_lag_is_the_wait_of_the_oldest_record_not_applied() -> None:
    acknowledged = tokens.Acknowledged(2)
    assert acknowledged.lag_ms(0, -1, 1000) == 0
    acknowledged.add(0, 5, 1000)
    acknowledged.add(0, 9, 1400)
    assert acknowledged.lag_ms(0, 4, 2000) == 1000
    assert acknowledged.lag_ms(0, 5, 2000) == 600
    assert acknowledged.lag_ms(0, 9, 2000) == 0
    assert acknowledged.lag_ms(1, -1, 2000) == 0
    for offset in range(10_000):
        acknowledged.add(1, offset, offset)
    assert acknowledged.lag_ms(1, -1, 10_000) == 10_000


def scope(headers: dict[str, str], query: str = "", client: str | None = "127.0.0.1") -> dict[str, Any]:
    return {
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "query_string": query.encode(),
        "client": None if client is None else (client, 1),
    }


def caller(keys: Keys, given: dict[str, Any]) -> str:
    return keys.known(given, dict(given["headers"])).role


def refused(keys: Keys, given: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        caller(keys, given)
    return caught.value.http_status, caught.value.reason


def test_a_key_opens_what_it_is_for() -> None:
    keys = Keys([SecretStr("pub-1"), SecretStr("pub-2")], [SecretStr("sec-1")])
    assert caller(keys, scope({"x-api-key": "sec-1"}, client="10.0.0.9")) == "secret"
    assert caller(keys, scope({"x-api-key": "pub-2"})) == "publishable"
    assert caller(keys, scope({}, "key=pub-1")) == "publishable"
    assert caller(keys, scope({"authorization": "Basic cHViLTE6"})) == "publishable"  # pub-1:
    for bad in (
        scope({}),
        scope({"x-api-key": "sec-2"}),
        scope({"x-api-key": ""}, "key="),
        scope({}, "key=sec-1"),  # a secret has no place in an address
        scope({"authorization": "Basic c2VjLTE6"}),
        scope({"authorization": "Basic %%%"}),
    ):
        assert refused(keys, bad) == (401, "key_required")
    for sent, said in ((scope({"x-api-key": "sec-2"}), "not a known key"), (scope({}), "^Give a known key")):
        with pytest.raises(Refusal, match=said):
            caller(keys, sent)
    with pytest.raises(Refusal, match="daogou keys create operator"):
        demand_operator("secret")
    with pytest.raises(Refusal) as caught:
        demand_secret("publishable")
    assert (caught.value.http_status, caught.value.reason) == (403, "secret_key_required")


def test_without_keys_only_this_machine_is_answered() -> None:
    keys = Keys([], [])
    for good in (
        scope({"host": "localhost:8000"}),
        scope({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}),
        scope({"host": "[::1]:8000"}, client="::1"),
        scope({}, client=None),
    ):
        assert caller(keys, good) == "operator"
    for bad in (
        scope({"host": "localhost"}, client="192.0.2.7"),
        scope({"host": "shop.example"}),
        scope({"host": "localhost", "origin": "https://elsewhere.example"}),
        scope({"host": "localhost", "origin": "null"}),
        scope({"host": "localhost.elsewhere.example"}),
    ):
        assert refused(keys, bad) == (403, "loopback_only")


def test_a_blank_key_is_a_wrong_setting() -> None:
    with pytest.raises(SettingWrong, match="DAOGOU_SECRET_KEYS"):
        Keys([], [SecretStr(" ")])


def test_problems_say_code_path_and_whether_to_try_again() -> None:
    status, _, headers = render(KafkaAway("no broker"))
    assert (status, dict(headers)[b"retry-after"]) == (503, b"1")
    assert dict(headers)[b"content-type"] == b"application/problem+json"
    said = describe(BadInput("too many", path="count", code="out_of_range"))
    assert (said.status, said.code, said.retryable, said.errors) == (
        422,
        "out_of_range",
        False,
        [Fault("count", "too many")],
    )
    assert describe(TooLarge("x")).status == 413
    status, _, headers = render(Refusal(405, "method_not_allowed", "no", allow="GET"))
    assert (status, dict(headers)[b"allow"]) == (405, b"GET")
    not_ready = describe(NotReady((Fault("redis", "away"), Fault("kafka", "away"))))
    assert (not_ready.status, [one.path for one in not_ready.errors]) == (503, ["redis", "kafka"])
    assert describe(DaogouError("broken")).status == 500
