"""Lists from the real interface, clicks and orders sent to it, and what the commands then tell of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from redis.asyncio import Redis
from typer.testing import CliRunner

from infra.errors import NotFound, Refused
from infra.settings import Settings, environment
from serving.decisions import Decision
from streams.cli import app
from streams.decision_reading import DecisionReading, Period
from tests.serving.shop import AShop, ids, items, opened

SHOPPERS = 240
CAKES: dict[str, Any] = {
    "scenario": "home",
    "variations": [{"id": "as-is"}, {"id": "cake", "changes": {"filter": "item.category == 'cake'"}}],
}
EXPLORED: dict[str, Any] = {
    "name": "home",
    "blend": [["catalogue", 1], ["popular", 1]],
    "exploration": {"share": 0.5, "source": "popular", "pool": 10},
}
OTHER = {**EXPLORED, "blend": [["popular", 1]], "exploration": None}


@pytest.fixture
async def shop(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    async with opened(settings, redis, items()) as one:
        yield one


async def set_up(shop: AShop, kind: str, name: str, value: dict[str, Any]) -> None:
    answer = await shop.client.put(f"/v1/settings/{kind}/{name}", json=value)
    assert answer.status_code == 200, answer.text


async def post(shop: AShop, *events: dict[str, Any]) -> None:
    for begin in range(0, len(events), 500):
        answer = await shop.client.post("/v1/events", json=events[begin : begin + 500])
        assert answer.status_code == 202, answer.text
        assert not answer.json()["rejected"]


def event(name: str, user: str, item: str, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"{name}-{user}",
        "event_name": name,
        "occurred_at": now(),
        "user_id": user,
        "items": [{"item_id": item}],
        **more,
    }


async def told(shop: AShop, *words: str) -> Result:
    """A command beside the running shop."""
    return await asyncio.to_thread(CliRunner().invoke, app, list(words), env=environment(shop.settings))


def all_records(shop: AShop) -> list[Decision]:
    reading, period = DecisionReading(shop.settings), Period(0, 2**62)
    return list(reading.read(reading.spans(period), period, lambda _: None))


async def recorded(shop: AShop, *list_ids: str) -> None:
    """Until the records of these lists are on the log."""
    async with asyncio.timeout(30):
        while set(list_ids) - {one.recommendation_id for one in await asyncio.to_thread(all_records, shop)}:
            await asyncio.sleep(0.01)


def now() -> str:
    return datetime.now(UTC).isoformat()


async def test_an_experiment_from_the_first_list_to_the_report(shop: AShop, tmp_path: Path) -> None:
    await set_up(shop, "experiment", "cakes", CAKES)
    await shop.until(lambda answer: bool(answer["experiments"]), user_id="s0", count=2)
    sent, made = list[dict[str, Any]](), list[str]()
    of = {"as-is": 0, "cake": 0}
    for n in range(SHOPPERS):
        user = f"s{n}"
        answer = await shop.list_for(user_id=user, count=2)
        variation = answer["experiments"][0]["variation"]
        of[variation] += 1
        made.append(answer["recommendation_id"])
        named = {"recommendation_id": answer["recommendation_id"]}
        sent.append(event("view_item_list", user, ids(answer)[0], **named))
        if variation == "cake" or n % 10 == 0:
            sent.append(event("select_item", user, ids(answer)[0], **named))
        if n % 4 == 0:
            sent.append(event("purchase", user, ids(answer)[1], transaction_id=user))
    await post(shop, *sent)
    await recorded(shop, *made)
    file = tmp_path / "cakes.json"
    result = await told(shop, "experiments", "report", "cakes", "--json", str(file))
    assert result.exit_code == 0, result.output
    assert "better than 'as-is'" in " ".join(result.output.split())
    found = json.loads(file.read_bytes())
    assert {one["variation"]: one["shoppers"] for one in found["arms"]} == of
    metrics = {one["name"]: one["figures"] for one in found["metrics"]}
    assert metrics["clicks a list"][1]["value"] == 1.0
    assert metrics["revenue a shopper, EUR"][1]["value"] > 0
    assert sum(of.values()) == SHOPPERS
    uneven = [{**one, "weight": weight} for one, weight in zip(CAKES["variations"], (9, 1), strict=True)]
    await set_up(shop, "experiment", "cakes", {**CAKES, "variations": uneven})
    broken = await told(shop, "experiments", "report", "cakes")
    assert broken.exit_code == 1
    assert "Do not believe these figures" in broken.output
    owed = await told(shop, "attribution", "report", "--json", str(file))
    assert owed.exit_code == 0, owed.output
    (home,) = json.loads(file.read_bytes())["scenarios"]
    assert (home["lists"] >= SHOPPERS, home["impressions"], home["purchases"]) == (True, SHOPPERS, SHOPPERS / 4)
    assert home["revenue"] == {"EUR": "150.00"}
    nothing = await told(shop, "experiments", "report", "moons")
    assert isinstance(nothing.exception, NotFound)
    assert nothing.exception.reason == "no_list_of_experiment"


async def test_a_holdouts_list_says_so_in_its_record(shop: AShop) -> None:
    body = {"scenario": "home", "variations": [{"id": "all"}, {"id": "none", "holdout": True}]}
    await set_up(shop, "experiment", "personal", body)
    await shop.until(lambda answer: bool(answer["experiments"]), user_id="ann", count=1)
    for variation, holdout in (("all", False), ("none", True)):
        answer = await shop.list_for(user_id="ann", count=1, experiment_overrides={"personal": variation})
        await recorded(shop, answer["recommendation_id"])
        (record,) = [one for one in all_records(shop) if one.recommendation_id == answer["recommendation_id"]]
        assert record.holdout is holdout


async def test_another_policy_is_estimated_from_what_was_explored(shop: AShop, tmp_path: Path) -> None:
    file, figures = tmp_path / "home.json", tmp_path / "figures.json"
    file.write_text(json.dumps({name: value for name, value in OTHER.items() if value is not None}))
    early = await shop.list_for(user_id="s0", count=2)
    await recorded(shop, early["recommendation_id"])
    refused = await told(shop, "policies", "estimate", str(file))
    assert isinstance(refused.exception, Refused)
    assert refused.exception.reason == "nothing_explored"
    await set_up(shop, "scenario", "home", EXPLORED)
    await shop.until(lambda answer: answer["policy_version"] != early["policy_version"], validate_only=True)
    since, made = now(), list[str]()
    sent = []
    for n in range(SHOPPERS):
        answer = await shop.list_for(user_id=f"s{n}", count=2)
        made.append(answer["recommendation_id"])
        if ids(answer)[0] == "scone":  # the most popular: clicked whenever it is on top
            sent.append(event("select_item", f"s{n}", "scone", recommendation_id=answer["recommendation_id"]))
    await post(shop, *sent)
    await recorded(shop, *made)
    result = await told(shop, "policies", "estimate", str(file), "--from", since, "--json", str(figures))
    assert result.exit_code == 0, result.output
    assert "SNIPS" in result.output
    found = json.loads(figures.read_bytes())["found"]
    assert found["lists"] == SHOPPERS
    assert found["logged"]["value"] < 0.85
    assert found["snips"]["value"] == pytest.approx(1.0)  # it would always begin with it
    assert found["ips"]["low"] <= 1.0 <= found["ips"]["high"]
