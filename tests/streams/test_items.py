"""Catalogue files: every format gives the same items, and a bad row is named."""

from decimal import Decimal
from pathlib import Path

import pytest

from features.catalog import Price, Stock
from infra.errors import BadInput, NotFound
from streams.items import described, read_items
from streams.mappings.outcomes import Described, Undescribed
from tests.streams.files import items, undescribed, written

RSS = """<?xml version="1.0"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><g:id>t1</g:id><title>Green tea</title><g:description>Fresh &amp; mild</g:description>
<g:product_type>Food &gt; Tea</g:product_type><g:brand>Leaf</g:brand><g:price>12.90 EUR</g:price>
<g:availability>in_stock</g:availability><link>https://shop.example/t1</link>
<g:image_link>https://shop.example/t1.jpg</g:image_link>
<g:additional_image_link>https://shop.example/t1b.jpg</g:additional_image_link>
<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping></item>
<item><title>No id</title></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<entry><g:id>t1</g:id><title>Green tea</title><link href="https://shop.example/t1"/>
<g:description>Fresh &amp; mild</g:description><g:product_type>Food &gt; Tea</g:product_type>
<g:brand>Leaf</g:brand><g:price>EUR 12.90</g:price><g:availability>in stock</g:availability>
<g:image_link>https://shop.example/t1.jpg</g:image_link></entry></feed>"""
CSV = (
    "SKU,Title,Description,Categories,Brand,Price,Currency,Availability,Link,Image",
    't1,Green tea,"Fresh & mild",Food > Tea,Leaf,"12,90",EUR,https://schema.org/InStock,'
    "https://shop.example/t1,https://shop.example/t1.jpg",
)
TSV = (
    "id\ttitle\tdescription\tproduct type\tbrand\tprice\tavailability\tlink\timage link",
    "t1\tGreen tea\tFresh & mild\tFood > Tea\tLeaf\t12.90 EUR\tin_stock\thttps://shop.example/t1"
    "\thttps://shop.example/t1.jpg",
)
JSON = (
    '{"item_id": "t1", "name": "Green tea", "description": "Fresh & mild", "categories": ["Food", "Tea"], '
    '"brand": "Leaf", "price": 12.90, "currency": "eur", "available": true, '
    '"url": "https://shop.example/t1", "image_url": "https://shop.example/t1.jpg"}',
)
FORMATS = {"rss.xml": (RSS,), "atom.xml": (ATOM,), "a.csv": CSV, "a.tsv": TSV, "a.jsonl": JSON}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_gives_the_same_item(name: str, packed: bool, tmp_path: Path) -> None:
    tea = items(list(read_items(written(tmp_path, name, *FORMATS[name], packed=packed))))["t1"]
    assert tea.content is not None
    assert (tea.content.name, tea.content.description) == ("Green tea", "Fresh & mild")
    assert (tea.content.category, tea.content.categories) == ("Tea", ("Food", "Tea"))
    assert (tea.content.brand, tea.content.url) == ("Leaf", "https://shop.example/t1")
    assert tea.content.image_url == "https://shop.example/t1.jpg"
    assert tea.price == Price(price=Decimal("12.9"), currency="EUR")
    assert tea.stock == Stock(available=True)


def test_an_entry_without_an_id_is_named_by_its_line(tmp_path: Path) -> None:
    found = list(read_items(written(tmp_path, "rss.xml", RSS)))
    [broken] = [each for each in found if isinstance(each, Undescribed)]
    assert (broken.code, broken.line) == ("no_id", 9)


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ({"id": "", "name": "x"}, "no_id"),
        ({"id": "x" * 257, "name": "x"}, "too_long"),
        ({"id": "1"}, "no_name"),
        ({"id": "1", "name": "x" * 301}, "too_long"),
        ({"id": "1", "name": "a\x00b"}, "control_character"),
        ({"id": "1", "name": "x", "price": "12.99"}, "currency_required"),
        ({"id": "1", "name": "x", "price": "3,5"}, "currency_required"),
        ({"id": "1", "name": "x", "price": "3,5 €"}, "currency_required"),
        ({"id": "1", "name": "x", "price": "1,2345"}, "bad_price"),
        ({"id": "1", "name": "x", "price": "-1 EUR"}, "bad_price"),
        ({"id": "1", "name": "x", "price": "1,299.00 EUR"}, "bad_price"),
        ({"id": "1", "name": "x", "price": "NaN EUR"}, "bad_price"),
        ({"id": "1", "name": "x", "availability": "perhaps"}, "bad_availability"),
        ({"id": "1", "name": "x", "quantity": "-1"}, "bad_quantity"),
        ({"id": "1", "name": "x", "link": "javascript:alert(1)"}, "bad_url"),
        ({"id": "1", "name": "x", "category": " > ".join("abcdefghijk")}, "too_long"),
        ({"id": "1", "name": "x", "colour": "r" * 501}, "too_long"),
        ({"id": "1", "name": "x"} | {f"a{n}": "1" for n in range(51)}, "too_many"),
    ],
)
def test_a_row_that_breaks_a_rule(texts: dict[str, str], code: str) -> None:
    with pytest.raises(BadInput) as caught:
        described(texts)
    assert caught.value.reason == code


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("3,5", "'3,5' has no currency: write 3.5 USD, or add a column (currency, currency_code, price_currency)"),
        ("dear", "'dear' is no price: write 12.99 USD, or 12,99 USD"),
        ("1,299.00 EUR", "thousands without a mark"),
    ],
)
def test_what_is_wrong_with_a_price_is_said(price: str, said: str, tmp_path: Path) -> None:
    [broken] = read_items(written(tmp_path, "a.csv", "id;name;price", f"1;Tea;{price}"))
    assert isinstance(broken, Undescribed)
    assert said in broken.detail


def test_a_comma_in_a_price_of_a_semicolon_file(tmp_path: Path) -> None:
    [tea] = read_items(written(tmp_path, "a.csv", "id;name;price;currency", "1;Tea;3,5;EUR"))
    assert isinstance(tea, Described)
    assert tea.price == Price(price=Decimal("3.5"), currency="EUR")


def test_a_row_with_too_many_fields_says_what_to_do(tmp_path: Path) -> None:
    [broken] = read_items(written(tmp_path, "a.csv", "id,name,price", "1,Tea,3,5"))
    assert isinstance(broken, Undescribed)
    assert broken.detail == "4 fields, the first line has 3; a value with ',' needs quotes"


@pytest.mark.parametrize(
    ("texts", "stock"),
    [
        ({}, None),
        ({"availability": "out_of_stock"}, Stock(available=False)),
        ({"availability": "preorder"}, Stock(available=False)),
        ({"quantity": "3"}, Stock(available=True, quantity=3)),
        ({"stock": "0"}, Stock(available=False, quantity=0)),
        ({"in_stock": "true", "inventory": "7"}, Stock(available=True, quantity=7)),
    ],
)
def test_stock(texts: dict[str, str], stock: Stock | None) -> None:
    assert described({"id": "1", "name": "x"} | texts).stock == stock


def test_what_has_no_name_of_ours_is_an_attribute() -> None:
    content = described({"id": "1", "name": "x", "colour": "red", "sale_price": "2 EUR"}).content
    assert content is not None
    assert content.attributes == {"colour": "red"}


def test_the_others_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "id,name,price", "1,Tea,1 EUR", "2,Cup,dear", "1,Tea,1 EUR", "3", "4,Pot,")
    found = list(read_items(path))
    assert list(items(found)) == ["1", "4"]
    assert undescribed(found) == {"bad_price": 1, "repeated_item": 1, "unreadable": 1}
    assert [each.line for each in found if isinstance(each, Undescribed)] == [3, 4, 5]


def test_lines_that_are_no_json_objects(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "a.jsonl",
        "{",
        "[]",
        '{"id": 7, "name": "x", "price": {"amount": 1}}',
        '{"id":1,"name":"x"}',
    )
    found = list(read_items(path))
    assert [each.item_id for each in found if isinstance(each, Described)] == ["1"]
    assert undescribed(found) == {"unreadable": 2, "bad_price": 1}


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE rss [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>',
        '<!DOCTYPE rss SYSTEM "file:///etc/passwd">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_feed_that_declares_a_document_type_is_refused(declared: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_bytes(f"{declared}<rss><item><id>&b;</id></item></rss>".encode(encoding))
    with pytest.raises(BadInput) as caught:
        list(read_items(path))
    assert caught.value.reason == "doctype"


def test_what_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no column of the first line names an item"):
        list(read_items(written(tmp_path, "a.csv", "name,price", "x,1 EUR")))
    with pytest.raises(BadInput, match=r"no column of the first line names its name \(name, title"):
        list(read_items(written(tmp_path, "a.csv", "id,price", "x,1 EUR")))
    with pytest.raises(BadInput, match="no well-formed XML"):
        list(read_items(written(tmp_path, "a.xml", "<rss><item></rss>")))
    with pytest.raises(NotFound):
        list(read_items(tmp_path / "nothing.csv"))
