"""What made shoppers do: visits of known shoppers to a shop of four hundred items, one event after the other.

Nothing of the project is imported: an event is the JSON that a collector would put on the log.
"""

import random
from datetime import UTC, datetime
from typing import Any, Final

ITEMS: Final = 400
_HOUR_MS: Final = 3_600_000
_KINDS: Final = {
    "view_item": 38,
    "select_item": 8,
    "view_item_list": 4,
    "search": 5,
    "page_view": 5,
    "add_to_cart": 15,
    "remove_from_cart": 5,
    "view_cart": 2,
    "begin_checkout": 2,
    "purchase": 6,
    "refund": 2,
    "add_to_wishlist": 3,
    "remove_from_wishlist": 2,
    "dislike_item": 2,
    "review_item": 1,
    "consent_updated": 1,
}
_WITHOUT_ITEMS: Final = ("search", "page_view", "view_cart", "consent_updated")
_ODD_IDS: Final = ("ü|ser 7%", "客 人/1", "a+b=c&d", "..", "x" * 200)


class Shopper:
    """One shopper as the maker of events remembers them, in the order of the log."""

    def __init__(self, number: int, rng: random.Random) -> None:
        name = _ODD_IDS[number] if number < len(_ODD_IDS) else f"s{number}"
        known = rng.random() < 0.7
        self.ids = {"user_id": name} if known else {"anonymous_id": name}
        if known and rng.random() < 0.5:
            self.ids["anonymous_id"] = f"device-{number}"
        self.id = f"u-{name}" if known else f"a-{name}"
        self.newest_ms = 0
        self.session: str | None = None
        self.touched: dict[str, list[str]] = {"cart": [], "bought": [], "wished": []}

    def begins_visit(self, number: int, rng: random.Random) -> None:
        """Half of the visits carry a session's id, the others are told apart by their gaps."""
        self.session = f"v{number}" if rng.random() < 0.5 else None


def event(who: Shopper, number: int, at_ms: int, received_ms: int, rng: random.Random) -> dict[str, Any]:
    """The next event of a shopper, occurred at `at_ms` by our clock."""
    name = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    made: dict[str, Any] = {
        "event_name": name,
        "event_id": f"e{number}",
        "source": rng.choice(("site", "site", "site", "app", "till")),
        "received_at": written(received_ms),
        **who.ids,
        **_times(at_ms, received_ms, name, rng),
    }
    if "sent_at" not in made and rng.random() < 0.03 and made["occurred_at"] <= made["received_at"]:
        del made["received_at"]
    if who.session is not None and rng.random() < 0.9:
        made["session_id"] = who.session
    if rng.random() < 0.03:
        made["load_id"] = "history-1"
    items = [] if name in _WITHOUT_ITEMS else _items(who, name, rng)
    if items:
        made["items"] = items
        made["currency"] = rng.choice(("EUR", "EUR", "CNY"))
    _details(made, name, number, rng)
    return made


def written(at_ms: int) -> str:
    """A time as senders write it."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _times(at_ms: int, received_ms: int, name: str, rng: random.Random) -> dict[str, str]:
    """The sender's clock is right, or wrong and corrected by the time of sending, or wrong and not corrected."""
    chance = rng.random()
    if chance < 0.6:
        return {"occurred_at": written(at_ms)}
    if chance < 0.98:
        wrong_ms = rng.randrange(-400 * 24, 400 * 24) * _HOUR_MS + rng.randrange(1000)
        return {"occurred_at": written(at_ms + wrong_ms), "sent_at": written(received_ms + wrong_ms)}
    if chance < 0.995 or name != "view_item":
        return {"occurred_at": written(at_ms), "sent_at": written(received_ms)}
    wrong_ms = rng.choice((-1, 1)) * 365 * 24 * _HOUR_MS  # moved to the bound of 30 days, or to the receipt
    return {"occurred_at": written(at_ms + wrong_ms)}


def _items(who: Shopper, name: str, rng: random.Random) -> list[dict[str, Any]]:
    known = {
        "remove_from_cart": "cart",
        "purchase": "cart",
        "refund": "bought",
        "remove_from_wishlist": "wished",
    }.get(name)
    many = rng.choice((1, 1, 1, 2, 3))
    chosen = [f"i{min(int(rng.expovariate(6 / ITEMS)), ITEMS - 1)}" for _ in range(many)]
    had = who.touched[known] if known else []
    if had and rng.random() < 0.8:
        chosen = [rng.choice(had) for _ in range(many)]
    if name == "refund" and rng.random() < 0.1:
        return []
    kept = {"add_to_cart": "cart", "purchase": "bought", "add_to_wishlist": "wished"}.get(name)
    if kept:
        who.touched[kept] = [*who.touched[kept], *chosen][-8:]
    return [_line(item, rng) for item in chosen]


def _line(item: str, rng: random.Random) -> dict[str, Any]:
    number = int(item[1:])
    line: dict[str, Any] = {"item_id": item}
    if rng.random() < 0.9:
        price = f"{number * 7 % 900}.{rng.choice(('00', '5', '99', '125'))}"
        line["price"] = price if rng.random() < 0.7 else float(price)
    if rng.random() < 0.9:
        line["category"] = f"category {number % 25}"
    if rng.random() < 0.8:
        line["brand"] = f"brand {number % 30}"
    if rng.random() < 0.4:
        line["quantity"] = rng.randrange(1, 5)
    if rng.random() < 0.1:
        line["index"] = rng.randrange(20)
    return line


def _details(made: dict[str, Any], name: str, number: int, rng: random.Random) -> None:
    if name == "purchase":
        made["transaction_id"] = f"order-{number}"
        made["value"] = "19.90"
    elif name == "search":
        made["search_term"] = rng.choice(("green tea", "teapot", "龙井", "cup"))
    elif name == "review_item":
        made["rating"] = rng.randrange(1, 6)
    elif name == "consent_updated":
        made["consent"] = {rng.choice(("email", "push", "sms")): rng.random() < 0.5}
    if rng.random() < 0.05:
        made["context"] = {
            "page": "https://shop.example/",
            "locale": rng.choice(("de-DE", "zh-CN")),
            "time_zone": rng.choice(("Europe/Berlin", "Asia/Shanghai")),
        }
