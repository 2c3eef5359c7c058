"""The demo as a shop's site sees Daogou: a few calls over HTTP, nothing else."""

import http.client
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from infra.clock import Clock
from infra.errors import Refused, Unavailable

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has not logged in, by the id that the site gave."""

    anonymous_id: str


# A user's id, or a visitor.
Shopper = str | Visitor


class Site:
    """One shop's site: posts what shoppers do, asks for lists."""

    def __init__(self, host: str, port: int, clock: Clock) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._clock = clock
        self._count = 0

    def visitors(self, number: int) -> list[Visitor]:
        """Visitors who were never here before, as long as the clock goes on between two calls."""
        now_ms = self._clock.now_ms()
        return [Visitor(f"demo-measured-{now_ms:x}-{i}") for i in range(number)]

    def post_event(self, shopper: Shopper, name: str, *items: dict[str, Any]) -> str:
        """Post one event, now.

        Returns:
            The consistency token.
        """
        self._count += 1
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        event = {
            "event_id": f"demo-{time.time_ns()}-{self._count}",
            "event_name": name,
            "occurred_at": now.isoformat(),
            **_who(shopper),
            "items": list(items),
        }
        if name == "purchase":
            event |= {"currency": "USD", "value": "1.00", "transaction_id": f"demo-{self._count}"}
        return str(self.call("POST", "/v1/events", event)["consistency_token"])

    def list_for(self, shopper: Shopper, token: str | None = None, count: int = 8) -> dict[str, Any]:
        """The shopper's list, at least as new as the token."""
        asked: dict[str, Any] = {**_who(shopper), "count": count, "include_properties": ["name", "price"]}
        if token:
            asked |= {"min_token": token, "max_wait_ms": 2000}
        return self.call("POST", "/v1/recommendations", asked)

    def similar_to(self, item_id: str) -> set[str]:
        """Items that go with one."""
        answer = self.call("GET", f"/v1/items/{quote(item_id, safe='')}/similar?count=50")
        return {item["item_id"] for item in answer["items"]}

    def messages_after(self, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """Triggers newer than the cursor, and the next cursor."""
        query = urlencode({"limit": 100} | ({"after": cursor} if cursor else {}))
        answer = self.call("GET", f"/v1/triggers?{query}")
        return answer["triggers"], answer["next"] or cursor

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One call; an answer that is no success is an error with the server's own words.

        Raises:
            Refused: the shop has keys.
            Unavailable: any other answer that is no success.
        """
        raw = None if body is None else json.dumps(body)
        self._connection.request(method, path, raw, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        if response.status == 401:
            raise Refused(
                "This shop has keys now (daogou keys create, or DAOGOU_PUBLISHABLE_KEYS, DAOGOU_SECRET_KEYS and "
                "DAOGOU_OPERATOR_KEYS), and the demo calls without one: it ends. Start it again without keys: an "
                "embedded broker has forgotten those of the log; with DAOGOU_KAFKA give another DAOGOU_TENANT."
            )
        if response.status >= 300:
            raise Unavailable(f"{method} {path} was answered {response.status}: {answer.get('detail')}")
        return answer


def _who(shopper: Shopper) -> dict[str, str]:
    return {"user_id": shopper} if isinstance(shopper, str) else {"anonymous_id": shopper.anonymous_id}


def places(answer: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """A list as a shopper sees it: each item with its reasons."""
    return [(item["item_id"], tuple(reason["text"] for reason in item.get("reasons", ()))) for item in answer["items"]]
