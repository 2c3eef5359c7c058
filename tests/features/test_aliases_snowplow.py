"""Snowplow's enriched events come out as our events; refusals name its columns."""

from datetime import timedelta
from decimal import Decimal

import pytest

from features.events import Context, Event, EventItem, event_time_ms, to_ms
from tests.features.told import (
    RECEIVED,
    SNOWPLOW_ENVELOPE,
    SNOWPLOW_PRODUCT,
    SNOWPLOW_TRANSACTION,
    TEN,
    names,
    parsed,
    snowplow,
    where,
)


def test_a_transaction() -> None:
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
def test_the_other_actions(action: str, ours: str) -> None:
    event = parsed(snowplow(action, [SNOWPLOW_PRODUCT], name="shop the look"))
    assert (event.event_name, event.items[0].item_id) == (ours, "P125")
    assert (event.items[0].item_list_id, event.currency) == ("shop the look", "USD")


def test_a_refund_and_its_currency() -> None:
    entity = {"transaction_id": "T12345", "refund_amount": 20, "currency": "EUR", "refund_reason": "size"}
    event = parsed(snowplow("refund", [{"id": "P126", "price": 20.5, "currency": "USD"}], refund=entity))
    assert (event.event_name, event.value, event.currency) == ("refund", Decimal(20), "EUR")
    assert event.transaction_id == "T12345"


def test_page_views_searches_and_structured_events() -> None:
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


def test_times_without_an_offset_and_entities_of_any_version() -> None:
    """As a warehouse gives them out: no `Z`, and the whole version in the column's name."""
    told = {
        name.replace("_action_1", "_action_1_0_2").replace("_product_1", "_product_1_0_0"): value
        for name, value in snowplow("product_view", [SNOWPLOW_PRODUCT]).items()
    }
    told["derived_tstamp"] = "2026-05-01 10:00:00.2"
    event = parsed(told)
    assert (event.event_name, event.items[0].item_id) == ("view_item", "P125")
    assert event.occurred_at == TEN + timedelta(milliseconds=200)


def test_without_the_derived_time_we_correct_the_devices_clock() -> None:
    told = {name: value for name, value in SNOWPLOW_TRANSACTION.items() if name != "derived_tstamp"}
    assert event_time_ms(parsed(told)) == to_ms(RECEIVED) - 3300


def test_visitors_of_an_app_are_known_by_their_session_entity() -> None:
    session = {"userId": "device", "sessionId": "visit", "sessionIndex": 1}
    told = snowplow("product_view", [SNOWPLOW_PRODUCT]) | {
        "contexts_com_snowplowanalytics_snowplow_client_session_1": [session],
        "domain_userid": None,
        "domain_sessionid": None,
    }
    assert (parsed(told).anonymous_id, parsed(told).session_id) == ("device", "visit")


def test_refusals_name_its_columns() -> None:
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
