"""Events as other senders write them, after the examples in their documentation, and what the door makes of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from features.events import Event, parse
from infra.errors import BadInput

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


SEGMENT_CONTEXT = {
    "ip": "108.0.78.21",
    "library": {"name": "analytics.js", "version": "2.11.1"},
    "locale": "en-US",
    "page": {"path": "/games", "title": "Games", "url": "https://shop.example/games?x=1"},
    "timezone": "Europe/Amsterdam",
    "userAgent": "Mozilla/5.0",
}
SEGMENT_PRODUCT = {
    "product_id": "507f1f77bcf86cd799439011",
    "sku": "G-32",
    "category": "Games",
    "name": "Monopoly: 3rd Edition",
    "brand": "Hasbro",
    "variant": "200 pieces",
    "price": 18.99,
    "quantity": 1,
    "coupon": "MAYDEALS",
    "currency": "usd",
    "position": 3,
    "value": 18.99,
    "url": "https://shop.example/product/path",
}


def segment(event: str | None, properties: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """A call as analytics.js sends it: a track call unless `more` says otherwise."""
    call: dict[str, Any] = {
        "anonymousId": "507f191e810c19729de860ea",
        "context": SEGMENT_CONTEXT,
        "integrations": {},
        "messageId": "ajs-next-1718000000000-5a1b",
        "properties": properties or {},
        "timestamp": "2026-05-01T10:00:00.000Z",
        "sentAt": "2026-05-01T10:00:02.000Z",
        "type": "track",
        "userId": "019mr8mf4r",
        "writeKey": "key",
    }
    return call | ({} if event is None else {"event": event}) | more


SEGMENT_ORDER = segment(
    "Order Completed",
    {
        "checkout_id": "fksdjfsdjfisjf9sdfjsd9f",
        "order_id": "50314b8e9bcf000000000000",
        "affiliation": "Google Store",
        "total": 27.50,
        "subtotal": 22.50,
        "revenue": 25.00,
        "shipping": 3,
        "tax": 2,
        "discount": 2.5,
        "coupon": "hasbros",
        "currency": "USD",
        "products": [
            {
                "product_id": "507f1f77bcf86cd799439011",
                "sku": "45790-32",
                "name": "Monopoly: 3rd Edition",
                "price": 19,
                "quantity": 1,
                "category": "Games",
            },
            {
                "product_id": "505bd76785ebb509fc183733",
                "sku": "46493-32",
                "name": "Uno Card Game",
                "price": 3,
                "quantity": 2,
                "category": "Games",
            },
        ],
    },
)

GOOGLE_PURCHASE: dict[str, Any] = {
    "eventType": "purchase-complete",
    "visitorId": "visitor0",
    "sessionId": "session0",
    "eventTime": "2026-05-01T10:00:00.000001234Z",
    "experimentIds": ["321"],
    "attributionToken": "ABC",
    "attributes": {"user_age": {"text": ["teen", "young adult"]}},
    "productDetails": [
        {"product": {"id": "abc"}, "quantity": 3},
        {"product": {"id": "def"}, "quantity": 1},
    ],
    "cartId": "cart-id",
    "purchaseTransaction": {"id": "143212", "revenue": 123.0, "tax": 12.3, "cost": 100.1, "currencyCode": "USD"},
    "userInfo": {"userId": "abcdefg", "ipAddress": "8.8.8.8", "userAgent": "Mozilla/5.0", "directUserRequest": True},
    "uri": "https://www.example.com/checkout",
    "referrerUri": "https://www.example.com/cart",
    "pageViewId": "currentPageUri",
}

SNOWPLOW_ENVELOPE: dict[str, Any] = {
    "app_id": "shop",
    "platform": "web",
    "etl_tstamp": "2026-05-01T10:00:05.101Z",
    "collector_tstamp": "2026-05-01T10:00:03.500Z",
    "dvce_created_tstamp": "2026-05-01T09:58:00.000Z",
    "dvce_sent_tstamp": "2026-05-01T09:58:03.300Z",
    "derived_tstamp": "2026-05-01T10:00:00.200Z",
    "event": "unstruct",
    "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
    "v_tracker": "js-4.1.0",
    "user_id": "jon.doe",
    "domain_userid": "2161814971",
    "domain_sessionidx": 3,
    "domain_sessionid": "2b15e5c8-d3b1-11e4-b9d6-1681e6b88ec1",
    "network_userid": "ecdff4d0-9175-40ac-a8bb-325c49733607",
    "page_url": "https://shop.example/shirts",
    "br_lang": "en-GB",
    "os_timezone": "Europe/London",
    "event_vendor": "com.snowplowanalytics.snowplow.ecommerce",
    "event_name": "snowplow_ecommerce_action",
    "event_format": "jsonschema",
    "event_version": "1-0-2",
    "contexts_com_snowplowanalytics_snowplow_web_page_1": [{"id": "b0d1d1f3-6d4b-4c3b-8b6e-4b1a3d4a2f15"}],
}
_ECOMMERCE = "com_snowplowanalytics_snowplow_ecommerce"


def snowplow(action: str, products: list[dict[str, Any]], name: str | None = None, **entities: Any) -> dict[str, Any]:
    """An e-commerce action, enriched, with entities by the last word of their names."""
    told = {f"contexts_{_ECOMMERCE}_{entity}_1": [value] for entity, value in entities.items()}
    if products:
        told[f"contexts_{_ECOMMERCE}_product_1"] = products
    payload = {"type": action} if name is None else {"type": action, "name": name}
    return SNOWPLOW_ENVELOPE | {f"unstruct_event_{_ECOMMERCE}_snowplow_ecommerce_action_1": payload} | told


SNOWPLOW_PRODUCT = {
    "id": "P125",
    "name": "Baseball T",
    "category": "Mens/Apparel",
    "price": 200,
    "list_price": 230,
    "inventory_status": "in stock",
    "brand": "Snowplow",
    "quantity": 2,
    "variant": "Black",
    "position": 1,
    "currency": "USD",
}
SNOWPLOW_TRANSACTION = snowplow(
    "transaction",
    [SNOWPLOW_PRODUCT, {"id": "P126", "category": "Mens/Caps", "price": 20.5, "currency": "USD"}],
    transaction={
        "transaction_id": "T12345",
        "revenue": 420.5,
        "currency": "USD",
        "payment_method": "visa",
        "total_quantity": 3,
        "tax": 20,
    },
)

PERSONALIZE_VIEW: dict[str, Any] = {
    "userId": "USER_ID",
    "sessionId": "SESSION_ID",
    "eventId": "event1",
    "eventType": "View",
    "itemId": "ITEM_ID",
    "sentAt": 1_777_629_600,
    "recommendationId": "RID-1",
    "impression": ["ITEM_ID", "other"],
    "metricAttribution": {"eventAttributionSource": "mail"},
}

EXAMPLES: tuple[dict[str, Any], ...] = (
    segment("Product Viewed", SEGMENT_PRODUCT),
    SEGMENT_ORDER,
    segment(None, None, type="identify", traits={"email": "a@b.example", "age": 31, "address": {"city": "Ulm"}}),
    GOOGLE_PURCHASE,
    SNOWPLOW_TRANSACTION,
    PERSONALIZE_VIEW,
)
