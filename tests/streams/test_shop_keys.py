"""Keys from the command line: shown once, on the log as a hash, revoked, and none where they would be forgotten."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from infra.errors import NotEmbedded, NotFound, SettingWrong
from infra.key_records import digest
from infra.settings import Settings
from streams import shop_keys
from streams.cli import app
from streams.shop_keys import Wish
from streams.supervisor import refuse_open_door

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ORIGIN = "https://shop.example"


@pytest.fixture
def mine(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """A tenant of this test alone: what is on the log stays until the run ends."""
    return settings.model_copy(update={"tenant": f"keys-{abs(hash(request.node.name)) % 10**8}"})


def test_a_key_is_on_the_log_as_its_hash_and_its_revocation_too(mine: Settings) -> None:
    wish = Wish("publishable", "pages", (ORIGIN,), 5.0, 9, 30)
    key = shop_keys.create(mine, wish, "me", NOW, bytes(range(32)), "k1")
    shop_keys.create(mine.model_copy(update={"tenant": "another"}), wish, "me", NOW, bytes(32), "k2")
    assert key.startswith("pk_")
    found = shop_keys.keys(mine)
    assert set(found) == {"k1"}
    one = found["k1"]
    assert one.sha256 == digest(key.encode()).hex()
    assert (one.allowed_origins, one.requests_per_s, one.burst) == ((ORIGIN,), 5.0, 9)
    assert one.expires_at == NOW + timedelta(days=30)
    shop_keys.revoke(mine, "k1", "me", NOW)
    shop_keys.revoke(mine, "k1", "me", NOW + timedelta(days=1))
    assert shop_keys.keys(mine)["k1"].revoked_at == NOW, "once"
    with pytest.raises(NotFound, match="daogou keys list"):
        shop_keys.revoke(mine, "k2", "me", NOW)


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        (Wish("secret", "x", (ORIGIN,)), "origin"),
        (Wish("publishable", "x", ("shop.example",)), "origin"),
        (Wish("publishable", "x", burst=3), "burst"),
        (Wish("publishable", ""), "label"),
    ],
)
def test_a_key_that_will_not_do_is_not_made(wish: Wish, path: str) -> None:
    with pytest.raises(SettingWrong) as caught:
        shop_keys.create(Settings(), wish, "me", NOW, bytes(32), "k1")
    assert caught.value.path == path


def test_a_broker_that_only_the_command_would_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotEmbedded, match="DAOGOU_KAFKA"):
        shop_keys.refuse_forgetful(Settings(data_dir=tmp_path), runs=False)
    shop_keys.refuse_forgetful(Settings(data_dir=tmp_path), runs=True)
    shop_keys.refuse_forgetful(Settings(data_dir=tmp_path, kafka="k:1"), runs=False)


def test_the_commands(mine: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kafka", "embedded_log", "tenant"):
        monkeypatch.setenv(f"DAOGOU_{name.upper()}", getattr(mine, name))
    monkeypatch.setenv("DAOGOU_REDIS", mine.redis.get_secret_value())
    monkeypatch.setenv("DAOGOU_DATA_DIR", str(mine.data_dir))
    run = CliRunner().invoke
    assert run(app, ["keys", "list"]).output == "no keys on the log\n"
    made = run(app, ["keys", "create", "secret", "feeds", "--per-second", "2"]).output
    assert "From now on every call to this shop needs a key; pages included" in made
    assert "daogou keys create operator" in made
    second = run(app, ["keys", "create", "operator", "me"]).output
    assert "From now on" not in second
    other = re.search(r"^id   ([0-9a-f]{12})$", second, re.M)
    assert other is not None
    assert "last good key" not in run(app, ["keys", "revoke", other[1]]).output
    key = re.search(r"^key  (sk_[A-Za-z0-9_-]{43})$", made, re.M)
    key_id = re.search(r"^id   ([0-9a-f]{12})$", made, re.M)
    assert key is not None
    assert key_id is not None
    listed = run(app, ["keys", "list"]).output
    assert f"{key_id[1]}  secret " in listed
    assert "good" in listed
    assert key[1] not in listed
    assert digest(key[1].encode()).hex() not in listed
    revoked = run(app, ["keys", "revoke", key_id[1]]).output
    assert "revoked: secret, feeds" in revoked
    assert "last good key" in revoked
    assert "daogou keys create operator" in revoked
    assert "revoked 20" in run(app, ["keys", "list"]).output


def test_beyond_loopback_a_forgetful_broker_needs_keys_in_the_settings() -> None:
    open_door = Settings(host="0.0.0.0")
    with pytest.raises(SettingWrong, match="DAOGOU_HOST"):
        refuse_open_door(open_door)
    # Kafka may hold keys: the API looks for them before it answers anybody.
    refuse_open_door(open_door.model_copy(update={"kafka": "k:9092"}))
    refuse_open_door(open_door.model_copy(update={"operator_keys": (SecretStr("op"),)}))
    refuse_open_door(Settings())


def test_keys_of_the_settings_that_can_be_guessed_are_told_but_not_shown() -> None:
    short, long = SecretStr("hush-1234567890"), SecretStr("x" * 16)
    assert list(shop_keys.weak(Settings(secret_keys=(long,)))) == []
    (said,) = shop_keys.weak(Settings(secret_keys=(short, long)))
    assert said.startswith("DAOGOU_SECRET_KEYS: 1 of 2 shorter than 16 characters")
    assert "hush" not in said
