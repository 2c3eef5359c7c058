"""Shopper tokens: the shop says at login who somebody is, as a JWT (HS256) that its page sends in X-Shopper-Token.

`sub` is the user's id, `exp` lies at most 24 hours ahead. A token that was found good is remembered until then: a page
view pays for a look into a table.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jwt
from pydantic import SecretStr

from infra.clock import Clock
from serving.problems import Refusal

HEADER: Final = b"x-shopper-token"
MAX_AHEAD_S: Final = 24 * 3600
_CLOCKS_APART_S: Final = 60  # the shop's and ours, of those times that only clocks that differ would break
_NEVER_S: Final = 1 << 53
_MAX_CHARACTERS: Final = 2_048
_MAX_ID: Final = 256
_REMEMBERED: Final = 4_096
_ALGORITHMS: Final = ("HS256",)
# All times are compared here, by the clock that was given; the rest is as PyJWT has it: no `aud` that is not asked for.
_OPTIONS: Final[Any] = {"require": ["exp", "sub"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}

# What is answered, by the code of what is wrong with a token.
TOKEN_STATUSES: Final[Mapping[str, int]] = {
    "shopper_token_required": 401,
    "shopper_token_invalid": 401,
    "shopper_token_expired": 401,
    "shopper_token_of_another": 403,
}

# Raises unless whoever calls may read and change what belongs to this user.
MayBe = Callable[[str], None]


class ShopperTokens:
    """Reads tokens made with any of the secrets; without secrets there are none."""

    def __init__(self, secrets: Sequence[SecretStr], clock: Clock, remembered: int = _REMEMBERED) -> None:
        self._secrets = [secret.get_secret_value() for secret in secrets]
        self._clock = clock
        self._remembered = remembered
        self._good: OrderedDict[bytes, tuple[str, int]] = OrderedDict()

    def demand(self, given: bytes | None, user_id: str) -> None:
        """That a token is this user's.

        Raises:
            Refusal: 401 without a good one (`shopper_token_required`, `_invalid`, `_expired`), 403 with another's.
        """
        if not given:
            raise self.required()
        if self.user_of(given) != user_id:
            raise _refused("shopper_token_of_another", "This shopper token is another user's.")

    def user_of(self, token: bytes) -> str:
        """Whose token it is.

        Raises:
            Refusal: 401.
        """
        now_s = self._clock.now_ms() // 1000
        known = self._good.get(token)
        if known is None:
            known = self._read(token, now_s)
            self._good[token] = known
            if len(self._good) > self._remembered:
                self._good.popitem(last=False)
        else:
            self._good.move_to_end(token)
        user_id, until_s = known
        if now_s >= until_s:
            del self._good[token]
            raise _refused("shopper_token_expired", "This shopper token has expired: the shop makes another.")
        return user_id

    def required(self) -> Refusal:
        """What is said to whoever needs a token and gives none."""
        how = (
            "the shop's server makes it at login (a JWT, HS256, with sub and exp)"
            if self._secrets
            else "which this server cannot read until DAOGOU_SHOPPER_TOKEN_SECRETS is set"
        )
        return _refused(
            "shopper_token_required",
            f"With a publishable key, what belongs to a user_id needs X-Shopper-Token: {how}. Else call with "
            "anonymous_id, or from your server with a secret key.",
        )

    def _read(self, token: bytes, now_s: int) -> tuple[str, int]:
        if not self._secrets:
            raise self.required()
        claims = self._claims(token)
        user_id, until = claims["sub"], claims["exp"]
        if not isinstance(user_id, str) or not 1 <= len(user_id) <= _MAX_ID:
            raise _invalid(f"sub is the user's id, 1 to {_MAX_ID} characters")
        if not _is_time(until):
            raise _invalid("exp is a number of seconds since 1970")
        if until > now_s + MAX_AHEAD_S + _CLOCKS_APART_S:
            raise _invalid("exp lies more than 24 hours ahead")
        since = claims.get("nbf", now_s)
        if not _is_time(since) or since > now_s + _CLOCKS_APART_S:
            raise _invalid("nbf lies ahead")
        return user_id, int(until)

    def _claims(self, token: bytes) -> Mapping[str, Any]:
        if len(token) > _MAX_CHARACTERS:
            raise _invalid(f"it has more than {_MAX_CHARACTERS} characters")
        for secret in self._secrets:
            try:
                return dict(jwt.decode(token, secret, algorithms=list(_ALGORITHMS), options=_OPTIONS))
            except jwt.InvalidSignatureError:
                continue
            except jwt.MissingRequiredClaimError as error:
                raise _invalid(f"it has no {error.claim}") from None
            except jwt.InvalidAlgorithmError:
                raise _invalid("it is not signed with HS256") from None
            except jwt.InvalidAudienceError:
                raise _invalid("it has an aud, and so is meant for somebody else") from None
            except (jwt.PyJWTError, ValueError, RecursionError):
                raise _invalid("it is no JWT") from None
        raise _invalid("it is signed with none of this shop's secrets")


def _is_time(value: Any) -> bool:
    """Neither a truth, nor what JSON does not have (NaN, Infinity) but Python reads."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _NEVER_S


def _invalid(why: str) -> Refusal:
    return _refused("shopper_token_invalid", f"This shopper token is not good: {why}.")


def _refused(code: str, message: str) -> Refusal:
    return Refusal(TOKEN_STATUSES[code], code, message)
