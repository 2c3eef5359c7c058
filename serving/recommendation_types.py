"""`POST /v1/recommendations`: what is asked and what is answered. The OpenAPI document is made from these
types.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from features.events import Id
from serving.catalogue import Property
from serving.facts import Personalization
from serving.reasons import Reason
from serving.scenarios import Expression, RotationSeconds, ScenarioName, Share

MAX_COUNT: Final = 100
MAX_CONTEXT: Final = 20
MAX_EXCLUDED: Final = 500
MAX_WAIT_MS: Final = 2000

MAX_PINS: Final = 20

# codes: the strongest reason of each item; full: every one that is true.
Explain = Literal["codes", "full", "none"]


FILTER_SAID: Final = (
    "A CEL expression that gives true or false, asked of each item beside the scenario's filter; an item for which it "
    "has no value is left out. Of the item: item.id, item.name, item.category, item.categories, item.brand, "
    "item.attributes, item.price, item.currency, item.available, item.quantity. Of the shopper: shopper.known, "
    "shopper.cart, shopper.viewed, shopper.bought, shopper.wished, shopper.categories, shopper.orders, "
    "shopper.locale, shopper.last_search. Example: item.category == 'tea' && item.price < 10.0"
)
BOOSTER_SAID: Final = (
    "A CEL expression that gives a number, 0 to 1000, by which an item's score is multiplied; 1 where it has no value. "
    "It stands in place of the scenario's, and reads the same fields as filter: item.id, item.name, item.category, "
    "item.categories, item.brand, item.attributes, item.price, item.currency, item.available, item.quantity, "
    "shopper.known, shopper.cart, shopper.viewed, shopper.bought, shopper.wished, shopper.categories, shopper.orders, "
    "shopper.locale, shopper.last_search. Example: item.brand == 'Own' ? 1.5 : 1.0"
)
PersonalizationWish = Annotated[
    Personalization,
    Meta(
        description="What is used of the shopper: full: all that is known; session: this session only; none: nothing "
        "is read about them, and the list may hold what is in their cart."
    ),
]
ExplainWish = Annotated[
    Explain,
    Meta(description="The reasons of each item: codes: the strongest one; full: every one that is true; none: none."),
]
MinToken = Annotated[
    Annotated[str, Meta(min_length=1, max_length=65_536)] | None,
    Meta(description="A consistency_token: the list waits until what it stands for (events, items) is known here."),
]
WaitMs = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_WAIT_MS,
        description="How long to wait for min_token, in milliseconds; then the list comes all the same, with "
        "freshness.stale.",
    ),
]


class PinWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An exact slot for an item; positions begin at 1."""

    item_id: Id
    position: Annotated[int, Meta(ge=1, le=MAX_COUNT)]


class RecommendationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A list of items for a shopper. Without user_id and anonymous_id the list is not personal.

    What is not given of booster, diversity and rotation is as the scenario says; a filter holds beside its filter.
    """

    user_id: Id | None = None
    anonymous_id: Id | None = None
    session_id: Id | None = None
    scenario: ScenarioName = "home"
    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 20
    item_ids: Annotated[tuple[Id, ...], Meta(max_length=MAX_CONTEXT)] = ()
    exclude_item_ids: Annotated[tuple[Id, ...], Meta(max_length=MAX_EXCLUDED)] = ()
    include_properties: Annotated[tuple[Property, ...], Meta(max_length=20)] = ()
    personalization: PersonalizationWish = "full"
    explain: ExplainWish = "codes"
    filter: Annotated[Expression | None, Meta(description=FILTER_SAID)] = None
    booster: Annotated[Expression | None, Meta(description=BOOSTER_SAID)] = None
    diversity: Annotated[
        Share | None,
        Meta(description="How much likeness to what stands above counts against an item; 0: not at all."),
    ] = None
    rotation_rate: Annotated[
        Share | None,
        Meta(description="How far an item sinks that this shopper was shown lately; 0: not at all."),
    ] = None
    rotation_time_s: Annotated[
        RotationSeconds | None, Meta(description="What counts as lately for rotation_rate, in seconds.")
    ] = None
    pins: Annotated[
        tuple[PinWish, ...],
        Meta(
            max_length=MAX_PINS,
            description="Items at exact positions. One that may not be shown, or that the filter leaves out, is not: "
            "missing_ids names it.",
        ),
    ] = ()
    strict_filtering: Annotated[
        bool,
        Meta(
            description="What happens where too few items pass the filter. false: the fallback fills the list, within "
            "the filter; true: the list is shorter."
        ),
    ] = False
    experiment_overrides: Annotated[dict[str, str], Meta(max_length=20)] = {}
    min_token: MinToken = None
    max_wait_ms: WaitMs = 1000
    validate_only: bool = False


class RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items to be put into a shopper's order. What may not be shown now is named in missing_ids."""

    item_ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_COUNT)]
    user_id: Id | None = None
    anonymous_id: Id | None = None
    session_id: Id | None = None
    scenario: ScenarioName = "home"
    include_properties: Annotated[tuple[Property, ...], Meta(max_length=20)] = ()
    personalization: PersonalizationWish = "full"
    explain: ExplainWish = "codes"
    min_token: MinToken = None
    max_wait_ms: WaitMs = 1000


class RecommendedItem(msgspec.Struct, frozen=True):
    """One item of the list; positions begin at 1."""

    item_id: str
    position: int
    score: float
    source: str
    reasons: list[Reason]
    properties: msgspec.Raw
    pinned: bool = False


# no_shopper: the request names none. unknown_shopper: nothing is known of the one it names.
Why = Literal[
    "state_unavailable", "no_shopper", "unknown_shopper", "no_session", "no_shelf", "no_model", "too_few_candidates"
]


class Fallback(msgspec.Struct, frozen=True):
    """Whether other sources than the scenario's own had to fill the list, and why."""

    used: bool
    why: Why | None = None


class Freshness(msgspec.Struct, frozen=True):
    """How new the list is. `applied_through`: the shopper's newest event that it knows of. `lag_ms`: for how
    long the oldest event that this server put on the shopper's partition has been waiting to be applied.
    `stale`: the state was not read, or is not yet where `min_token` wants it.
    """

    applied_through: datetime | None
    lag_ms: int
    stale: bool


class Experiment(msgspec.Struct, frozen=True):
    """An experiment that took part in the list."""

    experiment_id: str
    variation: str


class Recommendations(msgspec.Struct, frozen=True):
    """The answer. `recorded`: whether its decision record was taken, to be put on the log; `missing_ids`: items of the
    request that are not known, and pins that are not shown.
    """

    recommendation_id: str
    items: list[RecommendedItem]
    model_version: str
    policy_version: str
    experiments: list[Experiment]
    fallback: Fallback
    freshness: Freshness
    missing_ids: list[str]
    recorded: bool
    next_token: str | None
    took_ms: float
