"""One visit, told step by step: list, click, list, cart, message, purchase."""

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.errors import DaogouError
from infra.keys import partition_of, record_key
from streams.demo.site import Site, places

MESSAGE_WAIT_S = 30.0
_POLL_S = 0.1
LOOKED_AT = 20  # items of a list
SHOWN = 8  # of them on the console


class StoryBroken(DaogouError):
    """A step of the story did not turn out as the README says."""

    code = "story_broken"


@dataclass(frozen=True)
class Cast:
    """Who plays: the shopper we follow, and one who leaves a cart while ours buys (so that silence is proven).

    Both are of one partition: its events are applied, its timers fired and its messages sent one after the other. So
    a message to the shopper would have been heard before the bystander's.
    """

    shopper: str
    bystander: str


def cast_of(visit: int, shoppers: Sequence[str], tenant: str, partitions: int) -> Cast:
    """Who plays in a visit, counted from 1: another shopper each time; where none of the others is of the same
    partition, a guest is the bystander.
    """

    def home(shopper: str) -> int:
        return partition_of(record_key(tenant, f"u-{shopper}"), partitions)

    place = (visit - 1) % len(shoppers)
    shopper, others = shoppers[place], [*shoppers[place + 1 :], *shoppers[:place]]
    guests = (f"guest-{number}" for number in count(1))
    return Cast(shopper, next(other for other in chain(others, guests) if home(other) == home(shopper)))


class Visit:
    """Tells the story on a console, checks each step, and moves the clock on by the shift file.

    `log_file` is the worker's, named where a step goes wrong.
    """

    def __init__(
        self, site: Site, console: Console, shift_file: Path, cart_abandoned_s: int, *, log_file: Path
    ) -> None:
        self._site = site
        self._console = console
        self._shift_file = shift_file
        self._cart_abandoned_s = cart_abandoned_s
        self._log_file = log_file
        self._cursor: str | None = None

    def tell(self, cast: Cast) -> None:
        """The whole story.

        Raises:
            StoryBroken: a step did not turn out as it should.
        """
        self._cursor = self._latest_cursor()
        clicked = self._click(cast.shopper)
        self._put_in_cart(cast.shopper, clicked)
        self._leave_alone(cast.shopper, clicked)
        self._buy(cast, clicked)

    def _click(self, shopper: str) -> dict[str, Any]:
        before = self._site.list_for(shopper, count=LOOKED_AT)
        self._show(f"1. {shopper} opens the shop. The list before any click:", before)
        clicked = item_to_click(before, self._site.similar_to)
        token = self._site.post_event(shopper, "view_item", {"item_id": clicked["item_id"]})
        after = self._site.list_for(shopper, token, count=LOOKED_AT)
        self._show(f"2. A click on “{_name(clicked)}”. The list after it:", after)
        self._demand(not after["freshness"]["stale"], "the list after the click does not know of it in time")
        known = places(before)
        changed = sum(one not in known for one in places(after))
        self._demand(changed > 0, f"the click changed none of {LOOKED_AT} places, neither item nor reason")
        self._say(f"   {changed} of {LOOKED_AT} places have another item or another reason than before the click.")
        return clicked

    def _put_in_cart(self, shopper: str, item: dict[str, Any]) -> None:
        token = self._site.post_event(shopper, "add_to_cart", {"item_id": item["item_id"]})
        after = self._site.list_for(shopper, token, count=LOOKED_AT)
        self._demand(item["item_id"] not in _ids(after), "what lies in the cart is still in the list")
        self._say(
            f"3. “{_name(item)}” goes into the cart, and is gone from the list ({LOOKED_AT} items looked through)."
        )

    def _leave_alone(self, shopper: str, item: dict[str, Any]) -> None:
        self._move_clock_on()
        self._say(f"4. The cart is left alone for {_duration(self._cart_abandoned_s)} (the clock is moved on).")
        message = self._await_message(shopper)
        shown = {line["item_id"] for line in message["items"]}
        self._demand(item["item_id"] in shown, "the message does not name what lies in the cart")
        copy = message["copy"]
        self._say(f"   Message {message['trigger_id']} ({message['kind']}), for any channel:")
        self._say(f"     {copy['subject']}\n     {copy['body']}")

    def _buy(self, cast: Cast, item: dict[str, Any]) -> None:
        self._site.post_event(cast.shopper, "add_to_cart", {"item_id": item["item_id"]})
        self._site.post_event(cast.shopper, "purchase", {"item_id": item["item_id"], "quantity": 1})
        self._site.post_event(cast.bystander, "add_to_cart", {"item_id": item["item_id"]})
        self._move_clock_on()
        told = self._messages_until(lambda m: m["shopper_id"] == f"u-{cast.bystander}")
        self._demand(all(m["shopper_id"] != f"u-{cast.shopper}" for m in told), "a message was made after the purchase")
        self._say(
            f"5. {cast.shopper} comes back, adds it again and buys; {cast.bystander} leaves a cart at the same time.\n"
            f"   The clock moves on: {cast.bystander} gets a message, {cast.shopper} none."
        )

    def _await_message(self, shopper: str) -> dict[str, Any]:
        return next(
            m
            for m in self._messages_until(lambda m: m["shopper_id"] == f"u-{shopper}")
            if m["shopper_id"] == f"u-{shopper}"
        )

    def _messages_until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Messages as they come, until one is wanted."""
        heard: list[dict[str, Any]] = []
        end = time.monotonic() + MESSAGE_WAIT_S
        while not any(map(wanted, heard)):
            self._demand(time.monotonic() < end, f"no message within {MESSAGE_WAIT_S:.0f} s")
            time.sleep(_POLL_S)  # messages are asked for, as a shop without Kafka does
            new, self._cursor = self._site.messages_after(self._cursor)
            heard.extend(new)
        return heard

    def _latest_cursor(self) -> str | None:
        """The cursor behind all messages of earlier starts."""
        cursor: str | None = None
        while True:
            messages, cursor = self._site.messages_after(cursor)
            if not messages:
                return cursor

    def _move_clock_on(self) -> None:
        shift_s = int(self._shift_file.read_text() or "0") + self._cart_abandoned_s + 60
        self._shift_file.write_text(str(shift_s))

    def _demand(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise StoryBroken(f"the demo's story broke: {otherwise}; the worker's log is {self._log_file}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def _show(self, title: str, answer: dict[str, Any]) -> None:
        self._say(f"\n{title}")
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("#", "item", "price", "why"):
            table.add_column(heading, overflow="ellipsis", no_wrap=heading != "why", max_width=44)
        for item in answer["items"][:SHOWN]:
            why = "; ".join(reason["text"] for reason in item["reasons"])
            price = item["properties"].get("price") or ""
            table.add_row(str(item["position"]), _name(item), str(price), why)
        self._console.print(table)
        lag_ms = answer["freshness"]["lag_ms"]
        known = "everything so far is in it" if lag_ms == 0 else f"it waits for an event since {lag_ms} ms"
        self._say(f"   made with model {answer['model_version']}; {known}; answered in {answer['took_ms']:.0f} ms")


def item_to_click(answer: dict[str, Any], alike: Callable[[str], Container[str]]) -> dict[str, Any]:
    """The item shown, and the reason of nothing yet, that most items of the list are alike to: a click on it will be
    their reason. `alike` gives the items that go with one.
    """
    spoken = {reason["evidence"].get("item_id") for item in answer["items"] for reason in item["reasons"]}
    shown: list[dict[str, Any]] = answer["items"][:SHOWN]
    fresh = [item for item in shown if item["item_id"] not in spoken] or shown
    others = _ids(answer)
    near = [(item, alike(item["item_id"])) for item in fresh]
    return max(near, key=lambda one: sum(other in one[1] for other in others))[0]


def _name(item: dict[str, Any]) -> str:
    return str(item["properties"].get("name") or item["item_id"])


def _ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def _duration(seconds: int) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds % size == 0 and seconds > size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
