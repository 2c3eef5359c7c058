"""Two items of one name are told apart: brand, else an attribute, else the id."""

from features.catalog import Content, Item
from serving.catalogue import Catalogue


def milk(item_id: str, brand: str | None = None, **attributes: str) -> Item:
    return Item(item_id=item_id, content=Content(name="Milk", brand=brand, attributes=attributes))


def told(one: Item, other: Item) -> str:
    catalogue = Catalogue()
    catalogue.replace_all({item.item_id: item for item in (one, other)}, {})
    return catalogue.told_apart("1", "2")


def test_two_of_one_name() -> None:
    assert told(milk("1", "Leaf"), milk("2", "Root")) == "Leaf"
    assert told(milk("1", "Leaf"), milk("2")) == "Leaf"
    assert told(milk("1", "Leaf", size="1 l"), milk("2", "Leaf", size="2 l")) == "1 l"
    assert told(milk("1", size="1 l", colour="white"), milk("2", size="1 l")) == "white"
    assert told(milk("1"), milk("2", "Root")) == "1"
    assert told(milk("1", "Leaf", size="1 l"), milk("2", "Leaf", size="1 l")) == "1"


def test_one_that_is_gone_is_told_by_its_id() -> None:
    assert Catalogue().told_apart("1", "2") == "1"
