"""What Redis holds of one shopper and nobody can read: that shopper's page is answered and says so, others are not
concerned.
"""

from typing import Any

import msgspec
import pytest

from features import shoppers
from infra.keys import ShardKeys
from models.candidates import Candidate, Candidates
from serving import shelf
from tests.serving.shop import AShop, ids

WHO = "ann-of-the-test"
SHELF = [Candidate("oolong", 3.0, 3.0, "tower"), Candidate("green", 2.0, 2.0, "tower")]
UNAVAILABLE = {"used": True, "why": "state_unavailable"}
NO_SHELF = {"used": True, "why": "no_shelf"}


async def poisoned(shop: AShop, what: str) -> None:
    """Spoil a part of a shopper who had everything."""
    await shop.met(WHO, ("add_to_cart", "scone"))
    await shop.shelved(WHO, *SHELF)
    partition = shop.partition(f"u-{WHO}")
    keys, redis = ShardKeys(partition), shop.redis
    names = {"row": keys.row, "shelf": keys.shelf, "link": keys.link}
    if what in names:
        await redis.set(names[what](shop.settings.tenant, f"u-{WHO}"), b"\xc1\xff junk")
    elif what == "row of another type":
        key = keys.row(shop.settings.tenant, f"u-{WHO}")
        await redis.delete(key)
        await redis.lpush(key, "junk")
    elif what == "row of a time that there is not":
        row = shoppers.empty()
        row.state.newest = 10**17
        await redis.set(keys.row(shop.settings.tenant, f"u-{WHO}"), shoppers.encode(row))
    elif what == "a later part of the shelf":
        first = Candidates.of(SHELF[:1])
        mark = shelf.mark_of(await redis.get(keys.row(shop.settings.tenant, f"u-{WHO}")))
        broken = shelf.OpenShelf("m1", shop.log, 0, 0, first, [msgspec.Raw(msgspec.msgpack.encode(["junk"]))], mark)
        await redis.set(keys.shelf(shop.settings.tenant, f"u-{WHO}"), msgspec.msgpack.encode(broken))
    elif what == "fence":
        await redis.hset(keys.fence, shop.log, "junk")
    elif what == "live":
        await redis.set(keys.live, b"\xff\xfe")
    else:
        assert what == "fence of another type"
        await redis.delete(keys.fence)
        await redis.set(keys.fence, "junk")


def elsewhere(shop: AShop) -> str:
    """A user of another partition."""
    partition = shop.partition(f"u-{WHO}")
    return next(f"bob{n}" for n in range(99) if shop.partition(f"u-bob{n}") != partition)


@pytest.mark.parametrize(
    ("what", "fallback", "counted"),
    [
        ("row", UNAVAILABLE, "row"),
        ("row of another type", {"used": True, "why": "unknown_shopper"}, None),
        ("row of a time that there is not", UNAVAILABLE, "row"),
        ("shelf", NO_SHELF, "shelf"),
        ("a later part of the shelf", NO_SHELF, "shelf"),
        ("link", UNAVAILABLE, "link"),
        ("fence", UNAVAILABLE, "fence"),
        ("fence of another type", UNAVAILABLE, None),
        ("live", UNAVAILABLE, "live"),
    ],
)
async def test_one_shopper_is_answered_and_others_are_not_concerned(
    shop: AShop, what: str, fallback: dict[str, Any], counted: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    bob = elsewhere(shop)
    await shop.met(bob, ("add_to_cart", "scone"))
    await shop.shelved(bob, *SHELF)
    await poisoned(shop, what)
    for _ in range(2):
        answer = await shop.list_for(user_id=WHO, count=4)
        assert answer["fallback"] == fallback
        assert len(answer["items"]) == 4
        assert answer["freshness"]["stale"] == (fallback is UNAVAILABLE)
        if fallback is NO_SHELF:  # what is in the cart is known, and kept out
            assert "scone" not in ids(answer)
        well = await shop.list_for(user_id=bob, count=2)
        assert (ids(well), well["fallback"]["used"]) == (["oolong", "green"], False)
    everybody = (await shop.client.get("/health/ready")).status_code
    assert everybody == 200
    logged = capsys.readouterr().out
    assert WHO not in logged
    metrics = (await shop.client.get("/metrics")).text
    if counted is None:
        assert "daogou_shopper_unreadable_total{" not in metrics
    else:
        assert f'daogou_shopper_unreadable_total{{what="{counted}"}} 2.0' in metrics
        assert logged.count("cannot be read") == 1
