"""Scenarios: what a list is for, as data. A shop changes them by settings; what is here is what it begins with."""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

ScenarioName = Literal["home", "product", "cart", "category", "search_empty", "message"]
SCENARIO_NAMES: Final[tuple[ScenarioName, ...]] = get_args(ScenarioName)
# shelf: what the model prepared; context: what goes with the items of the request; bought_together: what is bought
# with them; cart: what goes with the cart; neighbours: what goes with the latest interactions; category: popular in
# the categories at hand; trending: rising there, or everywhere; new_arrivals: what hardly anybody has met yet;
# recently_viewed: what the shopper looked at; given: those to be ranked; popular: of all; catalogue: the whole range.
SourceName = Literal[
    "shelf",
    "context",
    "bought_together",
    "cart",
    "neighbours",
    "category",
    "trending",
    "new_arrivals",
    "recently_viewed",
    "given",
    "popular",
    "catalogue",
]
# Once the blend is used up, in this order.
CHAIN: Final[tuple[SourceName, ...]] = ("shelf", "context", "neighbours", "category", "popular", "catalogue")

MAX_EXPRESSION: Final = 1000  # characters
MAX_ROTATION_S: Final = 7 * 86_400

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Expression = Annotated[str, Meta(min_length=1, max_length=MAX_EXPRESSION)]
RotationSeconds = Annotated[int, Meta(ge=1, le=MAX_ROTATION_S)]


class Turn(msgspec.Struct, array_like=True, frozen=True):
    """A source of the blend, and how many items each of its turns brings."""

    source: SourceName
    items: Annotated[int, Meta(ge=1, le=20)] = 1


class Exploration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With probability `share` a slot goes to an item drawn evenly from the first `pool` of `source`."""

    share: Annotated[float, Meta(ge=0.0, le=0.5)]
    source: SourceName = "new_arrivals"
    pool: Annotated[int, Meta(ge=1, le=50)] = 20


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How a list is made. `fallback` are the sources that fill it once the blend is used up, in their order.

    `diversity` weighs likeness to what is above (0: not at all); at most `category_cap` items of one category, as long
    as there are others among those that are looked at (60, or as many as the list has); what was shown in the last
    `rotation_time_s` sinks by up to `rotation_rate`.
    """

    name: ScenarioName
    blend: Annotated[tuple[Turn, ...], Meta(min_length=1, max_length=8)]
    fallback: Annotated[tuple[SourceName, ...], Meta(max_length=8)] = CHAIN
    repeats: bool | None = None  # whether bought items may come again; None: as DAOGOU_REPEAT_SCENARIOS says
    filter: Expression | None = None
    booster: Expression | None = None
    diversity: Share = 0.0
    category_cap: Annotated[int, Meta(ge=1, le=100)] | None = None
    rotation_rate: Share = 0.0
    rotation_time_s: RotationSeconds = 3600
    exploration: Exploration | None = None
    version: Annotated[int, Meta(ge=1)] = 1

    @property
    def policy_version(self) -> str:
        """Which rules made a list."""
        return f"{self.name}-{self.version}"


def _of(name: ScenarioName, *blend: tuple[SourceName, int]) -> Scenario:
    return Scenario(name=name, blend=tuple(Turn(source, items) for source, items in blend))


SCENARIOS: Final[dict[str, Scenario]] = {
    "home": _of("home", ("shelf", 1)),
    "product": _of("product", ("context", 3), ("shelf", 1)),
    "cart": _of("cart", ("context", 2), ("cart", 1), ("shelf", 1)),
    "category": _of("category", ("category", 2), ("shelf", 1)),
    "search_empty": _of("search_empty", ("shelf", 1), ("popular", 1)),
    "message": _of("message", ("shelf", 1)),
}
