"""Makes, lists and revokes API keys on `shop.settings.v1`, from where every API process takes them up."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from infra.errors import NotEmbedded, NotFound, SettingWrong
from infra.kafka import Follower, Outgoing, Producer, Record
from infra.kafka_admin import end_offsets, start_offsets
from infra.key_records import KIND, MAX_ORIGINS, KeyRecord, Role, digest, key_text
from infra.keys import partition_of, record_key, split_record_key
from infra.setting_records import decode, encode
from infra.settings import Settings, checked_origin
from infra.topics import SETTINGS

LEAST_LENGTH: Final = 16
_READ_MOST: Final = 500
_READ_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A key to make; 0 for a limit: as the settings say, `days` of 0: it does not expire."""

    role: Role
    label: str
    origins: tuple[str, ...] = ()
    requests_per_s: float = 0.0
    burst: int = 0
    days: int = 0


def refuse_forgetful(settings: Settings, *, runs: bool) -> None:
    """A broker that only this command would start forgets the key before anybody can use it; `runs`: a shop does.

    Raises:
        NotEmbedded: names the setting.
    """
    if not settings.kafka and not runs:
        raise NotEmbedded(
            "no shop runs on this data folder, and an embedded broker would forget the key at once: set DAOGOU_KAFKA, "
            "or name keys in DAOGOU_PUBLISHABLE_KEYS, DAOGOU_SECRET_KEYS and DAOGOU_OPERATOR_KEYS"
        )


def create(settings: Settings, wish: Wish, by: str, now: datetime, fresh: bytes, key_id: str) -> str:
    """Put a key on the log; the key itself, which is nowhere else. `fresh`: 32 random bytes.

    Raises:
        SettingWrong: the wish will not do.
        KafkaAway: not acknowledged.
    """
    check(wish)
    key = key_text(wish.role, fresh)
    record = KeyRecord(
        sha256=digest(key.encode()).hex(),
        role=wish.role,
        label=wish.label,
        created_at=now,
        allowed_origins=wish.origins,
        requests_per_s=wish.requests_per_s,
        burst=wish.burst,
        expires_at=now + timedelta(days=wish.days) if wish.days else None,
    )
    asyncio.run(_write(settings, key_id, record, by, now))
    return key


def revoke(settings: Settings, key_id: str, by: str, now: datetime) -> KeyRecord:
    """Put on the log that a key is good for nothing any more; what it was.

    Raises:
        NotFound: there is no such key.
        KafkaAway: not acknowledged, or not read.
    """
    found = keys(settings).get(key_id)
    if found is None:
        raise NotFound(f"there is no key {key_id[:64]!r}; see: daogou keys list", path="id")
    if found.revoked_at is None:
        asyncio.run(_write(settings, key_id, msgspec.structs.replace(found, revoked_at=now), by, now))
    return found


def keys(settings: Settings) -> dict[str, KeyRecord]:
    """All keys of the tenant that are on the log, revoked ones too, by their id.

    Raises:
        KafkaAway, NotFound: as their names say.
    """
    found: dict[str, KeyRecord] = {}
    for record in _records(settings):
        tenant, kind, key_id = split_record_key((record.key or b"").decode())
        if tenant != settings.tenant or kind != KIND:
            continue
        if record.value is None:
            found.pop(key_id, None)
        else:
            found[key_id] = msgspec.json.decode(bytes(decode(record.value).value), type=KeyRecord)
    return found


def has_keys(settings: Settings) -> bool:
    """Whether the shop is closed to callers without a key: one key closes it for good, its end opens nothing.

    Raises:
        KafkaAway, NotFound: as their names say.
    """
    return _in_settings(settings) or bool(keys(settings))


def lets_in(settings: Settings, now: datetime) -> bool:
    """Whether any key is good for something.

    Raises:
        KafkaAway, NotFound: as their names say.
    """
    return _in_settings(settings) or any(
        one.revoked_at is None and (one.expires_at is None or one.expires_at > now) for one in keys(settings).values()
    )


def _in_settings(settings: Settings) -> bool:
    return bool(settings.publishable_keys or settings.secret_keys or settings.operator_keys)


def weak(settings: Settings) -> Iterator[str]:
    """A line for each setting that holds keys which can be guessed."""
    for name in ("publishable_keys", "secret_keys", "operator_keys"):
        given = getattr(settings, name)
        short = sum(len(key.get_secret_value()) < LEAST_LENGTH for key in given)
        if short:
            yield (
                f"DAOGOU_{name.upper()}: {short} of {len(given)} shorter than {LEAST_LENGTH} characters, which can be "
                "guessed; take random ones: openssl rand -hex 24, or daogou keys create"
            )


def told(found: dict[str, KeyRecord], now: datetime) -> Iterator[str]:
    """A line for each key, the oldest first."""
    for key_id, one in sorted(found.items(), key=lambda pair: pair[1].created_at):
        limits = f"  {one.requests_per_s:g}/s" if one.requests_per_s else ""
        origins = f"  {' '.join(one.allowed_origins)}" if one.allowed_origins else ""
        made = f"{one.created_at.astimezone(UTC):%Y-%m-%d %H:%M}"
        yield f"{key_id}  {one.role:<11}  {_state(one, now)}  made {made} UTC{limits}{origins}  {one.label}"


def _state(one: KeyRecord, now: datetime) -> str:
    if one.revoked_at is not None:
        return f"revoked {one.revoked_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if one.expires_at is None:
        return "good"
    word = "expired" if one.expires_at <= now else "good until"
    return f"{word} {one.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def check(wish: Wish) -> None:
    """Before anything is asked or written.

    Raises:
        SettingWrong: the wish will not do.
    """
    if wish.origins and wish.role != "publishable":
        raise SettingWrong("--origin is for publishable keys: pages call with no others", path="origin")
    if len(wish.origins) > MAX_ORIGINS:
        raise SettingWrong(f"--origin at most {MAX_ORIGINS} times", path="origin")
    if wish.burst and not wish.requests_per_s:
        raise SettingWrong("--burst needs --per-second", path="burst")
    if not 1 <= len(wish.label) <= 100 or not wish.label.isprintable():
        raise SettingWrong("a label has 1 to 100 printable characters", path="label")
    for origin in wish.origins:
        try:
            checked_origin(origin)
        except ValueError as error:
            raise SettingWrong(f"--origin: {error}", path="origin") from None


async def _write(settings: Settings, key_id: str, record: KeyRecord, by: str, now: datetime) -> None:
    key = record_key(settings.tenant, KIND, key_id)
    value = encode(msgspec.json.encode(record), now, by)
    producer = Producer(settings.brokers, embedded=bool(settings.embedded_log))
    await producer.start()
    try:
        await producer.send(Outgoing(SETTINGS, partition_of(key, settings.partition_count), key, value))
    finally:
        await asyncio.to_thread(producer.close)


def _records(settings: Settings) -> Iterator[Record]:
    """Everything on the topic. What compaction took leaves holes, at the end too: silence is the end."""
    starts, ends = start_offsets(settings.brokers, SETTINGS), end_offsets(settings.brokers, SETTINGS)
    left = {partition: end for partition, end in ends.items() if starts[partition] < end}
    if not left:
        return
    positions = {partition: starts[partition] for partition in left}
    follower = Follower(settings.brokers, SETTINGS, positions, embedded=bool(settings.embedded_log))
    try:
        while left and (read := follower.read(_READ_MOST, _READ_S)):
            yield from read
            for record in read:
                if record.offset + 1 >= ends[record.partition]:
                    left.pop(record.partition, None)
    finally:
        follower.close()
