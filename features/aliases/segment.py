"""Segment's vocabulary: track calls of its e-commerce spec (version 2, and the names of version 1), page and screen
calls, identify, and the event that tells a change of consent.

Where Segment knows an event that says nothing about a shopper's interests (coupons, promotions, steps of a checkout
beyond its start, updates of an order), it is refused by name like any unknown one.
"""

from typing import Final

from features.aliases.vocabulary import Vocabulary

SEGMENT: Final = Vocabulary(
    title="Segment",
    name=("event", "type"),
    names={
        "page": "page_view",
        "screen": "page_view",
        "identify": "identify",
        "Products Searched": "search",
        "Product List Viewed": "view_item_list",
        "Viewed Product Category": "view_item_list",
        "Product List Filtered": "view_item_list",
        "Product Clicked": "select_item",
        "Clicked Product": "select_item",
        "Product Viewed": "view_item",
        "Viewed Product": "view_item",
        "Product Added": "add_to_cart",
        "Added Product": "add_to_cart",
        "Wishlist Product Added to Cart": "add_to_cart",
        "Product Removed": "remove_from_cart",
        "Removed Product": "remove_from_cart",
        "Cart Viewed": "view_cart",
        "Checkout Started": "begin_checkout",
        "Started Order": "begin_checkout",
        "Order Completed": "purchase",
        "Completed Order": "purchase",
        "Order Refunded": "refund",
        "Order Cancelled": "refund",
        "Product Added to Wishlist": "add_to_wishlist",
        "Product Removed from Wishlist": "remove_from_wishlist",
        "Product Reviewed": "review_item",
        "Segment Consent Preference Updated": "consent_updated",
    },
    fields={
        "event_id": ("messageId",),
        "user_id": ("userId",),
        "anonymous_id": ("anonymousId",),
        "session_id": ("context.sessionId", "properties.session_id"),
        "occurred_at": ("timestamp", "originalTimestamp"),
        "sent_at": ("sentAt",),
        "currency": ("properties.currency",),
        "value": ("properties.value", "properties.revenue", "properties.total"),
        "transaction_id": ("properties.order_id",),
        "search_term": ("properties.query",),
        "recommendation_id": ("properties.recommendation_id",),
        "rating": ("properties.rating",),
        "text": ("properties.review_body",),
        "traits": ("traits",),
        "consent": ("context.consent.categoryPreferences",),
        "context.page": ("context.page.url", "properties.url"),
        "context.locale": ("context.locale",),
        "context.time_zone": ("context.timezone",),
    },
    lines=("properties.products", "properties"),
    line={
        "item_id": ("product_id", "id", "sku"),
        "price": ("price",),
        "quantity": ("quantity",),
        "index": ("position",),
        "category": ("category",),
        "brand": ("brand",),
        "item_list_id": ("/properties.list_id",),
    },
    # Segment's pipeline keeps the device's time as originalTimestamp and puts the corrected one into timestamp.
    corrected=("originalTimestamp",),
)
