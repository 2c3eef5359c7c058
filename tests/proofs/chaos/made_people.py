"""People of the made log whose events go together in a plot: logins on devices, and carts that are left alone.

**Logins.** All of one plot happens within less than the allowed lateness, so that it comes to the same wherever between
the user's own records a hand-over lands. Links come to their partition before anything that happened after them, where
a device has more than one user.

**Carts.** Their timers come due before the run or in its first minutes, and nothing of their shopper that could change
the message comes after the cart, neither on the log nor by event time. What keeps a message back (an order, a removal,
a refusal) is on the log before the cart and happened before or after it. So it makes no difference when a timer fires.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from tests.proofs.chaos.shoppers_made import Shopper, event, written

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_PLOT_MS: Final = 95 * _MINUTE_MS  # less than the lateness of two hours
_STRAGGLES_MS: Final = 3 * _HOUR_MS
_KEPT_BACK: Final = ("bought", "removed", "refused", "loaded", "unknown_items", "expired")
# Not in the catalogue.
UNKNOWN_ITEM: Final = "nowhere"

Event = dict[str, Any]


class People:
    """Begins plots and gives back what is to be on the log by a time."""

    def __init__(self, rng: random.Random, made: Counter[str], due_ms: int, abandoned_ms: int) -> None:
        """`due_ms` is when timers are due that the run is to see, `abandoned_ms` how long a cart is left alone."""
        self._rng, self._made = rng, made
        self._left_ms = due_ms - abandoned_ms
        self._coming: list[tuple[int, int, Event]] = []
        self._plots = self._events = 0

    def begin(self, now_ms: int) -> None:
        """Perhaps begin something."""
        chance = self._rng.random()
        if chance < 0.006:
            self._plots += 1
            self._logins(now_ms)
        elif chance < 0.018:
            self._plots += 1
            self._cart(now_ms)

    def due(self, now_ms: int | None) -> Iterator[Event]:
        """What comes to the log by now; None: all that is left."""
        while self._coming and (now_ms is None or self._coming[0][0] <= now_ms):
            yield heapq.heappop(self._coming)[2]

    def _emit(self, at_ms: int, told: Event) -> None:
        self._events += 1
        heapq.heappush(self._coming, (at_ms, self._events, told))

    def _event(self, ids: dict[str, str], at: int, visit: str | None, names: tuple[str, ...] = ()) -> Event:
        who = Shopper(self._plots, self._rng)
        who.ids, who.session = ids, visit
        while True:
            self._events += 1
            told = event(who, self._events, at, at + 400, self._rng)
            if told["event_name"] != "review_item" and (not names or told["event_name"] in names):
                break
        told |= {"event_id": f"p{self._events}", "occurred_at": written(at), "received_at": written(at + 400)}
        told.pop("sent_at", None)
        return told

    def _logins(self, begin: int) -> None:
        rng, made = self._rng, self._made
        user = {"user_id": f"m{self._plots}"}
        visit = f"plot-{self._plots}" if rng.random() < 0.5 else None
        chance = rng.random()
        users = 1 if chance < 0.75 else 2 if chance < 0.93 else 3
        made[f"plots_of_{users}_users"] += 1
        if rng.random() < 0.5:
            for _ in range(rng.randrange(1, 5)):
                self._twice(begin, self._event(user, begin + rng.randrange(_PLOT_MS), visit))
        for number in range(2 if users == 1 and rng.random() < 0.25 else 1):
            device = {"anonymous_id": f"d{self._plots}-{number}"}
            logins = sorted(rng.sample(range(5, 90), users))
            for _ in range(rng.randrange(3, 12)):
                self._twice(begin, self._event(device, begin + rng.randrange(_PLOT_MS), visit))
            for place, minute in enumerate(logins):
                who = f"m{self._plots}" if place == 0 else f"m{self._plots}-{place}"
                self._login(device, who, begin + minute * _MINUTE_MS, visit, late=users == 1)
            for _ in range(rng.randrange(4)):
                made["stragglers"] += 1
                at = begin + rng.randrange(_PLOT_MS)
                self._emit(begin + _PLOT_MS + rng.randrange(_STRAGGLES_MS), self._event(device, at, visit))

    def _login(self, device: dict[str, str], user: str, at: int, visit: str | None, *, late: bool) -> None:
        rng, made = self._rng, self._made
        both = device | {"user_id": user}
        self._events += 1
        link_id = f"link{self._events:032d}"
        link = {"link_id": link_id, "user_id": user, "since": written(at)}
        times = {"occurred_at": written(at), "received_at": written(at)}
        identify = {"event_name": "identify", "event_id": f"p{self._events}", "source": "site", **both, **times}
        linked = {"event_name": "identity_linked", "event_id": link_id, "source": "daogou", **device, **times}
        on_log = at + (rng.randrange(20 * _MINUTE_MS) if late else 0)
        made["links"] += 1
        self._emit(at, identify)
        self._emit(on_log, linked | {"link": link})
        if rng.random() < 0.3:
            made["links_twice"] += 1
            self._emit(on_log + rng.randrange(_STRAGGLES_MS), linked | {"link": link})
        for _ in range(rng.randrange(1, 6)):
            told = self._event(both, at + rng.randrange(10 * _MINUTE_MS), visit)
            if rng.random() < 0.2:
                made["told_by_link"] += 1
                told["link"] = link
            self._twice(at, told)

    def _twice(self, begin: int, told: Event) -> None:
        """When it happened, and perhaps once more."""
        rng = self._rng
        at = max(begin, _at(told))
        self._emit(at, told)
        if rng.random() < 0.15:
            self._made["plots_twice"] += 1
            self._emit(at + rng.randrange(_STRAGGLES_MS), told)

    def _cart(self, now_ms: int) -> None:
        rng = self._rng
        number = self._plots
        ids = {"user_id": f"c{number}"} if rng.random() < 0.5 else {"anonymous_id": f"c{number}"}
        why = rng.choice(_KEPT_BACK) if rng.random() < 0.3 else "message"
        self._made[f"carts_{why}"] += 1
        before_ms = rng.randrange(10 * _HOUR_MS) if rng.random() < 0.5 else -rng.randrange(100_000)
        at = self._left_ms - (before_ms if why != "expired" else rng.randrange(30, 60) * _HOUR_MS)
        for _ in range(rng.randrange(3)):
            early = at - rng.randrange(1, 30) * _MINUTE_MS
            self._emit(now_ms, self._event(ids, early, None, ("view_item", "search", "page_view", "add_to_wishlist")))
        cart = self._event(ids, at, None, ("add_to_cart",))
        cart.pop("load_id", None)
        if why == "loaded":
            cart["load_id"] = "history-1"
        elif why == "unknown_items":
            cart["items"] = [{"item_id": UNKNOWN_ITEM}]
        elif why == "refused" or rng.random() < 0.1:
            said = self._event(ids, at - 2 * _MINUTE_MS, None, ("page_view",))
            self._emit(now_ms, said | {"event_name": "consent_updated", "consent": {"marketing": why != "refused"}})
        elif why in ("bought", "removed"):
            name = "purchase" if why == "bought" else "remove_from_cart"
            gone = self._event(ids, at + 10 * _MINUTE_MS, None, ("page_view",))
            items = [{"item_id": line["item_id"], "quantity": 400} for line in cart["items"]]
            self._emit(now_ms, gone | {"event_name": name, "items": items})
        self._emit(now_ms, cart)
        for _ in range(rng.randrange(3)):
            self._made["carts_twice"] += 1
            self._emit(now_ms + rng.randrange(_STRAGGLES_MS), cart)
        if rng.random() < 0.3:
            late = self._event(ids, at - 31 * _MINUTE_MS, None, ("view_item",))
            self._emit(now_ms + rng.randrange(_STRAGGLES_MS), late)


def _at(told: Event) -> int:
    """Its event time, ms."""
    return round(datetime.fromisoformat(told["occurred_at"]).timestamp() * 1000)
