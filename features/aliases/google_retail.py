"""The vocabulary of Google's Retail API (Vertex AI Search for commerce): its user events.

Only the id and the quantity of a product are told there; the rest is filled from the catalogue.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from features.aliases.vocabulary import Vocabulary

LONGEST_TOKEN: Final = 256


def _recommendation(token: Any) -> Any:
    """The attribution token is our recommendation id where our lists are shown; Google's own may be longer than one."""
    return None if isinstance(token, str) and len(token) > LONGEST_TOKEN else token


GOOGLE_RETAIL: Final = Vocabulary(
    title="Google Retail",
    name=("eventType",),
    names={
        "home-page-view": "page_view",
        "category-page-view": "view_item_list",
        "search": "search",
        "detail-page-view": "view_item",
        "add-to-cart": "add_to_cart",
        "remove-from-cart": "remove_from_cart",
        "shopping-cart-page-view": "view_cart",
        "purchase-complete": "purchase",
    },
    fields={
        "user_id": ("userInfo.userId",),
        "anonymous_id": ("visitorId",),
        "session_id": ("sessionId",),
        "occurred_at": ("eventTime",),
        "currency": ("purchaseTransaction.currencyCode",),
        "value": ("purchaseTransaction.revenue",),
        "transaction_id": ("purchaseTransaction.id",),
        "search_term": ("searchQuery",),
        "recommendation_id": ("attributionToken",),
        "context.page": ("uri",),
    },
    lines=("productDetails",),
    line={
        "item_id": ("product.id",),
        "quantity": ("quantity",),
        "item_list_id": ("/pageCategories.0",),
    },
    read={"recommendation_id": _recommendation},
)

# With categories and without a query, a search is a list that the shopper browses.
_BROWSING: Final = replace(GOOGLE_RETAIL, names={**GOOGLE_RETAIL.names, "search": "view_item_list"})
_ITS_OWN: Final = ("visitorId", "eventTime", "productDetails", "userInfo")


def google_retail(obj: Mapping[str, Any]) -> Vocabulary | None:
    """The vocabulary of an event with an `eventType`, if it is Google's."""
    if obj.get("eventType") not in list(GOOGLE_RETAIL.names) and not any(name in obj for name in _ITS_OWN):
        return None
    browsing = obj.get("eventType") == "search" and obj.get("pageCategories") and not obj.get("searchQuery")
    return _BROWSING if browsing else GOOGLE_RETAIL
