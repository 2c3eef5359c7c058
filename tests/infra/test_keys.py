"""Laws of the key schema."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import keys
from infra.keys import ShardKeys

texts = st.text(max_size=20)
tenants = st.text(string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=40)
partitions = st.integers(1, 4096)


@given(tenants, st.lists(texts, min_size=1, max_size=3))
def test_a_record_key_gives_its_parts_back(tenant: str, parts: list[str]) -> None:
    assert keys.split_record_key(keys.record_key(tenant, *parts)) == (tenant, *parts)


@given(st.tuples(tenants, texts), st.tuples(tenants, texts))
def test_no_two_shoppers_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    shard = ShardKeys(3)
    for make in (keys.record_key, shard.row, shard.shelf):
        assert (make(*one) == make(*other)) == (one == other)


@given(tenants, texts, texts)
def test_keys_of_namespaces_and_families_never_meet(tenant: str, shopper: str, namespace: str) -> None:
    live, other = ShardKeys(3), ShardKeys(3, namespace)
    made = [live.row(tenant, shopper), live.shelf(tenant, shopper), live.fence, live.timers, live.partials]
    if namespace != live.namespace:
        made += [other.row(tenant, shopper), other.shelf(tenant, shopper), other.fence, other.timers, other.partials]
    made += [
        live.epoch,
        live.live,
        live.outbox,
        keys.items(tenant, 3),
        keys.items_at(3),
        keys.owner(namespace),
    ]
    assert len(set(made)) == len(made)


@given(st.integers(0, 4095), tenants, texts, texts)
def test_all_keys_of_a_partition_lie_in_one_slot(partition: int, tenant: str, shopper: str, namespace: str) -> None:
    shard = ShardKeys(partition, namespace)
    made = [
        shard.row(tenant, shopper),
        shard.shelf(tenant, shopper),
        shard.fence,
        shard.timers,
        shard.partials,
        shard.told,
        shard.epoch,
        shard.live,
        shard.outbox,
    ]
    # Redis Cluster hashes what stands between the first "{" and the first "}" after it.
    tags = {re.match(r"[^{]*\{([^}]+)\}", key) for key in made}
    assert {tag.group(1) if tag else None for tag in tags} == {f"p{partition}"}


@given(tenants, texts)
def test_a_row_key_gives_tenant_and_shopper_back(tenant: str, shopper: str) -> None:
    assert keys.split_row_key(ShardKeys(1).row(tenant, shopper)) == (tenant, shopper)
    assert keys.split_row_key(ShardKeys(1, "a:b").shelf(tenant, shopper)) == (tenant, shopper)
    assert keys.split_shard_key(ShardKeys(17, "a:{b").row(tenant, shopper)) == (17, tenant, shopper)


@given(texts, partitions)
def test_a_partition_is_one_of_those_there_are(key: str, count: int) -> None:
    assert 0 <= keys.partition_of(key, count) < count


@pytest.mark.parametrize(
    ("key", "partition"),
    # CRC-32 of these is given in the literature: "123456789" has 0xCBF43926.
    [("123456789", 0xCBF43926 % 64), ("", 0)],
)
def test_the_partition_is_crc32_modulo_the_count(key: str, partition: int) -> None:
    assert keys.partition_of(key, 64) == partition


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
def test_feast_projects_of_namespaces_differ_and_are_identifiers(namespaces: list[str]) -> None:
    one, other = map(keys.feast_project, namespaces)
    assert one != other
    assert one.isidentifier()
    assert one.isascii()
