"""Segment's calls, after its documented examples, come out as our events; refusals name the fields of the call."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from features.events import Context, Event, EventItem, event_time_ms, to_ms
from tests.features.told import (
    RECEIVED,
    SEGMENT_ORDER,
    SEGMENT_PRODUCT,
    TEN,
    names,
    parsed,
    refused,
    segment,
    where,
)


def test_a_product_viewed() -> None:
    assert parsed(segment("Product Viewed", SEGMENT_PRODUCT)) == Event(
        event_name="view_item",
        event_id="ajs-next-1718000000000-5a1b",
        occurred_at=TEN,
        sent_at=TEN + timedelta(seconds=2),
        received_at=RECEIVED,
        user_id="019mr8mf4r",
        anonymous_id="507f191e810c19729de860ea",
        currency="USD",
        value=Decimal("18.99"),
        items=(
            EventItem(
                item_id="507f1f77bcf86cd799439011",
                price=Decimal("18.99"),
                quantity=1,
                index=3,
                category="Games",
                brand="Hasbro",
            ),
        ),
        context=Context(page="https://shop.example/games?x=1", locale="en-US", time_zone="Europe/Amsterdam"),
    )


def test_an_order_completed_is_one_purchase_with_its_lines() -> None:
    event = parsed(SEGMENT_ORDER)
    assert (event.event_name, event.transaction_id) == ("purchase", "50314b8e9bcf000000000000")
    assert (event.value, event.currency) == (Decimal("25.0"), "USD")
    assert event.items == (
        EventItem(item_id="507f1f77bcf86cd799439011", price=Decimal(19), category="Games"),
        EventItem(item_id="505bd76785ebb509fc183733", price=Decimal(3), quantity=2, category="Games"),
    )


@pytest.mark.parametrize(
    ("event", "ours"),
    [
        ("Product Clicked", "select_item"),
        ("Product Added", "add_to_cart"),
        ("Product Removed", "remove_from_cart"),
        ("Wishlist Product Added to Cart", "add_to_cart"),
        ("Product Added to Wishlist", "add_to_wishlist"),
        ("Product Removed from Wishlist", "remove_from_wishlist"),
        ("Viewed Product", "view_item"),
        ("product_added", "add_to_cart"),
    ],
)
def test_events_of_one_product(event: str, ours: str) -> None:
    assert names(segment(event, SEGMENT_PRODUCT)) == (ours, ["507f1f77bcf86cd799439011"])


@pytest.mark.parametrize(
    ("event", "ours"),
    [
        ("Product List Viewed", "view_item_list"),
        ("Product List Filtered", "view_item_list"),
        ("Cart Viewed", "view_cart"),
        ("Checkout Started", "begin_checkout"),
        ("Order Refunded", "refund"),
    ],
)
def test_events_of_many_products(event: str, ours: str) -> None:
    properties = {"list_id": "hot_deals_1", "category": "Deals", "products": [SEGMENT_PRODUCT, {"product_id": 7}]}
    assert names(segment(event, properties)) == (ours, ["507f1f77bcf86cd799439011", "7"])
    lists = [item.item_list_id for item in parsed(segment(event, properties)).items]
    assert lists == ["hot_deals_1", "hot_deals_1"]


def test_a_search_and_a_review() -> None:
    search = parsed(segment("Products Searched", {"query": "blue roses"}))
    assert (search.event_name, search.search_term, search.items) == ("search", "blue roses", ())
    reviewed = {"product_id": "7", "review_id": "r", "review_body": "I love this product", "rating": "5"}
    review = parsed(segment("Product Reviewed", reviewed))
    assert (review.rating, review.text, review.items) == (5, "I love this product", (EventItem(item_id="7"),))


def test_calls_that_are_no_track_calls() -> None:
    page = parsed(segment(None, {"url": "https://shop.example/home", "title": "Home"}, type="page", name="Home"))
    assert (page.event_name, page.items, page.value) == ("page_view", (), None)
    traits = {"email": "a@b.example", "age": 31, "vip": True, "address": {"city": "Ulm"}, "phone": None}
    identify = parsed(segment(None, None, type="identify", traits=traits))
    assert (identify.event_name, identify.user_id) == ("identify", "019mr8mf4r")
    assert identify.traits == {"email": "a@b.example", "age": "31", "vip": "true", "address": '{"city":"Ulm"}'}


def test_a_change_of_consent_and_no_consent_with_anything_else() -> None:
    context = {"consent": {"categoryPreferences": {"Advertising": True, "Analytics": False}}}
    changed = parsed(segment("Segment Consent Preference Updated", None, context=context))
    assert (changed.event_name, changed.consent) == ("consent_updated", {"Advertising": True, "Analytics": False})
    assert parsed(segment("Product Viewed", SEGMENT_PRODUCT, context=context)).consent is None


def test_a_time_that_its_pipeline_corrected_is_not_corrected_again() -> None:
    """The device is two minutes slow and the event one second old: both ways tell the same moment."""
    straight = segment("Product Viewed", SEGMENT_PRODUCT)
    straight |= {"timestamp": "2026-05-01T09:58:03Z", "sentAt": "2026-05-01T09:58:04Z"}
    through = straight | {
        "originalTimestamp": straight["timestamp"],
        "timestamp": "2026-05-01T10:00:03Z",
        "receivedAt": "2026-05-01T10:00:04Z",
    }
    assert event_time_ms(parsed(straight)) == event_time_ms(parsed(through)) == to_ms(TEN) + 3000


def test_a_value_without_a_currency_is_left_out() -> None:
    properties = {name: value for name, value in SEGMENT_PRODUCT.items() if name != "currency"}
    assert parsed(segment("Product Viewed", properties)).value is None


def test_refusals_name_the_fields_of_the_call() -> None:
    def product(**changed: Any) -> dict[str, Any]:
        return segment("Product Viewed", SEGMENT_PRODUCT | changed)

    second = {"products": [{"product_id": "a"}, {"sku": "b", "quantity": 0}]}
    assert where(segment("Order Completed", second)) == ("properties.products[1].quantity", "out_of_range")
    assert where(segment("Order Completed", {"products": [{"product_id": "a"}, {"price": 1}]})) == (
        "properties.products[1].product_id",
        "missing_field",
    )
    assert where(segment("Order Completed", {"products": [{"product_id": "a"}, None]})) == (
        "properties.products[1]",
        "wrong_type",
    )
    assert where(segment("Order Completed", {"products": {"a": 1}})) == ("properties.products", "items_required")
    assert where(segment("Order Completed", {"products": 7.5})) == ("properties.products", "wrong_type")
    assert where(product(quantity="none")) == ("properties.quantity", "wrong_type")
    assert where(product(price=-1)) == ("properties.price", "out_of_range")
    assert where(product(currency="dollars")) == ("properties.currency", "wrong_currency")
    assert where(segment("Product Viewed", {"name": "no id"})) == ("properties.products", "items_required")
    assert where(segment("Products Searched", {})) == ("properties.query", "search_term_required")
    assert where(segment("Product Viewed", SEGMENT_PRODUCT, timestamp="soon")) == ("timestamp", "wrong_time")
    no_time = {name: value for name, value in product().items() if name != "timestamp"}
    assert where(no_time) == ("timestamp", "missing_field")
    assert where(segment("Product Viewed", SEGMENT_PRODUCT, context={"locale": "?"})) == (
        "context.locale",
        "wrong_form",
    )
    nobody = segment("Product Viewed", SEGMENT_PRODUCT, userId=None, anonymousId="")
    assert where(nobody) == ("userId", "shopper_required")
    traits = segment(None, None, type="identify", traits={"x" * 65: "1"})
    assert where(traits) == ("traits", "too_long")
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    assert where(segment(None, None, type="identify", traits={"x": deep})) == ("traits", "wrong_type")
    assert "properties.quantity of Segment is our items[0].quantity" in refused(product(quantity=0)).message


@pytest.mark.parametrize("event", ["Coupon Entered", "Order Updated", "Gazed", 7, ["Product Viewed"]])
def test_an_event_nobody_knows_is_refused_by_name(event: Any) -> None:
    error = refused(segment(event, SEGMENT_PRODUCT))
    assert (error.path, error.reason) == ("event", "unknown_event")
    assert "Product Viewed" in error.message


def test_a_call_nobody_knows_is_refused_by_type() -> None:
    assert where(segment(None, None, type="group", groupId="g")) == ("type", "unknown_event")
