"""Each call of the interface: its path and its types, written once for both clients."""

import uuid
from collections.abc import Sequence
from typing import Any

from serving.client_calls import Ask, get, item_path, part, post, query_of, setting_path, with_body
from serving.events import Accepted, Identity
from serving.explaining import Explanation
from serving.item_batches import ItemOfBatch, ItemsTaken
from serving.item_lists import ItemList, ItemListQuery, TrendingQuery
from serving.items import ItemBody, ItemChange, ItemChanged, ItemKnown
from serving.paging import NextRequest
from serving.recommendation_types import RankRequest, RecommendationRequest, Recommendations
from serving.settings_log import Setting, SettingWritten
from serving.settings_routes import SettingList


def identify(who: Identity, shopper_token: str | None) -> Ask[Accepted]:
    """A login: however often it is repeated, one event."""
    return post("/v1/identify", who, Accepted, shopper_token, idempotency_key=_key())


def recommend(asked: RecommendationRequest, shopper_token: str | None) -> Ask[Recommendations]:
    """A list for a shopper."""
    return post("/v1/recommendations", asked, Recommendations, shopper_token)


def next_page(asked: NextRequest, shopper_token: str | None) -> Ask[Recommendations]:
    """More of a list."""
    return post("/v1/recommendations:next", asked, Recommendations, shopper_token)


def rank(asked: RankRequest, shopper_token: str | None) -> Ask[Recommendations]:
    """Given items in a shopper's order."""
    return post("/v1/rank", asked, Recommendations, shopper_token)


def similar(item_id: str, query: ItemListQuery) -> Ask[ItemList]:
    """What goes with an item."""
    return get(item_path(item_id, "/similar"), ItemList, query_of(query))


def bought_together(item_id: str, query: ItemListQuery) -> Ask[ItemList]:
    """What is bought with an item."""
    return get(item_path(item_id, "/bought-together"), ItemList, query_of(query))


def trending(query: TrendingQuery) -> Ask[ItemList]:
    """What is met more than before."""
    return get("/v1/trending", ItemList, query_of(query))


def explanation(recommendation_id: str, item_id: str | None, shopper_token: str | None) -> Ask[Explanation]:
    """Why a list is as it is."""
    query = {} if item_id is None else {"item_id": item_id}
    return get(f"/v1/explanations/{part(recommendation_id)}", Explanation, query, shopper_token)


def item(item_id: str) -> Ask[ItemKnown]:
    """An item and its version."""
    return get(item_path(item_id), ItemKnown)


def put_item(item_id: str, body: ItemBody) -> Ask[ItemChanged]:
    """Add or replace an item."""
    return with_body("PUT", item_path(item_id), body, ItemChanged, idempotency_key=_key())


def patch_item(item_id: str, change: ItemChange) -> Ask[ItemChanged]:
    """Change some of an item."""
    return with_body("PATCH", item_path(item_id), change, ItemChanged, idempotency_key=_key())


def delete_item(item_id: str) -> Ask[ItemChanged]:
    """Take an item out."""
    return Ask("DELETE", item_path(item_id), ItemChanged, headers={"idempotency-key": _key()})


def put_items(items: Sequence[ItemOfBatch]) -> Ask[ItemsTaken]:
    """Add or change many."""
    return post("/v1/items:batch", list(items), ItemsTaken, idempotency_key=_key())


def setting(kind: str, setting_id: str) -> Ask[Setting]:
    """A setting in force."""
    return get(setting_path(kind, setting_id), Setting)


def settings(kind: str) -> Ask[SettingList]:
    """All settings of a kind."""
    return get(f"/v1/settings/{part(kind)}", SettingList)


def put_setting(kind: str, setting_id: str, value: Any, validate_only: bool) -> Ask[SettingWritten]:
    """Change a setting, or check a change of it."""
    path = setting_path(kind, setting_id) + ("?validate_only=true" if validate_only else "")
    return with_body("PUT", path, value, SettingWritten, idempotency_key=_key())


def delete_setting(kind: str, setting_id: str) -> Ask[SettingWritten]:
    """Take a setting back to what a shop begins with."""
    path = setting_path(kind, setting_id)
    return Ask("DELETE", path, SettingWritten, headers={"idempotency-key": _key()})


def _key() -> str:
    return uuid.uuid4().hex
