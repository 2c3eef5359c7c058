"""Lists over HTTP: recommendations and their next pages, given items in a shopper's order, and lists about items."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from infra.clock import Clock
from infra.metrics import ITEMS_SHOWN, PAGE_FALLBACKS, Metrics
from serving import bodies, paging
from serving.catalogue import Catalogue
from serving.item_lists import (
    ItemList,
    ItemListQuery,
    ItemLists,
    RecentQuery,
    TrendingQuery,
    check_item_id,
)
from serving.keys import demand_secret
from serving.operations import Call, Operation, query_of
from serving.paging import NextRequest
from serving.recommendation_types import RankRequest, RecommendationRequest, Recommendations
from serving.recommendations import Recommender
from serving.statistics_reader import ItemKnowledge

_request: Final = msgspec.json.Decoder(RecommendationRequest)
_next: Final = msgspec.json.Decoder(NextRequest)
_rank: Final = msgspec.json.Decoder(RankRequest)

Asked = RecommendationRequest | RankRequest


class ListHandlers:
    """One method per operation."""

    def __init__(self, recommender: Recommender, lists: ItemLists, metrics: Metrics, clock: Clock) -> None:
        self._recommender = recommender
        self._lists = lists
        self._metrics = metrics
        self._clock = clock

    async def recommendations(self, call: Call) -> Recommendations:
        """A list for a shopper."""
        asked = bodies.decode(_request, call.raw)
        follow = _may_ask(call, asked)
        return self._counted(
            await self._recommender.recommend(asked, call.header(b"accept-language"), follow_links=follow)
        )

    async def next_page(self, call: Call) -> Recommendations:
        """More of a list."""
        before = paging.opened(bodies.decode(_next, call.raw), self._clock.now_ms())
        follow = _may_ask(call, before.asked)
        return self._counted(
            await self._recommender.recommend(
                before.asked, call.header(b"accept-language"), follow_links=follow, before=before
            )
        )

    async def rank(self, call: Call) -> Recommendations:
        """Given items in a shopper's order."""
        asked = bodies.decode(_rank, call.raw)
        follow = _may_ask(call, asked)
        return self._counted(await self._recommender.rank(asked, call.header(b"accept-language"), follow_links=follow))

    async def similar(self, call: Call) -> ItemList:
        """What goes with an item."""
        return self._lists.similar(check_item_id(call.path("item_id")), query_of(call, ItemListQuery))

    async def bought_together(self, call: Call) -> ItemList:
        """What is bought with an item."""
        return self._lists.bought_together(check_item_id(call.path("item_id")), query_of(call, ItemListQuery))

    async def trending(self, call: Call) -> ItemList:
        """What is met more than before."""
        return self._lists.trending(query_of(call, TrendingQuery))

    async def recently_viewed(self, call: Call) -> ItemList:
        """What a shopper looked at last."""
        query = query_of(call, RecentQuery)
        if query.kind == "user":
            call.may_be(call.path("shopper_id"))
        return await self._lists.recently_viewed(call.path("shopper_id"), query)

    def _counted(self, answer: Recommendations) -> Recommendations:
        if answer.fallback.why is not None:
            self._metrics.count(PAGE_FALLBACKS, why=answer.fallback.why)
        shown: dict[str, int] = {}
        for item in answer.items:
            shown[item.source] = shown.get(item.source, 0) + 1
        for source, count in shown.items():
            self._metrics.count(ITEMS_SHOWN, count, source=source)
        return answer


def _may_ask(call: Call, asked: Asked) -> bool:
    """Whether links are followed: an anonymous id is known to whoever sits at the device, and does not open what is a
    user's.

    Raises:
        Refusal: with a publishable key, what belongs to a user needs the user's token, and nobody chooses variations.
    """
    if isinstance(asked, RecommendationRequest) and asked.experiment_overrides:
        demand_secret(call.caller)
    if asked.user_id is not None and asked.personalization != "none":
        call.may_be(asked.user_id)
    return call.caller != "publishable"


def operations(
    recommender: Recommender, catalogue: Catalogue, knowledge: ItemKnowledge, metrics: Metrics, clock: Clock
) -> list[Operation]:
    """The rows of the table."""
    do = ListHandlers(recommender, ItemLists(catalogue, knowledge, recommender.state_of), metrics, clock)
    item = "/v1/items/{item_id}"
    publishable: Mapping[str, Any] = {"access": "publishable"}
    return [
        Operation(
            "POST",
            "/v1/recommendations",
            "A list of items for a shopper, each with a reason.",
            do.recommendations,
            Recommendations,
            body=RecommendationRequest,
            **publishable,
        ),
        Operation(
            "POST",
            "/v1/recommendations:next",
            "More of a list, without what it has shown, within 30 minutes.",
            do.next_page,
            Recommendations,
            body=NextRequest,
            **publishable,
        ),
        Operation(
            "POST",
            "/v1/rank",
            "Given items in the order that suits a shopper best.",
            do.rank,
            Recommendations,
            body=RankRequest,
            **publishable,
        ),
        Operation(
            "GET",
            f"{item}/similar",
            "Items that go with one.",
            do.similar,
            ItemList,
            query=ItemListQuery,
            refusals=(404,),
            **publishable,
        ),
        Operation(
            "GET",
            f"{item}/bought-together",
            "Items that are bought with one.",
            do.bought_together,
            ItemList,
            query=ItemListQuery,
            refusals=(404,),
            **publishable,
        ),
        Operation(
            "GET",
            "/v1/trending",
            "Items that are met more than before, in a category or everywhere.",
            do.trending,
            ItemList,
            query=TrendingQuery,
            **publishable,
        ),
        Operation(
            "GET",
            "/v1/shoppers/{shopper_id}/recently-viewed",
            "What a shopper looked at last, newest first: a user or, with kind=anonymous, a device.",
            do.recently_viewed,
            ItemList,
            query=RecentQuery,
            refusals=(503,),
            **publishable,
        ),
    ]
