"""The vocabulary of AWS Personalize: one event of `PutEvents`, with the `userId` and `sessionId` of its call.

Event types are free text there; these are the usual ones of shops. The session id ties a visitor's events together
before the login and stays with them after it, so it is our anonymous id. `sentAt` is when the event occurred.
`eventValue` is whatever the event type means by it: here a rating, or with a currency an amount.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from features.aliases.readers import from_epoch
from features.aliases.vocabulary import Vocabulary, simple
from infra.errors import BadInput

_NAMES: Final = {
    "View": "view_item",
    "Product Viewed": "view_item",
    "Detail Page View": "view_item",
    "Click": "select_item",
    "Item Click": "select_item",
    "Impression": "view_item_list",
    "View List": "view_item_list",
    "Search": "search",
    "Add To Cart": "add_to_cart",
    "Product Added": "add_to_cart",
    "Remove From Cart": "remove_from_cart",
    "View Cart": "view_cart",
    "Cart Viewed": "view_cart",
    "Start Checkout": "begin_checkout",
    "Checkout Started": "begin_checkout",
    "Purchase": "purchase",
    "Order Completed": "purchase",
    "Refund": "refund",
    "Add To Wishlist": "add_to_wishlist",
    "Remove From Wishlist": "remove_from_wishlist",
    "Dislike": "dislike_item",
    "Rate": "review_item",
    "Rating": "review_item",
    "Review": "review_item",
}
_RATINGS: Final = frozenset(simple(theirs) for theirs, ours in _NAMES.items() if ours == "review_item")


def _table(value: str) -> Vocabulary:
    """The vocabulary, with the field that `eventValue` is."""
    return Vocabulary(
        title="AWS Personalize",
        name=("eventType",),
        names=_NAMES,
        fields={
            "event_id": ("eventId",),
            "user_id": ("userId",),
            "anonymous_id": ("sessionId",),
            "session_id": ("sessionId",),
            "occurred_at": ("sentAt",),
            "currency": ("properties.currency",),
            "search_term": ("properties.searchTerm", "properties.query"),
            "recommendation_id": ("recommendationId",),
            value: ("eventValue", "properties.eventValue"),
        },
        lines=("itemId", "properties.itemId"),
        line={
            "item_id": ("itemId",),
            "price": ("/properties.price",),
            "quantity": ("/properties.quantity",),
        },
        shown=("impression",),
        read={"occurred_at": from_epoch},
    )


PERSONALIZE: Final = _table("value")
_RATED: Final = _table("rating")


def personalize(obj: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of an event with an `eventType` that is not Google's."""
    name = obj.get("eventType")
    return _RATED if isinstance(name, str) and simple(name) in _RATINGS else PERSONALIZE


def opened(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """With `properties`, a JSON text in the API's own form, as an object.

    Raises:
        BadInput: it is a whole call of `PutEvents`; several events cannot be one.
    """
    if "eventList" in obj:
        raise BadInput(
            "Send each entry of eventList as an event of its own, with the userId and sessionId of the call.",
            path="eventList",
            code="one_event_each",
        )
    properties = obj.get("properties")
    if not isinstance(properties, str):
        return obj
    try:
        return {**obj, "properties": msgspec.json.decode(properties)}
    except (ValueError, RecursionError):
        raise BadInput("properties is a JSON object, or the text of one.", path="properties", code="not_json") from None
