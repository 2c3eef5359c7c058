"""Who sees which variation, and what it changes."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.candidates import Candidate
from serving.experiments import Experiments, ExperimentSetting, Variation
from serving.setting_kinds import decoded
from tests.serving.shop import AShop, ids

SHELF = tuple(Candidate(i, 0.9 - n / 10, 0.9, "tower") for n, i in enumerate(("oolong", "jasmine", "tart", "scone")))
BODY: dict[str, Any] = {
    "scenario": "home",
    "variations": [{"id": "as-is"}, {"id": "cake", "changes": {"filter": "item.category == 'cake'"}}],
}


def drawn(experiment: ExperimentSetting, many: int, name: str = "e") -> list[str | None]:
    running = Experiments()
    running.take(name, experiment, 2)
    found = [running.assigned("home", f"u-{n}", {}) for n in range(many)]
    return [one[0][1].id if one else None for one in found]


def test_shoppers_are_divided_in_the_ratio_of_the_weights_and_by_the_share() -> None:
    experiment = ExperimentSetting(
        scenario="home", variations=(Variation(id="a", weight=3), Variation(id="b")), share=0.4
    )
    many = 20_000
    shares = Counter(drawn(experiment, many))
    for variation, share in ((None, 0.6), ("a", 0.3), ("b", 0.1)):
        assert abs(shares[variation] / many - share) < 5 * (share * (1 - share) / many) ** 0.5


def test_one_experiment_says_nothing_about_another() -> None:
    experiment = ExperimentSetting(scenario="home", variations=(Variation(id="a"), Variation(id="b")))
    both = Counter(zip(drawn(experiment, 20_000, "one"), drawn(experiment, 20_000, "two"), strict=True))
    assert all(abs(count / 20_000 - 0.25) < 0.016 for count in both.values())


@given(st.text(min_size=1, max_size=20), st.floats(0.01, 0.99))
def test_a_shopper_keeps_the_variation_when_more_take_part(unit: str, share: float) -> None:
    running = Experiments()
    three = (Variation(id="a"), Variation(id="b", weight=2), Variation(id="c"))
    running.take("e", ExperimentSetting(scenario="home", variations=three, share=share), 2)
    before = [variation.id for _, variation, _ in running.assigned("home", unit, {})]
    running.take("e", ExperimentSetting(scenario="home", variations=three), 3)
    after = [variation.id for _, variation, _ in running.assigned("home", unit, {})]
    assert len(after) == 1
    assert before in ([], after)


async def test_a_variation_changes_the_list_and_is_told_and_recorded(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "green"))
    await shop.shelved("ann", *SHELF)
    written = (await shop.client.put("/v1/settings/experiment/cakes", json=BODY)).json()
    override = {"experiment_overrides": {"cakes": "cake"}}

    async def there() -> bool:
        answer = await shop.client.post("/v1/recommendations", json={"user_id": "ann", **override})
        return answer.status_code == 200

    async with asyncio.timeout(20):
        while not await there():
            await asyncio.sleep(0.01)
    answer = await shop.list_for(user_id="ann", count=2, **override)
    assert ids(answer) == ["tart", "scone"]
    assert answer["experiments"] == [{"experiment_id": "cakes", "variation": "cake"}]
    assert answer["policy_version"] == f"home-1+cakes-{written['version']}.cake"
    told = (await shop.client.get(f"/v1/explanations/{answer['recommendation_id']}")).json()
    assert told["experiments"] == answer["experiments"]
    assert (await shop.list_for(count=2))["experiments"] == []  # nobody known, nobody assigned
    assert len((await shop.list_for(user_id="bob"))["experiments"]) == 1
    for overrides in ({"cakes": "moon"}, {"moons": "a"}):
        wrong = await shop.client.post("/v1/recommendations", json={"experiment_overrides": overrides})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "no_such_variation")


async def test_the_holdout_sees_nothing_personal_and_still_nothing_that_is_in_its_cart(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "green"), ("add_to_cart", "scone"))
    await shop.shelved("ann", *SHELF)
    body = {"scenario": "home", "variations": [{"id": "all"}, {"id": "none", "holdout": True}]}
    await shop.client.put("/v1/settings/experiment/personal", json=body)
    answer = await shop.until(lambda a: bool(a["experiments"]), user_id="ann", count=2)
    override = {"experiment_overrides": {"personal": "none"}}
    answer = await shop.list_for(user_id="ann", count=2, **override)
    assert ids(answer) == ["green", "oolong"]
    assert {item["source"] for item in answer["items"]} == {"popular"}
    assert answer["fallback"]["used"] is False


async def test_an_experiment_that_would_not_do_is_refused(shop: AShop) -> None:
    async def refused(**changes: Any) -> tuple[str, str]:
        answer = await shop.client.put("/v1/settings/experiment/e", json={**BODY, **changes})
        assert answer.status_code == 422, answer.text
        return answer.json()["code"], answer.json()["errors"][0]["path"]

    assert await refused(variations=[{"id": "a"}]) == ("empty", "variations")
    assert await refused(variations=[{"id": "a"}, {"id": "a"}]) == ("twice", "variations")
    wrong = [{"id": "a"}, {"id": "b", "changes": {"filter": "moon"}}]
    assert await refused(variations=wrong) == ("expression_wrong", "variations[1].changes.filter")
    twice = [{"id": "a"}, {"id": "b", "changes": {"blend": [["shelf", 1], ["shelf", 2]]}}]
    assert await refused(variations=twice) == ("twice", "variations[1].changes.blend")
    unknown = [{"id": "a"}, {"id": "b", "changes": {"moon": 1}}]
    assert await refused(variations=unknown) == ("unknown_field", "variations[1].changes.moon")
    assert await refused(moon=1) == ("unknown_field", "moon")
    assert await refused(variations=[{"id": "a"}, {"id": "b", "changes": {"name": "cart"}}]) == (
        "not_changeable",
        "variations[1].changes",
    )


async def test_a_refused_setting_says_what_it_wants_as_a_body_does(shop: AShop) -> None:
    async def said(kind: str, body: dict[str, Any]) -> str:
        answer = await shop.client.put(f"/v1/settings/{kind}", json=body)
        assert answer.status_code == 422, answer.text
        return str(answer.json()["errors"][0]["message"])

    home: dict[str, Any] = {"name": "home", "blend": [["shelf", 1]]}
    assert await said("scenario/home", {**home, "diversity": 5}) == "diversity must be a number from 0 to 1."
    assert "must be one of" in await said("scenario/home", {**home, "blend": [["moon", 1]]})
    wrong = {**BODY, "variations": [{"id": "a"}, {"id": "b", "changes": {"rotation_rate": 2}}]}
    assert await said("experiment/e", wrong) == "variations[1].changes.rotation_rate must be a number from 0 to 1."


async def test_an_id_that_would_not_do_is_refused_and_one_that_is_on_the_log_is_read(shop: AShop) -> None:
    for experiment_id in ("My-Test", "a b", "é", "x" * 65, "a%09"):
        answer = await shop.client.put(f"/v1/settings/experiment/{experiment_id}", json=BODY)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["path"] == "id"
    assert (await shop.client.put(f"/v1/settings/experiment/{'x' * 64}", json=BODY)).status_code == 200
    kinds = shop.api.services.settings.kinds
    assert decoded(kinds["experiment"], "My-Test", msgspec.json.encode(BODY)).scenario == BODY["scenario"]
