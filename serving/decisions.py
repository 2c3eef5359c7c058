"""The decision record: everything that a list followed from, and what was shown. From it the list is made again by the
same pure ranking, whatever has changed since.
"""

from typing import Final

import msgspec

from features.shoppers import Interaction
from infra.errors import BadInput
from serving.ranking import Inputs, Placed, decide
from serving.recommendation_types import Experiment, Fallback, Freshness, RecommendationRequest

FORMAT: Final = 1
_INTERACTIONS: Final = 10
_CART: Final = 50
_LATEST_MS: Final = 1 << 48  # a time beyond is none that Kafka can be asked for


class Versions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the list was made by. What the catalogue said of the candidates is in the inputs."""

    code: str
    model: str
    policy: str
    statistics: str


class Used(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was known of the shopper: the newest interactions, the cart, the categories liked; `newest` in ms."""

    newest: int = 0
    interactions: list[Interaction] = []
    cart: list[str] = []
    categories: list[str] = []
    orders: int = 0


class Shown(msgspec.Struct, array_like=True, frozen=True):
    """An item as it was shown; `reasons` are codes with what each rests on."""

    item_id: str
    position: int
    propensity: float
    reasons: list[tuple[str, dict[str, str]]] = []


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One list, and why. `shopper_id` as in keys (`u-…`, `a-…`), None for a list that is not personal; `at` in ms."""

    recommendation_id: str
    tenant: str
    shopper_id: str | None
    at: int
    request: RecommendationRequest
    inputs: Inputs
    shown: list[Shown]
    used: Used
    versions: Versions
    fallback: Fallback
    freshness: Freshness
    experiments: list[Experiment] = []
    holdout: bool = False  # an experiment wanted this list not to be personal
    format: int = FORMAT


class Home(msgspec.Struct, frozen=True):
    """Where a record lies: read from the id of its list."""

    partition: int
    at_ms: int


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Decision)


def encode(decision: Decision) -> bytes:
    """Packed, as it lies on the log."""
    return _encoder.encode(decision)


def decode(raw: bytes) -> Decision:
    """The inverse of `encode`.

    Raises:
        msgspec.DecodeError: the bytes are no decision.
    """
    return _decoder.decode(raw)


def made_again(decision: Decision) -> list[Placed]:
    """The list, from the record alone."""
    return decide(decision.inputs)


def name_of(partition: int, at_ms: int, fresh: str) -> str:
    """An id from which partition and time can be read."""
    return f"r-{partition:x}-{at_ms:x}-{fresh}"


def home_of(recommendation_id: str) -> Home:
    """Where the record of a list lies.

    Raises:
        BadInput: it is no id of a list.
    """
    parts = recommendation_id.split("-")
    try:
        if len(parts) != 4 or parts[0] != "r" or len(recommendation_id) > 100:
            raise ValueError
        home = Home(int(parts[1], 16), int(parts[2], 16))
        if home.at_ms > _LATEST_MS:
            raise ValueError
        return home
    except ValueError:
        raise BadInput(
            f"{recommendation_id[:64]!r} is no recommendation_id; it is in the answer of a list.",
            path="recommendation_id",
            code="recommendation_id_unknown",
        ) from None


def latest(interactions: list[Interaction]) -> list[Interaction]:
    """Those that a record keeps, newest last."""
    return interactions[-_INTERACTIONS:]


def some_of(cart: list[str]) -> list[str]:
    """As much of a cart as a record keeps."""
    return cart[:_CART]
