"""Snowplow's vocabulary: enriched events as its analytics SDKs and Snowbridge write them in JSON.

Its e-commerce actions with their entities, site search, page views, and structured events whose action has the name
of an e-commerce action and whose label is the product's id. Its times are UTC, with or without saying so.
"""

from typing import Final

from features.aliases.readers import as_utc
from features.aliases.vocabulary import Vocabulary

_ECOMMERCE: Final = "com_snowplowanalytics_snowplow_ecommerce"
_ACTION: Final = f"unstruct_event_{_ECOMMERCE}_snowplow_ecommerce_action_*"
_PRODUCTS: Final = f"contexts_{_ECOMMERCE}_product_*"
_TRANSACTION: Final = f"contexts_{_ECOMMERCE}_transaction_*.0"
_REFUND: Final = f"contexts_{_ECOMMERCE}_refund_*.0"
_SESSION: Final = "contexts_com_snowplowanalytics_snowplow_client_session_*.0"

ENRICHED: Final = ("collector_tstamp", "derived_tstamp", "dvce_created_tstamp", "domain_userid", "event_vendor")
"""Fields by one of which an enriched event is known: it has `event_name` and `event_id` as ours do."""

SNOWPLOW: Final = Vocabulary(
    title="Snowplow",
    name=(f"{_ACTION}.type", "se_action", "event_name", "event"),
    names={
        "page_view": "page_view",
        "site_search": "search",
        "list_view": "view_item_list",
        "list_click": "select_item",
        "product_view": "view_item",
        "add_to_cart": "add_to_cart",
        "remove_from_cart": "remove_from_cart",
        "checkout_step": "begin_checkout",
        "transaction": "purchase",
        "refund": "refund",
    },
    fields={
        "event_id": ("event_id",),
        "user_id": ("user_id", f"contexts_{_ECOMMERCE}_user_*.0.id"),
        "anonymous_id": ("domain_userid", f"{_SESSION}.userId", "network_userid"),
        "session_id": ("domain_sessionid", f"{_SESSION}.sessionId"),
        "occurred_at": ("derived_tstamp", "dvce_created_tstamp", "collector_tstamp"),
        "sent_at": ("dvce_sent_tstamp",),
        "currency": (
            f"{_TRANSACTION}.currency",
            f"{_REFUND}.currency",
            f"{_PRODUCTS}.0.currency",
            f"contexts_{_ECOMMERCE}_cart_*.0.currency",
        ),
        "value": (f"{_TRANSACTION}.revenue", f"{_REFUND}.refund_amount"),
        "transaction_id": (f"{_TRANSACTION}.transaction_id", f"{_REFUND}.transaction_id"),
        "search_term": ("unstruct_event_com_snowplowanalytics_snowplow_site_search_*.terms",),
        "context.page": ("page_url",),
        "context.locale": (f"contexts_{_ECOMMERCE}_page_*.0.locale", "br_lang"),
        "context.time_zone": ("os_timezone",),
    },
    lines=(_PRODUCTS, "se_label"),
    line={
        "item_id": ("id",),
        "price": ("price",),
        "quantity": ("quantity",),
        "index": ("position",),
        "category": ("category",),
        "brand": ("brand",),
        "item_list_id": (f"/{_ACTION}.name",),
    },
    corrected=("derived_tstamp",),
    read={"occurred_at": as_utc, "sent_at": as_utc},
)
