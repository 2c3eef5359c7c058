"""The client of the interface, for servers: `Daogou` waits for its answers, `AsyncDaogou` is awaited.

    with Daogou("http://localhost:8000", key="sec_…") as shop:
        taken = shop.events([{"event_name": "view_item", "occurred_at": now, "user_id": "ann", "items": [...]}])
        answer = shop.recommend(RecommendationRequest(user_id="ann", min_token=taken.consistency_token))

Requests and answers are the server's own types. A call is repeated after 429, 503 and lost connections, within its
deadline and with the same ids; whatever else fails is raised as a `CallFailed` (`serving.client_errors`). Keys and
tokens go into headers and nowhere else.
"""

import random
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self, TypeVar

import httpx

from serving import client_asks as asks
from serving.client_async import AsyncDaogou as AsyncDaogou
from serving.client_attempts import Patience, Pause, attempts
from serving.client_calls import AnyEvent, Ask, sending
from serving.client_errors import CallFailed, Got
from serving.client_http import away, key_header, new_ids, request, told, too_slow
from serving.events import Accepted, Identity
from serving.explaining import Explanation
from serving.item_batches import ItemOfBatch, ItemsTaken
from serving.item_lists import ItemList, ItemListQuery, TrendingQuery
from serving.items import ItemBody, ItemChange, ItemChanged, ItemKnown
from serving.paging import NextRequest
from serving.recommendation_types import RankRequest, RecommendationRequest, Recommendations
from serving.settings_log import Setting, SettingWritten
from serving.settings_routes import SettingList

T = TypeVar("T")

_ANYBODY: Final = RecommendationRequest()
_LIST: Final = ItemListQuery()
_TRENDING: Final = TrendingQuery()


class Daogou:
    """Every call blocks until it is answered, at most for the deadline. May be used by several threads."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` is where the interface is; `transport` takes httpx's place of a connection."""
        self._patience = patience
        self._http = httpx.Client(base_url=url, headers=key_header(key), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def events(self, events: Iterable[AnyEvent], *, shopper_token: str | None = None) -> Accepted:
        """Put events on the log, in calls of at most 500. Those refused are named in the answer, by their index.

        Raises:
            EventsUnsent: a call failed; give its `unsent` again.
        """
        steps = sending(events, new_ids(), shopper_token)
        answer: Accepted | CallFailed | None = None
        while True:
            try:
                ask = steps.send(answer)
            except StopIteration as done:
                taken: Accepted = done.value
                return taken
            try:
                answer = self._do(ask)
            except CallFailed as error:
                answer = error

    def identify(self, who: Identity, *, shopper_token: str | None = None) -> Accepted:
        """Say that a visitor is a user."""
        return self._do(asks.identify(who, shopper_token))

    def recommend(
        self, asked: RecommendationRequest = _ANYBODY, *, shopper_token: str | None = None
    ) -> Recommendations:
        """A list for a shopper; without one it is not personal."""
        return self._do(asks.recommend(asked, shopper_token))

    def next_page(self, asked: NextRequest, *, shopper_token: str | None = None) -> Recommendations:
        """More of a list."""
        return self._do(asks.next_page(asked, shopper_token))

    def rank(self, asked: RankRequest, *, shopper_token: str | None = None) -> Recommendations:
        """Given items in a shopper's order."""
        return self._do(asks.rank(asked, shopper_token))

    def similar(self, item_id: str, query: ItemListQuery = _LIST) -> ItemList:
        """What goes with an item."""
        return self._do(asks.similar(item_id, query))

    def bought_together(self, item_id: str, query: ItemListQuery = _LIST) -> ItemList:
        """What is bought with an item."""
        return self._do(asks.bought_together(item_id, query))

    def trending(self, query: TrendingQuery = _TRENDING) -> ItemList:
        """What is met more than before."""
        return self._do(asks.trending(query))

    def explanation(
        self, recommendation_id: str, item_id: str | None = None, *, shopper_token: str | None = None
    ) -> Explanation:
        """Why a list is as it is."""
        return self._do(asks.explanation(recommendation_id, item_id, shopper_token))

    def item(self, item_id: str) -> ItemKnown:
        """An item and its version."""
        return self._do(asks.item(item_id))

    def put_item(self, item_id: str, body: ItemBody) -> ItemChanged:
        """Add or replace an item."""
        return self._do(asks.put_item(item_id, body))

    def patch_item(self, item_id: str, change: ItemChange) -> ItemChanged:
        """Change some of an item; `Changed` where its version is old."""
        return self._do(asks.patch_item(item_id, change))

    def delete_item(self, item_id: str) -> ItemChanged:
        """Take an item out."""
        return self._do(asks.delete_item(item_id))

    def put_items(self, items: Sequence[ItemOfBatch]) -> ItemsTaken:
        """Add or change up to 1,000 items; the answer names those refused."""
        return self._do(asks.put_items(items))

    def setting(self, kind: str, setting_id: str) -> Setting:
        """A setting in force."""
        return self._do(asks.setting(kind, setting_id))

    def settings(self, kind: str) -> SettingList:
        """All settings of a kind."""
        return self._do(asks.settings(kind))

    def put_setting(self, kind: str, setting_id: str, value: Any, *, validate_only: bool = False) -> SettingWritten:
        """Change a setting, or check a change."""
        return self._do(asks.put_setting(kind, setting_id, value, validate_only))

    def delete_setting(self, kind: str, setting_id: str) -> SettingWritten:
        """Take a setting back to what a shop begins with."""
        return self._do(asks.delete_setting(kind, setting_id))

    def _do(self, ask: Ask[T]) -> T:
        steps = attempts(ask, self._patience, time.monotonic, random.random)
        got: Got | CallFailed | None = None
        while True:
            try:
                step = steps.send(got)
            except StopIteration as done:
                answer: T = done.value
                return answer
            if isinstance(step, Pause):
                time.sleep(step.seconds)  # between attempts: within the deadline, as long as the server asked for
                got = None
            else:
                got = self._sent(ask, step.within_s)

    def _sent(self, ask: Ask[Any], within_s: float) -> Got | CallFailed:
        until = time.monotonic() + within_s
        try:
            with self._http.stream(**request(ask), timeout=within_s) as response:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if time.monotonic() > until:
                        return too_slow()
                return told(response, bytes(body))
        except httpx.TimeoutException:
            return too_slow()
        except httpx.TransportError as error:
            return away(error)
