"""What is no number is named: the item and the feature, never a shopper."""

from decimal import Decimal

import numpy as np
import pytest

from features.catalog import Content, Item, Price
from infra.errors import BadInput
from models.item_features import described, odd_prices, text_of
from models.sound import check_facts, check_items


def priced(price: str) -> Item:
    return Item(item_id=price, content=Content(name="tea"), price=Price(price=Decimal(price), currency="EUR"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_no_number_is_refused_with_its_item(value: float) -> None:
    values = np.zeros((4, 3), np.float32)
    check_items(values, ["a", "b", "c", "d"], "the text vector")
    values[2, 1] = values[3, 0] = value
    with pytest.raises(BadInput, match=rf"the text vector of item 'c' holds {value}.*2 such items") as caught:
        check_items(values, ["a", "b", "c", "d"], "the text vector")
    assert (caught.value.reason, caught.value.path) == ("feature_not_finite", "the text vector")
    check_items(np.zeros((0, 3), np.float32), [], "the text vector")


@pytest.mark.parametrize(("column", "name"), [(0, "log orders"), (1, "log views"), (2, "mean log price")])
def test_a_fact_that_is_no_number_is_refused_with_its_name(column: int, name: str) -> None:
    facts = np.ones((5, 3), np.float32)
    check_facts(facts)
    facts[1:3, column] = np.nan
    with pytest.raises(BadInput, match=f"{name} of the shopper is no number at 2 of 5 steps") as caught:
        check_facts(facts)
    assert caught.value.reason == "feature_not_finite"


def test_a_price_that_is_no_number_counts_as_none_and_is_named() -> None:
    items = [priced(price) for price in ("NaN", "3", "Infinity", "-2", "0")] + [Item(item_id="bare")]
    assert odd_prices(items) == ["NaN", "Infinity", "-2"]
    bins = described(items, np.zeros((6, 2), np.float32), (), ()).price.tolist()
    assert bins[0] == bins[2] == bins[3] == bins[4] == bins[5] == 0
    assert bins[1] > 0


def test_what_is_read_of_a_text_is_bounded_and_of_no_text_nothing() -> None:
    assert text_of(Item(item_id="bare")) == ""
    assert text_of(Item(item_id="blank", content=Content(name=""))) == ""
    assert len(text_of(Item(item_id="long", content=Content(name="tea", description="茶 leaf " * 20_000)))) < 400
