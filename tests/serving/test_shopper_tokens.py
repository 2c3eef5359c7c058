"""Shopper tokens: good ones open what is their user's, and nothing else opens it."""

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.clock import ManualClock
from serving.problems import Refusal
from serving.shopper_tokens import ShopperTokens

NOW_S = 1_800_000_000
OLD, NEW, FOREIGN = "o" * 32, "n" * 32, "f" * 32
HOUR = 3600


def tokens(clock: ManualClock | None = None, *secrets: str, remembered: int = 4096) -> ShopperTokens:
    given = [SecretStr(one) for one in secrets or (OLD, NEW)]
    return ShopperTokens(given, clock or ManualClock(NOW_S * 1000), remembered)


def made(secret: str = NEW, algorithm: str = "HS256", **claims: Any) -> bytes:
    whole = {"sub": "ann", "exp": NOW_S + HOUR} | claims
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, secret, algorithm=algorithm).encode()


def said(token: bytes | None, user_id: str = "ann", of: ShopperTokens | None = None) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        (of or tokens()).demand(token, user_id)
    return caught.value.http_status, caught.value.reason


def test_a_token_of_any_secret_opens_what_is_its_users() -> None:
    both = tokens()
    for secret in (OLD, NEW):
        both.demand(made(secret), "ann")
        assert said(made(secret), "bob", both) == (403, "shopper_token_of_another")
    assert said(None) == said(b"") == (401, "shopper_token_required")


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> bytes:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims))
    return b".".join(parts) + b"."


@pytest.mark.parametrize(
    "token",
    [
        made(FOREIGN),
        made(exp=None),
        made(sub=None),
        made(exp=NOW_S + 25 * HOUR),
        made(nbf=NOW_S + HOUR),
        made(aud="another service"),
        made(sub=""),
        made(sub="x" * 257),
        made(sub="ann", pad="x" * 2_100),
        unsigned({"alg": "none", "typ": "JWT"}, {"sub": "ann", "exp": NOW_S + HOUR}),
        unsigned({"alg": "HS256", "typ": "JWT"}, {"sub": "ann", "exp": NOW_S + HOUR}),
        unsigned({"alg": "HS256", "crit": ["b64"], "b64": False}, {"sub": "ann", "exp": NOW_S + HOUR}),
        made(NEW + NEW, "HS512"),
        made(NEW + NEW, "HS384"),
        b"ann",
        b"a.b.c",
        b"\xff\xfe.\x00.",
        b"." * 2_000,
    ],
)
def test_what_is_no_good_token_opens_nothing(token: bytes) -> None:
    assert said(token) == (401, "shopper_token_invalid")


@pytest.mark.parametrize(
    ("claim", "value"),
    [("sub", 7), ("exp", "soon"), ("exp", True), ("exp", None), ("exp", float("-inf")), ("exp", 10**400), ("nbf", "x")],
)
def test_a_claim_of_another_type_is_no_claim(claim: str, value: Any) -> None:
    header, claims = {"alg": "HS256", "typ": "JWT"}, {"sub": "ann", "exp": NOW_S + HOUR, claim: value}
    signed = jwt.api_jws.encode(json.dumps(claims).encode(), NEW, algorithm="HS256", headers=header).encode()
    assert said(signed) == (401, "shopper_token_invalid")


def test_a_changed_token_is_none() -> None:
    head, claims, sign = made().split(b".")
    forged = base64.urlsafe_b64encode(json.dumps({"sub": "bob", "exp": NOW_S + HOUR}).encode()).rstrip(b"=")
    assert said(b".".join((head, forged, sign)), "bob") == (401, "shopper_token_invalid")
    assert claims != forged


def test_a_token_that_was_good_ends_when_it_says() -> None:
    clock = ManualClock(NOW_S * 1000)
    of = tokens(clock)
    token = made(exp=NOW_S + 10)
    of.demand(token, "ann")
    clock.move_ms(9_999)
    of.demand(token, "ann")
    clock.move_ms(1)
    for _ in range(2):
        assert said(token, "ann", of) == (401, "shopper_token_expired")


def test_no_more_tokens_are_remembered_than_may_be_and_bad_ones_not_at_all() -> None:
    of = tokens(remembered=3)
    for n in range(10):
        of.demand(made(sub=f"u{n}"), f"u{n}")
        said(b"bad%d" % n, "ann", of)
    assert len(of._good) == 3
    of.demand(made(sub="u0"), "u0")


def test_without_secrets_there_are_no_tokens() -> None:
    none = ShopperTokens([], ManualClock(NOW_S * 1000))
    with pytest.raises(Refusal, match="DAOGOU_SHOPPER_TOKEN_SECRETS") as caught:
        none.demand(made(), "ann")
    assert (caught.value.http_status, caught.value.reason) == (401, "shopper_token_required")


@given(st.binary(max_size=300))
def test_anything_at_all_is_refused_in_words(token: bytes) -> None:
    assert said(token)[0] == 401
