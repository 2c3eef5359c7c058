"""The rules of events that a type cannot say: which fields go together, money, characters, times in range."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from features.event_fields import MAX_OFFSET, MAX_PIECES
from features.items_changed import ITEMS_CHANGED, ItemsChanged
from infra.errors import BadInput

if TYPE_CHECKING:  # events.py calls these rules
    from features.events import Event

NEEDS_ITEMS: Final = frozenset(
    (
        "select_item",
        "view_item",
        "add_to_cart",
        "remove_from_cart",
        "purchase",
        "add_to_wishlist",
        "remove_from_wishlist",
        "dislike_item",
        "review_item",
    )
)
NEEDS_LINK: Final = frozenset(
    ("identity_linked", "identity_unlinked", "shopper_absorbed", "shopper_released", "shopper_returned")
)
# What a row may have to keep of one event, and hand over in one record of at most a million bytes.
MAX_ITEM_ID_BYTES: Final = 512
MAX_ITEMS_BYTES: Final = 400_000
_TEXTS_OF_ITEM: Final = 3
_MOST_BYTES: Final = 4  # of one character
_MAY_BE_LONG: Final = MAX_ITEM_ID_BYTES // _MOST_BYTES  # an id of so many characters is within the bound
_MAY_BE_MUCH: Final = MAX_ITEMS_BYTES // (_TEXTS_OF_ITEM * _MOST_BYTES * 256)  # so many items are
MAX_MONEY: Final = Decimal(10) ** 12
MONEY_PLACES: Final = 6
_MOST_PLACES: Final = 30  # what the log may hold: a decimal of a million places must never be written out
_STEP: Final = Decimal(1).scaleb(-MONEY_PLACES)
EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
# Control characters, and lone surrogates, which are no text in UTF-8.
_NOT_IN_IDS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_TEXT: Final = re.compile(r"[\x00\ud800-\udfff]")
_IDS: Final = (
    "event_id",
    "source",
    "anonymous_id",
    "user_id",
    "session_id",
    "transaction_id",
    "recommendation_id",
)


def check(event: "Event") -> None:
    """Refuse what the fold could not take: also asked of everything that is read from the log.

    Raises:
        BadInput: the first rule that is broken.
    """
    if event.event_name == ITEMS_CHANGED:
        if event.changed is None:
            raise BadInput(f"{ITEMS_CHANGED} needs what changed.", path="changed", code="changed_required")
    elif event.user_id is None and event.anonymous_id is None:
        raise BadInput("One of user_id and anonymous_id is needed.", path="user_id", code="shopper_required")
    if event.event_name in NEEDS_LINK and (event.link is None or event.anonymous_id is None):
        raise BadInput(f"{event.event_name} needs a link and its anonymous_id.", path="link", code="link_required")
    sent_at, received_at = event.sent_at, event.received_at
    if not EARLIEST <= event.occurred_at <= LATEST:
        raise time_out_of_range("occurred_at")
    if sent_at is not None and not EARLIEST <= sent_at <= LATEST:
        raise time_out_of_range("sent_at")
    if received_at is not None and not EARLIEST <= received_at <= LATEST:
        raise time_out_of_range("received_at")
    if event.link is not None and not EARLIEST <= event.link.since <= LATEST:
        raise time_out_of_range("link.since")
    for path, amount in _amounts(event):
        check_amount(path, amount)
    if event.changed is not None:
        _check_numbers(event.changed)
    _check_size(event)
    if not event.items and event.event_name in NEEDS_ITEMS:
        raise BadInput(f"{event.event_name} needs at least one item.", path="items", code="items_required")


def _check_numbers(changed: ItemsChanged) -> None:
    """Bounds that the first version of the schema does not have."""
    for index, change in enumerate(changed.items):
        for name, number, bound in (
            ("offset", change.offset, MAX_OFFSET),
            ("quantity_before", change.quantity_before or 0, MAX_PIECES),
            ("quantity", change.quantity or 0, MAX_PIECES),
        ):
            if abs(number) > bound:
                path = f"changed.items[{index}].{name}"
                raise BadInput(f"It is at most {bound:,}, above or below 0.", path=path, code="out_of_range")


def _check_size(event: "Event") -> None:
    for index, item in enumerate(event.items):
        if len(item.item_id) > _MAY_BE_LONG and _bytes(item.item_id) > MAX_ITEM_ID_BYTES:
            said = f"An item's id has at most {MAX_ITEM_ID_BYTES} bytes in UTF-8."
            raise BadInput(said, path=f"items[{index}].item_id", code="too_long")
    if len(event.items) <= _MAY_BE_MUCH:
        return
    size = sum(_bytes(item.item_id) + _bytes(item.category) + _bytes(item.brand) for item in event.items)
    if size > MAX_ITEMS_BYTES:
        said = (
            f"Ids, categories and brands of an event's items have at most {MAX_ITEMS_BYTES:,} bytes together, these "
            f"{size:,}: send them in several events."
        )
        raise BadInput(said, path="items", code="items_too_large")


def _bytes(text: str | None) -> int:
    return 0 if text is None else len(text.encode(errors="surrogatepass"))


def time_out_of_range(path: str) -> BadInput:
    """The refusal of a time that no event can have."""
    return BadInput("A time lies between 1970 and 2200.", path=path, code="time_out_of_range")


def check_amount(path: str, amount: Decimal) -> None:
    """Refuse what is no amount of money.

    Raises:
        BadInput: it is negative, not finite, too large, or of too many places.
    """
    if not amount.is_finite() or not 0 <= amount < MAX_MONEY or _places(amount) > _MOST_PLACES:
        raise BadInput("An amount is at least 0 and below 10^12.", path=path, code="out_of_range")


def check_sent(event: "Event") -> None:
    """Refuse what a sender must not send, beyond `check`.

    Raises:
        BadInput: the first rule that is broken.
    """
    for path, text in _ids(event):
        if _NOT_IN_IDS.search(text):
            raise BadInput("No control characters here.", path=path, code="control_character")
    for path, text in _texts(event):
        if _NOT_IN_TEXT.search(text):
            raise BadInput("No NUL and no half characters here.", path=path, code="control_character")
    if event.value is not None and event.currency is None:
        raise BadInput("A value needs its currency.", path="currency", code="currency_required")
    _check_kind(event)


def rounded(event: "Event") -> "Event":
    """With amounts of at most six decimal places: beyond them sums of binary fractions hold no money."""
    if all(_places(amount) <= MONEY_PLACES for _, amount in _amounts(event)):
        return event
    items = tuple(
        item if item.price is None else msgspec.structs.replace(item, price=_round(item.price)) for item in event.items
    )
    value = None if event.value is None else _round(event.value)
    return msgspec.structs.replace(event, items=items, value=value)


def _check_kind(event: "Event") -> None:
    """What single kinds of events must bring."""
    match event.event_name:
        case "identify" if event.user_id is None or event.anonymous_id is None:
            missing = "user_id" if event.user_id is None else "anonymous_id"
            raise BadInput("identify needs user_id and anonymous_id.", path=missing, code="both_ids_required")
        case "search" if event.search_term is None:
            raise BadInput("search needs a search_term.", path="search_term", code="search_term_required")
        case "review_item" if event.rating is None and not event.text:
            raise BadInput("review_item needs a rating or a text.", path="rating", code="review_required")
        case "consent_updated" if not event.consent:
            raise BadInput("consent_updated needs a consent.", path="consent", code="consent_required")


def _amounts(event: "Event") -> Iterator[tuple[str, Decimal]]:
    if event.value is not None:
        yield "value", event.value
    for index, item in enumerate(event.items):
        if item.price is not None:
            yield f"items[{index}].price", item.price
    for index, change in enumerate(event.changed.items if event.changed is not None else ()):
        for name, amount in (("price_before", change.price_before), ("price", change.price)):
            if amount is not None:
                yield f"changed.items[{index}].{name}", amount


def _ids(event: "Event") -> Iterator[tuple[str, str]]:
    for name in _IDS:
        value: str | None = getattr(event, name)
        if value is not None:
            yield name, value
    for index, item in enumerate(event.items):
        for name in ("item_id", "item_list_id", "category", "brand"):
            value = getattr(item, name)
            if value is not None:
                yield f"items[{index}].{name}", value
    for key in event.consent or ():
        yield "consent", key


def _texts(event: "Event") -> Iterator[tuple[str, str]]:
    for name in ("search_term", "text"):
        value: str | None = getattr(event, name)
        if value is not None:
            yield name, value
    if event.context is not None and event.context.page is not None:
        yield "context.page", event.context.page
    for key, value in (event.traits or {}).items():
        yield "traits", key
        yield "traits", value


def _places(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(_STEP).normalize() if _places(amount) > MONEY_PLACES else amount
