"""Two hundred lists of all kinds, made again from their records after rows, shelves, stock and settings changed."""

import random
from typing import Any, Final

from serving.decisions import decode, encode, made_again
from tests.serving.shop import CAKES, TEAS, AShop
from tests.serving.test_explanations import SHELF

DECISIONS: Final = 200
SHOPPERS: Final = 10
SCENARIO: Final = {
    "name": "home",
    "blend": [["shelf", 2], ["neighbours", 1]],
    "exploration": {"share": 0.3, "source": "catalogue"},
    "category_cap": 2,
}
EXPERIMENT: Final = {
    "scenario": "home",
    "variations": [{"id": "a"}, {"id": "b", "changes": {"diversity": 0.5}}, {"id": "c", "holdout": True}],
}


def asked(chance: random.Random) -> dict[str, Any]:
    """A request with some of everything."""
    wish: dict[str, Any] = {
        "user_id": f"s{chance.randrange(SHOPPERS)}",
        "count": chance.randint(1, 7),
        "scenario": chance.choice(["home", "product", "cart", "category", "search_empty"]),
        "item_ids": chance.sample(TEAS, chance.randint(0, 1)),
    }
    more: dict[str, Any] = {
        "filter": "item.category == 'cake' || item.price > 1.0",
        "booster": "item.category == 'tea' ? 2.0 : 1.0",
        "diversity": 0.7,
        "rotation_rate": 0.9,
        "pins": [{"item_id": chance.choice(CAKES), "position": chance.randint(1, min(3, wish["count"]))}],
        "personalization": chance.choice(["session", "none"]),
        "exclude_item_ids": chance.sample(CAKES, 1),
    }
    return wish | {name: more[name] for name in more if chance.random() < 0.4}


async def test_each_is_as_it_was_served(shop: AShop) -> None:
    chance = random.Random(7)
    for n in range(SHOPPERS):
        await shop.met(f"s{n}", ("view_item", chance.choice(TEAS)), ("add_to_cart", chance.choice(CAKES)))
        await shop.shelved(f"s{n}", *chance.sample(SHELF, len(SHELF)))
    for kind, name, value in (("scenario", "home", SCENARIO), ("experiment", "e", EXPERIMENT)):
        put = await shop.client.put(f"/v1/settings/{kind}/{name}", json=value)
        assert put.status_code == 200, put.text
    await shop.until(lambda answer: bool(answer["experiments"]), user_id="s0")
    answers = [await shop.list_for(**asked(chance)) for _ in range(DECISIONS)]
    assert {one["variation"] for answer in answers for one in answer["experiments"]} == {"a", "b", "c"}

    for n in range(SHOPPERS):
        await shop.met(f"s{n}", ("purchase", chance.choice(CAKES)), ("add_to_cart", chance.choice(TEAS)))
        await shop.shelved(f"s{n}")
    await shop.client.patch("/v1/items/tart", json={"stock": {"available": False}})
    assert (await shop.client.delete("/v1/settings/scenario/home")).status_code == 200

    for answer in answers:
        decision = await shop.api.services.decisions.find(answer["recommendation_id"])
        kept = decode(encode(decision))
        served = [(one["item_id"], one["position"], one["score"], one["source"]) for one in answer["items"]]
        again = made_again(kept)
        assert [(p.choice.item_id, p.position, round(p.score, 6), p.choice.source) for p in again] == served
        assert [one.propensity for one in again] == [one.propensity for one in kept.shown]
    told = await shop.client.get(f"/v1/explanations/{answers[-1]['recommendation_id']}")
    assert told.json()["made_again"] is True
