"""Settings that change while pages are answered: checked, versioned, in force in every process, taken back."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from infra.clock import SystemClock
from infra.kafka import Follower, Producer, Record
from infra.topics import SETTINGS
from serving.app import Api
from serving.scenarios import SCENARIOS
from serving.setting_kinds import scenario_kind
from serving.settings_log import ShopSettings
from serving.topic import Topic, open_topic
from tests.serving.shop import AShop, ids

HOME = {"name": "home", "blend": [["popular", 1]], "category_cap": 1}


async def put(shop: AShop, setting_id: str, value: Any, **query: Any) -> httpx.Response:
    return await shop.client.put(f"/v1/settings/scenario/{setting_id}", json=value, params=query)


async def test_a_scenario_takes_effect_without_a_restart_and_is_taken_back(shop: AShop) -> None:
    assert ids(await shop.list_for(count=2)) == ["scone", "green"]
    beginning = (await shop.client.get("/v1/settings/scenario/home")).json()
    assert (beginning["version"], beginning["at"], beginning["value"]["blend"]) == (1, None, [["shelf", 1]])
    written = (await put(shop, "home", {**HOME, "filter": "item.category == 'tea'"})).json()
    wanted = f"home-{written['version']}"
    answer = await shop.until(lambda a: a["policy_version"] == wanted, count=2)
    assert ids(answer) == ["green", "oolong"]
    assert answer["fallback"]["used"] is True  # only one of a category, and there is but one
    held = (await shop.client.get("/v1/settings/scenario/home")).json()
    assert (held["version"], held["value"]["filter"], held["by"]) == (
        written["version"],
        "item.category == 'tea'",
        "operator",
    )
    await shop.client.delete("/v1/settings/scenario/home")
    assert ids(await shop.until(lambda a: a["policy_version"] == "home-1", count=2)) == ["scone", "green"]


async def test_another_process_that_starts_later_has_it_from_its_first_list(shop: AShop) -> None:
    written = (await put(shop, "home", HOME)).json()
    other = Api(shop.settings)
    await other.start()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=other), base_url="http://localhost") as client:
            answer = await client.post("/v1/recommendations", json={})
            assert answer.json()["policy_version"] == f"home-{written['version']}"
    finally:
        await other.stop()


async def test_what_is_wrong_is_refused_and_what_is_only_checked_changes_nothing(shop: AShop) -> None:
    async def refused(setting_id: str, value: Any) -> tuple[int, str, str]:
        answer = await put(shop, setting_id, value)
        said = answer.json()
        return answer.status_code, said["code"], said["errors"][0]["path"]

    assert await refused("home", {**HOME, "filter": "item.colour == 1"}) == (422, "expression_wrong", "filter")
    assert await refused("home", {**HOME, "blend": []}) == (422, "empty", "blend")
    assert await refused("home", {**HOME, "blend": [["shelf", 1], ["shelf", 2]]}) == (422, "twice", "blend")
    assert await refused("home", {**HOME, "blend": [["moon", 1]]}) == (422, "unknown_value", "blend[0][0]")
    assert await refused("cart", HOME) == (422, "name_differs", "name")
    assert await refused("home", {**HOME, "version": 7}) == (422, "version_given", "version")
    unknown = await put(shop, "moon", {**HOME, "name": "home"})
    assert unknown.status_code == 404
    assert (await shop.client.get("/v1/settings/moon")).status_code == 404
    checked = (await put(shop, "home", HOME, validate_only="true")).json()
    assert (checked["validated_only"], checked["version"]) == (True, None)
    assert (await shop.client.get("/v1/settings/scenario/home")).json()["version"] == 1


class _SlowFollower(Follower):
    """Gives nothing for three reads."""

    _silent = 3

    def read(self, max_records: int, within_s: float) -> list[Record]:
        self._silent -= 1
        return [] if self._silent >= 0 else super().read(max_records, within_s)


class _SlowTopic(Topic):
    def follow(self, positions: Mapping[int, int]) -> Follower:
        return _SlowFollower(self.bootstrap, self.name, positions, embedded=self.embedded)


async def test_a_short_silence_is_not_the_end_of_what_is_loaded(shop: AShop) -> None:
    """Keys are among it: a process that began without them would answer everybody on this machine."""
    await put(shop, "home", HOME)
    settings = shop.settings
    heard: list[str] = []
    found = await asyncio.to_thread(open_topic, settings.kafka, SETTINGS, settings.embedded_log)
    slow = _SlowTopic(found.bootstrap, found.name, found.log, found.embedded)
    log = ShopSettings(
        slow,
        Producer(settings.kafka, embedded=True),
        settings.tenant,
        settings.partition_count,
        {"scenario": scenario_kind(SCENARIOS)},
        {"scenario": lambda setting_id, value, version: heard.append(setting_id)},
        clock=SystemClock(),
    )
    await log.load()
    log._end_follower()
    assert heard == ["home"]


class _ForgetfulTopic(Topic):
    """After the first look its log has been compacted: a setting and its tombstone are gone."""

    looks = 0

    def starts(self) -> dict[int, int]:
        found = super().starts() if not type(self).looks else self.ends()
        type(self).looks += 1
        return found


async def test_what_was_compacted_away_while_nobody_looked_is_in_force_no_longer(shop: AShop) -> None:
    await put(shop, "home", HOME)
    settings = shop.settings
    heard: list[tuple[str, Any, int]] = []
    found = await asyncio.to_thread(open_topic, settings.kafka, SETTINGS, settings.embedded_log)
    log = ShopSettings(
        _ForgetfulTopic(found.bootstrap, found.name, found.log, found.embedded),
        Producer(settings.kafka, embedded=True),
        settings.tenant,
        settings.partition_count,
        {"scenario": scenario_kind(SCENARIOS)},
        {"scenario": lambda setting_id, value, version: heard.append((setting_id, value, version))},
        clock=SystemClock(),
    )
    await log.load()
    assert log.get("scenario", "home").version > 1
    await log.load()
    log._end_follower()
    assert log.get("scenario", "home").version == 1
    assert heard[-1] == ("home", SCENARIOS["home"], 1)
