"""Other vocabularies: their documented examples come out as our events, and refusals speak their language."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from features.aliases.canonical import VOCABULARIES
from features.aliases.google_retail import LONGEST_TOKEN
from features.aliases.vocabulary import Vocabulary
from features.events import EVENT_NAMES, MAX_ID, Context, Event, EventItem, event_time_ms, parse, to_ms
from infra.errors import BadInput
from tests.features.told import (
    GOOGLE_PURCHASE,
    PERSONALIZE_VIEW,
    SEGMENT_ORDER,
    SEGMENT_PRODUCT,
    SNOWPLOW_ENVELOPE,
    SNOWPLOW_PRODUCT,
    SNOWPLOW_TRANSACTION,
    segment,
    snowplow,
)

RECEIVED = datetime(2026, 5, 1, 10, 0, 4, tzinfo=UTC)
TEN = datetime(2026, 5, 1, 10, tzinfo=UTC)


def parsed(obj: object) -> Event:
    return parse(obj, tenant="default", received_at=RECEIVED, new_id=lambda: "new")


def refused(obj: object) -> BadInput:
    with pytest.raises(BadInput) as caught:
        parsed(obj)
    return caught.value


def where(obj: object) -> tuple[str, str]:
    error = refused(obj)
    return error.path, error.reason


def names(obj: Mapping[str, Any]) -> tuple[str, list[str]]:
    event = parsed(obj)
    return event.event_name, [item.item_id for item in event.items]


# --- the tables


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.title)
def test_a_vocabulary_names_only_events_and_fields_that_we_have(vocabulary: Vocabulary) -> None:
    assert set(vocabulary.names.values()) <= set(EVENT_NAMES)
    fields = set(Event.__struct_fields__) | {f"context.{name}" for name in Context.__struct_fields__}
    assert set(vocabulary.fields) <= fields
    assert set(vocabulary.line) <= set(EventItem.__struct_fields__)


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda each: each.title)
def test_names_of_two_vocabularies_never_contradict(vocabulary: Vocabulary) -> None:
    for theirs, ours in vocabulary.names.items():
        for other in VOCABULARIES:
            assert other.names.get(theirs, ours) == ours


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_our_own_names_stay_as_they_are_and_a_foreign_one_may_stand_in_their_place(name: str) -> None:
    told = {
        "occurred_at": "2026-05-01T10:00:00Z",
        "user_id": "u",
        "anonymous_id": "a",
        "items": [{"item_id": "x"}],
        "search_term": "tea",
        "rating": 4,
        "consent": {"email": True},
    }
    ours = parsed(told | {"event_name": name})
    assert ours.event_name == name
    for vocabulary in VOCABULARIES:
        for theirs in (theirs for theirs, meant in vocabulary.names.items() if meant == name):
            assert parsed(told | {"event_name": theirs}) == ours


# --- Segment


def test_segment_a_product_viewed() -> None:
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


def test_segment_an_order_completed_is_one_purchase_with_its_lines() -> None:
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
def test_segment_events_of_one_product(event: str, ours: str) -> None:
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
def test_segment_events_of_many_products(event: str, ours: str) -> None:
    properties = {"list_id": "hot_deals_1", "category": "Deals", "products": [SEGMENT_PRODUCT, {"product_id": 7}]}
    assert names(segment(event, properties)) == (ours, ["507f1f77bcf86cd799439011", "7"])
    lists = [item.item_list_id for item in parsed(segment(event, properties)).items]
    assert lists == ["hot_deals_1", "hot_deals_1"]


def test_segment_a_search_and_a_review() -> None:
    search = parsed(segment("Products Searched", {"query": "blue roses"}))
    assert (search.event_name, search.search_term, search.items) == ("search", "blue roses", ())
    reviewed = {"product_id": "7", "review_id": "r", "review_body": "I love this product", "rating": "5"}
    review = parsed(segment("Product Reviewed", reviewed))
    assert (review.rating, review.text, review.items) == (5, "I love this product", (EventItem(item_id="7"),))


def test_segment_calls_that_are_no_track_calls() -> None:
    page = parsed(segment(None, {"url": "https://shop.example/home", "title": "Home"}, type="page", name="Home"))
    assert (page.event_name, page.items, page.value) == ("page_view", (), None)
    traits = {"email": "a@b.example", "age": 31, "vip": True, "address": {"city": "Ulm"}, "phone": None}
    identify = parsed(segment(None, None, type="identify", traits=traits))
    assert (identify.event_name, identify.user_id) == ("identify", "019mr8mf4r")
    assert identify.traits == {"email": "a@b.example", "age": "31", "vip": "true", "address": '{"city":"Ulm"}'}


def test_segment_a_change_of_consent_and_no_consent_with_anything_else() -> None:
    context = {"consent": {"categoryPreferences": {"Advertising": True, "Analytics": False}}}
    changed = parsed(segment("Segment Consent Preference Updated", None, context=context))
    assert (changed.event_name, changed.consent) == ("consent_updated", {"Advertising": True, "Analytics": False})
    assert parsed(segment("Product Viewed", SEGMENT_PRODUCT, context=context)).consent is None


def test_segment_a_time_that_its_pipeline_corrected_is_not_corrected_again() -> None:
    """The device is two minutes slow and the event one second old: both ways tell the same moment."""
    straight = segment("Product Viewed", SEGMENT_PRODUCT)
    straight |= {"timestamp": "2026-05-01T09:58:03Z", "sentAt": "2026-05-01T09:58:04Z"}
    through = straight | {
        "originalTimestamp": straight["timestamp"],
        "timestamp": "2026-05-01T10:00:03Z",
        "receivedAt": "2026-05-01T10:00:04Z",
    }
    assert event_time_ms(parsed(straight)) == event_time_ms(parsed(through)) == to_ms(TEN) + 3000


def test_segment_a_value_without_a_currency_is_left_out() -> None:
    properties = {name: value for name, value in SEGMENT_PRODUCT.items() if name != "currency"}
    assert parsed(segment("Product Viewed", properties)).value is None


def test_segment_refusals_name_the_fields_of_the_call() -> None:
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
def test_segment_an_event_nobody_knows_is_refused_by_name(event: Any) -> None:
    error = refused(segment(event, SEGMENT_PRODUCT))
    assert (error.path, error.reason) == ("event", "unknown_event")
    assert "Product Viewed" in error.message


def test_segment_a_call_nobody_knows_is_refused_by_type() -> None:
    assert where(segment(None, None, type="group", groupId="g")) == ("type", "unknown_event")


# --- Google Retail


def test_google_a_purchase() -> None:
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


def test_google_the_other_events() -> None:
    products = [{"product": {"id": "abc"}, "quantity": 1}]
    assert names(google("home-page-view")) == ("page_view", [])
    assert names(google("detail-page-view", productDetails=products)) == ("view_item", ["abc"])
    assert names(google("add-to-cart", productDetails=products, cartId="c")) == ("add_to_cart", ["abc"])
    assert names(google("remove-from-cart", productDetails=products)) == ("remove_from_cart", ["abc"])
    assert names(google("shopping-cart-page-view", productDetails=products)) == ("view_cart", ["abc"])
    category = parsed(google("category-page-view", pageCategories=["Sales > 2017 Deals"], productDetails=products))
    assert (category.event_name, category.items[0].item_list_id) == ("view_item_list", "Sales > 2017 Deals")


def test_google_a_search_has_a_query_and_browsing_is_a_list() -> None:
    products = [{"product": {"id": "abc"}}, {"product": {"id": "abd"}}]
    search = parsed(google("search", searchQuery="shoes", productDetails=products, pageCategories=["Shoes"]))
    assert (search.event_name, search.search_term, len(search.items)) == ("search", "shoes", 2)
    assert names(google("search", productDetails=products, pageCategories=["Shoes"])) == (
        "view_item_list",
        ["abc", "abd"],
    )
    assert where(google("search", productDetails=products)) == ("searchQuery", "search_term_required")


def test_google_a_token_that_cannot_be_ours_is_left_out() -> None:
    assert LONGEST_TOKEN == MAX_ID
    assert parsed(google("home-page-view", attributionToken="x" * MAX_ID)).recommendation_id == "x" * MAX_ID
    assert parsed(google("home-page-view", attributionToken="x" * (MAX_ID + 1))).recommendation_id is None


def test_google_refusals_name_its_fields() -> None:
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


# --- Snowplow


def test_snowplow_a_transaction() -> None:
    assert parsed(SNOWPLOW_TRANSACTION) == Event(
        event_name="purchase",
        event_id="c6ef3124-b53a-4b13-a233-0088f79dcbcb",
        occurred_at=TEN + timedelta(milliseconds=200),
        received_at=RECEIVED,
        user_id="jon.doe",
        anonymous_id="2161814971",
        session_id="2b15e5c8-d3b1-11e4-b9d6-1681e6b88ec1",
        items=(
            EventItem(
                item_id="P125",
                price=Decimal(200),
                quantity=2,
                index=1,
                category="Mens/Apparel",
                brand="Snowplow",
            ),
            EventItem(item_id="P126", price=Decimal("20.5"), category="Mens/Caps"),
        ),
        currency="USD",
        value=Decimal("420.5"),
        transaction_id="T12345",
        context=Context(page="https://shop.example/shirts", locale="en-GB", time_zone="Europe/London"),
    )


@pytest.mark.parametrize(
    ("action", "ours"),
    [
        ("product_view", "view_item"),
        ("add_to_cart", "add_to_cart"),
        ("remove_from_cart", "remove_from_cart"),
        ("list_view", "view_item_list"),
        ("list_click", "select_item"),
        ("checkout_step", "begin_checkout"),
    ],
)
def test_snowplow_the_other_actions(action: str, ours: str) -> None:
    event = parsed(snowplow(action, [SNOWPLOW_PRODUCT], name="shop the look"))
    assert (event.event_name, event.items[0].item_id) == (ours, "P125")
    assert (event.items[0].item_list_id, event.currency) == ("shop the look", "USD")


def test_snowplow_a_refund_and_its_currency() -> None:
    entity = {"transaction_id": "T12345", "refund_amount": 20, "currency": "EUR", "refund_reason": "size"}
    event = parsed(snowplow("refund", [{"id": "P126", "price": 20.5, "currency": "USD"}], refund=entity))
    assert (event.event_name, event.value, event.currency) == ("refund", Decimal(20), "EUR")
    assert event.transaction_id == "T12345"


def test_snowplow_page_views_searches_and_structured_events() -> None:
    page = SNOWPLOW_ENVELOPE | {"event": "page_view", "event_name": "page_view"}
    assert names(page) == ("page_view", [])
    search = SNOWPLOW_ENVELOPE | {
        "event_name": "site_search",
        "unstruct_event_com_snowplowanalytics_snowplow_site_search_1": {"terms": ["green", "tea"], "totalResults": 3},
    }
    assert parsed(search).search_term == "green tea"
    struct = SNOWPLOW_ENVELOPE | {
        "event": "struct",
        "event_name": "event",
        "se_category": "ecommerce",
        "se_action": "add-to-cart",
        "se_label": "P125",
        "se_value": 2.0,
    }
    assert names(struct) == ("add_to_cart", ["P125"])


def test_snowplow_times_without_an_offset_and_entities_of_any_version() -> None:
    """As a warehouse gives them out: no `Z`, and the whole version in the column's name."""
    told = {
        name.replace("_action_1", "_action_1_0_2").replace("_product_1", "_product_1_0_0"): value
        for name, value in snowplow("product_view", [SNOWPLOW_PRODUCT]).items()
    }
    told["derived_tstamp"] = "2026-05-01 10:00:00.2"
    event = parsed(told)
    assert (event.event_name, event.items[0].item_id) == ("view_item", "P125")
    assert event.occurred_at == TEN + timedelta(milliseconds=200)


def test_snowplow_without_the_derived_time_we_correct_the_devices_clock() -> None:
    told = {name: value for name, value in SNOWPLOW_TRANSACTION.items() if name != "derived_tstamp"}
    assert event_time_ms(parsed(told)) == to_ms(RECEIVED) - 3300


def test_snowplow_visitors_of_an_app_are_known_by_their_session_entity() -> None:
    session = {"userId": "device", "sessionId": "visit", "sessionIndex": 1}
    told = snowplow("product_view", [SNOWPLOW_PRODUCT]) | {
        "contexts_com_snowplowanalytics_snowplow_client_session_1": [session],
        "domain_userid": None,
        "domain_sessionid": None,
    }
    assert (parsed(told).anonymous_id, parsed(told).session_id) == ("device", "visit")


def test_snowplow_refusals_name_its_columns() -> None:
    products = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"
    action = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
    bad = snowplow("add_to_cart", [SNOWPLOW_PRODUCT, SNOWPLOW_PRODUCT | {"quantity": -3}])
    assert where(bad) == (f"{products}[1].quantity", "out_of_range")
    assert where(snowplow("add_to_cart", [])) == (products, "items_required")
    assert where(snowplow("promo_view", [])) == (f"{action}.type", "unknown_event")
    assert where(SNOWPLOW_ENVELOPE | {"event": "page_ping", "event_name": "page_ping"}) == (
        "event_name",
        "unknown_event",
    )
    assert where(SNOWPLOW_TRANSACTION | {"derived_tstamp": "yesterday"}) == ("derived_tstamp", "wrong_time")
    wrong = SNOWPLOW_TRANSACTION["contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1"][0]
    told = snowplow("transaction", [SNOWPLOW_PRODUCT], transaction=wrong | {"currency": "US"})
    assert where(told)[0] == "contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1[0].currency"


# --- AWS Personalize


def test_personalize_a_view() -> None:
    assert parsed(PERSONALIZE_VIEW) == Event(
        event_name="view_item",
        event_id="event1",
        occurred_at=TEN,
        received_at=RECEIVED,
        user_id="USER_ID",
        anonymous_id="SESSION_ID",
        session_id="SESSION_ID",
        items=(EventItem(item_id="ITEM_ID"),),
        recommendation_id="RID-1",
    )


def personalize(event_type: str, **more: Any) -> dict[str, Any]:
    return {"sessionId": "s", "eventType": event_type, "sentAt": 1_777_629_600.5, **more}


def test_personalize_event_types_are_free_text() -> None:
    for told in ("AddToCart", "add_to_cart", "Add To Cart", "product-added"):
        assert names(personalize(told, itemId="x")) == ("add_to_cart", ["x"])
    assert names(personalize("Purchase", itemId="x")) == ("purchase", ["x"])
    assert names(personalize("click", itemId="x")) == ("select_item", ["x"])
    assert names(personalize("Search", properties='{"query": "tea"}')) == ("search", [])
    assert parsed(personalize("Purchase", itemId="x")).occurred_at == TEN + timedelta(seconds=0.5)


def test_personalize_properties_are_a_json_text_or_an_object() -> None:
    properties = '{"itemId": "movie1", "eventValue": "4", "numberOfRatings": "12"}'
    old = parsed(personalize("rate", properties=properties))
    assert (old.event_name, old.items[0].item_id, old.rating) == ("review_item", "movie1", 4)
    told = {"price": 2.5, "quantity": "3", "currency": "eur"}
    bought = parsed(personalize("purchase", itemId="x", eventValue=7.5, properties=told))
    assert bought.items == (EventItem(item_id="x", price=Decimal("2.5"), quantity=3),)
    assert (bought.value, bought.currency, bought.rating) == (Decimal("7.5"), "EUR", None)


def test_personalize_an_event_value_is_an_amount_only_with_a_currency() -> None:
    assert parsed(personalize("purchase", itemId="x", eventValue=7.5)).value is None


def test_personalize_an_impression_is_a_list_and_nothing_else_is() -> None:
    assert names(personalize("Impression", impression=["a", "b"])) == ("view_item_list", ["a", "b"])
    assert where(personalize("Purchase", impression=["a", "b"])) == ("itemId", "items_required")


def test_personalize_refusals_name_its_fields() -> None:
    assert where(personalize("stare", itemId="x")) == ("eventType", "unknown_event")
    assert where(personalize("View", itemId="x" * 257)) == ("itemId", "too_long")
    assert where(personalize("View", itemId=True)) == ("itemId", "wrong_type")
    assert where(personalize("rate", itemId="x", eventValue=9)) == ("eventValue", "out_of_range")
    assert where(personalize("View", itemId="x", sentAt="soon")) == ("sentAt", "wrong_time")
    assert where(personalize("View", itemId="x", sentAt=1_777_629_600_000)) == ("sentAt", "wrong_type")
    assert where(personalize("View", itemId="x", properties="{oops")) == ("properties", "not_json")
    assert where(personalize("View", itemId="x", properties={"quantity": 0})) == (
        "properties.quantity",
        "out_of_range",
    )
    assert where({"sessionId": "s", "userId": "u", "eventList": [personalize("View", itemId="x")]}) == (
        "eventList",
        "one_event_each",
    )
    assert where(personalize("Impression", impression=["a", ""])) == ("impression[1]", "empty")
