"""Google Retail's user events come out as our events; refusals name its fields."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from features.aliases.google_retail import LONGEST_TOKEN
from features.events import MAX_ID, Context, Event, EventItem
from tests.features.told import (
    GOOGLE_PURCHASE,
    RECEIVED,
    TEN,
    names,
    parsed,
    refused,
    where,
)


def test_a_purchase() -> None:
    assert parsed(GOOGLE_PURCHASE) == Event(
        event_name="purchase",
        event_id="new",
        occurred_at=TEN + timedelta(microseconds=1),
        received_at=RECEIVED,
        user_id="abcdefg",
        anonymous_id="visitor0",
        session_id="session0",
        items=(EventItem(item_id="abc", quantity=3), EventItem(item_id="def")),
        currency="USD",
        value=Decimal(123),
        transaction_id="143212",
        recommendation_id="ABC",
        context=Context(page="https://www.example.com/checkout"),
    )


def google(event_type: str, **more: Any) -> dict[str, Any]:
    return {"eventType": event_type, "visitorId": "visitor1", "eventTime": "2026-05-01T10:00:00Z", **more}


def test_the_other_events() -> None:
    products = [{"product": {"id": "abc"}, "quantity": 1}]
    assert names(google("home-page-view")) == ("page_view", [])
    assert names(google("detail-page-view", productDetails=products)) == ("view_item", ["abc"])
    assert names(google("add-to-cart", productDetails=products, cartId="c")) == ("add_to_cart", ["abc"])
    assert names(google("remove-from-cart", productDetails=products)) == ("remove_from_cart", ["abc"])
    assert names(google("shopping-cart-page-view", productDetails=products)) == ("view_cart", ["abc"])
    category = parsed(google("category-page-view", pageCategories=["Sales > 2017 Deals"], productDetails=products))
    assert (category.event_name, category.items[0].item_list_id) == ("view_item_list", "Sales > 2017 Deals")


def test_a_search_has_a_query_and_browsing_is_a_list() -> None:
    products = [{"product": {"id": "abc"}}, {"product": {"id": "abd"}}]
    search = parsed(google("search", searchQuery="shoes", productDetails=products, pageCategories=["Shoes"]))
    assert (search.event_name, search.search_term, len(search.items)) == ("search", "shoes", 2)
    assert names(google("search", productDetails=products, pageCategories=["Shoes"])) == (
        "view_item_list",
        ["abc", "abd"],
    )
    assert where(google("search", productDetails=products)) == ("searchQuery", "search_term_required")


def test_a_token_that_cannot_be_ours_is_left_out() -> None:
    assert LONGEST_TOKEN == MAX_ID
    assert parsed(google("home-page-view", attributionToken="x" * MAX_ID)).recommendation_id == "x" * MAX_ID
    assert parsed(google("home-page-view", attributionToken="x" * (MAX_ID + 1))).recommendation_id is None


def test_refusals_name_its_fields() -> None:
    products = [{"product": {"id": "abc"}, "quantity": 1}, {"product": {"id": ""}, "quantity": 1}]
    assert where(google("add-to-cart", productDetails=products)) == ("productDetails[1].product.id", "missing_field")
    assert where(google("add-to-cart")) == ("productDetails", "items_required")
    assert where(google("gaze")) == ("eventType", "unknown_event")
    assert "detail-page-view" in refused(google("promotion-offered")).message
    assert where(google("home-page-view", visitorId=None)) == ("userInfo.userId", "shopper_required")
    bad = GOOGLE_PURCHASE | {"purchaseTransaction": {"revenue": -1, "currencyCode": "USD"}}
    assert where(bad) == ("purchaseTransaction.revenue", "out_of_range")
    assert where({name: value for name, value in GOOGLE_PURCHASE.items() if name != "eventTime"}) == (
        "eventTime",
        "missing_field",
    )
