"""Events of AWS Personalize come out as our events; refusals name its fields."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from features.events import Event, EventItem
from tests.features.told import (
    PERSONALIZE_VIEW,
    RECEIVED,
    TEN,
    names,
    parsed,
    where,
)


def test_a_view() -> None:
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


def test_event_types_are_free_text() -> None:
    for told in ("AddToCart", "add_to_cart", "Add To Cart", "product-added"):
        assert names(personalize(told, itemId="x")) == ("add_to_cart", ["x"])
    assert names(personalize("Purchase", itemId="x")) == ("purchase", ["x"])
    assert names(personalize("click", itemId="x")) == ("select_item", ["x"])
    assert names(personalize("Search", properties='{"query": "tea"}')) == ("search", [])
    assert parsed(personalize("Purchase", itemId="x")).occurred_at == TEN + timedelta(seconds=0.5)


def test_properties_are_a_json_text_or_an_object() -> None:
    properties = '{"itemId": "movie1", "eventValue": "4", "numberOfRatings": "12"}'
    old = parsed(personalize("rate", properties=properties))
    assert (old.event_name, old.items[0].item_id, old.rating) == ("review_item", "movie1", 4)
    told = {"price": 2.5, "quantity": "3", "currency": "eur"}
    bought = parsed(personalize("purchase", itemId="x", eventValue=7.5, properties=told))
    assert bought.items == (EventItem(item_id="x", price=Decimal("2.5"), quantity=3),)
    assert (bought.value, bought.currency, bought.rating) == (Decimal("7.5"), "EUR", None)


def test_an_event_value_is_an_amount_only_with_a_currency() -> None:
    assert parsed(personalize("purchase", itemId="x", eventValue=7.5)).value is None


def test_an_impression_is_a_list_and_nothing_else_is() -> None:
    assert names(personalize("Impression", impression=["a", "b"])) == ("view_item_list", ["a", "b"])
    assert where(personalize("Purchase", impression=["a", "b"])) == ("itemId", "items_required")


def test_refusals_name_its_fields() -> None:
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
