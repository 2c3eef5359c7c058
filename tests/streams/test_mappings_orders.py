"""Mappings that make one event of many lines: invoices of Online Retail, baskets of The Complete Journey."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from features.catalog import Price
from features.events import MAX_ITEMS
from streams.mappings.completejourney import COMPLETEJOURNEY
from streams.mappings.naming import title_case
from streams.mappings.online_retail import ONLINE_RETAIL, OPEN_LINES
from streams.mappings.outcomes import Repeated
from streams.mappings.till_words import readable
from tests.streams.files import (
    RETAIL_HEADER,
    events,
    grocery_files,
    items,
    outcomes,
    refused,
    retail_line,
    undescribed,
    written,
)


def retail(folder: Path, *lines: str) -> Path:
    return written(folder, "retail.csv", RETAIL_HEADER, *lines)


def test_an_invoice_is_one_event(tmp_path: Path) -> None:
    path = retail(
        tmp_path,
        retail_line("536365", "85123a", 6, "2.55", at="2011-06-01 08:26:00", name="WHITE HEART  OF WOOD"),
        retail_line("536365", "71053", 2, "3.39", at="2011-06-01 08:27:00", name="LANTERN"),
        retail_line("536366", "85123A", 1, "2.95", at="2011-12-01 08:28:00", name="WHITE HEART  OF WOOD"),
    )
    found = outcomes(ONLINE_RETAIL, path)
    first, second = events(found)
    assert (first.event_name, first.event_id, first.transaction_id) == ("purchase", "536365", "536365")
    assert (first.user_id, first.anonymous_id) == ("17850", None)
    assert first.occurred_at == datetime(2011, 6, 1, 7, 26, tzinfo=UTC)  # London in summer
    assert second.occurred_at == datetime(2011, 12, 1, 8, 28, tzinfo=UTC)
    assert [(i.item_id, i.quantity, i.price) for i in first.items] == [
        ("85123A", 6, Decimal("2.55")),
        ("71053", 2, Decimal("3.39")),
    ]
    assert (first.value, first.currency) == (Decimal("22.08"), "GBP")
    heart = items(found)["85123A"]
    assert heart.content is not None
    assert heart.content.name == "White Heart of Wood"
    assert heart.price == Price(price=Decimal("2.95"), currency="GBP")


def test_cancellations_are_refunds_and_strangers_have_baskets_of_their_own(tmp_path: Path) -> None:
    path = retail(
        tmp_path,
        retail_line("C536379", "85123A", -3),
        retail_line("536544", "71053", 2, customer=""),
    )
    refund, basket = events(outcomes(ONLINE_RETAIL, path))
    assert (refund.event_name, refund.items[0].quantity, refund.value) == ("refund", 3, Decimal("7.50"))
    assert (basket.user_id, basket.anonymous_id) == (None, "invoice-536544")


def test_lines_of_one_article_become_one_item(tmp_path: Path) -> None:
    lines = [retail_line("1", "A1", 1, "2.00"), retail_line("1", "A1", 3, "4.00")]
    [event] = events(outcomes(ONLINE_RETAIL, retail(tmp_path, *lines)))
    [item] = event.items
    assert (item.quantity, item.price, event.value) == (4, Decimal("3.5000"), Decimal("14.00"))


def test_what_is_no_goods_is_refused_by_name(tmp_path: Path) -> None:
    path = retail(
        tmp_path,
        retail_line("1", "POST"),
        retail_line("1", "m"),
        retail_line("C2", "D", -1),
        retail_line("3", "AMAZONFEE"),
        retail_line("A563186", "B", 1, "-11062.06"),
        retail_line("4", "S"),
        retail_line("5", "21777", -10, "0.0"),
        retail_line("6", "22139", 5, "0.0"),
        retail_line("7", "22139", "many"),
        retail_line("8", "22139", 1, at="then"),
        retail_line("9", ""),
        "cut,line",
    )
    found = outcomes(ONLINE_RETAIL, path)
    assert events(found) == []
    assert refused(found) == {
        "postage": 1,
        "manual_entry": 1,
        "discount": 1,
        "fee": 1,
        "bad_debt": 1,
        "sample": 1,
        "stock_adjustment": 1,
        "no_price": 1,
        "bad_number": 1,
        "time_out_of_range": 1,
        "no_id": 1,
        "cut": 1,
    }


def test_the_same_line_twice_in_an_invoice_is_dropped(tmp_path: Path) -> None:
    line = retail_line("1", "A1", 2)
    found = outcomes(ONLINE_RETAIL, retail(tmp_path, line, line, retail_line("2", "A1", 2)))
    assert [e.items[0].quantity for e in events(found)] == [2, 2]
    assert [each for each in found if isinstance(each, Repeated)] == [Repeated(1)]


@pytest.mark.parametrize(("count", "sizes"), [(MAX_ITEMS, [500]), (1114, [500, 500, 114])])
def test_large_invoices_are_divided(tmp_path: Path, count: int, sizes: list[int]) -> None:
    lines = [retail_line("7", f"A{n}") for n in range(count)]
    took = events(outcomes(ONLINE_RETAIL, retail(tmp_path, *lines)))
    assert [len(event.items) for event in took] == sizes
    assert [event.event_id for event in took] == ["7", "7.2", "7.3"][: len(sizes)]
    assert {event.transaction_id for event in took} == {"7"}


def test_an_invoice_may_be_interrupted_but_not_for_long(tmp_path: Path) -> None:
    soon = [retail_line("1", "A1"), retail_line("2", "A1"), retail_line("1", "A2")]
    late = [retail_line("3", "A1"), *(retail_line("4", f"B{n % 50}") for n in range(OPEN_LINES + 1))]
    found = outcomes(ONLINE_RETAIL, retail(tmp_path, *soon, *late, retail_line("3", "A2")))
    took = {event.event_id: event for event in events(found)}
    assert [item.item_id for item in took["1"].items] == ["A1", "A2"]
    assert [item.item_id for item in took["3"].items] == ["A1"]
    assert refused(found) == {"stray_line": 1}


def test_a_basket_is_one_purchase(tmp_path: Path) -> None:
    at = datetime(2017, 1, 1, 11, 53, 26)
    files = grocery_files(
        tmp_path,
        [
            (900, 31, 1, 2, 3.0, at),
            (900, 31, 2, 1, 0.0, at),
            (901, 32, 1, 1, 2.0, at),
            (901, 32, 1, 3, 6.0, at),
        ],
        [
            (1, 69, "GROCERY", "Private", "FLUID MILK PRODUCTS", "FLUID MILK WHITE ONLY", "1/2  GAL"),
            (2, 70, "PRODUCE", "National", "APPLES", None, None),
            (3, 70, "PRODUCE", "National", "APPLES", "APPLES RED (BULK&BAG", None),
        ],
    )
    found = outcomes(COMPLETEJOURNEY, *files)
    first, second = events(found)
    assert (first.event_id, first.user_id, first.occurred_at) == ("31", "900", at.replace(tzinfo=UTC))
    assert (first.value, first.currency) == (Decimal("3.00"), "USD")
    assert [(i.item_id, i.quantity, i.price, i.category, i.brand) for i in first.items] == [
        ("1", 2, Decimal("1.50"), "Fluid Milk Products", "Private"),
        ("2", 1, None, "Apples", "National"),
    ]
    assert second.value == Decimal("8.00")
    told = items(found)
    assert told["1"].content is not None
    assert told["1"].content.name == "Fluid Milk White Only, 1/2 gal"
    assert told["1"].content.categories == ("Grocery", "Fluid Milk Products")
    assert told["1"].price == Price(price=Decimal("2.00"), currency="USD")  # median of 1.50, 2.00, 2.00
    assert [told["2"].price, told["3"].price] == [None, None]
    assert told["3"].content is not None
    assert told["3"].content.name == "Apples Red"


def test_till_codes_are_refused_by_name(tmp_path: Path) -> None:
    at = datetime(2017, 1, 1)
    files = grocery_files(
        tmp_path,
        [(1, n, n, 0 if n == 5 else 1, 1.0, at) for n in (1, 2, 3, 4, 5, 6)],
        [
            (1, 1, "FUEL", "Private", "COUPON/MISC ITEMS", "GASOLINE-REG UNLEADED", None),
            (2, 1, "COUPON", "National", "COUPONS/STORE & MFG", "COUPONS/STORE & MFG", None),
            (3, 1, "MISCELLANEOUS", "National", None, None, None),
            (5, 1, "GROCERY", "National", "SOUP", "DRY SOUP", "5 OZ"),
            (6, 1, "GROCERY", "National", "SOUP", "DRY SOUP", "6 OZ"),
        ],
    )
    found = outcomes(COMPLETEJOURNEY, *files)
    assert refused(found) == {
        "fuel": 1,
        "not_goods": 1,
        "no_text": 1,
        "unknown_product": 1,
        "no_quantity": 1,
    }
    assert [event.event_id for event in events(found)] == ["6"]
    assert undescribed(found) == {"fuel": 1, "not_goods": 1, "no_text": 1}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("FRZN MEAT/MEAT DINNERS", "Frozen Meat/Meat Dinners"),
        ("PNT BTR/JELLY/JAMS", "Peanut Butter/Jelly/Jams"),
        ("DRUG GM", "Drugstore"),
        ("BEERALEMALT LIQUORS", "Beer, Ale and Malt Liquors"),
        ("SOUP", "Soup"),
    ],
)
def test_the_abbreviations_of_tills(text: str, name: str) -> None:
    assert readable(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("WHITE HANGING HEART T-LIGHT HOLDER", "White Hanging Heart T-Light Holder"),
        ("BBQ SAUCE, OF THE SOUTH", "BBQ Sauce, of the South"),
        ("CANDY BARS (SINGLES)(INCLUDING", "Candy Bars (Singles)"),
        ("POLYESTER FILLER PAD 40x40cm", "Polyester Filler Pad 40x40cm"),
        ("lady's  scarf", "Lady's Scarf"),
        ("(", "("),
    ],
)
def test_names_that_people_can_read(text: str, name: str) -> None:
    assert title_case(text) == name
